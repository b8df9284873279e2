"""The moons data set: the simulated moons in the unit square, fixed for good."""

import hashlib

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression
from sklearn.neighbors import KNeighborsClassifier

from tfadv import data
from tfadv.data import moons


@pytest.mark.parametrize("split", ["train", "test"])
def test_each_split_has_500_points_of_each_moon_inside_the_unit_square(split):
    x, y = data.arrays("moons", split)
    assert (x.shape, x.dtype, y.dtype) == ((1_000, 2), np.float32, np.int32)
    assert np.bincount(y).tolist() == [500, 500]
    # None at the edge: the clipping that keeps the promise of [0, 1] moves no point.
    assert x.min() > 0
    assert x.max() < 1


def test_the_points_lie_around_half_circles_of_a_quarter_of_a_unit():
    """Centers (0, 0) and (1, 1/2) go to (3/8, 7/16) and (5/8, 9/16). The radial noise has deviation 0.1 / 4 = 0.025.

    The noise across the radius adds 0.025^2 / (2 * 0.25) = 0.00125 to the mean distance from the center. Of 500
    distances the mean has standard error 0.0011, the deviation 0.0008.
    """
    x, y = data.arrays("moons", "train")
    for label, center in ((0, (3 / 8, 7 / 16)), (1, (5 / 8, 9 / 16))):
        distance = np.linalg.norm(x[y == label] - center, axis=1)
        assert abs(distance.mean() - 0.25125) < 0.0055
        assert abs(distance.std() - 0.025) < 0.004


def test_no_line_separates_the_moons_but_neighbors_tell_them_apart():
    (x, y), (x_test, y_test) = data.arrays("moons", "train"), data.arrays("moons", "test")
    assert LogisticRegression().fit(x, y).score(x_test, y_test) < 0.92
    assert KNeighborsClassifier(5).fit(x, y).score(x_test, y_test) > 0.99


def test_the_upper_moon_is_class_0():
    x, y = data.arrays("moons", "test")
    height = [x[y == label, 1].mean() for label in (0, 1)]
    assert height[0] > height[1]
    assert moons.SPEC.class_names == ("upper", "lower")


def test_train_and_test_share_no_point():
    train, test = ({point.tobytes() for point in data.arrays("moons", split)[0]} for split in ("train", "test"))
    assert not train & test


@pytest.mark.parametrize(("split", "digest"), [("train", "2d3f7db1c2c74469"), ("test", "d6bc9d4320eaa177")])
def test_the_order_is_pinned(split, digest):
    """The labels in order, hashed; the points themselves may differ in their last bits between processors."""
    assert hashlib.sha256(data.arrays("moons", split)[1].astype("<i4").tobytes()).hexdigest()[:16] == digest
