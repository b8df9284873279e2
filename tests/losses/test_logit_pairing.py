"""Logit pairing: the distance of two rows by hand, the pairs of even and odd batches, and the mean over them."""

import itertools

import keras
import numpy as np
import pytest
import tensorflow as tf

from tfadv.losses import CleanLogitPairing, clean_logit_pairing, logit_pairing
from tfadv.losses.logit_pairing import pairing_within_batch
from tfadv.objectives import cross_entropy
from tfadv.validation import UserError

CLASSES = 10
RNG = np.random.default_rng(0)
LOGITS = tf.constant(3 * RNG.normal(size=[12, CLASSES]), tf.float32)
LABELS = tf.constant(RNG.integers(0, CLASSES, 12), tf.int32)


def test_a_pair_worked_by_hand():
    """(1, 2, 3) and (4, 0, 3): squared differences 9, 4, 0, so 13 / 3; a row with itself is 0."""
    logits, others = tf.constant([[1.0, 2.0, 3.0], [5.0, 6.0, 7.0]]), tf.constant([[4.0, 0.0, 3.0], [5.0, 6.0, 7.0]])
    np.testing.assert_allclose(logit_pairing(logits, others), [13 / 3, 0.0], rtol=1e-6)


def test_it_is_the_squared_distance_over_the_classes_and_symmetric():
    others = tf.reverse(LOGITS, [0])
    expected = np.linalg.norm(LOGITS - others, axis=1) ** 2 / CLASSES
    np.testing.assert_allclose(logit_pairing(LOGITS, others), expected, rtol=1e-5)
    np.testing.assert_allclose(logit_pairing(others, LOGITS), expected, rtol=1e-5)


def test_the_mean_over_pairs_is_the_mean_squared_error_of_the_released_program():
    """adversarial_logit_pairing/train.py: both halves of the logits, mean over pairs and classes."""
    first, second = tf.split(LOGITS, 2)
    expected = keras.losses.MeanSquaredError()(first, second)
    np.testing.assert_allclose(tf.reduce_mean(logit_pairing(first, second)), expected, rtol=1e-6)
    np.testing.assert_allclose(tf.reduce_mean(pairing_within_batch(LOGITS)), expected, rtol=1e-6)


def test_the_gradient_flows_into_both():
    """d = (2 / K) (z - z') and its negative: with K = 2 the difference itself."""
    first, second = tf.constant([[1.0, 2.0]]), tf.constant([[4.0, 0.0]])
    with tf.GradientTape() as tape:
        tape.watch([first, second])
        value = logit_pairing(first, second)
    np.testing.assert_allclose(tape.gradient(value, [first, second]), [[[-3, 2]], [[3, -2]]], rtol=1e-6)


def test_half_precision_is_taken_in_float32():
    """256^2 + 1 is 256^2 in bfloat16."""
    half = tf.cast([[256.0, 1.0]], tf.bfloat16)
    result = logit_pairing(half, tf.zeros_like(half))
    assert result.dtype == tf.float32
    np.testing.assert_allclose(result, [(65536 + 1) / 2])


@pytest.mark.parametrize("size", range(1, 8))
def test_every_example_is_in_two_pairs_each_half_a_batch_apart(size):
    """One-hot logits tell who is paired with whom: row i of the gradient of P_j is not zero where i is in pair j."""
    logits = tf.eye(size, CLASSES)
    with tf.GradientTape() as tape:
        tape.watch(logits)
        pairs = pairing_within_batch(logits)
    members = [tuple(np.flatnonzero(rows.any(axis=1))) for rows in tape.jacobian(pairs, logits).numpy()]
    if size == 1:
        assert members == [()]  # its own partner
    else:
        assert all(abs(first - second) in (size // 2, size - size // 2) for first, second in members)
        counts = np.bincount(list(itertools.chain(*members)), minlength=size)
        np.testing.assert_array_equal(counts, 2)
    if size % 2 == 0:
        assert sorted(members) == sorted([(i, i + size // 2) for i in range(size // 2)] * 2)


def test_an_odd_batch_worked_by_hand():
    """Rows 0, 1, 5 in the first of two classes: shift 1, the ring (0, 5), (1, 0), (5, 1): 25, 1, 16, halved."""
    logits = tf.constant([[0.0, 0.0], [1.0, 0.0], [5.0, 0.0]])
    np.testing.assert_allclose(pairing_within_batch(logits), [12.5, 0.5, 8.0])


def test_the_strength_does_not_depend_on_the_parity_of_the_batch():
    """Independent standard normal logits: E (z - z')^2 = 2 for every pair, in batches of 2 and of 3. 20,000 batches, 10
    classes, at least one independent pair each: standard error sqrt(8 / 200,000) = 0.006 at most."""
    for size in (2, 3):
        batches = tf.constant(RNG.normal(size=[20_000, size, CLASSES]), tf.float32)
        means = tf.vectorized_map(lambda logits: tf.reduce_mean(pairing_within_batch(logits)), batches)
        assert np.mean(means) == pytest.approx(2.0, abs=0.03)


def test_the_loss_is_the_mean_cross_entropy_and_the_weighted_mean_over_pairs():
    z = LOGITS.numpy()
    expected = cross_entropy(LABELS, LOGITS).numpy().mean() + 0.5 * ((z[:6] - z[6:]) ** 2).mean()
    np.testing.assert_allclose(CleanLogitPairing(0.5)(LABELS, LOGITS), expected, rtol=1e-5)
    np.testing.assert_allclose(np.mean(clean_logit_pairing(LABELS, LOGITS, weight=0.5)), expected, rtol=1e-5)


def test_equal_logits_cost_nothing_more():
    logits = tf.tile(LOGITS[:1], [12, 1])
    np.testing.assert_allclose(
        CleanLogitPairing(9.0)(LABELS, logits), np.mean(cross_entropy(LABELS, logits)), rtol=1e-6
    )


@pytest.mark.parametrize("jit", [False, True], ids=["graph", "xla"])
def test_one_graph_serves_batches_of_every_size(jit):
    spec = tf.TensorSpec([None, CLASSES])
    compiled = tf.function(pairing_within_batch, input_signature=[spec], jit_compile=jit)
    for size in (1, 2, 7):
        np.testing.assert_allclose(compiled(LOGITS[:size]), pairing_within_batch(LOGITS[:size]), rtol=1e-6)


def test_a_model_fits_with_a_last_batch_of_odd_size():
    """Batches of 4 and of 3. The pairs pull the logits z = W x together: with a weight of 10 they end closer."""
    x, y = np.eye(7, dtype=np.float32), np.array([0, 1, 2, 0, 1, 2, 0])

    def spread(weight):
        keras.utils.set_random_seed(0)  # Of the order, which decides who is paired.
        model = keras.Sequential([keras.layers.Input([7]), keras.layers.Dense(3, use_bias=False)])
        model.compile(keras.optimizers.SGD(0.05), CleanLogitPairing(weight))
        model.layers[-1].set_weights([np.eye(7, 3)])
        assert np.isfinite(model.fit(x, y, batch_size=4, epochs=10, verbose=0).history["loss"]).all()
        return np.ptp(model.layers[-1].kernel, axis=0).max()

    assert spread(10.0) < 0.7 < 0.9 < spread(0.0)


@pytest.mark.parametrize(("first", "second"), [([4, 3], [4, 2]), ([4, 3], [2, 3]), ([4, 3], [3]), ([3], [3])], ids=str)
def test_logits_of_different_shapes_are_refused(first, second):
    with pytest.raises(UserError, match=r"logits and other_logits must have one shape \[B, K\], got"):
        logit_pairing(tf.zeros(first), tf.zeros(second))
