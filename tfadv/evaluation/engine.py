"""`evaluate`: runs a suite of attacks on a model, checks itself, and reports the per-example worst case."""

from __future__ import annotations

import contextlib
import dataclasses
import os
import shutil
import time
from collections.abc import Iterator, Mapping
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from tfadv import attacks, devices, files
from tfadv.attacks.search import SEEDS, check_seed
from tfadv.balls import BALLS
from tfadv.data.subset import check_limit, stratified_subset
from tfadv.evaluation import checks, suites
from tfadv.evaluation.budget import in_portions, seconds_of
from tfadv.evaluation.inputs import as_arrays
from tfadv.evaluation.refusals import refuse
from tfadv.evaluation.sections import analyzed
from tfadv.evaluation.subject import Subject
from tfadv.evaluation.surrogates import adversarial_surrogate, undefended_twin
from tfadv.evaluation.threats import UNITS
from tfadv.evaluation.verdict import decide
from tfadv.models.predictor import predictor
from tfadv.progress import Progress
from tfadv.report.records import Check, Examples, ThreatModel
from tfadv.report.report import Report
from tfadv.validation import UserError, as_number, check_bounds, check_epsilon, check_labels
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
    train: Any = None,
    check: bool = True,
    analyze: bool = False,
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
        train: (x, y) training examples, apart from `data`: suite "full" trains two twins of the model on them, an
            undefended and an adversarially trained one, as further sources.
        analyze: adds sections with statistics of the model (`tfadv.analysis`) on 200 examples.
        check: False leaves the checks and the verdict out.
        limit: evaluates a seeded, stratified subset of this size.
        budget: "10 min": evaluates as many examples as this time allows, a stratified sample; an attack that has begun
            on some examples is not broken off, and a check that time did not allow leaves the verdict at unverified.
        state: a folder that receives what is finished; a run that was killed continues from it with the same result.
            It is removed at the end. No other process may use it meanwhile.
        seed: of the subset and of the random starts.
        bounds: (lowest, highest) pixel value.
        precision, batch_size: as in `tfadv.attacks.compiled`.
        name, dataset: how the report calls the model and the data.

    Returns:
        A `Report`: robust_accuracy in [0, 1], interval, clean_accuracy, rows, checks, verdict; `.save(directory)`
        writes it.

    Raises:
        UserError: unusable data, model, threat model or suite; a model that draws random numbers (without suite
            "rand"), depends on the batch, gives probabilities or changes when it classifies; a `state` that another
            process is at work in. The message names the argument and the remedy.
    """
    if not isinstance(norm, str) or norm not in UNITS:
        raise UserError(f"norm must be one of {sorted(BALLS)}, got {norm!r}")
    bounds = check_bounds(bounds)
    if not np.isfinite(bounds).all():
        raise UserError(
            f"bounds must be finite for an evaluation, got {bounds}; give the range that inputs really have"
        )
    check_epsilon(epsilon, bounds, norm, strict=True)
    if np.ndim(epsilon):
        raise UserError(f"epsilon must be one number for all examples, got {epsilon!r}; evaluate each radius by itself")
    check_seed(seed)
    if sources is not None and not isinstance(sources, Mapping):
        raise UserError(f"sources must map names to models, got {type(sources).__name__}; write {{'name': model}}")
    for source in (sources or {}).values():
        predictor(source)
    if claimed is not None and not 0 <= as_number(claimed) <= 1:
        raise UserError(f"claimed must be a robust accuracy from 0 to 1, got {claimed!r}; write 0.45 for 45%")
    spend = None if budget is None else seconds_of(budget)
    deadline = None if spend is None else time.monotonic() + spend
    parts = tuple(
        dataclasses.replace(each, config=dataclasses.replace(each.config, bounds=bounds))  # type: ignore[call-arg]
        for each in suites.parts(suite, float(epsilon), norm, seed, bounds)
    )
    x, y = as_arrays(data, bounds)
    index = np.arange(len(x))
    if limit is not None:
        check_limit(limit, len(x), dataset)
        index = stratified_subset(y, limit, seed)
        x, y = x[index], y[index]
    options: dict[str, Any] = {"norm": norm, "epsilon": epsilon, "bounds": bounds, "seed": seed}
    subject = Subject(model, x, y, index=index, precision=precision, batch_size=batch_size, state=state, **options)
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
    with _held(state):
        tried = in_portions(attack, y, seed=seed, what=what, budget=spend, pilot=long)
        for number, each in enumerate(runnable):
            if each.limit is not None and (deadline is None or time.monotonic() < deadline):
                rows = np.flatnonzero(tried & (~subject.broken if each.survivors else subject.correct))
                subject.attack(number, each.config, subject.some(rows, each.limit), survivors=each.survivors)
        given = dict(sources or {})
        if suite == "full" and train is not None:
            given |= _twins(model, train, (x, y), subject)
        for source_name, source in given.items():
            subject.transfer(source_name, source, _crafting(parts))
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
    return Report(
        name=name or getattr(model, "name", None) or type(model).__name__,
        dataset=dataset,
        threat=ThreatModel(norm, float(epsilon), bounds),
        index=subject.index,
        labels=subject.y,
        # Of a model that draws random numbers the class of an image is not one.
        adversarial_predictions=None if suite == "rand" else subject.forward(subject.found).argmax(axis=1),
        images=subject.found,
        predictions=subject.predictions,
        rows=tuple(subject.rows),
        examples=examples,
        checks=made,
        verdict=verdict,
        found_by_checks=subject.by_checks,
        sections=analyzed(model, subject) if analyze else (),
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
            "sources": sorted(given),
            "claimed": claimed,
        },
    )


@contextlib.contextmanager
def _held(state: str | os.PathLike | None) -> Iterator[None]:
    """Keeps other evaluations out of the folder, which a cluster shares; removes it if all went well."""
    if state is None:
        yield
        return
    chief = devices.is_chief(tf.distribute.get_strategy())
    with files.holding(state) if chief else contextlib.nullcontext():
        yield
        shutil.rmtree(state, ignore_errors=True)


def _crafting(parts: tuple[suites.Part, ...]) -> Any:
    """The attack that sources are attacked with: the suite's last one that follows a gradient for many steps."""
    many = [part.config for part in parts if isinstance(part.config, attacks.Apgd | attacks.Mim | attacks.Pgd)]
    return many[-1] if many else parts[-1].config


def _twins(model: Any, train: Any, test: Any, subject: Subject) -> dict[str, Any]:
    """An undefended and an adversarially trained model like `model`, by name."""
    options: dict[str, Any] = {"bounds": subject.bounds, "seed": (subject.seed + 1) % SEEDS}
    natural = undefended_twin(model, train, test, **options)
    adversarial = adversarial_surrogate(model, train, test, subject.epsilon, subject.norm, **options)
    return {each.name: each.model for each in (natural, adversarial)}


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
