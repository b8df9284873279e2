"""Crafting: the steps of an attack along any objective, labels in every form, and numbers that follow from the step."""

import numpy as np
import pytest
import tensorflow as tf

from tfadv.adversarial import crafting
from tfadv.attacks import Mim, Pgd
from tfadv.attacks.mim import mim
from tfadv.attacks.pgd import pgd

X = tf.constant(np.random.default_rng(1).random((6, 4), np.float32))
Y = tf.constant([0, 1, 2, 0, 1, 2])
WEIGHTS = tf.constant(np.random.default_rng(2).normal(size=(4, 3)).astype(np.float32))


def model(x):
    return tf.tanh(x @ WEIGHTS) * 3.0


@pytest.mark.parametrize(("kind", "function"), [(Pgd, pgd), (Mim, mim)], ids=["pgd", "mim"])
def test_the_steps_are_those_of_the_attack_that_keeps_its_last_iterate(kind, function):
    config = kind(epsilon=0.2, step_size=0.05, steps=3, keep="last", random_start=False)
    found = crafting.ascend(config, model, X, Y, X, epsilon=0.1, step_size=0.04)
    weaker = kind(epsilon=0.1, step_size=0.04, steps=3, keep="last", random_start=False)
    np.testing.assert_array_equal(found, function(model, X, Y, X, config=weaker))


def test_the_first_gradient_is_taken_at_the_start_even_outside_the_box():
    """z = 4 v^2 for class 1 falls below 0 and rises above: from x = 0.1 and start -0.1 one step of 0.2 goes down."""

    def bowl(x):
        return tf.concat([tf.zeros_like(x), 4.0 * x**2], axis=1)

    config = Pgd(epsilon=0.25, step_size=0.05, steps=1, bounds=(-1.0, 1.0))
    x, y = tf.constant([[0.1]]), tf.constant([0])
    for start, expected in ((-0.1, -0.15), (0.2, 0.25), (-0.2, -0.15)):
        found = crafting.ascend(config, bowl, x, y, tf.constant([[start]]), epsilon=0.25, step_size=0.05)
        np.testing.assert_allclose(found, [[expected]], atol=1e-6)
    box = Pgd(epsilon=0.25, step_size=0.05, steps=1)
    found = crafting.ascend(box, bowl, x, y, tf.constant([[-0.1]]), epsilon=0.25, step_size=0.05)
    np.testing.assert_allclose(found, [[0.0]], atol=1e-6)


def test_an_objective_of_ones_own_takes_the_place_of_the_attacks_own():
    config = Pgd(epsilon=0.2, step_size=0.2, steps=1)
    found = crafting.ascend(
        config, lambda x: x @ WEIGHTS, X, Y, X, epsilon=0.2, step_size=0.2, objective=lambda logits: -logits[:, 2]
    )
    np.testing.assert_allclose(found, np.clip(X - 0.2 * np.sign(WEIGHTS[:, 2]), 0, 1), atol=1e-6)


def test_class_numbers_of_every_form_of_labels():
    expected = np.array([2, 0], np.int32)
    for labels in ([2, 0], [[2], [0]], [[0.1, 0.3, 0.6], [0.5, 0.4, 0.1]], [2.0, 0.0]):
        found = crafting.class_numbers(tf.constant(labels))
        assert found.dtype == tf.int32
        np.testing.assert_array_equal(found, expected)


def test_draws_differ_by_seed_purpose_step_and_example_and_repeat_themselves():
    def draw(seed=0, purpose=crafting.START, step=3, count=2):
        return crafting.normal(seed, purpose, tf.constant(step), X[:count]).numpy()

    np.testing.assert_array_equal(draw(), draw())
    np.testing.assert_array_equal(draw(count=5)[:2], draw())
    for other in (draw(seed=1), draw(purpose=crafting.MIXTURE), draw(step=4), draw()[::-1]):
        assert np.abs(draw() - other).max() > 0.1


def test_two_replicas_draw_the_two_halves_of_what_one_device_draws(monkeypatch):
    def numbers(x):
        step = tf.constant(2)
        return [
            crafting.ball_points("linf", 5, step, x).numpy(),
            crafting.ball_points("l2", 5, step, x).numpy(),
            crafting.uniform(5, crafting.START, step, x, (3,)).numpy(),
            crafting.normal(5, crafting.START, step, x).numpy(),
        ]

    whole = numbers(X[:4])
    monkeypatch.setattr(crafting, "replicas", lambda: 2)
    for replica in (0, 1):
        monkeypatch.setattr(crafting, "replica", lambda replica=replica: tf.constant(replica))
        for part, both in zip(numbers(X[:2]), whole, strict=True):
            np.testing.assert_array_equal(part, both[2 * replica : 2 * replica + 2])


def test_outside_of_any_replica_the_number_is_0():
    strategy = tf.distribute.OneDeviceStrategy("CPU:0")
    with strategy.scope():
        assert tf.distribute.get_replica_context() is None
        assert int(crafting.replica()) == 0
