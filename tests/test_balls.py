"""Lp balls: projections are nearest points, ascents are maximizers, samples are uniform, at any rank of input."""

import numpy as np
import pytest
import tensorflow as tf

from tfadv.balls import BALLS, L2, LINF, per_example

SHAPES = [(6, 3), (6, 4, 5, 3)]
RADII = [0.7, np.array([0.1, 0.2, 0.4, 0.8, 1.6, 0.0], np.float32)]


def rows(value):
    """[B, ...] as a float64 matrix [B, d]."""
    return np.asarray(value, np.float64).reshape(len(value), -1)


# The norm and its dual, written without the library: max of <v, g> over the unit ball of a norm is the dual of g.
NORM = {"linf": lambda v: np.abs(v).max(axis=1), "l2": lambda v: np.sqrt((v**2).sum(axis=1))}
DUAL = {"linf": lambda v: np.abs(v).sum(axis=1), "l2": lambda v: np.sqrt((v**2).sum(axis=1))}


@pytest.fixture(params=SHAPES, ids=str)
def delta(request):
    return np.random.default_rng(0).normal(size=request.param).astype(np.float32)


def test_every_norm_has_a_dual_here():
    """A new record of the table is tested by what follows only if its dual norm is written above."""
    assert set(BALLS) == set(NORM) == set(DUAL)


def test_sizes_are_worked_out_by_hand():
    """(3, -4): largest entry 4, length sqrt(9 + 16) = 5."""
    point = tf.constant([[3.0, -4.0], [0.0, 0.0]])
    np.testing.assert_array_equal(LINF.size(point), [4.0, 0.0])
    np.testing.assert_array_equal(L2.size(point), [5.0, 0.0])


def test_projections_are_worked_out_by_hand():
    """(3, -4) on radius 1: linf clips to (1, -1), l2 scales by 1/5."""
    point = tf.constant([[3.0, -4.0]])
    np.testing.assert_array_equal(LINF.project(point, 1.0), [[1.0, -1.0]])
    np.testing.assert_allclose(L2.project(point, 1.0), [[0.6, -0.8]], rtol=1e-6)


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
    """<ascent(g), g> = dual(g) with |ascent(g)| <= 1, and no random direction of the same size does better."""
    ascent = rows(BALLS[norm].ascent(tf.constant(delta)))
    gradient = rows(delta)
    assert (NORM[norm](ascent) <= 1 + 1e-6).all()
    np.testing.assert_allclose((ascent * gradient).sum(axis=1), DUAL[norm](gradient), rtol=1e-6)
    directions = np.random.default_rng(1).normal(size=(200, gradient.shape[1]))
    directions /= NORM[norm](directions)[:, None]
    assert ((directions @ gradient.T).max(axis=0) < (ascent * gradient).sum(axis=1)).all()


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
    variance = {"linf": 1 / 3, "l2": 1 / (dimensions + 2)}[norm]  # Of one coordinate of a uniform point.
    np.testing.assert_allclose(points.mean(axis=0), 0, atol=4 * np.sqrt(variance / count))
    np.testing.assert_allclose(np.cov(points.T), variance * np.eye(dimensions), atol=0.1 * variance)


@pytest.mark.parametrize("norm", BALLS)
def test_a_graph_that_does_not_know_the_batch_size_computes_the_same(norm, delta):
    ball = BALLS[norm]

    @tf.function(input_signature=[tf.TensorSpec([None, *delta.shape[1:]]), tf.TensorSpec([None])])
    def graph(value, radius):
        return ball.project(value, radius), ball.ascent(value), ball.sample(tf.shape(value), [0, 1]), ball.size(value)

    value = tf.constant(delta)
    eager = ball.project(value, RADII[1]), ball.ascent(value), ball.sample(delta.shape, [0, 1]), ball.size(value)
    for got, expected in zip(graph(value, RADII[1]), eager, strict=True):
        np.testing.assert_allclose(got, expected, rtol=1e-6)


def test_per_example_broadcasts_over_the_features_and_leaves_a_scalar_alone():
    like = tf.zeros([2, 3, 3, 1])
    assert per_example(0.5, like).shape == []
    np.testing.assert_array_equal((like + per_example([1.0, 2.0], like))[:, 2, 1, 0], [1.0, 2.0])
