"""Compiles an attack for a model and runs it over a data set, in bfloat16 where that pays.

The programs that an attack needs are traced once for each batch shape; `slots.Session` decides who is in the batch.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

import numpy as np
import tensorflow as tf

from tfadv import devices
from tfadv.attacks import search
from tfadv.attacks.search import Attack
from tfadv.attacks.slots import Outcome, Session
from tfadv.attacks.spread import gathered, place_of, replicas_here, spread
from tfadv.models.predictor import predictor
from tfadv.validation import UserError, check_images, check_labels, check_logits

_DEFAULT_BATCH_SIZE = 500
_FIRST_LOOK = 32


class Programs:
    """A `tf.function` as one program for each batch shape, traced when first met; any_batch makes one for all of them.

    Calling the function itself would do the same, but TensorFlow warns of retracing when a few shapes are met on
    purpose, and also when many short-lived attacks trace once each.
    """

    def __init__(self, function: Any, any_batch: bool = False) -> None:
        self._function, self._any_batch = function, any_batch
        self.traced: dict[tuple[Any, ...], Callable[..., Any]] = {}

    def __call__(self, *arguments: Any) -> Any:
        tensors = tf.nest.map_structure(tf.convert_to_tensor, arguments)
        flat = tf.nest.flatten(tensors)
        specs = [self._spec(tensor) for tensor in flat]
        key = tuple((tuple(spec.shape), spec.dtype) for spec in specs)
        if key not in self.traced:
            self.traced[key] = self._function.get_concrete_function(*tf.nest.pack_sequence_as(tensors, specs))
        return self.traced[key](*tensors)

    def _spec(self, tensor: tf.Tensor) -> tf.TensorSpec:
        return tf.TensorSpec([None, *tensor.shape[1:]] if self._any_batch else tensor.shape, tensor.dtype)


class CompiledAttack:
    """An attack bound to a model; `tfadv.attacks.compiled` makes it and says what the arguments are.

    Made inside `strategy.scope()`, it runs on all replicas of that `tf.distribute` strategy.
    """

    def __init__(self, model: Any, config: Attack, *, jit: str, precision: str, batch_size: int | None) -> None:
        if not isinstance(config, Attack):
            raise UserError(f"config must be an attack of tfadv.attacks, such as Pgd(...), got {type(config).__name__}")
        if batch_size is not None:
            search.check_count("batch_size", batch_size)
        self.config = config
        self.batch_size = batch_size or _DEFAULT_BATCH_SIZE
        self._predict = predictor(model)
        # A minimum-norm search ends on the decision boundary, which lies elsewhere in bfloat16.
        self._bfloat16 = devices.wants_bfloat16(precision) and config.bfloat16 and config.keep != "closest"
        self._classes: int | None = None
        # Nothing here needs AutoGraph, which would hide the type of an error that arises while a model is traced.
        plain: dict[str, Any] = {"autograph": False}
        options = {**plain, "jit_compile": True} if devices.wants_xla(jit) else plain
        self._strategy = strategy = tf.distribute.get_strategy()

        # Untyped, because tf.function hides types; structures arrive as plain tuples.
        @tf.function(**options)
        def advance(problem, state, until):  # type: ignore[no-untyped-def]
            return search.advance(config, self._predict, search.Problem(*problem), search.State(*state), until)

        @tf.function(**options)
        def measure(problem, state):  # type: ignore[no-untyped-def]
            return config.measure(self._predict, search.Problem(*problem), search.State(*state))

        @tf.function(**options)
        def follow(problem, state, measured, until):  # type: ignore[no-untyped-def]
            return search.follow(config, search.Problem(*problem), search.State(*state), measured, until)

        searching = [advance, measure, follow]
        if replicas_here(strategy) > 1:
            searching = [tf.function(spread(each, strategy), **plain) for each in searching]

        # These three run outside XLA, which would draw other random numbers and compile anew for every batch size.
        @tf.function(**plain)
        def draw(problem):  # type: ignore[no-untyped-def]
            return config.draw(search.Problem(*problem))

        @tf.function(**plain)
        def begin(problem, start):  # type: ignore[no-untyped-def]
            return config.begin(self._predict, search.Problem(*problem), start)

        @tf.function(**plain)
        def judge(problem, x_adv):  # type: ignore[no-untyped-def]
            logits = self._predict(x_adv)
            return (*config.judge(search.Problem(*problem), x_adv, logits), logits)

        self._advance, self._measure, self._follow = map(Programs, searching)
        self._draw, self._begin, self._judge = (Programs(each, any_batch=True) for each in (draw, begin, judge))

    @property
    def precision(self) -> str:
        """Precision of the search; successes are always verified in float32."""
        return "bfloat16" if self._bfloat16 else "float32"

    @property
    def traces(self) -> int:
        """Number of programs traced so far: one for each batch shape."""
        return len(self._measure.traced if self._bfloat16 else self._advance.traced)

    def draw(self, problem: search.Problem) -> np.ndarray:
        """Where these examples start, by the config's seed."""
        return self._draw(tuple(problem)).numpy()

    def begin(self, problem: search.Problem, start: np.ndarray) -> search.State:
        """Their states before the first move."""
        with devices.matrix_products(bfloat16=False):
            return search.State(*self._begin(tuple(problem), start))

    def advance(self, problem: search.Problem, state: search.State, until: np.ndarray) -> search.State:
        """Their states after `until` [B] moves each, searched in this attack's precision."""
        values: tuple[Any, ...] = tuple(state)
        if self._bfloat16:
            # The option rewrites every operation between two matrix products, also a projection (seen: |delta| 0.1035
            # for epsilon 0.1). So the measurement is one program, in bfloat16, and the move another.
            for _ in range(int((until - state.taken).max())):
                with devices.matrix_products(bfloat16=True):
                    measured = self._measure(tuple(problem), values)
                with devices.matrix_products(bfloat16=False):
                    values = tuple(self._follow(tuple(problem), values, measured, until))
        else:
            with devices.matrix_products(bfloat16=False):
                values = tuple(self._advance(tuple(problem), values, until))
        return search.State(*values)

    def judge(self, problem: search.Problem, x_adv: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """(success [B], value [B], logits [B, K]) of points, in float32."""
        with devices.matrix_products(bfloat16=False):
            success, value, logits = self._judge(tuple(problem), x_adv)
            return success.numpy(), value.numpy(), logits.numpy()

    def succeeds(self, x: Any, y: Any, x_adv: Any) -> np.ndarray:
        """Whether `x_adv` is what the attack wants of `x` on this model, bool [N], judged in float32."""
        x, x_adv = check_images(x, self.config.bounds), check_images(x_adv, self.config.bounds, name="x_adv")
        y = check_labels(y, len(x))
        radius = getattr(self.config, "epsilon", None)
        radius = np.broadcast_to(np.asarray(np.inf if radius is None else radius, np.float32), [len(x)])
        chunks = [slice(at, at + self.batch_size) for at in range(0, len(x), self.batch_size)]
        problems = [
            search.problem_of(
                self.config, tf.constant(x[rows]), tf.constant(y[rows]), epsilon=radius[rows], step_size=0.0
            )
            for rows in chunks
        ]
        return np.concatenate([self.judge(each, x_adv[rows])[0] for each, rows in zip(problems, chunks, strict=True)])

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
        state: str | os.PathLike | None = None,
    ) -> Outcome:
        """Attacks every example of `x`.

        Args:
            x: images in the config's bounds, [N, ...].
            y: labels, int [N] or distributions [N, K]; of a targeted attack, the classes to reach.
            start: [N, ...], where to begin; None draws it from the config's seed (or takes x without random_start).
                With restarts, the first start only.
            index: int [N], which number each example has in its data set, so that a subset starts where the whole
                would; None numbers them 0..N-1.
            progress: called with (examples finished, N).
            state: a file that the search is saved to every half minute, and continued from if it exists; it is
                removed when the search is complete. A killed run that continues ends with the same result.

        Raises:
            UserError: images, labels or starts of the wrong shape, range or type; a model that gives probabilities; a
                state file of another model, data or attack.
        """
        x = check_images(x, self.config.bounds)
        if not len(x):
            raise UserError("x must hold at least one image, got an empty batch")
        if self._classes is None:
            logits = self._predict(tf.constant(x[:_FIRST_LOOK]))
            check_logits(logits, min(len(x), _FIRST_LOOK))
            self._classes = int(logits.shape[-1])
        y = check_labels(y, len(x), self._classes)
        if start is not None:
            start = np.asarray(start, np.float32)
            if start.shape != x.shape:
                raise UserError(f"start must have the shape of x, {x.shape}, got {start.shape}")
            if not np.isfinite(start).all():
                raise UserError("start must be finite, got NaN or infinity; a start outside ball and box is projected")
        index = np.arange(len(x)) if index is None else np.asarray(index)
        if index.shape != (len(x),):
            raise UserError(f"index must hold one number for each of the {len(x)} images, got shape {index.shape}")
        index = index.astype(np.int32)
        number, processes = place_of(self._strategy)
        # Fewer examples than processes: each process does them all.
        if processes == 1 or len(x) < processes:
            return Session(self, x, y, start, index, progress, state).run()
        own = np.arange(number, len(x), processes)
        start = None if start is None else start[own]
        state = None if state is None else f"{os.fspath(state)}.{number}"
        found = Session(self, x[own], y[own], start, index[own], progress, state).run()

        def everywhere(values: np.ndarray) -> np.ndarray:
            return gathered(self._strategy, values)

        order = np.argsort(everywhere(own))
        gradients, queries = everywhere(np.array([[found.gradient_evaluations, found.queries]])).sum(axis=0)
        return Outcome(
            everywhere(found.x_adv)[order],
            everywhere(found.adversarial)[order],
            everywhere(found.ever_adversarial)[order],
            int(gradients),
            int(queries),
            found.precision,
        )
