"""`evaluate`: runs a suite of attacks on a model and reports the per-example worst case."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Mapping
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from tfadv import attacks
from tfadv.balls import BALLS
from tfadv.data.subset import check_limit, stratified_subset
from tfadv.evaluation import checks, suites
from tfadv.models.predictor import predictor
from tfadv.progress import Progress
from tfadv.report.records import AttackResult, Check, Examples, ThreatModel
from tfadv.report.report import Report
from tfadv.validation import UserError, check_epsilon, check_images, check_labels, check_logits
from tfadv.version import __version__

_FORWARD_BATCH = 500
_SHOWN = 10


def evaluate(
    model: Any,
    data: Any,
    epsilon: float,
    norm: str = "linf",
    suite: str | tuple[Any, ...] | list[Any] = "gradient",
    *,
    sources: Mapping[str, Any] | None = None,
    limit: int | None = None,
    seed: int = 0,
    bounds: tuple[float, float] = (0.0, 1.0),
    precision: str = "auto",
    batch_size: int | None = None,
    name: str | None = None,
    dataset: str = "data",
) -> Report:
    """Attacks `model` on `data` and reports the worst case for each example.

    Every attack runs, alone, on what the model classifies correctly; those of AutoAttack (suite "standard", "plus" or
    "rand") each on what the ones before could not fool. An example is robust if no attack fools it.

    Args:
        model: a Keras model, a loaded SavedModel, or a function from images to logits.
        data: (x, y) arrays, or a tf.data.Dataset of (image, label), batched or not.
        epsilon, norm: the threat model; epsilon in the image's own units (8/255, never 8).
        suite: a name of `suites.SUITES`, or attack configs of this norm and epsilon.
        sources: name -> other model: adversarial examples crafted on it by the suite's last attack are tried on `model`
            (black box).
        limit: evaluates a seeded, stratified subset of this size.
        seed: of the subset and of the random starts.
        bounds: (lowest, highest) pixel value.
        precision, batch_size: as in `tfadv.attacks.compiled`.
        name, dataset: how the report calls the model and the data.

    Returns:
        A `Report`: robust_accuracy in [0, 1], interval, clean_accuracy, rows, checks; `.save(directory)` writes it.

    Raises:
        UserError: unusable data, model, threat model or suite; the message names the argument and the remedy.
    """
    if norm not in BALLS:
        raise UserError(f"norm must be one of {sorted(BALLS)}, got {norm!r}")
    check_epsilon(epsilon, bounds, norm, strict=True)
    configs = suites.resolve(suite, float(epsilon), norm, seed)
    configs = tuple(dataclasses.replace(config, bounds=bounds) for config in configs)
    # One program for every pass, also for a last batch that is smaller. AutoGraph would hide the type of an error.
    plain = predictor(model)
    predict = tf.function(plain, reduce_retracing=True, autograph=False)
    x, y = as_arrays(data, bounds)
    index = np.arange(len(x))
    if limit is not None:
        check_limit(limit, len(x), dataset)
        index = stratified_subset(y, limit, seed)
        x, y = x[index], y[index]
    logits = forward(predict, x)
    check_logits(logits)
    y = check_labels(y, len(x), logits.shape[1])
    predictions = logits.argmax(axis=1)
    run = _Run(plain, predict, x, y, predictions, index, epsilon, norm, bounds, precision, batch_size)
    for config in configs:
        run.white_box(config, survivors=isinstance(suite, str) and suite in suites.ON_SURVIVORS)
    for source_name, source in (sources or {}).items():
        run.transfer(source_name, source, configs[-1])
    return Report(
        name=name or getattr(model, "name", None) or type(model).__name__,
        dataset=dataset,
        threat=ThreatModel(norm, float(epsilon), bounds),
        labels=y,
        predictions=predictions,
        rows=tuple(run.rows),
        examples=run.examples(),
        checks=run.checks(),
        versions={
            "tfadv": __version__,
            "tensorflow": tf.__version__,
            "keras": keras.__version__,
            "numpy": np.__version__,
        },
        settings={
            "suite": suite if isinstance(suite, str) else [attacks.to_dict(config) for config in configs],
            "limit": limit,
            "seed": seed,
            "precision": precision,
            "sources": sorted(sources or {}),
        },
    )


def as_arrays(data: Any, bounds: tuple[float, float] = (0.0, 1.0)) -> tuple[np.ndarray, np.ndarray]:
    """Images float32 [N, ...] and integer labels [N] of a pair of arrays or of a Dataset, batched or not.

    Raises:
        UserError: neither, infinite, empty, or images or labels that `check_images` and `check_labels` refuse.
    """
    if isinstance(data, tf.data.Dataset):
        spec = data.element_spec
        if not (isinstance(spec, tuple) and len(spec) == 2):
            raise UserError(f"data must yield (image, label) pairs, got elements {spec}")
        if data.cardinality() == tf.data.INFINITE_CARDINALITY:
            raise UserError("data must be finite, got a dataset that repeats forever; use .take(count)")
        pairs = list(data.as_numpy_iterator())
        # Labels tell: one example has a scalar label, a batch has a vector of them.
        join = np.stack if spec[1].shape.rank == 0 else np.concatenate
        if not pairs:
            raise UserError("data must hold at least one image, got an empty dataset")
        x, y = (join(column) for column in zip(*pairs, strict=True))
    elif isinstance(data, tuple | list) and len(data) == 2:
        x, y = data
    else:
        raise UserError(f"data must be arrays (x, y) or a tf.data.Dataset of (image, label), got {type(data).__name__}")
    x = check_images(x, bounds)
    if not len(x):
        raise UserError("data must hold at least one image, got none")
    return x, check_labels(y, len(x))


def forward(predict: Any, x: np.ndarray) -> np.ndarray:
    """Float32 logits [N, K] of `x`, a batch at a time."""
    return np.concatenate(
        [np.asarray(predict(tf.constant(x[at : at + _FORWARD_BATCH]))) for at in range(0, len(x), _FORWARD_BATCH)]
    )


class _Run:
    """The rows of one evaluation while they come in."""

    def __init__(self, plain, predict, x, y, predictions, index, epsilon, norm, bounds, precision, batch_size) -> None:  # type: ignore[no-untyped-def]
        # The attacks trace the model themselves: inside a function of its own they could not see its convolutions.
        self.plain, self.predict, self.x, self.y, self.index = plain, predict, x, y, index
        self.epsilon, self.norm, self.bounds = float(epsilon), norm, bounds
        self.options = {"precision": precision, "batch_size": batch_size}
        self.correct = predictions == y
        self.broken = ~self.correct
        self.rows: list[AttackResult] = []
        self.white: list[AttackResult] = []
        self.transferred: list[AttackResult] = []
        self.single: AttackResult | None = None
        # One image for each example to show and to round: the first adversarial one that any attack found.
        self.found = x.copy()
        self.largest, self.outside = 0.0, 0.0

    def white_box(self, config: Any, survivors: bool = False) -> None:
        attack = attacks.compiled(self.plain, config, **self.options)
        name = self._unused(suites.name_of(config))
        before = self.broken.copy() if survivors else ~self.correct
        x_adv, seconds, evaluations, precision = self._craft(attack, name, np.flatnonzero(~before))
        row = self._add(name, attacks.to_dict(config), x_adv, seconds, evaluations, precision, before)
        if isinstance(config, attacks.Fgm):
            self.single = row
        self.white.append(row)

    def transfer(self, source_name: str, source: Any, config: Any) -> None:
        attack = attacks.compiled(source, config, **self.options)
        name = self._unused(f"transfer from {source_name}, {suites.name_of(config)}")
        x_adv, seconds, _, precision = self._craft(attack, name, np.flatnonzero(self.correct))
        settings = {**attacks.to_dict(config), "source": source_name}
        self.transferred.append(self._add(name, settings, x_adv, seconds, 0, precision, ~self.correct))

    def _unused(self, name: str) -> str:
        """`name`, or with a number behind it: two configs may differ in what a name leaves out, such as the step."""
        taken, number = {row.name for row in self.rows}, 1
        while (numbered := name if number == 1 else f"{name} ({number})") in taken:
            number += 1
        return numbered

    def _craft(self, attack: Any, label: str, rows: np.ndarray) -> tuple[np.ndarray, float, int, str]:
        """Images for the examples `rows` (the others stay clean), seconds, gradients, precision of the search."""
        began, x_adv = time.monotonic(), self.x.copy()
        if not len(rows):
            return x_adv, 0.0, 0, attack.precision
        progress = Progress(label)
        outcome = attack.run(self.x[rows], self.y[rows], index=self.index[rows], progress=progress)
        progress.close()
        x_adv[rows] = outcome.x_adv
        return x_adv, time.monotonic() - began, outcome.gradient_evaluations, outcome.precision

    def _add(self, name, settings, x_adv, seconds, evaluations, precision, before) -> AttackResult:  # type: ignore[no-untyped-def]
        """Judges the images by a float32 pass of the attacked model, and audits that they are allowed.

        `before` [n]: misclassified already, or fooled by the attacks that this one follows.
        """
        delta = x_adv - self.x
        size = BALLS[self.norm].size(tf.constant(delta)).numpy()
        outside = np.maximum(self.bounds[0] - x_adv, x_adv - self.bounds[1]).reshape(len(x_adv), -1).max(axis=1)
        self.largest, self.outside = max(self.largest, float(size.max())), max(self.outside, float(outside.max()))
        allowed = (size <= self.epsilon + checks.SIZE_TOLERANCE) & (outside <= 0)
        fooled = (forward(self.predict, x_adv).argmax(axis=1) != self.y) & allowed
        adversarial = fooled | before
        fresh = adversarial & ~self.broken
        self.found[fresh] = x_adv[fresh]
        self.broken |= adversarial
        row = AttackResult(
            name=name,
            config=settings,
            adversarial=adversarial,
            new_successes=int(fresh.sum()),
            distances=np.where(fooled & ~before, size, np.nan),
            seconds=seconds,
            gradient_evaluations=evaluations,
            precision="bfloat16 search, successes verified in float32" if precision == "bfloat16" else precision,
        )
        self.rows.append(row)
        return row

    def checks(self) -> tuple[Check, ...]:
        fooled = np.flatnonzero(self.broken & self.correct)
        kept = 0
        if len(fooled) and self.bounds == (0.0, 1.0):
            # Rounding toward the clean image keeps |delta| <= epsilon.
            delta = self.found[fooled] - self.x[fooled]
            levels = np.floor(np.abs(delta) * 255) * np.sign(delta)
            rounded = np.clip(np.round(self.x[fooled] * 255) + levels, 0, 255) / 255
            kept = int((forward(self.predict, rounded.astype(np.float32)).argmax(axis=1) != self.y[fooled]).sum())
        iterative = [row for row in self.white if row is not self.single]
        return (
            checks.deterministic_forward(self.predict, self.x[:_FORWARD_BATCH]),
            checks.feasible(self.largest, self.epsilon, self.outside),
            checks.iterative_beats_single_step(self.single, iterative),
            checks.white_box_beats_transfer(self.white, self.transferred),
            checks.survives_rounding(len(fooled) if self.bounds == (0.0, 1.0) else 0, kept),
        )

    def examples(self) -> Examples | None:
        """One fooled image of each class, then others, up to ten; None if the inputs are not images."""
        if self.x.ndim != 4:
            return None
        rows = np.flatnonzero(self.broken & self.correct)
        if not len(rows):
            rows = np.flatnonzero(self.correct)[:_SHOWN]
        _, first = np.unique(self.y[rows], return_index=True)
        order = np.concatenate([rows[np.sort(first)], np.delete(rows, first)])[:_SHOWN]
        if not len(order):
            return None
        predictions = forward(self.predict, self.found[order]).argmax(axis=1)
        return Examples(self.x[order], self.found[order], self.y[order], predictions)
