"""precision="both": a cheap search in bfloat16 first, then all of what it leaves again in float32, where that pays."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Callable
from typing import Any

import numpy as np
import tensorflow as tf

from tfadv import devices
from tfadv.attacks.engine import CompiledAttack
from tfadv.attacks.search import Attack, check_choice
from tfadv.attacks.slots import Outcome

PRECISIONS = (*devices.PRECISIONS, "both")

# Examples that the first pass is tried on, and the share of them that may survive it. A first pass that is twice as
# fast costs half of the second, and saves it the fooled examples, which were soon done with anyway: of a pilot of which
# more than half survive it cannot save what it costs.
_PILOT, _LARGEST_SHARE = 100, 0.5


class TwoPasses:
    """An attack whose survivors have all been searched in float32, made like a `CompiledAttack`."""

    def __init__(self, model: Any, config: Attack, *, jit: str, batch_size: int | None) -> None:
        self.config = config
        self._first = CompiledAttack(model, config, jit=jit, precision="bfloat16", batch_size=batch_size)
        self._second = CompiledAttack(model, config, jit=jit, precision="float32", batch_size=batch_size)
        self.batch_size = self._second.batch_size
        self.precision = "both"

    def __call__(self, x: Any, y: Any, start: Any = None) -> tf.Tensor:
        """Adversarial images for `x` [N, ...] with labels `y`, like x; `start` as in `CompiledAttack.run`."""
        return tf.constant(self.run(x, y, start).x_adv)

    def succeeds(self, x: Any, y: Any, x_adv: Any) -> np.ndarray:
        """As `CompiledAttack.succeeds`."""
        return self._second.succeeds(x, y, x_adv)

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
        """As `CompiledAttack.run`; the outcome's `precision` says what was done, and why."""
        each = any(np.ndim(getattr(self.config, name, 0.0)) for name in ("epsilon", "step_size"))
        # Without a second kind of arithmetic, or with settings that belong to rows, there is nothing to choose.
        if self._first.precision == "float32" or each or not len(np.asarray(x)) or self.config.keep == "last":
            return self._second.run(x, y, start, index=index, progress=progress, state=state)
        x, y = np.asarray(x), np.asarray(y)
        index = np.arange(len(x)) if index is None else np.asarray(index)

        def of(rows: np.ndarray) -> dict[str, Any]:
            return {"start": None if start is None else np.asarray(start)[rows], "index": index[rows]}

        pilot = np.sort(np.random.default_rng(0).permutation(len(x))[:_PILOT])
        tried = self._first.run(x[pilot], y[pilot], **of(pilot))
        survivors = int((~tried.adversarial).sum())
        why = f"{survivors} of {len(pilot)} survived a bfloat16 pilot"
        if survivors > _LARGEST_SHARE * len(pilot):
            found = self._second.run(x, y, start, index=index, progress=progress, state=state)
            return dataclasses.replace(
                found,
                gradient_evaluations=found.gradient_evaluations + tried.gradient_evaluations,
                queries=found.queries + tried.queries,
                precision=f"float32 ({why})",
            )
        first = self._first.run(x, y, start, index=index, state=None if state is None else f"{os.fspath(state)}.first")
        left = np.flatnonzero(~first.adversarial)
        parts = [tried, first]
        x_adv, adversarial, ever = first.x_adv.copy(), first.adversarial.copy(), first.ever_adversarial.copy()
        if len(left):
            done = len(x) - len(left)

            def within(finished: int, total: int) -> None:
                del total
                assert progress is not None
                progress(done + finished, len(x))

            second = self._second.run(
                x[left], y[left], **of(left), progress=None if progress is None else within, state=state
            )
            x_adv[left], adversarial[left] = second.x_adv, second.adversarial
            ever[left] |= second.ever_adversarial
            parts.append(second)
        return Outcome(
            x_adv,
            adversarial,
            ever,
            sum(part.gradient_evaluations for part in parts),
            sum(part.queries for part in parts),
            f"bfloat16, what it left again in float32 ({why})",
        )


def bind(model: Any, config: Attack, *, jit: str, precision: str, batch_size: int | None) -> Any:
    """The attack compiled in the precision that is asked for: a `CompiledAttack`, or `TwoPasses` for "both"."""
    check_choice("precision", precision, PRECISIONS)
    if precision == "both":
        return TwoPasses(model, config, jit=jit, batch_size=batch_size)
    return CompiledAttack(model, config, jit=jit, precision=precision, batch_size=batch_size)
