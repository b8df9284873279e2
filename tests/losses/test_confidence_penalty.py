"""The confidence penalty: entropies by hand, the divergence that it is, its gradient, and logits of any size."""

import numpy as np
import pytest
import tensorflow as tf

from tfadv.losses import ConfidencePenalty, LabelSmoothing, confidence_penalty
from tfadv.losses.confidence_penalty import negative_entropy
from tfadv.objectives import cross_entropy

CLASSES = 10
RNG = np.random.default_rng(0)
LOGITS = tf.constant(3 * RNG.normal(size=[12, CLASSES]), tf.float32)
LABELS = tf.constant(RNG.integers(0, CLASSES, 12), tf.int32)


def test_entropies_worked_by_hand():
    """p = (1/2, 1/4, 1/4): H = 1/2 log 2 + 1/2 log 4 = 1.5 log 2; equal logits: log 3; whatever is added to all."""
    logits = tf.constant([[np.log(2), 0.0, 0.0], [7.0, 7.0, 7.0], [100 + np.log(2), 100.0, 100.0]], tf.float32)
    expected = [1.5 * np.log(2), np.log(3), 1.5 * np.log(2)]
    np.testing.assert_allclose(-negative_entropy(logits), expected, rtol=1e-5)


def test_the_loss_worked_by_hand():
    """Label 1: log 4 - 0.4 * 1.5 log 2 = 1.4 log 2."""
    logits = tf.constant([[np.log(2), 0.0, 0.0]], tf.float32)
    np.testing.assert_allclose(confidence_penalty([1], logits, weight=0.4), [1.4 * np.log(2)], rtol=1e-6)


def test_it_is_the_divergence_from_the_uniform_distribution():
    """-H(p) = KL(p || u) - log K."""
    p = tf.nn.softmax(LOGITS).numpy().astype(np.float64)
    divergence = (p * np.log(p * CLASSES)).sum(axis=1)
    np.testing.assert_allclose(negative_entropy(LOGITS), divergence - np.log(CLASSES), rtol=1e-5)


def test_label_smoothing_is_the_divergence_in_the_other_direction():
    """Pereyra 2017: cross-entropy with labels (1 - a) y + a u is (1 - a) CE + a (KL(u || p) + log K)."""
    p = tf.nn.softmax(LOGITS).numpy().astype(np.float64)
    reverse = -np.log(p * CLASSES).mean(axis=1)
    expected = 0.8 * cross_entropy(LABELS, LOGITS).numpy() + 0.2 * (reverse + np.log(CLASSES))
    smoothed = LabelSmoothing.from_uniform_mixture(0.2, CLASSES, reduction=None)(LABELS, LOGITS)
    np.testing.assert_allclose(smoothed, expected, rtol=1e-5)


def test_the_gradient_is_exact():
    """d(-H) / dz_k = p_k (log p_k + H)."""
    with tf.GradientTape() as tape:
        tape.watch(LOGITS)
        value = negative_entropy(LOGITS)
    p = tf.nn.softmax(LOGITS).numpy()
    expected = p * (np.log(p) - value.numpy()[:, None])
    np.testing.assert_allclose(tape.gradient(value, LOGITS), expected, atol=1e-5)


def test_huge_logits_have_entropy_zero_and_no_nan():
    logits = tf.constant([[1e4, 0.0, -1e4], [3e38, 0.0, -3e37], [0.0, 1e30, 1e30]])
    with tf.GradientTape() as tape:
        tape.watch(logits)
        value = negative_entropy(logits)
    np.testing.assert_allclose(value, [0.0, 0.0, -np.log(2)], atol=1e-6)
    np.testing.assert_allclose(tape.gradient(value, logits), np.zeros([3, 3]), atol=1e-6)


def test_the_loss_is_bounded_below_by_the_largest_entropy():
    """CE >= 0 and H <= log K; z = 0 attains the second."""
    assert (confidence_penalty(LABELS, LOGITS, weight=2.0).numpy() >= -2 * np.log(CLASSES)).all()
    at_zero = confidence_penalty(LABELS[:1], tf.zeros([1, CLASSES]), weight=2.0)
    np.testing.assert_allclose(at_zero, [-np.log(CLASSES)], rtol=1e-6)


@pytest.mark.parametrize("weight", [0.1, 0.5])
def test_the_optimum_leaves_probability_to_the_other_classes(weight):
    """K = 2, gap g = z_y - z_other, p = sigmoid(g): d/dg (CE - beta H) = p - 1 + beta p (1 - p) g, whose root is
    beta p g = 1: g = 10.0005 for beta 0.1, 2.2177 for 0.5 (bisection)."""
    gap = {0.1: 10.0005, 0.5: 2.2177}[weight]
    p = 1 / (1 + np.exp(-gap))
    assert weight * p * gap == pytest.approx(1, abs=1e-4)
    logits = tf.constant([[gap, 0.0]], tf.float32)
    with tf.GradientTape() as tape:
        tape.watch(logits)
        loss = ConfidencePenalty(weight)(tf.constant([0]), logits)
    np.testing.assert_allclose(tape.gradient(loss, logits), [[0.0, 0.0]], atol=1e-5)
