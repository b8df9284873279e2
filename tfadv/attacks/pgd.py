"""Projected gradient descent (Madry et al. 2018) and, as one step of it, the fast gradient method."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import tensorflow as tf

from tfadv.balls import BALLS, per_example
from tfadv.objectives import OBJECTIVES
from tfadv.validation import UserError, check_epsilon

Predictor = Callable[[tf.Tensor], tf.Tensor]
KEEP = ("best", "last")


@dataclasses.dataclass(frozen=True)
class Pgd:
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
        seed: of the starts; example i of a data set starts from (seed, restart, i).
        bounds: (lowest, highest) input value.
    """

    epsilon: Any = 8 / 255
    step_size: Any = 2 / 255
    steps: int = 10
    norm: str = "linf"
    objective: str = "cross_entropy"
    random_start: bool = True
    restarts: int = 1
    keep: str = "best"
    seed: int = 0
    bounds: tuple[float, float] = (0.0, 1.0)

    def __post_init__(self) -> None:
        check_config(self)
        check_epsilon(self.epsilon, self.bounds, self.norm, strict=False)
        steps = np.asarray(self.step_size, np.float64)
        if steps.ndim > 1 or not np.isfinite(steps).all() or (steps < 0).any():
            raise UserError(
                f"step_size must be a finite number >= 0 (or one for each example), got {self.step_size!r}; write "
                "2/255 for images in [0, 1]"
            )
        for name in ("steps", "restarts"):
            if getattr(self, name) < 1:
                raise UserError(f"{name} must be at least 1, got {getattr(self, name)}")
        if self.restarts > 1 and not self.random_start:
            raise UserError(
                "restarts > 1 needs random_start=True: every restart at the image itself is the same attack"
            )
        if self.restarts > 1 and self.keep == "last":
            raise UserError("restarts > 1 needs keep='best': the last iterate of the last start forgets the others")


def check_config(config: Any) -> None:
    """Refuses a norm, an objective or a `keep` that does not exist, naming the ones that do."""
    for name, allowed in (("norm", BALLS), ("objective", OBJECTIVES), ("keep", KEEP)):
        if getattr(config, name) not in allowed:
            raise UserError(f"{name} must be one of {sorted(allowed)}, got {getattr(config, name)!r}")


class Progress(NamedTuple):
    """State of every example between two steps; all [B, ...].

    Attributes:
        x_adv: where the search stands.
        best: the first adversarial iterate, else the one of highest objective so far.
        best_value: objective at `best`, [B].
        found: `best` is misclassified, [B].
        taken: gradient steps taken, [B] int32.
    """

    x_adv: tf.Tensor
    best: tf.Tensor
    best_value: tf.Tensor
    found: tf.Tensor
    taken: tf.Tensor


def clamp(x: tf.Tensor, x_adv: tf.Tensor, epsilon: tf.Tensor, norm: str, bounds: tuple[float, float]) -> tf.Tensor:
    """The point of ball and box that the search continues from: ball first, then box (the box only shrinks |delta|)."""
    return tf.clip_by_value(x + BALLS[norm].project(x_adv - x, epsilon), *bounds)


def begin(x: tf.Tensor, start: tf.Tensor, epsilon: tf.Tensor, *, config: Pgd) -> Progress:
    """The state before the first step, at `start` moved into box and ball of radius `epsilon` (scalar or [B])."""
    count = tf.shape(x)[0]
    x_adv = clamp(x, start, epsilon, config.norm, config.bounds)
    return Progress(
        x_adv,
        x_adv,
        tf.fill([count], tf.constant(float("-inf"), x.dtype)),
        tf.zeros([count], tf.bool),
        tf.zeros([count], tf.int32),
    )


def unit_starts(examples: tf.Tensor, restarts: tf.Tensor, shape: tuple[int, ...], *, config: Pgd) -> tf.Tensor:
    """Where PGD starts, for epsilon 1: example i and restart r draw from (config.seed, r, i) and nothing else.

    So a subset of a data set starts where the whole would. XLA draws other numbers from the same seed than graphs and
    eager code do; programs compiled by XLA therefore take their starts as an input.

    Args:
        examples, restarts: int32 [B].
        shape: of one example.

    Returns:
        float32 [B, *shape], uniform in the unit ball.
    """

    def one(pair: tuple[tf.Tensor, tf.Tensor]) -> tf.Tensor:
        seed = tf.random.experimental.stateless_fold_in(tf.constant([config.seed, 0], tf.int32), pair[1])
        seed = tf.random.experimental.stateless_fold_in(seed, pair[0])
        return BALLS[config.norm].sample((1, *shape), seed)[0]

    return tf.map_fn(one, (examples, restarts), fn_output_signature=tf.float32)


def look(logits: tf.Tensor, y: tf.Tensor, objective: str) -> tuple[tf.Tensor, tf.Tensor]:
    """(misclassified [B], objective [B]) of `logits`; ties go to the lower class, as argmax does."""
    wrong = tf.argmax(logits, axis=-1, output_type=tf.int32) != y
    return wrong, OBJECTIVES[objective](y, logits)


def keep_best(state: Progress, x_adv: tf.Tensor, wrong: tf.Tensor, value: tf.Tensor) -> Progress:
    """Takes `x_adv` where it is the first adversarial iterate, or the best of those that are not."""
    better = ~state.found & (wrong | (value > state.best_value))
    return state._replace(
        best=tf.where(per_example_mask(better, x_adv), x_adv, state.best),
        best_value=tf.where(better, value, state.best_value),
        found=state.found | wrong,
    )


def per_example_mask(mask: tf.Tensor, like: tf.Tensor) -> tf.Tensor:
    """Reshapes booleans [B] so that they broadcast against `like` [B, ...]."""
    return tf.reshape(mask, tf.concat([tf.shape(mask), tf.ones([tf.rank(like) - 1], tf.int32)], 0))


def measure(model: Predictor, x_adv: tf.Tensor, y: tf.Tensor, objective: str) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
    """(misclassified [B], objective [B], its gradient like x_adv) at `x_adv`; the one costly part of a step."""
    with tf.GradientTape(watch_accessed_variables=False) as tape:
        tape.watch(x_adv)
        wrong, value = look(model(x_adv), y, objective)
        total = tf.reduce_sum(value)
    gradient = tape.gradient(total, x_adv)
    if gradient is None:
        raise UserError(
            "the model has no gradient with respect to its input (a layer is not differentiable, or NumPy is inside); "
            "attack it by transfer, or through a differentiable stand-in"
        )
    return wrong, value, gradient


def move(
    x: tf.Tensor,
    state: Progress,
    measured: tuple[tf.Tensor, tf.Tensor, tf.Tensor],
    epsilon: tf.Tensor,
    step_size: tf.Tensor,
    until: tf.Tensor,
    *,
    config: Pgd,
) -> Progress:
    """One step from what was `measured` at state.x_adv, for every example that has taken fewer than `until` [B].

    The iterate is kept, if it is the best, before it is left; the point moved to has not been looked at yet.
    """
    wrong, value, gradient = measured
    active = state.taken < until
    stepped = state.x_adv + per_example(step_size, x) * BALLS[config.norm].ascent(gradient)
    moved = clamp(x, stepped, epsilon, config.norm, config.bounds)
    if config.keep == "best":
        state = keep_best(state, state.x_adv, wrong & active, tf.where(active, value, state.best_value))
    return state._replace(
        x_adv=tf.where(per_example_mask(active, x), moved, state.x_adv),
        taken=state.taken + tf.cast(active, tf.int32),
    )


def advance(
    model: Predictor,
    x: tf.Tensor,
    y: tf.Tensor,
    state: Progress,
    epsilon: tf.Tensor,
    step_size: tf.Tensor,
    until: tf.Tensor,
    *,
    config: Pgd,
) -> Progress:
    """Takes gradient steps until every example has taken `until` [B] of them; one that has waits.

    epsilon and step_size are scalars or [B]: tensors, so that a sweep never retraces.
    """

    def step(state: Progress) -> tuple[Progress]:
        measured = measure(model, state.x_adv, y, config.objective)
        return (move(x, state, measured, epsilon, step_size, until, config=config),)

    # Not `for _ in tf.range`: Keras does not run AutoGraph on train_step.
    return tf.while_loop(lambda state: tf.reduce_any(state.taken < until), step, (state,))[0]


def finish(model: Predictor, y: tf.Tensor, state: Progress, *, config: Pgd) -> tf.Tensor:
    """The adversarial images, after a look at the iterate that nobody has looked at yet."""
    if config.keep == "last":
        return state.x_adv
    return keep_best(state, state.x_adv, *look(model(state.x_adv), y, config.objective)).best


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
    epsilon = config.epsilon if epsilon is None else epsilon
    step_size = config.step_size if step_size is None else step_size
    until = tf.fill([tf.shape(x)[0]], config.steps)
    state = advance(model, x, y, begin(x, start, epsilon, config=config), epsilon, step_size, until, config=config)
    return finish(model, y, state, config=config)
