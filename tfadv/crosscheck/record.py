"""A folder of measurements: one JSON file for each, and a README.md that is made from them and never edited."""

from __future__ import annotations

import json
import os
import pathlib
from typing import Any

from tfadv import files
from tfadv.validation import UserError

_INTRODUCTION = """# Attacks, measured

Made from the JSON files in this folder by the programs that measured them (their `--output`); do not edit.
All on CPUs: GPU and TPU are not measured.
"""


def publish(
    path: str | os.PathLike, title: str, text: str, values: dict[str, Any], introduction: str = _INTRODUCTION
) -> pathlib.Path:
    """Writes one measurement as JSON, and README.md beside it from all measurements of the folder, by file name.

    Args:
        path: of the JSON file.
        title, text: heading and Markdown of the measurement, for the README.
        values: JSON values of the measurement.
        introduction: Markdown that the README begins with.

    Returns:
        Path of the README.

    Raises:
        UserError: `path` does not end in .json, or the folder holds a JSON file that is no measurement.
    """
    path = check_output(path)
    files.write_json(path, {"title": title, "text": text, **values})
    parts = [introduction]
    for each in sorted(path.parent.glob("*.json")):
        try:
            found = json.loads(each.read_text(encoding="utf-8"))
            parts.append(
                f"## {found['title']}\n\n{found['text'].strip()}\n\nEvery figure: [{each.name}]({each.name}).\n"
            )
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise UserError(
                f"{str(each)!r} is no measurement of these programs ({error!r}); write to a folder of its own"
            ) from error
    readme = path.parent / "README.md"
    files.write_text(readme, "\n".join(parts))
    return readme


def check_output(path: str | os.PathLike) -> pathlib.Path:
    """`path` if a measurement may be written there; to be asked before anything is measured.

    Raises:
        UserError: it does not end in .json.
    """
    path = pathlib.Path(path)
    if path.suffix != ".json":
        raise UserError(f"output must end in .json, got {str(path)!r}")
    return path
