"""Who attacks in which framework, what is missing, and what is broken."""

import importlib

import pytest

from tfadv.attacks import Fgm, Pgd
from tfadv.crosscheck import PEERS, makers
from tfadv.crosscheck.makers import FRAMEWORKS, MAKERS, OURS, departure, missing
from tfadv.version import __version__


def test_every_maker_attacks_in_a_framework_from_a_given_start():
    assert {framework for framework, _ in MAKERS} == {*FRAMEWORKS}
    assert next(iter(MAKERS)) == OURS
    for (_, library), maker in MAKERS.items():
        assert library in ("tfadv", *PEERS)
        assert {"Fgm", "Pgd"} <= {*maker.attacks, *maker.broken}
        assert "Pgd" in maker.takes_start or not maker.attacks
    assert [pair for pair, maker in MAKERS.items() if not maker.attacks] == [("jax", "cleverhans")]


def test_what_is_missing_is_named():
    assert missing(("numpy", "tensorflow", "keras")) == []
    assert missing(("no-such-peer", "numpy", "no-such-framework")) == ["no-such-peer", "no-such-framework"]


def test_versions_name_the_framework_of_the_process():
    found = makers.versions("keras")
    assert (found["tfadv"], {*found}) == (__version__, {"tfadv", "keras", "numpy"})
    assert "no-such-framework" not in makers.versions("no-such-framework")


def test_l2_descents_that_project_first_depart_from_ours():
    assert "ball first" in departure("foolbox", Pgd(norm="l2"))
    assert "ball first" in departure("torchattacks", Pgd(norm="l2", random_start=False))
    assert [
        departure(*each) for each in (("foolbox", Pgd()), ("foolbox", Fgm(norm="l2")), ("art", Pgd(norm="l2")))
    ] == [None] * 3


def test_cleverhans_for_jax_is_still_broken():
    """Why it is not run; when this fails, it may be."""
    pytest.importorskip("jax", reason="JAX is optional: it is another framework")
    pytest.importorskip("cleverhans", reason="CleverHans is an extra")
    with pytest.raises(ImportError, match="stax"):
        importlib.import_module("cleverhans.jax.attacks.fast_gradient_method")
