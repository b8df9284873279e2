"""Brightness and rotation: the turn of an image worked by hand, and the smallest change of a grid that fools."""

import math

import numpy as np
import pytest
import tensorflow as tf

from tfadv.attacks import compiled
from tfadv.attacks.spatial import Brightness, Rotation, brightness, rotate, rotation
from tfadv.validation import UserError

FUNCTIONS = {Brightness: brightness, Rotation: rotation}


def run(model, x, config):
    x = tf.constant(x, tf.float32)
    return FUNCTIONS[type(config)](model, x, tf.zeros([len(x)], tf.int32), config=config).numpy()


def above(threshold):
    """Class 1 wins where the mean of all pixels is above the threshold."""
    return lambda x: mean_against(x, threshold)


def mean_against(x, threshold):
    mean = tf.reduce_mean(tf.reshape(x, [tf.shape(x)[0], -1]), axis=1, keepdims=True)
    return tf.concat([tf.zeros_like(mean), mean - threshold], axis=1)


def bar(angle):
    """An image [33, 33, 1] of a bar through the center, turned by `angle` degrees counterclockwise from upright."""
    row, column = np.mgrid[16:-17:-1, -16:17].astype(np.float32)
    away = column * math.cos(math.radians(angle)) + row * math.sin(math.radians(angle))
    return np.clip(2.5 - np.abs(away), 0, 1)[..., None].astype(np.float32)


class TestRotate:
    IMAGES = np.random.default_rng(0).random([2, 5, 7, 3], np.float32)

    def test_no_turn_gives_back_the_images_bit_by_bit(self):
        np.testing.assert_array_equal(rotate(self.IMAGES, 0), self.IMAGES)

    @pytest.mark.parametrize("size", [4, 5])
    def test_quarter_turns_are_counterclockwise(self, size):
        x = np.random.default_rng(1).random([2, size, size, 3], np.float32)
        for quarters in (1, 2, 3, -1):
            turned = np.rot90(x, quarters, axes=(1, 2))
            np.testing.assert_allclose(rotate(x, 90 * quarters), turned, atol=2e-6)

    def test_half_a_turn_of_a_rectangle(self):
        np.testing.assert_allclose(rotate(self.IMAGES, 180), self.IMAGES[:, ::-1, ::-1], atol=2e-6)

    @pytest.mark.parametrize("fill", [0.0, 1.0])
    def test_pixels_between_pixels_are_interpolated_and_those_outside_filled(self, fill):
        """By 45 degrees the upper right corner looks sqrt(2) right of the center: 0.414 of the way out of the image.

        The right neighbor of the center looks 0.707 down and right of it, so it sees the right pixel by
        (1 - 0.707) x 0.707.
        """
        x = np.zeros([1, 3, 3, 1], np.float32)
        x[0, 1, 2] = 1
        turned = rotate(x, 45, fill=fill).numpy()[0, :, :, 0]
        assert turned[0, 2] == pytest.approx(2 - math.sqrt(2) + (math.sqrt(2) - 1) * fill, abs=1e-6)
        assert turned[1, 2] == pytest.approx((1 - math.sqrt(0.5)) * math.sqrt(0.5), abs=1e-6)
        assert turned[1, 1] == 0

    @pytest.mark.parametrize("degrees", [20.0, -33.3])
    def test_it_is_the_projective_transform_of_tensorflow(self, degrees):
        """Which maps (column, row) of the result to the source by a linear map and a shift that keeps the center."""
        cosine, sine = math.cos(math.radians(degrees)), math.sin(math.radians(degrees))
        shift = [3 - 3 * cosine + 2 * sine, 2 - 3 * sine - 2 * cosine]
        expected = tf.raw_ops.ImageProjectiveTransformV3(
            images=self.IMAGES,
            transforms=[[cosine, -sine, shift[0], sine, cosine, shift[1], 0.0, 0.0]],
            output_shape=[5, 7],
            fill_value=0.25,
            interpolation="BILINEAR",
        )
        np.testing.assert_allclose(rotate(self.IMAGES, degrees, fill=0.25), expected, atol=1e-5)

    def test_each_image_may_have_its_own_angle(self):
        turned = rotate(self.IMAGES, [20.0, -70.0])
        for row, degrees in enumerate((20.0, -70.0)):
            np.testing.assert_array_equal(turned[row], rotate(self.IMAGES[row : row + 1], degrees)[0])

    def test_it_compiles_with_xla(self):
        turned = tf.function(lambda x: rotate(x, [20.0, -70.0]), jit_compile=True)(self.IMAGES)
        np.testing.assert_allclose(turned, rotate(self.IMAGES, [20.0, -70.0]), atol=1e-5)

    def test_what_is_no_image_is_refused(self):
        with pytest.raises(UserError, match=r"images \[batch, height, width, channels\] .* got shape \(2, 4\)"):
            rotate(np.zeros([2, 4]), 20)


class TestBrightness:
    def test_the_smallest_constant_of_the_grid_that_fools(self):
        """From a mean of 0.4 class 1 needs more than 0.15: of 0.03, -0.03, 0.06, ... the first is 0.18."""
        x = np.float32([[0.35, 0.45], [0.45, 0.35]])
        np.testing.assert_allclose(run(above(0.55), x, Brightness()), x + 0.18, atol=1e-6)

    def test_both_signs_are_tried(self):
        """0.3 - 0.4 < 0 is clipped, so the mean falls from 0.5 to 0.15 at most; below 0.2 by -0.32."""
        x_adv = run(lambda x: -above(0.2)(x), [[0.3, 0.7]], Brightness(epsilon=0.4))
        np.testing.assert_allclose(x_adv, [[0, 0.38]], atol=1e-6)

    def test_the_last_of_the_grid_counts(self):
        """Only -epsilon itself brings the mean from 0.5 below 0.205."""
        x_adv = run(lambda x: -above(0.205)(x), [[0.5, 0.5]], Brightness(epsilon=0.3))
        np.testing.assert_allclose(x_adv, [[0.2, 0.2]], atol=1e-6)

    def test_without_a_success_the_constant_of_largest_margin(self):
        np.testing.assert_allclose(run(above(2.0), [[0.5, 0.9]], Brightness()), [[0.8, 1.0]], atol=1e-6)

    def test_every_example_has_its_own_radius_and_zero_is_the_image(self):
        x = np.float32([[0.4, 0.4]] * 3)
        x_adv = run(above(2.0), x, Brightness(epsilon=(0.0, 0.1, 0.3)))
        np.testing.assert_array_equal(x_adv[0], x[0])
        np.testing.assert_allclose(x_adv, x + np.float32([[0.0], [0.1], [0.3]]), atol=1e-6)

    def test_the_box_is_the_configs(self):
        x_adv = run(above(2.0), [[-0.9, 0.9]], Brightness(epsilon=0.2, bounds=(-1.0, 1.0)))
        np.testing.assert_allclose(x_adv, [[-0.7, 1.0]], atol=1e-6)


class TestRotation:
    @pytest.mark.parametrize(("lean", "turn"), [(-13, 12), (13, -12)])
    def test_the_smallest_angle_of_the_grid_that_fools(self, lean, turn):
        """A bar is taken for upright within two degrees; the grid has every second degree."""
        upright = tf.constant(bar(0)[None])
        model = above_overlap(upright, float(tf.reduce_sum(upright * bar(2))))
        x = bar(lean)[None]
        x_adv = run(model, x, Rotation())
        np.testing.assert_allclose(x_adv, rotate(x, turn), atol=1e-5)

    def test_the_corners_take_the_lowest_value(self):
        """Class 1 wins by a low mean, which turning 45 degrees gives to a white image."""
        x_adv = run(
            lambda x: -above(-9.0)(x), np.ones([1, 9, 9, 1]), Rotation(degrees=45, levels=1, bounds=(-1.0, 1.0))
        )
        assert x_adv[0, 0, 0, 0] == -1
        assert x_adv[0, 4, 4, 0] == 1

    def test_no_angle_is_the_image(self):
        x = np.random.default_rng(0).random([2, 5, 5, 1], np.float32)
        np.testing.assert_array_equal(run(above(2.0), x, Rotation(degrees=0)), x)


def above_overlap(picture, threshold):
    def model(x):
        overlap = tf.reduce_sum(x * picture, axis=[1, 2, 3])
        return tf.stack([tf.zeros_like(overlap), overlap - threshold], axis=1)

    return model


@pytest.mark.parametrize("config", [Brightness(levels=2), Rotation(levels=2)], ids=lambda config: type(config).__name__)
class TestBoth:
    X, Y = np.random.default_rng(3).random([4, 5, 5, 1], np.float32), np.zeros(4, np.int32)

    def test_an_example_is_attacked_alike_in_every_company_and_by_xla(self, config):
        expected = run(above(0.52), self.X, config)
        for jit in ("off", "on"):
            attack = compiled(above(0.52), config, jit=jit, precision="float32")
            outcome = attack.run(self.X[2:], self.Y[2:])
            np.testing.assert_allclose(outcome.x_adv, expected[2:], atol=1e-5)
        assert outcome.gradient_evaluations == 0
        assert outcome.queries <= 2 * config.moves

    def test_a_model_that_says_nothing_leaves_images_as_images(self, config):
        x_adv = run(lambda x: above(0.5)(x) * float("nan"), self.X, config)
        assert ((x_adv >= 0) & (x_adv <= 1)).all()


REFUSED = {
    "levels": (lambda: Brightness(levels=0), "levels must be at least 1, got 0"),
    "epsilon": (lambda: Brightness(epsilon=-0.1), "epsilon must be a finite number >= 0 .* got -0.1"),
    "degrees": (lambda: Rotation(degrees=-20), r"degrees must lie in \[0, 180\]; both directions are tried, got -20"),
}


@pytest.mark.parametrize(("make", "message"), REFUSED.values(), ids=REFUSED)
def test_settings_that_mean_nothing_are_refused(make, message):
    with pytest.raises(UserError, match=message):
        make()
