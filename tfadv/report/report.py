"""What an evaluation found, as data: the attacks, the per-example worst case, its interval; and its JSON and tables.

The headline is the per-example worst case: an example counts as robust only if every attack of the suite failed on it.
It bounds the true robust accuracy from above, and its interval is the exact binomial one of Clopper and Pearson
("The use of confidence or fiducial limits illustrated in the case of the binomial", Biometrika 26, 1934).
"""

from __future__ import annotations

import dataclasses
import os
import zlib
from collections.abc import Mapping
from typing import Any

import numpy as np

from tfadv.report.records import (
    CONFIDENCE,
    STATEMENT,
    AttackResult,
    Check,
    Examples,
    ThreatModel,
    Verdict,
    check_schema,
    clopper_pearson,
)
from tfadv.report.section import Section
from tfadv.report.tables import NOT_AVAILABLE, Table, duration, escape_markdown, one_line, percent, percent_interval
from tfadv.report.values import freeze, plain
from tfadv.validation import UserError

__all__ = ["STATEMENT", "AttackResult", "Check", "Examples", "Report", "ThreatModel", "clopper_pearson"]

SCHEMA = "tfadv.report"
SCHEMA_VERSION = 2
# Arrays that a report may lack, one number for each image.
_OPTIONAL = ("index", "adversarial_predictions", "image_queries")


@dataclasses.dataclass(frozen=True, eq=False)
class Report:
    """The evaluation of one model on one data set under one threat model.

    Attributes:
        name: the model's name.
        dataset: the name of the data.
        threat: what the attacker was allowed.
        labels: [n] int, true classes, n >= 1.
        predictions: [n] int, the model's classes of the clean images.
        rows: one result for each attack, in the order in which they ran.
        examples: a few images to look at, or None.
        checks: of the evaluation itself.
        verdict: what they say together; None if none were made.
        found_by_checks: [n] bool, examples that no row broke and an attack of a check did; empty stands for none.
        sections: what else was looked at.
        versions: package name -> version.
        settings: anything else that is needed to repeat the evaluation, JSON values.
        index: [n] int, number of each image in the data; None counts from 0.
        adversarial_predictions: [n] int, the model's class of each image after the attacks: of the first adversarial
            image that was found, or of the clean image where there is none; None if not kept.
        image_queries: [n] int, queries that all attacks together spent on each image; None if not kept.
        images: [n, ...] the images after the attacks, clean where none succeeded, for `save(adversarial=...)`; no part
            of the JSON, and None of a report that was read.
    """

    name: str
    dataset: str
    threat: ThreatModel
    labels: np.ndarray
    predictions: np.ndarray
    rows: tuple[AttackResult, ...] = ()
    examples: Examples | None = None
    checks: tuple[Check, ...] = ()
    verdict: Verdict | None = None
    found_by_checks: np.ndarray = dataclasses.field(default_factory=lambda: np.zeros(0, bool))
    sections: tuple[Section, ...] = ()
    versions: Mapping[str, str] = dataclasses.field(default_factory=dict)
    settings: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    index: np.ndarray | None = None
    adversarial_predictions: np.ndarray | None = None
    image_queries: np.ndarray | None = None
    images: np.ndarray | None = None

    def __post_init__(self) -> None:
        freeze(self, {"labels": np.int64, "predictions": np.int64})
        if not len(self.found_by_checks):
            object.__setattr__(self, "found_by_checks", np.zeros(self.labels.shape, bool))
        freeze(self, {"found_by_checks": bool})
        freeze(self, {field: np.int64 for field in _OPTIONAL if getattr(self, field) is not None})
        for field in ("rows", "checks", "sections"):
            object.__setattr__(self, field, tuple(getattr(self, field)))
        for field in ("versions", "settings"):
            object.__setattr__(self, field, plain(dict(getattr(self, field)), field))
        if self.labels.ndim != 1 or not len(self.labels) or self.labels.shape != self.predictions.shape:
            raise UserError(
                "labels and predictions must be integers of one shape [n] with n >= 1, "
                f"got {self.labels.shape} and {self.predictions.shape}; pass at least one example"
            )
        names = [row.name for row in self.rows]
        if len(set(names)) < len(names):
            raise ValueError(f"the names of the attacks in a report must differ, got {names}")
        before = self.labels != self.predictions
        for row in self.rows:
            if row.adversarial.shape != before.shape:
                raise ValueError(f"{row.name!r} must report on {len(before)} examples, got {len(row.adversarial)}")
            if (missed := int(np.sum((self.labels != self.predictions) & ~row.adversarial))) > 0:
                raise ValueError(
                    "adversarial must be True wherever the clean image is misclassified; "
                    f"{row.name!r} says otherwise for {missed} examples"
                )
            if (found := int(np.sum(row.adversarial & ~before))) != row.new_successes:
                raise ValueError(
                    f"new_successes of {row.name!r} must be the {found} examples that neither the clean image nor an "
                    f"earlier row broke, got {row.new_successes}"
                )
            before = before | row.adversarial
        self._check_what_came_after(before)

    def _check_what_came_after(self, by_suite: np.ndarray) -> None:
        """Refuses a verdict and arrays that contradict what the rows say of `by_suite` [n]."""
        found, after = self.found_by_checks, self.adversarial_predictions
        if found.shape != by_suite.shape or (found & by_suite).any():
            raise ValueError("found_by_checks must be [n] and name no example that a row broke already")
        for field in _OPTIONAL:
            if (array := getattr(self, field)) is not None and array.shape != by_suite.shape:
                raise ValueError(f"{field} must be None or hold one number for each image, got shape {array.shape}")
        if after is not None:
            still_right = by_suite & (after == self.labels)
            touched = ~(by_suite | found) & (after != self.predictions)
            if (wrong := int((still_right | touched).sum())) > 0:
                raise ValueError(
                    "adversarial_predictions must differ from the label where an attack broke the image, and be the "
                    f"clean prediction where none did; {wrong} do not"
                )
        left = 1 - float(np.mean(by_suite | found))
        if self.verdict is not None and abs(self.verdict.worst - left) * self.count > 0.5:
            raise ValueError(
                f"the verdict's worst must be the {left} that neither the rows nor the checks broke, "
                f"got {self.verdict.worst}"
            )

    @property
    def count(self) -> int:
        """n, the number of examples."""
        return len(self.labels)

    @property
    def clean_accuracy(self) -> float:
        """Share of the examples classified correctly without an attack; 0 to 1."""
        return float(np.mean(self.labels == self.predictions))

    @property
    def broken(self) -> np.ndarray:
        """[n] bool: misclassified clean, or broken by any attack of the suite; if overestimated, of the checks too."""
        return self.by_suite | self.found_by_checks if self.overestimated else self.by_suite

    @property
    def by_suite(self) -> np.ndarray:
        """[n] bool: misclassified clean, or broken by any row."""
        return np.logical_or.reduce([self.labels != self.predictions, *(row.adversarial for row in self.rows)])

    @property
    def suite_accuracy(self) -> float:
        """Share of the examples that the rows left correctly classified, whatever the checks found; 0 to 1."""
        return float(np.mean(~self.by_suite))

    @property
    def claimed(self) -> float | None:
        """The robust accuracy that somebody states of the model, a fraction; None if only the suite's was judged.

        It is the setting "claimed", or what the verdict judged if that is not what the suite found.
        """
        stated = self.settings.get("claimed")
        if stated is not None:
            return float(stated)
        judged = None if self.verdict is None else self.verdict.claimed
        return None if judged is None or abs(judged - self.suite_accuracy) < 1e-9 else judged

    @property
    def overestimated(self) -> bool:
        """Whether the attacks of the checks broke so many examples that the headline counts them in."""
        return self.verdict is not None and self.verdict.word == "overestimated"

    @property
    def robust_accuracy(self) -> float:
        """Share of the examples that are not `broken`: the per-example worst case; 0 to 1."""
        return float(np.mean(~self.broken))

    @property
    def interval(self) -> tuple[float, float]:
        """Clopper-Pearson 95% interval of `robust_accuracy`: what another sample of examples could have shown."""
        return clopper_pearson(int(np.sum(~self.broken)), self.count)

    @property
    def clean_interval(self) -> tuple[float, float]:
        """Clopper-Pearson 95% interval of `clean_accuracy`."""
        return clopper_pearson(int(np.sum(self.labels == self.predictions)), self.count)

    @property
    def worst(self) -> AttackResult | None:
        """The single attack that leaves the lowest accuracy (the first of equals); None if none ran."""
        return min(self.rows, key=lambda row: row.accuracy, default=None)

    def judgment(self) -> str:
        """The verdict in a line or two; empty if there is none."""
        if self.verdict is None:
            return ""
        whose = "the suite's" if self.claimed is None else "claimed"
        beside = {
            "trusted": " (no check failed)",
            "overestimated": f" ({whose} {percent(self.verdict.claimed, self.count)}, "
            f"left {percent(self.verdict.worst, self.count)})",
        }.get(self.verdict.word, "")
        return f"verdict: {self.verdict.word}{beside}. {one_line(self.verdict.reason)}"

    def headline(self) -> str:
        """The result in one sentence; STATEMENT belongs beside it."""
        n, warning = self.count, "" if self.rows else "no attack was run; "
        return (
            f"worst-case accuracy {percent(self.robust_accuracy, n)} "
            f"({warning}{n - int(self.broken.sum()):,} of {n:,}; 95% interval {percent_interval(self.interval, n)}), "
            f"clean {percent(self.clean_accuracy, n)}"
        )

    def table(self) -> Table:
        """One row for the clean images, one for each attack, one for the worst case.

        Where the worst case counts in what the attacks of the checks broke, these have a row before it.
        """
        n = self.count

        def line(name: str, accuracy: float, interval: tuple[float, float], *rest: str) -> tuple[str, ...]:
            return (name, percent(accuracy, n), percent_interval(interval, n), *(rest or (NOT_AVAILABLE,) * 5))

        lines = [line("clean", self.clean_accuracy, self.clean_interval)]
        for row in self.rows:
            size = NOT_AVAILABLE if row.median_distance is None else f"{row.median_distance:.4g}"
            effort = (NOT_AVAILABLE if n is None else f"{n:,}" for n in (row.gradient_evaluations, row.queries))
            found = (f"{row.new_successes:,}", size, *effort, duration(row.seconds))
            lines.append(line(row.name, row.accuracy, row.interval, *found))
        by_checks = int(self.broken.sum()) - int(self.by_suite.sum())
        if by_checks:
            lines.append(("attacks of the checks", *(NOT_AVAILABLE,) * 2, f"{by_checks:,}", *(NOT_AVAILABLE,) * 4))
        lines.append(line("worst case", self.robust_accuracy, self.interval))
        effort_head = ("new successes", "median distance", "gradients", "queries", "time")
        head = ("attack", "accuracy", "95% interval", *effort_head)
        caption = f"{self.name} on {n:,} images of {self.dataset}: {self.threat.describe()}."
        precisions = {row.precision for row in self.rows} or {"float32"}
        if len(precisions) == 1:
            (precision,) = precisions
            how = "All computed in float32." if precision == "float32" else f"Precision: {precision}."
            return Table(head, tuple(lines), f"{caption} {how}")
        after = (NOT_AVAILABLE,) * (len(lines) - len(self.rows) - 1)
        column = (NOT_AVAILABLE, *(row.precision for row in self.rows), *after)
        extended = tuple((*cells, precision) for cells, precision in zip(lines, column, strict=True))
        return Table((*head, "precision"), extended, caption)

    def markdown(self) -> str:
        """The table of `table` in Markdown, with the headline, the statement that always goes with it, the verdict."""
        body = self.table()
        verdict = f"\n{escape_markdown(self.judgment())}\n" if self.verdict else ""
        return f"{escape_markdown(body.caption)}\n\n{body.markdown()}\n{self.headline()}: {STATEMENT}.\n{verdict}"

    def latex(self) -> str:
        """The same for a paper in LaTeX: a `table` that needs the package booktabs."""
        body = self.table()
        notes = (f"{self.headline()}: {STATEMENT}.", self.judgment())
        return dataclasses.replace(body, caption=" ".join((body.caption, *filter(None, notes)))).latex()

    def summary(self) -> str:
        """The same as plain text, for a terminal."""
        body = self.table()
        verdict = f"{self.judgment()}\n" if self.verdict else ""
        return f"{body.caption}\n\n{body.text()}\n{one_line(self.headline())}\n{STATEMENT}\n{verdict}"

    def to_json(self) -> dict[str, Any]:
        """JSON values of everything in the report, with the derived headline beside the raw arrays."""
        return {
            "schema": SCHEMA,
            "schema_version": SCHEMA_VERSION,
            "name": self.name,
            "dataset": self.dataset,
            "threat": {**dataclasses.asdict(self.threat), "bounds": list(self.threat.bounds)},
            "headline": {
                "count": self.count,
                "clean_accuracy": self.clean_accuracy,
                "clean_interval": list(self.clean_interval),
                "robust_accuracy": self.robust_accuracy,
                "interval": list(self.interval),
                "confidence": CONFIDENCE,
                "interval_method": "Clopper-Pearson",
                "statement": STATEMENT,
            },
            "rows": [row.to_json() for row in self.rows],
            "checks": [check.to_json() for check in self.checks],
            "verdict": None if self.verdict is None else dataclasses.asdict(self.verdict),
            "found_by_checks": np.flatnonzero(self.found_by_checks).tolist(),
            "sections": [section.to_json() for section in self.sections],
            "versions": self.versions,
            "settings": self.settings,
            "labels": self.labels.tolist(),
            "predictions": self.predictions.tolist(),
            **{field: None if (v := getattr(self, field)) is None else v.tolist() for field in _OPTIONAL},
            "examples": None if self.examples is None else self.examples.to_json(),
        }

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Report:
        """The inverse of `to_json`; the headline is computed again.

        Raises:
            UserError: `data` is not a report of this or an earlier schema version, or lacks a part.
        """
        check_schema(data, SCHEMA, SCHEMA_VERSION)
        try:
            arrays: dict[str, Any] = {field: data.get(field) for field in _OPTIONAL}
            return cls(
                **{key: data[key] for key in ("name", "dataset", "labels", "predictions", "versions", "settings")},
                threat=ThreatModel(**data["threat"]),
                rows=tuple(AttackResult.from_json(row) for row in data["rows"]),
                checks=tuple(Check.from_json(check) for check in data["checks"]),
                verdict=None if data.get("verdict") is None else Verdict(**data["verdict"]),
                found_by_checks=np.isin(np.arange(len(data["labels"])), data.get("found_by_checks", ())),
                sections=tuple(Section.from_json(section) for section in data.get("sections", ())),
                examples=None if data["examples"] is None else Examples.from_json(data["examples"]),
                **arrays,
            )
        except (AttributeError, KeyError, TypeError, ValueError, zlib.error) as error:
            raise UserError(f"the report is damaged ({error!r}); write it again with Report.save") from error

    def save(self, directory: str | os.PathLike, adversarial: np.ndarray | None = None) -> None:
        """Writes the report into `directory`, in every form.

        report.json holds everything, report.html shows it (one file, opens offline); plots as PNG and SVG; table.md and
        table.tex; images.parquet with one row for each image; robustbench.json and log.txt with the fields and lines
        that RobustBench and AutoAttack use. `tfadv.report.outputs` describes the last three.

        Everything is rendered and written under temporary names first, so an earlier report there stays whole if
        anything fails; files of an earlier report that this one lacks are removed.

        Args:
            directory: is made if need be.
            adversarial: [n, ...] the images after the attacks, clean where none succeeded; written to adversarial.npz.

        Raises:
            UserError: the folder cannot be made or written to, or `adversarial` holds another number of images.
        """
        # Matplotlib, Jinja2 and PyArrow take a second to import, and a report is more often made than saved.
        from tfadv.report import saving

        saving.save(self, directory, adversarial)
