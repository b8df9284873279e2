"""Objectives: worked numbers, the sign of the margin, the invariances of DLR, and no trace of the neighbors."""

import numpy as np
import pytest
import tensorflow as tf

from tfadv.objectives import OBJECTIVES, cross_entropy, difference_of_logits_ratio, margin
from tfadv.validation import UserError

LOGITS = np.array([[2.0, 1.0, 0.0], [0.5, -1.0, 3.0]], np.float32)
LABELS = np.array([0, 1], np.int32)
DENSE = np.eye(3, dtype=np.float32)[LABELS]
RNG = np.random.default_rng(0)
RANDOM_LOGITS = RNG.normal(size=(200, 5)).astype(np.float32) * 3
RANDOM_LABELS = RNG.integers(0, 5, 200).astype(np.int32)
MISCLASSIFIED = RANDOM_LOGITS.argmax(axis=1) != RANDOM_LABELS


def test_cross_entropy_is_worked_out_by_hand():
    """log(e^2 + e^1 + e^0) - 2 = 0.40760596; log(e^.5 + e^-1 + e^3) + 1 = 4.0956743."""
    expected = [np.log(np.exp(2) + np.exp(1) + 1) - 2, np.log(np.exp(0.5) + np.exp(-1) + np.exp(3)) + 1]
    np.testing.assert_allclose(expected, [0.40760596, 4.0956743], rtol=1e-6)
    np.testing.assert_allclose(cross_entropy(LABELS, LOGITS), expected, rtol=1e-6)


def test_cross_entropy_of_a_mixture_is_the_mixture_of_cross_entropies():
    mixed = 0.25 * cross_entropy([0, 0], LOGITS) + 0.75 * cross_entropy([2, 2], LOGITS)
    np.testing.assert_allclose(cross_entropy([[0.25, 0.0, 0.75]] * 2, LOGITS), mixed, rtol=1e-6)


@pytest.mark.parametrize("name", OBJECTIVES)
@pytest.mark.parametrize(
    "labels",
    [DENSE, LABELS.astype(np.int64), LABELS[:, None], DENSE.astype(np.int32)],
    ids=["dense", "64", "b1", "int"],
)
def test_every_form_of_the_same_labels_gives_the_same_objective(name, labels):
    np.testing.assert_allclose(OBJECTIVES[name](labels, LOGITS), OBJECTIVES[name](LABELS, LOGITS), rtol=1e-6)


def test_margin_is_worked_out_by_hand():
    """max(1, 0) - 2 = -1, max(0.5, 3) - (-1) = 4."""
    np.testing.assert_array_equal(margin(LABELS, LOGITS), [-1.0, 4.0])


@pytest.mark.parametrize("name", ["margin", "dlr"])
def test_the_margin_is_positive_exactly_where_the_example_is_misclassified(name):
    assert MISCLASSIFIED.any()
    assert not MISCLASSIFIED.all()
    np.testing.assert_array_equal(OBJECTIVES[name](RANDOM_LABELS, RANDOM_LOGITS).numpy() > 0, MISCLASSIFIED)


def test_the_margin_keeps_a_gradient_where_the_softmax_saturates():
    """At logits (200, 0) the gradient of cross-entropy is (p - y) = (0, e^-200 = 0); that of the margin is (-1, 1)."""
    logits = tf.constant([[200.0, 0.0]])
    gradients = {}
    for name in ("cross_entropy", "margin"):
        with tf.GradientTape() as tape:
            tape.watch(logits)
            value = OBJECTIVES[name]([0], logits)
        gradients[name] = tape.gradient(value, logits).numpy().tolist()
    assert gradients == {"cross_entropy": [[0.0, 0.0]], "margin": [[-1.0, 1.0]]}


def test_dlr_is_worked_out_by_hand():
    """Logits 4, 1, 2, 0 in order 4, 2, 1, 0: the denominator is 4 - 1 = 3.

    y = 0: (2 - 4) / 3; y = 2 (second): (4 - 2) / 3; y = 1 (third): 3 / 3; y = 3 (fourth): 4 / 3.
    """
    logits = np.repeat([[4.0, 1.0, 2.0, 0.0]], 4, axis=0).astype(np.float32)
    np.testing.assert_allclose(difference_of_logits_ratio([0, 1, 2, 3], logits), [-2 / 3, 1.0, 2 / 3, 4 / 3], rtol=1e-6)


def test_dlr_is_unchanged_by_scaling_and_shifting_the_logits():
    expected = difference_of_logits_ratio(RANDOM_LABELS, RANDOM_LOGITS)
    for scale, shift in ((1000.0, 0.0), (1e-3, 0.0), (1.0, 7.0)):
        changed = difference_of_logits_ratio(RANDOM_LABELS, scale * RANDOM_LOGITS + shift)
        np.testing.assert_allclose(changed, expected, rtol=1e-4, atol=1e-4)


def test_dlr_lies_in_minus_one_to_zero_where_the_class_is_right_and_below_one_down_to_the_third():
    """z_(2) lies between z_(1) and z_(3), so -(z_(1) - z_(2)) / (z_(1) - z_(3)) is in [-1, 0]."""
    value = difference_of_logits_ratio(RANDOM_LABELS, RANDOM_LOGITS).numpy()
    truth = np.take_along_axis(RANDOM_LOGITS, RANDOM_LABELS[:, None], axis=1)
    rank = (truth < RANDOM_LOGITS).sum(axis=1)
    assert ((value[rank == 0] >= -1) & (value[rank == 0] <= 0)).all()
    assert ((value[rank == 1] > 0) & (value[rank == 1] <= 1)).all()
    np.testing.assert_allclose(value[rank == 2], 1.0, rtol=1e-6)
    assert (value[rank > 2] > 1).all()


def test_dlr_of_equal_logits_is_zero():
    np.testing.assert_array_equal(difference_of_logits_ratio([1], tf.fill([1, 3], 2.0)), [0.0])


def test_dlr_refuses_two_classes_and_names_the_remedy():
    with pytest.raises(UserError, match=r"at least 3 classes, got 2 logits.*objective='margin'"):
        difference_of_logits_ratio([0], tf.constant([[1.0, 2.0]]))


@pytest.mark.parametrize("name", OBJECTIVES)
def test_every_objective_grows_as_the_true_logit_falls(name):
    """From a correctly classified point, down to a tie of the first two."""
    truth = np.linspace(5.0, 3.0, 20, dtype=np.float32)
    logits = np.stack([truth, np.full(20, 3.0, np.float32), np.zeros(20, np.float32)], axis=1)
    assert (np.diff(OBJECTIVES[name](np.zeros(20, np.int32), logits)) > 0).all()


@pytest.mark.parametrize("name", OBJECTIVES)
def test_value_and_gradient_of_an_example_do_not_depend_on_its_neighbors(name):
    def value_and_gradient(rows):
        logits = tf.constant(RANDOM_LOGITS[rows])
        with tf.GradientTape() as tape:
            tape.watch(logits)
            value = OBJECTIVES[name](RANDOM_LABELS[rows], logits)
        return value.numpy(), tape.gradient(value, logits).numpy()

    together = value_and_gradient(slice(0, 4))
    for row in range(4):
        alone = value_and_gradient(slice(row, row + 1))
        np.testing.assert_array_equal(together[0][row], alone[0][0])
        np.testing.assert_array_equal(together[1][row], alone[1][0])


@pytest.mark.parametrize("name", OBJECTIVES)
def test_every_objective_gives_one_finite_float32_per_example(name):
    for logits in (RANDOM_LOGITS, RANDOM_LOGITS * 1e4, np.zeros_like(RANDOM_LOGITS)):
        value = OBJECTIVES[name](RANDOM_LABELS, tf.constant(logits, tf.bfloat16))
        assert value.shape == [200]
        assert value.dtype == tf.float32
        assert np.isfinite(value).all()
