"""Mixup: points between two training examples, with labels between theirs (Zhang 2018, arXiv:1710.09412).

Feature smoothing paper (FS), section 2.2, which compares against it with Beta(8, 8): x~ = lam x_i + (1 - lam) x_j and
y~ = lam y_i + (1 - lam) y_j, lam ~ Beta(alpha, alpha).
"""

from __future__ import annotations

import dataclasses
from typing import Any

import keras
import tensorflow as tf

from tfadv.augment.base import (
    Augmentation,
    Pair,
    batch_size,
    check_batch,
    check_floating,
    check_integer,
    check_seed,
    check_strength,
    draw_pairs,
)
from tfadv.soft_labels import one_hot
from tfadv.validation import UserError

# A proposal is refused with probability < 5%, so all 16 are with probability < 0.05^16 = 1.5e-21.
_PROPOSALS = 16


@keras.saving.register_keras_serializable("tfadv")
@dataclasses.dataclass(frozen=True)
class Mixup(Augmentation):
    """Appends `new_points` mixed points to every batch; labels become distributions: see `mixup`.

    Attributes:
        alpha: both parameters of the Beta distribution of the weight: 8 (the paper's) centers it on 1/2 with standard
            deviation 0.12, 1 makes it uniform, 0 mixes nothing.
        new_points: points added to a batch.
        classes: K, the number of classes, which integer labels do not tell.
        seed: base of the random numbers.
    """

    images_only = False

    alpha: float = 8.0
    new_points: int = 10
    classes: int = 10
    seed: int = 0

    def __post_init__(self) -> None:
        super().__post_init__()
        object.__setattr__(self, "alpha", check_strength("alpha", self.alpha))
        object.__setattr__(self, "new_points", check_integer("new_points", self.new_points, 0))
        object.__setattr__(self, "classes", check_integer("classes", self.classes, 2))

    def augment(self, x: Any, y: Any, seed: Any) -> Pair:
        return mixup(x, y, config=self, seed=seed)


def mixup(x: Any, y: Any, *, config: Mixup, seed: Any) -> Pair:
    """Appends n = `new_points` points lam x_i + (1 - lam) x_j with labels lam y_i + (1 - lam) y_j (FS, section 2.2).

    i and j are drawn independently and uniformly from the batch, lam from Beta(alpha, alpha), one for each new point,
    shared by image and label. An empty batch stays empty. Under `jit_compile=True` one seed gives other numbers of the
    same distribution than eagerly.

    Args:
        x: floating point [B, ...].
        y: integer labels [B], or distributions [B, K].
        seed: [2] int32 or int64.

    Returns:
        (x [B + n, ...] of the dtype of x, y float32 [B + n, K]), the given examples first.

    Raises:
        UserError: x is not floating point, x and y are not batches of one length, or K is not `config.classes`.
    """
    x, y, seed = tf.convert_to_tensor(x), tf.convert_to_tensor(y), check_seed(seed)
    check_floating(x.dtype)
    check_batch(x, y)
    y = _distributions(y, config.classes)
    pair_seed, weight_seed = tf.unstack(tf.random.experimental.stateless_split(seed, 2))
    i, j = draw_pairs(batch_size(x), config.new_points, pair_seed)
    weight = beta(tf.size(i), config.alpha, weight_seed)

    def mixed(values: tf.Tensor) -> tf.Tensor:
        own, other = tf.gather(values, i), tf.gather(values, j)
        # [n] -> [n, 1, ...], so that the weight of a point is shared by all its values.
        lam = tf.cast(tf.reshape(weight, tf.concat([tf.shape(i), tf.ones([tf.rank(own) - 1], tf.int32)], 0)), own.dtype)
        return tf.concat([values, lam * own + (1 - lam) * other], 0)

    return mixed(x), mixed(y)


def beta(count: int | tf.Tensor, alpha: float, seed: tf.Tensor) -> tf.Tensor:
    """`count` draws of Beta(alpha, alpha), float32 [count], from two gammas: g1 / (g1 + g2).

    The logarithms of the gammas are drawn, because a gamma of small alpha underflows (float32 rounds 42% of those of
    alpha = 0.01 to zero, and 0 / 0 is not a weight): log g(alpha) = log g(alpha + 1) + log(u) / alpha, u uniform, and
    g1 / (g1 + g2) = sigmoid(log g1 - log g2). g(alpha + 1) is drawn by Marsaglia and Tsang 2000 ("A simple method for
    generating gamma variables") from a fixed number of proposals: TensorFlow's own sampler does not compile under XLA.

    Args:
        count: number of draws.
        alpha: >= 0. Beta(0, 0) puts half of its mass on each of 0 and 1; which of two exchangeable points is copied
            does not matter, so alpha = 0 gives 1.
        seed: [2] int32 or int64.
    """
    if alpha == 0:
        return tf.ones([count])
    normal_seed, accept_seed, power_seed = tf.unstack(tf.random.experimental.stateless_split(seed, 3))
    # Marsaglia and Tsang for shape k = alpha + 1: d = k - 1/3, c = 1 / sqrt(9 d), v = (1 + c z)^3; d v is the gamma
    # when log u < z^2 / 2 + d (1 - v + log v).
    d = alpha + 2 / 3
    z = tf.random.stateless_normal([_PROPOSALS, 2, count], normal_seed)
    v = tf.maximum(1 + z / (9 * d) ** 0.5, 0.0) ** 3
    log_v = tf.math.log(v)  # -inf where v = 0, which refuses the proposal, as it should
    accepted = _log_uniform([_PROPOSALS, 2, count], accept_seed) < z**2 / 2 + d * (1 - v + log_v)
    # argmax gives the first accepted proposal of each gamma.
    chosen = tf.one_hot(tf.argmax(tf.cast(accepted, tf.int32), axis=0), _PROPOSALS, True, False, axis=0, dtype=tf.bool)
    log_gamma = tf.reduce_sum(tf.where(chosen, log_v, 0.0), axis=0)
    # The factor d is common to both gammas and cancels.
    log_gamma += _log_uniform([2, count], power_seed) / alpha
    return tf.sigmoid(log_gamma[0] - log_gamma[1])


def _log_uniform(shape: Any, seed: tf.Tensor) -> tf.Tensor:
    # The draw is in [0, 1), so 1 - u is never 0 and its logarithm finite.
    return tf.math.log(1 - tf.random.stateless_uniform(shape, seed))


def _distributions(y: tf.Tensor, classes: int) -> tf.Tensor:
    """Labels as float32 [B, K]."""
    if y.shape.rank == 1 and y.dtype.is_integer:
        return one_hot(y, classes)
    if y.shape.rank != 2 or not y.shape[1:].is_compatible_with([classes]):
        raise UserError(
            f"y must be integer labels [B] or distributions [B, classes={classes}], got shape {y.shape} of "
            f"{y.dtype.name}; set Mixup(classes=...) to the number of classes"
        )
    return tf.cast(y, tf.float32)
