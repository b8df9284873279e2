"""results/: the committed record of real runs, and RESULTS.md, its index, which is generated and never edited."""

from __future__ import annotations

import json
import os
import pathlib
from collections.abc import Mapping
from typing import Any

from tfadv import files
from tfadv.report.section import Curve, Section
from tfadv.report.tables import Table
from tfadv.reproduction import gallery, survey_table
from tfadv.reproduction.study import Beside, reference
from tfadv.validation import UserError

_INTRODUCTION = """# Results

Generated from the JSON files in this folder by the programs that measured them (their `--publish=results`); do not
edit. Accuracies are percent of the test images, and upper bounds on the true robust accuracy: stronger attacks leave
less. Intervals are Clopper-Pearson, 95%, and cover the sampling of test images only.
"""
_BESIDE = """## Claimed beside true

What a paper claims for a defense, what our classifier shows under the same attack, and what AutoAttack and the checks
of `tfadv.evaluate` leave of it. The distance of the last two is what the paper's attack does not see; the distance of
the first two is the training's, which is shorter here as the last column says. The verdict is on AutoAttack's number.
"""
_PAPERS = """Here "ours" is the paper's own attack, which returns its last iterate; "any iterate" counts an image as
fooled if any iterate fooled it.
"""


def place(key: str, folder: str | os.PathLike) -> pathlib.Path:
    """Where the record `folder` keeps the target KEY: "feature_smoothing/table1" has _ for /."""
    return pathlib.Path(folder) / key.replace("/", "_")


def publish(output: str | os.PathLike, key: str, folder: str | os.PathLike) -> pathlib.Path:
    """Copies a table and its evaluations from a run's output to `folder`/KEY, draws the curve, rewrites RESULTS.md.

    With the evaluations in the record, the table can grow on another machine than the one that began it.

    Args:
        output: where `reproduce` wrote table.json and table.md.
        key: name of the target, "feature_smoothing/table1"; becomes a folder name with _ for /.
        folder: the record, usually results.

    Returns:
        The target's folder in the record.

    Raises:
        UserError: no table in `output`, or a folder that cannot be written.
    """
    output, folder = pathlib.Path(output), pathlib.Path(folder)
    try:
        table = json.loads((output / "table.json").read_text(encoding="utf-8"))
        markdown = (output / "table.md").read_text(encoding="utf-8")
    except (OSError, ValueError) as error:
        raise UserError(
            f"output {output} holds no readable table ({error}); reproduce the target there first"
        ) from error
    target = place(key, folder)
    files.write_json(target / "table.json", table)
    files.write_text(target / "table.md", markdown)
    for path in sorted((output / "evaluations").glob("*.json")):
        files.write_text(target / "evaluations" / path.name, path.read_text(encoding="utf-8"))
    series = curves(table["curve"])
    if series:
        # Matplotlib takes a second to import, and only a published curve needs it.
        from tfadv.report import chart_figures

        figure = chart_figures.draw(Section("", curves=series).curve_chart())
        for suffix in ("svg", "png"):
            with files.replacing(target / f"curve.{suffix}") as temporary:
                figure.savefig(temporary, dpi=160, metadata={"Date": None} if suffix == "svg" else None)
    write_index(folder)
    return target


def curves(points: list[dict[str, Any]]) -> dict[str, Curve]:
    """Row label -> accuracy against steps, from the points of a table.json."""
    series = {}
    for label in dict.fromkeys(point["row"] for point in points):
        mine = sorted((point for point in points if point["row"] == label), key=lambda point: point["step"])
        series[label] = Curve(*(tuple(point[name] for point in mine) for name in ("step", "accuracy", "low", "high")))
    return series


def write_index(folder: pathlib.Path) -> None:
    """Writes RESULTS.md: a list of everything published, then a section for each table of a paper and each survey.

    Folders with a README.md of their own are linked to.
    """
    contents, sections = [], []
    trained: list[Beside] = []
    claims: dict[str, list[str]] = {}
    for path in sorted(folder.glob("*/table.json")):
        table = json.loads(path.read_text(encoding="utf-8"))
        title, section = _survey(table, path) if "survey" in table else _target(table, path)
        contents.append(f"- {title}: [{path.parent.name}/table.md]({path.parent.name}/table.md)")
        trained.extend(_lines(table))
        sections.append(f"## {title}\n\n{section}")
    for path in sorted(folder.glob("*/study.json")):
        study = json.loads(path.read_text(encoding="utf-8"))
        link = f"[{path.parent.name}]({path.parent.name}/study.md)"
        contents.append(f"- {study['title']} ({study['scale']}): {link}")
        trained.extend(_lines(study))
        for claim in study["claims"]:
            claims.setdefault(claim["key"], []).append(f"{claim['mark']}: {claim['evidence']} ({path.parent.name})")
    for path in sorted(folder.glob("*/README.md")):
        title = path.read_text(encoding="utf-8").partition("\n")[0].lstrip("# ")
        contents.append(f"- {title}: [{path.parent.name}/README.md]({path.parent.name}/README.md)")
    sections.append(_claims(claims))
    front = [_BESIDE, gallery.true_robustness(trained).markdown()] if trained else []
    files.write_text(folder / "RESULTS.md", "\n".join([_INTRODUCTION, *front, *contents, "", *sections]))


def _lines(published: Mapping[str, Any]) -> list[Beside]:
    """The classifiers of a table or study whose robustness was also measured by AutoAttack, each once."""
    return [Beside(**{**each, "interval": tuple(each["interval"])}) for each in published.get("beside", [])]


def _claims(found: Mapping[str, list[str]]) -> str:
    """The section of what the papers say in words, each sentence with what became of it."""
    rows = []
    for row in reference("claims"):
        said = f"{row['quote_or_claim']} ({row['paper']}, {row['where']})"
        rows.append((row["id"], said, "; ".join(found.get(row["id"], ["not decided yet"]))))
    return f"## What the papers say in words\n\n{Table(('claim', 'what', 'found'), tuple(rows), '').markdown()}"


def _survey(table: dict[str, Any], path: pathlib.Path) -> tuple[str, str]:
    """Title and section of a survey: its table and legend."""
    place = f"{path.parent.name}/evaluations"
    text = f"{survey_table.markdown(table)}\nEvery member's settings, attacks and times: [{place}]({place}).\n"
    return table["title"], text


def _target(table: dict[str, Any], path: pathlib.Path) -> tuple[str, str]:
    """Title and section of a paper's table: its summary, how it was trained, its curve."""
    parts = [_PAPERS, _summary(table)]
    if table.get("readings"):
        parts.append("What the paper leaves open, and how we read it:\n")
        parts.append("\n".join(f"- {reading}" for reading in table["readings"]) + "\n")
    parts.append(_runs(table))
    if (path.parent / "curve.svg").exists():
        sizes = sorted({point["count"] for point in table["curve"]})
        parts.append(
            f"![{table['target']}: robust accuracy against training steps]({path.parent.name}/curve.svg)\n\n"
            f"Robust accuracy against training steps, PGD as in the table, on {sizes[0]:,} seeded, stratified test "
            "images; the band is the 95% interval.\n"
        )
    parts.append(f"Every cell with its interval: [{path.parent.name}/table.md]({path.parent.name}/table.md).\n")
    return table["target"], "\n".join(parts)


def _summary(table: dict[str, Any]) -> str:
    """Methods down, attacks across; a cell is paper | ours | difference."""
    columns = list(dict.fromkeys(cell["column"] for cell in table["cells"]))
    lines = [
        f"{table['count']:,} test images; each cell is paper | ours | difference.\n",
        "| method | steps | " + " | ".join(columns) + " |",
        "|---|---:|" + "---:|" * len(columns),
    ]
    for label in dict.fromkeys(cell["row"] for cell in table["cells"]):
        cells = {cell["column"]: cell for cell in table["cells"] if cell["row"] == label}
        texts = [_cell(cells[column]) for column in columns]
        lines.append(f"| {label} | {next(iter(cells.values()))['step']:,} | " + " | ".join(texts) + " |")
    statuses = sorted({cell["status"] for cell in table["cells"]})
    lines.append(f"\nSchedule: {'; '.join(statuses)} ({table['paper_steps']:,} steps in the paper).\n")
    return "\n".join(lines)


def _cell(cell: dict[str, Any]) -> str:
    paper = "–" if cell["paper"] is None else f"{cell['paper']:.2f}"
    difference = "–" if cell["difference"] is None else f"{cell['difference']:+.2f}"
    best = cell["ours_best_iterate"]
    ours = f"{cell['ours']:.2f}" + (f" (any iterate {best:.2f})" if best not in (None, cell["ours"]) else "")
    return f"{paper} \\| {ours} \\| {difference}"


def _runs(table: dict[str, Any]) -> str:
    """How long each row trained, and with what."""
    lines = [
        "| method | steps | minutes of training | attack's search | TensorFlow | platform |",
        "|---|---:|---:|---|---|---|",
    ]
    for run in table["runs"]:
        environment = run["environment"]
        search = run["precision"] + ("" if run["precision"] == "float32" else ", successes verified in float32")
        lines.append(
            f"| {run['row']} | {run['step']:,} | {run['seconds_of_training'] / 60:.1f} | {search} | "
            f"{environment['tensorflow']} | {environment['processor_cores']} cores, {environment['platform']} |"
        )
    sources = {source: None for run in table["runs"] if (source := run.get("source"))}
    if len(sources) > 1:
        groups = [[run["row"] for run in table["runs"] if run.get("source") == source] for source in sources]
        lines.append(
            "\nThe black-box columns come from separate trainings of the source, with equal settings, for "
            f"{' and for '.join(', '.join(group) for group in groups)}."
        )
    return "\n".join(lines) + "\n"
