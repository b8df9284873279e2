"""ART beside tfadv, on a linear model whose closest adversarial examples are known."""

import dataclasses

import numpy as np
import pytest

from tfadv.attacks import Fgm, Pgd, compiled
from tfadv.attacks.apgd import Apgd
from tfadv.attacks.carlini_wagner import CarliniWagner
from tfadv.attacks.deep_fool import DeepFool
from tfadv.attacks.hop_skip_jump import HopSkipJump
from tfadv.attacks.jsma import Jsma
from tfadv.attacks.mim import Mim
from tfadv.attacks.square import Square
from tfadv.crosscheck import PEERS, art, native
from tfadv.crosscheck.comparison import compare
from tfadv.crosscheck.peers import NotShared

pytest.importorskip("torch", reason="PyTorch is optional: it pulls gigabytes")
pytest.importorskip("art", reason="ART is optional: it is large")

pytestmark = pytest.mark.slow

PGD = {"epsilon": 0.01, "step_size": 0.004, "steps": 5}
PGD_L2 = {"epsilon": 0.06, "step_size": 0.02, "steps": 5, "norm": "l2"}


def compared(model, examples, *configs):
    strength = compare(model, examples.x, examples.y, configs, {"art": PEERS["art"]}, report=lambda _: None)
    assert strength.not_compared == ()
    return strength.rows


def test_first_order_attacks_repeat_ours(linear_net, examples):
    rows = compared(
        linear_net,
        examples,
        Fgm(epsilon=0.01),
        Fgm(epsilon=0.06, norm="l2"),
        Pgd(**PGD),
        Pgd(**PGD, random_start=False),
        Pgd(**PGD_L2),
        Mim(**PGD),
        Mim(**PGD_L2),
    )
    for row in rows:
        assert (row.verdict, row.share_of_equal_flags) == ("passes", 1.0), row
        assert 0 < row.peer_success < 1


@pytest.mark.parametrize(
    "config", [Fgm(epsilon=0.01), Fgm(epsilon=0.06, norm="l2"), Pgd(**PGD), Pgd(**PGD_L2)], ids=repr
)
def test_in_tensorflow_it_makes_the_same_images(linear_net, examples, config):
    config = dataclasses.replace(config, keep="last") if isinstance(config, Pgd) else config
    start = examples.x + 0.005 if isinstance(config, Pgd) else None
    model = art.TENSORFLOW.load(native.Network(linear_net, (8, 8, 1), 4))
    found = art.TENSORFLOW.attack(config)(model, examples.x, examples.y, config, start, 15)
    expected = compiled(linear_net, config, precision="float32")(examples.x, examples.y, start)
    np.testing.assert_allclose(found, expected, atol=1e-5)


def test_attacks_with_random_numbers_are_about_as_strong(linear_net, examples):
    apgd, dlr, square = compared(
        linear_net,
        examples,
        Apgd(epsilon=0.01, steps=20),
        Apgd(epsilon=0.01, steps=20, objective="dlr"),
        Square(epsilon=0.03, queries=100),
    )
    for row in (apgd, dlr, square):
        assert row.share_of_equal_flags is None
        assert 0 < row.peer_success <= row.success + 0.1, row
    assert "last iterate" in apgd.differs


def test_the_closest_examples_are_found(linear_net, examples):
    """With 50 steps its line search gets closer than Adam where it succeeds at all."""
    deep_fool, carlini = compared(
        linear_net, examples, DeepFool(overshoot=0.01), CarliniWagner(steps=50, binary_searches=5)
    )
    assert (deep_fool.verdict, deep_fool.peer_success) == ("passes", 1.0)
    assert deep_fool.peer_distance == pytest.approx(1.01 * np.median(examples.l2), rel=0.01)
    assert carlini.success >= carlini.peer_success >= 0.75
    assert carlini.peer_distance >= np.median(examples.l2)


def test_decisions_alone_find_a_close_example(linear_net, examples):
    few = examples._replace(x=examples.x[:4], y=examples.y[:4])
    (row,) = compared(linear_net, few, HopSkipJump(queries=400))
    assert (row.success, row.peer_success) == (1.0, 1.0)
    assert row.peer_distance < 20 * np.median(examples.l2)


def test_saliency_maps_reach_the_target(linear_net, examples):
    (row,) = compared(linear_net, examples, Jsma(gamma=0.5))
    assert row.verdict == "passes"
    assert row.peer_success > 0.5


def test_it_begins_where_it_is_told_to_and_is_left_as_it_was(linear_net, examples):
    """A step of 0 stays at the start."""
    import importlib

    module = importlib.import_module(
        "art.attacks.evasion.projected_gradient_descent.projected_gradient_descent_pytorch"
    )
    before, start = module.random_sphere, np.clip(examples.x + 0.1, 0, 1)
    config = Pgd(epsilon=0.2, step_size=1e-12, steps=1, keep="last")
    x_adv = art.pgd(art.load(linear_net), examples.x, examples.y, config, start, 15)
    np.testing.assert_allclose(x_adv, start, atol=1e-6)
    assert module.random_sphere is before


def test_its_tensorflow_estimator_still_ignores_the_batch_size(linear_net, examples):
    """One of the reasons to run it on PyTorch; when this fails, they may be weighed again."""
    from art.estimators.classification import TensorFlowV2Classifier

    seen = []

    def model(x, training=False):
        seen.append(len(x))
        return linear_net(x, training=training)

    TensorFlowV2Classifier(model, nb_classes=4, input_shape=(8, 8, 1)).predict(examples.x, batch_size=10)
    assert seen == [40]


@pytest.mark.parametrize(
    ("attack", "config"),
    [
        (art.pgd, Pgd(objective="dlr")),
        (art.apgd, Apgd(objective="targeted_dlr")),
        (art.deep_fool, DeepFool(norm="linf")),
        (art.jsma, Jsma(pairs=False)),
    ],
)
def test_what_it_does_not_have_is_refused(linear_net, examples, attack, config):
    with pytest.raises(NotShared):
        attack(art.load(linear_net), examples.x, examples.y, config, None, 40)
