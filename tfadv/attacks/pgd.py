"""Projected gradient descent (Madry et al. 2018) and, without a random start, the basic iterative method."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import tensorflow as tf

from tfadv.attacks import search
from tfadv.attacks.search import Measured, Predictor, Problem, State
from tfadv.balls import BALLS, normalized, per_example
from tfadv.validation import UserError, check_epsilon, real_numbers


@dataclasses.dataclass(frozen=True)
class Pgd(search.Attack):
    """Settings of `pgd`.

    Attributes:
        epsilon, step_size: radius and step in input units (8/255 for images in [0, 1], never 8); a number, or a tuple
            with one for each example.
        steps: gradient steps of one start.
        norm: a name of `tfadv.balls.BALLS`.
        objective: a name of `tfadv.objectives.OBJECTIVES`; what is ascended.
        random_start: starts uniformly in the ball (PGD); False starts at the image (BIM, Kurakin 2017).
        restarts: random starts; an example is fooled if one of them fools it.
        keep: "best" returns the first adversarial iterate, else the one of highest objective; "last" returns the last
            iterate of the last start, as the papers and other libraries do.
        targeted: y is the class to reach, and the objective is descended.
        seed: of the starts; example i of a data set starts from (seed, restart, i).
        bounds: (lowest, highest) input value.
    """

    epsilon: Any = 8 / 255
    step_size: Any = 2 / 255
    steps: int = 10
    norm: str = "linf"  # type: ignore[misc]
    objective: str = "cross_entropy"  # type: ignore[misc]
    random_start: bool = True
    restarts: int = 1
    keep: str = "best"  # type: ignore[misc]
    targeted: bool = False  # type: ignore[misc]
    seed: int = 0  # type: ignore[misc]
    bounds: tuple[float, float] = (0.0, 1.0)  # type: ignore[misc]

    def __post_init__(self) -> None:
        search.check_settings(self)
        search.check_choice("keep", self.keep, ("best", "last"))
        check_epsilon(self.epsilon, self.bounds, self.norm, strict=False)
        check_step_size(self.step_size)
        for name in ("steps", "restarts"):
            search.check_count(name, getattr(self, name))
        if self.restarts > 1 and not self.random_start:
            raise UserError(
                "restarts > 1 needs random_start=True: every restart at the image itself is the same attack"
            )
        if self.restarts > 1 and self.keep == "last":
            raise UserError("restarts > 1 needs keep='best': the last iterate of the last start forgets the others")

    @property
    def moves(self) -> int:
        return self.steps

    @property
    def runs(self) -> int:
        return self.restarts

    def draw(self, problem: Problem) -> tf.Tensor:
        if not self.random_start:
            return problem.x
        points = unit_points(self.norm, self.seed, problem.example, problem.run, problem.x.shape[1:])
        return problem.x + per_example(problem.epsilon, problem.x) * points

    def begin(self, model: Predictor, problem: Problem, start: tf.Tensor) -> State:
        return search.opening(self.confine(problem, start))

    def move(self, problem: Problem, state: State, measured: Measured) -> State:
        return state._replace(x_adv=self.stepped(problem, state.x_adv, measured.gradient))

    def stepped(self, problem: Problem, x_adv: tf.Tensor, gradient: tf.Tensor) -> tf.Tensor:
        """One step of steepest ascent from `x_adv`, back in ball and box."""
        if self.norm == "l1":
            # An l1 step changes few features; those that the box holds already would waste it.
            low, high = self.bounds
            held = ((x_adv <= low) & (gradient < 0)) | ((x_adv >= high) & (gradient > 0))
            gradient = tf.where(held, tf.zeros_like(gradient), gradient)
        step = per_example(problem.step_size, x_adv) * BALLS[self.norm].ascent(gradient)
        return self.confine(problem, x_adv + step)

    def confine(self, problem: Problem, x_adv: tf.Tensor) -> tf.Tensor:
        """The point of ball and box that the search continues from."""
        return BALLS[self.norm].confine(problem.x, x_adv, problem.epsilon, self.bounds)


def check_step_size(step_size: Any) -> None:
    """Refuses a step that is negative, infinite or of more than one axis."""
    steps = real_numbers(step_size)
    if steps.ndim > 1 or not np.isfinite(steps).all() or (steps < 0).any():
        raise UserError(
            f"step_size must be a finite number >= 0 (or one for each example), got {step_size!r}; write "
            "2/255 for images in [0, 1]"
        )


def unit_points(norm: str, seed: int, example: tf.Tensor, run: tf.Tensor, shape: Any) -> tf.Tensor:
    """Random points of the unit ball, float32 [B, *shape]: each follows from (seed, run, example) and nothing else.

    Uniform in the ball for linf and l1. For l2 the direction is uniform and so is the length: points uniform in a ball
    of hundreds of dimensions all lie at its surface, from where PGD-40 at radius 1.5 fooled 55.2% of 987 MNIST images,
    against 56.3 to 57.1% from these (a natural net, four seeds).

    So a subset of a data set starts where the whole would. XLA draws other numbers from the same seed than graphs and
    eager code do; so this is never part of a program compiled by XLA.

    Args:
        example, run: int32 [B].
        shape: of one example.
    """

    def one(pair: tuple[tf.Tensor, tf.Tensor]) -> tf.Tensor:
        key = tf.random.experimental.stateless_fold_in(tf.constant([seed, 0], tf.int32), pair[1])
        key = tf.random.experimental.stateless_fold_in(key, pair[0])
        point = BALLS[norm].sample((1, *shape), key)
        if norm == "l2":
            length = tf.random.stateless_uniform([1], tf.random.experimental.stateless_fold_in(key, 0))
            point = per_example(length, point) * normalized(point, BALLS[norm].size)
        return point[0]

    return tf.map_fn(one, (example, run), fn_output_signature=tf.TensorSpec(shape, tf.float32))


def pgd(
    model: Predictor,
    x: tf.Tensor,
    y: tf.Tensor,
    start: tf.Tensor,
    *,
    config: Pgd,
    epsilon: tf.Tensor | None = None,
    step_size: tf.Tensor | None = None,
) -> tf.Tensor:
    """Ascends the objective over {x' : ||x' - x|| <= epsilon, x' in bounds} (Madry et al. 2018, arXiv:1706.06083).

    x' <- clip(x + project(x' - x + step_size * ascent(gradient))), from one `start`; the engine repeats it for
    `config.restarts` starts.

    Args:
        model: inputs [B, ...] -> logits [B, K]; inference mode.
        x, start: float32 [B, ...] in `bounds`; start = x gives BIM, a random point gives PGD. A start outside the ball
            is projected onto it.
        y: int32 labels [B].
        epsilon, step_size: tensors, scalar or [B], in place of the config's; for schedules and exported programs.

    Returns:
        x_adv, like x.
    """
    return search.run(config, model, x, y, start, epsilon=epsilon, step_size=step_size)
