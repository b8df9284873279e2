"""Trains a family of experiments and measures them all alike: clean, FGSM, PGD-20 on two losses, and AutoAttack.

Everything already there is reused: a run folder continues, a column measured on the same weights under the same attacks
is read back, a killed search goes on from its state. So a survey grows: a few members today, on another machine more.
"""

from __future__ import annotations

import dataclasses
import json
import os
import pathlib
import shutil
import time
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

import tfadv.data
from tfadv import attacks, devices, files, training
from tfadv.evaluation.suites import name_of
from tfadv.models import load
from tfadv.progress import Progress
from tfadv.report.tables import duration, percent
from tfadv.reproduction import results, survey_table
from tfadv.reproduction.families import FAMILIES, Column, columns_of, members_of
from tfadv.reproduction.runs import digest, read_json, seconds_of_training, short_hash, trained
from tfadv.validation import UserError

STANDARD_LIMIT = 1_000
PRECISIONS = ("auto", "float32")


def survey(
    family: str,
    output: str | os.PathLike,
    *,
    members: Sequence[str] | None = None,
    steps: int | None = None,
    data_dir: str | None = None,
    limit: int | None = None,
    standard_limit: int = STANDARD_LIMIT,
    precision: str = "auto",
    publish: str | os.PathLike | None = None,
    report: Callable[[str], None] = print,
) -> dict[str, Any]:
    """Trains and measures members of `family`; writes table.json and table.md of all members measured so far.

    FGSM and PGD-20 (steps of 2.5 epsilon / 20 from one random start, the best iterate kept) run on the test images,
    AutoAttack on a part of them, each column by itself on what is classified correctly. Tables are written anew after
    each member.

    Args:
        family: a name of `FAMILIES`.
        output: receives runs/MEMBER, evaluations/MEMBER.json, table.json and table.md.
        members: names without the family; None is all.
        steps: training steps for each member instead of its experiment's own; a run that has more is measured as it is.
        data_dir: where TFDS keeps its data sets.
        limit: measures a seeded, stratified subset of the test images; AutoAttack's subset does not depend on it.
        standard_limit: size of AutoAttack's seeded, stratified subset, at most all; 0 leaves AutoAttack out.
        precision: of the searches, as in `tfadv.attacks.compiled`: "auto" also takes what was found in float32,
            "float32" nothing else.
        publish: a record, usually results: what it holds of the family is taken from it where it has as many steps, and
            what is found goes into it.
        report: receives one line for each thing done.

    Returns:
        The content of table.json.

    Raises:
        UserError: an unknown family or member, a record that was measured otherwise, a member that another process is
            at work on, or whatever training and attacks refuse.
    """
    experiments = members_of(family)
    unknown = sorted(set(members or ()) - set(experiments))
    if unknown or (members is not None and not members):
        raise UserError(
            f"members must be among {', '.join(experiments)}; got {', '.join(unknown) or 'none'}; leave it out for all"
        )
    if steps is not None:
        experiments = {name: dataclasses.replace(each, steps=steps) for name, each in experiments.items()}
    if precision not in PRECISIONS:
        raise UserError(f"precision must be one of {list(PRECISIONS)}, got {precision!r}")
    dataset = next(iter(experiments.values())).dataset
    test = tfadv.data.arrays(dataset, "test", data_dir=data_dir)
    columns = columns_of(FAMILIES[family], dataset, test[1], limit, standard_limit)
    work = _Survey(family, experiments, columns, pathlib.Path(output), publish, precision, data_dir, report)
    for member in experiments if members is None else members:
        if not work.published(member):
            work.measure(member, test)
        table = work.write()
    return table


class _Survey:
    """`survey` once its arguments are checked."""

    def __init__(self, family, experiments, columns, output, publish, precision, data_dir, report) -> None:  # type: ignore[no-untyped-def]
        self.family, self.experiments, self.columns, self.output = family, experiments, columns, output
        self.precision, self.data_dir, self.report = precision, data_dir, report
        self.settings = {name: column.settings for name, column in columns.items()}
        self.record = None if publish is None else results.place(family, publish)
        if self.record is not None:
            self._check_record(self.record)
        self.train_sizes: dict[str, int] = {}

    def _check_record(self, record: pathlib.Path) -> None:
        """Members of one table are measured alike, and a record keeps what it has."""
        there = (read_json(record / "table.json") or {}).get("settings", self.settings)
        differing = [name for name in {**there, **self.settings} if there.get(name) != self.settings.get(name)]
        if differing:
            counts = [each[differing[0]]["count"] if differing[0] in each else 0 for each in (there, self.settings)]
            raise UserError(
                f"publish: {record} was measured with other settings of {', '.join(differing)} ({differing[0]}: "
                f"{counts[0]:,} images there, {counts[1]:,} now); use its limits, or publish in another folder"
            )

    def published(self, member: str) -> bool:
        """Whether the record has this member, trained as its experiment says now and for as many steps."""
        found = self._evaluation(self.record, member)
        if not (found and self._complete(found, self.precision) and self._current(found)):
            return False
        if found["step"] < self.experiments[member].steps:
            return False
        self.report(f"{member}: taken from {self.record}, {found['step']:,} steps")
        return True

    def measure(self, member: str, test: tfadv.data.Arrays) -> None:
        """Trains the member and measures every column that is not there yet; each is on disk as soon as it is done."""
        states = self.output / "states" / member
        with files.holding(states):
            self._measure(member, test, states)
            shutil.rmtree(states, ignore_errors=True)

    def _measure(self, member: str, test: tfadv.data.Arrays, states: pathlib.Path) -> None:
        run = self.output / "runs" / member
        trained(self.experiments[member], run, label=member, report=self.report, data_dir=self.data_dir)
        model = load(run / "model.keras")
        about = self._training(member, run, model)
        path = self._path(self.output, member)
        found = read_json(path) or {}
        columns = found.get("columns", {}) if found.get("weights") == about["weights"] else {}
        searched = "bfloat16" if devices.wants_bfloat16(self.precision) else "float32"
        for name, column in self.columns.items():
            key = short_hash([about["weights"], column.settings])
            if _fits(columns.get(name), key, self.precision):
                continue
            # A state belongs to one search of one classifier; the name keeps others from it.
            state = states / f"{key}-{searched}.npz"
            measured = self._column(model, column, test, f"{member}, {name}", state)
            columns = {**columns, name: {"key": key, **measured}}
            files.write_json(path, {**about, "columns": columns})
            accuracy, count = percent(measured["accuracy"], measured["count"]), measured["count"]
            self.report(f"{member}: {name} {accuracy} of {count:,} images, {duration(measured['seconds'])}")
        now = {**about, "columns": columns}
        if now == found:
            self.report(f"{member}: measured before, {about['step']:,} steps")
        else:
            files.write_json(path, now)

    def _training(self, member: str, run: pathlib.Path, model: Any) -> dict[str, Any]:
        """What there is to say of the member before it is attacked."""
        experiment, metrics = self.experiments[member], read_json(run / "metrics.json")
        started = read_json(run / "experiment.json")
        split = "train" if experiment.validation is None else "train_fit"
        if split not in self.train_sizes:
            self.train_sizes[split] = len(tfadv.data.arrays(experiment.dataset, split, data_dir=self.data_dir)[1])
        train_size = experiment.limit or self.train_sizes[split]
        return {
            "family": self.family,
            "member": member,
            "what": survey_table.description(started["experiment"]),
            "experiment": started["experiment"],
            "step": metrics["step"],
            "train_size": train_size,
            "epochs": metrics["step"] * experiment.batch_size / train_size,
            "model_parameters": model.count_params(),
            "seconds_of_training": seconds_of_training(run),
            "images_per_second": metrics["images_per_second"],
            "trained_with": started["versions"],
            "weights": digest(model),
        }

    def _column(
        self, model: Any, column: Column, test: tfadv.data.Arrays, label: str, state: pathlib.Path
    ) -> dict[str, Any]:
        x, y = (each[column.rows] for each in test)
        if column.attacks:
            values = self._attack(model, column, x, y, label, state)
        else:
            began = time.monotonic()
            values = {"accuracy": training.accuracy(model, x, y), "precision": "float32"}
            values["seconds"] = time.monotonic() - began
        return {**values, "count": len(x), "environment": training.environment()}

    def _attack(
        self, model: Any, column: Column, x: np.ndarray, y: np.ndarray, label: str, state: pathlib.Path
    ) -> dict[str, Any]:
        def on_stage(stage: attacks.Stage) -> None:
            if len(column.attacks) > 1:
                left = percent(stage.robust_accuracy, len(x))
                self.report(f"{label}: {name_of(attacks.from_dict(stage.attack))} leaves {left}")

        progress = Progress(label)
        cascade = attacks.Cascade(model, column.attacks, precision=self.precision)
        # The numbers of the images in the test split, so that each starts as it would among all of them.
        outcome = cascade.run(x, y, index=column.rows, progress=progress, on_stage=on_stage, state=state)
        progress.close()
        stages: list[dict[str, Any]] = [
            {**dataclasses.asdict(stage), "attack": name_of(config)}
            for config, stage in zip(column.attacks, outcome.stages, strict=True)
        ]
        return {
            "accuracy": outcome.robust_accuracy,
            "clean_accuracy": outcome.clean_accuracy,
            "precision": "float32" if {stage["precision"] for stage in stages} == {"float32"} else "bfloat16",
            "seconds": sum(stage["seconds"] for stage in stages),
            "stages": stages,
        }

    def write(self) -> dict[str, Any]:
        """Joins the members measured here and in the record; writes the table, and publishes it."""
        chosen = [found for member in self.experiments if (found := self._best(member)) is not None]
        threat = FAMILIES[self.family]
        about = {"survey": self.family, **dataclasses.asdict(threat), "settings": self.settings}
        table = survey_table.table(about, chosen)
        for folder in [self.output, *([self.record] if self.record else [])]:
            files.write_json(folder / "table.json", table)
            files.write_text(folder / "table.md", f"# {table['title']}\n\n{survey_table.markdown(table)}")
        if self.record is not None:
            for found in chosen:
                files.write_json(self._path(self.record, found["member"]), found)
            results.write_index(self.record.parent)
        return table

    def _best(self, member: str) -> dict[str, Any] | None:
        """The complete evaluation, here or in the record, of most steps; of equal ones that in float32, or ours."""
        candidates = [self._evaluation(folder, member) for folder in (self.output, self.record)]
        return max(
            (found for found in candidates if found and self._complete(found, "auto")),
            key=lambda found: (self._current(found), found["step"], self._complete(found, "float32")),
            default=None,
        )

    def _evaluation(self, folder: pathlib.Path | None, member: str) -> dict[str, Any] | None:
        found = None if folder is None else read_json(self._path(folder, member))
        return found if found and found.get("family") == self.family else None

    def _complete(self, found: dict[str, Any], precision: str) -> bool:
        """Whether every column is there, measured under these settings and in a precision that will do."""
        return all(
            _fits(found["columns"].get(name), short_hash([found["weights"], settings]), precision)
            for name, settings in self.settings.items()
        )

    def _current(self, found: dict[str, Any]) -> bool:
        """Whether the member was trained as its experiment says now, apart from the number of steps."""
        # A field that did not exist then had its default.
        defaults = training.describe(training.Experiment())
        now = json.loads(json.dumps(training.describe(self.experiments[found["member"]])))
        then = {**json.loads(json.dumps(defaults)), **found["experiment"]}
        return {**then, "steps": None} == {**now, "steps": None}

    @staticmethod
    def _path(folder: pathlib.Path, member: str) -> pathlib.Path:
        return folder / "evaluations" / f"{member}.json"


def _fits(column: dict[str, Any] | None, key: str, precision: str) -> bool:
    """Whether a stored column is the one that `key` names; "auto" takes any precision, "float32" no other."""
    return column is not None and column["key"] == key and precision in ("auto", column["precision"])
