"""Objectives: worked numbers, the sign of the margin, the invariances of DLR, and no trace of the neighbors."""

import numpy as np
import pytest
import tensorflow as tf

from tfadv.objectives import (
    OBJECTIVES,
    cross_entropy,
    difference_of_logits_ratio,
    lifted_cross_entropy,
    margin,
    ranked_wrong_class,
    targeted_dlr,
)
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


def test_lifted_cross_entropy_is_worked_out_by_hand():
    """Spreads of 2 and 4 are lifted to 10, factors 5 and 2.5: log(e^10 + e^5 + 1) - 10, log(...) + 2.5."""
    expected = [np.log(np.exp(10) + np.exp(5) + 1) - 10, np.log(np.exp(1.25) + np.exp(-2.5) + np.exp(7.5)) + 2.5]
    np.testing.assert_allclose(lifted_cross_entropy(LABELS, LOGITS), expected, rtol=1e-4)


def test_lifted_cross_entropy_ascends_alike_for_all_small_logits_and_as_plain_for_large_ones():
    def direction(objective, logits):
        logits = tf.constant(logits)
        with tf.GradientTape() as tape:
            tape.watch(logits)
            value = objective(RANDOM_LABELS, logits)
        gradient = tape.gradient(value, logits).numpy()
        return gradient / np.abs(gradient).max(axis=1, keepdims=True)

    spread = RANDOM_LOGITS.max(axis=1, keepdims=True) - RANDOM_LOGITS.min(axis=1, keepdims=True)
    ten = 10 * RANDOM_LOGITS / spread
    expected = direction(cross_entropy, ten)
    for factor in (1.0, 0.1, 1e-3, 1e-6):
        np.testing.assert_allclose(direction(lifted_cross_entropy, factor * ten), expected, atol=1e-4)
    for factor in (1.001, 3.0):
        larger = direction(lifted_cross_entropy, factor * ten)
        np.testing.assert_allclose(larger, direction(cross_entropy, factor * ten), atol=1e-4)
    # Plain cross-entropy of vanishing logits forgets which wrong class is near: all their directions are equal.
    plain = direction(cross_entropy, 1e-6 * ten)
    wrong = np.sort(plain, axis=1)[:, 1:]
    np.testing.assert_allclose(wrong, np.broadcast_to(wrong[:, :1], wrong.shape), atol=1e-4)


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
        # A quotient may round differently within a vector of the processor and at its end.
        np.testing.assert_array_max_ulp(together[0][row], alone[0][0], 2)
        np.testing.assert_array_max_ulp(together[1][row], alone[1][0], 2)


@pytest.mark.parametrize("name", OBJECTIVES)
def test_every_objective_gives_one_finite_float32_per_example(name):
    for logits in (RANDOM_LOGITS, RANDOM_LOGITS * 1e4, np.zeros_like(RANDOM_LOGITS)):
        value = OBJECTIVES[name](RANDOM_LABELS, tf.constant(logits, tf.bfloat16))
        assert value.shape == [200]
        assert value.dtype == tf.float32
        assert np.isfinite(value).all()


def test_targeted_dlr_is_worked_out_by_hand():
    """Logits 4, 1, 2, 0, -6 in order 4, 2, 1, 0, -6: the denominator is 4 - (1 + 0) / 2 = 3.5.

    y = 0, t = 2: (2 - 4) / 3.5; y = 3, t = 0: (4 - 0) / 3.5; y = 1, t = 4: (-6 - 1) / 3.5.
    """
    logits = np.repeat([[4.0, 1.0, 2.0, 0.0, -6.0]], 3, axis=0).astype(np.float32)
    expected = [-2 / 3.5, 4 / 3.5, -2.0]
    np.testing.assert_allclose(targeted_dlr([0, 3, 1], [2, 0, 4], logits), expected, rtol=1e-6)
    dense = np.eye(5, dtype=np.float32)
    np.testing.assert_allclose(targeted_dlr(dense[[0, 3, 1]], dense[[2, 0, 4]], logits), expected, rtol=1e-6)


def test_the_gradient_of_targeted_dlr_is_worked_out_by_hand():
    """n / d with n = z_2 - z_0 = -2 and d = 3.5 as above: dn / d - n dd / d^2 with dd = (1, -1/2, 0, -1/2, 0)."""
    logits = tf.constant([[4.0, 1.0, 2.0, 0.0, -6.0]])
    with tf.GradientTape() as tape:
        tape.watch(logits)
        value = targeted_dlr([0], [2], logits)
    first, second = np.array([-1.0, 0, 1, 0, 0]) / 3.5, 2 * np.array([1.0, -0.5, 0, -0.5, 0]) / 3.5**2
    np.testing.assert_allclose(tape.gradient(value, logits), [first + second], rtol=1e-5, atol=1e-7)


def test_targeted_dlr_is_unchanged_by_scaling_and_shifting_and_positive_where_the_target_leads():
    targets = (RANDOM_LABELS + 1 + np.arange(200) % 4) % 5
    value = targeted_dlr(RANDOM_LABELS, targets, RANDOM_LOGITS)
    leads = RANDOM_LOGITS[np.arange(200), targets] > RANDOM_LOGITS[np.arange(200), RANDOM_LABELS]
    assert 0 < leads.sum() < 200
    np.testing.assert_array_equal(value.numpy() > 0, leads)
    for scale, shift in ((1000.0, 0.0), (1e-3, 0.0), (1.0, 7.0)):
        changed = targeted_dlr(RANDOM_LABELS, targets, scale * RANDOM_LOGITS + shift)
        np.testing.assert_allclose(changed, value, rtol=1e-4, atol=1e-4)


def test_targeted_dlr_of_equal_logits_is_zero_and_of_bfloat16_a_float32():
    value = targeted_dlr([1], [0], tf.fill([1, 4], tf.constant(2.0, tf.bfloat16)))
    assert value.dtype == tf.float32
    np.testing.assert_array_equal(value, [0.0])


def test_targeted_dlr_refuses_three_classes_and_names_the_remedy():
    with pytest.raises(UserError, match=r"targeted dlr .*at least 4 classes, got 3 logits; use the untargeted one"):
        targeted_dlr([0], [1], tf.constant([[1.0, 2.0, 3.0]]))


class TestRankedWrongClass:
    """Logits 3, 9, 5, 7 have the order 1, 3, 2, 0; without the true class, ranks count on."""

    def ranked(self, labels, ranks, logits=(3.0, 9.0, 5.0, 7.0)):
        logits = tf.repeat(tf.constant([logits]), len(ranks), axis=0)
        ranked = ranked_wrong_class(tf.constant(labels), logits, tf.constant(ranks))
        assert ranked.dtype == tf.int32
        return ranked.numpy().tolist()

    def test_it_is_worked_out_by_hand(self):
        assert self.ranked([1, 1, 1], [0, 1, 2]) == [3, 2, 0]
        assert self.ranked([0, 2, 3], [0, 1, 2]) == [1, 3, 0]

    def test_a_rank_beyond_the_last_wrong_class_is_the_last(self):
        assert self.ranked([1, 0], [3, 8]) == [0, 2]
        assert self.ranked([1, 0], [0, 5], logits=(0.0, 1.0)) == [0, 1]

    def test_the_lower_of_equal_classes_comes_first(self):
        assert self.ranked([1, 1, 1], [0, 1, 2], logits=(2.0, 2.0, 2.0, 2.0)) == [0, 2, 3]

    def test_distributions_stand_for_their_largest_class(self):
        assert self.ranked([[0.2, 0.4, 0.3, 0.1]], [0]) == [3]

    def test_logits_that_are_not_numbers_still_give_a_class(self):
        assert 0 <= self.ranked([1], [1], logits=(np.nan, np.nan, np.nan))[0] < 3


@pytest.mark.parametrize("name", ["dlr", "targeted_dlr", "ranked_wrong_class"])
def test_xla_gives_the_same(name):
    """XLA ranks logits by a sort of its own; values and gradients."""
    functions = {
        "dlr": lambda logits: difference_of_logits_ratio(RANDOM_LABELS, logits),
        "targeted_dlr": lambda logits: targeted_dlr(RANDOM_LABELS, (RANDOM_LABELS + 2) % 5, logits),
        "ranked_wrong_class": lambda logits: tf.cast(
            ranked_wrong_class(RANDOM_LABELS, logits, RANDOM_LABELS), tf.float32
        ),
    }

    def value_and_gradient(logits):
        with tf.GradientTape() as tape:
            tape.watch(logits)
            value = functions[name](logits)
        return value, tape.gradient(value, logits, unconnected_gradients=tf.UnconnectedGradients.ZERO)

    compiled = tf.function(value_and_gradient, jit_compile=True)(tf.constant(RANDOM_LOGITS))
    for got, expected in zip(compiled, value_and_gradient(tf.constant(RANDOM_LOGITS)), strict=True):
        np.testing.assert_allclose(got, expected, rtol=1e-5, atol=1e-6)
