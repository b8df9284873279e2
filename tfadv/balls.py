"""Lp balls as records: nearest point, direction of steepest ascent, uniform sample, size.

An attack written with these three functions runs under every norm; a new norm is one more record.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import tensorflow as tf

# Below this length a gradient has no direction worth normalizing; dividing by it would only amplify rounding.
_TINY = 1e-12


class Ball(NamedTuple):
    """One norm. `delta` and `gradient` are [B, ...], `radius` is a scalar or [B], in input units.

    Attributes:
        project: (delta, radius) -> the nearest point of the ball of that radius.
        ascent: gradient -> argmax of <v, gradient> over the unit ball; 0 where the gradient is 0.
        sample: (shape [B, ...], seed int [2]) -> points uniform in the unit ball; stateless.
        size: delta -> its norm, [B].
    """

    project: Callable[[tf.Tensor, tf.Tensor], tf.Tensor]
    ascent: Callable[[tf.Tensor], tf.Tensor]
    sample: Callable[[tf.Tensor, tf.Tensor], tf.Tensor]
    size: Callable[[tf.Tensor], tf.Tensor]


def per_example(value: tf.Tensor, like: tf.Tensor) -> tf.Tensor:
    """Reshapes a scalar or [B] so that it broadcasts against `like` [B, ...]."""
    value = tf.convert_to_tensor(value, like.dtype)
    if value.shape.rank == 0:
        return value
    return tf.reshape(value, tf.concat([tf.shape(value), tf.ones([tf.rank(like) - 1], tf.int32)], 0))


def _feature_axes(x: tf.Tensor) -> list[int]:
    return list(range(1, x.shape.rank))


def _linf_project(delta: tf.Tensor, radius: tf.Tensor) -> tf.Tensor:
    radius = per_example(radius, delta)
    return tf.clip_by_value(delta, -radius, radius)


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


def _l2_ascent(gradient: tf.Tensor) -> tf.Tensor:
    # Scaling by the largest entry first keeps the squares of tiny gradients from underflowing to 0.
    largest = per_example(_linf_size(gradient), gradient)
    scaled = tf.math.divide_no_nan(gradient, largest)
    return tf.math.divide_no_nan(scaled, per_example(_l2_size(scaled), gradient))


def _l2_sample(shape: tf.Tensor, seed: tf.Tensor) -> tf.Tensor:
    shape = tf.convert_to_tensor(shape, tf.int32)
    direction_seed, radius_seed = tf.unstack(tf.random.experimental.stateless_split(seed, 2))
    direction = _l2_ascent(tf.random.stateless_normal(shape, direction_seed))
    # In d dimensions the share of the ball's volume within radius r is r^d, so r = u^(1/d).
    dimensions = tf.cast(tf.reduce_prod(shape[1:]), tf.float32)
    radius = tf.random.stateless_uniform(shape[:1], radius_seed) ** (1.0 / dimensions)
    return direction * per_example(radius, direction)


LINF = Ball(project=_linf_project, ascent=tf.sign, sample=_linf_sample, size=_linf_size)
L2 = Ball(project=_l2_project, ascent=_l2_ascent, sample=_l2_sample, size=_l2_size)
BALLS: dict[str, Ball] = {"linf": LINF, "l2": L2}
