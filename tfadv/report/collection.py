"""Several reports, and what belongs beside them (a cross-check, an export, training curves), as one page and table."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Mapping
from typing import Any

from tfadv.report.records import STATEMENT, check_schema
from tfadv.report.report import Report
from tfadv.report.section import Section
from tfadv.report.tables import NOT_AVAILABLE, Table, escape_markdown, one_line, percent, percent_interval
from tfadv.validation import UserError

SCHEMA = "tfadv.collection"
SCHEMA_VERSION = 1


@dataclasses.dataclass(frozen=True, eq=False)
class Collection:
    """Reports side by side.

    Attributes:
        title: the heading of the page.
        reports: one for each model, names distinct, at least one.
        sections: free parts, shown after the comparison.
        description: a sentence or two below the heading.
        opening: a free part shown before the comparison, such as a leaderboard; None if there is none.
    """

    title: str
    reports: tuple[Report, ...]
    sections: tuple[Section, ...] = ()
    description: str = ""
    opening: Section | None = None

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

        Where there are verdicts a column has them; where the threat models or data sets differ, one says which is
        whose.
        """
        attacks = list(dict.fromkeys(row.name for report in self.reports for row in report.rows))
        judged = any(report.verdict for report in self.reports)
        lines = []
        for report in self.reports:
            n = report.count
            found = {row.name: percent(row.accuracy, n) for row in report.rows}
            whole = (percent(report.robust_accuracy, n), percent_interval(report.interval, n))
            clean = percent(report.clean_accuracy, n)
            verdict = ((report.verdict.word if report.verdict else NOT_AVAILABLE),) if judged else ()
            cells = (report.name, *whole, *verdict, clean, *(found.get(attack, NOT_AVAILABLE) for attack in attacks))
            lines.append(cells if self.same_setting else (*cells, setting(report)))
        head = ("model", "worst case", "95% interval", *(("verdict",) if judged else ()), "clean", *attacks)
        caption = "Accuracy of each model, clean and under attack"
        if not self.same_setting:
            return Table((*head, "setting"), tuple(lines), f"{caption}.")
        return Table(head, tuple(lines), f"{caption}: {setting(self.reports[0])}.")

    @property
    def same_setting(self) -> bool:
        """Whether threat model, data set and number of images are the same throughout."""
        return len({setting(report) for report in self.reports}) == 1

    def markdown(self) -> str:
        """The table of the opening and that of `table` in Markdown, with the statement that goes with worst cases."""
        tables = [f"{escape_markdown(body.caption)}\n\n{body.markdown()}\n" for body in self._tables()]
        return f"{''.join(tables)}Worst case: {STATEMENT}.\n"

    def latex(self) -> str:
        """The same for a paper in LaTeX; needs the package booktabs."""
        notes = f"Worst case: {STATEMENT}."
        return "\n".join(
            dataclasses.replace(body, caption=f"{body.caption} {notes}").latex() for body in self._tables()
        )

    def _tables(self) -> list[Table]:
        opening = self.opening.table if self.opening else None
        return [self.table()] if opening is None else [opening, self.table()]

    def summary(self) -> str:
        """The table as plain text for a terminal, with the tables of the sections."""
        parts = [f"{body.caption}\n\n{body.text()}\n" for body in self._tables()]
        parts.append(f"worst case: {STATEMENT}\n")
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
            "opening": None if self.opening is None else self.opening.to_json(),
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
                opening=None if data.get("opening") is None else Section.from_json(data["opening"]),
            )
        except UserError:
            raise
        except (AttributeError, KeyError, TypeError, ValueError) as error:
            raise UserError(f"the collection is damaged ({error!r}); write it again with Collection.save") from error

    def save(self, directory: str | os.PathLike) -> None:
        """Writes report.json, report.html, table.md, table.tex and the plots into `directory`, as `Report.save` does.

        Raises:
            UserError: the folder cannot be made or written to.
        """
        # As in Report.save: Matplotlib and Jinja2 are imported by those who save.
        from tfadv.report import saving

        saving.save(self, directory)


def setting(report: Report) -> str:
    """Data set, number of images and threat model in one line."""
    return one_line(f"{report.count:,} images of {report.dataset}, {report.threat.describe()}")
