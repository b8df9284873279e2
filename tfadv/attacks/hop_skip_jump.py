"""HopSkipJump (Chen, Jordan and Wainwright 2020): the closest adversarial example, from the model's decisions alone."""

from __future__ import annotations

import dataclasses
import math
from typing import Any, NamedTuple

import numpy as np
import tensorflow as tf

from tfadv import draws
from tfadv.attacks import search
from tfadv.attacks.search import Predictor, Problem, State
from tfadv.balls import BALLS, per_example
from tfadv.validation import check_epsilon

NORMS = ("linf", "l2")
# Points that are looked at for one that is adversarial, and queries that leave as many for the search behind it.
_TRIES = 100
_FEWEST = 200
# Directions that one estimate looks along at most, and how many of them one call of the model does.
_MOST_DIRECTIONS = 10_000
_AT_ONCE = 10
# Blocks along each side of an image in noise that is coarse.
_BLOCKS = 4
# Radius of the first estimate, as a share of the box.
_FIRST_RADIUS = 0.1
# A step that is not adversarial after so many halvings gains nothing.
_HALVINGS = 12
# The published threshold of the binary search is a share of the distance that depends on the number of features; this
# is between which it stays, so that few features are still searched finely, and many within the digits of float32.
_FINEST, _COARSEST = 1e-6, 1e-3


class Memory(NamedTuple):
    """What the search remembers of every example.

    Attributes:
        queries: int32 [B], looks at the model so far.
        reach: [B], distance to x of the point that the last binary search began at.
    """

    queries: tf.Tensor
    reach: tf.Tensor


class Jump(NamedTuple):
    """One iteration, from a point of the decision boundary to the next.

    Attributes:
        logits: [B, K], at the point it began at.
        x_adv: like x, the point where it ended.
        memory: with the looks that it took.
    """

    logits: tf.Tensor
    x_adv: tf.Tensor
    memory: Memory


@dataclasses.dataclass(frozen=True)
class HopSkipJump(search.Attack):
    """Settings of `hop_skip_jump`.

    Attributes:
        epsilon: None looks for the smallest distance; a radius in input units (a number, or a tuple with one for each
            example) makes only what lies within it a success, and ends with the first.
        queries: looks at the model for each example, at most; all are counted.
        norm: "l2" or "linf", in which the distance is small.
        directions: random directions of the first estimate; that of iteration t takes sqrt(t) times as many.
        targeted: y is the class to reach; give starts of that class, which noise rarely is.
        seed: of all random numbers; example i of a data set draws from (seed, i, iteration).
        bounds: (lowest, highest) input value.
    """

    epsilon: Any = None
    queries: int = 5000
    norm: str = "l2"  # type: ignore[misc]
    directions: int = 100
    targeted: bool = False  # type: ignore[misc]
    seed: int = 0  # type: ignore[misc]
    bounds: tuple[float, float] = (0.0, 1.0)  # type: ignore[misc]

    # Rounded logits have another decision boundary.
    bfloat16 = False
    stride = 1
    gradients_per_move = 0

    def __post_init__(self) -> None:
        search.check_choice("norm", self.norm, NORMS)
        if self.epsilon is not None:
            check_epsilon(self.epsilon, self.bounds, self.norm, strict=False)
        search.check_count("queries", self.queries, _FEWEST)
        search.check_count("directions", self.directions)
        search.check_seed(self.seed)

    @property
    def keep(self) -> str:  # type: ignore[override]
        """Without a radius the closest adversarial point; within one, the first."""
        return "closest" if self.epsilon is None else "best"

    @property
    def moves(self) -> int:
        """Iterations whose directions alone would use up all queries; the search ends before."""
        return len(self._counts())

    @property
    def queries_per_move(self) -> int:  # type: ignore[override]
        """On average, rounded down: late iterations take more than early ones."""
        return self.queries // self.moves

    def _counts(self) -> list[int]:
        """Directions of each iteration."""
        counts: list[int] = []
        while sum(counts) < self.queries:
            counts.append(min(int(self.directions * math.sqrt(len(counts) + 1)), _MOST_DIRECTIONS))
        return counts

    def draw(self, problem: Problem) -> tf.Tensor:
        return self._noise(problem, 0)

    def begin(self, model: Predictor, problem: Problem, start: tf.Tensor) -> State:
        """Goes to the boundary from `start` if it is adversarial, or else from noise that is."""

        def look(tried: Any, point: tf.Tensor, found: tf.Tensor, queries: tf.Tensor) -> tuple[tf.Tensor, ...]:
            point = search.choose(found | tf.equal(tried, 0), point, self._noise(problem, tried))
            hits = self._hits(model, problem, point)
            return tried + 1, point, found | hits, queries + tf.cast(~found, tf.int32)

        none = tf.zeros_like(problem.y)
        _, point, found, queries = tf.while_loop(
            lambda tried, _, found, __: (tried < _TRIES) & ~tf.reduce_all(found),
            look,
            (tf.constant(0), tf.clip_by_value(start, *self.bounds), tf.cast(none, tf.bool), none),
        )
        point = search.choose(found, point, problem.x)
        memory = Memory(queries + self._bisections(problem), BALLS[self.norm].size(point - problem.x))
        state = search.opening(self._to_boundary(model, problem, point), memory, best=problem.x)
        return state._replace(taken=tf.where(found, 0, self.moves))

    def measure(self, model: Predictor, problem: Problem, state: State) -> Jump:
        """One iteration: estimates the normal of the boundary, steps along it, and returns to the boundary."""
        iteration = tf.cast(state.taken + 1, tf.float32)
        wanted = tf.gather(tf.constant(self._counts()), tf.minimum(state.taken, self.moves - 1))
        left = self._left(problem, state.memory)
        # Examples that have ended, and only take part because others have not, look along no direction.
        count = tf.where(state.taken < self.moves, tf.clip_by_value(left, 0, wanted), 0)
        direction = BALLS[self.norm].ascent(self._normal(model, problem, state, count))
        length = BALLS[self.norm].size(state.x_adv - problem.x) / tf.sqrt(iteration)

        def halve(
            halvings: tf.Tensor, length: tf.Tensor, stepped: tf.Tensor, done: tf.Tensor, asked: tf.Tensor
        ) -> tuple[tf.Tensor, ...]:
            candidate = tf.clip_by_value(state.x_adv + per_example(length, direction) * direction, *self.bounds)
            hits = ~done & self._hits(model, problem, candidate)
            stepped = search.choose(hits, candidate, stepped)
            return halvings + 1, length / 2.0, stepped, done | hits, asked + tf.cast(~done, tf.int32)

        asked = 1 + count + self._bisections(problem)
        _, _, stepped, _, asked = tf.while_loop(
            lambda halvings, _, __, done, ___: (halvings < _HALVINGS) & ~tf.reduce_all(done),
            halve,
            (tf.constant(0), length, state.x_adv, tf.equal(count, 0), asked),
        )
        memory = Memory(state.memory.queries + asked, BALLS[self.norm].size(stepped - problem.x))
        return Jump(model(state.x_adv), self._to_boundary(model, problem, stepped), memory)

    def move(self, problem: Problem, state: State, measured: Jump) -> State:
        ends = self._left(problem, measured.memory) < 1
        if self.keep == "best":
            ends |= state.found
        distance = BALLS[self.norm].size(measured.x_adv - problem.x)
        # Without a success within the radius the search ends where it began, inside of the ball.
        x_adv = search.choose(ends & (distance > problem.epsilon), problem.x, measured.x_adv)
        return state._replace(x_adv=x_adv, taken=tf.where(ends, self.moves, state.taken), memory=measured.memory)

    def judge(self, problem: Problem, x_adv: tf.Tensor, logits: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        distance = BALLS[self.norm].size(x_adv - problem.x)
        return search.hit(problem, logits, self.targeted) & (distance <= problem.epsilon), -distance

    def _hits(self, model: Predictor, problem: Problem, points: tf.Tensor) -> tf.Tensor:
        """What the model decides about `points` [B, ...], bool [B]: all that this attack knows of it."""
        return search.hit(problem, model(points), self.targeted)

    def _noise(self, problem: Problem, tried: Any) -> tf.Tensor:
        """Uniform in the box; on every other try in blocks of one value, of which models say more varied things."""
        low, high = self.bounds
        numbers = draws.uniform(self.seed, (problem.example, problem.run, tried), problem.x.shape[1:])
        blocks = numbers
        for axis, length in enumerate(numbers.shape[1:3], start=1):
            block = max(length // _BLOCKS, 1)
            blocks = tf.gather(blocks, np.arange(length) // block * block, axis=axis)
        return low + (high - low) * tf.where(tf.equal(tried % 2, 1), blocks, numbers)

    def _threshold(self, problem: Problem) -> float:
        """Share of the distance to which the binary search goes: d^(-3/2) or d^-2 of d features."""
        features = math.prod(problem.x.shape[1:])
        published = features ** (-1.5 if self.norm == "l2" else -2.0)
        return min(max(published, _FINEST), _COARSEST)

    def _bisections(self, problem: Problem) -> int:
        return math.ceil(-math.log2(self._threshold(problem)))

    def _left(self, problem: Problem, memory: Memory) -> tf.Tensor:
        """Directions that the queries left allow beside the other looks of an iteration and the last one, int32 [B]."""
        others = 1 + _HALVINGS + self._bisections(problem) + 1
        return self.queries - others - memory.queries

    def _to_boundary(self, model: Predictor, problem: Problem, point: tf.Tensor) -> tf.Tensor:
        """Binary search between x and an adversarial `point`: of points on the way to x the last adversarial one.

        The way goes through the points nearest to `point` in smaller and smaller balls around x.
        """
        distance = BALLS[self.norm].size(point - problem.x)

        def halve(done: tf.Tensor, low: tf.Tensor, high: tf.Tensor, nearest: tf.Tensor) -> tuple[tf.Tensor, ...]:
            middle = 0.5 * (low + high)
            candidate = BALLS[self.norm].confine(problem.x, point, middle, self.bounds)
            hits = self._hits(model, problem, candidate)
            low, high = tf.where(hits, low, middle), tf.where(hits, middle, high)
            return done + 1, low, high, search.choose(hits, candidate, nearest)

        bisections = self._bisections(problem)
        bracket = (tf.constant(0), tf.zeros_like(distance), distance, point)
        return tf.while_loop(lambda done, *_: done < bisections, halve, bracket)[-1]

    def _normal(self, model: Predictor, problem: Problem, state: State, count: tf.Tensor) -> tf.Tensor:
        """Estimates the normal of the boundary at x_adv, toward the adversarial side; equations 15 and 16.

        Args:
            count: int32 [B], directions to look along; 0 gives 0.
        """
        shape = list(state.x_adv.shape[1:])
        features = math.prod(shape)
        scale = self._threshold(problem) * (math.sqrt(features) if self.norm == "l2" else features)
        first = _FIRST_RADIUS * (self.bounds[1] - self.bounds[0])
        radius = tf.where(tf.equal(state.taken, 0), first, scale * state.memory.reach)[:, None, None]
        center = tf.reshape(state.x_adv, [-1, 1, features])
        repeated = problem._replace(y=tf.repeat(problem.y, _AT_ONCE))

        def look(turn: tf.Tensor, signed: tf.Tensor, plain: tf.Tensor, balance: tf.Tensor) -> tuple[tf.Tensor, ...]:
            counters = (problem.example, problem.run, state.taken, turn)
            if self.norm == "l2":
                vectors = draws.normal(self.seed, counters, (_AT_ONCE, features))
            else:
                vectors = 2.0 * draws.uniform(self.seed, counters, (_AT_ONCE, features)) - 1.0
            points = tf.clip_by_value(center + radius * tf.math.l2_normalize(vectors, axis=2), *self.bounds)
            hits = self._hits(model, repeated, tf.reshape(points, [-1, *shape]))
            used = tf.cast(turn * _AT_ONCE + tf.range(_AT_ONCE) < count[:, None], tf.float32)
            signs = used * tf.where(tf.reshape(hits, [-1, _AT_ONCE]), 1.0, -1.0)
            vectors = tf.math.divide_no_nan(points - center, radius)
            return (
                turn + 1,
                signed + tf.einsum("bn,bnd->bd", signs, vectors),
                plain + tf.einsum("bn,bnd->bd", used, vectors),
                balance + tf.reduce_sum(signs, axis=1),
            )

        most = tf.reduce_max(count)
        none = tf.zeros_like(center[:, 0])
        sums = (tf.constant(0), none, none, tf.zeros_like(state.memory.reach))
        _, signed, plain, balance = tf.while_loop(lambda turn, *_: turn * _AT_ONCE < most, look, sums)
        mean = tf.math.divide_no_nan(balance, tf.cast(count, tf.float32))[:, None]
        # The mean decision is subtracted, as a baseline, unless all decisions are the same.
        normal = signed - tf.where(tf.abs(mean) < 1.0, mean, 0.0) * plain
        return tf.reshape(normal, tf.shape(state.x_adv))


def hop_skip_jump(model: Predictor, x: tf.Tensor, y: tf.Tensor, start: tf.Tensor, *, config: HopSkipJump) -> tf.Tensor:
    """The closest adversarial example, from decisions alone (Chen, Jordan and Wainwright 2020, arXiv:1904.02144).

    Algorithm 2. A binary search between x and an adversarial point ends at the decision boundary; decisions about
    random points around there give the normal of the boundary (equations 15 and 16); a step along it, halved until it
    is adversarial, gives the next point. Nothing but the class of largest logit is used.

    Departures from the published code: the search ends by its count of queries instead of iterations, and the last
    estimate takes the queries that are left; what is returned is the closest of the points seen, not the last; every
    other try for a start is noise in coarse blocks, because many models see one and the same class in all fine noise;
    the threshold of the binary search stays between 1e-6 and 1e-3 of the distance; there is one binary search to the
    boundary, in the norm of the attack, where the code begins with another one in l2; a step that is still not
    adversarial after 12 halvings is given up, and the next iteration looks along more directions.

    Args:
        model: inputs [B, ...] -> logits [B, K]; only the class of largest logit is used.
        x: float32 [B, ...] in `bounds`.
        y: int32 labels [B]; of a targeted attack, the classes to reach.
        start: like x, an adversarial point to begin from; one that is not (or that is not known, such as x) is replaced
            by noise.

    Returns:
        x_adv, like x: the closest adversarial point seen, or with an epsilon the first one within it; x where there is
        none.
    """
    return search.run(config, model, x, y, start, every_run=True)
