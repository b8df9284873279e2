"""`evaluate`: runs a suite of attacks on a model, checks itself, and reports the per-example worst case."""

from __future__ import annotations

import dataclasses
import os
import shutil
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
from tfadv.evaluation.budget import in_portions, seconds_of
from tfadv.evaluation.refusals import refuse
from tfadv.evaluation.subject import Subject
from tfadv.evaluation.verdict import decide
from tfadv.progress import Progress
from tfadv.report.records import Check, Examples, ThreatModel
from tfadv.report.report import Report
from tfadv.validation import UserError, check_epsilon, check_images, check_labels, check_logits
from tfadv.version import __version__

_SHOWN = 10


def evaluate(
    model: Any,
    data: Any,
    epsilon: float,
    norm: str = "linf",
    suite: str | tuple[Any, ...] | list[Any] = "gradient",
    *,
    sources: Mapping[str, Any] | None = None,
    stand_in: Any = None,
    claimed: float | None = None,
    check: bool = True,
    limit: int | None = None,
    budget: str | float | None = None,
    state: str | os.PathLike | None = None,
    seed: int = 0,
    bounds: tuple[float, float] = (0.0, 1.0),
    precision: str = "auto",
    batch_size: int | None = None,
    name: str | None = None,
    dataset: str = "data",
) -> Report:
    """Attacks `model` on `data`, checks whether the attacks were hindered, and reports the worst case by example.

    Every attack runs, alone, on what the model classifies correctly; those of AutoAttack (suite "standard", "plus" or
    "rand") each on what the ones before could not fool. An example is robust if no attack fools it. Then the checks of
    `tfadv.evaluation.checks` are made, which attack further, and `verdict.decide` says what they mean.

    Args:
        model: a Keras model, a loaded SavedModel, or a function from images to logits.
        data: (x, y) arrays, or a tf.data.Dataset of (image, label), batched or not.
        epsilon, norm: the threat model; epsilon in the image's own units (8/255, never 8).
        suite: a name of `suites.SUITES`, or attack configs of this norm and epsilon.
        sources: name -> other model: adversarial examples crafted on it by the suite's last attack are tried on `model`
            (black box).
        stand_in: a differentiable model that behaves like `model` (one with `tfadv.models.bpda` inside, say): a check
            tries on `model` what is crafted on it.
        claimed: the robust accuracy that somebody states, in [0, 1]; the verdict judges it in place of the suite's.
        check: False leaves the checks and the verdict out.
        limit: evaluates a seeded, stratified subset of this size.
        budget: "10 min": evaluates as many examples as this time allows, a stratified sample; an attack that has begun
            on some examples is not broken off, and a check that time did not allow leaves the verdict at unverified.
        state: a folder that receives what is finished; a run that was killed continues from it with the same result.
            It is removed at the end.
        seed: of the subset and of the random starts.
        bounds: (lowest, highest) pixel value.
        precision, batch_size: as in `tfadv.attacks.compiled`.
        name, dataset: how the report calls the model and the data.

    Returns:
        A `Report`: robust_accuracy in [0, 1], interval, clean_accuracy, rows, checks, verdict; `.save(directory)`
        writes it.

    Raises:
        UserError: unusable data, model, threat model or suite; a model that draws random numbers (without suite
            "rand"), depends on the batch, gives probabilities or changes when it classifies. The message names the
            argument and the remedy.
    """
    if norm not in BALLS:
        raise UserError(f"norm must be one of {sorted(BALLS)}, got {norm!r}")
    check_epsilon(epsilon, bounds, norm, strict=True)
    if claimed is not None and not 0 <= claimed <= 1:
        raise UserError(f"claimed must be a robust accuracy from 0 to 1, got {claimed!r}; write 0.45 for 45%")
    spend = None if budget is None else seconds_of(budget)
    deadline = None if spend is None else time.monotonic() + spend
    parts = tuple(
        dataclasses.replace(each, config=dataclasses.replace(each.config, bounds=bounds))
        for each in suites.parts(suite, float(epsilon), norm, seed)
    )
    x, y = as_arrays(data, bounds)
    index = np.arange(len(x))
    if limit is not None:
        check_limit(limit, len(x), dataset)
        index = stratified_subset(y, limit, seed)
        x, y = x[index], y[index]
    options: dict[str, Any] = {"norm": norm, "epsilon": epsilon, "bounds": bounds, "seed": seed}
    subject = Subject(model, x, y, index=index, precision=precision, batch_size=batch_size, state=state, **options)
    check_logits(subject.logits)
    check_labels(y, len(x), subject.logits.shape[1])
    refuse(model, subject.forward, x, random_allowed=suite == "rand")
    subject.stand_in = stand_in
    runnable = [each for each in parts if subject.has_gradient or not each.config.gradients_per_move]

    def attack(rows: np.ndarray) -> None:
        for number, each in enumerate(runnable):
            if each.limit is None:
                subject.attack(number, each.config, rows, survivors=each.survivors)

    long = isinstance(suite, str) and suite in suites.LONG
    what = suite if isinstance(suite, str) else "suite"
    tried = in_portions(attack, y, seed=seed, what=what, budget=spend, pilot=long)
    for number, each in enumerate(runnable):
        if each.limit is not None and (deadline is None or time.monotonic() < deadline):
            rows = np.flatnonzero(tried & (~subject.broken if each.survivors else subject.correct))
            subject.attack(number, each.config, subject.some(rows, each.limit), survivors=each.survivors)
    for source_name, source in (sources or {}).items():
        subject.transfer(source_name, source, parts[-1].config)
    subject.finish(tried)
    robust = 1 - float(subject.broken.mean())
    examples = _examples(subject)
    made: tuple[Check, ...] = ()
    verdict = None
    if check:
        progress = Progress("checks", unit="checks")
        effort = checks.THOROUGH if long else checks.QUICK
        made = checks.carry_out(subject, effort, progress=progress, deadline=deadline)
        progress.close()
        worst = 1 - float((subject.broken | subject.by_checks).mean())
        verdict = decide(subject.count, robust, worst, made, claimed)
    report = Report(
        name=name or getattr(model, "name", None) or type(model).__name__,
        dataset=dataset,
        threat=ThreatModel(norm, float(epsilon), bounds),
        labels=subject.y,
        predictions=subject.predictions,
        rows=tuple(subject.rows),
        examples=examples,
        checks=made,
        verdict=verdict,
        found_by_checks=subject.by_checks,
        versions={
            "tfadv": __version__,
            "tensorflow": tf.__version__,
            "keras": keras.__version__,
            "numpy": np.__version__,
        },
        settings={
            "suite": suite if isinstance(suite, str) else [attacks.to_dict(each.config) for each in parts],
            "not run, for want of a gradient": [suites.name_of(e.config) for e in parts if e not in runnable],
            "limit": limit,
            "budget": budget,
            "seed": seed,
            "precision": precision,
            "sources": sorted(sources or {}),
            "claimed": claimed,
        },
    )
    if state is not None:
        shutil.rmtree(state, ignore_errors=True)
    return report


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


def _examples(subject: Subject) -> Examples | None:
    """One fooled image of each class, then others, up to ten; None if the inputs are not images."""
    if subject.x.ndim != 4:
        return None
    rows = np.flatnonzero(subject.broken & subject.correct)
    if not len(rows):
        rows = np.flatnonzero(subject.correct)[:_SHOWN]
    _, first = np.unique(subject.y[rows], return_index=True)
    order = np.concatenate([rows[np.sort(first)], np.delete(rows, first)])[:_SHOWN]
    if not len(order):
        return None
    predictions = subject.forward(subject.found[order]).argmax(axis=1)
    return Examples(subject.x[order], subject.found[order], subject.y[order], predictions)
