"""What all attacks share: a state for each example, looked at by the model and moved by the attack.

An attack is a frozen dataclass that says where to begin, what to measure of the model, and how to move on from there.
The first axis of every tensor is the examples, and no example looks at another; so the engine may put any examples
into one batch, each at its own step, and `run` does the whole attack on one batch inside any graph.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import tensorflow as tf

from tfadv.attacks.input_gradient import cheaper_gradients
from tfadv.balls import BALLS
from tfadv.objectives import OBJECTIVES
from tfadv.validation import UserError

Predictor = Callable[[tf.Tensor], tf.Tensor]
# A seed is a whole number below this.
SEEDS = 2**31


class Problem(NamedTuple):
    """What stays fixed while an example is searched.

    Attributes:
        x: [B, ...], clean inputs.
        y: int32 [B], true class; of a targeted attack, the class to reach.
        epsilon, step_size: [B], input units; infinity and 0 for an attack that has none.
        example: int32 [B], number of the example in its data set, for its random numbers.
        run: int32 [B], which restart or target this is, 0 to attack.runs - 1.
    """

    x: tf.Tensor
    y: tf.Tensor
    epsilon: tf.Tensor
    step_size: tf.Tensor
    example: tf.Tensor
    run: tf.Tensor


class State(NamedTuple):
    """Where the search of every example stands.

    Attributes:
        x_adv: [B, ...], the point that the model looks at next.
        best: [B, ...], of the points looked at so far, the one to return (see `Attack.keep`).
        best_value: [B], its value by `Attack.judge`.
        found: bool [B], `best` is adversarial.
        taken: int32 [B], how often the model was asked; the search of this run ends at attack.moves.
        memory: what else the attack remembers, a (nested) tuple of tensors [B, ...].
    """

    x_adv: tf.Tensor
    best: tf.Tensor
    best_value: tf.Tensor
    found: tf.Tensor
    taken: tf.Tensor
    memory: Any


class Measured(NamedTuple):
    """What the model said at `State.x_adv`: logits [B, K], and the gradient of the objective, like x.

    An attack with another `measure` returns another tuple, which must have `logits` too.
    """

    logits: tf.Tensor
    gradient: tf.Tensor


class Answer(NamedTuple):
    """What a query measures: logits [B, K]."""

    logits: tf.Tensor


@dataclasses.dataclass(frozen=True)
class Attack:
    """Base of all attacks; the fields of a subclass are its settings.

    A subclass gives `moves`, `begin` and `move`, and overrides what differs. Inside these methods nothing is drawn
    from a global random state, and no operation mixes examples.

    `measure` must hold calls of the model and their gradients alone, without arithmetic on images between two calls:
    the engine may run it in bfloat16, where such arithmetic would lose digits that ball and box need. All else belongs
    into `begin` and `move`, which always run in float32.
    """

    # May the engine ask the model in bfloat16? (Successes are verified in float32 in any case.)
    bfloat16 = True
    # Moves between two looks at who may leave the batch: fewer waste bookkeeping, more waste moves on what is fooled.
    stride = 5
    # Gradients, or else queries, that one move costs; for the counts in reports.
    gradients_per_move = 1
    queries_per_move = 0

    # Fields that subclasses may have, and their values for the others. Not annotated: an annotation would make them
    # fields here, and put them before all others in every signature. mypy knows neither a field nor a property over a
    # plain attribute, so subclasses say `type: ignore[misc]` or `[override]` there.
    norm = "linf"
    keep = "best"
    objective = "margin"
    targeted = False
    seed = 0
    bounds = (0.0, 1.0)

    @property
    def moves(self) -> int:
        """How often one run asks the model (before a last look at where it ends)."""
        raise NotImplementedError

    @property
    def runs(self) -> int:
        """Restarts, targets, or both: an example that one run does not fool is given to the next."""
        return 1

    def draw(self, problem: Problem) -> tf.Tensor:
        """Where a run starts when the caller gives no start, like x; never compiled by XLA, which draws otherwise."""
        return problem.x

    def begin(self, model: Predictor, problem: Problem, start: tf.Tensor) -> State:
        """The state before the first move; `opening` makes it from a point and a memory."""
        raise NotImplementedError

    def measure(self, model: Predictor, problem: Problem, state: State) -> Any:
        """Asks the model at state.x_adv; by default for its logits and the gradient of `ascended`."""
        return first_order(model, state.x_adv, lambda logits: self.ascended(problem, state, logits))

    def move(self, problem: Problem, state: State, measured: Any) -> State:
        """The next point to look at. state.x_adv has been recorded already, and state.taken counts this measurement.

        A search that is over before attack.moves sets taken = attack.moves and leaves x_adv where it is.
        """
        raise NotImplementedError

    def ascended(self, problem: Problem, state: State, logits: tf.Tensor) -> tf.Tensor:
        """The objective [B] whose gradient the default `measure` takes."""
        value = OBJECTIVES[self.objective](problem.y, logits)
        return -value if self.targeted else value

    def judge(self, problem: Problem, x_adv: tf.Tensor, logits: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        """(success bool [B], value [B], larger is better) of points with these logits; ties go to the lower class."""
        value = OBJECTIVES[self.objective](problem.y, logits)
        return hit(problem, logits, self.targeted), (-value if self.targeted else value)


@dataclasses.dataclass(frozen=True)
class Queries(Attack):
    """Base of attacks that look at the input and at changes of it, and ask for logits alone."""

    # What is asked are single forward passes; rounding them would cost successes and save little.
    bfloat16 = False
    gradients_per_move = 0
    queries_per_move = 1

    def begin(self, model: Predictor, problem: Problem, start: tf.Tensor) -> State:
        return opening(problem.x)

    def measure(self, model: Predictor, problem: Problem, state: State) -> Answer:
        return Answer(model(state.x_adv))


def hit(problem: Problem, logits: tf.Tensor, targeted: bool) -> tf.Tensor:
    """Whether the prediction is what the attack wants, bool [B]: not y, or (targeted) y. NaN is no prediction."""
    equal = tf.argmax(logits, axis=-1, output_type=tf.int32) == problem.y
    known = ~tf.reduce_any(tf.math.is_nan(logits), axis=-1)
    return known & (equal if targeted else ~equal)


def first_order(model: Predictor, x_adv: tf.Tensor, objective: Callable[[tf.Tensor], tf.Tensor]) -> Measured:
    """Logits at `x_adv` and the gradient of sum(objective(logits)) with respect to it.

    Raises:
        UserError: the model has no gradient with respect to its input.
    """
    logits, (gradient,) = input_gradients(model, x_adv, lambda logits: [tf.reduce_sum(objective(logits))])
    return Measured(logits, gradient)


def input_gradients(
    model: Predictor, x_adv: tf.Tensor, totals: Callable[[tf.Tensor], list[tf.Tensor]]
) -> tuple[tf.Tensor, list[tf.Tensor]]:
    """Logits at `x_adv`, and the gradients of several sums of them with respect to it: one pass forward, each one back.

    Raises:
        UserError: the model has no gradient with respect to its input.
    """
    if tf.executing_eagerly():
        with tf.GradientTape(persistent=True, watch_accessed_variables=False) as tape:
            tape.watch(x_adv)
            logits = model(x_adv)
            sums = totals(logits)
        gradients = [tape.gradient(each, x_adv) for each in sums]
    else:
        with cheaper_gradients():
            logits = model(x_adv)
            sums = totals(logits)
        gradients = [tf.gradients(each, x_adv)[0] for each in sums]
    if any(gradient is None for gradient in gradients):
        raise UserError(
            "the model has no gradient with respect to its input (a layer is not differentiable, or NumPy is inside); "
            "put tfadv.models.bpda around that layer, attack by transfer, or by Square, which needs no gradient"
        )
    return logits, gradients


def opening(x_adv: tf.Tensor, memory: Any = (), best: tf.Tensor | None = None) -> State:
    """The state of a search that looks at `x_adv` first; `best` is returned if nothing better is ever seen."""
    count = tf.shape(x_adv)[0]
    return State(
        x_adv,
        x_adv if best is None else best,
        tf.fill([count], tf.constant(float("-inf"), tf.float32)),
        tf.zeros([count], tf.bool),
        tf.zeros([count], tf.int32),
        memory,
    )


def per_example_mask(mask: tf.Tensor, like: tf.Tensor) -> tf.Tensor:
    """Reshapes booleans [B] so that they broadcast against `like` [B, ...]."""
    return tf.reshape(mask, [-1] + [1] * (like.shape.rank - 1))


def choose(mask: tf.Tensor, yes: Any, no: Any) -> Any:
    """For each example the `yes` or the `no` of two equal structures of tensors [B, ...], by `mask` [B]."""
    return tf.nest.map_structure(lambda a, b: tf.where(per_example_mask(mask, a), a, b), yes, no)


def record(attack: Attack, state: State, x_adv: tf.Tensor, success: tf.Tensor, value: tf.Tensor) -> State:
    """Keeps `x_adv` where it is better than the best so far.

    keep="closest": the success of highest value. Otherwise the first success, or else the point of highest value.
    """
    if attack.keep == "closest":
        better = success & (~state.found | (value > state.best_value))
    else:
        better = ~state.found & (success | (value > state.best_value))
    return state._replace(
        best=tf.where(per_example_mask(better, x_adv), x_adv, state.best),
        best_value=tf.where(better, value, state.best_value),
        found=state.found | success,
    )


def follow(attack: Attack, problem: Problem, state: State, measured: Any, until: tf.Tensor) -> State:
    """One move from what was measured, for every example that has taken fewer than `until` [B]; the others wait."""
    seen = record(attack, state, state.x_adv, *attack.judge(problem, state.x_adv, measured.logits))
    moved = attack.move(problem, seen._replace(taken=state.taken + 1), measured)
    return choose(state.taken < until, moved, state)


def advance(attack: Attack, model: Predictor, problem: Problem, state: State, until: tf.Tensor) -> State:
    """Measures and moves until every example has taken `until` [B]."""

    def once(state: State) -> tuple[State]:
        return (follow(attack, problem, state, attack.measure(model, problem, state), until),)

    # Not `for _ in tf.range`: Keras does not run AutoGraph on train_step.
    return tf.while_loop(lambda state: tf.reduce_any(state.taken < until), once, (state,))[0]


def problem_of(
    attack: Attack,
    x: tf.Tensor,
    y: tf.Tensor,
    *,
    epsilon: Any = None,
    step_size: Any = None,
    example: tf.Tensor | None = None,
    run: Any = 0,
) -> Problem:
    """A `Problem` of one batch; epsilon and step_size (scalars or [B]) in place of the config's, if given."""
    count = tf.shape(x)[0]

    def each(value: Any, name: str, default: float) -> tf.Tensor:
        value = getattr(attack, name, None) if value is None else value
        value = tf.convert_to_tensor(default if value is None else value, tf.float32)
        # Gathered, because a static length here and an unknown one of x would confuse the shapes of a loop.
        return tf.gather(value, tf.range(count)) if value.shape.rank else tf.fill([count], value)

    return Problem(
        x,
        y,
        each(epsilon, "epsilon", np.inf),
        each(step_size, "step_size", 0.0),
        tf.range(count) if example is None else example,
        tf.fill([count], run),
    )


def run(
    attack: Attack,
    model: Predictor,
    x: tf.Tensor,
    y: tf.Tensor,
    start: tf.Tensor | None = None,
    *,
    epsilon: Any = None,
    step_size: Any = None,
    every_run: bool = False,
) -> tf.Tensor:
    """The attack on one batch as one graph: what the pure function of every attack file does.

    Args:
        model: inputs [B, ...] -> logits [B, K]; inference mode.
        x: float32 [B, ...] in the config's bounds.
        y: int32 [B], labels; of a targeted attack, the classes to reach.
        start: like x, where the first run begins; None draws it from the config's seed.
        epsilon, step_size: tensors, scalar or [B], in place of the config's; for schedules and exported programs.
        every_run: repeats for all restarts and targets; otherwise the first run alone.

    Returns:
        x_adv, like x: by `attack.keep` the best point, the last, or the closest adversarial one. What is adversarial as
        it stands is returned as it is, except by keep="last".
    """

    def once(number: Any, start: tf.Tensor | None) -> tuple[State, Problem]:
        problem = problem_of(attack, x, y, epsilon=epsilon, step_size=step_size, run=number)
        state = attack.begin(model, problem, attack.draw(problem) if start is None else start)
        return advance(attack, model, problem, state, tf.fill([tf.shape(x)[0]], attack.moves)), problem

    def looked(state: State, problem: Problem) -> State:
        return record(attack, state, state.x_adv, *attack.judge(problem, state.x_adv, model(state.x_adv)))

    state, problem = once(0, start)
    if attack.keep == "last":
        return state.x_adv
    best = looked(state, problem)._replace(memory=())
    already, _ = attack.judge(problem, x, model(x))
    if not every_run or attack.runs == 1:
        return choose(already, x, best.best)

    def another(number: tf.Tensor, best: State) -> tuple[tf.Tensor, State]:
        state = looked(*once(number, None))
        return number + 1, record(attack, best, state.best, state.found, state.best_value)

    _, best = tf.while_loop(lambda number, _: number < attack.runs, another, (tf.constant(1), best))
    return choose(already, x, best.best)


def check_choice(name: str, value: Any, allowed: Any) -> None:
    """Refuses a `value` that is not among `allowed`, naming those that are."""
    if not isinstance(value, str) or value not in allowed:
        raise UserError(f"{name} must be one of {sorted(allowed)}, got {value!r}")


def check_count(name: str, value: int, least: int = 1) -> None:
    """Refuses a number of steps, restarts or queries that is not whole, or below `least`."""
    if not _whole(value) or value < least:
        raise UserError(f"{name} must be at least {least}, got {value!r}; give a whole number")


def check_seed(seed: Any) -> None:
    """Refuses a seed that the random numbers of TensorFlow and NumPy cannot both be drawn from."""
    if not _whole(seed) or not 0 <= seed < SEEDS:
        raise UserError(f"seed must be a whole number from 0 to {SEEDS - 1}, got {seed!r}")


def _whole(value: Any) -> bool:
    return isinstance(value, int | np.integer) and not isinstance(value, bool)


def check_settings(attack: Attack) -> None:
    """Refuses a norm or an objective that does not exist, naming the ones that do, and what is no seed."""
    check_choice("norm", attack.norm, BALLS)
    check_choice("objective", attack.objective, OBJECTIVES)
    check_seed(attack.seed)
