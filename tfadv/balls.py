"""Lp balls as records: nearest point, direction of steepest ascent, uniform sample, size, and ball and box at once.

An attack written with these functions runs under every norm; a new norm is one more record.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import NamedTuple

import tensorflow as tf

# Below this length a point has no direction worth normalizing; dividing by it would only amplify rounding.
_TINY = 1e-12
# Share of the features that an l1 step moves, as commonly in sparse l1 descent (Tramer and Boneh 2019,
# arXiv:1904.13000); Croce and Hein 2021 (arXiv:2103.01208) begin with 20% and go down. After 40 steps of PGD at radius
# 5 and 10, with the features left out that the box holds, two small MNIST networks had 72% and 32% right (natural), 85%
# and 52% (trained on linf) with 1%; with 2%, and nothing left out, 75 and 39, 91 and 57.
_L1_SHARE = 0.01
# Halvings of the bracket of an l1 threshold: to 2^-32 of the largest entry.
_HALVINGS = 32


class Ball(NamedTuple):
    """One norm. `delta`, `gradient`, `x`, `x_adv` are [B, ...], `radius` is a scalar or [B], in input units.

    Attributes:
        project: (delta, radius) -> the nearest point of the ball of that radius.
        ascent: gradient -> direction of size 1 to go up by (0 where the gradient is 0; NaN and infinite entries count
            as 0). For linf and l2 the argmax of <v, gradient> over the unit ball. For l1 that would be the one feature
            of largest gradient, too little for a step; it is the signs of the 1% of largest gradient, equally long.
        sample: (shape [B, ...], seed int [2]) -> points uniform in the unit ball; stateless.
        size: delta -> its norm, [B].
        confine: (x, x_adv, radius, (low, high)) -> the point that a search continues from: in the box and in the ball
            of that radius around `x`, which is in the box. For linf and l1 the point nearest to `x_adv`; for l2 that of
            box first, ball second, which does not leave the box again. (The other way round the box shortens a change
            that the ball has shortened already.) Radius 0 gives `x`.
    """

    project: Callable[[tf.Tensor, tf.Tensor], tf.Tensor]
    ascent: Callable[[tf.Tensor], tf.Tensor]
    sample: Callable[[tf.Tensor, tf.Tensor], tf.Tensor]
    size: Callable[[tf.Tensor], tf.Tensor]
    confine: Callable[[tf.Tensor, tf.Tensor, tf.Tensor, tuple[float, float]], tf.Tensor]


def per_example(value: tf.Tensor, like: tf.Tensor) -> tf.Tensor:
    """Reshapes a scalar or [B] so that it broadcasts against `like` [B, ...]."""
    value = tf.convert_to_tensor(value, like.dtype)
    if value.shape.rank == 0:
        return value
    return tf.reshape(value, [-1] + [1] * (like.shape.rank - 1))


def normalized(gradient: tf.Tensor, size: Callable[[tf.Tensor], tf.Tensor]) -> tf.Tensor:
    """`gradient` divided by its size, at any scale; 0 where it is 0, and NaN and infinite entries count as 0."""
    gradient = _finite(gradient)
    # Scaling by the largest entry first keeps the squares of tiny gradients from underflowing to 0.
    scaled = tf.math.divide_no_nan(gradient, per_example(_linf_size(gradient), gradient))
    return tf.math.divide_no_nan(scaled, per_example(size(scaled), gradient))


def _finite(gradient: tf.Tensor) -> tf.Tensor:
    return tf.where(tf.math.is_finite(gradient), gradient, tf.zeros_like(gradient))


def _feature_axes(x: tf.Tensor) -> list[int]:
    return list(range(1, x.shape.rank))


def _linf_project(delta: tf.Tensor, radius: tf.Tensor) -> tf.Tensor:
    radius = per_example(radius, delta)
    return tf.clip_by_value(delta, -radius, radius)


def _linf_confine(x: tf.Tensor, x_adv: tf.Tensor, radius: tf.Tensor, bounds: tuple[float, float]) -> tf.Tensor:
    return tf.clip_by_value(x + _linf_project(x_adv - x, radius), *bounds)


def _linf_ascent(gradient: tf.Tensor) -> tf.Tensor:
    return tf.sign(_finite(gradient))


def _linf_sample(shape: tf.Tensor, seed: tf.Tensor) -> tf.Tensor:
    return tf.random.stateless_uniform(shape, seed, -1.0, 1.0)


def _linf_size(delta: tf.Tensor) -> tf.Tensor:
    return tf.reduce_max(tf.abs(delta), axis=_feature_axes(delta))


def _l2_size(delta: tf.Tensor) -> tf.Tensor:
    return tf.sqrt(tf.reduce_sum(tf.square(delta), axis=_feature_axes(delta)))


def _l2_project(delta: tf.Tensor, radius: tf.Tensor) -> tf.Tensor:
    length = _l2_size(delta)
    radius = tf.convert_to_tensor(radius, delta.dtype) * tf.ones_like(length)
    # A point inside keeps its bits: only what is outside is multiplied.
    shrink = tf.where(length > radius, radius / tf.maximum(length, _TINY), tf.ones_like(length))
    return delta * per_example(shrink, delta)


def _l2_confine(x: tf.Tensor, x_adv: tf.Tensor, radius: tf.Tensor, bounds: tuple[float, float]) -> tf.Tensor:
    inside = tf.clip_by_value(x_adv, *bounds)
    # Clipped once more, because x + delta is rounded.
    return tf.clip_by_value(x + _l2_project(inside - x, radius), *bounds)


def _l2_ascent(gradient: tf.Tensor) -> tf.Tensor:
    return normalized(gradient, _l2_size)


def _l2_sample(shape: tf.Tensor, seed: tf.Tensor) -> tf.Tensor:
    shape = tf.convert_to_tensor(shape, tf.int32)
    direction_seed, radius_seed = tf.unstack(tf.random.experimental.stateless_split(seed, 2))
    direction = _l2_ascent(tf.random.stateless_normal(shape, direction_seed))
    # In d dimensions the share of the ball's volume within radius r is r^d, so r = u^(1/d).
    dimensions = tf.cast(tf.reduce_prod(shape[1:]), tf.float32)
    radius = tf.random.stateless_uniform(shape[:1], radius_seed) ** (1.0 / dimensions)
    return direction * per_example(radius, direction)


def _l1_size(delta: tf.Tensor) -> tf.Tensor:
    return tf.reduce_sum(tf.abs(delta), axis=_feature_axes(delta))


def _l1_shrink(delta: tf.Tensor, radius: tf.Tensor, cap: tf.Tensor) -> tf.Tensor:
    """The point nearest to `delta` of l1 size at most `radius` [B] whose entries are at most `cap` >= 0 in size.

    By the optimality conditions it is sign(delta) min(max(|delta| - t, 0), cap), with t >= 0 the smallest threshold
    that makes it small enough. Its size falls with t, so t is found by halving a bracket; of the last bracket the upper
    end, which is small enough as it is rounded. What is small enough from the start keeps its bits.
    """
    magnitude = tf.abs(delta)

    def entries(threshold: tf.Tensor) -> tf.Tensor:
        return tf.minimum(tf.maximum(magnitude - per_example(threshold, delta), 0.0), cap)

    def halve(step: tf.Tensor, low: tf.Tensor, high: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
        middle = 0.5 * (low + high)
        too_large = _l1_size(entries(middle)) > radius
        return step + 1, tf.where(too_large, middle, low), tf.where(too_large, high, middle)

    highest = _linf_size(delta)
    zero = tf.zeros_like(highest)
    bracket = (0, zero, tf.where(_l1_size(entries(zero)) > radius, highest, zero))
    threshold = tf.while_loop(lambda step, *_: step < _HALVINGS, halve, bracket)[2]
    return tf.sign(delta) * entries(threshold)


def _l1_project(delta: tf.Tensor, radius: tf.Tensor) -> tf.Tensor:
    return _l1_shrink(delta, _one_each(radius, delta), tf.fill(tf.shape(delta), float("inf")))


def _l1_confine(x: tf.Tensor, x_adv: tf.Tensor, radius: tf.Tensor, bounds: tuple[float, float]) -> tf.Tensor:
    """Nearest point of l1 ball and box at once (Croce and Hein 2021, arXiv:2103.01208, section 2).

    Ball first and box second would give up size in entries that the box cuts, where others could use it.
    """
    low, high = bounds
    room = tf.maximum(tf.where(x_adv > x, high - x, x - low), 0.0)
    return tf.clip_by_value(x + _l1_shrink(x_adv - x, _one_each(radius, x), room), low, high)


def _one_each(radius: tf.Tensor, like: tf.Tensor) -> tf.Tensor:
    return tf.broadcast_to(tf.convert_to_tensor(radius, like.dtype), tf.shape(like)[:1])


def _l1_ascent(gradient: tf.Tensor) -> tf.Tensor:
    gradient = _finite(gradient)
    magnitude = tf.abs(gradient)
    features = math.prod(gradient.shape[1:])
    top = tf.math.top_k(tf.reshape(magnitude, [-1, features]), math.ceil(_L1_SHARE * features)).values
    direction = tf.where(magnitude >= per_example(top[:, -1], gradient), tf.sign(gradient), 0.0)
    return tf.math.divide_no_nan(direction, per_example(_l1_size(direction), gradient))


def _l1_sample(shape: tf.Tensor, seed: tf.Tensor) -> tf.Tensor:
    shape = tf.convert_to_tensor(shape, tf.int32)
    seeds = tf.unstack(tf.random.experimental.stateless_split(seed, 3))
    # Of d + 1 exponential variables divided by their sum, the first d are uniform in the simplex sum <= 1.
    entries = -tf.math.log1p(-tf.random.stateless_uniform(shape, seeds[0]))
    rest = -tf.math.log1p(-tf.random.stateless_uniform(shape[:1], seeds[1]))
    signs = tf.where(tf.random.stateless_uniform(shape, seeds[2]) < 0.5, -1.0, 1.0)
    return signs * entries / per_example(_l1_size(entries) + rest, entries)


# Largest change of a pixel.
LINF = Ball(
    project=_linf_project,
    ascent=_linf_ascent,
    sample=_linf_sample,
    size=_linf_size,
    confine=_linf_confine,
)
# Euclidean length of the change.
L2 = Ball(
    project=_l2_project,
    ascent=_l2_ascent,
    sample=_l2_sample,
    size=_l2_size,
    confine=_l2_confine,
)
# Sum of the changes of all pixels.
L1 = Ball(project=_l1_project, ascent=_l1_ascent, sample=_l1_sample, size=_l1_size, confine=_l1_confine)
# Name -> ball, as `norm` of attacks and evaluations names it.
BALLS: dict[str, Ball] = {"linf": LINF, "l2": L2, "l1": L1}
