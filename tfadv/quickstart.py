"""The main job from end to end: train three models, attack them, cross-check, export, evaluate the exports, report."""

from __future__ import annotations

import os
import pathlib
import time
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

import tfadv.data
from tfadv import export, files, training
from tfadv.attacks import Pgd
from tfadv.crosscheck import cleverhans
from tfadv.evaluation import evaluate
from tfadv.experiments import EXPERIMENTS
from tfadv.experiments.quickstart import EPSILON
from tfadv.models import load
from tfadv.report import Collection, Report, Section
from tfadv.report.tables import Table
from tfadv.validation import UserError

# Reader's name -> experiment; in the order of the table.
MODELS = {
    "natural": "natural",
    "logit squeezing + noise + feature smoothing": "cheap",
    "PGD adversarial training": "adversarial",
}
_SOURCE = "source"
_CROSSCHECK_IMAGES = 100
_LIMITS: dict[str, int | None] = {"digits": None, "mnist": 1_000}


def run(
    dataset: str,
    output: str | os.PathLike,
    *,
    data_dir: str | None = None,
    report: Callable[[str], None] = print,
) -> Collection:
    """Runs the main job on `dataset` and writes everything below `output`; run again, it continues where it stopped.

    Writes runs/NAME (training), exports/NAME (SavedModels), report.json, report.html and the plots.

    Args:
        dataset: "digits" (embedded, no network) or "mnist" (through TFDS).
        report: receives the lines of progress.

    Raises:
        UserError: another data set; data that cannot be had; an export that does not give the live model's numbers;
            another process at work in `output`.
    """
    if dataset not in EPSILON:
        raise UserError(f"dataset must be one of {sorted(EPSILON)}, got {dataset!r}")
    with files.holding(output):
        return _run(dataset, pathlib.Path(output), data_dir, report)


def _run(dataset: str, output: pathlib.Path, data_dir: str | None, report: Callable[[str], None]) -> Collection:
    began, epsilon = time.monotonic(), EPSILON[dataset]
    models, training_rows = {}, []
    for name, key in {**MODELS, "independently trained natural model": _SOURCE}.items():
        report(f"[1/4] training: {name}")
        experiment = EXPERIMENTS[f"quickstart_{dataset}/{key}"]
        folder = output / "runs" / key
        tick = time.monotonic()
        metrics = training.run(experiment, folder, data_dir=data_dir, checkpoint_every=130, report=report)
        models[key] = load(folder / "model.keras")
        seconds = f"{time.monotonic() - tick:.0f} s"
        training_rows.append((name, f"{metrics['step']:,}", seconds, f"{100 * metrics['test_accuracy']:.1f}%"))

    data = tfadv.data.arrays(dataset, "test", data_dir=data_dir, limit=_LIMITS[dataset])

    def judge(name: str, model: Any, check: bool = True) -> Report:
        sources = {"an independent natural model": models[_SOURCE]}
        described = f"{dataset} test"
        return evaluate(
            model, data, epsilon, suite="gradient", sources=sources, check=check, name=name, dataset=described
        )

    reports, export_rows = [], []
    for name, key in MODELS.items():
        report(f"[2/4] evaluating: {name}")
        live = judge(name, models[key])
        reports.append(live)
        report(f"      {live.headline()}")
        report(f"[3/4] exporting, and evaluating the export: {name}")
        folder = export.export_classifier(models[key], output / "exports" / key)
        again = judge(name, load(folder), check=False)
        export_rows.append(_same(name, live, again))

    report("[4/4] cross-checking PGD with CleverHans, from the same start")
    x, y = (column[:_CROSSCHECK_IMAGES] for column in data)
    config = Pgd(epsilon, epsilon / 30, 40, keep="last")
    chosen = [("natural", each) for each in cleverhans.suite(config)] + [("adversarial", config)]
    compared = {(key, number): cleverhans.compare(models[key], x, y, each) for number, (key, each) in enumerate(chosen)}
    result = Collection(
        title=f"tfadv quickstart: {dataset}",
        description=(
            "Three classifiers, each trained on the same images, under the same attacks. Cheap defenses are tried "
            "against first-order attacks here; what stronger attacks leave is for a larger suite to say."
        ),
        reports=tuple(reports),
        sections=(
            Section(
                "Cross-check with CleverHans",
                text="The same attack by both libraries from the same start: which images are fooled, and how far "
                "their pixels lie apart.",
                table=_crosscheck_table(compared),
            ),
            Section(
                "Exported models",
                text="Each SavedModel was loaded again and attacked again with the same seeds.",
                table=Table(("model", "live worst case", "export worst case", "same verdict for"), tuple(export_rows)),
            ),
            Section(
                "Training",
                table=Table(("model", "steps", "wall time", "clean test accuracy"), tuple(training_rows)),
            ),
        ),
    )
    result.save(output)
    files.write_json(
        output / "crosscheck.json", [{"model": key, **each.to_dict()} for (key, _), each in compared.items()]
    )
    report("")
    report(result.summary())
    disagreeing = [each.attack for each in compared.values() if not each.agreed]
    if disagreeing:
        raise UserError(f"tfadv and CleverHans disagree on: {'; '.join(disagreeing)}; see {output / 'crosscheck.json'}")
    report(f"{time.monotonic() - began:.0f} s; open {output / 'report.html'}")
    return result


def _same(name: str, live: Report, exported: Report) -> tuple[str, str, str, str]:
    """A row of the table of exports, or the error that the export is not the model."""
    # The suite alone: the checks, which attack further, are made of the live model only.
    same = int((live.by_suite == exported.by_suite).sum())
    pair = f"{live.suite_accuracy:.4f}", f"{exported.suite_accuracy:.4f}"
    if live.suite_accuracy != exported.suite_accuracy or not np.array_equal(live.predictions, exported.predictions):
        raise UserError(
            f"the export of {name!r} is not the model: worst case {pair[1]} against {pair[0]}, {same} of {live.count} "
            "examples alike"
        )
    return (name, *pair, f"{same} of {live.count} images")


def _crosscheck_table(compared: Mapping[tuple[str, int], cleverhans.Comparison]) -> Table:
    names = {key: name for name, key in MODELS.items()}
    rows = tuple(
        (
            names[key],
            each.attack,
            f"{100 * each.robust_accuracy:.1f}%",
            f"{100 * each.peer_robust_accuracy:.1f}%",
            f"{100 * each.share_of_equal_flags:.1f}%",
            f"{100 * each.share_of_differing_images:.1f}%",
            "agrees" if each.agreed else "disagrees",
        )
        for (key, _), each in compared.items()
    )
    return Table(("model", "attack", "tfadv", "CleverHans", "same outcome", "images that differ", "result"), rows)
