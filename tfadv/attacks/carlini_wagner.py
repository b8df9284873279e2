"""The l2 attack of Carlini and Wagner 2017: the closest adversarial example, by Adam in the space of the arctanh."""

from __future__ import annotations

import dataclasses
import math
from typing import Any, NamedTuple

import tensorflow as tf

from tfadv.attacks import search
from tfadv.attacks.search import Measured, Predictor, Problem, State
from tfadv.balls import BALLS, per_example
from tfadv.validation import UserError, as_number, check_epsilon

# Inputs are drawn this close to the box before the arctanh, which is infinite at its walls.
_SHRINK = 0.999999
# The constants of Adam (Kingma and Ba 2015, algorithm 1).
_MEAN_DECAY, _SQUARE_DECAY, _TINY = 0.9, 0.999, 1e-8
# An upper bound of c that no success has lowered yet.
_UNBOUNDED = 1e10
# From this many binary searches on, the last one repeats the smallest c that succeeded.
_REPEATS = 10
# A loss that has not fallen to this share of itself within a tenth of the steps has stalled.
_FALLEN = 0.9999


class Memory(NamedTuple):
    """What the search remembers of every example.

    Attributes:
        point: [B, ...], the arctanh of the point looked at.
        mean, square: [B, ...], moments of Adam.
        constant, low, high: [B], c of this binary search, and between which it is searched.
        succeeded: bool [B], this c has given an adversarial point.
        checked: [B], the loss when it was last compared; infinite if never.
        step, searched: int32 [B], steps of this binary search, and finished binary searches.
    """

    point: tf.Tensor
    mean: tf.Tensor
    square: tf.Tensor
    constant: tf.Tensor
    low: tf.Tensor
    high: tf.Tensor
    succeeded: tf.Tensor
    checked: tf.Tensor
    step: tf.Tensor
    searched: tf.Tensor


@dataclasses.dataclass(frozen=True)
class CarliniWagner(search.Attack):
    """Settings of `carlini_wagner`.

    Attributes:
        epsilon: None looks for the smallest l2 distance; a radius in input units (a number, or a tuple with one for
            each example) makes only what lies within it a success, and ends with the first.
        steps: steps of Adam for each c.
        binary_searches: how many values of c are tried.
        learning_rate: of Adam, in the space of the arctanh.
        initial_constant: the first c, by which the margin counts against the squared distance.
        confidence: by how much the wrong class (the target) must lead, in logit units.
        abort_early: a c is given up when the loss has not fallen within a tenth of its steps.
        targeted: y is the class to reach.
        bounds: (lowest, highest) input value.
    """

    epsilon: Any = None
    steps: int = 1000
    binary_searches: int = 9
    learning_rate: float = 0.01
    initial_constant: float = 1e-3
    confidence: float = 0.0
    abort_early: bool = True
    targeted: bool = False
    bounds: tuple[float, float] = (0.0, 1.0)

    norm = "l2"
    stride = 50
    # The closest points lie where rounded logits no longer tell which class leads.
    bfloat16 = False

    def __post_init__(self) -> None:
        if self.epsilon is not None:
            check_epsilon(self.epsilon, self.bounds, self.norm, strict=False)
        for name in ("steps", "binary_searches"):
            search.check_count(name, getattr(self, name))
        for name in ("learning_rate", "initial_constant"):
            value = getattr(self, name)
            if not 0 < as_number(value) < math.inf:
                raise UserError(f"{name} must be a finite number > 0, got {value!r}; the published one is 0.01 or 1e-3")
        if not 0 <= as_number(self.confidence) < math.inf:
            raise UserError(f"confidence must be a finite number >= 0, got {self.confidence!r}; 0 is the plain attack")

    @property
    def keep(self) -> str:  # type: ignore[override]
        """Without a radius the closest adversarial point; within one, the first."""
        return "closest" if self.epsilon is None else "best"

    @property
    def moves(self) -> int:
        return self.steps * self.binary_searches

    def begin(self, model: Predictor, problem: Problem, start: tf.Tensor) -> State:
        start = tf.clip_by_value(start, *self.bounds)
        outside = BALLS[self.norm].size(start - problem.x) > problem.epsilon
        start = search.choose(outside, problem.x, start)
        count = tf.shape(start)[0]
        number, none = tf.zeros([count], tf.float32), tf.zeros([count], tf.int32)
        memory = Memory(
            point=self._to_point(start),
            mean=tf.zeros_like(start),
            square=tf.zeros_like(start),
            constant=number + self.initial_constant,
            low=number,
            high=number + _UNBOUNDED,
            succeeded=tf.zeros([count], tf.bool),
            checked=number + float("inf"),
            step=none,
            searched=none,
        )
        return search.opening(start, memory)

    def move(self, problem: Problem, state: State, measured: Measured) -> State:
        memory = state.memory
        # max(f, -confidence) and max(f + confidence, 0) differ by a constant alone.
        short = tf.maximum(self.confidence - self.ascended(problem, state, measured.logits), 0.0)
        change = self._to_image(memory.point) - self._to_image(self._to_point(problem.x))
        loss = tf.reduce_sum(tf.square(change), list(range(1, change.shape.rank))) + memory.constant * short
        checks = tf.equal(memory.step % -(-self.steps // 10), 0) & self.abort_early
        stalled = checks & ~(loss <= _FALLEN * memory.checked)

        weight = per_example(tf.where(short > 0, memory.constant, 0.0), change)
        ascent = tf.where(tf.math.is_finite(measured.gradient), measured.gradient, 0.0)
        stepped = self._adam(memory, 2.0 * change - weight * ascent)._replace(
            succeeded=memory.succeeded | self._adversarial(problem, measured.logits),
            checked=tf.where(checks, loss, memory.checked),
        )
        over = stalled | (stepped.step >= self.steps)
        finished = over & (memory.searched + 1 >= self.binary_searches)
        x_adv = tf.clip_by_value(self._to_image(stepped.point), *self.bounds)
        # A new c begins at x itself, not at its image by arctanh and tanh.
        x_adv = search.choose(finished, state.x_adv, search.choose(over, problem.x, x_adv))
        return state._replace(
            x_adv=x_adv,
            taken=tf.where(finished, self.moves, state.taken),
            memory=search.choose(over, self._next_constant(problem, stepped), stepped),
        )

    def judge(self, problem: Problem, x_adv: tf.Tensor, logits: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        distance = BALLS[self.norm].size(x_adv - problem.x)
        return self._adversarial(problem, logits) & (distance <= problem.epsilon), -distance

    def _adversarial(self, problem: Problem, logits: tf.Tensor) -> tf.Tensor:
        """Whether the wrong class (the target) leads by more than the confidence; at 0, ties go to the lower class."""
        handicap = -self.confidence if self.targeted else self.confidence
        return search.hit(problem, logits + handicap * tf.one_hot(problem.y, logits.shape[-1]), self.targeted)

    def _adam(self, memory: Memory, gradient: tf.Tensor) -> Memory:
        """One step of Adam; `gradient` is that of the loss with respect to the image."""
        half = (self.bounds[1] - self.bounds[0]) / 2
        gradient = gradient * half * (1.0 - tf.square(tf.tanh(memory.point)))
        mean = _MEAN_DECAY * memory.mean + (1.0 - _MEAN_DECAY) * gradient
        square = _SQUARE_DECAY * memory.square + (1.0 - _SQUARE_DECAY) * tf.square(gradient)
        number = tf.cast(memory.step + 1, tf.float32)
        unbiased = mean / per_example(1.0 - tf.pow(_MEAN_DECAY, number), mean)
        scale = tf.sqrt(square / per_example(1.0 - tf.pow(_SQUARE_DECAY, number), square)) + _TINY
        point = memory.point - self.learning_rate * unbiased / scale
        return memory._replace(point=point, mean=mean, square=square, step=memory.step + 1)

    def _next_constant(self, problem: Problem, memory: Memory) -> Memory:
        """Halves the interval of c, or multiplies c by 10 as long as none has succeeded; Adam begins anew at x."""
        low = tf.where(memory.succeeded, memory.low, tf.maximum(memory.low, memory.constant))
        high = tf.where(memory.succeeded, tf.minimum(memory.high, memory.constant), memory.high)
        constant = tf.where(high < _UNBOUNDED, (low + high) / 2, tf.minimum(10 * memory.constant, _UNBOUNDED))
        searched = memory.searched + 1
        if self.binary_searches >= _REPEATS:
            constant = tf.where(searched == self.binary_searches - 1, high, constant)
        return Memory(
            point=self._to_point(problem.x),
            mean=tf.zeros_like(memory.mean),
            square=tf.zeros_like(memory.square),
            constant=constant,
            low=low,
            high=high,
            succeeded=tf.zeros_like(memory.succeeded),
            checked=tf.fill(tf.shape(memory.checked), float("inf")),
            step=tf.zeros_like(memory.step),
            searched=searched,
        )

    def _to_point(self, x: tf.Tensor) -> tf.Tensor:
        low, high = self.bounds
        within = _SHRINK * tf.clip_by_value((2.0 * x - (low + high)) / (high - low), -1.0, 1.0)
        return 0.5 * tf.math.log((1.0 + within) / (1.0 - within))  # arctanh, several times faster than tf.atanh.

    def _to_image(self, point: tf.Tensor) -> tf.Tensor:
        low, high = self.bounds
        return tf.tanh(point) * ((high - low) / 2) + (high + low) / 2


def carlini_wagner(
    model: Predictor, x: tf.Tensor, y: tf.Tensor, start: tf.Tensor, *, config: CarliniWagner
) -> tf.Tensor:
    """Minimizes ||x' - x||_2^2 + c max(f(x'), -confidence) over x' in `bounds` (arXiv:1608.04644, section VI.A).

    f is z_y - max_{k != y} z_k of the logits z, and max_{k != y} z_k - z_y when targeted (f6 of the paper). The box is
    met by x' = half tanh(w) + middle, where w is minimized by Adam from w = arctanh(x). c is searched for every
    example: times 10 until one succeeds, then by halving the interval between failure and success; from ten searches
    on, the last one repeats the smallest c that succeeded.

    Args:
        model: inputs [B, ...] -> logits [B, K]; inference mode.
        x: float32 [B, ...] in `bounds`.
        y: int32 [B], true classes; when targeted the classes to reach.
        start: like x, where the search for the first c begins; the later ones begin at x, as do all for a start
            farther away than `epsilon`.

    Returns:
        x_adv, like x: of all points looked at, the adversarial one closest to x in l2; with an `epsilon` the first
        within it. Without one, the point looked at that is closest to x: x itself, if `start` is x.

    Raises:
        UserError: the model has no gradient with respect to its input.

    Departures from the paper and its published code: a search is given up early by the loss of its own example instead
    of the sum over the batch, so that no example depends on its neighbors (equal to their batch of one). Adam's 1e-8
    stands beside the root of the unbiased moment, as in algorithm 1 of Kingma and Ba, not of the raw one. The point at
    which a search is given up is looked at too. A search begins at x exactly, which the arctanh moves by up to 1e-6: an
    example that is misclassified already has the distance 0. Adam takes 1000 steps by default (theirs: 10000).
    """
    return search.run(config, model, x, y, start, every_run=True)
