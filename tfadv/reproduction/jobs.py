"""Work that many studies share: a classifier trained as an experiment says, and measured under attacks."""

from __future__ import annotations

import contextlib
import dataclasses
import os
import pathlib
import shutil
import tempfile
import time
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

import tfadv.data
from tfadv import attacks, evaluation, files, training
from tfadv.experiments import EXPERIMENTS
from tfadv.models import load
from tfadv.report.records import clopper_pearson
from tfadv.reproduction.runs import digest, read_json, seconds_of_training, short_hash, trained
from tfadv.reproduction.study import Context, Job
from tfadv.validation import UserError

_FORWARD_BATCH = 500
_WAIT = 10.0  # Seconds between two looks at a run that another job is training.


def experiment_of(settings: Mapping[str, Any]) -> training.Experiment:
    """The experiment named by settings["experiment"], with settings["changes"] (steps, seed, limit, ...) made to it.

    Raises:
        UserError: no such experiment.
    """
    name = settings["experiment"]
    if name not in EXPERIMENTS:
        raise UserError(f"experiment must be one of {', '.join(sorted(EXPERIMENTS))}; got {name!r}")
    return dataclasses.replace(EXPERIMENTS[name], **settings.get("changes", {}))


def trained_run(settings: Mapping[str, Any], context: Context) -> pathlib.Path:
    """The run folder of `experiment_of(settings)`, trained here or found there; jobs that share it wait for each other.

    A run begins with what the longest run of the same experiment in fewer steps has reached, if there is one, which
    stays as it is: the first steps of a training do not depend on how many follow.
    """
    experiment = experiment_of(settings)
    unbounded = dataclasses.replace(experiment, steps=1)
    # Not its repr, in which a loss has an address in memory, another one in every process.
    stem = f"{settings['experiment'].replace('/', '_')}-{short_hash(training.describe(unbounded))}-"
    folder = context.runs / f"{stem}{experiment.steps}"
    steps = [int(path.parent.name.removeprefix(stem)) for path in context.runs.glob(f"{stem}*/metrics.json")]
    shorter = [each for each in steps if each < experiment.steps]
    if shorter and not folder.exists():
        # Another job may be making the same copy, and be faster.
        with contextlib.suppress(OSError), tempfile.TemporaryDirectory(dir=context.runs) as copy:
            os.replace(shutil.copytree(context.runs / f"{stem}{max(shorter)}", f"{copy}/run"), folder)
    while True:
        try:
            return trained(
                experiment, folder, label=settings["experiment"], report=context.report, data_dir=context.data_dir
            )
        except files.InUse:
            time.sleep(_WAIT)


def measure(settings: Mapping[str, Any], context: Context) -> dict[str, Any]:
    """Trains a classifier and measures it clean, under attacks as a paper runs them, and by AutoAttack with a verdict.

    Settings:
        experiment, changes: as in `experiment_of`.
        attacks: name -> an attack of `tfadv.attacks.to_dict`; each alone, on all test images.
        limit: test images for `attacks`, a seeded, stratified subset; None is all.
        standard: test images for suite="standard"; 0 leaves it out. epsilon, norm: its threat model.
        precision: of the searches.

    Returns:
        step, seconds_of_training, count, clean: {"accuracy", "interval"}, attacks[name]: {"accuracy", "interval",
        "any_iterate", "precision"}, standard: {"accuracy", "interval", "count", "verdict", "reason", "rows", ...}.
        Accuracies are fractions.
    """
    run = trained_run(settings, context)
    model = load(run / "model.keras")
    experiment = experiment_of(settings)
    x, y = tfadv.data.arrays(experiment.dataset, "test", data_dir=context.data_dir, limit=settings.get("limit"))
    right = model.predict(x, batch_size=_FORWARD_BATCH, verbose=0).argmax(axis=1) == y
    result: dict[str, Any] = {
        "step": read_json(run / "metrics.json")["step"],
        "seconds_of_training": seconds_of_training(run),
        "weights": digest(model),
        "count": len(x),
        "clean": share(right),
        "attacks": {},
    }
    precision = settings.get("precision", "auto")

    def left(values: dict[str, Any]) -> dict[str, Any]:
        outcome = attacks.compiled(model, attacks.from_dict(values), precision=precision).run(x, y)
        any_iterate = float((~outcome.ever_adversarial).mean())
        return {**share(~outcome.adversarial), "any_iterate": any_iterate, "precision": outcome.precision}

    for name, values in settings.get("attacks", {}).items():
        line = f"{name} on {len(x):,} images"
        result["attacks"][name] = kept(context, line, [values, result["weights"]], left, values)
    if settings.get("standard"):
        result["standard"] = strong(
            model,
            experiment.dataset,
            settings["epsilon"],
            settings.get("norm", "linf"),
            settings["standard"],
            context,
            precision=precision,
        )
    return result


def kept(
    context: Context, name: str, settings: Any, work: Callable[..., dict[str, Any]], *given: Any
) -> dict[str, Any]:
    """What `work(*given)` finds, or what it found before: a job that was killed does not begin with its first part.

    Args:
        name: of the part, also reported when it begins.
        settings: JSON values that, with the name, decide what it finds.
    """
    path = context.folder / f"{short_hash([name, settings])}.json"
    found = read_json(path)
    if found is None:
        context.report(name)
        found = work(*given)
        files.write_json(path, found)
    return found


def strong(
    model: Any, dataset: str, epsilon: float, norm: str, count: int, context: Context, *, precision: str = "auto"
) -> dict[str, Any]:
    """What AutoAttack and the checks of `tfadv.evaluate` leave of a classifier, on `count` stratified test images.

    Where it is killed it continues from its state in `context.folder`.

    Returns:
        accuracy, interval, count, clean, verdict, reason, precision, rows: attack -> accuracy alone or on what is left,
        checks: name -> outcome. Accuracies are fractions.
    """
    context.report(f"AutoAttack on {count:,} images")
    report = evaluation.evaluate(
        model,
        tfadv.data.arrays(dataset, "test", data_dir=context.data_dir),
        epsilon,
        norm,
        "standard",
        limit=count,
        precision=precision,
        state=context.folder / "standard",
    )
    assert report.verdict is not None, "suite standard is checked"
    return {
        "accuracy": report.robust_accuracy,
        "interval": list(report.interval),
        "count": report.count,
        "clean": report.clean_accuracy,
        "verdict": report.verdict.word,
        "reason": report.verdict.reason,
        "precision": sorted({row.precision for row in report.rows}),
        "rows": {row.name: row.accuracy for row in report.rows},
        "checks": {check.name: check.outcome for check in report.checks},
    }


def share(flags: np.ndarray) -> dict[str, Any]:
    """{"accuracy", "interval"}: the share of True, and its Clopper-Pearson 95% interval."""
    low, high = clopper_pearson(int(flags.sum()), len(flags))
    return {"accuracy": float(flags.mean()), "interval": [low, high]}


def measured(key: str, experiment: str, seconds: float, **settings: Any) -> Job:
    """A job of `measure`; attacks may be given as configs."""
    given = {name: attacks.to_dict(config) for name, config in settings.pop("attacks", {}).items()}
    return Job(key, measure, {"experiment": experiment, "attacks": given, **settings}, seconds)
