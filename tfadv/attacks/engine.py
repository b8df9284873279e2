"""Runs a first-order attack over a data set: compiled, in bfloat16 where that pays, with no work spent on fooled rows.

The batch is a set of slots. An example sits in a slot for a few steps at a time; when it is fooled, or has taken its
steps, the next one moves in. So the compiled program sees one shape, the batch stays full until the queue is empty,
and a fooled example costs nothing more. At the end of the queue the batch halves as slots empty.
"""

from __future__ import annotations

import collections
import dataclasses
import functools
from collections.abc import Callable
from typing import Any

import numpy as np
import tensorflow as tf

from tfadv import devices
from tfadv.attacks.fgm import Fgm
from tfadv.attacks.pgd import Pgd, Progress, advance, begin, look, measure, move, unit_starts
from tfadv.models.predictor import predictor
from tfadv.validation import UserError, check_images, check_labels, check_logits

# Steps between two looks at who may leave: fewer waste bookkeeping, more waste steps on rows that are already fooled.
_STRIDE = 5
_DEFAULT_BATCH_SIZE = 500
_SMALLEST_BATCH = 32


@dataclasses.dataclass(frozen=True)
class Outcome:
    """What an attack found.

    Attributes:
        x_adv: float32 [N, ...], in ball and box.
        adversarial: bool [N]; x_adv is misclassified, verified in float32.
        ever_adversarial: bool [N]; some iterate was, verified in float32. The same for keep="best"; for keep="last" it
            counts what returning the last iterate throws away.
        gradient_evaluations: gradients computed, counted per image.
        precision: of the search, "float32" or "bfloat16".
    """

    x_adv: np.ndarray
    adversarial: np.ndarray
    ever_adversarial: np.ndarray
    gradient_evaluations: int
    precision: str


class _Programs:
    """A `tf.function` as one program for each batch shape, traced when first met; any_batch makes one for all of them.

    Calling the function itself would do the same, but TensorFlow warns of retracing when a few shapes are met on
    purpose, and also when many short-lived attacks trace once each.
    """

    def __init__(self, function: Any, any_batch: bool = False) -> None:
        self._function, self._any_batch = function, any_batch
        self.traced: dict[tuple[Any, ...], Callable[..., Any]] = {}

    def __call__(self, *arguments: Any) -> Any:
        tensors = tf.nest.map_structure(tf.convert_to_tensor, arguments)
        specs = [self._spec(tensor) for tensor in tf.nest.flatten(tensors)]
        key = tuple((tuple(spec.shape), spec.dtype) for spec in specs)
        if key not in self.traced:
            self.traced[key] = self._function.get_concrete_function(*tf.nest.pack_sequence_as(tensors, specs))
        return self.traced[key](*tensors)

    def _spec(self, tensor: tf.Tensor) -> tf.TensorSpec:
        return tf.TensorSpec([None, *tensor.shape[1:]] if self._any_batch else tensor.shape, tensor.dtype)


class CompiledAttack:
    """A first-order attack bound to a model; make it with `compiled`."""

    def __init__(self, model: Any, config: Pgd | Fgm, *, jit: str, precision: str, batch_size: int | None) -> None:
        if batch_size is not None and batch_size < 1:
            raise UserError(f"batch_size must be at least 1, got {batch_size}")
        self.config = config
        self._pgd = config.as_pgd() if isinstance(config, Fgm) else config
        self._predict = predictor(model)
        self._bfloat16 = devices.wants_bfloat16(precision)
        self._batch_size = batch_size or _DEFAULT_BATCH_SIZE
        self._classes: int | None = None
        # The programs always remember the best iterate; whether an example leaves when it is fooled, and with which
        # iterate, is decided between them.
        settings = dataclasses.replace(self._pgd, keep="best")
        # Nothing here needs AutoGraph, which would hide the type of an error that arises while a model is traced.
        compile_options = {"autograph": False, **({"jit_compile": True} if devices.wants_xla(jit) else {})}

        @tf.function(**compile_options)
        def advance_batch(x, y, state, epsilon, step_size, until):  # type: ignore[no-untyped-def]
            return advance(self._predict, x, y, Progress(*state), epsilon, step_size, until, config=settings)

        @tf.function(**compile_options)
        def measure_batch(x_adv, y):  # type: ignore[no-untyped-def]
            return measure(self._predict, x_adv, y, settings.objective)

        @tf.function(**compile_options)
        def move_batch(x, state, measured, epsilon, step_size, until):  # type: ignore[no-untyped-def]
            return move(x, Progress(*state), measured, epsilon, step_size, until, config=settings)

        @tf.function(**compile_options)
        def look_batch(x, y):  # type: ignore[no-untyped-def]
            return look(self._predict(x), y, settings.objective)

        @functools.cache
        def draws_of(shape: tuple[int, ...]) -> _Programs:
            @tf.function
            def draw(examples, restarts):  # type: ignore[no-untyped-def]
                return unit_starts(examples, restarts, shape, config=settings)

            return _Programs(draw, any_batch=True)

        self._draws_of = draws_of
        self._look = _Programs(look_batch, any_batch=True)
        self._advance, self._measure, self._move = map(_Programs, (advance_batch, measure_batch, move_batch))

    @property
    def precision(self) -> str:
        """Precision of the search; successes are always verified in float32."""
        return "bfloat16" if self._bfloat16 else "float32"

    @property
    def traces(self) -> int:
        """Number of programs traced so far: one for each batch shape."""
        return len(self._measure.traced if self._bfloat16 else self._advance.traced)

    def __call__(self, x: Any, y: Any, start: Any = None) -> tf.Tensor:
        """Adversarial images for `x` [N, ...] with labels `y`, like x; `start` as in `run`."""
        return tf.constant(self.run(x, y, start).x_adv)

    def run(
        self,
        x: Any,
        y: Any,
        start: Any = None,
        *,
        index: Any = None,
        progress: Callable[[int, int], None] | None = None,
    ) -> Outcome:
        """Attacks every example of `x`.

        Args:
            x: images in the config's bounds, [N, ...].
            y: labels, int [N] or distributions [N, K].
            start: [N, ...], where to begin; None draws it from the config's seed (or takes x without random_start).
                With restarts, the first start only.
            index: int [N], which number each example has in its data set, so that a subset starts where the whole
                would; None numbers them 0..N-1.
            progress: called with (examples finished, N).

        Raises:
            UserError: images, labels or starts of the wrong shape, range or type; a model that gives probabilities.
        """
        config = self._pgd
        x = check_images(x, config.bounds)
        if not len(x):
            raise UserError("x must hold at least one image, got an empty batch")
        if self._classes is None:
            logits = self._predict(tf.constant(x[:_SMALLEST_BATCH]))
            check_logits(logits)
            self._classes = int(logits.shape[-1])
        y = check_labels(y, len(x), self._classes)
        if isinstance(self.config, Fgm):
            start = None  # The one step of the method leaves from x.
        if start is not None:
            start = np.asarray(start, np.float32)
            if start.shape != x.shape:
                raise UserError(f"start must have the shape of x, {x.shape}, got {start.shape}")
            if not np.isfinite(start).all():
                raise UserError("start must be finite, got NaN or infinity; a start outside ball and box is projected")
        index = np.arange(len(x)) if index is None else np.asarray(index)
        if index.shape != (len(x),):
            raise UserError(f"index must hold one number for each of the {len(x)} images, got shape {index.shape}")
        return _Session(self, x, y, start, index.astype(np.int32), progress).run()


class _Session:
    """One call: the queue, the slots, and the results so far."""

    def __init__(self, attack: CompiledAttack, x, y, start, index, progress) -> None:  # type: ignore[no-untyped-def]
        self.attack, self.config = attack, attack._pgd
        self.x, self.y, self.start, self.index, self.progress = x, y, start, index, progress
        count = len(x)
        self.epsilon = self._each(self.config.epsilon, "epsilon")
        self.step_size = self._each(self.config.step_size, "step_size")
        self.queue = collections.deque((row, 0) for row in range(count))
        self.result, self.value = x.copy(), np.full(count, -np.inf, np.float32)
        self.adversarial, self.ever = np.zeros(count, bool), np.zeros(count, bool)
        self.finished, self.evaluations = 0, 0
        self._open(min(attack._batch_size, count))

    def _each(self, value: Any, name: str) -> np.ndarray:
        values = np.asarray(value, np.float32)
        if values.ndim and len(values) != len(self.x):
            raise UserError(f"{name} must be a number or one for each of the {len(self.x)} examples, got {len(values)}")
        return np.broadcast_to(values, [len(self.x)]).astype(np.float32)

    def _open(self, size: int) -> None:
        """Makes `size` empty slots; an empty slot computes on whatever stands in it and takes no step."""
        self.row = np.full(size, -1)
        self.restart, self.until = np.zeros(size, np.int32), np.zeros(size, np.int32)
        self.state = Progress(
            np.repeat(self.x[:1], size, axis=0),
            np.repeat(self.x[:1], size, axis=0),
            np.full(size, -np.inf, np.float32),
            np.zeros(size, bool),
            np.zeros(size, np.int32),
        )

    def run(self) -> Outcome:
        while self.queue or (self.row >= 0).any():
            self._fill()
            self._shrink()
            self._advance()
            self._release()
        return Outcome(self.result, self.adversarial, self.ever, self.evaluations, self.attack.precision)

    def _fill(self) -> None:
        """Moves examples from the queue into empty slots."""
        free = np.flatnonzero(self.row < 0)[: len(self.queue)]
        if not len(free):
            return
        rows, restarts = (np.array(column) for column in zip(*(self.queue.popleft() for _ in free), strict=True))
        self.row[free], self.restart[free] = rows, restarts
        start = self.x[rows]
        if self.config.random_start:
            radius = self.epsilon[rows].reshape([-1] + [1] * (self.x.ndim - 1))
            drawn = self.attack._draws_of(self.x.shape[1:])(self.index[rows], restarts.astype(np.int32)).numpy()
            start = start + radius * drawn
        if self.start is not None:
            given = restarts == 0
            start[given] = self.start[rows[given]]
        fresh = begin(tf.constant(self.x[rows]), tf.constant(start), self.epsilon[rows], config=self.config)
        for column, values in zip(self.state, fresh, strict=True):
            column[free] = values.numpy()

    def _shrink(self) -> None:
        """At the end of the queue, halves the batch while what is left fits: a few more traces, half the work."""
        active = np.flatnonzero(self.row >= 0)
        size = len(self.row)
        while not self.queue and size // 2 >= max(len(active), _SMALLEST_BATCH):
            size //= 2
        if size < len(self.row):
            kept = np.concatenate([active, np.flatnonzero(self.row < 0)])[:size]
            self.row, self.restart = self.row[kept], self.restart[kept]
            self.state = Progress(*(column[kept] for column in self.state))

    def _advance(self) -> None:
        rows, occupied = np.maximum(self.row, 0), self.row >= 0
        before = self.state.taken
        until = np.where(occupied, np.minimum(before + _STRIDE, self.config.steps), before).astype(np.int32)
        x, y, radius, step = self.x[rows], self.y[rows], self.epsilon[rows], self.step_size[rows]
        state: tuple[Any, ...] = tuple(self.state)
        if self.attack._bfloat16:
            # The option rewrites every operation between two matrix products, also the projection (seen: |delta| 0.1035
            # for epsilon 0.1). So the gradient is one program, in bfloat16, and the step another, without products.
            for _ in range(int((until - before).max())):
                with devices.matrix_products(bfloat16=True):
                    measured = self.attack._measure(state[0], y)
                state = self.attack._move(x, state, measured, radius, step, until)
        else:
            with devices.matrix_products(bfloat16=False):
                state = self.attack._advance(x, y, state, radius, step, until)
        self.state = Progress(*(np.array(column) for column in state))
        self.evaluations += int((self.state.taken - before)[occupied].sum())

    def _release(self) -> None:
        """Verifies in float32 who is done, records them, and frees their slots."""
        state, occupied = self.state, self.row >= 0
        claimed = np.flatnonzero(occupied & state.found & ~self.ever[self.row])
        wrong, value = self._verify(claimed, state.best)
        self.ever[self.row[claimed[wrong]]] = True
        # A success of a bfloat16 search that float32 does not confirm is no success: the search goes on.
        state.found[claimed[~wrong]], state.best_value[claimed[~wrong]] = False, value[~wrong]
        if self.config.keep == "best":
            self._leave(claimed[wrong], state.best, value[wrong], fooled=True)
        done = np.flatnonzero((self.row >= 0) & (state.taken >= self.config.steps))
        wrong, value = self._verify(done, state.x_adv)
        self.ever[self.row[done[wrong]]] = True
        last = wrong | (value >= state.best_value[done]) | (self.config.keep == "last")
        self._leave(done[wrong], state.x_adv, value[wrong], fooled=True)
        self._leave(done[~wrong & last], state.x_adv, value[~wrong & last], fooled=False)
        self._leave(done[~wrong & ~last], state.best, state.best_value[done[~wrong & ~last]], fooled=False)
        if self.progress is not None:
            self.progress(self.finished, len(self.x))

    def _verify(self, slots: np.ndarray, images: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """(misclassified, objective) in float32, at a few batch sizes only: powers of two up to the batch."""
        if not len(slots):
            return np.zeros(0, bool), np.zeros(0, np.float32)
        size = min(1 << max(int(len(slots) - 1).bit_length(), 3), max(len(self.row), 8))
        padded = np.resize(slots, size)
        with devices.matrix_products(bfloat16=False):
            wrong, value = self.attack._look(images[padded], self.y[self.row[padded]])
            return wrong.numpy()[: len(slots)], value.numpy()[: len(slots)]

    def _leave(self, slots: np.ndarray, images: np.ndarray, value: np.ndarray, *, fooled: bool) -> None:
        """Records what these slots found; an unfooled example with restarts left goes to the back of the queue."""
        if not len(slots):
            return
        rows = self.row[slots]
        better = np.ones(len(slots), bool) if fooled else value >= self.value[rows]
        self.result[rows[better]] = images[slots[better]]
        self.value[rows[better]] = value[better]
        self.adversarial[rows] |= fooled
        again = np.zeros(len(slots), bool) if fooled else self.restart[slots] + 1 < self.config.restarts
        self.queue.extend(zip(rows[again].tolist(), (self.restart[slots[again]] + 1).tolist(), strict=True))
        self.finished += int((~again).sum())
        self.row[slots] = -1


def compiled(
    model: Any, config: Pgd | Fgm, *, jit: str = "auto", precision: str = "auto", batch_size: int | None = None
) -> CompiledAttack:
    """Binds a first-order attack to a model and compiles it.

    Args:
        model: a Keras model, a SavedModel, or any callable from images in [0, 1] to logits; its variables are not
            touched, and it runs in inference mode.
        config: `Pgd` or `Fgm`.
        jit: "on" compiles by XLA, "off" to a TensorFlow graph, "auto" chooses by device (`devices.wants_xla`).
        precision: of the search: "float32", "bfloat16", or "auto" (`devices.wants_bfloat16`). Every success is verified
            in float32; only a "float32" search may be reported as an all-float32 attack.
        batch_size: slots; None is 500.

    Returns:
        A callable (x, y, start=None) -> x_adv that keeps its compiled programs between calls.

    Raises:
        UserError: a batch size below 1, an unknown `jit` or `precision`.
    """
    return CompiledAttack(model, config, jit=jit, precision=precision, batch_size=batch_size)
