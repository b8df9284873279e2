"""The model under evaluation on its examples: who is broken so far, and the means to attack further."""

from __future__ import annotations

import os
import time
from typing import Any

import numpy as np
import tensorflow as tf

from tfadv import attacks
from tfadv.attacks.engine import Programs
from tfadv.balls import BALLS
from tfadv.data.subset import stratified_subset
from tfadv.evaluation.finished import Crafted, Finished
from tfadv.evaluation.suites import name_of
from tfadv.evaluation.verdict import allowed
from tfadv.models.predictor import predictor
from tfadv.progress import Progress
from tfadv.report.records import AttackResult
from tfadv.validation import UserError, check_logits

# Rounding of x + delta in float32 near 1 is 6e-8; a hundred of them are still no larger perturbation.
SIZE_TOLERANCE = 1e-5
_FORWARD_BATCH = 500
_FINGERPRINT = 32

# Of a rotation the images do not tell the angle; the attack keeps to it by construction.
_SIZES = {norm: ball.size for norm, ball in BALLS.items()} | {
    "l0": lambda delta: tf.math.count_nonzero(tf.reshape(delta, [len(delta), -1]), axis=1, dtype=tf.float32),
    "brightness": BALLS["linf"].size,
    "rotation": lambda delta: tf.zeros([len(delta)]),
}


class Subject:
    """One model, its examples and one threat model; rows come in from the suite, further examples from the checks.

    Attributes:
        model: as the user gave it.
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
        self,
        model,
        x,
        y,
        *,
        index=None,
        norm,
        epsilon,
        bounds=(0.0, 1.0),
        seed=0,
        precision="auto",
        batch_size=None,
        state=None,
    ) -> None:
        self.model, self.plain = model, predictor(model)
        # One program for every batch size. AutoGraph would hide the type of an error that arises in the model.
        self._forward = Programs(tf.function(self.plain, autograph=False), any_batch=True)
        self.x, self.y = x, y
        self.index = np.arange(len(x)) if index is None else index
        self.norm, self.epsilon, self.bounds, self.seed = norm, float(epsilon), bounds, seed
        self._options = {"precision": precision, "batch_size": batch_size}
        self.logits = self.forward(x)
        check_logits(self.logits, len(x))
        self.predictions = self.logits.argmax(axis=1)
        self.correct = self.predictions == y
        self.broken, self.by_checks = ~self.correct, np.zeros(len(x), bool)
        self.rows: list[AttackResult] = []
        self.white: list[AttackResult] = []
        self.transferred: list[AttackResult] = []
        self.configs: list[Any] = []
        self._drafts: dict[Any, _Draft] = {}
        self._compiled: dict[Any, Any] = {}
        everything = (x, y, self.logits, [norm, float(epsilon), list(bounds), seed, precision, batch_size])
        self._finished = None if state is None else Finished(state, *everything)
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
        return self.some(np.flatnonzero(~(self.broken | self.by_checks)), limit)

    def attacked(self, limit: int | None = None) -> np.ndarray:
        """Numbers of the examples that are classified correctly clean, or a seeded, stratified subset."""
        return self.some(np.flatnonzero(self.correct), limit)

    def some(self, rows: np.ndarray, limit: int | None) -> np.ndarray:
        """`rows`, or a seeded, stratified subset of them of at most `limit`."""
        if limit is None or len(rows) <= limit:
            return rows
        return rows[stratified_subset(self.y[rows], limit, self.seed)]

    def craft(self, config: Any, rows: np.ndarray, *, on: Any = None, label: str = "") -> Crafted:
        """Attacks the examples `rows`; `on` another model than the subject, which judges in any case."""
        if not len(rows):
            none = np.zeros(0, bool)
            return Crafted(self.x[rows], none, none, 0.0, 0, 0, "float32")
        if self._finished is None:
            return self._craft(config, rows, on, label, None)
        # What another model is, its answers to these images tell.
        source = np.zeros(0) if on is None else predictor(on)(tf.constant(self.x[rows[:_FINGERPRINT]])).numpy()
        path = self._finished.path(config, self.index[rows], source)
        crafted = self._finished.read(path)
        if crafted is None:
            crafted = self._craft(config, rows, on, label, path.with_suffix(".search"))
            self._finished.write(path, crafted)
        return crafted

    def _craft(self, config: Any, rows: np.ndarray, on: Any, label: str, state: os.PathLike | None) -> Crafted:
        began = time.monotonic()
        # The models are kept alive by what was compiled of them, so that their ids stay theirs.
        key = (config, id(on))
        if key not in self._compiled:
            self._compiled[key] = attacks.compiled(self.plain if on is None else on, config, **self._options)
        progress = Progress(label or name_of(config))
        if getattr(config, "targeted", False):
            outcome = self._every_target(self._compiled[key], rows, progress, state)
        else:
            outcome = self._compiled[key].run(
                self.x[rows], self.y[rows], index=self.index[rows], progress=progress, state=state
            )
        progress.close()
        allowed = self.inside(outcome.x_adv, rows, getattr(config, "epsilon", None), config.norm)
        fooled = self._fooled(outcome.x_adv, rows) & allowed
        discarded = outcome.ever_adversarial & ~fooled if on is None else np.zeros(len(rows), bool)
        gradients, queries = (outcome.gradient_evaluations, outcome.queries) if on is None else (0, len(rows))
        seconds = time.monotonic() - began
        return Crafted(outcome.x_adv, fooled, discarded, seconds, gradients, queries, outcome.precision)

    def _every_target(self, attack: Any, rows: np.ndarray, progress: Any, state: os.PathLike | None) -> attacks.Outcome:
        """A targeted attack with every wrong class as its target, until one is reached."""
        x_adv, hit = self.x[rows].copy(), np.zeros(len(rows), bool)
        gradients, queries = 0, 0
        for step in range(1, self.logits.shape[1]):
            left = np.flatnonzero(~hit)
            if not len(left):
                break
            target = (self.y[rows[left]] + step) % self.logits.shape[1]
            own = None if state is None else f"{os.fspath(state)}.{step}"
            found = attack.run(self.x[rows[left]], target, index=self.index[rows[left]], progress=progress, state=own)
            x_adv[left[found.adversarial]] = found.x_adv[found.adversarial]
            hit[left] = found.adversarial
            gradients, queries = gradients + found.gradient_evaluations, queries + found.queries
        return attacks.Outcome(x_adv, hit, hit, gradients, queries, attack.precision)

    def _fooled(self, x_adv: np.ndarray, rows: np.ndarray) -> np.ndarray:
        """Whether these images of the examples `rows` are misclassified, bool [m]."""
        logits = self.forward(x_adv)
        unknown = int(np.isnan(logits).any(axis=1).sum())
        if unknown:
            raise UserError(
                f"the model gives NaN logits on {unknown} of {len(rows)} attacked images, over which no accuracy can "
                "be counted; make it finite on the whole range of pixels (where does it divide, or take a log or root?)"
            )
        return logits.argmax(axis=1) != self.y[rows]

    def inside(self, x_adv: np.ndarray, rows: np.ndarray, epsilon: Any = None, norm: str | None = None) -> np.ndarray:
        """Whether images are in the box, and in the ball of this epsilon (None: the threat model's), bool [m]."""
        size, outside = self.sizes(x_adv, rows, norm)
        radius = np.asarray(self.epsilon if epsilon is None else epsilon, np.float64)
        return (size <= radius + SIZE_TOLERANCE) & (outside <= 0)

    def sizes(self, x_adv: np.ndarray, rows: Any, norm: str | None = None) -> tuple[np.ndarray, np.ndarray]:
        """Size of the perturbations [m], and how far a pixel lies outside the bounds [m] (negative inside)."""
        size = _SIZES[norm or self.norm](tf.constant(x_adv - self.x[rows])).numpy()
        outside = np.maximum(self.bounds[0] - x_adv, x_adv - self.bounds[1])
        return size, outside.reshape(len(x_adv), -1).max(axis=1)

    def near(self, row: int, count: int, block: int, share: float = 1.0) -> np.ndarray:
        """Random points of the ball around example `row` and in the box, float32 [count, ...].

        Args:
            block: which portion of the points of this example this is; other blocks hold other points.
            share: of the radius.
        """
        key = tf.constant([self.seed, int(self.index[row])], tf.int32)
        key = tf.random.experimental.stateless_fold_in(key, block)
        points = BALLS[self.norm].sample((count, *self.x.shape[1:]), key).numpy()
        return np.clip(self.x[row] + share * self.epsilon * points, *self.bounds).astype(np.float32)

    def offer(self, rows: np.ndarray, x_adv: np.ndarray) -> int:
        """Takes what a check found: counts the examples that these images break and nothing before them did."""
        if not len(rows):
            return 0
        fooled = self._fooled(x_adv, rows) & self.inside(x_adv, rows)
        fresh = fooled & ~(self.broken | self.by_checks)[rows]
        self.by_checks[rows[fresh]] = True
        self.found[rows[fresh]] = x_adv[fresh]
        return int(fresh.sum())

    def attack(self, part: int, config: Any, rows: np.ndarray, *, survivors: bool) -> None:
        """Runs attack number `part` of the suite on the examples `rows`; `finish` makes a row of all that it did.

        Args:
            survivors: leaves out what the suite has broken already; otherwise only what is misclassified clean.
        """
        if part not in self._drafts:
            name = self._unused(name_of(config))
            self._drafts[part] = _Draft(name, attacks.to_dict(config), self.count, survivors=survivors)
            self.configs.append(config)
        rows = rows[~(self.broken if survivors else ~self.correct)[rows]]
        self._take(self._drafts[part], self.craft(config, rows, label=self._drafts[part].name), rows)

    def transfer(self, source_name: str, source: Any, config: Any) -> None:
        """Tries on the subject what `config` crafts on another model."""
        name = self._unused(f"transfer from {source_name}, {name_of(config)}")
        draft = _Draft(name, {**attacks.to_dict(config), "source": source_name}, self.count, transferred=True)
        self._drafts[name] = draft
        rows = np.flatnonzero(self.correct)
        self._take(draft, self.craft(config, rows, on=source, label=name), rows)

    def finish(self, tried: np.ndarray | None = None) -> None:
        """Makes the rows of what was run; `tried` bool [n] keeps these examples alone, where time ran out."""
        if tried is not None and not tried.all():
            for name in ("x", "y", "index", "logits", "predictions", "correct", "broken", "by_checks", "found"):
                setattr(self, name, getattr(self, name)[tried])
            self.discarded = self.discarded[tried]
        wrong = broken = ~self.correct
        for draft in self._drafts.values():
            row = draft.row(wrong, broken, slice(None) if tried is None else tried)
            broken = broken | row.adversarial
            self.rows.append(row)
            (self.transferred if draft.transferred else self.white).append(row)
        self._drafts.clear()

    def _unused(self, name: str) -> str:
        """`name`, or with a number behind it: two configs may differ in what a name leaves out, such as the step."""
        taken, number = {draft.name for draft in self._drafts.values()}, 1
        while (numbered := name if number == 1 else f"{name} ({number})") in taken:
            number += 1
        return numbered

    def _take(self, draft: _Draft, crafted: Crafted, rows: np.ndarray) -> None:
        """Keeps what an attack made of the examples `rows`."""
        draft.add(crafted)
        if not len(rows):
            return
        size, outside = self.sizes(crafted.x_adv, rows)
        self.largest = max(self.largest, float(size.max()))
        self.outside = max(self.outside, float(outside.max()))
        # The threat model's ball, whatever the attack took for its own.
        fooled = crafted.fooled & self.inside(crafted.x_adv, rows)
        draft.fooled[rows] = fooled
        draft.distances[rows] = np.where(fooled, size, np.nan)
        fresh = fooled & ~self.broken[rows]
        self.found[rows[fresh]] = crafted.x_adv[fresh]
        self.broken[rows] |= fooled
        self.discarded[rows] |= crafted.discarded


class _Draft:
    """The row of an attack while it comes in, some examples at a time."""

    def __init__(
        self, name: str, config: dict[str, Any], count: int, *, survivors: bool = False, transferred: bool = False
    ) -> None:
        self.name, self.config, self.survivors, self.transferred = name, config, survivors, transferred
        self.fooled = np.zeros(count, bool)
        self.distances = np.full(count, np.nan, np.float32)
        self.seconds, self.gradients, self.queries, self.precisions = 0.0, 0, 0, set[str]()

    def add(self, crafted: Crafted) -> None:
        self.seconds += crafted.seconds
        self.gradients += crafted.gradients
        self.queries += crafted.queries
        self.precisions.add(crafted.precision)

    def row(self, wrong: np.ndarray, broken: np.ndarray, tried: Any) -> AttackResult:
        """The finished row of the examples `tried`; `wrong` [n]: misclassified; `broken` [n]: or by an earlier row."""
        fooled = self.fooled[tried]
        bfloat16 = "bfloat16" in self.precisions
        return AttackResult(
            name=self.name,
            config=self.config,
            adversarial=fooled | (broken if self.survivors else wrong),
            new_successes=int((fooled & ~broken).sum()),
            distances=self.distances[tried],
            seconds=self.seconds,
            gradient_evaluations=self.gradients,
            queries=self.queries,
            precision="bfloat16 search, successes verified in float32"
            if bfloat16
            else next(iter(self.precisions), "float32"),
        )
