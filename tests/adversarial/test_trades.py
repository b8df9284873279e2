"""TRADES: the divergence by hand, its start, both ends differentiated, and beta 0."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from tfadv.adversarial import AdversarialTraining, Trades
from tfadv.adversarial.trades import kullback_leibler
from tfadv.attacks import Fgm, Pgd
from tfadv.validation import UserError

ATTACK = Pgd(epsilon=0.1, step_size=0.1, steps=1)


def softmax(logits):
    odds = np.exp(logits - logits.max(axis=1, keepdims=True))
    return odds / odds.sum(axis=1, keepdims=True)


def test_the_divergence_is_0_of_equals_positive_otherwise_and_not_symmetric():
    """p = (1/2, 1/2), q = (4/5, 1/5): KL(p||q) = log(5/4) = 0.2231, KL(q||p) = 0.8 log 1.6 + 0.2 log 0.4 = 0.1927."""
    p, q = np.log([[0.5, 0.5]]).astype(np.float32), np.log([[0.8, 0.2]]).astype(np.float32)
    np.testing.assert_allclose(kullback_leibler(p, p), [0.0], atol=1e-7)
    np.testing.assert_allclose(kullback_leibler(p, q), [np.log(1.25)], rtol=1e-5)
    np.testing.assert_allclose(kullback_leibler(q, p), [0.8 * np.log(1.6) + 0.2 * np.log(0.4)], rtol=1e-5)
    np.testing.assert_allclose(kullback_leibler(p + 7.0, q - 3.0), [np.log(1.25)], rtol=1e-5)


def test_the_divergence_of_saturated_float16_logits_is_finite():
    large = tf.constant([[3e4, -3e4, 0.0]], tf.float16)
    assert np.isfinite(kullback_leibler(large, -large)).all()


def test_a_step_on_a_linear_model_is_the_update_worked_by_hand(linear_model, compiled, images, labels):
    """d KL(p||q) / d (clean logits) = p (log p/q - KL), / d (adversarial logits) = q - p: the first is there too."""
    kernel = linear_model.get_weights()[0].astype(np.float64)
    model = compiled(Trades(linear_model, ATTACK, beta=3.0), rate=0.5, run_eagerly=True)
    x_adv = model.craft(tf.constant(images), tf.constant(labels), 0).numpy().reshape(10, 4).astype(np.float64)
    flat = images.reshape(10, 4).astype(np.float64)
    p, q, truth = softmax(flat @ kernel), softmax(x_adv @ kernel), np.eye(3)[labels]
    divergence = (p * np.log(p / q)).sum(axis=1)
    loss = -np.log((p * truth).sum(axis=1)) + 3.0 * divergence
    at_clean = (p - truth) + 3.0 * p * (np.log(p / q) - divergence[:, None])
    gradient = (flat.T @ at_clean + x_adv.T @ (3.0 * (q - p))) / 10
    logs = model.train_on_batch(images, labels, return_dict=True)
    assert divergence.mean() > 1e-3
    assert float(logs["loss"]) == pytest.approx(loss.mean(), rel=1e-4)
    np.testing.assert_allclose(linear_model.get_weights()[0], kernel - 0.5 * gradient, atol=2e-6)
    accuracy = float(logs["sparse_categorical_accuracy"])
    assert accuracy == pytest.approx((q.argmax(axis=1) == labels).mean())


def test_sample_weights_are_on_both_terms(linear_model, compiled, images, labels):
    kernel, weights = linear_model.get_weights()[0].astype(np.float64), np.linspace(0, 2, 10).astype(np.float32)
    model = compiled(Trades(linear_model, ATTACK, beta=3.0), run_eagerly=True)
    x_adv = model.craft(tf.constant(images), tf.constant(labels), 0).numpy().reshape(10, 4).astype(np.float64)
    p, q = softmax(images.reshape(10, 4) @ kernel), softmax(x_adv @ kernel)
    each = -np.log(p[np.arange(10), labels]) + 3.0 * (p * np.log(p / q)).sum(axis=1)
    logs = model.train_on_batch(images, labels, sample_weight=weights, return_dict=True)
    assert float(logs["loss"]) == pytest.approx((weights * each).mean(), rel=1e-4)


def test_crafting_ascends_the_divergence_and_knows_no_label(net, images, labels):
    """A step from x + 0.001 N(0, 1) along the sign of the gradient of KL(p(x) || p(x')), which y does not enter."""
    model, x = Trades(net(), ATTACK, seed=4), tf.constant(images)
    x_adv = model.craft(x, tf.constant(labels), 2)
    np.testing.assert_array_equal(x_adv, model.craft(x, tf.constant((labels + 1) % 3), 2))
    start = tf.Variable(model.craft(x, tf.constant(labels), 2))
    still = Trades(model.classifier, Pgd(epsilon=0.1, step_size=0.0, steps=1), seed=4)
    start.assign(still.craft(x, tf.constant(labels), 2))
    with tf.GradientTape() as tape:
        total = tf.reduce_sum(kullback_leibler(model.classifier(x), model.classifier(start)))
    inside = (images > 0.01) & (images < 0.99)
    expected = np.clip(start + 0.1 * np.sign(tape.gradient(total, start)), images - 0.1, images + 0.1)
    assert inside.mean() > 0.8
    np.testing.assert_allclose(x_adv.numpy()[inside], np.clip(expected, 0, 1)[inside], atol=1e-6)


def test_the_start_is_normal_with_a_deviation_of_a_thousandth(net):
    grey = tf.fill([64, 2, 2, 1], 0.5)
    model = Trades(net(), Pgd(epsilon=0.1, step_size=0.0, steps=1), seed=4)
    crafted = [model.craft(grey, tf.zeros([64], tf.int32), step) for step in range(4)]
    noise = np.stack(crafted) - 0.5
    assert noise.std() == pytest.approx(0.001, rel=0.1)  # 1,024 numbers: the deviation is known to 2%
    assert abs(noise.mean()) < 1.5e-4
    assert len(np.unique(noise)) > 900


def test_more_steps_find_more_divergence(net, images, labels):
    classifier = net()
    found = [
        kullback_leibler(
            classifier(images),
            classifier(Trades(classifier, Pgd(0.2, 0.05, steps)).craft(tf.constant(images), tf.constant(labels), 0)),
        ).numpy()
        for steps in (1, 8)
    ]
    assert (found[1] > found[0]).all()


def test_beta_0_is_natural_training(net, compiled, images, labels):
    """To the bit, whatever is crafted."""
    zero, natural = (
        compiled(model, optimizer=keras.optimizers.Adam(0.01), run_eagerly=True)
        for model in (Trades(net(), ATTACK, beta=0.0), AdversarialTraining(net(), ATTACK, clean_weight=1.0))
    )
    for model in (zero, natural):
        for _ in range(3):
            model.train_on_batch(images, labels)
    for one, two in zip(zero.classifier.get_weights(), natural.classifier.get_weights(), strict=True):
        np.testing.assert_array_equal(one, two)


def test_a_larger_beta_brings_the_predictions_closer(net, compiled, images, labels):
    def divergence(beta):
        model = compiled(Trades(net(), ATTACK, beta=beta), optimizer=keras.optimizers.Adam(0.02), run_eagerly=True)
        for _ in range(25):
            model.train_on_batch(images, labels)
        x_adv = model.craft(tf.constant(images), tf.constant(labels), 99)
        return float(tf.reduce_mean(kullback_leibler(model.classifier(images), model.classifier(x_adv))))

    assert divergence(20.0) < 0.7 * divergence(0.0)


@pytest.mark.parametrize("beta", [-1.0, float("inf"), None])
def test_a_bad_beta_is_refused(net, beta):
    with pytest.raises(UserError, match="beta must be a finite number >= 0, got"):
        Trades(net(), ATTACK, beta=beta)


@pytest.mark.parametrize("attack", [Pgd(objective="margin"), Fgm(objective="dlr"), Fgm(label="predicted")])
def test_an_objective_that_would_not_be_used_is_refused(net, attack):
    with pytest.raises(UserError, match="attack must leave objective and label as they are, because this method asc"):
        Trades(net(), attack)
