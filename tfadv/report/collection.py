"""Several reports, and what belongs beside them (a cross-check, an export, training curves), as one page and table."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Mapping
from typing import Any, NamedTuple

from tfadv.report.records import STATEMENT, check_schema, plain
from tfadv.report.report import Report
from tfadv.report.tables import NOT_AVAILABLE, Table, one_line, percent, percent_interval
from tfadv.validation import UserError

SCHEMA = "tfadv.collection"
SCHEMA_VERSION = 1


class Curve(NamedTuple):
    """Accuracy against something, with its interval; four sequences of one length.

    x: training steps, or epsilon.   accuracy, low, high: fractions in [0, 1].
    """

    x: tuple[float, ...]
    accuracy: tuple[float, ...]
    low: tuple[float, ...]
    high: tuple[float, ...]


@dataclasses.dataclass(frozen=True)
class Section:
    """A free part of a page: a heading, then paragraphs, a table and curves, each of them optional.

    Attributes:
        title: the heading.
        text: paragraphs of plain text; one text is one paragraph.
        table: a table, or None.
        curves: series name -> Curve; drawn as one plot.
        axis: what the curves run over, "training steps" or "epsilon".
    """

    title: str
    text: tuple[str, ...] | str = ()
    table: Table | None = None
    curves: Mapping[str, Curve] = dataclasses.field(default_factory=dict)
    axis: str = "training steps"

    def __post_init__(self) -> None:
        text = (self.text,) if isinstance(self.text, str) else tuple(self.text)
        object.__setattr__(self, "text", text)
        curves = {name: Curve(*(tuple(map(float, part)) for part in curve)) for name, curve in self.curves.items()}
        object.__setattr__(self, "curves", curves)
        for name, curve in curves.items():
            if len({len(part) for part in curve}) != 1:
                raise ValueError(f"x, accuracy, low and high of curve {name!r} must have one length, got {curve}")
        if self.axis not in ("training steps", "epsilon"):
            raise ValueError(f"axis must be 'training steps' or 'epsilon', got {self.axis!r}")

    def to_json(self) -> dict[str, Any]:
        """JSON values of the section."""
        return {
            "title": self.title,
            "text": list(self.text),
            "table": None if self.table is None else self.table.to_json(),
            "curves": {name: plain(curve._asdict(), name) for name, curve in self.curves.items()},
            "axis": self.axis,
        }

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Section:
        """The inverse of `to_json`."""
        return cls(
            title=data["title"],
            text=tuple(data["text"]),
            table=None if data["table"] is None else Table.from_json(data["table"]),
            curves={name: Curve(**curve) for name, curve in data["curves"].items()},
            axis=data["axis"],
        )


@dataclasses.dataclass(frozen=True, eq=False)
class Collection:
    """Reports side by side.

    Attributes:
        title: the heading of the page.
        reports: one for each model, names distinct, at least one.
        sections: free parts, shown after the comparison.
        description: a sentence or two below the heading.
    """

    title: str
    reports: tuple[Report, ...]
    sections: tuple[Section, ...] = ()
    description: str = ""

    def __post_init__(self) -> None:
        object.__setattr__(self, "reports", tuple(self.reports))
        object.__setattr__(self, "sections", tuple(self.sections))
        names = [report.name for report in self.reports]
        if not names or len(set(names)) < len(names):
            raise UserError(f"reports must be one or more with distinct names, got names {names}; rename the models")

    @property
    def same_threat(self) -> bool:
        """Whether every report has the same threat model, so that the rows of the table compare like with like."""
        return len({report.threat for report in self.reports}) == 1

    def table(self) -> Table:
        """One row for each model: worst case, its interval, clean accuracy, accuracy under each attack.

        Where the threat models or data sets differ, a column says which is whose.
        """
        attacks = list(dict.fromkeys(row.name for report in self.reports for row in report.rows))
        lines = []
        for report in self.reports:
            n = report.count
            found = {row.name: percent(row.accuracy, n) for row in report.rows}
            whole = (percent(report.robust_accuracy, n), percent_interval(report.interval, n))
            clean = percent(report.clean_accuracy, n)
            cells = (report.name, *whole, clean, *(found.get(attack, NOT_AVAILABLE) for attack in attacks))
            lines.append(cells if self.same_setting else (*cells, _setting(report)))
        head = ("model", "worst case", "95% interval", "clean", *attacks)
        caption = "Accuracy of each model, clean and under attack"
        if not self.same_setting:
            return Table((*head, "setting"), tuple(lines), f"{caption}.")
        return Table(head, tuple(lines), f"{caption}: {_setting(self.reports[0])}.")

    @property
    def same_setting(self) -> bool:
        """Whether threat model, data set and number of images are the same throughout."""
        return len({_setting(report) for report in self.reports}) == 1

    def markdown(self) -> str:
        """The table in Markdown, with the statement that always goes with worst cases."""
        body = self.table()
        return f"{body.caption}\n\n{body.markdown()}\nWorst case: {STATEMENT}.\n"

    def summary(self) -> str:
        """The table as plain text for a terminal, with the tables of the sections."""
        body = self.table()
        parts = [f"{body.caption}\n\n{body.text()}\nworst case: {STATEMENT}\n"]
        for section in self.sections:
            if section.table is not None:
                parts.append(f"\n{one_line(section.title)}\n\n{section.table.text()}")
        return "".join(parts)

    def to_json(self) -> dict[str, Any]:
        """JSON values of the whole: the reports in their own schema, and the sections."""
        return {
            "schema": SCHEMA,
            "schema_version": SCHEMA_VERSION,
            "title": self.title,
            "description": self.description,
            "statement": STATEMENT,
            "table": self.table().to_json(),
            "sections": [section.to_json() for section in self.sections],
            "reports": [report.to_json() for report in self.reports],
        }

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Collection:
        """The inverse of `to_json`; the table is computed again.

        Raises:
            UserError: `data` is not a collection of this or an earlier schema version, or lacks a part.
        """
        check_schema(data, SCHEMA, SCHEMA_VERSION)
        try:
            return cls(
                title=data["title"],
                reports=tuple(Report.from_json(report) for report in data["reports"]),
                sections=tuple(Section.from_json(section) for section in data["sections"]),
                description=data["description"],
            )
        except UserError:
            raise
        except (KeyError, TypeError, ValueError) as error:
            raise UserError(f"the collection is damaged ({error!r}); write it again with Collection.save") from error

    def save(self, directory: str | os.PathLike) -> None:
        """Writes report.json, report.html and the plots into `directory`, as `Report.save` does.

        Raises:
            UserError: the folder cannot be made or written to.
        """
        # As in Report.save: Matplotlib and Jinja2 are imported by those who save.
        from tfadv.report import html

        html.save(self, directory)


def _setting(report: Report) -> str:
    """Data set, number of images and threat model in one line."""
    return one_line(f"{report.count:,} images of {report.dataset}, {report.threat.describe()}")
