"""Writing files so that a reader never sees half of one: a temporary sibling, then a rename."""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import json
import os
import pathlib
import tempfile
from collections.abc import Iterator, Mapping
from typing import Any

from tfadv.validation import UserError


@contextlib.contextmanager
def replacing(path: str | os.PathLike) -> Iterator[pathlib.Path]:
    """Yields a temporary path beside `path` with its suffix; renames it onto `path` if the block ends well.

    Raises:
        UserError: the folder cannot be made or written to.
    """
    path = pathlib.Path(path)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(prefix=f".{path.stem}-", suffix=path.suffix, dir=path.parent)
    except OSError as error:
        raise UserError(f"cannot write {path}: {error.strerror}; name a folder that you may write to") from error
    os.close(handle)
    temporary = pathlib.Path(name)
    try:
        yield temporary
        # mkstemp makes files private to their owner; results are as readable as any other new file.
        mask = os.umask(0)
        os.umask(mask)
        os.chmod(temporary, 0o666 & ~mask)
        os.replace(temporary, path)
    except OSError as error:
        raise UserError(f"cannot write {path}: {error.strerror or error}; free space or name another folder") from error
    finally:
        temporary.unlink(missing_ok=True)


@contextlib.contextmanager
def holding(folder: str | os.PathLike) -> Iterator[None]:
    """Keeps every other process out of `folder` while the block runs; a process that dies lets go of it.

    Raises:
        UserError: another process holds the folder (its number is named), or the folder cannot be written to.
    """
    path = pathlib.Path(folder) / ".lock"
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        stream = path.open("a+", encoding="utf-8")
    except OSError as error:
        raise UserError(f"cannot write to {folder}: {error.strerror}; name a folder that you may write to") from error
    with stream:
        try:
            fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            stream.seek(0)
            holder = stream.read().strip() or "another process"
            raise UserError(
                f"{folder} is in use by {holder}; wait until it has ended, or name another folder"
            ) from error
        stream.truncate(0)
        stream.write(f"process {os.getpid()}")
        stream.flush()
        yield


def write_text(path: str | os.PathLike, text: str) -> None:
    """Writes UTF-8 `text` to `path` atomically."""
    with replacing(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def write_json(path: str | os.PathLike, value: Any) -> None:
    """Writes `value` to `path` as indented JSON, atomically; NaN is refused, because JSON has none."""
    write_text(path, json.dumps(value, indent=2, allow_nan=False) + "\n")


def sealed(value: Mapping[str, Any]) -> dict[str, Any]:
    """`value` with one more entry, the SHA-256 of the others as JSON, so that damage does not pass for a number."""
    return {**value, "sha256": _digest(value)}


def is_whole(value: Mapping[str, Any]) -> bool:
    """Whether JSON values are as `sealed` left them; those without a seal count as whole."""
    return "sha256" not in value or value["sha256"] == _digest(value)


def _digest(value: Mapping[str, Any]) -> str:
    content = {key: part for key, part in value.items() if key != "sha256"}
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()
