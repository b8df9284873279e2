"""Optimal transport between two batches of logits, by Sinkhorn's iteration: what feature scatter ascends.

Constants and order of operations as in the authors' program (Haichao-Zhang/FeatureScatter, ot.py).
"""

from __future__ import annotations

import tensorflow as tf

REGULARIZATION = 0.01
ITERATIONS = 100
TOLERANCE = 0.1
# Inside the logarithm of a sum of exponentials, where a row whose costs are all large would give log 0.
_NO_LOG_OF_ZERO = 1e-6
_LEAST_LENGTH = 1e-6


def cosine_cost(a: tf.Tensor, b: tf.Tensor) -> tf.Tensor:
    """1 - cosine of the angle between a_i and b_j, in [0, 2]: [m, K] and [n, K] -> [m, n]."""
    a, b = tf.cast(a, tf.float32), tf.cast(b, tf.float32)
    lengths = _length(a)[:, None] * _length(b)[None, :]
    return tf.maximum(1.0 - tf.matmul(a, b, transpose_b=True) / tf.maximum(lengths, _LEAST_LENGTH), 0.0)


def _length(rows: tf.Tensor) -> tf.Tensor:
    """Euclidean length of each row, [m]; the gradient at 0 is 0 and not 0 / 0."""
    return tf.sqrt(tf.maximum(tf.reduce_sum(tf.square(rows), axis=1), _LEAST_LENGTH**2))


def sinkhorn(
    cost: tf.Tensor,
    *,
    regularization: float = REGULARIZATION,
    iterations: int = ITERATIONS,
    tolerance: float = TOLERANCE,
) -> tf.Tensor:
    """The plan T >= 0 of least sum(T cost) - regularization * entropy(T) with rows of 1/m and columns of 1/n.

    With potentials u, v and M_ij = (u_i + v_j - cost_ij) / regularization, in turns
    u <- u + regularization (log 1/m - log(1e-6 + sum_j exp M_ij)) and the same for v along i; at the end T = exp M. The
    columns then sum to 1/n up to a relative 1e-6 n, the rows to 1/m as far as the iteration has come: it ends when the
    summed change of u is below `tolerance`, or after `iterations`. The defaults are the authors' and stop early; for
    marginals that hold to 1e-4, take tolerance=1e-6.

    Gradients flow through all iterations to `cost`.

    Args:
        cost: float32 [m, n].
        regularization: > 0, in units of the cost.

    Returns:
        The plan, float32 [m, n], sum 1.
    """
    m, n = (tf.cast(size, tf.float32) for size in tf.unstack(tf.shape(cost)))

    def exponent(u: tf.Tensor, v: tf.Tensor) -> tf.Tensor:
        return (u[:, None] + v[None, :] - cost) / regularization

    def log_sum(u: tf.Tensor, v: tf.Tensor, axis: int) -> tf.Tensor:
        return tf.math.log(tf.reduce_sum(tf.exp(exponent(u, v)), axis=axis) + _NO_LOG_OF_ZERO)

    def once(u: tf.Tensor, v: tf.Tensor, change: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
        new_u = u + regularization * (-tf.math.log(m) - log_sum(u, v, 1))
        new_v = v + regularization * (-tf.math.log(n) - log_sum(new_u, v, 0))
        return new_u, new_v, tf.reduce_sum(tf.abs(new_u - u))

    u, v, _ = tf.while_loop(
        lambda u, v, change: change >= tolerance,
        once,
        (tf.zeros_like(cost[:, 0]), tf.zeros_like(cost[0]), tf.constant(float("inf"))),
        # Also what lets XLA differentiate the loop.
        maximum_iterations=iterations,
    )
    return tf.exp(exponent(u, v))


def transport_cost(a: tf.Tensor, b: tf.Tensor) -> tf.Tensor:
    """sum(T cost) of the plan T between logits [m, K] and [n, K] at their cosine cost; a scalar in [0, 2]."""
    cost = cosine_cost(a, b)
    return tf.reduce_sum(sinkhorn(cost) * cost)
