"""Label smoothing's parameterizations: each converts to the same mass, checked against its own printed equation."""

import numpy as np
import pytest
import tensorflow as tf

from tfadv import soft_labels
from tfadv.validation import UserError


def test_smoothing_moves_the_mass_evenly_to_the_other_classes():
    """FS/eq-LaS, K = 4, delta = 0.3: 0.3 / 3 = 0.1 on each other class, 1 - 0.3 = 0.7 on the true one."""
    np.testing.assert_allclose(
        soft_labels.smooth([2, 0], 4, 0.3), [[0.1, 0.1, 0.7, 0.1], [0.7, 0.1, 0.1, 0.1]], atol=1e-7
    )


def test_smoothing_a_mixture_works_entry_by_entry():
    """K = 3, mass 0.2, y = (0.5, 0.5, 0): 0.1 * 0.5 + 0.8 * 0.5 = 0.45 twice, and 0.1 * 1 + 0.8 * 0 = 0.1; sum 1."""
    np.testing.assert_allclose(soft_labels.smooth([[0.5, 0.5, 0.0]], 3, 0.2), [[0.45, 0.45, 0.1]], atol=1e-7)


def test_smoothing_is_linear_so_it_commutes_with_mixup():
    first, second, weight = [0, 1, 2], [4, 1, 0], 0.37
    mixed = weight * soft_labels.one_hot(first, 5) + (1 - weight) * soft_labels.one_hot(second, 5)
    smoothed = weight * soft_labels.smooth(first, 5, 0.25) + (1 - weight) * soft_labels.smooth(second, 5, 0.25)
    np.testing.assert_allclose(soft_labels.smooth(mixed, 5, 0.25), smoothed, atol=1e-6)


@pytest.mark.parametrize("mass", [0.0, 0.1, 0.5, 0.9, 0.99])
def test_rows_keep_their_sum_and_the_true_class_keeps_one_minus_mass(mass):
    rows = soft_labels.smooth(tf.range(100), 100, mass).numpy()
    np.testing.assert_allclose(rows.sum(axis=1), 1.0, atol=1e-5)
    np.testing.assert_allclose(rows.diagonal(), 1 - mass, atol=1e-6)


@pytest.mark.parametrize("labels", [[1, 2, 0], [[1], [2], [0]], np.eye(3)[[1, 2, 0]], np.eye(3, dtype=int)[[1, 2, 0]]])
def test_mass_zero_leaves_the_labels_in_every_accepted_form(labels):
    result = soft_labels.smooth(labels, 3, 0.0)
    assert result.dtype == tf.float32
    np.testing.assert_array_equal(result, np.eye(3, dtype=np.float32)[[1, 2, 0]])


@pytest.mark.parametrize(
    ("alpha", "mass"),
    [(0.0, 0.0), (0.2, 0.18), (0.5, 0.45), (0.75, 0.675), (0.8, 0.72), (0.9, 0.81), (0.95, 0.855), (1.0, 0.9)],
)
def test_uniform_mixture_takes_alpha_times_nine_tenths_of_ten_classes(alpha, mass):
    """mass = alpha (K-1) / K with K = 10; alpha 1 is the uniform distribution, mass 0.9."""
    assert soft_labels.mass_from_uniform_mixture(alpha, 10) == pytest.approx(mass)


@pytest.mark.parametrize("alpha", [0.2, 0.95, 1.0])
def test_logit_squeezing_papers_warm_labels_are_the_same_map(alpha):
    """LSQ/eq-LS: y_warm = y - alpha (y - 1/K)."""
    y = np.eye(10)
    warm = y - alpha * (y - 1 / 10)
    np.testing.assert_allclose(
        soft_labels.smooth(tf.range(10), 10, soft_labels.mass_from_uniform_mixture(alpha, 10)), warm, atol=1e-6
    )


def test_label_smoothing_variants_standard_form_has_alpha_as_its_mass():
    """LSV/eq1 with eq5's q' = (1 - y) / (K-1): (1 - alpha) y + alpha q'."""
    y, alpha = np.eye(6), 0.4
    printed = (1 - alpha) * y + alpha * (1 - y) / 5
    np.testing.assert_allclose(soft_labels.smooth(tf.range(6), 6, alpha), printed, atol=1e-7)


@pytest.mark.parametrize(("kept", "mass"), [(1.0, 0.0), (0.8, 0.2), (0.5, 0.5), (0.1, 0.9)])
def test_adversarial_vertex_mixup_keeps_lambda_on_the_true_class(kept, mass):
    """phi(y, lambda): lambda on the true class, (1 - lambda) / (K-1) elsewhere; table 1's LS0.8 is mass 0.2."""
    assert soft_labels.mass_from_true_class_probability(kept) == pytest.approx(mass)
    row = soft_labels.smooth([3], 10, soft_labels.mass_from_true_class_probability(kept)).numpy()[0]
    np.testing.assert_allclose(row, [kept if k == 3 else (1 - kept) / 9 for k in range(10)], atol=1e-7)


def test_lambda_one_tenth_of_ten_classes_is_uniform_and_silent(recwarn):
    mass = soft_labels.mass_from_true_class_probability(0.1)
    np.testing.assert_allclose(soft_labels.smooth([7], 10, mass), np.full([1, 10], 0.1), atol=1e-7)
    assert not recwarn.list


def test_smoothing_toward_a_distribution_is_the_mixture():
    """LSV/eq1 with alpha = 0.3: 0.7 (1, 0, 0) + 0.3 (0.5, 0.5, 0) = (0.85, 0.15, 0)."""
    y, target = soft_labels.one_hot([0], 3), tf.constant([[0.5, 0.5, 0.0]])
    np.testing.assert_allclose(soft_labels.smooth_toward(y, target, 0.3), [[0.85, 0.15, 0.0]], atol=1e-7)
    for mass, expected in [(0.0, y), (1 / 3, 2 / 3 * y + target / 3)]:
        np.testing.assert_allclose(soft_labels.smooth_toward(y, target, mass), expected, atol=1e-7)


def test_smoothing_toward_the_other_classes_is_smoothing():
    y = soft_labels.one_hot([3, 1], 5)
    np.testing.assert_allclose(soft_labels.smooth_toward(y, (1 - y) / 4, 0.2), soft_labels.smooth([3, 1], 5, 0.2))


def test_smoothing_checks_its_mass_toward_any_distribution():
    y = soft_labels.one_hot([0], 5)
    with pytest.raises(UserError, match=r"mass must lie in \[0, 1\], got 2"):
        soft_labels.smooth_toward(y, y, 2)
    with pytest.warns(UserWarning, match="mass 0.9 leaves the true class 0.1, less than the 0.2 of a uniform label"):
        soft_labels.smooth_toward(y, y, 0.9)


def test_distributions_of_unknown_width_get_the_number_of_classes():
    """What a graph does not know until it runs is checked when it runs."""
    signature = [tf.TensorSpec([None, None])]
    smooth = tf.function(lambda y: soft_labels.smooth(y, 3, 0.3), input_signature=signature)
    assert smooth.get_concrete_function().output_shapes == [None, 3]
    np.testing.assert_allclose(smooth(tf.eye(3)[:1]), [[0.7, 0.15, 0.15]], rtol=1e-6)
    with pytest.raises(tf.errors.InvalidArgumentError, match="not compatible with expected shape"):
        smooth(tf.eye(4))


def test_a_true_class_less_likely_than_the_others_warns_and_is_computed():
    with pytest.warns(UserWarning, match="mass_from_true_class_probability"):
        row = soft_labels.smooth([0], 5, 0.9)  # 0.1 against 0.9 / 4 = 0.225
    np.testing.assert_allclose(row, [[0.1, 0.225, 0.225, 0.225, 0.225]], atol=1e-7)


@pytest.mark.parametrize("mass", [-0.1, 1.1, float("nan"), "0.1", None, True])
def test_a_mass_that_is_no_probability_is_refused(mass):
    with pytest.raises(UserError, match=r"mass must lie in \[0, 1\]"):
        soft_labels.smooth([0], 3, mass)


def test_conversions_refuse_what_is_no_probability():
    with pytest.raises(UserError, match=r"alpha must lie in \[0, 1\], got 2"):
        soft_labels.mass_from_uniform_mixture(2, 10)
    with pytest.raises(UserError, match=r"probability must lie in \[0, 1\], got -0.5"):
        soft_labels.mass_from_true_class_probability(-0.5)
    with pytest.raises(UserError, match="classes must be at least 2, got 1"):
        soft_labels.mass_from_uniform_mixture(0.1, 1)


@pytest.mark.parametrize("labels", [[[0.5, 0.5]], [[[1]]], 1])
def test_labels_of_another_shape_are_refused(labels):
    with pytest.raises(UserError, match=r"labels must have shape \[B\], \[B, 1\] or \[B, 3\]"):
        soft_labels.one_hot(labels, 3)


def test_float_class_numbers_are_refused_with_the_cast():
    with pytest.raises(UserError, match="cast class numbers to int32"):
        soft_labels.one_hot([0.0, 1.0], 3)


@pytest.mark.parametrize("wrong", [-1, 3])
def test_a_label_out_of_range_raises_eagerly_and_in_a_graph(wrong):
    for function in (soft_labels.one_hot, tf.function(soft_labels.one_hot)):
        with pytest.raises(tf.errors.InvalidArgumentError, match=r"labels must lie in 0..2"):
            function(tf.constant([0, wrong]), 3)


def test_a_label_out_of_range_is_nan_under_xla_which_has_no_assertions():
    rows = tf.function(lambda labels: soft_labels.one_hot(labels, 3), jit_compile=True)(tf.constant([1, 3]))
    np.testing.assert_array_equal(rows, [[0, 1, 0], [np.nan] * 3])


def test_recast_reads_the_form_of_the_labels_from_their_shape():
    logits = tf.zeros([2, 3])
    for y_true in ([1.0, 2.0], [[1.0], [2.0]]):
        labels = soft_labels.recast(tf.constant(y_true), logits)
        assert labels.dtype == tf.int32
        np.testing.assert_array_equal(labels, [1, 2])
    dense = tf.constant([[0.5, 0.5, 0.0], [0.0, 0.0, 1.0]])
    np.testing.assert_array_equal(soft_labels.recast(dense, logits), dense)


def test_recast_refuses_labels_and_logits_that_do_not_fit():
    with pytest.raises(UserError, match=r"y_true must have shape .* got \(2, 4\)"):
        soft_labels.recast(tf.zeros([2, 4]), tf.zeros([2, 3]))
    with pytest.raises(UserError, match=r"y_pred must be logits .* Dense\(classes\)"):
        soft_labels.recast(tf.zeros([2]), tf.zeros([2, 1]))
