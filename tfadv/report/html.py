"""The report as one HTML file that opens offline: no script, no external resource, light and dark, desktop and phone.

The template is `report.html.j2` beside this file; Jinja2 escapes every text, because names of models and attacks come
from the user. The plots stand inside the page as SVG (`tfadv.report.plots`).
"""

from __future__ import annotations

import functools
import importlib.resources
import json
from collections.abc import Mapping
from typing import Any, NamedTuple

import jinja2

from tfadv.report import themes
from tfadv.report.collection import Collection
from tfadv.report.plots import Plot, attack_plot, chart_plot, example_plot, section_plots
from tfadv.report.records import STATEMENT, ThreatModel
from tfadv.report.report import Report
from tfadv.report.section import Section
from tfadv.report.tables import Table, percent, percent_interval, printable

# More models than this are compared in the table and the plot alone.
_MOST_CARDS = 4
_TONES = {"trusted": "good", "overestimated": "bad", "unverified": "warn"}
# What calls for attention comes first.
_ORDER = ("failed", "warning", "not run", "passed", "not applicable")


class Page(NamedTuple):
    """A page, and the plots of it that are also saved as files."""

    text: str
    plots: tuple[Plot, ...]


def build(subject: Report | Collection) -> Page:
    """The page of a report, or of several."""
    content = _content(subject)
    parts = [(None, [content["attacks"]]), *content["sections"]]
    for detail in content["details"]:
        parts += [(None, [detail["examples"]]), *detail["sections"]]
    if content["opening"]:
        parts.append(content["opening"])
    plots = tuple(plot for _, part in parts for plot in part if plot is not None and plot.saved)
    return Page(_environment().get_template("report.html.j2").render(content), plots)


@functools.cache
def _environment() -> jinja2.Environment:
    """Where the templates are found; it keeps them compiled."""
    folder = importlib.resources.files("tfadv.report")
    return jinja2.Environment(
        loader=jinja2.FunctionLoader(lambda name: folder.joinpath(name).read_text(encoding="utf-8")),
        autoescape=True,
        # Names come from the user. Markup is ours, and numbers have none.
        finalize=lambda value: printable(value) if type(value) is str else value,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )


def threat_in_words(threat: ThreatModel) -> str:
    """What the attacker may do, in one sentence that needs no notation."""
    low, high = threat.bounds
    allowed = {
        "linf": f"change every pixel value by at most {threat.epsilon_text()}",
        "l2": f"change the image by at most {threat.epsilon_text()} in Euclidean length",
        "l1": f"change the pixel values by at most {threat.epsilon_text()} in total",
        "l0": f"change at most {threat.epsilon_text()} pixels by any amount",
    }.get(threat.norm, f"change the image by at most {threat.epsilon_text()} in {threat.norm}")
    knows = {
        "white box": "knows the model and its weights",
        "black box": "sees the model's answers but not its weights",
    }.get(threat.knowledge, f"knows: {threat.knowledge}")
    wants = {"untargeted": "any wrong class will do"}.get(threat.goal, f"goal: {threat.goal}")
    return f"The attacker may {allowed} (pixels lie in [{low:g}, {high:g}]), {knows}, and {wants}."


def _texts(settings: Mapping[str, Any]) -> dict[str, str]:
    """Settings as text: 0.3 -> "0.3", "linf" -> "linf", [0.0, 1.0] -> "[0.0, 1.0]"."""
    return {key: value if isinstance(value, str) else json.dumps(value) for key, value in settings.items()}


def _settings(settings: Mapping[str, Any]) -> str:
    """Settings in one line: "epsilon 0.3, steps 40"."""
    return ", ".join(f"{key} {text}" for key, text in _texts(settings).items())


def _sections(sections: tuple[Section, ...], prefix: str) -> list[tuple[Section, list[Plot]]]:
    return [(section, section_plots(section, prefix, number)) for number, section in enumerate(sections, start=1)]


def _details(report: Report, prefix: str, examples: str) -> dict[str, Any]:
    """What the template shows of one report; `prefix` begins the names of its plots."""
    n, verdict = report.count, report.verdict
    outcomes = [check.outcome for check in report.checks]
    checks = sorted(report.checks, key=lambda check: _ORDER.index(check.outcome))
    attacks = tuple((row.name, _settings(row.config) or "–", row.precision) for row in report.rows)
    judged = None
    if report.claimed is not None:
        judged = (report.claimed, "claimed")
    elif verdict is not None and report.overestimated:
        judged = (verdict.claimed, "found by the suite alone")
    return {
        "report": report,
        "tone": _TONES[verdict.word] if verdict else "none",
        "accuracy": percent(report.robust_accuracy, n),
        "clean": percent(report.clean_accuracy, n),
        "interval": percent_interval(report.interval, n),
        "judged": percent(judged[0], n) if judged else "",
        "judged_as": judged[1] if judged else "",
        "judged_at": min(judged[0], 1.0) if judged else 0.0,
        "robust_count": n - int(report.broken.sum()),
        "threat": threat_in_words(report.threat),
        "table": report.table(),
        "examples": example_plot(report, examples),
        "counts": [(outcome, outcomes.count(outcome)) for outcome in _ORDER],
        "checks": [
            (check, chart_plot(check.chart, f"{prefix}check-{number}", saved=False) if check.chart else None)
            for number, check in enumerate(checks, start=1)
        ],
        "sections": _sections(report.sections, prefix),
        "attack_settings": Table(("attack", "settings", "precision"), attacks, "Settings of each attack."),
        "settings": _texts(report.settings),
    }


def _content(subject: Report | Collection) -> dict[str, Any]:
    """Everything that the template needs, for one report or several."""
    common = {"statement": STATEMENT, "light": themes.LIGHT, "dark": themes.DARK}
    if isinstance(subject, Report):
        return {
            **common,
            "title": f"Robust accuracy of {subject.name}",
            "description": "",
            "several": False,
            "same_threat": True,
            "cards": False,
            "opening": None,
            "comparison": None,
            "attacks": attack_plot((subject,)),
            "details": [_details(subject, "", "examples")],
            "sections": [],
            "judged": subject.verdict is not None,
            "versions": subject.versions,
        }
    reports, opening = subject.reports, subject.opening
    return {
        **common,
        "title": subject.title,
        "description": subject.description,
        "several": True,
        "same_threat": subject.same_threat,
        "cards": len(reports) <= _MOST_CARDS,
        "opening": None if opening is None else (opening, section_plots(opening, "opening-", 1)),
        "comparison": subject.table(),
        "attacks": attack_plot(reports),
        "details": [
            _details(report, f"model-{number}-", f"examples-{number}") for number, report in enumerate(reports, start=1)
        ],
        "sections": _sections(subject.sections, ""),
        "judged": any(report.verdict is not None for report in reports),
        "versions": {name: version for report in reports for name, version in report.versions.items()},
    }


def render(subject: Report | Collection) -> str:
    """The whole page as HTML text."""
    return build(subject).text
