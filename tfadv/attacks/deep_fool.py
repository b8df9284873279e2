"""DeepFool (Moosavi-Dezfooli et al. 2016): from hyperplane to hyperplane until the first other class."""

from __future__ import annotations

import dataclasses
import math
from typing import Any, NamedTuple

import tensorflow as tf

from tfadv.attacks import search
from tfadv.attacks.hyperplane import Linearized, MinimumNorm, linearized, nearest, rivals
from tfadv.attacks.search import Predictor, Problem, State
from tfadv.balls import BALLS, per_example
from tfadv.validation import UserError, as_number, check_epsilon

NORMS = ("linf", "l2")
# Added to the distance of every hyperplane, in widths of the box. Where the box stops most of a step, what is left of
# 2% may never cross: without it 61% of the digits are fooled, with it all.
_EXTRA = 1e-4
# In widths of the box. A hyperplane farther off comes of a gradient that is nothing but rounding.
_FARTHEST = 1e6


class Memory(NamedTuple):
    """What the search remembers of every example.

    Attributes:
        classes: int32 [B, C], whose hyperplanes to the true class are looked at.
        way: [B, ...], sum of the steps from x, of which the box has cut nothing.
    """

    classes: tf.Tensor
    way: tf.Tensor


@dataclasses.dataclass(frozen=True)
class DeepFool(MinimumNorm):
    """Settings of `deep_fool`.

    Attributes:
        epsilon: None counts every adversarial point; a radius in input units (a number, or a tuple with one for each
            example) only those within it. The search is the same and ends at the first adversarial point.
        steps: at most.
        norm: one of `NORMS`.
        overshoot: share by which the way from x goes beyond the hyperplanes.
        candidates: how many classes are looked at: the true one and those of the highest other logits at x. A step
            costs a gradient for each of the others.
        bounds: (lowest, highest) input value.
    """

    # The search ends at the first adversarial point, and rounded logits would end it before.
    bfloat16 = False

    epsilon: Any = None
    steps: int = 50
    norm: str = "l2"
    overshoot: float = 0.02
    candidates: int = 10
    bounds: tuple[float, float] = (0.0, 1.0)

    def __post_init__(self) -> None:
        search.check_choice("norm", self.norm, NORMS)
        if self.epsilon is not None:
            check_epsilon(self.epsilon, self.bounds, self.norm, strict=False)
        search.check_count("steps", self.steps)
        search.check_count("candidates", self.candidates, 2)
        if not 0 <= as_number(self.overshoot) < math.inf:
            raise UserError(f"overshoot must be a finite share >= 0, got {self.overshoot!r}; the published one is 0.02")

    @property
    def moves(self) -> int:
        return self.steps

    @property
    def gradients_per_move(self) -> int:  # type: ignore[override]
        """Of models with as many classes as candidates or more."""
        return self.candidates - 1

    def begin(self, model: Predictor, problem: Problem, start: tf.Tensor) -> State:
        classes = rivals(model(problem.x), problem.y)[:, : self.candidates - 1]
        x_adv = BALLS[self.norm].confine(problem.x, start, problem.epsilon, self.bounds)
        way = (x_adv - problem.x) / (1.0 + self.overshoot)
        return search.opening(x_adv, Memory(classes, way), best=problem.x)

    def measure(self, model: Predictor, problem: Problem, state: State) -> Linearized:
        return linearized(model, state.x_adv, problem.y, state.memory.classes)

    def move(self, problem: Problem, state: State, measured: Linearized) -> State:
        plane = nearest(self.norm, measured, problem.y, state.memory.classes)
        width = self.bounds[1] - self.bounds[0]
        length = tf.minimum(plane.distance, _FARTHEST * width) + _EXTRA * width
        way = state.memory.way + per_example(length, problem.x) * BALLS[self.norm].ascent(plane.normal)
        x_adv = tf.clip_by_value(problem.x + (1.0 + self.overshoot) * way, *self.bounds)
        over = self.fooled(problem, measured.logits)
        return state._replace(
            x_adv=search.choose(over, state.x_adv, x_adv),
            taken=tf.where(over, self.moves, state.taken),
            memory=state.memory._replace(way=way),
        )


def deep_fool(model: Predictor, x: tf.Tensor, y: tf.Tensor, start: tf.Tensor, *, config: DeepFool) -> tf.Tensor:
    """Steps from hyperplane to hyperplane until another class wins (Moosavi-Dezfooli et al. 2016, arXiv:1511.04599).

    Algorithm 2 and its form for linf: x' <- clip(x + (1 + overshoot) r), where r grows by the way from x' to the
    nearest of the hyperplanes z_k = z_y. With an epsilon the returned point is x where the first adversarial one lies
    outside of it.

    Departures from the paper: points are clipped to the box, and r keeps what the box cuts off; the overshoot belongs
    to every point looked at, as in the authors' code, not only to the last; 1e-4 of the box's width is added to the
    distance of every hyperplane (Foolbox adds it too), because steps that the box stops would otherwise come ever
    closer without crossing; classes are the highest at x, not all; y is the label, not the prediction. Without an
    epsilon the other class must lead by more than rounding, 1e-6 of the largest logit.

    Args:
        model: inputs [B, ...] -> logits [B, K]; inference mode.
        x, start: float32 [B, ...] in `bounds`; the published attack starts at x. A start outside the ball is projected.
        y: int32 labels [B].

    Returns:
        x_adv, like x; x itself where nothing was found.

    Raises:
        UserError: the model has no gradient with respect to its input.
    """
    return search.run(config, model, x, y, start, every_run=True)
