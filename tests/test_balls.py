"""Lp balls: projections are nearest points, ascents of size 1, samples uniform, points confined to ball and box."""

import numpy as np
import pytest
import tensorflow as tf

from tfadv.balls import BALLS, L1, L2, LINF, normalized, per_example

SHAPES = [(6, 3), (6, 4, 5, 3)]
RADII = [0.7, np.array([0.1, 0.2, 0.4, 0.8, 1.6, 0.0], np.float32)]


def rows(value):
    """[B, ...] as a float64 matrix [B, d]."""
    return np.asarray(value, np.float64).reshape(len(value), -1)


# The norm and its dual, written without the library: max of <v, g> over the unit ball of a norm is the dual of g.
NORM = {
    "linf": lambda v: np.abs(v).max(axis=1),
    "l2": lambda v: np.sqrt((v**2).sum(axis=1)),
    "l1": lambda v: np.abs(v).sum(axis=1),
}
DUAL = {"linf": NORM["l1"], "l2": NORM["l2"], "l1": NORM["linf"]}


@pytest.fixture(params=SHAPES, ids=str)
def delta(request):
    return np.random.default_rng(0).normal(size=request.param).astype(np.float32)


def test_every_norm_has_a_dual_here():
    """A new record of the table is tested by what follows only if its dual norm is written above."""
    assert set(BALLS) == set(NORM) == set(DUAL)


def test_sizes_are_worked_out_by_hand():
    """(3, -4): largest entry 4, length sqrt(9 + 16) = 5, sum 3 + 4 = 7."""
    point = tf.constant([[3.0, -4.0], [0.0, 0.0]])
    np.testing.assert_array_equal(LINF.size(point), [4.0, 0.0])
    np.testing.assert_array_equal(L2.size(point), [5.0, 0.0])
    np.testing.assert_array_equal(L1.size(point), [7.0, 0.0])


def test_projections_are_worked_out_by_hand():
    """(3, -4) on radius 1: linf clips to (1, -1), l2 scales by 1/5, l1 takes off 3; on radius 3 l1 takes off 2."""
    point = tf.constant([[3.0, -4.0]])
    np.testing.assert_array_equal(LINF.project(point, 1.0), [[1.0, -1.0]])
    np.testing.assert_allclose(L2.project(point, 1.0), [[0.6, -0.8]], rtol=1e-6)
    np.testing.assert_allclose(L1.project(point, 1.0), [[0.0, -1.0]], atol=1e-6)
    np.testing.assert_allclose(L1.project(point, 3.0), [[1.0, -2.0]], rtol=1e-6)


@pytest.mark.parametrize("radius", RADII, ids=["scalar", "one-per-example"])
@pytest.mark.parametrize("norm", BALLS)
def test_projection_is_the_nearest_point(norm, radius, delta):
    """p = nearest(delta) exactly when p is inside and <delta - p, q - p> <= 0 for every q of the ball.

    The largest <g, q> over the ball is radius * dual(g), so the condition is <g, p> = radius * dual(g), g = delta - p.
    """
    point = rows(BALLS[norm].project(tf.constant(delta), radius))
    assert (NORM[norm](point) <= radius * (1 + 1e-6)).all()
    gap = rows(delta) - point
    np.testing.assert_allclose((gap * point).sum(axis=1), radius * DUAL[norm](gap), rtol=1e-5, atol=1e-5)
    assert np.abs(gap).max() > 0.1  # Some of them were outside.


@pytest.mark.parametrize("norm", BALLS)
def test_a_point_inside_or_on_the_border_keeps_its_bits(norm, delta):
    size = BALLS[norm].size(tf.constant(delta))
    np.testing.assert_array_equal(BALLS[norm].project(tf.constant(delta), size), delta)
    np.testing.assert_array_equal(BALLS[norm].project(tf.constant(delta), 1e3), delta)


@pytest.mark.parametrize("norm", BALLS)
def test_projection_on_radius_zero_is_exactly_zero(norm, delta):
    np.testing.assert_array_equal(BALLS[norm].project(tf.constant(delta), 0.0), np.zeros_like(delta))


@pytest.mark.parametrize("norm", BALLS)
def test_one_radius_per_example_is_each_radius_alone(norm, delta):
    together = BALLS[norm].project(tf.constant(delta), RADII[1])
    for number, radius in enumerate(RADII[1]):
        alone = BALLS[norm].project(tf.constant(delta[number : number + 1]), float(radius))
        np.testing.assert_array_equal(together[number : number + 1], alone)


@pytest.mark.parametrize("norm", BALLS)
def test_ascent_is_the_maximizer_over_the_unit_ball(norm, delta):
    """<ascent(g), g> = dual(g) with |ascent(g)| <= 1, and no random direction of the same size does better.

    For l1 that holds on up to 100 features, where 1% of them is one.
    """
    if norm == "l1":
        delta = delta.reshape(6, -1)[:, :50]
    ascent = rows(BALLS[norm].ascent(tf.constant(delta)))
    gradient = rows(delta)
    assert (NORM[norm](ascent) <= 1 + 1e-6).all()
    np.testing.assert_allclose((ascent * gradient).sum(axis=1), DUAL[norm](gradient), rtol=1e-6)
    directions = np.random.default_rng(1).normal(size=(200, gradient.shape[1]))
    directions /= NORM[norm](directions)[:, None]
    assert ((directions @ gradient.T).max(axis=0) < (ascent * gradient).sum(axis=1)).all()


def test_l1_ascent_moves_the_top_1_percent_of_the_features_by_the_same_length():
    """Of 300 features 3: those of gradient 9, -8 and 5. A tie with the last joins it; a zero never does."""
    gradient = np.random.default_rng(0).uniform(-1, 1, (3, 300)).astype(np.float32)
    gradient[:, [7, 30, 149]] = [9.0, -8.0, 5.0]
    gradient[1, 80] = -5.0
    gradient[2, [7, 149]] = 0.0
    gradient[2] *= np.arange(300) == 30
    expected = np.zeros_like(gradient)
    expected[0, [7, 30, 149]] = [1 / 3, -1 / 3, 1 / 3]
    expected[1, [7, 30, 149, 80]] = [1 / 4, -1 / 4, 1 / 4, -1 / 4]
    expected[2, 30] = -1.0
    np.testing.assert_allclose(L1.ascent(tf.constant(gradient)), expected, rtol=1e-6)
    image = tf.reshape(gradient, [3, 10, 10, 3])
    np.testing.assert_allclose(L1.ascent(image), expected.reshape(3, 10, 10, 3), rtol=1e-6)


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("norm", BALLS)
def test_gradients_that_are_not_finite_count_as_zero_and_leave_the_rest_alone(norm, bad, delta):
    gradient, zeroed = delta.copy(), delta.copy()
    gradient[0, 0], zeroed[0, 0] = bad, 0.0
    gradient[1], zeroed[1] = bad, 0.0
    expected = BALLS[norm].ascent(tf.constant(zeroed))
    np.testing.assert_array_equal(BALLS[norm].ascent(tf.constant(gradient)), expected)


def test_normalized_divides_by_the_size_that_is_given():
    """(3, -1) has l1 size 4; also at scales whose squares no float32 holds."""
    for scale in (1.0, 1e-30, 1e30):
        point = tf.constant([[3.0, -1.0], [0.0, 0.0]]) * scale
        np.testing.assert_allclose(normalized(point, L1.size), [[0.75, -0.25], [0.0, 0.0]], rtol=1e-6)


@pytest.mark.parametrize("norm", BALLS)
def test_a_zero_gradient_gives_zero_and_leaves_its_neighbors_alone(norm, delta):
    gradient = delta.copy()
    gradient[2] = 0.0
    ascent = BALLS[norm].ascent(tf.constant(gradient)).numpy()
    np.testing.assert_array_equal(ascent[2], np.zeros_like(delta[2]))
    others = np.arange(len(delta)) != 2
    np.testing.assert_array_equal(ascent[others], BALLS[norm].ascent(tf.constant(delta)).numpy()[others])


@pytest.mark.parametrize("scale", [1e-30, 1e-20, 1e30])
@pytest.mark.parametrize("norm", BALLS)
def test_ascent_does_not_depend_on_the_scale_of_the_gradient(norm, scale, delta):
    """1e-30 squared is below float32's smallest number, 1e30 squared above its largest."""
    ascent = BALLS[norm].ascent(tf.constant(delta * np.float32(scale)))
    np.testing.assert_allclose(ascent, BALLS[norm].ascent(tf.constant(delta)), atol=1e-6)
    np.testing.assert_allclose(NORM[norm](rows(ascent)), 1.0, rtol=1e-6)


@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize("norm", BALLS)
def test_samples_lie_inside_and_follow_from_the_seed_alone(norm, shape):
    """Stateless: the same seed gives the same bits, whatever was drawn between; another seed gives others."""
    points = BALLS[norm].sample(shape, [1, 2])
    assert points.shape == shape
    assert points.dtype == tf.float32
    assert (NORM[norm](rows(points)) <= 1 + 1e-6).all()
    tf.random.set_seed(5)
    tf.random.uniform([3])
    np.testing.assert_array_equal(points, BALLS[norm].sample(shape, [1, 2]))
    assert not np.isclose(points, BALLS[norm].sample(shape, [1, 3])).any()
    assert len(np.unique(rows(points), axis=0)) == len(points)


@pytest.mark.parametrize("norm", BALLS)
def test_samples_are_uniform_in_the_ball(norm):
    """The share of a ball's volume within radius r is r^d, so size^d is uniform on [0, 1]; directions have no bias.

    The largest distance between an empirical and the true distribution function exceeds 1.95 / sqrt(n) once in a
    thousand (Kolmogorov); the seed is fixed, so this does not flicker.
    """
    count, dimensions = 4000, 6
    points = rows(BALLS[norm].sample((count, 3, 2), [3, 4]))
    share = np.sort(NORM[norm](points) ** dimensions)
    assert np.abs(share - (np.arange(count) + 0.5) / count).max() < 1.95 / np.sqrt(count)
    # Of one coordinate of a uniform point.
    variance = {"linf": 1 / 3, "l2": 1 / (dimensions + 2), "l1": 2 / (dimensions + 1) / (dimensions + 2)}[norm]
    np.testing.assert_allclose(points.mean(axis=0), 0, atol=4 * np.sqrt(variance / count))
    np.testing.assert_allclose(np.cov(points.T), variance * np.eye(dimensions), atol=0.1 * variance)


@pytest.mark.parametrize("norm", BALLS)
def test_a_graph_that_does_not_know_the_batch_size_computes_the_same(norm, delta):
    ball = BALLS[norm]

    def everything(value, radius):
        confined = ball.confine(tf.fill(tf.shape(value), 0.2), value, radius, (0.0, 1.0))
        moved = ball.project(value, radius), ball.ascent(value), ball.size(value), confined
        return (*moved, ball.sample(tf.shape(value), [0, 1]))

    signature = [tf.TensorSpec([None, *delta.shape[1:]]), tf.TensorSpec([None])]
    graph = tf.function(everything, input_signature=signature)(tf.constant(delta), RADII[1])
    for got, expected in zip(graph, everything(tf.constant(delta), RADII[1]), strict=True):
        np.testing.assert_allclose(got, expected, rtol=1e-6, atol=1e-7)


@pytest.mark.parametrize("norm", BALLS)
def test_xla_computes_the_same(norm):
    ball = BALLS[norm]
    x, value = (np.random.default_rng(seed).random((6, 4, 5, 3), np.float32) for seed in range(2))

    def everything(value, radius):
        return ball.project(value, radius), ball.ascent(value), ball.size(value), ball.confine(x, value, radius, (0, 1))

    compiled = tf.function(everything, jit_compile=True)(tf.constant(value), tf.constant(RADII[1]))
    for got, expected in zip(compiled, everything(tf.constant(value), RADII[1]), strict=True):
        np.testing.assert_allclose(got, expected, rtol=1e-5, atol=1e-6)


def largest(norm, direction, room, radius):
    """max of <direction, q - x> over the q of ball and box, where `room` is how far the box lets each entry go.

    For l1 a fractional knapsack: the radius is spent on the entries of largest gain first, on each up to its room.
    """
    if norm == "linf":
        return (np.abs(direction) * np.minimum(room, radius[:, None])).sum(axis=1)
    order = np.argsort(-np.abs(direction), axis=1)
    room = np.take_along_axis(room, order, axis=1)
    spent_before = np.cumsum(room, axis=1) - room
    spent = np.clip(radius[:, None] - spent_before, 0, room)
    return (spent * np.take_along_axis(np.abs(direction), order, axis=1)).sum(axis=1)


class TestConfine:
    """Points to continue from, in ball and box; x has entries inside, on the border and near it."""

    BOUNDS = (-0.5, 1.0)
    RADIUS = np.array([0.0, 0.02, 0.3, 0.8, 3.0, 1e3], np.float32)

    @pytest.fixture(params=[0.05, 1.0, 8.0], ids="spread {}".format)
    def points(self, request):
        rng = np.random.default_rng(0)
        x = rng.uniform(*self.BOUNDS, size=(6, 4, 5, 3)).astype(np.float32)
        x[:, ::2, ::3], x[:, 1::2, ::3] = self.BOUNDS
        return x, (x + request.param * rng.normal(size=x.shape)).astype(np.float32)

    def confined(self, norm, x, x_adv, radius, bounds=BOUNDS):
        return BALLS[norm].confine(tf.constant(x), tf.constant(x_adv), radius, bounds).numpy()

    @pytest.mark.parametrize("norm", BALLS)
    def test_it_lies_in_ball_and_box_and_radius_zero_gives_x(self, norm, points):
        """x + delta is rounded to float32, half of a unit in the last place of numbers up to 1 in each entry."""
        x, x_adv = points
        got = self.confined(norm, x, x_adv, self.RADIUS)
        assert got.min() >= self.BOUNDS[0]
        assert got.max() <= self.BOUNDS[1]
        rounding = NORM[norm](np.full([1, x[0].size], 2.0**-25))
        assert (NORM[norm](rows(got) - rows(x)) <= self.RADIUS * (1 + 1e-6) + rounding).all()
        np.testing.assert_array_equal(got[0], x[0])

    @pytest.mark.parametrize("norm", ["linf", "l1"])
    def test_it_is_the_nearest_point_of_ball_and_box(self, norm, points):
        """p is nearest to u exactly when <u - p, q - p> <= 0 for every q of ball and box: <u - p, p - x> = largest."""
        x, x_adv = points
        got = rows(self.confined(norm, x, x_adv, self.RADIUS))
        x, gap = rows(x), rows(x_adv) - got
        room = np.where(gap > 0, self.BOUNDS[1] - x, x - self.BOUNDS[0])
        best = largest(norm, gap, room, self.RADIUS)
        np.testing.assert_allclose((gap * (got - x)).sum(axis=1), best, rtol=1e-5, atol=1e-4)

    def test_of_linf_it_is_ball_and_box_to_the_bit(self, points):
        x, x_adv = points
        expected = tf.clip_by_value(x + BALLS["linf"].project(tf.constant(x_adv - x), self.RADIUS), *self.BOUNDS)
        np.testing.assert_array_equal(self.confined("linf", x, x_adv, self.RADIUS), expected)

    def test_of_l2_it_is_box_first_then_ball_which_keeps_more_of_the_change(self, points):
        """Of (0.6, 0.8) from the corner (1, 0) in a ball of 0.5, the box leaves (0, 0.8), and the ball (0, 0.5)."""
        by_hand = self.confined("l2", np.float32([[1, 0]]), np.float32([[1.6, 0.8]]), 0.5, (0.0, 1.0))
        np.testing.assert_allclose(by_hand, [[1, 0.5]], atol=1e-6)
        x, x_adv = points
        inside = np.clip(x_adv, *self.BOUNDS)
        expected = x + BALLS["l2"].project(tf.constant(inside - x), self.RADIUS)
        np.testing.assert_allclose(self.confined("l2", x, x_adv, self.RADIUS), expected, atol=1e-6)

    def test_of_l1_it_is_worked_out_by_hand(self):
        """From (0.9, 0.5) to (1.9, 0.8): the box leaves (0.1, 0.3), of size 0.4, which ball first would have cut to 0.

        On radius 0.3 a threshold of 0.1 leaves (0.1, 0.3 - 0.1); on 0.1 one of 0.3 leaves (0.1, 0); on 0.05 one of 0.95
        leaves (0.05, 0).
        """
        x, x_adv = np.array([[0.9, 0.5]], np.float32), np.array([[1.9, 0.8]], np.float32)
        for radius, expected in ((0.41, (1.0, 0.8)), (0.3, (1.0, 0.7)), (0.1, (1.0, 0.5)), (0.05, (0.95, 0.5))):
            np.testing.assert_allclose(self.confined("l1", x, x_adv, radius, (0.0, 1.0)), [expected], atol=1e-6)

    @pytest.mark.parametrize("norm", BALLS)
    def test_an_infinite_radius_leaves_the_box_alone(self, norm, points):
        x, x_adv = points
        got = self.confined(norm, x, x_adv, float("inf"))
        np.testing.assert_allclose(got, np.clip(x_adv, *self.BOUNDS), atol=1e-5)

    @pytest.mark.parametrize("norm", BALLS)
    def test_a_point_of_ball_and_box_stays(self, norm, points):
        x, x_adv = points
        once = self.confined(norm, x, x_adv, self.RADIUS)
        np.testing.assert_allclose(self.confined(norm, x, once, self.RADIUS), once, atol=1e-6)

    @pytest.mark.parametrize("norm", BALLS)
    def test_one_radius_per_example_is_each_radius_alone(self, norm, points):
        x, x_adv = points
        together = self.confined(norm, x, x_adv, self.RADIUS)
        for row, radius in enumerate(self.RADIUS):
            alone = self.confined(norm, x[row : row + 1], x_adv[row : row + 1], float(radius))
            np.testing.assert_allclose(alone, together[row : row + 1], atol=1e-7)


def test_per_example_broadcasts_over_the_features_and_leaves_a_scalar_alone():
    like = tf.zeros([2, 3, 3, 1])
    assert per_example(0.5, like).shape == []
    np.testing.assert_array_equal((like + per_example([1.0, 2.0], like))[:, 2, 1, 0], [1.0, 2.0])
