"""What a comparison knows of a peer: what it has, what it refuses, which versions ran."""

import sys
import types

import numpy as np
import pytest

from tfadv.attacks import Fgm, Mim, Pgd
from tfadv.crosscheck import PEERS, peers
from tfadv.crosscheck.comparison import compare
from tfadv.crosscheck.peers import BOX, NotShared, Peer, batches, by_batch, check_shared, require
from tfadv.validation import UserError


def made(**changes):
    return Peer(**{"name": "Other", "packages": ("numpy",), "load": str, "attacks": {"Pgd": len}, **changes})


def test_the_index_names_every_peer_once():
    assert sorted(PEERS) == ["art", "cleverhans", "foolbox", "torchattacks"]
    assert len({peer.name for peer in PEERS.values()}) == 4
    for peer in PEERS.values():
        known = {*peer.attacks, *peer.broken}
        assert {"Fgm", "Mim", "Pgd"} <= set(peer.attacks)
        assert {*(name.split()[0] for name in peer.differs), *peer.takes_start} <= known
        assert not set(peer.attacks) & set(peer.broken)


def test_an_attack_is_found_by_the_kind_of_the_config():
    peer = made(broken={"Fgm": "it divides by 0"})
    assert peer.attack(Pgd()) is len
    assert (peer.has(Pgd()), peer.has(Fgm()), made().has(Fgm())) == (True, True, False)
    with pytest.raises(NotShared, match="Fgm is broken: it divides by 0"):
        peer.attack(Fgm())
    with pytest.raises(NotShared, match="Other has no Fgm"):
        made().attack(Fgm())


@pytest.mark.parametrize(
    ("config", "allowed", "message"),
    [
        (Pgd(norm="l2"), {"norm": ("linf",)}, r"Pgd is shared with norm of \['linf'\] only, not 'l2'"),
        (Pgd(bounds=(-1.0, 1.0)), {"bounds": BOX}, r"bounds of \[\(0.0, 1.0\)\] only, not \(-1.0, 1.0\)"),
        (Pgd(epsilon=(0.1, 0.2)), {}, "one epsilon for all"),
        (Pgd(step_size=(0.1, 0.2)), {}, "one step_size for all"),
        (Pgd(restarts=2), peers.PLAIN_PGD, r"restarts of \[1\] only, not 2"),
        (Fgm(label="predicted"), peers.PLAIN_FGM, "label of"),
    ],
)
def test_a_setting_that_is_not_shared_is_refused(config, allowed, message):
    with pytest.raises(NotShared, match=message):
        check_shared(config, **allowed)


def test_shared_settings_pass():
    check_shared(Pgd(norm="l2"), norm=("linf", "l2"), bounds=BOX, **peers.PLAIN_PGD)


def test_an_attack_on_a_batch_becomes_one_on_all_images():
    seen = []

    @by_batch
    def attack(model, x, y, config, start):
        seen.append((len(x), y.tolist(), None if start is None else start.tolist()))
        return x + model

    x = np.arange(5.0)
    np.testing.assert_array_equal(attack(1.0, x, np.arange(5), None, x * 10, 2), x + 1)
    assert seen == [(2, [0, 1], [0.0, 10.0]), (2, [2, 3], [20.0, 30.0]), (1, [4], [40.0])]
    attack(1.0, x, np.arange(5), None, None, 5)
    assert seen[-1] == (5, [0, 1, 2, 3, 4], None)
    assert batches(0, 3) == []


def test_a_difference_belongs_to_an_attack_or_to_its_form_in_one_norm():
    peer = made(differs={"Mim": "always", "Pgd l1": "there"})
    configs = [Mim(0.1, norm="l2"), Pgd(0.1, norm="l1"), Pgd(0.1, norm="l2"), Fgm(0.1)]
    assert [peer.difference(config) for config in configs] == ["always", "there", None, None]


def test_versions_are_of_what_is_installed():
    assert made(packages=("numpy", "no-such-package")).versions() == {"numpy": np.__version__}


def test_a_missing_package_is_named_with_its_extra(monkeypatch):
    monkeypatch.setitem(sys.modules, "no_such_peer", None)
    with pytest.raises(UserError, match=r'needs no_such_peer .* pip install "tfadv\[peer\]"'):
        require("no_such_peer", "peer")
    module = types.ModuleType("a_peer")
    monkeypatch.setitem(sys.modules, "a_peer", module)
    assert require("a_peer", "peer") is module


@pytest.mark.parametrize(
    ("name", "package"), [("foolbox", "foolbox"), ("art", "art"), ("torchattacks", "torchattacks")]
)
def test_a_peer_that_is_not_installed_says_what_to_install(linear_net, monkeypatch, name, package):
    """The modules of the three are found on first use only; PyTorch stands behind all of them."""
    for module in [module for module in sys.modules if module.split(".")[0] == package]:
        monkeypatch.delitem(sys.modules, module)
    monkeypatch.setitem(sys.modules, package, None)
    monkeypatch.setitem(sys.modules, "torch", None)
    with pytest.raises(UserError, match=r'pip install "tfadv\['):
        PEERS[name].load(linear_net)


def test_iterations_of_hop_skip_jump_fit_into_the_queries():
    """100 + 25 and 141 + 25 and 173 + 25 are 489; the fourth costs 225 more."""
    assert peers.hop_skip_jump_iterations(489, 100) == 3
    assert peers.hop_skip_jump_iterations(488, 100) == 2
    assert peers.hop_skip_jump_iterations(489 + 225, 100) == 4
    assert peers.hop_skip_jump_iterations(1, 100) == 1


@pytest.mark.slow
@pytest.mark.parametrize(("name", "module"), [("foolbox", "foolbox"), ("art", "art")])
def test_in_l1_peers_step_along_the_whole_gradient_and_are_weaker(name, module, linear_net, examples):
    """Along a gradient g of 64 pixels, linf distance d to a boundary is l1 distance d ||g||_1^2 / ||g||_2^2 <= 64 d."""
    pytest.importorskip("torch", reason="PyTorch is optional: it pulls gigabytes")
    pytest.importorskip(module, reason=f"{module} is optional: it needs PyTorch")
    budget = float(64 * np.median(examples.linf))
    configs = (Fgm(budget, norm="l1"), Pgd(budget, step_size=budget / 4, steps=10, norm="l1"))
    strength = compare(linear_net, examples.x, examples.y, configs, {name: PEERS[name]}, report=lambda _: None)
    assert len(strength.rows) == 2
    for row in strength.rows:
        assert (row.verdict, row.share_of_equal_flags) == ("passes", None), row
        assert 0 < row.peer_success <= row.success
        assert "whole gradient" in row.differs
