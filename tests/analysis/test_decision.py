"""Decision planes: the grid lies where it says, and shows what the model says there."""

import numpy as np
import pytest
import tensorflow as tf

from tfadv import draws
from tfadv.analysis.decision import decision_map, decision_slices
from tfadv.validation import UserError

X = np.array([[[[0.5], [0.5]]], [[[0.25], [0.5]]]], np.float32)  # [2, 1, 2, 1]
AHEAD = np.array([[[[0.1], [0.0]]], [[[0.0], [0.2]]]], np.float32)


def halves(x):
    """Class 1 where the first feature is larger than 0.55."""
    flat = tf.reshape(x, [-1, 2])
    return tf.stack([0 * flat[:, 0], 20 * (flat[:, 0] - 0.55)], axis=1)


def test_the_map_runs_to_the_right_with_the_first_feature_and_upwards_with_the_second():
    """Three classes: 1 to the right of 0.6, else 2 above 0.6, else 0. Five points: 0, 0.25, 0.5, 0.75, 1."""

    def corners(x):
        return tf.stack([0 * x[:, 0], 9 * tf.sign(x[:, 0] - 0.6), 5 * tf.sign(x[:, 1] - 0.6)], axis=1)

    found = decision_map(corners, np.array([[0.0, 1.0], [1.0, 0.26]], np.float32), [2, 1], resolution=5)
    expected = [[2, 2, 2, 1, 1], [2, 2, 2, 1, 1], [0, 0, 0, 1, 1], [0, 0, 0, 1, 1], [0, 0, 0, 1, 1]]
    np.testing.assert_array_equal(found.classes, [expected])
    assert found.marks == (((0, 0, 2), (3, 4, 1)),)
    np.testing.assert_allclose(found.confidence[0, 0, 0], 1 / (1 + np.exp(-5) + np.exp(-14)), rtol=1e-6)


def test_bounds_are_the_edges_of_the_map():
    """Class 1 right of 0.55: of -1, 0, 1 only the last."""
    found = decision_map(halves, np.array([[-1.0, 1.0]], np.float32), [0], resolution=3, bounds=(-1.0, 1.0))
    np.testing.assert_array_equal(found.classes, [[[0, 0, 1]] * 3])
    assert found.marks == (((0, 0, 0),),)


def test_a_slice_has_the_image_in_the_middle_and_the_example_to_the_right():
    """The first image goes from 0.5 over 0.55 to 0.6 at a = 1; the second goes across, and stays class 0."""
    found = decision_slices(halves, X[:1], [0], X[:1] + AHEAD[:1], resolution=41, batch_size=300)
    a = np.linspace(-2, 2, 41)
    # What is orthogonal to the first feature does not change it, so all rows are equal.
    np.testing.assert_array_equal(found.classes[0], np.broadcast_to(0.5 + 0.1 * a > 0.5501, (41, 41)))
    assert found.labels == ("0 → 1",)
    assert found.marks == (((20, 20, -1), (20, 30, -1)),)


def test_the_random_direction_is_orthogonal_and_as_long():
    """Of the second image the direction is the second feature, so the other one is +-0.2 times the first."""
    found = decision_slices(halves, X[1:], [0], X[1:] + AHEAD[1:], resolution=41, seed=4)
    sign = np.sign(draws.normal(4, (np.zeros(1, np.int32),), (1, 2, 1))[0, 0, 0, 0])
    b = np.linspace(2, -2, 41)  # Upwards is plus.
    np.testing.assert_array_equal(
        found.classes[0], np.broadcast_to((0.25 + sign * 0.2 * b > 0.5501)[:, None], (41, 41))
    )


def test_an_image_draws_the_same_direction_in_any_company():
    """(seed, number) says it, and another seed says otherwise."""
    draw = np.random.default_rng(0)
    x = draw.random((2, 8), np.float32) * 0.5 + 0.25
    x_adv, weights = x + 0.1 * np.sign(draw.normal(size=(2, 8))).astype(np.float32), draw.normal(size=(8, 4))

    def planes(count, seed=0):
        return decision_slices(
            lambda v: tf.sin(5 * v) @ weights.astype(np.float32),
            x[:count],
            [0, 1][:count],
            x_adv[:count],
            resolution=11,
            seed=seed,
        ).confidence

    np.testing.assert_allclose(planes(2)[:1], planes(1), atol=1e-6)
    assert not np.allclose(planes(1, seed=1), planes(1), atol=1e-3)


def test_pictures_have_a_color_for_each_class_paler_where_unsure_and_the_marks():
    found = decision_map(halves, np.array([[0.0, 0.0]], np.float32), [0], resolution=3, class_names=("left", "right"))
    planes, key = found.charts()
    assert planes.images.shape == (1, 3, 3, 3)
    assert key.labels == ("left", "right")
    np.testing.assert_allclose(planes.images[0, 2, 0], 0.5 * key.images[0, 0, 0], atol=1e-6)  # The example.
    sure, unsure = planes.images[0, 0, 0], planes.images[0, 0, 1]  # 0.55 and 0.05 from the boundary.
    assert (unsure >= sure).all()
    assert unsure.sum() > sure.sum() + 0.1
    np.testing.assert_allclose(sure, key.images[0, 0, 0], atol=1e-3)
    slices, _ = decision_slices(halves, X, [0, 0], X + AHEAD, resolution=5).charts()
    np.testing.assert_array_equal(slices.images[:, 2, 2], 0)


@pytest.mark.parametrize("classes", [2, 6, 10, 100])
def test_no_two_classes_have_one_color(classes):
    def model(x):
        return x[:, :1] * tf.range(float(classes))

    _, key = decision_map(model, np.array([[0.5, 0.5]], np.float32), [0], resolution=2).charts()
    assert len({tuple(np.round(255 * color).astype(int)) for color in key.images[:, 0, 0]}) == classes


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({"x_adv": X}, r"differ from x in every row, equal in \[0, 1\]"),
        ({"x_adv": X[:1]}, "shape of x"),
        ({"resolution": 10}, "odd number"),
        ({"reach": 0.5}, "reach must be"),
        ({"class_names": ("one",)}, "one name for each of the 2 classes"),
    ],
)
def test_slices_that_make_no_sense_are_refused(options, text):
    with pytest.raises(UserError, match=text):
        decision_slices(halves, **{"x": X, "y": [0, 0], "x_adv": X + AHEAD, **options})


def test_maps_that_make_no_sense_are_refused():
    with pytest.raises(UserError, match="two features"):
        decision_map(halves, X, [0, 0])
    with pytest.raises(UserError, match="resolution"):
        decision_map(halves, X[:, 0, :, 0], [0, 0], resolution=1)
