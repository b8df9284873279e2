"""Label smoothing: equations worked by hand, the papers' identities, the Keras class in compile, fit and `.keras`."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from tfadv import soft_labels
from tfadv.losses import LabelSmoothing, label_smoothing
from tfadv.objectives import cross_entropy
from tfadv.validation import UserError

CLASSES = 10
RNG = np.random.default_rng(0)
LOGITS = tf.constant(3 * RNG.normal(size=[12, CLASSES]), tf.float32)
LABELS = tf.constant(RNG.integers(0, CLASSES, 12), tf.int32)
DENSE = tf.one_hot(LABELS, CLASSES)


def small_model(loss, **options):
    model = keras.Sequential([keras.layers.Input([4]), keras.layers.Dense(3)])
    model.compile(keras.optimizers.SGD(0.5), loss, **options)
    return model


def test_worked_by_hand():
    """K = 3, z = (log 2, 0, 0): p = (1/2, 1/4, 1/4). mass 0.2, y = 0: q = (0.8, 0.1, 0.1).

    loss = 0.8 log 2 + 0.2 log 4 = 1.2 log 2; for y = 1: q = (0.1, 0.8, 0.1), 0.1 log 2 + 0.9 log 4 = 1.9 log 2.
    """
    logits = tf.constant([[np.log(2), 0.0, 0.0]] * 2, tf.float32)
    np.testing.assert_allclose(
        label_smoothing(tf.constant([0, 1]), logits, mass=0.2), np.log(2) * np.array([1.2, 1.9]), rtol=1e-6
    )


@pytest.mark.parametrize("labels", [LABELS, DENSE], ids=["sparse", "dense"])
def test_mass_zero_is_cross_entropy(labels):
    np.testing.assert_allclose(label_smoothing(labels, LOGITS, mass=0.0), cross_entropy(LABELS, LOGITS), rtol=1e-6)
    plain = keras.losses.SparseCategoricalCrossentropy(from_logits=True)(LABELS, LOGITS)
    np.testing.assert_allclose(LabelSmoothing(0.0)(labels, LOGITS), plain, rtol=1e-6)


@pytest.mark.parametrize("mass", [0.1, 0.45, 0.9])
def test_it_is_cross_entropy_plus_a_penalty_linear_in_the_logits(mass):
    """FS/eq-L_LaS: L_LaS = L_clean - (delta / m) sum_i sum_j (1 - K y_j) / (K-1) f_j; LSV/theorem1 and eq5 for SLS:
    L_n + alpha R_n with R_n = (1/n) sum_i ((K y_i - 1) / (K-1))' z_i. The log-sum-exp cancels, so both are exact."""
    coefficients = (CLASSES * DENSE.numpy() - 1) / (CLASSES - 1)
    penalty = (coefficients * LOGITS.numpy()).sum(axis=1)
    expected = cross_entropy(LABELS, LOGITS).numpy() + mass * penalty
    np.testing.assert_allclose(label_smoothing(LABELS, LOGITS, mass=mass), expected, rtol=1e-5, atol=1e-5)
    np.testing.assert_allclose(LabelSmoothing(mass)(LABELS, LOGITS), expected.mean(), rtol=1e-5)


def test_theorem_1_with_the_papers_target_distribution():
    """LSV/theorem1: R_n = (1/n) sum (y_i - q'_i)' z_i, q' = (1 - y) / (K-1)."""
    y, z, alpha = DENSE.numpy(), LOGITS.numpy(), 0.4
    penalty = ((y - (1 - y) / (CLASSES - 1)) * z).sum(axis=1).mean()
    expected = cross_entropy(LABELS, LOGITS).numpy().mean() + alpha * penalty
    np.testing.assert_allclose(LabelSmoothing(alpha)(LABELS, LOGITS), expected, rtol=1e-5)


def test_two_classes_pay_the_size_of_the_logit_gap():
    """FS, binary and correctly classified: L_clean + delta |f| with f = z_y - z_other = 1.5 and 4."""
    logits, labels = tf.constant([[1.0, -0.5], [-2.0, 2.0]]), tf.constant([0, 1])
    expected = cross_entropy(labels, logits) + 0.1 * tf.constant([1.5, 4.0])
    np.testing.assert_allclose(label_smoothing(labels, logits, mass=0.1), expected, rtol=1e-6)


@pytest.mark.parametrize("alpha", [0.2, 0.95])
def test_uniform_mixture_equals_the_label_smoothing_of_keras(alpha):
    """LSQ/eq-LS: y - alpha (y - 1/K) is what Keras calls label_smoothing=alpha."""
    theirs = keras.losses.CategoricalCrossentropy(from_logits=True, label_smoothing=alpha)(DENSE, LOGITS)
    np.testing.assert_allclose(LabelSmoothing.from_uniform_mixture(alpha, CLASSES)(LABELS, LOGITS), theirs, rtol=1e-5)


def test_conversions_store_the_mass_and_pass_the_options_on():
    assert LabelSmoothing.from_uniform_mixture(0.95, 10).mass == pytest.approx(0.855)
    loss = LabelSmoothing.from_true_class_probability(0.8, reduction="sum", name="ls08")
    assert (loss.mass, loss.reduction, loss.name) == (pytest.approx(0.2), "sum", "ls08")


def test_the_gradient_vanishes_where_the_softmax_is_the_smoothed_label():
    """d loss / dz = p - q, so z = log q is the minimum; there the loss is the entropy of q."""
    q = soft_labels.smooth(LABELS, CLASSES, 0.3)
    logits = tf.math.log(q)
    with tf.GradientTape() as tape:
        tape.watch(logits)
        loss = label_smoothing(LABELS, logits, mass=0.3)
    np.testing.assert_allclose(tape.gradient(loss, logits), np.zeros([12, CLASSES]), atol=1e-6)
    np.testing.assert_allclose(loss, -(q.numpy() * np.log(q.numpy())).sum(axis=1), rtol=1e-5)


def test_every_form_of_the_labels_gives_the_same_loss():
    loss = LabelSmoothing(0.1, reduction=None)
    expected = label_smoothing(LABELS, LOGITS, mass=0.1)
    for y_true in (LABELS, LABELS[:, None], DENSE, tf.cast(LABELS, tf.int64), LABELS.numpy().astype(np.float32)):
        np.testing.assert_allclose(loss(y_true, LOGITS), expected, rtol=1e-6)


def test_mixed_labels_are_the_mixture_of_the_losses():
    """The loss is linear in the labels, so mixup's 0.7 / 0.3 label costs 0.7 and 0.3 of the two losses."""
    other = (LABELS + 1) % CLASSES
    mixed = 0.7 * DENSE + 0.3 * tf.one_hot(other, CLASSES)
    expected = 0.7 * label_smoothing(LABELS, LOGITS, mass=0.2) + 0.3 * label_smoothing(other, LOGITS, mass=0.2)
    np.testing.assert_allclose(label_smoothing(mixed, LOGITS, mass=0.2), expected, rtol=1e-5)


def test_half_precision_logits_are_taken_in_float32():
    half = tf.cast(LOGITS, tf.bfloat16)
    result = LabelSmoothing(0.1)(LABELS, half)
    assert result.dtype == tf.float32
    np.testing.assert_allclose(result, LabelSmoothing(0.1)(LABELS, tf.cast(half, tf.float32)), rtol=1e-6)


@pytest.mark.parametrize("size", [0, 1])
def test_batches_of_zero_and_one(size):
    result = label_smoothing(LABELS[:size], LOGITS[:size], mass=0.1)
    assert result.shape == [size]
    assert np.isfinite(result).all()


@pytest.mark.parametrize("jit", [False, True])
def test_fit_takes_a_step_of_exactly_this_gradient(jit):
    """Zero weights, lr 0.5: the bias moves by -0.5 mean(p - q), with p = 1/3 and mean(q) of labels 0, 0, 1 and mass
    0.3 = (0.7 + 0.7 + 0.15, 0.15 + 0.15 + 0.7, 3 * 0.15) / 3."""
    model = small_model(LabelSmoothing(0.3), jit_compile=jit)
    model.layers[-1].set_weights([np.zeros([4, 3]), np.zeros(3)])
    model.fit(np.zeros([3, 4], np.float32), np.array([0, 0, 1]), batch_size=3, verbose=0)
    expected = 0.5 * (np.array([1.55, 1.0, 0.45]) / 3 - 1 / 3)
    np.testing.assert_allclose(model.layers[-1].bias, expected, atol=1e-6)


def test_beyond_uniform_it_warns_and_says_what_may_be_meant():
    with pytest.warns(UserWarning, match="mass 0.95 leaves the true class 0.05, less than the 0.1 of a uniform label"):
        label_smoothing(LABELS, LOGITS, mass=0.95)


@pytest.mark.parametrize("mass", [-0.01, 1.01, float("nan"), None])
def test_a_bad_mass_is_refused_at_construction(mass):
    with pytest.raises(UserError, match=r"mass must lie in \[0, 1\]"):
        LabelSmoothing(mass)


def test_labels_with_another_number_of_classes_are_refused():
    with pytest.raises(UserError, match=r"y_true must have shape \[B\], \[B, 1\] or \[B, 10\]"):
        LabelSmoothing(0.1)(tf.one_hot(LABELS, 9), LOGITS)


def test_a_label_out_of_range_is_refused():
    with pytest.raises(tf.errors.InvalidArgumentError, match=r"labels must lie in 0..9"):
        LabelSmoothing(0.1)(LABELS + CLASSES, LOGITS)
