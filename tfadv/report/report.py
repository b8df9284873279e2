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
    check_schema,
    clopper_pearson,
    freeze,
    plain,
)
from tfadv.report.tables import NOT_AVAILABLE, Table, duration, one_line, percent, percent_interval
from tfadv.validation import UserError

__all__ = ["STATEMENT", "AttackResult", "Check", "Examples", "Report", "ThreatModel", "clopper_pearson"]

SCHEMA = "tfadv.report"
SCHEMA_VERSION = 1


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
        checks: the sanity checks.
        versions: package name -> version.
        settings: anything else that is needed to repeat the evaluation, JSON values.
    """

    name: str
    dataset: str
    threat: ThreatModel
    labels: np.ndarray
    predictions: np.ndarray
    rows: tuple[AttackResult, ...] = ()
    examples: Examples | None = None
    checks: tuple[Check, ...] = ()
    versions: Mapping[str, str] = dataclasses.field(default_factory=dict)
    settings: Mapping[str, Any] = dataclasses.field(default_factory=dict)

    def __post_init__(self) -> None:
        freeze(self, {"labels": np.int64, "predictions": np.int64})
        for field in ("rows", "checks"):
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
        """[n] bool: misclassified clean, or broken by any attack."""
        return np.logical_or.reduce([self.labels != self.predictions, *(row.adversarial for row in self.rows)])

    @property
    def robust_accuracy(self) -> float:
        """Share of the examples that no attack broke: the per-example worst case; 0 to 1."""
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

    def headline(self) -> str:
        """The result in one sentence; STATEMENT belongs beside it."""
        n, warning = self.count, "" if self.rows else "no attack was run; "
        return (
            f"worst-case accuracy {percent(self.robust_accuracy, n)} "
            f"({warning}{n - int(self.broken.sum()):,} of {n:,}; 95% interval {percent_interval(self.interval, n)}), "
            f"clean {percent(self.clean_accuracy, n)}"
        )

    def table(self) -> Table:
        """One row for the clean images, one for each attack, one for the worst case."""
        n = self.count

        def line(name: str, accuracy: float, interval: tuple[float, float], *rest: str) -> tuple[str, ...]:
            return (name, percent(accuracy, n), percent_interval(interval, n), *(rest or (NOT_AVAILABLE,) * 4))

        lines = [line("clean", self.clean_accuracy, self.clean_interval)]
        for row in self.rows:
            median, gradients = row.median_distance, row.gradient_evaluations
            size = NOT_AVAILABLE if median is None else f"{median:.4g}"
            gradient_text = NOT_AVAILABLE if gradients is None else f"{gradients:,}"
            found = (f"{row.new_successes:,}", size, gradient_text, duration(row.seconds))
            lines.append(line(row.name, row.accuracy, row.interval, *found))
        lines.append(line("worst case", self.robust_accuracy, self.interval))
        head = ("attack", "accuracy", "95% interval", "new successes", "median distance", "gradients", "time")
        caption = f"{self.name} on {n:,} images of {self.dataset}: {self.threat.describe()}."
        if all(row.precision == "float32" for row in self.rows):
            return Table(head, tuple(lines), f"{caption} All computed in float32.")
        precisions = (NOT_AVAILABLE, *(row.precision for row in self.rows), NOT_AVAILABLE)
        extended = tuple((*cells, precision) for cells, precision in zip(lines, precisions, strict=True))
        return Table((*head, "precision"), extended, caption)

    def markdown(self) -> str:
        """The table of `table` in Markdown, with the headline and the statement that always goes with it."""
        body = self.table()
        return f"{body.caption}\n\n{body.markdown()}\n{self.headline()}: {STATEMENT}.\n"

    def summary(self) -> str:
        """The same as plain text, for a terminal."""
        body = self.table()
        return f"{body.caption}\n\n{body.text()}\n{one_line(self.headline())}\n{STATEMENT}\n"

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
            "checks": [dataclasses.asdict(check) for check in self.checks],
            "versions": self.versions,
            "settings": self.settings,
            "labels": self.labels.tolist(),
            "predictions": self.predictions.tolist(),
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
            return cls(
                **{key: data[key] for key in ("name", "dataset", "labels", "predictions", "versions", "settings")},
                threat=ThreatModel(**data["threat"]),
                rows=tuple(AttackResult.from_json(row) for row in data["rows"]),
                checks=tuple(Check(**check) for check in data["checks"]),
                examples=None if data["examples"] is None else Examples.from_json(data["examples"]),
            )
        except (KeyError, TypeError, ValueError, zlib.error) as error:
            raise UserError(f"the report is damaged ({error!r}); write it again with Report.save") from error

    def save(self, directory: str | os.PathLike) -> None:
        """Writes report.json, report.html (one file, opens offline) and the plots (PNG and SVG) into `directory`.

        Everything is rendered and written under temporary names first, so an earlier report there stays whole if
        anything fails; plots of an earlier report that this one lacks are removed.

        Raises:
            UserError: the folder cannot be made or written to.
        """
        # Matplotlib and Jinja2 take a second to import, and a report is more often made than saved.
        from tfadv.report import html

        html.save(self, directory)
