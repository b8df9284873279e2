"""Auto-PGD: projected gradient ascent that sets its own step size (Croce and Hein 2020; for l1, 2021)."""

from __future__ import annotations

import dataclasses
import functools
import math
from typing import Any, NamedTuple

import numpy as np
import tensorflow as tf

from tfadv import draws
from tfadv.attacks import search
from tfadv.attacks.search import Measured, Predictor, Problem, State
from tfadv.balls import BALLS, normalized, per_example
from tfadv.objectives import OBJECTIVES, ranked_wrong_class, targeted_dlr
from tfadv.validation import UserError, check_epsilon

TARGETED_DLR = "targeted_dlr"
# A step goes by 0.75 toward the gradient step and by 0.25 along the step before.
_MOMENTUM = 0.75
# The step size stays only where more than this share of the steps since the last checkpoint raised the objective.
_RISING_SHARE = 0.75
# Relative rounding of an l1 size, a sum over all features.
_ROUNDING = 1e-5


class Peak(NamedTuple):
    """Of the points looked at, that of highest objective: [B, ...], its gradient [B, ...], its objective [B]."""

    x_adv: tf.Tensor
    gradient: tf.Tensor
    value: tf.Tensor


class Memory(NamedTuple):
    """What a search in linf or l2 remembers between moves.

    Attributes:
        target: int32 [B], the class that targeted DLR goes for.
        peak: the best point so far.
        step: [B], step size, input units.
        previous: [B, ...], the point before the one looked at next.
        value: [B], objective at the last point looked at.
        rises: int32 [B], steps since the last checkpoint that raised the objective.
        checked_value: [B], peak.value at the last checkpoint.
        halved: bool [B], the last checkpoint halved the step size.
    """

    target: tf.Tensor
    peak: Peak
    step: tf.Tensor
    previous: tf.Tensor
    value: tf.Tensor
    rises: tf.Tensor
    checked_value: tf.Tensor
    halved: tf.Tensor


class SparseMemory(NamedTuple):
    """What a search in l1 remembers between moves: `target`, `peak`, `step` as in `Memory`, and

    Attributes:
        support: int32 [B], features that the best point had changed at the last checkpoint; a step moves two thirds.
    """

    target: tf.Tensor
    peak: Peak
    step: tf.Tensor
    support: tf.Tensor


@dataclasses.dataclass(frozen=True)
class Apgd(search.Attack):
    """Settings of `apgd`.

    The first adversarial iterate ends the search of its example and is returned, else the one of highest objective.
    There is no keep="last": the search goes back to earlier points, so that its last one means little.

    Attributes:
        epsilon: radius in input units (8/255 for images in [0, 1], never 8); a number, or a tuple with one for each
            example.
        steps: gradient steps of one run; the checkpoints scale with it.
        norm: a name of `tfadv.balls.BALLS`.
        objective: what is ascended: a name of `tfadv.objectives.OBJECTIVES`, or "targeted_dlr". With two classes "dlr"
            is "margin"; "targeted_dlr" needs four classes, with three it is "dlr" and with two "margin".
        targets: of "targeted_dlr" only: the wrong classes gone for, in the order of their logits at the clean input,
            min(targets, classes - 1) of them; the runs beyond end at once, as do all but one with two or three classes.
        restarts: random starts, for each target; an example is fooled if one of them fools it.
        eot: calls of the model whose gradients are averaged at each step (expectation over transformation), for models
            that draw random numbers. The objective and the prediction are those of the last call.
        targeted: y is the class to reach, and the objective is descended; not with "targeted_dlr".
        seed: of the starts; example i of a data set starts from (seed, i, run).
        bounds: (lowest, highest) input value.
    """

    epsilon: Any = 8 / 255
    steps: int = 100
    norm: str = "linf"  # type: ignore[misc]
    objective: str = "cross_entropy"  # type: ignore[misc]
    targets: int = 9
    restarts: int = 1
    eot: int = 1
    targeted: bool = False  # type: ignore[misc]
    seed: int = 0  # type: ignore[misc]
    bounds: tuple[float, float] = (0.0, 1.0)  # type: ignore[misc]

    def __post_init__(self) -> None:
        search.check_choice("norm", self.norm, BALLS)
        search.check_choice("objective", self.objective, (*OBJECTIVES, TARGETED_DLR))
        check_epsilon(self.epsilon, self.bounds, self.norm, strict=False)
        for name in ("steps", "targets", "restarts", "eot"):
            search.check_count(name, getattr(self, name))
        search.check_seed(self.seed)
        if self.targeted and self.objective == TARGETED_DLR:
            raise UserError(
                "targeted=True needs an objective of one class, got 'targeted_dlr', which leads from the true class to "
                "targets of its own; use objective='dlr'"
            )

    @property
    def moves(self) -> int:
        return len(_sparse_schedule(self.steps).radius) - 1 if self.norm == "l1" else self.steps

    @property
    def runs(self) -> int:
        return self.restarts * (self.targets if self.objective == TARGETED_DLR else 1)

    @property
    def gradients_per_move(self) -> int:  # type: ignore[override]
        return self.eot

    def draw(self, problem: Problem) -> tf.Tensor:
        counters, shape = (problem.example, problem.run), problem.x.shape[1:]
        if self.norm == "linf":
            noise = 2.0 * draws.uniform(self.seed, counters, shape) - 1.0
        else:
            noise = draws.normal(self.seed, counters, shape)
        if self.norm == "l1":
            return problem.x + noise  # `begin` projects it.
        return problem.x + per_example(problem.epsilon, problem.x) * normalized(noise, BALLS[self.norm].size)

    def begin(self, model: Predictor, problem: Problem, start: tf.Tensor) -> State:
        rank, runs = tf.zeros_like(problem.run), 1
        target = rank
        if self.objective == TARGETED_DLR:
            logits = model(problem.x)
            rank = problem.run // self.restarts
            target = ranked_wrong_class(problem.y, logits, rank)
            runs = logits.shape[-1] - 1 if self._objective(logits) == TARGETED_DLR else 1
        radius = problem.epsilon * (_sparse_schedule(self.steps).radius[0] if self.norm == "l1" else 1.0)
        needless = rank >= runs
        x_adv = search.choose(needless, problem.x, self._confined(problem, start, radius))
        low = tf.fill(tf.shape(problem.run), float("-inf"))
        peak = Peak(x_adv, tf.zeros_like(x_adv), low)
        memory: Memory | SparseMemory
        if self.norm == "l1":
            memory = SparseMemory(target, peak, radius, _support(x_adv - problem.x))
        else:
            halved = tf.ones_like(rank, tf.bool)
            memory = Memory(target, peak, 2.0 * radius, x_adv, -low, tf.zeros_like(rank), low, halved)
        return search.opening(x_adv, memory, best=problem.x)._replace(taken=tf.where(needless, self.moves, 0))

    def measure(self, model: Predictor, problem: Problem, state: State) -> Measured:
        def ask() -> Measured:
            return search.first_order(model, state.x_adv, lambda logits: self.ascended(problem, state, logits))

        def again(count: tf.Tensor, total: Measured) -> tuple[tf.Tensor, Measured]:
            measured = ask()
            return count + 1, Measured(measured.logits, total.gradient + measured.gradient)

        if self.eot == 1:
            return ask()
        _, total = tf.while_loop(lambda count, _: count < self.eot, again, (tf.constant(1), ask()))
        return total._replace(gradient=total.gradient / self.eot)

    def move(self, problem: Problem, state: State, measured: Measured) -> State:
        value = self.ascended(problem, state, measured.logits)
        here = Peak(state.x_adv, measured.gradient, value)
        peak = search.choose(value > state.memory.peak.value, here, state.memory.peak)
        if self.norm == "l1":
            return self._move_sparsely(problem, state, here, peak)
        return self._move_with_momentum(problem, state, here, peak)

    def _move_with_momentum(self, problem: Problem, state: State, here: Peak, peak: Peak) -> State:
        memory = state.memory
        rises = memory.rises + tf.cast(here.value > memory.value, tf.int32)
        window = tf.gather(_windows(self.steps), state.taken - 1)
        check = window > 0
        restless = tf.cast(rises, tf.float32) <= _RISING_SHARE * tf.cast(window, tf.float32)
        stuck = ~memory.halved & (memory.checked_value >= peak.value)
        halve = check & (restless | stuck)
        step = tf.where(halve, 0.5 * memory.step, memory.step)
        point, gradient, _ = search.choose(halve, peak, here)

        first = state.taken == 1
        climbed = point + per_example(step, point) * BALLS[self.norm].ascent(gradient)
        share = per_example(tf.where(first, 1.0, _MOMENTUM), point)
        toward = self._confined(problem, climbed, problem.epsilon) - point
        mixed = point + share * toward + (1.0 - share) * (point - memory.previous)
        return state._replace(
            x_adv=self._confined(problem, mixed, problem.epsilon),
            memory=Memory(
                target=memory.target,
                peak=peak,
                step=step,
                previous=point,
                # The published program compares the objective after the first step to 0, not to that at the start.
                value=tf.where(first, 0.0, here.value),
                rises=tf.where(check, 0, rises),
                checked_value=tf.where(check, peak.value, memory.checked_value),
                halved=tf.where(check, halve, memory.halved),
            ),
        )

    def _move_sparsely(self, problem: Problem, state: State, here: Peak, peak: Peak) -> State:
        memory, schedule, place = state.memory, _sparse_schedule(self.steps), state.taken - 1
        check, ends = tf.gather(schedule.check, place), tf.gather(schedule.ends, place)
        radius = problem.epsilon * tf.gather(schedule.radius, place)
        next_radius = problem.epsilon * tf.gather(schedule.radius, tf.minimum(state.taken, self.moves))
        support = _support(peak.x_adv - problem.x)
        sparser = check & (20 * support < 19 * memory.support)
        step = tf.where(check, tf.maximum(memory.step / 1.5, 0.1 * radius), memory.step)
        step = tf.where(sparser, radius, step)
        point, gradient, _ = search.choose(sparser, peak, here)
        support = tf.where(check, support, memory.support)
        climbed = point + per_example(step, point) * _sparse_ascent(gradient, (2 * support + 2) // 3)

        # The next part of the search begins at the best point of this one, and in a smaller ball.
        x_adv = self._confined(problem, search.choose(ends, peak.x_adv, climbed), next_radius)
        return state._replace(
            x_adv=x_adv,
            memory=SparseMemory(
                target=memory.target,
                peak=peak._replace(value=tf.where(ends, float("-inf"), peak.value)),
                step=tf.where(ends, next_radius, step),
                support=tf.where(ends, _support(x_adv - problem.x), support),
            ),
        )

    def ascended(self, problem: Problem, state: State, logits: tf.Tensor) -> tf.Tensor:
        objective = self._objective(logits)
        if objective == TARGETED_DLR:
            return targeted_dlr(problem.y, state.memory.target, logits)
        value = OBJECTIVES[objective](problem.y, logits)
        return -value if self.targeted else value

    def judge(self, problem: Problem, x_adv: tf.Tensor, logits: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        """As every attack; but runs of several targets compare by the margin, and l1 refuses points of larger balls."""
        objective = self._objective(logits)
        value = OBJECTIVES["margin" if objective == TARGETED_DLR else objective](problem.y, logits)
        success, value = search.hit(problem, logits, self.targeted), (-value if self.targeted else value)
        if self.norm == "l1":
            within = BALLS["l1"].size(x_adv - problem.x) <= (1.0 + _ROUNDING) * problem.epsilon
            return success & within, tf.where(within, value, float("-inf"))
        return success, value

    def _objective(self, logits: tf.Tensor) -> str:
        """Name of the objective, or of what stands in for it where the classes are too few."""
        classes = logits.shape[-1]
        if self.objective in (TARGETED_DLR, "dlr") and classes == 2:
            return "margin"
        return "dlr" if self.objective == TARGETED_DLR and classes == 3 else self.objective

    def _confined(self, problem: Problem, x_adv: tf.Tensor, radius: tf.Tensor) -> tf.Tensor:
        ball = BALLS[self.norm]
        if self.norm == "l1":
            return ball.confine(problem.x, x_adv, radius, self.bounds)
        # Ball first, box second, as in the published program.
        return tf.clip_by_value(problem.x + ball.project(x_adv - problem.x, radius), *self.bounds)


def checkpoints(steps: int) -> list[int]:
    """The steps after which the step size is reconsidered: ceil(p_j steps), for 100 steps 22, 41, 57, 70, 80, 87, ...

    p_0 = 0, p_1 = 0.22, p_{j+1} = p_j + max(p_j - p_{j-1} - 0.03, 0.06) < 1; in whole percent, which do not round.
    """
    percent, gap, after = 22, 22, []
    while percent < 100:
        after.append(-(-percent * steps // 100))
        gap = max(gap - 3, 6)
        percent += gap
    return sorted(set(after))


def _windows(steps: int) -> np.ndarray:
    """int32 [steps + 1]: by the number of steps made, the steps since the last checkpoint, or 0 where none is."""
    windows = np.zeros(steps + 1, np.int32)
    after = checkpoints(steps)
    windows[after] = np.diff([0, *after])
    return windows


class _SparseSchedule(NamedTuple):
    """Of all moves + 1 points that an l1 search looks at: radius in epsilons, if it is a checkpoint, ends a part."""

    radius: np.ndarray
    check: np.ndarray
    ends: np.ndarray


@functools.cache
def _sparse_schedule(steps: int) -> _SparseSchedule:
    """30% of the steps in a ball of 3 epsilon, 30% in one of 2 epsilon, the rest in the ball itself.

    A part of n steps looks at n + 1 points, and checks after every 4% of its steps.
    """
    part = min(-(-3 * steps // 10), steps // 2)
    points = [
        (radius, made > 0 and made % max(4 * count // 100, 1) == 0, made == count)
        for radius, count in ((3.0, part), (2.0, part), (1.0, steps - 2 * part))
        for made in range(count + 1)
    ]
    radius, check, ends = (np.array(column) for column in zip(*points, strict=True))
    return _SparseSchedule(radius.astype(np.float32), check, ends)


def _support(delta: tf.Tensor) -> tf.Tensor:
    return tf.math.count_nonzero(delta, axis=list(range(1, delta.shape.rank)), dtype=tf.int32)


def _sparse_ascent(gradient: tf.Tensor, count: tf.Tensor) -> tf.Tensor:
    """Equal shares, 1 in sum, of the `count` [B] features of largest gradient, at least one."""
    gradient = tf.where(tf.math.is_finite(gradient), gradient, 0.0)
    magnitude, features = tf.abs(gradient), math.prod(gradient.shape[1:])
    ranked = tf.sort(tf.reshape(magnitude, [-1, features]), direction="DESCENDING")
    least = tf.gather(ranked, tf.clip_by_value(count, 1, features) - 1, batch_dims=1)
    direction = tf.where(magnitude >= per_example(least, gradient), tf.sign(gradient), 0.0)
    return normalized(direction, BALLS["l1"].size)


def apgd(model: Predictor, x: tf.Tensor, y: tf.Tensor, start: tf.Tensor | None, *, config: Apgd) -> tf.Tensor:
    """Auto-PGD, algorithm 1 of Croce and Hein 2020 (arXiv:2003.01690), as in their published program.

    z = C(x_k + eta ascent(gradient)), x_{k+1} = C(x_k + 0.75 (z - x_k) + 0.25 (x_k - x_{k-1})), in the first step
    x_{k+1} = z; C is ball first, box second. eta begins at 2 epsilon. After the steps of `checkpoints`, eta is halved
    and the search goes back to the point of highest objective and its gradient, if at most 0.75 of the steps since the
    last checkpoint raised the objective, or if eta was not halved at the last checkpoint and the highest objective has
    not grown since. A drawn start is x + epsilon u / ||u||, u uniform in the cube (linf) or normal (l2). Targeted DLR
    (their eq. 7) is ascended for each of the highest wrong logits at x in turn, one run for each target and restart.

    In l1 it is the l1-APGD of Croce and Hein 2021 (arXiv:2103.01208), with radius 3, 2 and 1 epsilon in turn:
    x_{k+1} = C(x_k + eta s), s the sign of the gradient on two thirds as many features as the best point has changed,
    divided by their number; C is the nearest point of ball and box. eta begins at the radius. At a checkpoint, if the
    best point has changed over 5% fewer features than at the one before, eta returns to the radius and the search to
    that point; otherwise eta is divided by 1.5, to no less than a tenth of the radius. A drawn start is x + u, u
    normal, confined by C.

    Departures from the published program:
    (1) An example leaves with its first adversarial iterate; the program goes on and returns the last one.
    (2) Where nothing was found, the point of highest objective is returned (with targeted DLR that of highest margin);
        the program returns x.
    (3) Checkpoints follow the formula of the paper for any number of steps; the program rounds 22%, 3% and 6% of the
        steps down. For multiples of 100 both are equal.
    (4) Gradients of length below 1e-12 are normalized too; NaN and infinite entries count as 0.
    (5) A `start` outside of the ball is projected.
    (6) Random numbers follow from (seed, example, run).
    (7) With few classes the objective and the number of targets fall back as `Apgd` says.
    (8) In l1, a feature that was not moved is not counted as changed because of rounding, shares of features are whole
        numbers, and an iterate of an earlier radius that lies in the ball of epsilon counts.
    Details that are the program's: the objective after the first step counts as raised if it is above 0; a share of
    exactly 0.75 is too small; the first checkpoint asks for that share alone.

    Args:
        model: inputs [B, ...] -> logits [B, K]; inference mode.
        x, start: float32 [B, ...] in `config.bounds`; start: where the first run begins, None draws it.
        y: int32 [B], labels; of a targeted attack, the classes to reach.
        config: radius in input units.

    Returns:
        x_adv, like x.

    Raises:
        UserError: the model has no gradient with respect to its input.
    """
    return search.run(config, model, x, y, start, every_run=True)
