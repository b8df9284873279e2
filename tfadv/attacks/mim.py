"""The momentum iterative method (Dong et al. 2018): PGD along an average of the gradients of all its steps."""

from __future__ import annotations

import dataclasses
import math
from typing import Any

import tensorflow as tf

from tfadv.attacks import search
from tfadv.attacks.pgd import Pgd
from tfadv.attacks.search import Measured, Predictor, Problem, State
from tfadv.balls import L1, normalized
from tfadv.validation import UserError, as_number


@dataclasses.dataclass(frozen=True)
class Mim(Pgd):
    """Settings of `mim`: those of `Pgd`, with the paper's start at the image and step of epsilon / steps, and `decay`.

    Attributes:
        decay: weight mu of the gradients accumulated so far; 1 (the paper's) forgets none, 0 is PGD.
    """

    step_size: Any = 8 / 255 / 10
    random_start: bool = False
    decay: float = 1.0

    def __post_init__(self) -> None:
        super().__post_init__()
        if not 0 <= as_number(self.decay) < math.inf:
            raise UserError(f"decay must be a finite number >= 0, got {self.decay!r}; the paper's is 1.0")

    def begin(self, model: Predictor, problem: Problem, start: tf.Tensor) -> State:
        return super().begin(model, problem, start)._replace(memory=tf.zeros_like(problem.x))

    def move(self, problem: Problem, state: State, measured: Measured) -> State:
        accumulated = self.decay * state.memory + normalized(measured.gradient, L1.size)
        moved = super().move(problem, state, measured._replace(gradient=accumulated))
        return moved._replace(memory=accumulated)


def mim(model: Predictor, x: tf.Tensor, y: tf.Tensor, start: tf.Tensor, *, config: Mim) -> tf.Tensor:
    """Ascends the objective along accumulated gradients (MI-FGSM, Dong et al. 2018, arXiv:1710.06081, algorithm 1).

    g <- decay * g + gradient / ||gradient||_1, then a step of `pgd` along g: its sign for linf (eq. 6 and 7), g /
    ||g||_2 for l2 (section 3.3), its sparse signs for l1. Each example has its own l1 norm.

    Departures: an iterate that leaves ball or box is brought back (with the paper's step of epsilon / steps none leaves
    the ball); with keep="best" the first adversarial iterate is returned, with "last" the paper's.

    Args and returns as in `pgd`; the paper's start is x.
    """
    return search.run(config, model, x, y, start, every_run=True)
