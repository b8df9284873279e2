"""Feature smoothing: x~ = (1 - alpha) x_i + alpha x_j, y~ = y_i."""

import warnings

import numpy as np
import pytest
import tensorflow as tf

from tfadv.augment import FeatureSmoothing, feature_smoothing
from tfadv.validation import UserError

SEED = [5, 6]


def test_the_four_points_of_a_batch_of_two_occur_equally_often_with_the_dominant_label():
    """x = 0 (label 7) and 1 (label 9), alpha = 1/4: (i, j) = (0, 0), (0, 1), (1, 0), (1, 1) give 0, 1/4, 3/4, 1.

    Each has 1/4 of 4,000 draws: 1,000 with standard deviation 27; 5 of them are 137.
    """
    config = FeatureSmoothing(alpha=0.25, new_points=4000)
    x, y = feature_smoothing([[0.0], [1.0]], [7, 9], config=config, seed=SEED)
    points, counts = np.unique(np.stack([x[2:, 0], y[2:]], 1), axis=0, return_counts=True)
    np.testing.assert_allclose(points, [[0, 7], [0.25, 7], [0.75, 9], [1, 9]], atol=1e-7)
    assert (abs(counts - 1000) < 137).all()


def test_every_example_is_drawn_equally_often_in_both_roles():
    """x_k = e_k: the point (1 - alpha) e_i + alpha e_j tells i and j. 500 expected, standard deviation 21."""
    size, alpha = 10, 0.3
    config = FeatureSmoothing(alpha=alpha, new_points=500 * size)
    x, y = feature_smoothing(np.eye(size, dtype=np.float32), np.arange(size), config=config, seed=SEED)
    x, y = x[size:].numpy(), y[size:].numpy()
    np.testing.assert_allclose(x.sum(1), 1, atol=1e-6)
    own = x.argmax(1)
    np.testing.assert_array_equal(own, y)
    other = (x - (1 - alpha) * np.eye(size)[own]).argmax(1)
    np.testing.assert_allclose(x, (1 - alpha) * np.eye(size)[own] + alpha * np.eye(size)[other], atol=1e-6)
    for drawn in (own, other):
        assert (abs(np.bincount(drawn, minlength=size) - 500) < 105).all()
    # Independent roles: i = j in 1/10 of 5,000, 500 with standard deviation 21.
    assert abs((own == other).sum() - 500) < 105


def test_the_batch_comes_first_and_unchanged():
    x = np.random.default_rng(0).uniform(size=[6, 4, 4, 1]).astype(np.float32)
    y = np.arange(6, dtype=np.int32)
    out_x, out_y = feature_smoothing(x, y, config=FeatureSmoothing(new_points=3), seed=SEED)
    assert out_x.shape == (9, 4, 4, 1)
    assert out_y.shape == (9,)
    assert out_y.dtype == tf.int32
    np.testing.assert_array_equal(out_x[:6], x)
    np.testing.assert_array_equal(out_y[:6], y)


def test_alpha_zero_repeats_examples_with_their_labels():
    x = np.random.default_rng(0).uniform(size=[6, 5]).astype(np.float32)
    out_x, out_y = feature_smoothing(x, np.arange(6), config=FeatureSmoothing(alpha=0.0), seed=SEED)
    np.testing.assert_array_equal(out_x, x[out_y.numpy()])


def test_no_new_points_is_the_identity():
    x, y = feature_smoothing(tf.ones([2, 3]), [0, 1], config=FeatureSmoothing(new_points=0), seed=SEED)
    assert x.shape == (2, 3)
    assert y.numpy().tolist() == [0, 1]


def test_distributions_are_repeated_not_mixed():
    labels = np.array([[0.9, 0.1], [0.2, 0.8]], np.float32)
    _, y = feature_smoothing([[0.0], [1.0]], labels, config=FeatureSmoothing(alpha=0.4), seed=SEED)
    assert y.shape == (12, 2)
    assert {tuple(row) for row in y.numpy()} == {tuple(row) for row in labels}


@pytest.mark.parametrize("alpha", [0.0, 0.3, 0.49])
def test_points_lie_between_their_examples(alpha):
    x = np.random.default_rng(0).uniform(size=[8, 20]).astype(np.float32)
    out, _ = feature_smoothing(x, np.arange(8), config=FeatureSmoothing(alpha=alpha, new_points=50), seed=SEED)
    assert (out.numpy() >= x.min(0) - 1e-6).all()
    assert (out.numpy() <= x.max(0) + 1e-6).all()


def test_equal_weights_warn_at_the_place_that_asked_for_them():
    with pytest.warns(UserWarning, match="underfits") as record:
        FeatureSmoothing(alpha=0.5)
    assert record[0].filename == __file__
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        FeatureSmoothing(alpha=0.4999)


def test_more_weight_on_the_other_point_is_refused():
    with pytest.raises(UserError, match=r"alpha must be at most 0\.5, got 0\.7.*alpha=0\.3 gives the same images"):
        FeatureSmoothing(alpha=0.7)


@pytest.mark.parametrize("alpha", [-0.1, np.nan, "0.3", None], ids=repr)
def test_an_alpha_that_is_not_a_weight_is_refused(alpha):
    with pytest.raises(UserError, match="alpha must be a finite number >= 0"):
        FeatureSmoothing(alpha=alpha)


@pytest.mark.parametrize("new_points", [-1, 2.5, True], ids=repr)
def test_a_number_of_points_that_is_not_whole_is_refused(new_points):
    with pytest.raises(UserError, match="new_points must be an integer >= 0"):
        FeatureSmoothing(new_points=new_points)
