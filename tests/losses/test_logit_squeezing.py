"""Logit squeezing: each reading of the penalty worked by hand, where it collapses, and the Keras class at work."""

import functools
import json

import keras
import numpy as np
import pytest
import tensorflow as tf

from tfadv.losses import LogitSqueezing, logit_squeezing
from tfadv.losses.logit_squeezing import (
    PENALTIES,
    norm_of_each,
    share_of_batch_norm,
    share_of_squared_batch_norm,
    squared_norm_of_each,
)
from tfadv.objectives import cross_entropy
from tfadv.validation import UserError

CLASSES = 10
RNG = np.random.default_rng(0)
LOGITS = tf.constant(3 * RNG.normal(size=[12, CLASSES]), tf.float32)
LABELS = tf.constant(RNG.integers(0, CLASSES, 12), tf.int32)
DENSE = tf.one_hot(LABELS, CLASSES)
READINGS = sorted(PENALTIES)
THRESHOLD = np.sqrt((CLASSES - 1) / CLASSES)  # ||1/K - y||, the slope of cross-entropy at z = 0: 0.949 for K = 10


def small_model(loss, **options):
    model = keras.Sequential([keras.layers.Input([4]), keras.layers.Dense(3)])
    model.compile(keras.optimizers.SGD(0.5), loss, **options)
    return model


def test_penalties_worked_by_hand():
    """Rows (3, 4) and (0, 12): norms 5 and 12, squares 25 and 144; Frobenius norm sqrt(169) = 13, shares 13 / 2."""
    logits = tf.constant([[3.0, 4.0], [0.0, 12.0]])
    np.testing.assert_allclose(norm_of_each(logits), [5, 12], rtol=1e-6)
    np.testing.assert_allclose(squared_norm_of_each(logits), [25, 144], rtol=1e-6)
    np.testing.assert_allclose(share_of_batch_norm(logits), [6.5, 6.5], rtol=1e-6)


@pytest.mark.parametrize(
    ("p", "expected"),
    [
        (1.0, [7.0, 4.0, 0.0]),
        (2.0, [5.0, 8**0.5, 0.0]),
        (3.0, [91 ** (1 / 3), 16 ** (1 / 3), 0.0]),  # 27 + 64, 8 + 8
        (1.5, [(3**1.5 + 8) ** (2 / 3), 2 ** (5 / 3), 0.0]),  # 4^1.5 = 8; (2 * 2^1.5)^(2/3) = 2^(5/3)
        (np.inf, [4.0, 2.0, 0.0]),
    ],
)
def test_p_norms_worked_by_hand(p, expected):
    """Rows (3, -4), (-2, 2) and 0. Of the batch: the norm of the norms, because sum |z|^p runs over all entries."""
    logits = tf.constant([[3.0, -4.0], [-2.0, 2.0], [0.0, 0.0]])
    np.testing.assert_allclose(norm_of_each(logits, p), expected, rtol=1e-6)
    np.testing.assert_allclose(squared_norm_of_each(logits, p), np.square(expected), rtol=1e-6)
    whole = np.linalg.norm(expected, p)
    np.testing.assert_allclose(share_of_batch_norm(logits, p), np.full(3, whole / 3), rtol=1e-6)
    np.testing.assert_allclose(np.sum(share_of_squared_batch_norm(logits, p)), whole**2, rtol=1e-6)


@pytest.mark.parametrize("p", [1.0, 1.25, 2.0, 3.0, 20.0, 1000.0, np.inf])
@pytest.mark.parametrize(("power", "extent"), READINGS)
def test_p_norms_have_the_gradient_of_their_formula(p, power, extent):
    """d||z||_p / dz_k = sign(z_k) (|z_k| / ||z||_p)^(p-1), in float64 where powers of 20 fit; 0 at z = 0."""
    logits = tf.concat([LOGITS[:3], 100 * LOGITS[3:4]], axis=0)
    with tf.GradientTape() as tape:
        tape.watch(logits)
        total = tf.reduce_sum(PENALTIES[power, extent](logits, p))
    z = logits.numpy().astype(np.float64)
    sizes = np.abs(z) if extent == "example" else np.abs(z).reshape(1, -1)
    if p == np.inf:
        norm = sizes.max(axis=1, keepdims=True)
        slope = (sizes == norm).astype(float)
    else:
        largest = sizes.max(axis=1, keepdims=True)
        norm = largest * ((sizes / largest) ** p).sum(axis=1, keepdims=True) ** (1 / p)
        slope = (sizes / norm) ** (p - 1)
    slope = np.sign(z) * (slope * (2 * norm if power == 2 else 1.0)).reshape(z.shape)
    np.testing.assert_allclose(total, (norm**power).sum(), rtol=1e-5)
    np.testing.assert_allclose(tape.gradient(total, logits), slope, rtol=1e-3, atol=1e-6)
    with tf.GradientTape() as tape:
        tape.watch(zeros := tf.zeros([2, CLASSES]))
        total = tf.reduce_sum(PENALTIES[power, extent](zeros, p))
    np.testing.assert_array_equal(tape.gradient(total, zeros), np.zeros([2, CLASSES]))


def test_large_logits_and_powers_do_not_overflow():
    """(1e30)^20 is far beyond float32, the norm 1e30 * 2^(1/20) is not."""
    np.testing.assert_allclose(norm_of_each(tf.constant([[1e30, -1e30]]), 20.0), [1e30 * 2 ** (1 / 20)], rtol=1e-5)
    np.testing.assert_allclose(norm_of_each(tf.constant([[1e-30, 0.0]]), 20.0), [1e-30], rtol=1e-5)


@pytest.mark.parametrize(("p", "threshold"), [(1, 0.9), (2, 0.9487), (3, 1.0903), ("inf", 1.8)])
def test_the_collapse_comes_at_the_dual_norm_of_the_slope(p, threshold):
    """LSQ/eq5 example by example: z = 0 is the minimum once beta >= ||1/K - y||_q, 1/p + 1/q = 1. K = 10: the largest
    entry 0.9; sqrt(0.9); (0.9^1.5 + 9 * 0.1^1.5)^(2/3) = 1.0903; the sum 0.9 + 9 * 0.1 = 1.8."""
    q = {1: np.inf, 2: 2, 3: 1.5, "inf": 1}[p]
    assert np.linalg.norm(0.1 - np.eye(10)[0], q) == pytest.approx(threshold, abs=1e-4)
    at_zero, around = lowest_around_zero(LogitSqueezing(threshold + 0.1, p=p), LABELS[:1], q=q)
    assert around > at_zero + 1e-3
    at_zero, around = lowest_around_zero(LogitSqueezing(threshold - 0.1, p=p), LABELS[:1], q=q)
    assert around < at_zero - 1e-3


def test_feature_smoothings_form_is_the_batch_mean_of_the_unsquared_norm():
    """FS/eq-L_LoS: L_clean + (lambda / m) sum_i ||f(x_i)||_2."""
    z = LOGITS.numpy()
    expected = cross_entropy(LABELS, LOGITS).numpy().mean() + 0.2 * np.sqrt((z**2).sum(axis=1)).mean()
    np.testing.assert_allclose(LogitSqueezing(0.2)(LABELS, LOGITS), expected, rtol=1e-5)


def test_the_squared_form_is_the_batch_mean_of_the_squares():
    """LSQ/eq5, first reading: CE + beta ||z||_2^2 for each example."""
    expected = cross_entropy(LABELS, LOGITS).numpy().mean() + 0.5 * (LOGITS.numpy() ** 2).sum(axis=1).mean()
    np.testing.assert_allclose(LogitSqueezing(0.5, power=2)(LABELS, LOGITS), expected, rtol=1e-5)


def test_the_batch_form_sums_to_the_papers_objective_exactly():
    """LSQ/eq5, second reading: sum_i CE_i + beta ||Z||_F under reduction "sum", that divided by B under the mean."""
    expected = cross_entropy(LABELS, LOGITS).numpy().sum() + 5.0 * np.linalg.norm(LOGITS.numpy())
    summed = LogitSqueezing(5.0, extent="batch", reduction="sum")(LABELS, LOGITS)
    np.testing.assert_allclose(summed, expected, rtol=1e-5)
    np.testing.assert_allclose(LogitSqueezing(5.0, extent="batch")(LABELS, LOGITS), expected / 12, rtol=1e-5)


def test_the_squared_batch_norm_is_the_sum_of_the_squared_rows():
    """||Z||_F^2 = sum_i ||z_i||^2, so that with power 2 both extents are one objective."""
    expected = cross_entropy(LABELS, LOGITS).numpy().sum() + 0.5 * np.linalg.norm(LOGITS.numpy()) ** 2
    for extent in ("example", "batch"):
        loss = LogitSqueezing(0.5, power=2, extent=extent, reduction="sum")
        np.testing.assert_allclose(loss(LABELS, LOGITS), expected, rtol=1e-5)


@pytest.mark.parametrize(("power", "extent"), READINGS)
@pytest.mark.parametrize("labels", [LABELS, DENSE], ids=["sparse", "dense"])
def test_weight_zero_is_cross_entropy(power, extent, labels):
    expected = cross_entropy(LABELS, LOGITS)
    penalty = PENALTIES[power, extent]
    np.testing.assert_allclose(logit_squeezing(labels, LOGITS, weight=0.0, penalty=penalty), expected, rtol=1e-6)
    plain = keras.losses.SparseCategoricalCrossentropy(from_logits=True)(LABELS, LOGITS)
    np.testing.assert_allclose(LogitSqueezing(0.0, power, extent)(labels, LOGITS), plain, rtol=1e-6)


@pytest.mark.parametrize(("power", "extent"), READINGS)
def test_the_gradient_at_zero_logits_is_that_of_cross_entropy(power, extent):
    """The penalty's subgradient at 0 is taken as 0, never NaN: what remains is (1/K - y) / B."""
    logits = tf.zeros([4, CLASSES])
    with tf.GradientTape() as tape:
        tape.watch(logits)
        loss = LogitSqueezing(0.5, power, extent)(LABELS[:4], logits)
    expected = (1 / CLASSES - DENSE.numpy()[:4]) / 4
    np.testing.assert_allclose(tape.gradient(loss, logits), expected, atol=1e-7)


@pytest.mark.parametrize(("power", "extent"), READINGS)
def test_the_penaltys_gradient_elsewhere_is_exact(power, extent):
    """d||z|| = z / ||z||, d||z||^2 = 2 z, d||Z||_F = Z / ||Z||_F; summed over the batch."""
    with tf.GradientTape() as tape:
        tape.watch(LOGITS)
        total = tf.reduce_sum(PENALTIES[power, extent](LOGITS))
    z = LOGITS.numpy()
    expected = {
        (1, "example"): z / np.linalg.norm(z, axis=1, keepdims=True),
        (2, "example"): 2 * z,
        (1, "batch"): z / np.linalg.norm(z),
        (2, "batch"): 2 * z,
    }[power, extent]
    np.testing.assert_allclose(tape.gradient(total, LOGITS), expected, rtol=1e-5, atol=1e-6)


def lowest_around_zero(loss, labels, *, step=0.05, q=2.0):
    """Loss at Z = 0 and the lowest loss on a sphere around it: the steepest direction and 50 random ones.

    The steepest direction for a p-norm is sign(d) |d|^(q-1), d the descent and 1/p + 1/q = 1; with q = infinity (p = 1)
    it is the largest entry alone.
    """
    descent = tf.one_hot(labels, CLASSES) - 1 / CLASSES  # minus the gradient of cross-entropy at Z = 0
    steepest = tf.one_hot(labels, CLASSES) if q == np.inf else tf.sign(descent) * tf.abs(descent) ** (q - 1)
    directions = [steepest] + [tf.constant(RNG.normal(size=descent.shape), tf.float32) for _ in range(50)]
    around = [float(loss(labels, step * direction / tf.norm(direction))) for direction in directions]
    return float(loss(labels, tf.zeros_like(descent))), min(around)


def test_unsquared_for_each_example_collapses_above_0_949():
    """LSQ/eq5 read example by example: ||1/K - y||^2 = (1 - 1/K)^2 + (K-1) / K^2 = (K-1) / K, so z = 0 is the minimum
    exactly when beta >= sqrt(0.9) = 0.9487 (cross-entropy is convex): the paper's beta of 2 to 10 cannot be this."""
    assert pytest.approx(0.9487, abs=1e-4) == THRESHOLD
    at_zero, around = lowest_around_zero(LogitSqueezing(THRESHOLD + 0.05), LABELS[:1])
    assert at_zero == pytest.approx(np.log(CLASSES))
    assert around > at_zero + 1e-3
    at_zero, around = lowest_around_zero(LogitSqueezing(THRESHOLD - 0.05), LABELS[:1])
    assert around < at_zero - 1e-3


def test_the_batch_norm_collapses_at_the_square_root_of_the_batch_times_that():
    """Second reading at B = 50: ||grad||_F = sqrt(50 * 0.9) = 6.71; beta 5 trains and beta 10 fails, as printed."""
    labels = tf.constant(RNG.integers(0, CLASSES, 50), tf.int32)
    for beta, collapses in [(5.0, False), (6.5, False), (6.9, True), (10.0, True)]:
        at_zero, around = lowest_around_zero(LogitSqueezing(beta, extent="batch", reduction="sum"), labels)
        assert (around > at_zero) == collapses, beta


def test_the_square_never_collapses():
    """The square has no slope at 0, so that any beta leaves the steepest direction downhill."""
    at_zero, around = lowest_around_zero(LogitSqueezing(10.0, power=2), LABELS[:1])
    assert around < at_zero


@pytest.mark.parametrize("weight", [0.1, 0.2])
def test_the_unsquared_optimum_is_that_of_label_smoothing_with_0_949_of_the_mass(weight):
    """p - y + lambda z / ||z|| = 0 with z along y - 1/K gives p_y = 1 - 0.9487 lambda: 0.905 and 0.810."""
    true_probability = 1 - THRESHOLD * weight
    assert true_probability == pytest.approx({0.1: 0.905, 0.2: 0.810}[weight], abs=5e-4)
    gap = np.log(true_probability / ((1 - true_probability) / (CLASSES - 1)))
    logits = tf.cast(gap * (DENSE - 1 / CLASSES), tf.float32)
    with tf.GradientTape() as tape:
        tape.watch(logits)
        loss = logit_squeezing(LABELS, logits, weight=weight)
    np.testing.assert_allclose(tape.gradient(loss, logits), np.zeros(logits.shape), atol=1e-6)


@pytest.mark.parametrize(("power", "extent"), READINGS)
def test_every_form_of_the_labels_gives_the_same_loss(power, extent):
    loss = LogitSqueezing(0.3, power, extent, reduction=None)
    expected = loss(LABELS, LOGITS)
    for y_true in (LABELS[:, None], DENSE, LABELS.numpy().astype(np.float32)):
        np.testing.assert_allclose(loss(y_true, LOGITS), expected, rtol=1e-6)


@pytest.mark.parametrize("extent", ["example", "batch"])
@pytest.mark.parametrize("size", [0, 1])
def test_batches_of_zero_and_one(size, extent):
    result = logit_squeezing(LABELS[:size], LOGITS[:size], weight=0.5, penalty=PENALTIES[1, extent])
    assert result.shape == [size]
    expected = cross_entropy(LABELS[:size], LOGITS[:size]) + 0.5 * np.linalg.norm(LOGITS[:size], axis=1)
    np.testing.assert_allclose(result, expected, rtol=1e-5)


@pytest.mark.parametrize("jit", [False, True])
@pytest.mark.parametrize(("power", "extent"), READINGS)
def test_fit_takes_a_step_of_exactly_this_gradient(power, extent, jit):
    """Zero input, bias z = (3, 4, 0), two examples of class 2, so that both rows of Z are the bias: ||z|| = 5 and
    ||Z||_F = 5 sqrt(2). Penalty's gradient of the mean: z / 5, 2 z, and 2 z / (2 * 5 sqrt(2)) = z / (5 sqrt(2))."""
    z = np.array([3.0, 4.0, 0.0])
    model = small_model(LogitSqueezing(0.1, power, extent), jit_compile=jit)
    model.layers[-1].set_weights([np.zeros([4, 3]), z])
    model.fit(np.zeros([2, 4], np.float32), np.array([2, 2]), batch_size=2, verbose=0)
    p = np.exp(z) / np.exp(z).sum()
    penalty = {(1, "example"): z / 5, (1, "batch"): z / (5 * np.sqrt(2))}.get((power, extent), 2 * z)
    np.testing.assert_allclose(model.layers[-1].bias, z - 0.5 * (p - [0, 0, 1] + 0.1 * penalty), atol=1e-5)


@pytest.mark.parametrize(("power", "extent"), READINGS)
def test_a_configuration_keeps_the_reading(power, extent):
    loss = LogitSqueezing(0.7, power, extent)
    restored = LogitSqueezing.from_config(loss.get_config())
    assert (restored.weight, restored.power, restored.extent) == (0.7, power, extent)
    np.testing.assert_array_equal(restored(LABELS, LOGITS), loss(LABELS, LOGITS))


def test_a_configuration_from_before_p_is_still_what_it_was():
    """It is read as p = 2, and a loss with p = 2 still writes it."""
    written = {"name": "logit_squeezing", "reduction": "sum", "weight": 0.7, "power": 2, "extent": "batch"}
    loss = LogitSqueezing.from_config(written)
    assert loss.p == 2.0
    assert loss.get_config() == written


@pytest.mark.parametrize(("p", "written"), [(1, 1.0), (3.5, 3.5), ("inf", "inf"), (np.inf, "inf")])
def test_p_survives_a_configuration_in_json(p, written):
    config = json.loads(json.dumps(LogitSqueezing(0.7, p=p).get_config(), allow_nan=False))
    assert config["p"] == written
    assert LogitSqueezing.from_config(config).p == float(p)


@pytest.mark.parametrize("extent", ["example", "batch"])
def test_the_class_passes_its_p_on(extent):
    expected = logit_squeezing(LABELS, LOGITS, weight=0.2, penalty=functools.partial(PENALTIES[1, extent], p=3.0))
    np.testing.assert_allclose(LogitSqueezing(0.2, 1, extent, 3, reduction=None)(LABELS, LOGITS), expected, rtol=1e-6)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"weight": -0.1}, "weight must be a finite number >= 0, got -0.1"),
        ({"weight": float("inf")}, "weight must be a finite number >= 0"),
        ({"weight": float("nan")}, "weight must be a finite number >= 0"),
        ({"weight": "0.5"}, "weight must be a finite number >= 0"),
        ({"weight": 0.5, "power": 3}, "power must be 1 .* or 2 .* got 3"),
        ({"weight": 0.5, "p": 0.5}, "p must be a number >= 1 or 'inf', got 0.5; below 1 it is no norm"),
        ({"weight": 0.5, "p": "two"}, "p must be a number >= 1 or 'inf', got 'two'"),
        ({"weight": 0.5, "extent": "mean"}, "extent must be 'example' or 'batch', got 'mean'"),
    ],
)
def test_bad_parameters_are_refused_by_name(options, message):
    with pytest.raises(UserError, match=message):
        LogitSqueezing(**options)


def test_a_model_without_logits_for_each_class_is_refused():
    with pytest.raises(UserError, match=r"y_pred must be logits"):
        LogitSqueezing(0.5)(tf.zeros([2]), tf.zeros([2, 1]))
