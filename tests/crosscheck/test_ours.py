"""Our side: attacks by name, in words, and where they start."""

import numpy as np
import pytest

from tfadv.attacks import ATTACKS, Fgm, Pgd
from tfadv.attacks.auto_attack import AutoAttack
from tfadv.attacks.carlini_wagner import CarliniWagner
from tfadv.attacks.deep_fool import DeepFool
from tfadv.attacks.fab import Fab
from tfadv.attacks.jsma import Jsma
from tfadv.attacks.mim import Mim
from tfadv.attacks.square import Square
from tfadv.crosscheck import ours
from tfadv.models import predictor
from tfadv.validation import UserError


def named(*names, norm="linf"):
    return ours.configs(names, 0.1, step_size=0.02, steps=7, norm=norm, seed=3)


def test_a_name_is_an_attack_in_this_threat_model():
    assert named("fgm", "pgd", "bim") == [
        Fgm(epsilon=0.1),
        Pgd(epsilon=0.1, step_size=0.02, steps=7, seed=3),
        Pgd(epsilon=0.1, step_size=0.02, steps=7, seed=3, random_start=False),
    ]
    assert named("auto_attack", norm="l2") == [AutoAttack(epsilon=0.1, norm="l2", seed=3)]


def test_every_attack_of_the_index_has_a_name():
    assert set(ours.kinds().values()) == {*ATTACKS, AutoAttack}
    for base, settings in ours.VARIANTS.values():
        assert settings
        assert base.islower()


def test_an_unknown_name_lists_the_known_ones():
    with pytest.raises(UserError, match=r"attacks must be among .*'bim'.*'pgd'.*, got 'pdg'"):
        named("pdg")


@pytest.mark.parametrize(
    ("config", "words"),
    [
        (Fgm(epsilon=0.1), "FGM linf 0.1"),
        (Pgd(epsilon=8 / 255, steps=40), "PGD-40 linf 0.0313725"),
        (Pgd(epsilon=0.5, random_start=False, norm="l2", objective="margin"), "BIM-10 margin l2 0.5"),
        (Mim(epsilon=0.1), "MIM-10 linf 0.1"),
        (Square(epsilon=0.1, queries=50), "Square-50 linf 0.1"),
        (CarliniWagner(), "CarliniWagner-1000 l2 closest"),
        (Fab(targets=9), "Fab-100 9 targets linf closest"),
        (Fab(epsilon=0.3), "Fab-100 linf 0.3"),
        (DeepFool(), "DeepFool-50 l2 closest"),
        (Jsma(), "Jsma"),
        (AutoAttack(epsilon=0.3), "AutoAttack linf 0.3"),
    ],
)
def test_an_attack_in_words(config, words):
    assert ours.describe(config) == words
    assert ours.looks_for_the_closest(config) is words.endswith("closest")


def test_the_last_iterate_is_of_one_start():
    assert ours.last_iterate(Pgd(restarts=3)) == Pgd(keep="last")
    assert ours.last_iterate(Fgm()) == Fgm()


def test_a_random_start_lies_in_ball_and_box(linear_net, examples):
    predict = predictor(linear_net)
    start = ours.random_start(predict, Pgd(epsilon=0.4, seed=1), examples.x, examples.y)
    assert np.abs(start - examples.x).max() <= 0.4 + 1e-6
    assert start.min() >= 0
    assert np.abs(start - examples.x).mean() > 0.1
    assert ours.random_start(predict, Pgd(random_start=False), examples.x, examples.y) is None
    assert ours.random_start(predict, AutoAttack(), examples.x, examples.y) is None


def test_a_bound_attack_is_the_engines(linear_net, examples):
    """On a linear model a step of the whole radius along the margin's gradient fools whatever can be fooled."""
    config = Pgd(epsilon=0.01, step_size=0.01, steps=1, random_start=False, objective="margin")
    run = ours.bound(predictor(linear_net), config, precision="float32", batch_size=16)
    x_adv = run(examples.x, examples.y, None, None)
    fooled = linear_net.predict(x_adv, verbose=0).argmax(axis=1) != examples.y
    assert 0 < fooled.mean() < 1
    assert not (fooled & (examples.linf > 0.01 + 1e-6)).any()
    np.testing.assert_array_equal(run(examples.x, examples.y, examples.x, None), x_adv)


def test_a_subset_starts_where_the_whole_would(linear_net, examples):
    config = Pgd(epsilon=0.1, step_size=0.0, steps=1, keep="last", seed=2)
    run, rows = ours.bound(predictor(linear_net), config, precision="float32", batch_size=16), np.array([7, 3, 20])
    whole = run(examples.x, examples.y, None, None)
    np.testing.assert_allclose(run(examples.x[rows], examples.y[rows], None, rows), whole[rows], atol=1e-6)
