"""What a study shows, as files: paper | ours | difference, findings, figures; and the gallery of all of them."""

from __future__ import annotations

import dataclasses
import pathlib
from collections.abc import Mapping, Sequence
from typing import Any

from tfadv import files
from tfadv.report.charts import Chart, Pictures
from tfadv.report.tables import NOT_AVAILABLE, Table
from tfadv.reproduction.study import Beside, Compared, Rendering, Study

_SMOKE = "scale smoke: it shows that everything runs, not what the paper reports; not run at paper scale"
_PANEL_WIDTH = 5.2  # Inches: two panels side by side fill a page of a paper.


def table(compared: Sequence[Compared]) -> Table:
    """Paper | ours | difference, a line for each printed number."""

    def text(value: float | None, unit: str) -> str:
        if value is None:
            return NOT_AVAILABLE
        return f"{value:.2f}" if unit == "%" else f"{value:.4g}"

    lines = []
    for each in compared:
        difference = NOT_AVAILABLE if each.paper is None else f"{each.ours - each.paper:+.4g}"
        interval = NOT_AVAILABLE if each.interval is None else " to ".join(text(v, each.unit) for v in each.interval)
        cells = (text(each.paper, each.unit), text(each.ours, each.unit), difference, interval)
        lines.append((each.what, *cells, each.unit or "1", each.note or NOT_AVAILABLE))
    return Table(("what", "paper", "ours", "difference", "95% interval", "unit", "note"), tuple(lines), "")


def true_robustness(lines: Sequence[Beside]) -> Table:
    """Claimed beside true, a line for each trained classifier; percent of the test images.

    An attack overestimates where it leaves more than the strong evaluation by max(3 images, 0.5%), the threshold of
    `tfadv.evaluation.verdict`.
    """

    def text(value: float | None) -> str:
        return NOT_AVAILABLE if value is None else f"{value:.1f}"

    cells = [
        (
            each.defense,
            each.attack,
            text(each.claimed),
            text(each.ours),
            f"{each.strong:.1f} ({each.interval[0]:.1f} to {each.interval[1]:.1f}; {each.count:,})",
            "overestimates" if each.ours - each.strong >= max(300 / each.count, 0.5) else "agrees",
            each.verdict,
            each.schedule,
        )
        for each in lines
    ]
    strong = "AutoAttack leaves (95%; images)"
    head = ("defense", "attack", "claimed", "ours", strong, "the attack", "AutoAttack's number is", "schedule")
    return Table(head, tuple(cells), "")


def write(
    study: Study, rendering: Rendering, jobs: Mapping[str, Mapping[str, Any]], scale: str, folder: pathlib.Path
) -> None:
    """Writes study.json, study.md and the figures (SVG and PNG) of one study into `folder`.

    The JSON holds all numbers of the figures, the settings and seconds of every job, and where they ran.
    """
    # Matplotlib takes a second to import, and only a study with figures needs it.
    from tfadv.report import chart_figures
    from tfadv.report.themes import to_png, to_svg

    panels = {}
    for name, item in rendering.figures.items():
        stem = f"figure-{name}" if name else "figure"
        figure = chart_figures.draw(item, width=_PANEL_WIDTH)
        for suffix, data in (("svg", to_svg(figure)), ("png", to_png(figure))):
            with files.replacing(folder / f"{stem}.{suffix}") as temporary:
                temporary.write_bytes(data)
        panels[name] = stem
    values = {
        "study": study.key,
        "title": study.title,
        "scale": scale,
        "readings": list(study.readings),
        "compared": [dataclasses.asdict(each) for each in rendering.compared],
        "findings": list(rendering.findings),
        "claims": [dataclasses.asdict(each) for each in rendering.claims],
        "beside": [dataclasses.asdict(each) for each in rendering.beside],
        "figures": {name: item.to_json() for name, item in rendering.figures.items()},
        "jobs": {key: {k: v for k, v in each.items() if k != "result"} for key, each in jobs.items()},
        "results": {key: each["result"] for key, each in jobs.items()},
    }
    files.write_text(folder / "study.md", markdown(study, rendering, jobs, scale, panels))
    files.write_json(folder / "study.json", values)


def markdown(
    study: Study,
    rendering: Rendering,
    jobs: Mapping[str, Mapping[str, Any]],
    scale: str,
    panels: Mapping[str, str],
) -> str:
    """The page of one study."""
    seconds = sum(each["seconds"] for each in jobs.values())
    environments = [each["environment"] for each in jobs.values()]
    places = sorted({f"{each['processor_cores']} cores, {each['platform']}" for each in environments})
    command = f"--target={study.key} --scale={scale} --output=runs/reproduction"
    parts = [f"# {study.title}", f"`python -m trainers.reproduce {command}`"]
    if scale == "smoke":
        parts.append(f"**{_SMOKE.capitalize()}.**")
    asked = len(study.jobs(scale))
    if len(jobs) < asked:
        parts.append(f"**{asked - len(jobs)} of {asked} jobs are not done yet; what depends on them is missing here.**")
    parts.append("\n".join(f"- {finding}" for finding in rendering.findings))
    if rendering.compared:
        parts.append(table(rendering.compared).markdown())
    if rendering.beside:
        parts.extend(["Claimed beside true:", true_robustness(rendering.beside).markdown()])
    if panels:
        parts.append(_panels(rendering.figures, panels, rendering.columns))
    if rendering.claims:
        lines = tuple((claim.key, claim.mark, claim.evidence) for claim in rendering.claims)
        parts.append(Table(("claim", "mark", "evidence"), lines, "").markdown())
    if study.readings:
        parts.extend(["Readings:", "\n".join(f"- {reading}" for reading in study.readings)])
    if jobs:
        parts.append(f"{len(jobs)} jobs, {seconds:,.0f} s of wall time in all; {'; '.join(places)}.")
    return "\n\n".join(part.strip("\n") for part in parts if part) + "\n"


def _panels(figures: Mapping[str, Chart | Pictures], panels: Mapping[str, str], columns: int) -> str:
    """The figures side by side as in the paper, each with its caption."""
    cells = []
    for name, stem in panels.items():
        # A bar would end the cell.
        title = figures[name].title.replace("|", "\\|")
        cells.append(f"![{title}]({stem}.svg)<br>{f'({name}) ' if name else ''}{title}")
    columns = min(columns, len(cells))
    cells += [""] * (-len(cells) % columns)
    rows = [cells[at : at + columns] for at in range(0, len(cells), columns)]
    head, rule = "| " + " | ".join([" "] * columns) + " |", "|" + " --- |" * columns
    return "\n".join([head, rule, *("| " + " | ".join(row) + " |" for row in rows)]) + "\n"
