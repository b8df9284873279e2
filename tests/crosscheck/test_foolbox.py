"""Foolbox beside tfadv, on a linear model whose closest adversarial examples are known."""

import dataclasses

import numpy as np
import pytest

from tfadv.attacks import Fgm, Pgd, compiled
from tfadv.attacks.carlini_wagner import CarliniWagner
from tfadv.attacks.deep_fool import DeepFool
from tfadv.attacks.hop_skip_jump import HopSkipJump
from tfadv.attacks.mim import Mim
from tfadv.crosscheck import PEERS, foolbox, native
from tfadv.crosscheck.comparison import compare
from tfadv.crosscheck.peers import NotShared

pytest.importorskip("torch", reason="PyTorch is optional: it pulls gigabytes")
pytest.importorskip("foolbox", reason="Foolbox is optional: it needs PyTorch")

pytestmark = pytest.mark.slow

PGD = {"epsilon": 0.01, "step_size": 0.004, "steps": 5}
PGD_L2 = {"epsilon": 0.06, "step_size": 0.02, "steps": 5, "norm": "l2"}


def compared(model, examples, *configs):
    strength = compare(model, examples.x, examples.y, configs, {"foolbox": PEERS["foolbox"]}, report=lambda _: None)
    assert strength.not_compared == ()
    return strength.rows


def test_first_order_attacks_repeat_ours(linear_net, examples):
    fgm, fgm_l2, pgd, bim, pgd_l2, mim, mim_l2 = compared(
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
    for row in (fgm, fgm_l2, pgd, bim, pgd_l2):
        assert (row.verdict, row.share_of_equal_flags) == ("passes", 1.0), row
        assert 0 < row.peer_success < 1
    for row in (mim, mim_l2):
        assert (row.verdict, row.share_of_equal_flags) == ("passes", None), row
        assert "signs" in row.differs


def test_the_closest_examples_are_found(linear_net, examples):
    l2, linf, carlini = compared(
        linear_net, examples, DeepFool(), DeepFool(norm="linf"), CarliniWagner(steps=100, binary_searches=5)
    )
    for row, nearest in ((l2, examples.l2), (linf, examples.linf), (carlini, examples.l2)):
        assert (row.verdict, row.peer_success) == ("passes", 1.0), row
        assert 1.0 <= row.peer_distance / np.median(nearest) < 1.06


def test_decisions_alone_find_a_close_example(linear_net, examples):
    few = examples._replace(x=examples.x[:4], y=examples.y[:4])
    l2, linf = compared(linear_net, few, HopSkipJump(queries=400), HopSkipJump(queries=400, norm="linf"))
    for row, nearest in ((l2, examples.l2), (linf, examples.linf)):
        assert (row.success, row.peer_success) == (1.0, 1.0)
        assert row.peer_distance < 20 * np.median(nearest)


def test_it_begins_where_it_is_told_to(linear_net, examples):
    """A step of 0 stays at the start."""
    start = np.clip(examples.x + 0.1, 0, 1)
    config = Pgd(epsilon=0.2, step_size=1e-12, steps=1, keep="last")
    x_adv = foolbox.pgd(foolbox.load(linear_net), examples.x, examples.y, config, start, 15)
    np.testing.assert_allclose(x_adv, start, atol=1e-6)


@pytest.mark.parametrize(
    "config", [Fgm(epsilon=0.01), Fgm(epsilon=0.06, norm="l2"), Pgd(**PGD), Pgd(**PGD_L2)], ids=repr
)
def test_in_tensorflow_it_makes_the_same_images(linear_net, examples, config):
    """Far from the box both orders of ball and box are the same."""
    config = dataclasses.replace(config, keep="last") if isinstance(config, Pgd) else config
    start = examples.x + 0.005 if isinstance(config, Pgd) else None
    model = foolbox.TENSORFLOW.load(native.Network(linear_net, (8, 8, 1), 4))
    found = foolbox.TENSORFLOW.attack(config)(model, examples.x, examples.y, config, start, 15)
    expected = compiled(linear_net, config, precision="float32")(examples.x, examples.y, start)
    np.testing.assert_allclose(found, expected, atol=1e-5)


def test_in_jax_it_makes_the_same_images(linear_net, examples, monkeypatch):
    numpy = pytest.importorskip("jax.numpy", reason="JAX is optional: it is another framework")
    (weights,) = linear_net.get_weights()
    monkeypatch.setattr(native, "jax_function", lambda model: lambda x: x.reshape(len(x), -1) @ numpy.asarray(weights))
    model = foolbox.JAX.load(native.Network(None, (8, 8, 1), 4))
    config = Pgd(**PGD, keep="last")
    start = examples.x + 0.005
    found = foolbox.JAX.attack(config)(model, examples.x, examples.y, config, start, 15)
    expected = compiled(linear_net, config, precision="float32")(examples.x, examples.y, start)
    np.testing.assert_allclose(found, expected, atol=1e-5)


def test_outside_pytorch_it_draws_no_start(linear_net, examples):
    model = foolbox.TENSORFLOW.load(native.Network(linear_net, (8, 8, 1), 4))
    with pytest.raises(NotShared, match="a given start only"):
        foolbox.pgd(model, examples.x, examples.y, Pgd(**PGD), None, 40)


def test_what_it_does_not_find_is_the_image_and_not_a_black_one(linear_net, examples):
    """Foolbox returns zeros for a failure, and zeros may be misclassified."""
    config = CarliniWagner(steps=1, binary_searches=1, initial_constant=1e-12)
    x_adv = foolbox.carlini_wagner(foolbox.load(linear_net), examples.x, examples.y, config, None, 40)
    np.testing.assert_array_equal(x_adv, examples.x)


def test_labels_of_32_bits_still_fail(linear_net, examples):
    """The reason for int64 labels; when this fails, they may go."""
    import foolbox as library
    import tensorflow as tf

    model = library.TensorFlowModel(linear_net, bounds=(0, 1))
    attack = library.attacks.LinfFastGradientAttack()
    with pytest.raises(AttributeError, match="find_common_type"):
        attack(model, tf.constant(examples.x), tf.constant(examples.y), epsilons=0.1)


@pytest.mark.parametrize(
    ("attack", "config"),
    [
        (foolbox.pgd, Pgd(objective="margin")),
        (foolbox.pgd, Pgd(norm="l2", bounds=(-1.0, 1.0))),
        (foolbox.fgm, Fgm(label="predicted")),
        (foolbox.mim, Mim(random_start=True)),
    ],
)
def test_what_it_does_not_have_is_refused(linear_net, examples, attack, config):
    with pytest.raises(NotShared):
        attack(foolbox.load(linear_net), examples.x, examples.y, config, None, 40)
