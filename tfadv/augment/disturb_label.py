"""DisturbLabel: in every pass a few labels are replaced at random, so that no label can be learned with certainty.

"DisturbLabel: regularizing CNN on the loss layer" (Xie et al. 2016, arXiv:1605.00055). On average over the draws the
cross-entropy of a disturbed label is that of label smoothing: see `disturb_label`.
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
)
from tfadv.validation import UserError


@keras.saving.register_keras_serializable("tfadv")
@dataclasses.dataclass(frozen=True)
class DisturbLabel(Augmentation):
    """Replaces each label with probability `rate` by one of all classes, uniformly: see `disturb_label`.

    Attributes:
        rate: alpha of the paper, in [0, 1], the noise rate (0.1 for its 10%).
        classes: K, the number of classes, which integer labels do not tell.
        seed: base of the random numbers.
    """

    images_only = False

    rate: float = 0.1
    classes: int = 10
    seed: int = 0

    def __post_init__(self) -> None:
        super().__post_init__()
        object.__setattr__(self, "rate", check_strength("rate", self.rate))
        object.__setattr__(self, "classes", check_integer("classes", self.classes, 2))
        if self.rate > 1.0:
            raise UserError(f"rate must be at most 1, got {self.rate}; write 0.1 for 10%")

    def augment(self, x: Any, y: Any, seed: Any) -> Pair:
        return disturb_label(x, y, config=self, seed=seed)


def disturb_label(x: Any, y: Any, *, config: DisturbLabel, seed: Any) -> Pair:
    """Labels drawn from P(y) = 1 - rate (K-1) / K, P(k) = rate / K for each other class.

    The uniform draw may hit the true class, so that only the share rate (K-1) / K of the labels becomes wrong. The mean
    label is that of label smoothing, `LabelSmoothing.from_uniform_mixture(rate, K)`, and cross-entropy is linear in it.
    A label that is a distribution (mixup) is replaced as a whole, by a one-hot row. Under `jit_compile=True` one seed
    gives other labels of the same distribution than eagerly.

    Args:
        x: floating point [B, ...]; returned as it is.
        y: integer labels [B] or [B, 1], or distributions [B, K].
        seed: [2] int32 or int64.

    Returns:
        (x, y of the shape and dtype of y).

    Raises:
        UserError: x is not floating point, x and y are not batches of one length, or y is neither of the two.
    """
    x, y, seed = tf.convert_to_tensor(x), tf.convert_to_tensor(y), check_seed(seed)
    check_floating(x.dtype)
    check_batch(x, y)
    hit_seed, class_seed = tf.unstack(tf.random.experimental.stateless_split(seed, 2))
    count = batch_size(x)
    hit = tf.random.stateless_uniform([count], hit_seed) < config.rate
    drawn = tf.random.stateless_uniform([count], class_seed, maxval=config.classes, dtype=tf.int32)
    if y.dtype.is_integer and (y.shape.rank == 1 or (y.shape.rank == 2 and y.shape[1] == 1)):
        shape = tf.shape(y)
        return x, tf.where(tf.reshape(hit, shape), tf.cast(tf.reshape(drawn, shape), y.dtype), y)
    if y.shape.rank == 2 and y.shape[1:].is_compatible_with([config.classes]):
        return x, tf.where(hit[:, None], tf.one_hot(drawn, config.classes, dtype=y.dtype), y)
    raise UserError(
        f"y must be integer labels [B] or [B, 1], or distributions [B, classes={config.classes}], got {y.shape} of "
        f"{y.dtype.name}; set DisturbLabel(classes=...) to the number of classes"
    )
