"""The embedded digits: scikit-learn's images, enlarged, in a fixed split."""

import hashlib

import numpy as np
import pytest
import tensorflow as tf
from sklearn import datasets

from tfadv import data
from tfadv.data.digits import bilinear_matrix


def test_the_splits_have_the_documented_sizes_and_share_no_image():
    (x, y), (x_test, y_test) = data.arrays("digits", "train"), data.arrays("digits", "test")
    assert x.shape == (1_297, 28, 28, 1)
    assert x_test.shape == (500, 28, 28, 1)
    assert y.shape == (1_297,)
    assert y_test.shape == (500,)
    assert not {image.tobytes() for image in x} & {image.tobytes() for image in x_test}


def test_both_splits_together_are_the_images_of_scikit_learn():
    bunch = datasets.load_digits()
    y = np.concatenate([data.arrays("digits", split)[1] for split in ("train", "test")])
    np.testing.assert_array_equal(np.bincount(y), np.bincount(bunch.target))


def test_every_class_has_its_share_of_the_test_split():
    y, y_test = data.arrays("digits", "train")[1], data.arrays("digits", "test")[1]
    share = np.bincount(np.concatenate([y, y_test])) * 500 / 1_797
    assert np.abs(np.bincount(y_test) - share).max() < 1


def test_images_are_float32_that_fill_the_unit_range():
    x, y = data.arrays("digits", "train")
    assert (x.dtype, y.dtype) == (np.float32, np.int32)
    assert x.min() == 0.0
    assert x.max() == 1.0


def test_enlarging_is_bilinear_with_half_pixel_centers():
    """A line of 2 pixels (a, b) enlarged to 4 has centers at 1/4, 3/4, 5/4, 7/4: a, 3/4 a + 1/4 b, 1/4 a + 3/4 b, b."""
    np.testing.assert_allclose(bilinear_matrix(4, 2), [[1, 0], [0.75, 0.25], [0.25, 0.75], [0, 1]], atol=1e-15)


def test_enlarging_agrees_with_tensorflow():
    """TensorFlow interpolates in float32: a few units of 6e-8."""
    small = np.random.default_rng(0).random((3, 8, 8)).astype(np.float32)
    matrix = bilinear_matrix(28, 8)
    expected = tf.image.resize(small[..., None], (28, 28), method="bilinear")[..., 0]
    np.testing.assert_allclose(matrix @ small @ matrix.T, expected, atol=2e-6)


@pytest.mark.parametrize(("split", "digest"), [("train", "c60efd9da8a83609"), ("test", "9f5430d170f31c86")])
def test_the_split_is_pinned(split, digest):
    """The labels in order, hashed: results committed for "digits" would otherwise change their meaning in silence."""
    assert hashlib.sha256(data.arrays("digits", split)[1].astype("<i4").tobytes()).hexdigest()[:16] == digest
