"""Reproduces a table of a paper: trains its rows, attacks them as the paper did, prints paper | ours | difference.

Everything already there is reused: a run folder continues, an evaluation of the same weights under the same attacks is
read back. So a table grows: run it at a short schedule today, at the paper's tomorrow.
"""

from __future__ import annotations

import dataclasses
import os
import pathlib
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

import tfadv.data
from tfadv import attacks, files, training
from tfadv.experiments import EXPERIMENTS
from tfadv.models import load
from tfadv.progress import Progress
from tfadv.report.records import clopper_pearson
from tfadv.reproduction.jobs import strong
from tfadv.reproduction.joined import newest_evaluations, newest_strong, settings_of, write_table
from tfadv.reproduction.runs import digest, read_json, seconds_of_training, short_hash, trained
from tfadv.reproduction.study import Context
from tfadv.reproduction.target import Row, Target
from tfadv.validation import UserError

# Points of the curve robust accuracy against steps: enough for an interval of about 3 points, cheap enough to repeat.
CURVE_IMAGES = 1_000
_FORWARD_BATCH = 500


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
    record: str | os.PathLike | None = None,
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
        record: a published target (`results.publish`): rows that it holds at `steps` or more are taken from it.
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
    published = None if record is None else pathlib.Path(record)
    records = [published / "evaluations"] if published else []
    known = newest_evaluations(target, records, len(x))
    # A subset of the test images is a look at the table, which the strong evaluation would make long.
    standard = target.standard if len(x) >= target.standard else 0
    if standard:
        judged = newest_strong(records)
        known = {key: each for key, each in known.items() if judged.get(key, {"step": 0})["step"] >= each["step"]}
    for row in [row for row in chosen if row.key in known and known[row.key]["step"] >= steps]:
        chosen.remove(row)
        report(f"{row.label}: taken from {record}, {known[row.key]['step']:,} steps")
    if not chosen:
        return write_table(target, output, len(x), published)
    train = _Trainer(output, steps, data_dir, keep_every, report)
    source = train(target.source)
    examples = _BlackBox(target, source, x, y, output / "evaluations", precision, report)
    for row in chosen:
        model = train(row)
        evaluate_row(target, row, model, x, y, examples, output / "evaluations", precision, report)
        if standard:
            evaluate_strongly(target, row, model, dataset, output / "evaluations", data_dir, precision, report)
        if keep_every:
            evaluate_curve(target, row, output, data_dir, dataset, precision, report)
    return write_table(target, output, len(x), published)


class _Trainer:
    """Trains a row to the asked number of steps, or finds that it is there."""

    def __init__(self, output, steps, data_dir, keep_every, report) -> None:  # type: ignore[no-untyped-def]
        self.output, self.steps, self.report = output, steps, report
        self.options = {"data_dir": data_dir, "keep_every": keep_every}

    def __call__(self, row: Row) -> pathlib.Path:
        experiment = dataclasses.replace(EXPERIMENTS[row.experiment], steps=self.steps)
        folder = self.output / "runs" / row.key
        return trained(experiment, folder, label=row.label, report=self.report, **self.options)


class _BlackBox:
    """Adversarial images crafted on the source model, once for each attack, when a row first needs them."""

    def __init__(self, target, source, x, y, folder, precision, report) -> None:  # type: ignore[no-untyped-def]
        self.source, self.x, self.y, self.folder, self.precision, self.report = source, x, y, folder, precision, report
        self.weights = digest(load(source / "model.keras"))
        self.images: dict[attacks.Pgd, np.ndarray] = {}

    def __call__(self, config: attacks.Pgd) -> np.ndarray:
        if config not in self.images:
            settings = [attacks.to_dict(config), self.precision, str(self.x.shape), self.weights]
            path = self.folder / f"source-{short_hash(settings)}.npz"
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
    model = load(run / "model.keras")
    path = folder / f"{row.key}-{short_hash([settings_of(target), precision, len(x), digest(model)])}.json"
    found = read_json(path) or {}
    if found.get("source") == examples.weights:
        return found

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
        "step": read_json(run / "metrics.json")["step"],
        "seconds_of_training": seconds_of_training(run),
        "precision": search,
        "count": len(x),
        "source": examples.weights,
        "settings": settings_of(target),
        "columns": columns,
        "environment": training.environment(),
    }
    files.write_json(path, result)
    shown = ", ".join(f"{name} {100 * values['accuracy']:.2f}" for name, values in columns.items())
    report(f"{row.label} at {result['step']:,} steps: {shown}")
    return result


def evaluate_strongly(
    target: Target,
    row: Row,
    run: pathlib.Path,
    dataset: str,
    folder: pathlib.Path,
    data_dir: str | None,
    precision: str,
    report: Callable[[str], None],
) -> dict[str, Any]:
    """AutoAttack and its checks on a row (`jobs.strong`), or what was found before for these weights."""
    model = load(run / "model.keras")
    name = f"standard-{row.key}-{short_hash([target.epsilon, target.standard, precision, digest(model)])}"
    found = read_json(folder / f"{name}.json")
    if found is None:
        context = Context(folder / name, folder, data_dir, lambda line: report(f"{row.label}: {line}"))
        standard = strong(model, dataset, target.epsilon, "linf", target.standard, context, precision=precision)
        found = {"key": row.key, "step": read_json(run / "metrics.json")["step"], "standard": standard}
        files.write_json(folder / f"{name}.json", found)
        report(f"{row.label}: AutoAttack leaves {100 * standard['accuracy']:.1f}, {standard['verdict']}")
    return found


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
