"""Gaussian noise: x~ = P(x + e)."""

import numpy as np
import pytest
import scipy.stats
import tensorflow as tf

from tfadv.augment import GaussianNoise, gaussian_noise
from tfadv.validation import UserError

WIDE = (-1e3, 1e3)
SEED = [5, 6]


def test_adds_scaled_normal_noise_and_clips_to_the_bounds():
    """With bounds too wide to clip, x = 0 and stddev = 1 show e itself; then x~ = clip(x + 0.5 e, 0, 1)."""
    x = np.random.default_rng(0).uniform(size=[3, 4, 4, 1]).astype(np.float32)
    e, _ = gaussian_noise(np.zeros_like(x), None, config=GaussianNoise(1.0, bounds=WIDE), seed=SEED)
    noisy, _ = gaussian_noise(x, None, config=GaussianNoise(0.5), seed=SEED)
    expected = x + 0.5 * np.asarray(e)
    assert (expected < 0).any()
    assert (expected > 1).any()
    np.testing.assert_allclose(noisy, np.clip(expected, 0, 1), atol=1e-6)


def test_the_noise_before_clipping_is_normal_and_independent():
    """100,000 draws: the mean has standard error 0.5 / 316 = 0.0016, the standard deviation 0.0011; 5 of each."""
    x = tf.zeros([100, 1000])
    noise = gaussian_noise(x, None, config=GaussianNoise(0.5, bounds=WIDE), seed=SEED)[0].numpy()
    assert abs(noise.mean()) < 0.008
    assert abs(noise.std() - 0.5) < 0.0056
    assert scipy.stats.kstest(noise.ravel(), scipy.stats.norm(scale=0.5).cdf).pvalue > 1e-4
    # Neighboring values and neighboring rows: correlations of standard error 0.0032.
    assert abs(np.corrcoef(noise[:, :-1].ravel(), noise[:, 1:].ravel())[0, 1]) < 0.016
    assert abs(np.corrcoef(noise[:-1].ravel(), noise[1:].ravel())[0, 1]) < 0.016


@pytest.mark.parametrize("bounds", [(0.0, 1.0), (-1.0, 1.0), (0.0, 255.0)], ids=repr)
def test_the_result_stays_in_the_bounds_and_touches_them(bounds):
    x = tf.constant(np.linspace(*bounds, 400, dtype=np.float32))
    noisy, _ = gaussian_noise(x, None, config=GaussianNoise(0.5 * (bounds[1] - bounds[0]), bounds=bounds), seed=SEED)
    assert (np.min(noisy), np.max(noisy)) == bounds


def test_no_noise_is_the_identity():
    x = np.random.default_rng(0).uniform(size=[2, 3, 3, 1]).astype(np.float32)
    np.testing.assert_array_equal(gaussian_noise(x, None, config=GaussianNoise(0.0), seed=SEED)[0], x)


def test_labels_come_back_as_they_are():
    y = {"anything": [1, 2]}
    assert gaussian_noise(tf.zeros([2, 3]), y, config=GaussianNoise(), seed=SEED)[1] is y


@pytest.mark.parametrize("shape", [[], [3], [4, 4, 1], [2, 4, 4, 3]], ids=str)
def test_any_shape_is_augmented(shape):
    noisy, _ = gaussian_noise(tf.fill(shape, 0.5), None, config=GaussianNoise(0.1), seed=SEED)
    assert noisy.shape == shape
    assert (noisy.numpy() != 0.5).all()


@pytest.mark.parametrize("dtype", [tf.float16, tf.bfloat16, tf.float32, tf.float64])
def test_the_dtype_is_kept(dtype):
    noisy, _ = gaussian_noise(tf.fill([50], tf.constant(0.5, dtype)), None, config=GaussianNoise(0.1), seed=SEED)
    assert noisy.dtype == dtype
    assert 0.05 < np.std(tf.cast(noisy, tf.float32)) < 0.2


def test_images_outside_the_bounds_are_refused_and_rounding_is_not():
    with pytest.raises(UserError, match=r"divide by 255.*0 and 255"):
        gaussian_noise([0.0, 255.0], None, config=GaussianNoise(), seed=SEED)
    with pytest.raises(UserError, match="pass its own bounds"):
        gaussian_noise([-1.0, 1.0], None, config=GaussianNoise(), seed=SEED)
    with pytest.raises(UserError, match="no NaN"):
        gaussian_noise([0.5, np.nan], None, config=GaussianNoise(), seed=SEED)
    rounded, _ = gaussian_noise([1 + 1e-6], None, config=GaussianNoise(0.0), seed=SEED)
    assert rounded.numpy() == [1.0]


def test_a_dataset_of_images_outside_the_bounds_is_refused():
    dataset = tf.data.Dataset.from_tensors((tf.constant([0.0, 255.0]), 0)).apply(GaussianNoise())
    with pytest.raises(tf.errors.InvalidArgumentError, match="divide by 255"):
        next(iter(dataset))


@pytest.mark.parametrize("stddev", [-0.1, np.nan, np.inf, "0.5", None, True], ids=repr)
def test_a_stddev_that_is_not_a_finite_non_negative_number_is_refused(stddev):
    with pytest.raises(UserError, match="stddev must be a finite number >= 0"):
        GaussianNoise(stddev)


@pytest.mark.parametrize("bounds", [(1.0, 0.0), (0.0, 0.0), (0.0, np.nan), 1.0, (0.0, 0.5, 1.0)], ids=repr)
def test_bounds_that_are_not_an_interval_are_refused(bounds):
    with pytest.raises(UserError, match="bounds must be"):
        GaussianNoise(bounds=bounds)
