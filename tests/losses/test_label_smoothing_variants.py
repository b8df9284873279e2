"""Adversarial, Boltzmann and second-best label smoothing: equations by hand, limits, the paper's identities, ties."""

import json

import keras
import numpy as np
import pytest
import tensorflow as tf

from tfadv.losses import (
    AdversarialLabelSmoothing,
    BoltzmannLabelSmoothing,
    LabelSmoothing,
    SecondBestLabelSmoothing,
    boltzmann,
    label_smoothing,
    other_classes,
    second_best_class,
    smoothed_cross_entropy,
    worst_class,
)
from tfadv.objectives import cross_entropy, margin
from tfadv.validation import UserError

CLASSES = 10
RNG = np.random.default_rng(0)
LOGITS = tf.constant(3 * RNG.normal(size=[12, CLASSES]), tf.float32)
LABELS = tf.constant(RNG.integers(0, CLASSES, 12), tf.int32)
DENSE = tf.one_hot(LABELS, CLASSES)
MIXED = 0.7 * DENSE + 0.3 * tf.one_hot((LABELS + 3) % CLASSES, CLASSES)

# z = (log 4, log 2, 0): p = (4, 2, 1) / 7.
HAND = tf.constant([[np.log(4), np.log(2), 0.0]] * 3, tf.float32)
HAND_Y = tf.eye(3)


def at(temperature):
    return lambda y, logits: boltzmann(y, logits, temperature=temperature)


Q_PRIMES = {
    "SLS": other_classes,
    "ALS": worst_class,
    "BLS 0": at(0.0),
    "BLS 0.5": at(0.5),
    "BLS 3": at(3.0),
    "BLS inf": at(float("inf")),
    "SBLS": second_best_class,
}
every = pytest.mark.parametrize("q_prime", Q_PRIMES.values(), ids=Q_PRIMES)


@pytest.mark.parametrize(
    ("q_prime", "rows"),
    [
        (other_classes, [[0, 1 / 2, 1 / 2], [1 / 2, 0, 1 / 2], [1 / 2, 1 / 2, 0]]),
        (worst_class, [[0, 0, 1]] * 3),
        (second_best_class, [[0, 1, 0], [1, 0, 0], [1, 0, 0]]),
        # T = 1: exp(-z) = (1/4, 1/2, 1), of which the true class is left out.
        (at(1.0), [[0, 1 / 3, 2 / 3], [1 / 5, 0, 4 / 5], [1 / 3, 2 / 3, 0]]),
        # T = 1/2: exp(-2 z) = (1/16, 1/4, 1).
        (at(0.5), [[0, 1 / 5, 4 / 5], [1 / 17, 0, 16 / 17], [1 / 5, 4 / 5, 0]]),
    ],
    ids=["SLS", "ALS", "SBLS", "BLS 1", "BLS 0.5"],
)
def test_q_prime_worked_by_hand(q_prime, rows):
    """LSV/eq4..7 on z = (log 4, log 2, 0) with the labels 0, 1, 2. The last label has the smallest logit: ALS gives it
    its own mass back, the others never do."""
    q = q_prime(HAND_Y, HAND)
    assert q.dtype == tf.float32
    np.testing.assert_allclose(q, rows, rtol=1e-6)


def test_the_losses_worked_by_hand():
    """-log p = log 7 - z = log 7 - (2, 1, 0) log 2. With mass 0.2 and label 0, in units of log 2 below log 7:
    SLS 0.8 * 2 + 0.1 * 1 = 1.7, ALS 1.6, SBLS 1.6 + 0.2 = 1.8, BLS at T = 1: 1.6 + 0.2 / 3."""
    taken = {
        LabelSmoothing(0.2): 1.7,
        AdversarialLabelSmoothing(0.2): 1.6,
        SecondBestLabelSmoothing(0.2): 1.8,
        BoltzmannLabelSmoothing(0.2, temperature=1.0): 1.6 + 0.2 / 3,
    }
    for loss, units in taken.items():
        value = loss(tf.constant([0]), HAND[:1])
        np.testing.assert_allclose(value, np.log(7) - units * np.log(2), rtol=1e-6, err_msg=loss.name)


@every
@pytest.mark.parametrize("y", [DENSE, MIXED], ids=["one-hot", "mixed"])
def test_q_prime_is_a_distribution(q_prime, y):
    rows = q_prime(y, LOGITS).numpy()
    assert (rows >= 0).all()
    np.testing.assert_allclose(rows.sum(axis=1), 1.0, rtol=1e-6)


@every
@pytest.mark.parametrize("y", [DENSE, MIXED], ids=["one-hot", "mixed"])
@pytest.mark.parametrize("mass", [0.005, 0.1, 0.4])
def test_theorem_1(q_prime, y, mass):
    """LSV/theorem1: SmoothCE = L_n + alpha (y - q')' z for each example; the log-sum-exp cancels, so it is exact."""
    penalty = ((y - q_prime(y, LOGITS)).numpy() * LOGITS.numpy()).sum(axis=1)
    expected = cross_entropy(y, LOGITS).numpy() + mass * penalty
    smoothed = smoothed_cross_entropy(y, LOGITS, q_prime=q_prime, mass=mass)
    np.testing.assert_allclose(smoothed, expected, rtol=1e-5, atol=1e-5)


def test_corollary_1_adversarial_smoothing_squeezes_the_range_below_the_true_logit():
    """LSV/corollary1: R_n = mean(z_y - z_worst) >= 0; the paper's table 1 prints the other sign."""
    z = LOGITS.numpy()
    penalty = z[np.arange(12), LABELS.numpy()] - z.min(axis=1)
    assert (penalty >= 0).all()
    expected = (cross_entropy(LABELS, LOGITS).numpy() + 0.4 * penalty).mean()
    np.testing.assert_allclose(AdversarialLabelSmoothing(0.4)(LABELS, LOGITS), expected, rtol=1e-5)


def test_second_best_smoothing_adds_the_opposite_of_the_margin():
    """LSV/eq7: R_n = mean(z_y - max_{k != y} z_k); `margin` is max_{k != y} z_k - z_y."""
    expected = (cross_entropy(LABELS, LOGITS) - 0.1 * margin(LABELS, LOGITS)).numpy().mean()
    np.testing.assert_allclose(SecondBestLabelSmoothing(0.1)(LABELS, LOGITS), expected, rtol=1e-5)


def test_adversarial_labels_are_the_worst_within_their_distance():
    """LSV/eq3, eq4: of all labels with q_y >= 0.7 none costs more; the vertices attain it, 2,000 random q' do not."""
    worst = smoothed_cross_entropy(LABELS, LOGITS, q_prime=worst_class, mass=0.3).numpy()
    q_primes = np.concatenate([np.eye(CLASSES), RNG.dirichlet(np.full(CLASSES, 0.2), size=2000)])
    labels = 0.7 * DENSE.numpy()[:, None] + 0.3 * q_primes
    costs = -(labels * tf.nn.log_softmax(LOGITS).numpy()[:, None]).sum(axis=2)
    assert (costs <= worst[:, None] + 1e-5).all()
    np.testing.assert_allclose(costs.max(axis=1), worst, rtol=1e-5)


def test_a_cold_boltzmann_is_the_worst_of_the_other_classes():
    """LSV/eq6, T -> 0. On HAND with label 2, the class of the smallest logit, ALS and BLS differ."""
    others = np.where(DENSE.numpy() == 1, np.inf, LOGITS.numpy())
    expected = np.eye(CLASSES)[others.argmin(axis=1)]
    for temperature in (0.0, 1e-45, 1e-38, 1e-3):
        np.testing.assert_allclose(at(temperature)(DENSE, LOGITS), expected, atol=1e-6)
        np.testing.assert_allclose(at(temperature)(HAND_Y, HAND), [[0, 0, 1], [0, 0, 1], [0, 1, 0]], atol=1e-6)
    np.testing.assert_allclose(worst_class(HAND_Y, HAND), [[0, 0, 1]] * 3)


def test_a_hot_boltzmann_is_standard_smoothing():
    """LSV/eq6, T -> infinity: evenly over the other classes."""
    for temperature in (1e9, 1e38, 1e300, float("inf")):
        np.testing.assert_allclose(at(temperature)(DENSE, LOGITS), other_classes(DENSE, LOGITS), rtol=1e-6)


def test_between_them_it_is_the_softmax_of_the_other_negated_logits():
    """Also for logits far from zero: a shift of all logits changes nothing."""
    for temperature in (0.1, 1.0, 10.0):
        scores = np.where(DENSE.numpy() == 1, -np.inf, -LOGITS.numpy().astype(np.float64) / temperature)
        weights = np.exp(scores - scores.max(axis=1, keepdims=True))
        expected = weights / weights.sum(axis=1, keepdims=True)
        np.testing.assert_allclose(at(temperature)(DENSE, LOGITS), expected, rtol=1e-4, atol=1e-7)
        np.testing.assert_allclose(at(temperature)(DENSE, LOGITS + 4096.0), expected, atol=0.01)


def test_extreme_logits_at_extreme_temperatures_stay_finite():
    """1e30 / 1e-30 overflows; the largest weight is 1 all the same."""
    logits = tf.constant([[1e30, -1e30, 0.0], [0.0, 1e30, 1e30]])
    np.testing.assert_allclose(at(1e-30)(HAND_Y[:2], logits), [[0, 1, 0], [1, 0, 0]])
    np.testing.assert_allclose(at(1e30)(HAND_Y[:1], logits[:1]), [[0, np.e / (np.e + 1), 1 / (np.e + 1)]], rtol=1e-5)


def test_with_two_classes_there_is_only_one_other_so_all_but_adversarial_agree():
    logits, labels = LOGITS[:, :2], LABELS % 2
    expected = label_smoothing(labels, logits, mass=0.2)
    for q_prime in (second_best_class, at(0.0), at(1.0), at(float("inf"))):
        smoothed = smoothed_cross_entropy(labels, logits, q_prime=q_prime, mass=0.2)
        np.testing.assert_allclose(smoothed, expected, rtol=1e-6)


def test_equal_logits_share_evenly():
    """Worst: classes 1 and 3 of (2, 0, 1, 0). Second best of (1, 3, 3, 0): 1 and 2, or what of them is not true."""
    low, high = tf.constant([[2.0, 0.0, 1.0, 0.0]]), tf.constant([[1.0, 3.0, 3.0, 0.0]])
    y = tf.one_hot([0, 1], 4)
    np.testing.assert_allclose(worst_class(y[:1], low), [[0, 0.5, 0, 0.5]])
    np.testing.assert_allclose(worst_class(y[1:], low), [[0, 0.5, 0, 0.5]])
    np.testing.assert_allclose(at(0.0)(y[:1], low), [[0, 0.5, 0, 0.5]])
    np.testing.assert_allclose(at(0.0)(y[1:], low), [[0, 0, 0, 1]])
    np.testing.assert_allclose(second_best_class(y[:1], high), [[0, 0.5, 0.5, 0]])
    np.testing.assert_allclose(second_best_class(y[1:], high), [[0, 0, 1, 0]])


def test_a_fresh_network_of_equal_logits_is_smoothed_evenly():
    """z = 0: every choice is a tie, so that no class is favored by its number."""
    zeros = tf.zeros([12, CLASSES])
    np.testing.assert_allclose(worst_class(DENSE, zeros), np.full([12, CLASSES], 0.1), rtol=1e-6)
    for q_prime in (second_best_class, at(0.0), at(0.001), at(float("inf"))):
        np.testing.assert_allclose(q_prime(DENSE, zeros), other_classes(DENSE, zeros), rtol=1e-6)


@every
def test_the_order_of_the_classes_does_not_matter(q_prime):
    order = RNG.permutation(CLASSES)
    logits = tf.round(LOGITS)  # with ties
    permuted = q_prime(tf.gather(DENSE, order, axis=1), tf.gather(logits, order, axis=1))
    np.testing.assert_allclose(permuted, tf.gather(q_prime(DENSE, logits), order, axis=1), rtol=1e-6)


def test_the_true_class_of_a_mixed_label_is_the_one_of_largest_weight():
    """MIXED has 0.7 on LABELS: q' is that of the hard labels, and the smoothed label is 0.9 y + 0.1 q'."""
    for q_prime in (second_best_class, at(0.5)):
        np.testing.assert_allclose(q_prime(MIXED, LOGITS), q_prime(DENSE, LOGITS), rtol=1e-6)
    smoothed = 0.9 * MIXED + 0.1 * second_best_class(DENSE, LOGITS)
    np.testing.assert_allclose(
        SecondBestLabelSmoothing(0.1, reduction=None)(MIXED, LOGITS), cross_entropy(smoothed, LOGITS), rtol=1e-5
    )


@pytest.mark.parametrize("jit", [False, True], ids=["graph", "xla"])
def test_compiled_every_q_prime_is_the_same(jit):
    """Also where T is 0 or below the smallest normal float, and where logits are equal."""
    logits = tf.concat([LOGITS, tf.round(LOGITS), tf.zeros([12, CLASSES])], axis=0)
    y = tf.tile(MIXED, [3, 1])

    def rows(y, logits):
        return [q_prime(y, logits) for q_prime in (*Q_PRIMES.values(), at(1e-45))]

    for compiled, eager in zip(tf.function(rows, jit_compile=jit)(y, logits), rows(y, logits), strict=True):
        np.testing.assert_allclose(compiled, eager, rtol=1e-5, atol=1e-7)


@pytest.mark.parametrize(
    ("loss", "q", "jit"),
    [
        (AdversarialLabelSmoothing(0.2), [0.8, 0.0, 0.2], False),
        (SecondBestLabelSmoothing(0.2), [0.8, 0.2, 0.0], False),
        (BoltzmannLabelSmoothing(0.2), [0.8, 0.0, 0.2], False),
        (BoltzmannLabelSmoothing(0.2), [0.8, 0.0, 0.2], True),
    ],
    ids=["ALS", "SBLS", "BLS", "BLS xla"],
)
def test_fit_takes_a_step_of_exactly_this_gradient(loss, q, jit):
    """Zero input, so that z is the bias (0.3, 0, -0.1), label 0, lr 0.5: the bias moves by -0.5 (p - q)."""
    z = np.array([0.3, 0.0, -0.1])
    model = keras.Sequential([keras.layers.Input([4]), keras.layers.Dense(3)])
    model.compile(keras.optimizers.SGD(0.5), loss, jit_compile=jit)
    model.layers[-1].set_weights([np.zeros([4, 3]), z])
    model.fit(np.zeros([2, 4], np.float32), np.array([0, 0]), batch_size=2, verbose=0)
    np.testing.assert_allclose(model.layers[-1].bias, z - 0.5 * (np.exp(z) / np.exp(z).sum() - q), atol=1e-6)


@pytest.mark.parametrize("temperature", [0.0, 0.25, float("inf"), "inf"])
def test_the_temperature_survives_a_configuration(temperature):
    """Infinity travels as "inf": JSON has no number for it."""
    config = json.loads(json.dumps(BoltzmannLabelSmoothing(0.1, temperature).get_config(), allow_nan=False))
    assert config["temperature"] == (temperature if temperature in (0.0, 0.25) else "inf")
    restored = BoltzmannLabelSmoothing.from_config(config)
    assert (restored.mass, restored.temperature) == (0.1, float(temperature))


def test_the_default_temperature_is_the_papers():
    assert BoltzmannLabelSmoothing(0.1).temperature == 0.001


@pytest.mark.parametrize("temperature", [-0.001, float("nan"), "cold", None, True])
def test_a_bad_temperature_is_refused(temperature):
    with pytest.raises(UserError, match=r"temperature must be a number >= 0 or 'inf', got .*; 0 is the worst other"):
        BoltzmannLabelSmoothing(0.1, temperature)
