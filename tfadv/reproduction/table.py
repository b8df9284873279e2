"""Reproduces a table of a paper: trains its rows, attacks them as the paper did, prints paper | ours | difference.

Everything already there is reused: a run folder continues, an evaluation of the same weights under the same attacks is
read back. So a table grows: run it at a short schedule today, at the paper's tomorrow.
"""

from __future__ import annotations

import csv
import dataclasses
import hashlib
import importlib.resources
import json
import os
import pathlib
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

import tfadv.data
from tfadv import attacks, files, training
from tfadv.evaluation.records import clopper_pearson
from tfadv.evaluation.tables import Table
from tfadv.experiments import EXPERIMENTS
from tfadv.models import load
from tfadv.progress import Progress
from tfadv.validation import UserError

# Points of the curve robust accuracy against steps: enough for an interval of about 3 points, cheap enough to repeat.
CURVE_IMAGES = 1_000
_FORWARD_BATCH = 500


@dataclasses.dataclass(frozen=True)
class Row:
    """One printed row: its label as printed, and the experiment that trains it."""

    label: str
    experiment: str

    @property
    def key(self) -> str:
        """Short name, for folders."""
        return self.experiment.rpartition("/")[2]


@dataclasses.dataclass(frozen=True)
class Column:
    """One printed column: its attack (None is clean accuracy) and how the reference file names it."""

    name: str
    attack: attacks.Pgd | None
    threat: str
    loss: str


@dataclasses.dataclass(frozen=True)
class Target:
    """A table as data: rows, columns, where black-box examples come from, the file of printed numbers, our readings."""

    title: str
    reference: str
    paper_steps: int
    rows: tuple[Row, ...]
    source: Row
    columns: tuple[Column, ...]
    readings: tuple[str, ...] = ()


def printed(target: Target) -> dict[tuple[str, str], float]:
    """(row label, column name) -> the paper's number in percent, from the reference file inside the package."""
    text = importlib.resources.files("tfadv.reproduction").joinpath(f"reference/{target.reference}").read_text("utf-8")
    numbers = {}
    for line in csv.DictReader(text.splitlines()):
        for column in target.columns:
            same_threat = line["threat"].partition(":")[0] == column.threat or (
                line["attack"] == "none" and not column.attack
            )
            if same_threat and column.loss in line["attack_params"].split(";") + [""] * (not column.loss):
                numbers[line["row_label"], column.name] = float(line["value"])
    return numbers


def reproduce(
    target: Target,
    output: str | os.PathLike,
    *,
    steps: int,
    rows: Sequence[str] | None = None,
    data_dir: str | None = None,
    keep_every: int | None = None,
    limit: int | None = None,
    precision: str = "auto",
    report: Callable[[str], None] = print,
) -> dict[str, Any]:
    """Trains and evaluates the rows of `target`, and writes table.json and table.md of all rows evaluated so far.

    Args:
        output: receives runs/KEY (one run folder for each row), evaluations/, table.json and table.md.
        steps: training steps for each row; a run that has fewer continues, one that has more is evaluated as it is.
        rows: keys of the rows to work on; None is all of them.
        data_dir: where TFDS keeps its data sets.
        keep_every: keeps a classifier at these steps, for the curve robust accuracy against steps.
        limit: evaluates a seeded, stratified subset of the test images instead of all.
        precision: of the attack's search, as in `tfadv.attacks.compiled`.
        report: receives one line for each thing done.

    Raises:
        UserError: an unknown row, or whatever training and evaluation refuse.
    """
    output = pathlib.Path(output)
    keys = [row.key for row in target.rows]
    unknown = sorted(set(rows or ()) - set(keys))
    if unknown:
        raise UserError(f"rows must be among {', '.join(keys)}; got {', '.join(unknown)}")
    chosen = [row for row in target.rows if rows is None or row.key in rows]
    dataset = EXPERIMENTS[target.rows[0].experiment].dataset
    x, y = tfadv.data.arrays(dataset, "test", data_dir=data_dir, limit=limit)
    train = _Trainer(output, steps, data_dir, keep_every, report)
    source = train(target.source)
    examples = _BlackBox(target, source, x, y, output / "evaluations", precision, report)
    for row in chosen:
        model = train(row)
        evaluate_row(target, row, model, x, y, examples, output / "evaluations", precision, report)
        if keep_every:
            evaluate_curve(target, row, output, data_dir, dataset, precision, report)
    return write_table(target, output, count=len(x))


class _Trainer:
    """Trains a row to the asked number of steps, or finds that it is there."""

    def __init__(self, output, steps, data_dir, keep_every, report) -> None:  # type: ignore[no-untyped-def]
        self.output, self.steps, self.report = output, steps, report
        self.options = {"data_dir": data_dir, "keep_every": keep_every}

    def __call__(self, row: Row) -> pathlib.Path:
        folder = self.output / "runs" / row.key
        done = _read(folder / "metrics.json")
        if not done or done["step"] < self.steps:
            self.report(f"{row.label}: training to {self.steps:,} steps")
            experiment = dataclasses.replace(EXPERIMENTS[row.experiment], steps=self.steps)
            training.run(experiment, folder, report=self.report, **self.options)
        return folder


class _BlackBox:
    """Adversarial images crafted on the source model, once for each attack, when a row first needs them."""

    def __init__(self, target, source, x, y, folder, precision, report) -> None:  # type: ignore[no-untyped-def]
        self.source, self.x, self.y, self.folder, self.precision, self.report = source, x, y, folder, precision, report
        self.weights = _digest(source / "model.keras")
        self.images: dict[attacks.Pgd, np.ndarray] = {}

    def __call__(self, config: attacks.Pgd) -> np.ndarray:
        if config not in self.images:
            settings = [attacks.to_dict(config), self.precision, str(self.x.shape), self.weights]
            path = self.folder / f"source-{_hash(settings)}.npz"
            if path.exists():
                with np.load(path, allow_pickle=False) as stored:
                    self.images[config] = stored["x_adv"]
            else:
                outcome = _attack(load(self.source / "model.keras"), config, self.precision, self.x, self.y, "source")
                self.images[config] = outcome.x_adv
                with files.replacing(path) as temporary, temporary.open("wb") as stream:
                    np.savez_compressed(stream, x_adv=outcome.x_adv)
        return self.images[config]


def _attack(
    model: Any, config: attacks.Pgd, precision: str, x: np.ndarray, y: np.ndarray, label: str
) -> attacks.Outcome:
    progress = Progress(f"{label}: PGD-{config.steps} {config.objective}")
    outcome = attacks.compiled(model, config, precision=precision).run(x, y, progress=progress)
    progress.close()
    return outcome


def evaluate_row(
    target: Target,
    row: Row,
    run: pathlib.Path,
    x: np.ndarray,
    y: np.ndarray,
    examples: _BlackBox,
    folder: pathlib.Path,
    precision: str,
    report: Callable[[str], None],
) -> dict[str, Any]:
    """Fills every column of one row, or reads back what was found before for these weights and this source.

    Returns:
        What is stored: row, step, precision, count, environment, source (of the black-box columns), and columns: name
        -> accuracy (after the last iterate) and best_iterate (no iterate fooled), in [0, 1].
    """
    settings = [
        [column.name, column.attack and attacks.to_dict(column.attack), column.threat] for column in target.columns
    ]
    path = folder / f"{row.key}-{_hash([settings, precision, len(x), _digest(run / 'model.keras')])}.json"
    found = _read(path) or {}
    if found.get("source") == examples.weights:
        return found
    model = load(run / "model.keras")

    def right(images: np.ndarray) -> float:
        return float((model.predict(images, batch_size=_FORWARD_BATCH, verbose=0).argmax(axis=1) == y).mean())

    columns: dict[str, dict[str, Any]] = {}
    search = found.get("precision", "float32")
    for column in target.columns:
        if found and column.threat != "black-box":
            # The source was trained further since; what does not come from it stays as it is.
            columns[column.name] = found["columns"][column.name]
        elif column.attack is None:
            columns[column.name] = {"accuracy": right(x)}
        elif column.threat == "black-box":
            columns[column.name] = {"accuracy": right(examples(column.attack))}
        else:
            outcome = _attack(model, column.attack, precision, x, y, row.label)
            search = outcome.precision
            columns[column.name] = {
                "accuracy": float((~outcome.adversarial).mean()),
                "best_iterate": float((~outcome.ever_adversarial).mean()),
            }
    result = {
        "row": row.label,
        "key": row.key,
        "step": _read(run / "metrics.json")["step"],
        "seconds_of_training": _seconds_of_training(run),
        "precision": search,
        "count": len(x),
        "source": examples.weights,
        "columns": columns,
        "environment": training.environment(),
    }
    files.write_json(path, result)
    shown = ", ".join(f"{name} {100 * values['accuracy']:.2f}" for name, values in columns.items())
    report(f"{row.label} at {result['step']:,} steps: {shown}")
    return result


def evaluate_curve(
    target: Target,
    row: Row,
    output: pathlib.Path,
    data_dir: str | None,
    dataset: str,
    precision: str,
    report: Callable[[str], None],
) -> None:
    """Robust accuracy of every kept classifier of a row under the table's first attack, on `CURVE_IMAGES` images."""
    x, y = tfadv.data.arrays(dataset, "test", data_dir=data_dir)
    chosen = tfadv.data.stratified_subset(y, min(CURVE_IMAGES, len(y)), seed=0)
    x, y = x[chosen], y[chosen]
    config = target.columns[0].attack
    assert config is not None, "the first column of a table is an attack"
    for path in sorted((output / "runs" / row.key / "models").glob("step-*.keras")):
        stored = output / "evaluations" / f"curve-{row.key}-{path.stem}.json"
        if stored.exists():
            continue
        outcome = _attack(load(path), config, precision, x, y, f"{row.label}, {path.stem}")
        accuracy = float((~outcome.adversarial).mean())
        low, high = clopper_pearson(int((~outcome.adversarial).sum()), len(x))
        point = {"row": row.label, "step": int(path.stem.rpartition("-")[2]), "count": len(x)}
        files.write_json(stored, {**point, "accuracy": accuracy, "low": low, "high": high})
        attack = target.columns[0].name
        report(f"{row.label} at {point['step']:,} steps: {attack} {100 * accuracy:.1f} on {len(x):,} images")


def write_table(target: Target, output: pathlib.Path, count: int) -> dict[str, Any]:
    """Joins the newest evaluation of each row with the printed numbers; writes table.json and table.md."""
    numbers = printed(target)
    newest: dict[str, Any] = {}
    for path in sorted((output / "evaluations").glob("*.json"), key=lambda path: path.stat().st_mtime):
        found = _read(path)
        if not (found and "columns" in found and found["count"] == count):
            continue
        if newest.get(found["key"], found)["step"] <= found["step"]:
            newest[found["key"]] = found
    cells, lines = [], []
    for row in target.rows:
        if row.key not in newest:
            continue
        found = newest[row.key]
        schedule = found["step"] / target.paper_steps
        status = "the paper's schedule" if schedule >= 1 else f"not comparable: {schedule:.0%} of the schedule"
        for column in target.columns:
            ours, paper = found["columns"][column.name], numbers.get((row.label, column.name))
            percent = 100 * ours["accuracy"]
            low, high = clopper_pearson(round(ours["accuracy"] * found["count"]), found["count"])
            best = ours.get("best_iterate")
            cells.append(
                {
                    "row": row.label,
                    "column": column.name,
                    "paper": paper,
                    "ours": round(percent, 2),
                    "difference": None if paper is None else round(percent - paper, 2),
                    "interval": [round(100 * low, 2), round(100 * high, 2)],
                    "ours_best_iterate": None if best is None else round(100 * best, 2),
                    "step": found["step"],
                    "status": status,
                }
            )
            lines.append(
                (
                    row.label,
                    column.name,
                    "–" if paper is None else f"{paper:.2f}",
                    f"{percent:.2f}",
                    "–" if paper is None else f"{percent - paper:+.2f}",
                    f"{100 * low:.1f} to {100 * high:.1f}",
                    "–" if best is None else f"{100 * best:.2f}",
                    f"{found['step']:,}",
                    status,
                )
            )
    head = ("method", "attack", "paper", "ours", "difference", "95% interval", "ours, any iterate", "steps", "schedule")
    table = Table(head, tuple(lines), f"{target.title}; {count:,} test images.")
    curve = sorted(
        (found for path in (output / "evaluations").glob("curve-*.json") if (found := _read(path))),
        key=lambda point: (point["row"], point["step"]),
    )
    result = {
        "target": target.title,
        "count": count,
        "paper_steps": target.paper_steps,
        "readings": list(target.readings),
        "attacks": {column.name: column.attack and attacks.to_dict(column.attack) for column in target.columns},
        "cells": cells,
        "runs": [
            {key: newest[row.key][key] for key in ("row", "step", "seconds_of_training", "precision", "environment")}
            for row in target.rows
            if row.key in newest
        ],
        "curve": curve,
    }
    files.write_json(output / "table.json", result)
    files.write_text(output / "table.md", f"{table.caption}\n\n{table.markdown()}")
    return result


def _read(path: pathlib.Path) -> Any:
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None


def _seconds_of_training(run: pathlib.Path) -> float:
    """Wall time of the training steps alone, over all the sessions of a run."""
    rows = [json.loads(line) for line in (run / "metrics.jsonl").read_text(encoding="utf-8").splitlines()]
    batch = _read(run / "experiment.json")["experiment"]["batch_size"]
    steps = np.diff([0, *(row["step"] for row in rows)])
    return float(sum(count * batch / row["images_per_second"] for count, row in zip(steps, rows, strict=True)))


def _digest(path: pathlib.Path) -> str:
    """SHA-256 of a model's weights, so that saving the same weights again is no new model."""
    weights = load(path).get_weights()
    return hashlib.sha256(b"".join(np.ascontiguousarray(weight).tobytes() for weight in weights)).hexdigest()


def _hash(settings: Any) -> str:
    return hashlib.sha256(json.dumps(settings, sort_keys=True).encode()).hexdigest()[:12]
