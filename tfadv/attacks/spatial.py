"""Changes that a whole image undergoes alike: a shift in brightness, a rotation; each swept over a grid."""

from __future__ import annotations

import dataclasses
import math
from typing import Any

import tensorflow as tf

from tfadv.attacks import search
from tfadv.attacks.search import Answer, Predictor, Problem, State
from tfadv.balls import per_example
from tfadv.validation import UserError, as_number, check_epsilon


@dataclasses.dataclass(frozen=True)
class _Sweep(search.Queries):
    """Looks at the input and then at its change by +1/levels, -1/levels, +2/levels and so on to -1 of the largest."""

    # A field of the subclasses, declared by them behind what is their own.
    levels = 10

    def __post_init__(self) -> None:
        search.check_count("levels", self.levels)

    @property
    def moves(self) -> int:
        return 2 * self.levels

    def changed(self, problem: Problem, share: tf.Tensor) -> tf.Tensor:
        """The inputs changed by a `share` [B] in [-1, 1] of the largest change, like x."""
        raise NotImplementedError

    def move(self, problem: Problem, state: State, measured: Answer) -> State:
        level = tf.cast((state.taken + 1) // 2, tf.float32) / self.levels
        share = tf.where(state.taken % 2 == 1, level, -level)
        return state._replace(x_adv=tf.clip_by_value(self.changed(problem, share), *self.bounds))


@dataclasses.dataclass(frozen=True)
class Brightness(_Sweep):
    """Settings of `brightness`.

    Attributes:
        epsilon: largest constant in input units; a number, or a tuple with one for each example.
        levels: sizes of the constant, epsilon/levels to epsilon; each is added and subtracted.
        bounds: (lowest, highest) input value.
    """

    epsilon: Any = 0.3
    levels: int = 10
    bounds: tuple[float, float] = (0.0, 1.0)

    def __post_init__(self) -> None:
        super().__post_init__()
        check_epsilon(self.epsilon, self.bounds, self.norm, strict=False)

    def changed(self, problem: Problem, share: tf.Tensor) -> tf.Tensor:
        return problem.x + per_example(share * problem.epsilon, problem.x)


@dataclasses.dataclass(frozen=True)
class Rotation(_Sweep):
    """Settings of `rotation`.

    Attributes:
        degrees: largest angle, 0 to 180.
        levels: angles to either side, degrees/levels to degrees.
        bounds: (lowest, highest) input value; what turns in from outside the image has the lowest.
    """

    degrees: float = 20.0
    levels: int = 10
    bounds: tuple[float, float] = (0.0, 1.0)

    def __post_init__(self) -> None:
        super().__post_init__()
        if not 0 <= as_number(self.degrees) <= 180:
            raise UserError(f"degrees must lie in [0, 180]; both directions are tried, got {self.degrees!r}")

    def changed(self, problem: Problem, share: tf.Tensor) -> tf.Tensor:
        return rotate(problem.x, share * self.degrees, fill=self.bounds[0])


def rotate(x: Any, degrees: Any, *, fill: float = 0.0) -> tf.Tensor:
    """Turns images counterclockwise about their center, with bilinear interpolation.

    A model is tested on turned images by an attack of its own from there: `pgd(model, rotate(x, 20), y, ...)`, as
    Galloway, Tanay and Taylor 2018 (arXiv:1804.03308, section 2) report of Tramèr et al. 2018.

    Args:
        x: float [B, H, W, C].
        degrees: one angle, or one for each image [B]; negative is clockwise. 0 gives back x exactly.
        fill: value of the plane outside the image; pixels across its edge are interpolated with it.

    Returns:
        float32, like x.

    Raises:
        UserError: x is not a batch of images.
    """
    x = tf.convert_to_tensor(x, tf.float32)
    if x.shape.rank != 4:
        raise UserError(f"x must be images [batch, height, width, channels] to be turned, got shape {tuple(x.shape)}")
    height, width, channels = x.shape[1:]
    angle = tf.reshape(tf.convert_to_tensor(degrees, tf.float32), [-1, 1]) * (math.pi / 180)
    cosine, sine = tf.cos(angle), tf.sin(angle)
    row, column = (tf.reshape(axis, [1, -1]) for axis in _from_center(height, width))
    # Where each pixel comes from: rows count downward, so a turn counterclockwise takes (row, column) from here.
    source_row = sine * column + cosine * row + (height - 1) / 2
    source_column = cosine * column - sine * row + (width - 1) / 2
    top, left = tf.floor(source_row), tf.floor(source_column)
    down, right = (source_row - top)[..., None], (source_column - left)[..., None]
    flat = tf.reshape(x, [-1, height * width, channels])

    def corner(row: tf.Tensor, column: tf.Tensor) -> tf.Tensor:
        inside = (row >= 0) & (row < height) & (column >= 0) & (column < width)
        index = tf.cast(tf.where(inside, row * width + column, 0.0), tf.int32)
        index = tf.broadcast_to(index, [tf.shape(x)[0], height * width])
        return tf.where(inside[..., None], tf.gather(flat, index, batch_dims=1), fill)

    upper = (1 - right) * corner(top, left) + right * corner(top, left + 1)
    lower = (1 - right) * corner(top + 1, left) + right * corner(top + 1, left + 1)
    return tf.reshape((1 - down) * upper + down * lower, tf.shape(x))


def _from_center(height: int, width: int) -> list[tf.Tensor]:
    """(row, column) of every pixel, counted from the center of the image, each [height, width]."""
    row = tf.range(height, dtype=tf.float32) - (height - 1) / 2
    column = tf.range(width, dtype=tf.float32) - (width - 1) / 2
    return tf.meshgrid(row, column, indexing="ij")


def brightness(
    model: Predictor, x: tf.Tensor, y: tf.Tensor, start: tf.Tensor | None = None, *, config: Brightness
) -> tf.Tensor:
    """Adds one constant to all pixels and clips to bounds; the smallest of the grid that fools is returned.

    Galloway, Taylor and Moussa 2018 (arXiv:1802.04457) found an adversarially trained MNIST net weaker to it than an
    undefended one. An example that nothing fools gets the constant of largest margin, which may be 0.

    Departure: the grid; the paper sweeps constants for a curve, of which this is the worst case up to epsilon.

    Args:
        model: inputs [B, ...] -> logits [B, K]; inference mode.
        x: float32 [B, ...] in `bounds`.
        y: int32 labels [B].
        start: not used; every change is of x.

    Returns:
        x_adv, like x.
    """
    return search.run(config, model, x, y, start, every_run=True)


def rotation(
    model: Predictor, x: tf.Tensor, y: tf.Tensor, start: tf.Tensor | None = None, *, config: Rotation
) -> tf.Tensor:
    """Turns each image by the smallest angle of the grid that fools, else by the one of largest margin.

    The grid search over angles of Engstrom et al. 2019 (arXiv:1712.02779, section 3), to 20 degrees as in Galloway,
    Tanay and Taylor 2018.

    Departures: no translations, and another grid (Engstrom et al. turn by 30 degrees at most, on 31 angles).

    Args and returns as in `brightness`; x must be images [B, H, W, C].
    """
    return search.run(config, model, x, y, start, every_run=True)
