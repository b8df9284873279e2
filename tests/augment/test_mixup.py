"""Mixup: x~ = lam x_i + (1 - lam) x_j, y~ = lam y_i + (1 - lam) y_j, lam ~ Beta(alpha, alpha)."""

import numpy as np
import pytest
import scipy.stats
import tensorflow as tf

from tfadv.augment import Mixup, mixup
from tfadv.augment.mixup import beta
from tfadv.validation import UserError

SEED = [5, 6]


def test_images_and_labels_are_mixed_with_one_weight():
    """x = 0 is class 0 and x = 1 class 1, so a mixed x is the probability of class 1, whatever i, j and lam are."""
    x, y = mixup([[0.0], [1.0]], [0, 1], config=Mixup(new_points=500, classes=2), seed=SEED)
    np.testing.assert_allclose(y, np.concatenate([1 - x, x], 1), atol=1e-6)
    # i = j gives 0 or 1, i != j a weight strictly between: both occur.
    inside = (x > 0) & (x < 1)
    assert 0.4 < np.mean(inside[2:]) < 0.6


def test_the_weight_of_unlike_points_is_beta_distributed():
    """i != j in half of 4,000 points: lam or 1 - lam, both Beta(8, 8)."""
    x, _ = mixup([[0.0], [1.0]], [0, 1], config=Mixup(alpha=8.0, new_points=4000, classes=2), seed=SEED)
    weights = x.numpy()[2:, 0]
    weights = weights[(weights > 0) & (weights < 1)]
    assert abs(len(weights) - 2000) < 5 * 32
    assert scipy.stats.kstest(weights, scipy.stats.beta(8, 8).cdf).pvalue > 1e-4


@pytest.mark.parametrize("alpha", [0.05, 0.3, 1.0, 8.0, 1e4])
def test_beta_has_its_mean_and_variance(alpha):
    """Mean 1/2, variance 1 / (4 (2 alpha + 1)); 100,000 draws, 5 standard errors of each."""
    draws = beta(100_000, alpha, tf.constant(SEED)).numpy().astype(np.float64)
    law = scipy.stats.beta(alpha, alpha)
    assert ((draws >= 0) & (draws <= 1)).all()
    assert abs(draws.mean() - 0.5) < 5 * law.std() / 100_000**0.5
    spread = ((draws - 0.5) ** 2).std() / 100_000**0.5
    assert abs(((draws - 0.5) ** 2).mean() - 1 / (4 * (2 * alpha + 1))) < 5 * spread
    if alpha >= 0.3:  # below, float32 rounds much of the mass to exactly 0 and 1
        assert scipy.stats.kstest(draws, law.cdf).pvalue > 1e-4


def test_beta_of_a_tiny_alpha_is_a_coin_and_never_nan():
    draws = beta(2000, 1e-6, tf.constant(SEED)).numpy()
    assert set(draws) == {0.0, 1.0}
    assert abs(draws.mean() - 0.5) < 0.056


def test_alpha_zero_repeats_examples_with_their_labels():
    x = np.random.default_rng(0).uniform(size=[6, 5]).astype(np.float32)
    out_x, out_y = mixup(x, np.arange(6), config=Mixup(alpha=0.0, classes=6), seed=SEED)
    np.testing.assert_array_equal(out_x, x[np.argmax(out_y, 1)])
    np.testing.assert_array_equal(np.max(out_y, 1), 1)


def test_the_batch_comes_first_with_one_hot_labels():
    x = np.random.default_rng(0).uniform(size=[6, 4, 4, 1]).astype(np.float32)
    y = np.array([3, 1, 4, 1, 5, 9], np.int32)
    out_x, out_y = mixup(x, y, config=Mixup(new_points=3), seed=SEED)
    assert out_x.shape == (9, 4, 4, 1)
    assert out_y.shape == (9, 10)
    assert out_y.dtype == tf.float32
    np.testing.assert_array_equal(out_x[:6], x)
    np.testing.assert_array_equal(out_y[:6], np.eye(10)[y])


def test_mixed_labels_are_distributions_over_at_most_two_classes():
    x = np.random.default_rng(0).uniform(size=[8, 3]).astype(np.float32)
    out_x, out_y = mixup(x, np.arange(8), config=Mixup(new_points=100), seed=SEED)
    np.testing.assert_allclose(np.sum(out_y, 1), 1, atol=1e-6)
    assert np.min(out_y) >= 0
    assert (np.count_nonzero(out_y, 1) <= 2).all()
    # Example k is class k, so the labels hold the weights: x~ = y~ x.
    np.testing.assert_allclose(out_x, out_y.numpy()[:, :8] @ x, atol=1e-5)


def test_integer_labels_and_their_one_hot_rows_give_the_same():
    x, y = np.random.default_rng(0).uniform(size=[8, 3]).astype(np.float32), np.arange(8)
    config = Mixup(classes=8)
    sparse = mixup(x, y, config=config, seed=SEED)
    dense = mixup(x, np.eye(8), config=config, seed=SEED)
    for ours, theirs in zip(sparse, dense, strict=True):
        np.testing.assert_array_equal(ours, theirs)


def test_half_precision_images_keep_their_dtype_and_float32_labels():
    x, y = mixup(tf.ones([4, 3], tf.float16), [0, 1, 2, 3], config=Mixup(), seed=SEED)
    assert (x.dtype, y.dtype) == (tf.float16, tf.float32)
    np.testing.assert_allclose(x, 1, atol=2e-3)


@pytest.mark.parametrize(
    "labels", [np.eye(3, dtype=np.float32), np.ones([3], np.float32), np.ones([3, 10, 1])], ids=["K", "rank1", "rank3"]
)
def test_labels_that_are_not_over_the_classes_are_refused(labels):
    with pytest.raises(UserError, match=r"classes=10\], got shape \(3.*Mixup\(classes="):
        mixup(np.zeros([3, 2], np.float32), labels, config=Mixup(classes=10), seed=SEED)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"alpha": -1.0}, "alpha must be a finite number >= 0"),
        ({"alpha": np.inf}, "alpha must be a finite number >= 0"),
        ({"new_points": -1}, "new_points must be an integer >= 0"),
        ({"classes": 1}, "classes must be an integer >= 2"),
    ],
    ids=str,
)
def test_impossible_parameters_are_refused(arguments, message):
    with pytest.raises(UserError, match=message):
        Mixup(**arguments)
