"""Feature smoothing: points between two training examples, labeled as the nearer one, thicken the data near boundaries.

Feature smoothing paper (FS), section 2.1: x~ = (1 - alpha) x_i + alpha x_j, y~ = y_i, 0 <= alpha < 0.5. Its section 4.3
writes the weights the other way round; section 2.1, where the label belongs to the dominant point, is the one followed.
"""

from __future__ import annotations

import dataclasses
import warnings
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
from tfadv.validation import UserError


@keras.saving.register_keras_serializable("tfadv")
@dataclasses.dataclass(frozen=True)
class FeatureSmoothing(Augmentation):
    """Appends `new_points` interpolated points to every batch: see `feature_smoothing`.

    Attributes:
        alpha: weight of the other point, 0 <= alpha < 0.5, dimensionless. 0.5, where neither point dominates, is
            allowed with a warning, because the paper reports that it underfits.
        new_points: points added to a batch (the paper adds 10 to 50).
        seed: base of the random numbers.
    """

    images_only = False

    alpha: float = 0.3
    new_points: int = 10
    seed: int = 0

    def __post_init__(self) -> None:
        super().__post_init__()
        object.__setattr__(self, "alpha", check_strength("alpha", self.alpha))
        object.__setattr__(self, "new_points", check_integer("new_points", self.new_points, 0))
        if self.alpha > 0.5:
            raise UserError(
                f"alpha must be at most 0.5, got {self.alpha}; beyond it the label would be that of the weaker point, "
                f"and alpha={1 - self.alpha:g} gives the same images"
            )
        if self.alpha == 0.5:
            # Frames: 1 this method, 2 the generated __init__, 3 the caller.
            warnings.warn(
                "alpha=0.5 gives both points equal weight but only one label; the paper reports that it underfits, "
                "use alpha < 0.5",
                stacklevel=3,
            )

    def augment(self, x: Any, y: Any, seed: Any) -> Pair:
        return feature_smoothing(x, y, config=self, seed=seed)


def feature_smoothing(x: Any, y: Any, *, config: FeatureSmoothing, seed: Any) -> Pair:
    """Appends n = `new_points` points (1 - alpha) x_i + alpha x_j with the label y_i (feature smoothing, section 2.1).

    i and j are drawn independently and uniformly from the batch, so i = j has probability 1/B. An empty batch stays
    empty. Under `jit_compile=True` one seed gives other pairs of the same distribution than eagerly.

    Args:
        x: floating point [B, ...].
        y: labels [B] or [B, K], any dtype.
        seed: [2] int32 or int64.

    Returns:
        (x [B + n, ...], y [B + n] or [B + n, K]), the given examples first, dtypes as given.

    Raises:
        UserError: x is not floating point, or x and y are not batches of one length.
    """
    x, y, seed = tf.convert_to_tensor(x), tf.convert_to_tensor(y), check_seed(seed)
    check_floating(x.dtype)
    check_batch(x, y)
    i, j = draw_pairs(batch_size(x), config.new_points, seed)
    own, other = tf.constant(1 - config.alpha, x.dtype), tf.constant(config.alpha, x.dtype)
    points = own * tf.gather(x, i) + other * tf.gather(x, j)
    return tf.concat([x, points], 0), tf.concat([y, tf.gather(y, i)], 0)
