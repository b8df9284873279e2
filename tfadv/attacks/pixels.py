"""Attacks that change few pixels by much: random swaps, random flips, and the pixels of extreme weight.

A pixel is one number of an input, so every color channel counts by itself, as in "Adversarial training versus weight
decay" (Galloway, Tanay and Taylor 2018, section 6.3).
"""

from __future__ import annotations

import dataclasses
import math
from typing import Any

import numpy as np
import tensorflow as tf

from tfadv import draws
from tfadv.attacks import search
from tfadv.attacks.search import Answer, Measured, Predictor, Problem, State
from tfadv.validation import UserError, as_number


@dataclasses.dataclass(frozen=True)
class _RandomDraws(search.Queries):
    """Looks at the input and then at `draws` random changes of it, each made anew from the input."""

    # A field of the subclasses, declared by them behind what is their own.
    draws = 1

    def __post_init__(self) -> None:
        search.check_choice("keep", self.keep, ("best", "last"))
        search.check_count("draws", self.draws)
        search.check_seed(self.seed)

    @property
    def moves(self) -> int:
        return self.draws

    def changed(self, pixels: tf.Tensor, keys: tf.Tensor) -> tf.Tensor:
        """The changed pixels, from `pixels` and as many random `keys` in [0, 1), all float32 [B, D]."""
        raise NotImplementedError

    def move(self, problem: Problem, state: State, measured: Answer) -> State:
        count = math.prod(problem.x.shape[1:])
        keys = draws.uniform(self.seed, (problem.example, problem.run, state.taken), (count,))
        changed = self.changed(tf.reshape(problem.x, [-1, count]), keys)
        return state._replace(x_adv=tf.reshape(changed, tf.shape(problem.x)))


@dataclasses.dataclass(frozen=True)
class PixelSwap(_RandomDraws):
    """Settings of `pixel_swap`.

    Attributes:
        ratio: share of the pixels that change places, in pairs; 0 to 1.
        draws: random choices of the pairs; an example is fooled if one of them fools it.
        keep: "best" returns the first adversarial draw, else the one of largest margin (which may be the input
            itself); "last" returns the last draw, so draws=1 is one random swap, as in the paper.
        seed: of the pairs; example i of a data set gets the pairs (seed, i, draw).
        bounds: (lowest, highest) input value.
    """

    ratio: float = 0.26
    draws: int = 1
    keep: str = "best"
    seed: int = 0
    bounds: tuple[float, float] = (0.0, 1.0)

    def __post_init__(self) -> None:
        super().__post_init__()
        if not 0 <= as_number(self.ratio) <= 1:
            raise UserError(f"ratio must be a share of the pixels in [0, 1], got {self.ratio!r}; write 0.26 for 26%")

    def changed(self, pixels: tf.Tensor, keys: tf.Tensor) -> tf.Tensor:
        pairs = round(self.ratio * pixels.shape[1] / 2)
        places = tf.math.top_k(keys, 2 * pairs).indices
        # Partners are the pixels of the two largest keys, those of the next two, and so on.
        partners = tf.reshape(tf.reverse(tf.reshape(places, [tf.shape(places)[0], pairs, 2]), [2]), tf.shape(places))
        return _replaced(pixels, places, tf.gather(pixels, partners, batch_dims=1))


@dataclasses.dataclass(frozen=True)
class FlippedPixels(_RandomDraws):
    """Settings of `flipped_pixels`.

    Attributes:
        pixels: how many are flipped.
        draws, keep, seed, bounds: as in `PixelSwap`.
    """

    pixels: int = 5
    draws: int = 1
    keep: str = "best"
    seed: int = 0
    bounds: tuple[float, float] = (0.0, 1.0)

    def __post_init__(self) -> None:
        super().__post_init__()
        search.check_count("pixels", self.pixels)

    def changed(self, pixels: tf.Tensor, keys: tf.Tensor) -> tf.Tensor:
        places = tf.math.top_k(keys, min(self.pixels, pixels.shape[1])).indices
        flipped = sum(self.bounds) - tf.gather(pixels, places, batch_dims=1)
        # Rounding of the difference may leave the box by a unit in the last place.
        return _replaced(pixels, places, tf.clip_by_value(flipped, *self.bounds))


def _replaced(pixels: tf.Tensor, places: tf.Tensor, values: tf.Tensor) -> tf.Tensor:
    """`pixels` [B, D] with `values` [B, N] at `places` [B, N]."""
    rows = tf.broadcast_to(tf.range(tf.shape(places)[0])[:, None], tf.shape(places))
    return tf.tensor_scatter_nd_update(pixels, tf.stack([rows, places], axis=2), values)


@dataclasses.dataclass(frozen=True)
class ExtremePixels(search.Attack):
    """Settings of `extreme_pixels`.

    Attributes:
        pixels: how many may change at most.
        steps: gradients; after each, an equal share of the pixels is set. 1 is exact for a linear model of two
            classes; `pixels` sets them one by one, by the gradient at the point reached.
        objective: a name of `tfadv.objectives.OBJECTIVES`; its gradient ranks the pixels.
        bounds: (lowest, highest) input value: what a pixel is set to.
    """

    pixels: int = 20
    steps: int = 1
    objective: str = "margin"
    bounds: tuple[float, float] = (0.0, 1.0)

    def __post_init__(self) -> None:
        search.check_settings(self)
        for name in ("pixels", "steps"):
            search.check_count(name, getattr(self, name))
        if self.steps > self.pixels:
            raise UserError(f"steps must be at most pixels ({self.pixels}), one for each, got {self.steps}")

    @property
    def moves(self) -> int:
        return self.steps

    def begin(self, model: Predictor, problem: Problem, start: tf.Tensor) -> State:
        # Which pixels have been set already.
        touched = tf.zeros([tf.shape(problem.x)[0], math.prod(problem.x.shape[1:])], tf.bool)
        return search.opening(problem.x, touched)

    def move(self, problem: Problem, state: State, measured: Measured) -> State:
        touched = state.memory
        pixels = tf.reshape(state.x_adv, [-1, touched.shape[1]])
        slope = tf.reshape(measured.gradient, tf.shape(pixels))
        low, high = self.bounds
        extreme = tf.where(slope > 0, high, low)
        gain = slope * (extreme - pixels)
        # A NaN gradient says nothing about its pixel; comparing it with 0 gives False, so it gains nothing either.
        useful = (gain > 0) & ~touched
        most = min(-(-self.pixels // self.steps), pixels.shape[1])
        places = tf.math.top_k(tf.where(useful, gain, 0.0), most).indices
        due = state.taken * self.pixels // self.steps - (state.taken - 1) * self.pixels // self.steps
        chosen = (tf.range(most) < due[:, None]) & tf.gather(useful, places, batch_dims=1)
        values = tf.where(chosen, tf.gather(extreme, places, batch_dims=1), tf.gather(pixels, places, batch_dims=1))
        return state._replace(
            x_adv=tf.reshape(_replaced(pixels, places, values), tf.shape(problem.x)),
            memory=_replaced(touched, places, tf.gather(touched, places, batch_dims=1) | chosen),
        )


def pixel_swap(
    model: Predictor, x: tf.Tensor, y: tf.Tensor, start: tf.Tensor | None = None, *, config: PixelSwap
) -> tf.Tensor:
    """Swaps the values of random pairs of pixels (Galloway, Tanay and Taylor 2018, arXiv:1804.03308, section 6.3.1).

    Figure 11 plots accuracy against `ratio` for single draws, averaged over three runs: draws=1, keep="last" and three
    seeds. Figure 12 shows ratio 0.26.

    Departures: (1) The authors' program overwrites the i-th pixel of a random order by the value of the i-th from the
    end, whose own value stays, so below ratio 1 it copies and does not swap; here both move, as the text says, and the
    values of an image stay what they were. The share of pixels that change is the same. (2) The authors draw one order
    for all images, here each image has its own. (3) With draws > 1 the strongest draw counts, not the average.

    Args:
        model: inputs [B, ...] -> logits [B, K]; inference mode.
        x: float32 [B, ...] in `bounds`.
        y: int32 labels [B].
        start: not used; every draw changes x.

    Returns:
        x_adv, like x.
    """
    return search.run(config, model, x, y, start, every_run=True)


def flipped_pixels(
    model: Predictor, x: tf.Tensor, y: tf.Tensor, start: tf.Tensor | None = None, *, config: FlippedPixels
) -> tf.Tensor:
    """Flips random pixels: a value v becomes lowest + highest - v, black becomes white.

    Galloway, Tanay and Taylor 2018 (arXiv:1804.03308, section 2) name the random flip of five pixels among the attacks
    to which an adversarially trained MNIST net is weaker than an undefended one, after Tramèr et al. 2018
    (arXiv:1705.07204).

    Departure: neither says what becomes of a gray pixel, or how many draws are made.

    Args and returns as in `pixel_swap`.
    """
    return search.run(config, model, x, y, start, every_run=True)


def extreme_pixels(
    model: Predictor, x: tf.Tensor, y: tf.Tensor, start: tf.Tensor | None = None, *, config: ExtremePixels
) -> tf.Tensor:
    """Sets the pixels of extreme weight to the bound that raises the objective most.

    With gradient g a pixel v can gain max(g (lowest - v), g (highest - v)); the pixels of largest gain are set. For a
    linear model of two classes g is the difference of the weights, and no other change of as few pixels lowers the
    margin more. With more classes, or a net, it is a greedy search.

    Departure from the attack behind figure 7(a) of Galloway, Tanay and Taylor 2018 (arXiv:1804.03308, section 4.2):
    that one sets the same pixels of every image to 1, whatever its class; `saturate_extremes` does so.

    Args and returns as in `pixel_swap`; the model must have a gradient.
    """
    return search.run(config, model, x, y, start, every_run=True)


def saturate_extremes(x: Any, weights: Any, *, count: int, value: float = 1.0) -> np.ndarray:
    """Sets the `count` pixels of smallest and the `count` of largest weight to `value`, in every image alike.

    The attack of figure 7(a) in Galloway, Tanay and Taylor 2018 (arXiv:1804.03308, section 4.2), "dead pixels" that
    need no gradient and no label. The figure's axis is `count` in the authors' program, so up to 2 x count pixels
    change.

    Args:
        x: float [N, ...]; weights: of a linear model of two classes, as many as one image has pixels, of any shape.

    Raises:
        UserError: another number of weights, or a `count` below 0 or above half of it.
    """
    x, weights = np.asarray(x, np.float32), np.asarray(weights).ravel()
    pixels = math.prod(x.shape[1:])
    if len(weights) != pixels:
        raise UserError(f"weights must be one for each of the {pixels} pixels of an image, got {len(weights)}")
    if not 0 <= count <= pixels // 2:
        raise UserError(f"count must lie in 0..{pixels // 2}, half of the pixels of an image, got {count}")
    order = np.argsort(weights, kind="stable")
    changed = x.reshape(len(x), pixels).copy()
    changed[:, order[:count]] = value
    changed[:, order[pixels - count :]] = value
    return changed.reshape(x.shape)
