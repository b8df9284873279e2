"""Attacks on few pixels: which of them move, and to what; the best of several draws; the optimum of a linear model."""

import dataclasses
import itertools

import numpy as np
import pytest
import tensorflow as tf

from tfadv.attacks import compiled, search
from tfadv.attacks.pixels import (
    ExtremePixels,
    FlippedPixels,
    PixelSwap,
    extreme_pixels,
    flipped_pixels,
    pixel_swap,
    saturate_extremes,
)
from tfadv.validation import UserError

# Column 1 - column 0 = (-2, -4, 6, -0.5): what a unit of each pixel adds to the margin at label 0.
WEIGHTS = np.array([[1.0, -1.0], [2.0, -2.0], [-3.0, 3.0], [0.5, 0.0]], np.float32)
FUNCTIONS = {PixelSwap: pixel_swap, FlippedPixels: flipped_pixels, ExtremePixels: extreme_pixels}
EVERY = [PixelSwap(ratio=0.5, draws=3), FlippedPixels(pixels=2, draws=3), ExtremePixels(pixels=3, steps=2)]
every_attack = pytest.mark.parametrize("config", EVERY, ids=lambda config: type(config).__name__)


def linear(x):
    """Logits of label 0 stay 20 ahead: nothing in the box [-1, 1]^4 is misclassified."""
    return tf.reshape(x, [-1, 4]) @ WEIGHTS + [20.0, 0.0]


def constant(x):
    return tf.zeros([tf.shape(x)[0], 2])


def run(model, x, config, y=None):
    x = tf.constant(x, tf.float32)
    y = tf.zeros([len(x)], tf.int32) if y is None else tf.constant(y, tf.int32)
    return FUNCTIONS[type(config)](model, x, y, config=config).numpy()


class TestPixelSwap:
    X = np.arange(2 * 30, dtype=np.float32).reshape(2, 30) / 60  # All values differ.

    def swapped(self, ratio, **fields):
        return run(constant, self.X, PixelSwap(ratio=ratio, keep="last", **fields))

    @pytest.mark.parametrize(("ratio", "moved"), [(0.0, 0), (0.26, 8), (0.5, 16), (1.0, 30)])
    def test_pairs_change_places_and_all_values_stay(self, ratio, moved):
        """0.26 x 30 = 7.8 pixels are 3.9 pairs, rounded to 4; 7.5 pairs to 8."""
        for before, after in zip(self.X, self.swapped(ratio), strict=True):
            assert (before != after).sum() == moved
            source = np.searchsorted(before, after)
            np.testing.assert_array_equal(before[source], after)
            np.testing.assert_array_equal(source[source], np.arange(30))  # Twice the same swap is none.

    def test_the_pairs_are_anywhere(self):
        """Over 200 draws of one pair of 6 pixels every pixel meets every other: each has probability 1/15."""
        x = np.tile(np.arange(6, dtype=np.float32) / 6, [200, 1])
        met = {tuple(np.flatnonzero(row != x[0])) for row in run(constant, x, PixelSwap(ratio=1 / 3, keep="last"))}
        assert met == set(itertools.combinations(range(6), 2))

    def test_seed_example_and_draw_each_change_the_pairs(self):
        drawn = [self.swapped(0.5), self.swapped(0.5, seed=1), self.swapped(0.5, draws=2)]
        orders = {
            tuple(np.searchsorted(before, after)) for each in drawn for before, after in zip(self.X, each, strict=True)
        }
        assert len(orders) == 6

    def test_the_best_of_many_draws_finds_what_one_may_miss(self):
        """The first of four pixels decides: one pair of four pixels takes it away with probability 1/2."""
        x, first = np.tile(np.float32([0, 1, 1, 1]), [40, 1]), lambda v: tf.concat([0.5 - v[:, :1], v[:, :1] - 0.5], 1)
        one = run(first, x, PixelSwap(ratio=0.5))[:, 0].mean()
        assert 0.2 < one < 0.8
        assert run(first, x, PixelSwap(ratio=0.5, draws=30))[:, 0].mean() == 1.0

    def test_without_a_success_the_draw_of_largest_margin_is_kept_and_last_keeps_the_last(self):
        """Swapping raises the margin at label 0 by six times what the third pixel gains; most of all from 0 to 1."""
        x = [[1.0, 0.5, 0.0, 0.5]]
        assert run(linear, x, PixelSwap(ratio=0.5, draws=30))[0].tolist() == [0.0, 0.5, 1.0, 0.5]
        last = {tuple(run(linear, x, PixelSwap(ratio=0.5, draws=n, keep="last"))[0]) for n in (1, 2, 3)}
        assert len(last) > 1


class TestFlippedPixels:
    def test_as_many_pixels_as_asked_for_become_their_mirror_image(self):
        x = np.random.default_rng(0).uniform(0.0, 0.4, [50, 4, 4, 1]).astype(np.float32)
        x_adv = run(constant, x, FlippedPixels(keep="last"))
        changed = x != x_adv
        assert changed.sum(axis=(1, 2, 3)).tolist() == [5] * 50
        np.testing.assert_array_equal(x_adv[changed], 1 - x[changed])
        assert changed.any(axis=0).all()

    def test_the_mirror_lies_in_the_middle_of_the_bounds(self):
        """All four of four pixels, though nine are asked for: v becomes 0 - v in [-1, 1]."""
        x = [[-1.0, -0.25, 0.5, 1.0]]
        config = FlippedPixels(pixels=9, keep="last", bounds=(-1.0, 1.0))
        assert run(constant, x, config).tolist() == [[1.0, 0.25, -0.5, -1.0]]


class TestExtremePixels:
    def test_the_pixels_of_largest_gain_go_to_the_bound_that_raises_the_margin(self):
        """From 0.5 the gains are 1, 2, 3, 0.25: the third pixel is set to 1, then the second to 0."""
        for pixels, expected in ((1, [0.5, 0.5, 1, 0.5]), (2, [0.5, 0, 1, 0.5]), (9, [0, 0, 1, 0])):
            assert run(linear, [[0.5] * 4], ExtremePixels(pixels=pixels)).tolist() == [expected]

    def test_a_pixel_that_is_at_its_bound_already_leaves_its_place_to_the_next(self):
        """Second and third pixel are there; the first gains 0.2 x 2 = 0.4, the last 0.5 x 0.5 = 0.25."""
        assert run(linear, [[0.2, 0, 1, 0.5]], ExtremePixels(pixels=1)).tolist() == [[0, 0, 1, 0.5]]

    def test_nothing_else_with_two_pixels_does_more_to_a_linear_model(self):
        for x in np.random.default_rng(0).random([5, 4], np.float32):
            margins = []
            for pair, values in itertools.product(
                itertools.combinations(range(4), 2), itertools.product((0, 1), (0, 1))
            ):
                other = x.copy()
                other[list(pair)] = values
                margins.append(np.diff(linear(other[None]))[0, 0])
            got = np.diff(linear(run(linear, [x], ExtremePixels(pixels=2))))[0, 0]
            assert got == pytest.approx(max(margins), abs=1e-5)

    @pytest.mark.parametrize(("steps", "expected"), [(1, [1, 0.5, 1]), (2, [1, 1, 0])])
    def test_more_steps_follow_a_gradient_that_changes(self, steps, expected):
        """4ab + c at (0, 0.5, 0): gains 2, 0, 1. After a = 1 they are 0, 2, 1, so b gives 4 where c gave 3."""

        def curved(v):
            return tf.stack([tf.zeros_like(v[:, 0]) + 9, 4 * v[:, 0] * v[:, 1] + v[:, 2]], axis=1)

        assert run(curved, [[0, 0.5, 0]], ExtremePixels(pixels=2, steps=steps)).tolist() == [expected]

    def test_no_pixel_is_set_twice(self):
        """Raising a pixel over 0.6 turns its slope, so the next gradient would call it back before any other."""

        def hill(v):
            return tf.stack([tf.ones_like(v[:, 0]), -tf.reduce_sum(tf.square(v - 0.6), axis=1)], axis=1)

        config, x = ExtremePixels(pixels=3, steps=3), tf.constant([[0.0, 0.125, 0.25, 0.375]])
        assert self.path(hill, x, config)[-1].tolist() == [[1, 1, 1, 0.375]]

    def test_each_step_sets_an_equal_share(self):
        """5 pixels in 2 steps: 2 and 3."""
        x = tf.fill([1, 6], 0.5)
        slopes = tf.reshape(tf.range(1.0, 7.0), [6, 1]) * [[0.0, 1.0]]
        path = self.path(lambda v: v @ slopes - [0.0, 99.0], x, ExtremePixels(pixels=5, steps=2))
        assert [np.flatnonzero(point[0] != 0.5).tolist() for point in path] == [[4, 5], [1, 2, 3, 4, 5]]

    def path(self, model, x, config):
        """Where the search stands after each step."""
        problem = search.problem_of(config, x, tf.zeros([1], tf.int32))
        states = [config.begin(model, problem, x)]
        for number in range(1, config.steps + 1):
            states.append(search.advance(config, model, problem, states[-1], tf.constant([number])))
        return [state.x_adv.numpy() for state in states[1:]]


def test_saturated_are_the_pixels_of_smallest_and_largest_weight_in_every_image():
    """Weights in order: 6, 4, -1 | 0, 2 | 7, 8, 9: places 2 and 5 are the extremes, then 1 and 7."""
    weights = np.array([[6.0, 4.0, -1.0, 7.0], [2.0, 9.0, 8.0, 0.0]])
    x = np.full([2, 2, 4, 1], 0.5, np.float32)
    changed = saturate_extremes(x, weights, count=2)
    assert changed.shape == x.shape
    assert [np.flatnonzero(image != 0.5).tolist() for image in changed] == [[2, 5, 6, 7]] * 2
    assert (changed[changed != 0.5] == 1.0).all()
    np.testing.assert_array_equal(saturate_extremes(x, weights, count=0), x)
    assert (saturate_extremes(x, weights, count=4, value=0.0) == 0).all()
    assert (x == 0.5).all()


@every_attack
@pytest.mark.parametrize("bounds", [(0.0, 1.0), (-1.0, 1.0)], ids=str)
def test_the_result_lies_in_the_bounds_and_differs_in_few_pixels(config, bounds):
    x = np.random.default_rng(1).uniform(*bounds, [20, 2, 2, 1]).astype(np.float32)
    x_adv = run(linear, x, dataclasses.replace(config, bounds=bounds))
    assert x_adv.shape == x.shape
    assert x_adv.min() >= bounds[0]
    assert x_adv.max() <= bounds[1]
    assert 0 < (x != x_adv).sum(axis=(1, 2, 3)).max() <= 3


@every_attack
def test_an_example_is_attacked_alike_in_every_company_and_by_xla(config):
    x, y = np.random.default_rng(2).random([6, 2, 2, 1], np.float32), np.zeros(6, np.int32)
    expected = run(linear, x, config, y)
    alone, xla = (compiled(linear, config, jit=jit, precision="float32") for jit in ("off", "on"))
    np.testing.assert_allclose(alone.run(x[4:], y[4:], index=[4, 5]).x_adv, expected[4:], atol=1e-6)
    np.testing.assert_allclose(xla.run(x, y).x_adv, expected, atol=1e-6)


@every_attack
def test_a_model_that_says_nothing_leaves_images_as_images(config):
    x = np.full([2, 4], 0.25, np.float32)
    x_adv = run(lambda v: linear(v) * float("nan"), x, config)
    assert ((x_adv >= 0) & (x_adv <= 1)).all()


def test_random_draws_are_counted_as_queries():
    x, y = np.full([3, 4], 0.5, np.float32), np.zeros(3, np.int32)
    attack = compiled(linear, PixelSwap(draws=7), jit="off", precision="float32")
    outcome = attack.run(x, y)
    assert (outcome.queries, outcome.gradient_evaluations) == (21, 0)


REFUSED = {
    "ratio": (lambda: PixelSwap(ratio=26), r"ratio must be a share of the pixels in \[0, 1\], got 26; write 0.26"),
    "draws": (lambda: FlippedPixels(draws=0), "draws must be at least 1, got 0"),
    "keep": (lambda: PixelSwap(keep="closest"), r"keep must be one of \['best', 'last'\], got 'closest'"),
    "flipped": (lambda: FlippedPixels(pixels=0), "pixels must be at least 1, got 0"),
    "steps": (lambda: ExtremePixels(pixels=3, steps=4), r"steps must be at most pixels \(3\), one for each, got 4"),
    "objective": (lambda: ExtremePixels(objective="loss"), "objective must be one of .* got 'loss'"),
    "weights": (lambda: saturate_extremes([[0.5] * 4], [1.0], count=1), "one for each of the 4 pixels .* got 1"),
    "count": (lambda: saturate_extremes([[0.5] * 4], [1.0] * 4, count=3), r"count must lie in 0\.\.2, .* got 3"),
}


@pytest.mark.parametrize(("make", "message"), REFUSED.values(), ids=REFUSED)
def test_settings_that_mean_nothing_are_refused(make, message):
    with pytest.raises(UserError, match=message):
        make()
