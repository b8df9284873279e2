"""The report as one HTML file that opens offline: no script, no external resource, light and dark, desktop and phone.

The template is `report.html.j2` beside this file; Jinja2 escapes every text, because names of models and attacks come
from the user. Each plot is embedded as four SVG images (wide or narrow, light or dark), and the browser picks one.
"""

from __future__ import annotations

import base64
import contextlib
import dataclasses
import functools
import importlib.resources
import json
import os
import pathlib
import re
from collections.abc import Callable, Mapping
from typing import Any

import jinja2
from matplotlib.figure import Figure

from tfadv.files import replacing
from tfadv.report import figures
from tfadv.report.collection import Collection, Section
from tfadv.report.figures import DARK, LIGHT, NARROW, PAPER, WIDE, Bar, Theme
from tfadv.report.records import STATEMENT, ThreatModel
from tfadv.report.report import Report
from tfadv.report.tables import Table, percent, percent_interval
from tfadv.validation import UserError

# The plots that `save` writes, and therefore may remove when a later report in the same folder has fewer.
_OWN_PLOTS = re.compile(r"(attacks|examples(-\d+)?|curves-\d+)\.(png|svg)")
# More models than this are compared in the table and the plot alone.
_MOST_CARDS = 4


@dataclasses.dataclass(frozen=True)
class Plot:
    """A plot of the page: the name of its files, the text alternative, the caption, and how to draw it."""

    name: str
    alt: str
    caption: str
    draw: Callable[[Theme, float], Figure]

    def embedded(self, theme: Theme, width: float) -> str:
        """The plot as an SVG data URI."""
        svg = figures.to_svg(self.draw(theme, width))
        return "data:image/svg+xml;base64," + base64.b64encode(svg).decode("ascii")

    @functools.cached_property
    def variants(self) -> dict[str, str]:
        """Data URIs by "wide", "narrow", "wide_dark", "narrow_dark"."""
        return {
            f"{size}{suffix}": self.embedded(theme, width)
            for size, width in (("wide", WIDE), ("narrow", NARROW))
            for suffix, theme in (("", LIGHT), ("_dark", DARK))
        }


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


def _bars(report: Report) -> list[Bar]:
    """The accuracies of `Report.table` as bars."""
    return [
        Bar("clean", report.clean_accuracy, *report.clean_interval),
        *(Bar(row.name, row.accuracy, *row.interval) for row in report.rows),
        Bar("worst case", report.robust_accuracy, *report.interval),
    ]


def _attack_plot(reports: tuple[Report, ...]) -> Plot:
    """The accuracies of all `reports` in one plot."""
    series = {report.name: _bars(report) for report in reports}
    count = max(report.count for report in reports)
    spoken = [
        (f"{name}: " if len(series) > 1 else "") + ", ".join(f"{b.label} {percent(b.accuracy, count)}" for b in bars)
        for name, bars in series.items()
    ]
    caption = "Accuracy on the clean images, under each attack alone, and in the per-example worst case."
    return Plot(
        "attacks",
        f"Bar chart of accuracies with 95% intervals. {'; '.join(spoken)}.",
        caption,
        lambda theme, width: figures.attack_bars(series, count, theme=theme, width=width),
    )


def _example_plot(report: Report, name: str) -> Plot | None:
    """The example images of `report`, or None where it has none."""
    examples = report.examples
    if examples is None or not len(examples.clean):
        return None
    pairs = zip(examples.labels[:8], examples.predictions[:8], strict=True)
    changes = ", ".join(f"class {label} read as {prediction}" for label, prediction in pairs)
    scale = figures.difference_scale(examples)
    return Plot(
        name,
        f"Example images of {report.name}: clean, adversarial, and their difference. After the attack: {changes}.",
        "Above each column: true class → class that the model predicts after the attack. In the difference, mid-gray "
        f"is no change, black is −{scale:.3g} and white +{scale:.3g} (the largest change in these images).",
        lambda theme, width: figures.image_grid(examples, report.threat.bounds, theme=theme, width=width),
    )


def _curve_plot(section: Section, name: str) -> Plot | None:
    """The curves of `section`, or None where it has none."""
    if not section.curves:
        return None
    ends = [
        f"{series} reaches {100 * curve.accuracy[-1]:.1f}% at {curve.x[-1]:g}"
        for series, curve in section.curves.items()
        if curve.x
    ]

    def draw(theme: Theme, width: float) -> Figure:
        if section.axis == "epsilon":
            return figures.accuracy_against_epsilon(section.curves, "", theme=theme, width=width)
        return figures.accuracy_against_steps(section.curves, theme=theme, width=width)

    alt = f"Line chart of accuracy against {section.axis}. {'; '.join(ends)}."
    return Plot(name, alt, f"Accuracy against {section.axis}; the bands are 95% intervals.", draw)


def _texts(settings: Mapping[str, Any]) -> dict[str, str]:
    """Settings as text: 0.3 -> "0.3", "linf" -> "linf", [0.0, 1.0] -> "[0.0, 1.0]"."""
    return {key: value if isinstance(value, str) else json.dumps(value) for key, value in settings.items()}


def _settings(settings: Mapping[str, Any]) -> str:
    """Settings in one line: "epsilon 0.3, steps 40"."""
    return ", ".join(f"{key} {text}" for key, text in _texts(settings).items())


def _details(report: Report, plot: Plot | None) -> dict[str, Any]:
    """What the template shows of one report below its headline."""
    n = report.count
    outcomes = [check.outcome for check in report.checks]
    counts = [f"{outcomes.count(outcome)} {outcome}" for outcome in ("passed", "failed", "not run")]
    attacks = tuple((row.name, _settings(row.config) or "–", row.precision) for row in report.rows)
    return {
        "report": report,
        "accuracy": percent(report.robust_accuracy, n),
        "clean": percent(report.clean_accuracy, n),
        "interval": percent_interval(report.interval, n),
        "robust_count": n - int(report.broken.sum()),
        "threat": threat_in_words(report.threat),
        "table": report.table(),
        "examples": plot,
        "check_counts": ", ".join(text for text in counts if not text.startswith("0 ")),
        "attack_settings": Table(("attack", "settings", "precision"), attacks, "Settings of each attack."),
        "settings": _texts(report.settings),
    }


def _page(subject: Report | Collection) -> dict[str, Any]:
    """Everything that the template needs, for one report or several."""
    several = isinstance(subject, Collection)
    reports = subject.reports if isinstance(subject, Collection) else (subject,)
    names = [f"examples-{index}" for index in range(1, len(reports) + 1)] if several else ["examples"]
    sections = subject.sections if isinstance(subject, Collection) else ()
    curves = [_curve_plot(section, f"curves-{index}") for index, section in enumerate(sections, start=1)]
    return {
        "title": subject.title if isinstance(subject, Collection) else f"Robust accuracy of {subject.name}",
        "description": subject.description if isinstance(subject, Collection) else "",
        "statement": STATEMENT,
        "several": several,
        "same_threat": len({report.threat for report in reports}) == 1,
        "cards": len(reports) <= _MOST_CARDS,
        "comparison": subject.table() if isinstance(subject, Collection) else None,
        "attacks": _attack_plot(reports),
        "details": [_details(report, _example_plot(report, name)) for report, name in zip(reports, names, strict=True)],
        "sections": list(zip(sections, curves, strict=True)),
        "versions": {name: version for report in reports for name, version in report.versions.items()},
    }


def _render(page: Mapping[str, Any]) -> str:
    template = importlib.resources.files("tfadv.report").joinpath("report.html.j2").read_text(encoding="utf-8")
    environment = jinja2.Environment(
        autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    return environment.from_string(template).render(page)


def render(subject: Report | Collection) -> str:
    """The whole page as HTML text."""
    return _render(_page(subject))


def _json(value: Mapping[str, Any]) -> bytes:
    """JSON with one line for each entry of the top levels, and arrays of numbers on one line; NaN is refused."""

    def dump(item: Any, indent: str) -> str:
        inner = indent + "  "
        if isinstance(item, Mapping) and item:
            entries = (f"{inner}{json.dumps(key)}: {dump(part, inner)}" for key, part in item.items())
            return "{\n" + ",\n".join(entries) + f"\n{indent}}}"
        if isinstance(item, list) and any(isinstance(part, Mapping | list) for part in item):
            return "[\n" + ",\n".join(inner + dump(part, inner) for part in item) + f"\n{indent}]"
        return json.dumps(item, allow_nan=False)

    return (dump(value, "") + "\n").encode()


def files(subject: Report | Collection) -> dict[str, bytes]:
    """Every file of the saved report, by name: report.json, report.html, and each plot as PNG and SVG."""
    page = _page(subject)
    plots = [page["attacks"], *(d["examples"] for d in page["details"]), *(plot for _, plot in page["sections"])]
    content = {"report.json": _json(subject.to_json()), "report.html": _render(page).encode()}
    for plot in filter(None, plots):
        figure = plot.draw(PAPER, WIDE)
        content |= {f"{plot.name}.png": figures.to_png(figure), f"{plot.name}.svg": figures.to_svg(figure)}
    return content


def save(subject: Report | Collection, directory: str | os.PathLike) -> None:
    """Writes `files(subject)` into `directory`; see `Report.save`.

    Raises:
        UserError: the folder cannot be made or written to.
    """
    directory = pathlib.Path(directory)
    # Ask for the folder before the seconds of drawing, so that a wrong one is refused at once.
    with replacing(directory / "report.json") as first:
        content = files(subject)
        for name in content:
            if (directory / name).is_dir():
                raise UserError(f"cannot write {directory / name}: it is a folder; name another folder for the report")
        first.write_bytes(content.pop("report.json"))
        with contextlib.ExitStack() as stack:
            # No file takes its name before all of them are written.
            for name, data in content.items():
                stack.enter_context(replacing(directory / name)).write_bytes(data)
        for stale in directory.iterdir():
            if _OWN_PLOTS.fullmatch(stale.name) and stale.name not in content:
                stale.unlink()
