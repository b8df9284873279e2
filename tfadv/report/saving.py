"""Writes a report, or several, into a folder: all files or none."""

from __future__ import annotations

import contextlib
import json
import os
import pathlib
import re
from collections.abc import Mapping
from typing import Any

from tfadv.files import replacing, sealed
from tfadv.report import html, outputs, themes
from tfadv.report.collection import Collection
from tfadv.report.report import Report
from tfadv.report.themes import PAPER, WIDE
from tfadv.validation import UserError

# What `save` writes beside report.json, and therefore removes when a later report in the same folder has it not.
_OWN = re.compile(
    r"((model-\d+-|opening-)?(curves-\d+|charts-\d+-\d+)|attacks|examples(-\d+)?)\.(png|svg)"
    r"|images\.parquet|adversarial\.npz|robustbench\.json|log\.txt|table\.(md|tex)"
)


def json_text(value: Mapping[str, Any]) -> str:
    """JSON with one line for each entry of the top levels, and arrays of numbers on one line; NaN is refused."""

    def dump(item: Any, indent: str) -> str:
        inner = indent + "  "
        if isinstance(item, Mapping) and item:
            entries = (f"{inner}{json.dumps(key)}: {dump(part, inner)}" for key, part in item.items())
            return "{\n" + ",\n".join(entries) + f"\n{indent}}}"
        if isinstance(item, list) and any(isinstance(part, Mapping | list) for part in item):
            return "[\n" + ",\n".join(inner + dump(part, inner) for part in item) + f"\n{indent}]"
        return json.dumps(item, allow_nan=False)

    return dump(value, "") + "\n"


def files(subject: Report | Collection, adversarial: Any = None) -> dict[str, bytes]:
    """Every file of the saved report by name; see `Report.save`."""
    page = html.build(subject)
    content = {
        "report.json": json_text(sealed(subject.to_json())).encode(),
        "report.html": page.text.encode(),
        "table.md": subject.markdown().encode(),
        "table.tex": subject.latex().encode(),
    }
    if isinstance(subject, Report):
        content["images.parquet"] = outputs.images_parquet(subject)
        content["robustbench.json"] = json_text(outputs.robustbench(subject)).encode()
        content["log.txt"] = outputs.autoattack_log(subject, adversarial).encode()
        if adversarial is not None:
            content["adversarial.npz"] = outputs.adversarial_npz(subject, adversarial)
    for plot in page.plots:
        figure = plot.draw(PAPER, WIDE)
        content |= {f"{plot.name}.png": themes.to_png(figure), f"{plot.name}.svg": themes.to_svg(figure)}
    return content


def save(subject: Report | Collection, directory: str | os.PathLike, adversarial: Any = None) -> None:
    """Writes `files` into `directory`; see `Report.save`.

    Raises:
        UserError: the folder cannot be made or written to, or `adversarial` does not fit the report.
    """
    directory = pathlib.Path(directory)
    # Ask for the folder before the seconds of drawing, so that a wrong one is refused at once.
    with replacing(directory / "report.json") as first:
        # Without an earlier report, a file called log.txt is somebody else's.
        stale = _OWN if (directory / "report.json").is_file() else None
        content = files(subject, adversarial)
        for name in content:
            if (directory / name).is_dir():
                raise UserError(f"cannot write {directory / name}: it is a folder; name another folder for the report")
        first.write_bytes(content.pop("report.json"))
        with contextlib.ExitStack() as stack:
            # No file takes its name before all of them are written.
            for name, data in content.items():
                stack.enter_context(replacing(directory / name)).write_bytes(data)
        for file in directory.iterdir():
            if stale and stale.fullmatch(file.name) and file.name not in content:
                file.unlink()
