"""Who is in the batch: no work is spent on examples that are fooled, and a killed run can continue.

The batch is a set of slots. An example sits in a slot for a few moves at a time; when it is fooled, or has used up its
moves, the next one takes the slot. So the compiled programs see one shape, the batch stays full until the queue is
empty, and a fooled example costs nothing more. At the end of the queue the batch halves as slots empty.
"""

from __future__ import annotations

import collections
import dataclasses
import os
import pathlib
import time
from collections.abc import Callable

import numpy as np
import tensorflow as tf

from tfadv.attacks import saved
from tfadv.attacks.search import Problem, State
from tfadv.validation import UserError

_SMALLEST_BATCH = 32
_FINGERPRINT = 32
# What a state file holds of a session, beside the queue and the slots' states.
_ARRAYS = ("row", "run_number", "result", "value", "adversarial", "ever")
_COUNTS = ("finished", "asked", "size")


@dataclasses.dataclass(frozen=True)
class Outcome:
    """What an attack found.

    Attributes:
        x_adv: float32 [N, ...], in ball and box.
        adversarial: bool [N]; x_adv is what the attack wants (misclassified, within epsilon), verified in float32.
        ever_adversarial: bool [N]; some iterate was, verified in float32. The same for keep="best"; for keep="last" it
            counts what returning the last iterate throws away.
        gradient_evaluations, queries: gradients computed, and forward passes without one, each counted per image.
        precision: of the search, "float32" or "bfloat16".
    """

    x_adv: np.ndarray
    adversarial: np.ndarray
    ever_adversarial: np.ndarray
    gradient_evaluations: int
    queries: int
    precision: str


class Session:
    """One call of a compiled attack: the queue, the slots, and the results so far."""

    def __init__(  # type: ignore[no-untyped-def]
        self,
        attack,
        x: np.ndarray,
        y: np.ndarray,
        start: np.ndarray | None,
        index: np.ndarray,
        progress: Callable[[int, int], None] | None,
        state: str | os.PathLike | None,
    ) -> None:
        self.attack, self.config = attack, attack.config
        self.x, self.y, self.start, self.index, self.progress = x, y, start, index, progress
        count = len(x)
        self.epsilon = self._each("epsilon", np.inf)
        self.step_size = self._each("step_size", 0.0)
        self.queue: collections.deque[tuple[int, int]] = collections.deque((row, 0) for row in range(count))
        self.result, self.value = x.copy(), np.full(count, -np.inf, np.float32)
        self.adversarial, self.ever = np.zeros(count, bool), np.zeros(count, bool)
        self.finished, self.asked = 0, 0
        self.row, self.run_number = np.full(0, -1), np.zeros(0, np.int32)
        self.state: State | None = None
        self.size = min(attack.batch_size, count)
        self.path, self.written = state, time.monotonic()
        self.identity = saved.identity(self.config, attack.precision, attack.batch_size, (x, y, index, start))

    def _each(self, name: str, default: float) -> np.ndarray:
        values = getattr(self.config, name, None)
        values = np.asarray(default if values is None else values, np.float32)
        if values.ndim and len(values) != len(self.x):
            raise UserError(f"{name} must be a number or one for each of the {len(self.x)} examples, got {len(values)}")
        return np.broadcast_to(values, [len(self.x)]).astype(np.float32)

    def _problem(self, rows: np.ndarray, runs: np.ndarray) -> Problem:
        return Problem(
            self.x[rows],
            self.y[rows],
            self.epsilon[rows],
            self.step_size[rows],
            self.index[rows],
            runs.astype(np.int32),
        )

    def run(self) -> Outcome:
        """Searches until the queue and all slots are empty."""
        if not self._restore():
            self._pass_what_is_adversarial()
        while self.queue or (self.row >= 0).any():
            self._fill()
            self._shrink()
            try:
                self._advance()
            except tf.errors.ResourceExhaustedError:
                self._halve()
                continue
            self._release()
            if self.progress is not None:
                self.progress(self.finished, len(self.x))
            if self.path is not None and time.monotonic() - self.written >= saved.SECONDS_BETWEEN:
                self.save()
        if self.path is not None:
            pathlib.Path(self.path).unlink(missing_ok=True)
        return Outcome(
            self.result,
            self.adversarial,
            self.ever,
            self.asked * self.config.gradients_per_move,
            self.asked * self.config.queries_per_move,
            self.attack.precision,
        )

    def save(self) -> None:
        """Writes the state file: queue, slots and results, so that a continued search takes the same batches."""
        assert self.path is not None
        about = {**self.identity, **{name: getattr(self, name) for name in _COUNTS}}
        arrays = {name: getattr(self, name) for name in _ARRAYS}
        arrays["queue"] = np.array(self.queue, np.int64).reshape(-1, 2)
        for number, leaf in enumerate(tf.nest.flatten(self.state) if self.state is not None else ()):
            arrays[f"state{number}"] = leaf
        saved.write(self.path, about, self._fingerprint(), arrays)
        self.written = time.monotonic()

    def _restore(self) -> bool:
        """Continues from the state file; False if there is none."""
        found = None if self.path is None else saved.read(self.path, self.identity, self._fingerprint())
        if found is None:
            return False
        about, arrays = found
        for name in _COUNTS:
            setattr(self, name, about[name])
        for name in _ARRAYS:
            setattr(self, name, arrays[name])
        self.queue = collections.deque((int(row), int(run)) for row, run in arrays["queue"])
        if "state0" in arrays:
            like = self._begin(np.zeros(1, int), np.zeros(1, np.int32))
            leaves = [arrays[f"state{number}"] for number in range(len(tf.nest.flatten(like)))]
            self.state = tf.nest.pack_sequence_as(like, leaves)
        return True

    def _fingerprint(self) -> np.ndarray:
        """Logits of the first images: they tell one model from another."""
        rows = np.arange(min(len(self.x), _FINGERPRINT))
        return self.attack.judge(self._problem(rows, np.zeros(len(rows))), self.x[rows])[2]

    def _pass_what_is_adversarial(self) -> None:
        """An example that is adversarial as it stands is done, unless the attack returns its last iterate."""
        if self.config.keep == "last":
            return
        rows = np.arange(len(self.x))
        chunks = [rows[at : at + self.size] for at in range(0, len(rows), self.size)]
        hit = np.concatenate([self.attack.judge(self._problem(c, np.zeros(len(c))), self.x[c])[0] for c in chunks])
        self.adversarial |= hit
        self.ever |= hit
        self.finished = int(hit.sum())
        self.queue = collections.deque((row, 0) for row in np.flatnonzero(~hit).tolist())

    def _fill(self) -> None:
        """Moves examples from the queue into empty slots."""
        if self.state is None:
            count = min(self.size, len(self.queue))
            self.row, self.run_number = np.full(count, -1), np.zeros(count, np.int32)
        free = np.flatnonzero(self.row < 0)[: len(self.queue)]
        if not len(free):
            return
        rows, runs = (np.array(column) for column in zip(*(self.queue.popleft() for _ in free), strict=True))
        self.row[free], self.run_number[free] = rows, runs
        fresh = self._begin(rows, runs)
        if self.state is None:
            self.state = fresh
            return
        for column, values in zip(tf.nest.flatten(self.state), tf.nest.flatten(fresh), strict=True):
            column[free] = values

    def _begin(self, rows: np.ndarray, runs: np.ndarray) -> State:
        """The states of these examples before the first move, as arrays."""
        problem = self._problem(rows, runs)
        start = self.attack.draw(problem) if self.start is None or runs.any() else self.start[rows]
        if self.start is not None and runs.any():
            first = runs == 0
            start[first] = self.start[rows[first]]
        return tf.nest.map_structure(np.array, self.attack.begin(problem, start))

    def _keep_slots(self, kept: np.ndarray) -> None:
        self.row, self.run_number = self.row[kept], self.run_number[kept]
        self.state = tf.nest.map_structure(lambda column: column[kept], self.state)

    def _shrink(self) -> None:
        """At the end of the queue, halves the batch while what is left fits: a few more traces, half the work."""
        active = np.flatnonzero(self.row >= 0)
        size = len(self.row)
        while not self.queue and size // 2 >= max(len(active), _SMALLEST_BATCH):
            size //= 2
        if size < len(self.row):
            self._keep_slots(np.concatenate([active, np.flatnonzero(self.row < 0)])[:size])

    def _halve(self) -> None:
        """Memory ran out: half of the slots, and what sat in the others begins its run again later."""
        if len(self.row) <= 1:
            raise UserError("memory ran out with batch_size 1; the model needs a machine with more memory")
        self.size = half = len(self.row) // 2
        back = np.flatnonzero(self.row[half:] >= 0) + half
        self.queue.extendleft(zip(self.row[back].tolist(), self.run_number[back].tolist(), strict=True))
        self._keep_slots(np.arange(half))

    def _advance(self) -> None:
        assert self.state is not None
        occupied, before = self.row >= 0, self.state.taken
        until = np.where(occupied, np.minimum(before + self.config.stride, self.config.moves), before).astype(np.int32)
        problem = self._problem(np.maximum(self.row, 0), self.run_number)
        self.state = tf.nest.map_structure(np.array, self.attack.advance(problem, self.state, until))
        # A search that ends early jumps to its last move: it was asked a stride at most.
        self.asked += int(np.minimum(self.state.taken - before, until - before)[occupied].sum())

    def _release(self) -> None:
        """Verifies in float32 who is done, records them, and frees their slots."""
        state = self.state
        assert state is not None
        keep = self.config.keep
        if keep != "closest":
            claimed = np.flatnonzero((self.row >= 0) & state.found & ~self.ever[self.row])
            hit, value = self._verify(claimed, state.best)
            self.ever[self.row[claimed[hit]]] = True
            # A success of a bfloat16 search that float32 does not confirm is no success: the search goes on.
            state.found[claimed[~hit]], state.best_value[claimed[~hit]] = False, value[~hit]
            if keep == "best":
                self._leave(claimed[hit], state.best, value[hit], fooled=True)
        done = np.flatnonzero((self.row >= 0) & (state.taken >= self.config.moves))
        hit, value = self._verify(done, state.x_adv)
        self.ever[self.row[done[hit]]] = True
        found, best_value = state.found[done], state.best_value[done]
        if keep == "closest":
            ends = hit & (~found | (value > best_value))
            self._leave(done[ends], state.x_adv, value[ends], fooled=True)
            rest = done[~ends]
            hit, value = self._verify(rest, state.best)
            self._leave(rest[hit], state.best, value[hit], fooled=True)
            self._leave(rest[~hit], state.best, value[~hit], fooled=False)
            return
        ends = hit | (value >= best_value) | (keep == "last")
        self._leave(done[hit], state.x_adv, value[hit], fooled=True)
        self._leave(done[~hit & ends], state.x_adv, value[~hit & ends], fooled=False)
        self._leave(done[~hit & ~ends], state.best, best_value[~hit & ~ends], fooled=False)

    def _verify(self, slots: np.ndarray, images: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """(success, value) in float32, at a few batch sizes only: powers of two up to the batch."""
        if not len(slots):
            return np.zeros(0, bool), np.zeros(0, np.float32)
        size = min(1 << max(int(len(slots) - 1).bit_length(), 3), max(len(self.row), 8))
        padded = np.resize(slots, size)
        hit, value, _ = self.attack.judge(self._problem(self.row[padded], self.run_number[padded]), images[padded])
        return hit[: len(slots)], value[: len(slots)]

    def _leave(self, slots: np.ndarray, images: np.ndarray, value: np.ndarray, *, fooled: bool) -> None:
        """Records what these slots found; what has runs left goes to the back of the queue.

        A success ends the example, except where the closest one is sought.
        """
        if not len(slots):
            return
        rows = self.row[slots]
        if fooled:
            better = ~self.adversarial[rows] | (value > self.value[rows])
        else:
            better = ~self.adversarial[rows] & (value >= self.value[rows])
        self.result[rows[better]] = images[slots[better]]
        self.value[rows[better]] = value[better]
        self.adversarial[rows] |= fooled
        self.ever[rows] |= fooled
        again = self.run_number[slots] + 1 < self.config.runs
        if fooled and self.config.keep != "closest":
            again[:] = False
        self.queue.extend(zip(rows[again].tolist(), (self.run_number[slots[again]] + 1).tolist(), strict=True))
        self.finished += int((~again).sum())
        self.row[slots] = -1
