"""Several attacks in turn, each on what the ones before could not fool: the worst case for every example."""

from __future__ import annotations

import dataclasses
import os
import pathlib
import time
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import tensorflow as tf

from tfadv.attacks import saved
from tfadv.attacks.engine import Programs
from tfadv.attacks.passes import bind
from tfadv.attacks.search import Attack
from tfadv.models.predictor import predictor
from tfadv.validation import UserError, check_images, check_labels, check_logits


@dataclasses.dataclass(frozen=True)
class Stage:
    """What one attack of a cascade added.

    Attributes:
        attack: its config's class name and fields.
        attacked: examples that it was given.
        fooled: how many of them it fooled.
        robust_accuracy: share of all examples that no attack up to this one fooled, in [0, 1].
        seconds: wall time, tracing included.
        gradient_evaluations, queries, precision: as in `Outcome`.
    """

    attack: dict[str, Any]
    attacked: int
    fooled: int
    robust_accuracy: float
    seconds: float
    gradient_evaluations: int
    queries: int
    precision: str


@dataclasses.dataclass(frozen=True)
class CascadeOutcome:
    """What a cascade found.

    Attributes:
        x_adv: float32 [N, ...]; the image itself where it is misclassified already or nothing fooled it.
        adversarial: bool [N], misclassified within the threat model, verified in float32.
        broken_by: int [N], number of the stage that fooled the example; -1 where none did, -2 misclassified already.
        clean_accuracy: in [0, 1].
        stages: one for each attack, in order.
    """

    x_adv: np.ndarray
    adversarial: np.ndarray
    broken_by: np.ndarray
    clean_accuracy: float
    stages: tuple[Stage, ...]

    @property
    def robust_accuracy(self) -> float:
        """Share of examples that are classified correctly after every attack, in [0, 1]."""
        return float((~self.adversarial).mean())


_UNBROKEN, _WRONG = -1, -2


class Cascade:
    """Attacks bound to one model, run in order on the survivors.

    Args:
        model, jit, precision, batch_size: as in `tfadv.attacks.compiled`.
        configs: the attacks; all of one norm and bounds.

    Raises:
        UserError: no attack, or whatever `compiled` refuses.
    """

    def __init__(
        self,
        model: Any,
        configs: Sequence[Attack],
        *,
        jit: str = "auto",
        precision: str = "auto",
        batch_size: int | None = None,
    ) -> None:
        if not configs:
            raise UserError("configs must hold at least one attack, got none")
        for config in configs:
            radius: Any = getattr(config, "epsilon", None)
            if np.ndim(radius):
                raise UserError(
                    f"{type(config).__name__} in a cascade must have one epsilon for all examples, got "
                    f"{len(radius)}; the survivors of an attack are given to the next"
                )
        self.configs = tuple(configs)
        self._predict = predictor(model)
        self._attacks = [
            bind(self._predict, config, jit=jit, precision=precision, batch_size=batch_size) for config in self.configs
        ]
        self._forward = Programs(tf.function(self._predict, autograph=False), any_batch=True)

    def run(
        self,
        x: Any,
        y: Any,
        *,
        index: Any = None,
        progress: Callable[[int, int], None] | None = None,
        on_stage: Callable[[Stage], None] | None = None,
        state: str | os.PathLike | None = None,
    ) -> CascadeOutcome:
        """Attacks every example until one attack fools it.

        Args:
            x, y, index: as in `CompiledAttack.run`.
            progress: called with (examples done in all stages, N times the number of stages).
            on_stage: called with each stage when it is complete.
            state: a file that is saved to after each stage, and every half minute within one (FILE.stage); a killed
                run continues from it with the same result. Both are removed when all is done.

        Raises:
            UserError: as in `CompiledAttack.run`.
        """
        first = self._attacks[0]
        x = check_images(x, first.config.bounds)
        if not len(x):
            raise UserError("x must hold at least one image, got an empty batch")
        size = first.batch_size
        logits = np.concatenate([self._forward(x[at : at + size]).numpy() for at in range(0, len(x), size)])
        check_logits(logits, len(x))
        y = check_labels(y, len(x), logits.shape[1])
        index = np.arange(len(x)) if index is None else np.asarray(index)
        wrong = logits.argmax(axis=1) != y
        x_adv, broken_by = x.copy(), np.where(wrong, _WRONG, _UNBROKEN)
        stages: list[Stage] = []
        identity = {
            **saved.identity(first.config, first.precision, size, (x, y, index)),
            "attack": [saved.describe(config) for config in self.configs],
        }
        found = None if state is None else saved.read(state, identity, logits)
        if found is not None:
            stages = [Stage(**values) for values in found[0]["stages"]]
            x_adv, broken_by = found[1]["x_adv"], found[1]["broken_by"]
        within = None if state is None else f"{os.fspath(state)}.stage"
        for number, attack in enumerate(self._attacks):
            if number < len(stages):
                continue
            rows = np.flatnonzero(broken_by == _UNBROKEN)
            stages.append(self._stage(attack, number, rows, x, y, index, x_adv, broken_by, progress, within))
            if state is not None:
                about = {**identity, "stages": [dataclasses.asdict(stage) for stage in stages]}
                saved.write(state, about, logits, {"x_adv": x_adv, "broken_by": broken_by})
            if on_stage is not None:
                on_stage(stages[-1])
        if state is not None:
            pathlib.Path(state).unlink(missing_ok=True)
        return CascadeOutcome(x_adv, broken_by != _UNBROKEN, broken_by, float(1 - wrong.mean()), tuple(stages))

    def __call__(self, x: Any, y: Any) -> tf.Tensor:
        """Adversarial images for `x` [N, ...] with labels `y`, like x."""
        return tf.constant(self.run(x, y).x_adv)

    def _stage(self, attack, number, rows, x, y, index, x_adv, broken_by, progress, state) -> Stage:  # type: ignore[no-untyped-def]
        """Runs one attack on `rows`, and writes what it fooled into x_adv and broken_by."""
        began, fooled, evaluations, queries = time.monotonic(), 0, 0, 0
        precision = attack.precision
        done = number * len(x) + len(x) - len(rows)

        def within(finished: int, total: int) -> None:
            del total
            progress(done + finished, len(self._attacks) * len(x))

        if len(rows):
            outcome = attack.run(
                x[rows], y[rows], index=index[rows], progress=within if progress is not None else None, state=state
            )
            hit = rows[outcome.adversarial]
            x_adv[hit], broken_by[hit] = outcome.x_adv[outcome.adversarial], number
            fooled, evaluations, queries = len(hit), outcome.gradient_evaluations, outcome.queries
            precision = outcome.precision
        return Stage(
            attack=saved.describe(attack.config),
            attacked=len(rows),
            fooled=fooled,
            robust_accuracy=float((broken_by == _UNBROKEN).mean()),
            seconds=time.monotonic() - began,
            gradient_evaluations=evaluations,
            queries=queries,
            precision=precision,
        )
