"""The fast gradient method (Goodfellow et al. 2015): one step of the full radius."""

from __future__ import annotations

import dataclasses
import math
from typing import Any

import tensorflow as tf

from tfadv.attacks import search
from tfadv.attacks.pgd import Pgd
from tfadv.attacks.search import Measured, Predictor, Problem, State
from tfadv.balls import BALLS, L2, per_example
from tfadv.objectives import OBJECTIVES
from tfadv.validation import UserError, as_number, check_epsilon

LABELS = ("true", "predicted")


@dataclasses.dataclass(frozen=True)
class Fgm(search.Attack):
    """Settings of `fgm`: FGSM for norm "linf", the normalized gradient for "l2", the sparse signs for "l1".

    Attributes:
        epsilon: radius in input units (8/255 for images in [0, 1], never 8); a number or a tuple, one for each example.
        norm, objective, targeted, bounds: as in `Pgd`.
        label: whose objective is ascended: "true" of y, "predicted" of what the model says at the input itself. A model
            trained on steps away from true labels may read them off the step (label leaking, Kurakin 2017). Success is
            judged against y in both.
        scale: length of the gradient before its entries are clipped to +-epsilon (norm "linf"): large entries step to
            the border as in FGSM, small ones hardly move. None takes the sign, the limit of a large scale.
    """

    # The step is returned whether it fools or not, also where the input itself was the better attack.
    keep = "last"

    epsilon: Any = 8 / 255
    norm: str = "linf"
    objective: str = "cross_entropy"
    targeted: bool = False
    label: str = "true"
    scale: float | None = None
    bounds: tuple[float, float] = (0.0, 1.0)

    def __post_init__(self) -> None:
        search.check_settings(self)
        search.check_choice("label", self.label, LABELS)
        check_epsilon(self.epsilon, self.bounds, self.norm, strict=False)
        if self.targeted and self.label == "predicted":
            raise UserError("targeted=True needs label='true': the class to reach is y, not the prediction")
        if self.scale is not None and not 0 < as_number(self.scale) < math.inf:
            raise UserError(f"scale must be a finite number > 0, or None for the sign, got {self.scale!r}")
        if self.scale is not None and self.norm != "linf":
            raise UserError(f"scale needs norm='linf', the ball that it clips to, got norm={self.norm!r}")

    @property
    def moves(self) -> int:
        return 1

    def as_pgd(self) -> Pgd:
        """The same attack as one step of PGD from the image, whose result is returned whether it fools or not.

        Raises:
            UserError: `label` or `scale` make it another step than PGD has.
        """
        if self.label != "true" or self.scale is not None:
            raise UserError(
                f"this needs label='true' and scale=None, which are one step of PGD, got label={self.label!r} and "
                f"scale={self.scale!r}; leave them out"
            )
        return Pgd(
            epsilon=self.epsilon,
            step_size=self.epsilon,
            steps=1,
            norm=self.norm,
            objective=self.objective,
            random_start=False,
            keep="last",
            targeted=self.targeted,
            bounds=self.bounds,
        )

    def begin(self, model: Predictor, problem: Problem, start: tf.Tensor) -> State:
        return search.opening(problem.x)

    def ascended(self, problem: Problem, state: State, logits: tf.Tensor) -> tf.Tensor:
        if self.label == "true":
            return super().ascended(problem, state, logits)
        # The one point looked at is the input itself, so its prediction is at hand.
        return OBJECTIVES[self.objective](tf.argmax(logits, axis=-1, output_type=tf.int32), logits)

    def move(self, problem: Problem, state: State, measured: Measured) -> State:
        ball = BALLS[self.norm]
        if self.scale is None:
            step = per_example(problem.epsilon, problem.x) * ball.ascent(measured.gradient)
        else:
            step = self.scale * L2.ascent(measured.gradient)
        return state._replace(x_adv=ball.confine(problem.x, problem.x + step, problem.epsilon, self.bounds))


def fgm(model: Predictor, x: tf.Tensor, y: tf.Tensor, start: tf.Tensor, *, config: Fgm) -> tf.Tensor:
    """x + epsilon * argmax of <v, gradient> over the unit ball, clipped to bounds (arXiv:1412.6572, eq. in section 4).

    With `scale` the "fast grad l2" of Galloway et al. 2018 (arXiv:1804.03308, section 3), x + clip(scale * gradient /
    ||gradient||_2, +-epsilon), clipped to bounds; theirs has scale 100. For l1, where the argmax is one single feature,
    the step goes along `BALLS["l1"].ascent` instead.

    Args and returns as in `pgd`; start is ignored: the step leaves from x.
    """
    return search.run(config, model, x, y, x)
