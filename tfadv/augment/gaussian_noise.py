"""Gaussian noise: a network that has to classify through noise cannot rely on small perturbations.

The noise of the feature smoothing paper (section 2.1) and of the logit squeezing paper: x~ = P(x + e), where P projects
onto the range of the data.
"""

from __future__ import annotations

import dataclasses
from typing import Any

import keras
import tensorflow as tf

from tfadv.augment.base import Augmentation, Pair, check_floating, check_seed, check_strength
from tfadv.validation import UserError

# Rounding of a resized or mixed image may leave the range by a few units in the last place.
_RANGE_TOLERANCE = 1e-5


@keras.saving.register_keras_serializable("tfadv")
@dataclasses.dataclass(frozen=True)
class GaussianNoise(Augmentation):
    """Adds N(0, stddev^2) to every value of x and clips to `bounds`: see `gaussian_noise`.

    Attributes:
        stddev: standard deviation before clipping, in the units of x: 0.5 for images in [0, 1] (the papers' MNIST),
            20 / 255 for what a paper writes as 20 on the 0-255 scale.
        seed: base of the random numbers.
        bounds: (lowest, highest) value of the data.
    """

    stddev: float = 0.5
    seed: int = 0
    bounds: tuple[float, float] = (0.0, 1.0)

    def __post_init__(self) -> None:
        super().__post_init__()
        object.__setattr__(self, "stddev", check_strength("stddev", self.stddev))
        try:
            low, high = (float(bound) for bound in self.bounds)
        except (TypeError, ValueError):
            raise UserError(f"bounds must be two numbers (low, high), got {self.bounds!r}") from None
        if not low < high:
            raise UserError(f"bounds must be (low, high) with low < high, got {self.bounds!r}")
        object.__setattr__(self, "bounds", (low, high))

    def augment(self, x: Any, y: Any, seed: Any) -> Pair:
        return gaussian_noise(x, y, config=self, seed=seed)


def gaussian_noise(x: Any, y: Any, *, config: GaussianNoise, seed: Any) -> Pair:
    """clip(x + stddev * e, bounds), e ~ N(0, 1) for every value (Gaussian noise of feature smoothing, section 2.1).

    Under `jit_compile=True` one seed gives other numbers of the same distribution than eagerly.

    Args:
        x: floating point, any shape, inside `config.bounds`: one example [H, W, C] or a batch.
        y: anything; returned as it is.
        seed: [2] int32 or int64.

    Returns:
        (x with noise, of the shape and dtype of x, y).

    Raises:
        UserError: x is not floating point, or (eagerly) leaves the bounds or holds NaN.
        tf.errors.InvalidArgumentError: the same in a graph; under XLA x is not checked.
    """
    x, seed = tf.convert_to_tensor(x), check_seed(seed)
    check_floating(x.dtype)
    _check_range(x, config.bounds)
    noise = tf.random.stateless_normal(tf.shape(x), seed, dtype=x.dtype)
    low, high = (tf.constant(bound, x.dtype) for bound in config.bounds)
    noisy = tf.clip_by_value(x + tf.constant(config.stddev, x.dtype) * noise, low, high)
    return tf.ensure_shape(noisy, x.shape), y


def _check_range(x: tf.Tensor, bounds: tuple[float, float]) -> None:
    """Images in [0, 255] would be clipped to nearly white ones without a word, so values outside are refused."""
    low, high = bounds
    smallest, largest = tf.cast(tf.reduce_min(x), tf.float32), tf.cast(tf.reduce_max(x), tf.float32)
    # NaN fails both comparisons; an empty x has the extremes (inf, -inf) and passes.
    inside = (smallest >= low - _RANGE_TOLERANCE) & (largest <= high + _RANGE_TOLERANCE)
    message = (
        f"x must lie in bounds=({low:g}, {high:g}) and hold no NaN, because noisy values are clipped to them; rescale "
        "x (8-bit images: divide by 255) or pass its own bounds. Smallest and largest value:"
    )
    if not tf.executing_eagerly():
        tf.debugging.Assert(inside, [message, smallest, largest])
    elif not bool(inside):
        raise UserError(f"{message} {float(smallest):g} and {float(largest):g}")
