"""MART: boosted cross-entropy and the weighted divergence, worked by hand."""

import numpy as np
import pytest
import tensorflow as tf

from tfadv.adversarial import Mart, Trades
from tfadv.adversarial.mart import runner_up_penalty, weighted_divergence
from tfadv.attacks import Pgd
from tfadv.validation import UserError

ATTACK = Pgd(epsilon=0.1, step_size=0.1, steps=1)
P = np.array([[0.7, 0.2, 0.1], [0.3, 0.6, 0.1]], np.float32)
Q = np.array([[0.5, 0.25, 0.25], [0.2, 0.2, 0.6]], np.float32)


def test_the_runner_up_is_the_most_likely_wrong_class():
    """Of (0.7, 0.2, 0.1) at y = 0: -log(1.0001 - 0.2); of (0.3, 0.6, 0.1) at y = 0: -log(1.0001 - 0.6)."""
    found = runner_up_penalty(tf.constant([0, 0]), tf.math.log(P))
    np.testing.assert_allclose(found, [-np.log(0.8001), -np.log(0.4001)], rtol=1e-5)


def test_a_certain_runner_up_costs_9_nats_and_has_a_gradient():
    logits = tf.constant([[0.0, 100.0]])
    with tf.GradientTape() as tape:
        tape.watch(logits)
        value = runner_up_penalty(tf.constant([0]), logits)
    np.testing.assert_allclose(value, [-np.log(1e-4)], rtol=1e-2)
    assert np.isfinite(tape.gradient(value, logits)).all()


def test_the_divergence_counts_by_how_far_the_clean_image_is_from_certain():
    """(1 - 0.7) KL(p1||q1) at y = 0 and (1 - 0.6) KL(p2||q2) at y = 1."""
    found = weighted_divergence(tf.constant([0, 1]), tf.math.log(P), tf.math.log(Q))
    divergence = (P * np.log(P / Q)).sum(axis=1)
    np.testing.assert_allclose(found, [0.3 * divergence[0], 0.4 * divergence[1]], rtol=1e-4)
    certain = tf.constant([[50.0, 0.0, 0.0]])
    np.testing.assert_allclose(weighted_divergence(tf.constant([0]), certain, tf.math.log(Q[:1])), [0.0], atol=1e-6)


def test_a_step_on_a_linear_model_is_the_update_worked_by_hand(linear_model, compiled, images, labels):
    """The whole loss in float64, its gradient by central differences: also through the weight 1 - p_y(x)."""
    start = linear_model.get_weights()[0].astype(np.float64)
    model = compiled(Mart(linear_model, ATTACK, beta=5.0), rate=0.5, run_eagerly=True)
    x_adv = model.craft(tf.constant(images), tf.constant(labels), 0).numpy().reshape(10, 4).astype(np.float64)

    def loss(kernel):
        def softmax(flat):
            odds = np.exp(flat @ kernel)
            return odds / odds.sum(axis=1, keepdims=True)

        p, q, rows = softmax(images.reshape(10, 4).astype(np.float64)), softmax(x_adv), np.arange(10)
        runner_up = np.where(np.eye(3)[labels] == 1, -1, q).max(axis=1)
        boosted = -np.log(q[rows, labels]) - np.log(1.0001 - runner_up + 1e-12)
        weight = 1.0000001 - p[rows, labels]
        return (boosted + 5.0 * (p * np.log(p / (q + 1e-12))).sum(axis=1) * weight).mean()

    gradient = np.zeros_like(start)
    for place in np.ndindex(*start.shape):
        step = np.zeros_like(start)
        step[place] = 1e-6
        gradient[place] = (loss(start + step) - loss(start - step)) / 2e-6
    logs = model.train_on_batch(images, labels, return_dict=True)
    assert float(logs["loss"]) == pytest.approx(loss(start), rel=1e-4)
    np.testing.assert_allclose(linear_model.get_weights()[0], start - 0.5 * gradient, atol=1e-5)


def test_crafting_ascends_cross_entropy_from_the_start_of_trades(linear_model, images, labels):
    """On a linear model one step of epsilon from beside x is the corner, but for the thousandth of the start."""
    x_adv = Mart(linear_model, ATTACK, seed=2).craft(tf.constant(images), tf.constant(labels), 1).numpy()
    kernel = linear_model.get_weights()[0]
    odds = np.exp(images.reshape(10, 4) @ kernel)
    slope = (odds / odds.sum(axis=1, keepdims=True) - np.eye(3)[labels]) @ kernel.T
    corner = np.clip(images.reshape(10, 4) + 0.1 * np.sign(slope), 0, 1).reshape(images.shape)
    np.testing.assert_allclose(x_adv, corner, atol=0.005)
    still = Pgd(epsilon=0.1, step_size=0.0, steps=1)
    one, two = (
        kind(linear_model, still, seed=2).craft(tf.constant(images), tf.constant(labels), 1) for kind in (Mart, Trades)
    )
    np.testing.assert_array_equal(one, two)


def test_a_bad_beta_is_refused(net):
    with pytest.raises(UserError, match=r"beta must be a finite number >= 0, got -0\.5"):
        Mart(net(), ATTACK, beta=-0.5)
