"""The model under evaluation on its examples: who is broken so far, and the means to attack further."""

from __future__ import annotations

import dataclasses
import time
from typing import Any

import numpy as np
import tensorflow as tf

from tfadv import attacks
from tfadv.attacks.engine import Programs
from tfadv.balls import BALLS
from tfadv.data.subset import stratified_subset
from tfadv.evaluation.suites import name_of
from tfadv.evaluation.verdict import allowed
from tfadv.models.predictor import predictor
from tfadv.progress import Progress
from tfadv.report.records import AttackResult

# Rounding of x + delta in float32 near 1 is 6e-8; a hundred of them are still no larger perturbation.
SIZE_TOLERANCE = 1e-5
_FORWARD_BATCH = 500


@dataclasses.dataclass(frozen=True)
class Crafted:
    """What one attack made of some examples.

    Attributes:
        x_adv: float32 [m, ...].
        fooled: bool [m], misclassified in float32 and inside the attack's own ball and box.
        discarded: bool [m], some iterate fooled the model but x_adv, which the attack returned, does not.
        seconds: wall time, tracing included.
        gradients, queries: of the model, counted for each image.
        precision: of the search.
    """

    x_adv: np.ndarray
    fooled: np.ndarray
    discarded: np.ndarray
    seconds: float
    gradients: int
    queries: int
    precision: str


class Subject:
    """One model, its examples and one threat model; rows come in from the suite, further examples from the checks.

    Attributes:
        plain: images -> logits, not compiled; attacks trace it themselves, or they could not see its convolutions.
        x, y: float32 [n, ...], int32 [n].
        index: int [n], which number each example has in its data set; random numbers follow from it.
        logits: float32 [n, K], of the clean images; predictions: int [n].
        norm, epsilon, bounds, seed: the threat model, and the seed of everything.
        rows: results of the suite so far, in order. white, transferred: the same by knowledge.
        broken: bool [n], misclassified clean or broken by the suite; by_checks: broken by a check's attack alone.
        found: [n, ...], for each broken example the first adversarial image that was found; else the image itself.
        configs: of `white`, in the same order.
        has_gradient: whether the logits have a gradient with respect to the image.
        discarded: bool [n], some attack of the suite saw an adversarial iterate and returned another.
        stand_in: a differentiable model to craft on, which the caller says behaves like this one; or None.
        memory: what checks share; by name.
        largest, outside: over all images of the suite, the largest perturbation and the farthest pixel out of bounds.
    """

    def __init__(  # type: ignore[no-untyped-def]
        self, model, x, y, *, index=None, norm, epsilon, bounds=(0.0, 1.0), seed=0, precision="auto", batch_size=None
    ) -> None:
        self.plain = predictor(model)
        # One program for every batch size. AutoGraph would hide the type of an error that arises in the model.
        self._forward = Programs(tf.function(self.plain, autograph=False), any_batch=True)
        self.x, self.y = x, y
        self.index = np.arange(len(x)) if index is None else index
        self.norm, self.epsilon, self.bounds, self.seed = norm, float(epsilon), bounds, seed
        self._options = {"precision": precision, "batch_size": batch_size}
        self.logits = self.forward(x)
        self.predictions = self.logits.argmax(axis=1)
        self.correct = self.predictions == y
        self.broken, self.by_checks = ~self.correct, np.zeros(len(x), bool)
        self.rows: list[AttackResult] = []
        self.white: list[AttackResult] = []
        self.transferred: list[AttackResult] = []
        self.configs: list[Any] = []
        self.stand_in: Any = None
        self.memory: dict[str, Any] = {}
        self.discarded = np.zeros(len(x), bool)
        with tf.GradientTape() as tape:
            first = tf.constant(x[:1])
            tape.watch(first)
            total = tf.reduce_sum(self.plain(first))
        self.has_gradient = tape.gradient(total, first) is not None
        self.found = x.copy()
        self.largest, self.outside = 0.0, 0.0

    def forward(self, x: np.ndarray) -> np.ndarray:
        """Float32 logits [N, K], a batch at a time."""
        parts = [self._forward(x[at : at + _FORWARD_BATCH]).numpy() for at in range(0, len(x), _FORWARD_BATCH)]
        return np.concatenate(parts)

    @property
    def count(self) -> int:
        """n, the number of examples."""
        return len(self.x)

    @property
    def allowed(self) -> float:
        """Fewer examples than this may be found beside the suite before its number counts as too high."""
        return allowed(self.count)

    def standard_errors(self, accuracy: float, number: float = 2.0) -> float:
        """`number` standard errors of an accuracy measured on these examples, as a fraction."""
        return number * float(np.sqrt(accuracy * (1 - accuracy) / self.count))

    def survivors(self, limit: int | None = None) -> np.ndarray:
        """Numbers of the examples that nothing has broken yet, or a seeded, stratified subset of at most `limit`."""
        return self._some(np.flatnonzero(~(self.broken | self.by_checks)), limit)

    def attacked(self, limit: int | None = None) -> np.ndarray:
        """Numbers of the examples that are classified correctly clean, or a seeded, stratified subset."""
        return self._some(np.flatnonzero(self.correct), limit)

    def _some(self, rows: np.ndarray, limit: int | None) -> np.ndarray:
        if limit is None or len(rows) <= limit:
            return rows
        return rows[stratified_subset(self.y[rows], limit, self.seed)]

    def craft(self, config: Any, rows: np.ndarray, *, on: Any = None, start: Any = None, label: str = "") -> Crafted:
        """Attacks the examples `rows`; `on` another model than the subject, which judges in any case."""
        began = time.monotonic()
        if not len(rows):
            none = np.zeros(0, bool)
            return Crafted(self.x[rows], none, none, 0.0, 0, 0, "float32")
        attack = attacks.compiled(self.plain if on is None else on, config, **self._options)
        progress = Progress(label or name_of(config))
        outcome = attack.run(self.x[rows], self.y[rows], start, index=self.index[rows], progress=progress)
        progress.close()
        allowed = self.inside(outcome.x_adv, rows, getattr(config, "epsilon", None), config.norm)
        fooled = (self.forward(outcome.x_adv).argmax(axis=1) != self.y[rows]) & allowed
        discarded = outcome.ever_adversarial & ~fooled if on is None else np.zeros(len(rows), bool)
        gradients, queries = (outcome.gradient_evaluations, outcome.queries) if on is None else (0, len(rows))
        seconds = time.monotonic() - began
        return Crafted(outcome.x_adv, fooled, discarded, seconds, gradients, queries, outcome.precision)

    def inside(self, x_adv: np.ndarray, rows: np.ndarray, epsilon: Any = None, norm: str | None = None) -> np.ndarray:
        """Whether images are in the box, and in the ball of this epsilon (None: the threat model's), bool [m]."""
        size, outside = self.sizes(x_adv, rows, norm)
        radius = np.asarray(self.epsilon if epsilon is None else epsilon, np.float64)
        return (size <= radius + SIZE_TOLERANCE) & (outside <= 0)

    def sizes(self, x_adv: np.ndarray, rows: Any, norm: str | None = None) -> tuple[np.ndarray, np.ndarray]:
        """Size of the perturbations [m], and how far a pixel lies outside the bounds [m] (negative inside)."""
        size = BALLS[norm or self.norm].size(tf.constant(x_adv - self.x[rows])).numpy()
        outside = np.maximum(self.bounds[0] - x_adv, x_adv - self.bounds[1])
        return size, outside.reshape(len(x_adv), -1).max(axis=1)

    def offer(self, rows: np.ndarray, x_adv: np.ndarray) -> int:
        """Takes what a check found: counts the examples that these images break and nothing before them did."""
        if not len(rows):
            return 0
        fooled = (self.forward(x_adv).argmax(axis=1) != self.y[rows]) & self.inside(x_adv, rows)
        fresh = fooled & ~(self.broken | self.by_checks)[rows]
        self.by_checks[rows[fresh]] = True
        self.found[rows[fresh]] = x_adv[fresh]
        return int(fresh.sum())

    def add(self, config: Any, *, survivors: bool = False, limit: int | None = None) -> AttackResult:
        """Runs an attack of the suite, and keeps its row.

        Args:
            survivors: on what the suite has not broken yet; otherwise alone, on all that is classified correctly.
            limit: on a seeded, stratified subset of at most this many examples.
        """
        before = self.broken.copy() if survivors else ~self.correct
        rows = self._some(np.flatnonzero(~before), limit)
        name = self._unused(name_of(config) + ("" if limit is None else f", {limit} images"))
        row = self._row(name, attacks.to_dict(config), self.craft(config, rows, label=name), rows, before)
        self.white.append(row)
        self.configs.append(config)
        return row

    def add_transfer(self, source_name: str, source: Any, config: Any) -> AttackResult:
        """Tries on the subject what `config` crafts on another model, and keeps the row."""
        rows = np.flatnonzero(self.correct)
        name = self._unused(f"transfer from {source_name}, {name_of(config)}")
        settings = {**attacks.to_dict(config), "source": source_name}
        row = self._row(name, settings, self.craft(config, rows, on=source, label=name), rows, ~self.correct)
        self.transferred.append(row)
        return row

    def _unused(self, name: str) -> str:
        """`name`, or with a number behind it: two configs may differ in what a name leaves out, such as the step."""
        taken, number = {row.name for row in self.rows}, 1
        while (numbered := name if number == 1 else f"{name} ({number})") in taken:
            number += 1
        return numbered

    def _row(  # type: ignore[no-untyped-def]
        self, name: str, settings: dict[str, Any], crafted: Crafted, rows: np.ndarray, before: np.ndarray
    ) -> AttackResult:
        """The row of an attack on the examples `rows`; `before` [n]: wrong, or fooled by what this attack follows."""
        fooled, distances = np.zeros(self.count, bool), np.full(self.count, np.nan, np.float32)
        if len(rows):
            size, outside = self.sizes(crafted.x_adv, rows)
            self.largest = max(self.largest, float(size.max()))
            self.outside = max(self.outside, float(outside.max()))
            # The threat model's ball, whatever the attack took for its own.
            fooled[rows] = crafted.fooled & self.inside(crafted.x_adv, rows)
            distances[rows] = np.where(fooled[rows], size, np.nan)
        fresh = fooled & ~self.broken
        self.found[fresh] = crafted.x_adv[fresh[rows]]
        self.broken |= fooled
        self.discarded[rows] |= crafted.discarded
        bfloat16 = "bfloat16 search, successes verified in float32"
        row = AttackResult(
            name=name,
            config=settings,
            adversarial=fooled | before,
            new_successes=int(fresh.sum()),
            distances=distances,
            seconds=crafted.seconds,
            gradient_evaluations=crafted.gradients,
            precision=bfloat16 if crafted.precision == "bfloat16" else crafted.precision,
        )
        self.rows.append(row)
        return row
