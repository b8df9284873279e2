"""The table itself: the newest evaluation of each row beside the printed numbers."""

from __future__ import annotations

import dataclasses
import json
import pathlib
from collections.abc import Sequence
from typing import Any

from tfadv import attacks, files
from tfadv.report.records import clopper_pearson
from tfadv.report.tables import Table
from tfadv.reproduction.runs import read_json
from tfadv.reproduction.study import beside
from tfadv.reproduction.target import Target, printed


def newest_evaluations(target: Target, folders: Sequence[pathlib.Path], count: int) -> dict[str, dict[str, Any]]:
    """Row key -> the evaluation of most training steps among the *.json of `folders`; of equal ones, the last.

    Evaluations of another number of images, or under other attacks than the target's, are passed over.
    """
    newest: dict[str, dict[str, Any]] = {}
    for folder in folders:
        for path in sorted(folder.glob("*.json"), key=lambda path: path.stat().st_mtime):
            found = read_json(path)
            if not (found and found.get("count") == count and found.get("settings") == settings_of(target)):
                continue
            if newest.get(found["key"], found)["step"] <= found["step"]:
                newest[found["key"]] = found
    return newest


def newest_strong(folders: Sequence[pathlib.Path]) -> dict[str, dict[str, Any]]:
    """Row key -> its strong evaluation (`table.evaluate_strongly`) of most training steps among those of `folders`."""
    found = [values for folder in folders for path in folder.glob("standard-*.json") if (values := read_json(path))]
    return {each["key"]: each for each in sorted(found, key=lambda each: each["step"])}


def settings_of(target: Target) -> list[Any]:
    """What decides a row's numbers beside its weights: the columns with their attacks, as JSON values."""
    settings = [
        [column.name, column.attack and attacks.to_dict(column.attack), column.threat] for column in target.columns
    ]
    return json.loads(json.dumps(settings))


def write_table(target: Target, output: pathlib.Path, count: int, record: pathlib.Path | None = None) -> dict[str, Any]:
    """Joins the newest evaluation of each row with the printed numbers; writes table.json and table.md.

    Args:
        record: a published target, whose evaluations count where `output` has none of as many steps.
    """
    numbers = printed(target)
    folders = [*([record / "evaluations"] if record else []), output / "evaluations"]
    newest = newest_evaluations(target, folders, count)
    judged = newest_strong(folders)
    cells, lines, standings = [], [], []
    for row in target.rows:
        if row.key not in newest:
            continue
        found = newest[row.key]
        schedule = found["step"] / target.paper_steps
        status = "the paper's schedule" if schedule >= 1 else f"not comparable: {schedule:.0%} of the schedule"
        if judged.get(row.key, {"step": None})["step"] == found["step"]:
            column = target.columns[0]
            ours, paper = 100 * found["columns"][column.name]["accuracy"], numbers.get((row.label, column.name))
            line = beside(row.label, column.name, paper, ours, judged[row.key]["standard"], f"{schedule:.0%}")
            standings.append(dataclasses.asdict(line))
        for column in target.columns:
            ours, paper = found["columns"][column.name], numbers.get((row.label, column.name))
            percent = 100 * ours["accuracy"]
            low, high = clopper_pearson(round(ours["accuracy"] * found["count"]), found["count"])
            best = ours.get("best_iterate")
            cells.append(
                {
                    "row": row.label,
                    "column": column.name,
                    "paper": paper,
                    "ours": round(percent, 2),
                    "difference": None if paper is None else round(percent - paper, 2),
                    "interval": [round(100 * low, 2), round(100 * high, 2)],
                    "ours_best_iterate": None if best is None else round(100 * best, 2),
                    "step": found["step"],
                    "status": status,
                }
            )
            lines.append(
                (
                    row.label,
                    column.name,
                    "–" if paper is None else f"{paper:.2f}",
                    f"{percent:.2f}",
                    "–" if paper is None else f"{percent - paper:+.2f}",
                    f"{100 * low:.1f} to {100 * high:.1f}",
                    "–" if best is None else f"{100 * best:.2f}",
                    f"{found['step']:,}",
                    status,
                )
            )
    head = ("method", "attack", "paper", "ours", "difference", "95% interval", "ours, any iterate", "steps", "schedule")
    table = Table(head, tuple(lines), f"{target.title}; {count:,} test images.")
    points = {
        (found["row"], found["step"]): found
        for folder in folders
        for path in folder.glob("curve-*.json")
        if (found := read_json(path))
    }
    curve = [points[place] for place in sorted(points)]
    result = {
        "target": target.title,
        "count": count,
        "paper_steps": target.paper_steps,
        "readings": list(target.readings),
        "attacks": {column.name: column.attack and attacks.to_dict(column.attack) for column in target.columns},
        "cells": cells,
        "beside": standings,
        "runs": [
            {
                key: newest[row.key][key]
                for key in ("row", "step", "seconds_of_training", "precision", "source", "environment")
            }
            for row in target.rows
            if row.key in newest
        ],
        "curve": curve,
    }
    files.write_json(output / "table.json", result)
    files.write_text(output / "table.md", f"{table.caption}\n\n{table.markdown()}")
    return result
