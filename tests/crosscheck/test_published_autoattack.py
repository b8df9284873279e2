"""The published AutoAttack: found in a folder, and given our settings; its own code is needed for no more than that."""

import sys
import textwrap

import numpy as np
import pytest

from tfadv.attacks.apgd import Apgd
from tfadv.attacks.auto_attack import AutoAttack
from tfadv.attacks.fab import Fab
from tfadv.attacks.square import Square
from tfadv.crosscheck import published_autoattack
from tfadv.crosscheck.comparison import compare
from tfadv.crosscheck.peers import NotShared
from tfadv.validation import UserError

# A package of the published names, whose attacks write down how they were called and move every pixel by 0.01 n.
STAND_IN = {
    "__init__": "",
    "autopgd_base": """
        CALLS = []

        class APGDAttack:
            def __init__(self, predict, **settings):
                CALLS.append((type(self).__name__, settings))

            def perturb(self, x, y):
                CALLS.append((tuple(x.shape), y.tolist()))
                return x + 0.01

        class APGDAttack_targeted(APGDAttack):
            pass
    """,
    "fab_pt": """
        from autoattack.autopgd_base import APGDAttack

        class FABAttack_PT(APGDAttack):
            def attack_single_run(self, x, y, is_targeted):
                n = self.target_class or 1
                # The second target does better than the first, the third fails, the rest do worse.
                return x + {2: 0.02, 3: 0.01, 4: 0.0}.get(n, 0.03)
    """,
    "square": "from autoattack.autopgd_base import APGDAttack as SquareAttack",
    "autoattack": """
        from types import SimpleNamespace
        from autoattack.autopgd_base import CALLS, APGDAttack

        class AutoAttack(APGDAttack):
            def __init__(self, predict, **settings):
                super().__init__(predict, **settings)
                self.apgd_targeted, self.fab = SimpleNamespace(n_target_classes=9), SimpleNamespace(n_target_classes=9)

            def run_standard_evaluation(self, x, y, bs):
                CALLS.append((tuple(x.shape), bs, self.fab.n_target_classes, self.apgd_targeted.n_target_classes))
                return x + 0.01
    """,
}


@pytest.fixture
def source(tmp_path, monkeypatch):
    """A folder with the stand-in, and no autoattack imported before or after."""
    pytest.importorskip("torch", reason="PyTorch is optional: it pulls gigabytes")
    (tmp_path / "autoattack").mkdir()
    for name, text in STAND_IN.items():
        (tmp_path / "autoattack" / f"{name}.py").write_text(textwrap.dedent(text))
    imported = [name for name in sys.modules if name.split(".")[0] == "autoattack"]
    for name in imported:
        monkeypatch.delitem(sys.modules, name)
    yield tmp_path
    for name in [name for name in sys.modules if name.split(".")[0] == "autoattack"]:
        del sys.modules[name]


def calls():
    return sys.modules["autoattack.autopgd_base"].CALLS


def attacked(source, model, examples, config, batch_size=40):
    peer = published_autoattack.peer(source)
    return peer.attack(config)(peer.load(model), examples.x, examples.y, config, None, batch_size)


COMMON = {"norm": "Linf", "eps": 0.1, "seed": 0, "device": "cpu"}
CALLED = [
    (
        Apgd(epsilon=0.1, steps=7),
        ("APGDAttack", {"loss": "ce", "n_iter": 7, "n_restarts": 1, "eot_iter": 1, **COMMON}),
    ),
    (
        Apgd(epsilon=0.1, steps=7, norm="l2", objective="dlr", restarts=5, eot=2, seed=3),
        (
            "APGDAttack",
            {**COMMON, "loss": "dlr", "n_iter": 7, "n_restarts": 5, "eot_iter": 2, "norm": "L2", "seed": 3},
        ),
    ),
    (
        Apgd(epsilon=0.1, steps=7, objective="targeted_dlr", targets=9),
        ("APGDAttack_targeted", {"n_target_classes": 3, "n_iter": 7, "n_restarts": 1, "eot_iter": 1, **COMMON}),
    ),
    (
        Fab(epsilon=0.1, steps=7, targets=2, restarts=2),
        (
            "FABAttack_PT",
            {"alpha_max": 0.1, "eta": 1.05, "beta": 0.9, "n_iter": 7, "n_restarts": 2}
            | {"targeted": True, "n_target_classes": 2, **COMMON},
        ),
    ),
    (Square(epsilon=0.1, queries=9), ("APGDAttack", {"n_queries": 9, "resc_schedule": False, **COMMON})),
]


@pytest.mark.parametrize(("config", "call"), CALLED, ids=lambda value: type(value).__name__)
def test_an_attack_is_called_with_our_settings(source, linear_net, examples, config, call):
    x_adv = attacked(source, linear_net, examples, config, batch_size=30)
    np.testing.assert_allclose(x_adv, examples.x + 0.01, atol=1e-6)
    assert calls() == [
        call,
        ((30, 1, 8, 8), examples.y[:30].tolist()),
        call,
        ((10, 1, 8, 8), examples.y[30:].tolist()),
    ]


def test_the_suite_is_given_all_images_and_as_many_targets_as_there_are(source, linear_net, examples):
    config = AutoAttack(epsilon=0.1, version="plus")
    np.testing.assert_allclose(attacked(source, linear_net, examples, config, 30), examples.x + 0.01, atol=1e-6)
    settings = {"version": "plus", "verbose": False, **COMMON}
    assert calls() == [("AutoAttack", settings), ((40, 1, 8, 8), 30, 3, 3)]


def test_without_a_radius_fab_returns_the_closest_of_all_targets(source, linear_net, examples):
    x_adv = attacked(source, linear_net, examples, Fab(targets=3))
    np.testing.assert_allclose(x_adv, examples.x + 0.01, atol=1e-6)
    x_adv = attacked(source, linear_net, examples, Fab(targets=1))
    np.testing.assert_allclose(x_adv, examples.x + 0.02, atol=1e-6)


@pytest.mark.parametrize("config", [Fab(restarts=2), Square(bounds=(-1.0, 1.0)), Apgd(objective="margin")])
def test_what_it_does_not_have_is_refused(source, linear_net, examples, config):
    with pytest.raises(NotShared):
        attacked(source, linear_net, examples, config)


def test_it_is_compared_like_any_other(source, linear_net, examples):
    peers = {"published": published_autoattack.peer(source)}
    configs = [Square(epsilon=0.02, queries=20)]
    (row,) = compare(linear_net, examples.x, examples.y, configs, peers, report=lambda _: None).rows
    assert (row.peer, row.verdict) == ("AutoAttack (published)", "passes")
    assert row.differs == "one window for the whole batch"


def test_the_path_is_left_as_it_was(source):
    before = list(sys.path)
    published_autoattack.load(source)
    assert sys.path == before


def test_another_folder_in_the_same_process_is_refused(source, tmp_path):
    published_autoattack.load(source)
    other = tmp_path / "other" / "autoattack"
    other.mkdir(parents=True)
    (other / "autoattack.py").write_text("")
    with pytest.raises(UserError, match="another autoattack is loaded already"):
        published_autoattack.load(other.parent)


def test_a_folder_without_it_is_refused(tmp_path):
    with pytest.raises(UserError, match=r"must be a folder with autoattack/autoattack\.py, got .*; name a clone of"):
        published_autoattack.peer(tmp_path)
