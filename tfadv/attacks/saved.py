"""State files: written whole or not at all, and continued only by the search that wrote them."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import os
import pathlib
import zipfile
from collections.abc import Sequence
from typing import Any

import numpy as np

from tfadv import files
from tfadv.validation import UserError

# Whole searches are counted in minutes and a state is written in well under a second.
SECONDS_BETWEEN = 30.0
# The same model gives these logits again up to rounding, also on another machine; another model does not.
_LOGIT_TOLERANCE = 1e-3
_FORMAT = 1
_KINDS = {
    "format": "another version of this package",
    "attack": "another attack",
    "precision": "a search in another precision",
    "batch_size": "a search with another batch_size",
    "data": "other data",
}


def describe(config: Any) -> dict[str, Any]:
    """A config as JSON values: its class name and its fields; a function by its name, a model by its type."""
    values = {"class": type(config).__name__}
    for field in dataclasses.fields(config):
        value = getattr(config, field.name)
        name = getattr(value, "__qualname__", "")
        values[field.name] = f"{value.__module__}.{name}" if callable(value) and name else value
    return json.loads(json.dumps(values, default=_plain))


def _plain(value: Any) -> Any:
    """What JSON does not know: NumPy's numbers and arrays as numbers and lists, and anything else by its type."""
    return value.tolist() if isinstance(value, np.ndarray | np.generic) else f"<{type(value).__qualname__}>"


def identity(config: Any, precision: str, batch_size: int, arrays: Sequence[np.ndarray | None]) -> dict[str, Any]:
    """What must be equal for a state to be continued."""
    data = hashlib.sha256()
    for array in arrays:
        data.update(b"none" if array is None else np.ascontiguousarray(array).tobytes())
    return {
        "format": _FORMAT,
        "attack": describe(config),
        "precision": precision,
        "batch_size": batch_size,
        "data": data.hexdigest(),
    }


def write(path: str | os.PathLike, about: dict[str, Any], logits: np.ndarray, arrays: dict[str, np.ndarray]) -> None:
    """Writes one state: JSON values `about`, the logits of a few images, and arrays by name."""
    with files.replacing(pathlib.Path(path)) as temporary, temporary.open("wb") as stream:
        everything: dict[str, Any] = {"about": np.array(json.dumps(about)), "logits": logits, **arrays}
        np.savez(stream, **everything)


def read(
    path: str | os.PathLike, expected: dict[str, Any], logits: np.ndarray
) -> tuple[dict[str, Any], dict[str, np.ndarray]] | None:
    """(about, arrays) of the state at `path`, or None if there is no file.

    Args:
        expected: `identity` of the search that wants to continue.
        logits: of the same images as those stored, by the model at hand.

    Raises:
        UserError: the file cannot be read, or belongs to another model, other data or another attack.
    """
    path = pathlib.Path(path)
    if not path.exists():
        return None
    try:
        with np.load(path, allow_pickle=False) as stored:
            arrays = {name: stored[name] for name in stored.files}
        about, theirs = json.loads(str(arrays.pop("about"))), arrays.pop("logits")
        # NumPy gives the bytes of a member that is no array.
        if not isinstance(about, dict) or not all(isinstance(each, np.ndarray) for each in (theirs, *arrays.values())):
            raise ValueError("it holds something else")
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile) as error:
        raise UserError(f"state {str(path)!r} is no readable state file ({error}); remove it to begin anew") from error
    for name, kind in _KINDS.items():
        if about.get(name) != expected[name]:
            raise UserError(
                f"state {str(path)!r} belongs to {kind}: its {name} is {_short(about.get(name))}, here it is "
                f"{_short(expected[name])}; name another file, or remove this one to begin anew"
            )
    scale = max(float(np.abs(logits).max()), 1.0)
    if theirs.shape != logits.shape or not np.allclose(theirs, logits, rtol=0, atol=_LOGIT_TOLERANCE * scale):
        raise UserError(
            f"state {str(path)!r} belongs to another model: its logits on these images differ; name another file, or "
            "remove this one to begin anew"
        )
    return about, arrays


def _short(value: Any) -> str:
    text = json.dumps(value)
    return text if len(text) <= 200 else f"{text[:200]}..."
