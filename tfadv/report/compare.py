"""Saved reports side by side: what was claimed of each model, what the paper's attack leaves, and what all leave."""

from __future__ import annotations

import dataclasses
import json
import os
import pathlib
from collections.abc import Mapping, Sequence

from tfadv.report.charts import Chart, Series
from tfadv.report.collection import SCHEMA as COLLECTION
from tfadv.report.collection import Collection, setting
from tfadv.report.records import AttackResult
from tfadv.report.report import Report
from tfadv.report.section import Section
from tfadv.report.tables import NOT_AVAILABLE, Table, percent, percent_interval
from tfadv.validation import UserError

_MOST_BARS = 8  # models that one bar chart still shows


def load(paths: Sequence[str | os.PathLike]) -> tuple[Report, ...]:
    """The reports in these folders or report.json files; a collection gives all of its reports.

    Two reports of one name are told apart by the path behind it.

    Raises:
        UserError: no path, one without a report, a damaged report, or the same path twice.
    """
    if not paths:
        raise UserError("reports must be one or more folders with report.json, or such files; got none")
    found = [(report, str(path)) for path in paths for report in _read(pathlib.Path(path))]
    names = [report.name for report, _ in found]
    named = [
        report if names.count(report.name) == 1 else dataclasses.replace(report, name=f"{report.name} ({path})")
        for report, path in found
    ]
    if len({report.name for report in named}) < len(named):
        raise UserError(f"reports must differ, got one of them twice among {[str(path) for path in paths]}")
    return tuple(named)


def _read(path: pathlib.Path) -> tuple[Report, ...]:
    file = path / "report.json" if path.is_dir() else path
    try:
        data = json.loads(file.read_text(encoding="utf-8"))
    except OSError as error:
        raise UserError(
            f"no report at {path} ({error.strerror}); name a folder with report.json, or the file"
        ) from error
    except ValueError as error:
        raise UserError(f"{file} is not JSON ({error}); name a folder with report.json, or the file") from error
    try:
        if isinstance(data, Mapping) and data.get("schema") == COLLECTION:
            return Collection.from_json(data).reports
        return (Report.from_json(data),)
    except UserError as error:
        raise UserError(f"{file}: {error}") from error


def papers_attack(report: Report, name: str | None = None) -> AttackResult | None:
    """The row called `name`; without a name the white-box row that leaves most, which a weak evaluation would report.

    White box are the rows that took gradients of the model itself. None where there is no such row.
    """
    if name is not None:
        return next((row for row in report.rows if row.name == name), None)
    white = [row for row in report.rows if "source" not in row.config and row.gradient_evaluations != 0]
    return max(white, key=lambda row: row.accuracy, default=None)


def leaderboard(
    reports: Sequence[Report],
    *,
    claimed: Mapping[str, float] | None = None,
    attack: str | None = None,
    title: str = "Reports compared",
) -> Collection:
    """Reports, ranked by their worst case, under a table of what was claimed, and what is left, of each.

    Only models under one threat model, on the same data and number of images are ranked against each other. Where the
    reports differ in that, the table says so: it has a column with the setting, is grouped by it, and the ranks begin
    anew in each group.

    Args:
        reports: with distinct names.
        claimed: model's name -> the robust accuracy that its paper states, a fraction; goes before a report's own, and
            is kept as its setting "claimed".
        attack: name of the row that stands for the paper's attack; default `papers_attack` of each.
        title: of the page.

    Returns:
        A `Collection` with the leaderboard as its opening; `.save(directory)` writes it as HTML and Markdown.

    Raises:
        UserError: a claim of a model that is not there or that is no fraction, or a row that no report has.
    """
    reports = _with_claims(reports, claimed or {})
    rows = {report.name: papers_attack(report, attack) for report in reports}
    if attack is not None and not any(rows.values()):
        names = sorted({row.name for report in reports for row in report.rows})
        raise UserError(f"attack must be a row of a report, one of {names}, got {attack!r}")
    settings = list(dict.fromkeys(map(setting, reports)))
    ordered = sorted(reports, key=lambda report: (settings.index(setting(report)), -report.robust_accuracy))
    under = f"under {attack}" if attack else "under its weakest white-box attack"
    lines = [
        (
            report.name,
            str(1 + sum(setting(o) == setting(report) and o.robust_accuracy > report.robust_accuracy for o in ordered)),
            NOT_AVAILABLE if report.claimed is None else percent(report.claimed, report.count),
            _left(rows[report.name], report, attack is None),
            percent(report.robust_accuracy, report.count),
            percent_interval(report.interval, report.count),
            percent(report.clean_accuracy, report.count),
            report.verdict.word if report.verdict else NOT_AVAILABLE,
            _suite(report),
            *((setting(report),) if len(settings) > 1 else ()),
        )
        for report in ordered
    ]
    head: tuple[str, ...] = (
        "model",
        "rank",
        "claimed",
        under,
        "worst case",
        "95% interval",
        "clean",
        "verdict",
        "suite",
    )
    caption = f"Ranked by the worst case: {settings[0]}."
    if len(settings) > 1:
        head = (*head, "setting")
        caption = (
            f"Not one ranking but {len(settings)}: the data or the threat models differ, as the last column says, and "
            "numbers of different settings do not compare. Ranked by the worst case within each setting."
        )
    if len({_suite(report) for report in reports}) > 1:
        caption += " The suites differ too: a weaker suite leaves more."
    opening = Section(
        "Claimed, and left",
        "A worst case below the claim says that the paper's attacks did not find what others find.",
        Table(head, tuple(lines), caption),
        charts=(_chart(ordered, rows, under),) if len(ordered) <= _MOST_BARS else (),
    )
    return Collection(title, tuple(ordered), opening=opening)


def _with_claims(reports: Sequence[Report], claimed: Mapping[str, float]) -> list[Report]:
    names = [report.name for report in reports]
    for name, value in claimed.items():
        if name not in names:
            raise UserError(f"claimed must name one of the models {names}, got {name!r}")
        if not 0 <= value <= 1:
            raise UserError(f"claimed must be a fraction in [0, 1], got {value} for {name!r}; write 0.69 for 69%")
    return [
        dataclasses.replace(report, settings={**report.settings, "claimed": claimed[report.name]})
        if report.name in claimed
        else report
        for report in reports
    ]


def _left(row: AttackResult | None, report: Report, named: bool) -> str:
    if row is None:
        return NOT_AVAILABLE
    return percent(row.accuracy, report.count) + (f" ({row.name})" if named else "")


def _suite(report: Report) -> str:
    suite = report.settings.get("suite")
    return suite if isinstance(suite, str) else NOT_AVAILABLE if suite is None else "custom"


def _chart(reports: Sequence[Report], rows: Mapping[str, AttackResult | None], under: str) -> Chart:
    """Claim, paper's attack and worst case of each model as bars; what is not known leaves a gap."""
    stated = {place: report.claimed for place, report in enumerate(reports) if report.claimed is not None}
    found = {place: row for place, report in enumerate(reports) if (row := rows[report.name]) is not None}
    worst = dict(enumerate(reports))
    bars = {
        "claimed": Series(tuple(stated), tuple(stated.values())),
        under: _bars({place: (row.accuracy, *row.interval) for place, row in found.items()}),
        "worst case": _bars({place: (report.robust_accuracy, *report.interval) for place, report in worst.items()}),
    }
    return Chart(
        "Accuracy claimed, under the paper's attack, and in the worst case.",
        "model",
        "accuracy",
        {name: series for name, series in bars.items() if series.x},
        "bars",
        percent=True,
        x_names=tuple(report.name for report in reports),
    )


def _bars(values: Mapping[int, tuple[float, float, float]]) -> Series:
    """Place -> (accuracy, low, high) as the bars of one series."""
    columns = tuple(zip(*values.values(), strict=True)) or ((), (), ())
    return Series(tuple(values), *columns)
