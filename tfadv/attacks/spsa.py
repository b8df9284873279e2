"""SPSA (Uesato et al. 2018): projected gradient ascent whose gradients are estimated from the model's outputs alone."""

from __future__ import annotations

import dataclasses
import math
from typing import Any, NamedTuple

import tensorflow as tf

from tfadv import draws
from tfadv.attacks import search
from tfadv.attacks.search import Measured, Predictor, Problem, State
from tfadv.balls import BALLS, per_example
from tfadv.validation import UserError, as_number, check_epsilon

# The constants of Adam (Kingma and Ba 2015, algorithm 1).
_MEAN_DECAY, _SQUARE_DECAY, _TINY = 0.9, 0.999, 1e-8
# Directions that one call of the model looks along; more would pay only in batches of a few examples.
_AT_ONCE = 4


class Memory(NamedTuple):
    """The moments of Adam, like x."""

    mean: tf.Tensor
    square: tf.Tensor


@dataclasses.dataclass(frozen=True)
class Spsa(search.Attack):
    """Settings of `spsa`.

    Attributes:
        epsilon: radius in input units (8/255 for images in [0, 1], never 8); a number, or a tuple with one for each
            example.
        steps: steps of Adam.
        samples: points looked at for each estimate of a gradient: half as many directions, each from both sides.
        delta: how far from the iterate these points lie in every feature, in input units.
        learning_rate: of Adam, about the length of a step in every feature, in input units.
        norm: a name of `tfadv.balls.BALLS`; whose ball the iterates stay in.
        objective: a name of `tfadv.objectives.OBJECTIVES`; what is ascended.
        targeted: y is the class to reach, and the objective is descended.
        seed: of the directions; example i of a data set draws from (seed, i, step).
        bounds: (lowest, highest) input value.
    """

    epsilon: Any = 8 / 255
    steps: int = 100
    samples: int = 128
    delta: float = 0.01
    learning_rate: float = 0.01
    norm: str = "linf"  # type: ignore[misc]
    objective: str = "margin"  # type: ignore[misc]
    targeted: bool = False  # type: ignore[misc]
    seed: int = 0  # type: ignore[misc]
    bounds: tuple[float, float] = (0.0, 1.0)  # type: ignore[misc]

    # The differences across 2 delta are too small for rounded logits.
    bfloat16 = False
    stride = 1
    gradients_per_move = 0

    def __post_init__(self) -> None:
        search.check_settings(self)
        check_epsilon(self.epsilon, self.bounds, self.norm, strict=False)
        search.check_count("steps", self.steps)
        search.check_count("samples", self.samples, 2)
        if self.samples % 2:
            raise UserError(f"samples must be even, got {self.samples}: every direction is looked at from both sides")
        for name in ("delta", "learning_rate"):
            value = getattr(self, name)
            if not 0 < as_number(value) < math.inf:
                raise UserError(f"{name} must be a finite number > 0, got {value!r}; the usual one is 0.01")

    @property
    def queries_per_move(self) -> int:  # type: ignore[override]
        """The samples, and the iterate itself."""
        return self.samples + 1

    @property
    def moves(self) -> int:
        return self.steps

    def begin(self, model: Predictor, problem: Problem, start: tf.Tensor) -> State:
        x_adv = BALLS[self.norm].confine(problem.x, start, problem.epsilon, self.bounds)
        return search.opening(x_adv, Memory(tf.zeros_like(x_adv), tf.zeros_like(x_adv)))

    def measure(self, model: Predictor, problem: Problem, state: State) -> Measured:
        """Logits, and the mean over directions v of v (f(x_adv + delta v) - f(x_adv - delta v)) / (2 delta)."""
        directions = self.samples // 2
        at_once = math.gcd(directions, _AT_ONCE)
        shape = list(state.x_adv.shape[1:])
        # On flat features, because an einsum over the axes of images takes forty times as long.
        center = tf.reshape(state.x_adv, [-1, 1, math.prod(shape)])
        repeated = problem._replace(y=tf.repeat(problem.y, 2 * at_once))

        def look(turn: tf.Tensor, total: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
            counters = (problem.example, problem.run, state.taken, turn)
            signs = draws.signs(self.seed, counters, (at_once, math.prod(shape)))
            points = center + self.delta * tf.concat([signs, -signs], axis=1)
            value = self.ascended(repeated, state, model(tf.reshape(points, [-1, *shape])))
            value = tf.reshape(value, [-1, 2, at_once])
            slope = (value[:, 0] - value[:, 1]) / (2.0 * self.delta)
            return turn + 1, total + tf.einsum("bn,bnd->bd", slope, signs)

        none = (tf.constant(0), tf.zeros_like(center[:, 0]))
        total = tf.while_loop(lambda turn, _: turn < directions // at_once, look, none)[1]
        return Measured(model(state.x_adv), tf.reshape(total / directions, tf.shape(state.x_adv)))

    def move(self, problem: Problem, state: State, measured: Measured) -> State:
        gradient = tf.where(tf.math.is_finite(measured.gradient), measured.gradient, 0.0)
        mean = _MEAN_DECAY * state.memory.mean + (1.0 - _MEAN_DECAY) * gradient
        square = _SQUARE_DECAY * state.memory.square + (1.0 - _SQUARE_DECAY) * tf.square(gradient)
        number = tf.cast(state.taken, tf.float32)
        unbiased = mean / per_example(1.0 - tf.pow(_MEAN_DECAY, number), mean)
        scale = tf.sqrt(square / per_example(1.0 - tf.pow(_SQUARE_DECAY, number), square)) + _TINY
        stepped = state.x_adv + self.learning_rate * unbiased / scale
        x_adv = BALLS[self.norm].confine(problem.x, stepped, problem.epsilon, self.bounds)
        return state._replace(x_adv=x_adv, memory=Memory(mean, square))


def spsa(model: Predictor, x: tf.Tensor, y: tf.Tensor, start: tf.Tensor, *, config: Spsa) -> tf.Tensor:
    """Ascends the margin max_k z_k - z_y in {x' : ||x' - x|| <= epsilon, x' in bounds} without gradients.

    Simultaneous perturbation stochastic approximation, algorithm 1 of Uesato et al. 2018 (arXiv:1802.05666): the
    gradient is estimated from differences along random directions of +1 and -1, and Adam steps along it; each iterate
    is projected. What has no useful gradient of its own, a quantizer or a mask, is attacked all the same.

    Departures: `samples` counts points, as in the authors' code in CleverHans, so 128 are 64 directions; the search
    starts at `start`, as in the paper, where that code draws a start from the ball; it ends with the first adversarial
    iterate; other balls than linf are had by their projections. As in the paper, the points of an estimate may lie
    outside of `bounds`, by delta.

    Args:
        model: inputs [B, ...] -> logits [B, K]; only its outputs are used.
        x, start: float32 [B, ...] in `bounds`; `start` is projected into ball and box.
        y: int32 labels [B]; of a targeted attack, the classes to reach.

    Returns:
        x_adv, like x: the first adversarial iterate, else the one of highest objective.
    """
    return search.run(config, model, x, y, start, every_run=True)
