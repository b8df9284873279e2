"""A folder of exported files that appears whole or not at all."""

from __future__ import annotations

import contextlib
import os
import pathlib
import shutil
import tempfile
from collections.abc import Iterator

from tfadv import files
from tfadv.validation import UserError


@contextlib.contextmanager
def replacing_folder(directory: str | os.PathLike, mark: str, kind: str) -> Iterator[pathlib.Path]:
    """Yields a temporary folder beside `directory`, and puts it in its place if the block ends well.

    Args:
        directory: a new folder, an empty one, or one of the same kind, which is replaced.
        mark: name of a file that every folder of this kind holds.
        kind: what such a folder is, for the message: "a SavedModel".

    Raises:
        UserError: `directory` is a file or a folder of another kind, or cannot be written, or another process is
            writing it.
    """
    directory = pathlib.Path(directory)
    with files.locked(directory.parent / f".{directory.name}.lock", directory):
        yield from _replacing(directory, mark, kind)


def _replacing(directory: pathlib.Path, mark: str, kind: str) -> Iterator[pathlib.Path]:
    try:
        content = [entry.name for entry in directory.iterdir()] if directory.is_dir() else []
        if (content and mark not in content) or directory.is_file():
            found = "a file" if directory.is_file() else "a folder with other content"
            raise UserError(
                f"directory {str(directory)!r} is {found}, not {kind}, and is left as it is; name a new folder, or an "
                "export to replace"
            )
        directory.parent.mkdir(parents=True, exist_ok=True)
        work = pathlib.Path(tempfile.mkdtemp(prefix=f".{directory.name}-", dir=directory.parent))
        try:
            new, old = work / "new", work / "old"
            new.mkdir()  # Unlike `work`, with the permissions of any other new folder.
            yield new
            if directory.exists():
                directory.rename(old)
            try:
                new.rename(directory)
            except OSError:
                if old.exists():
                    old.rename(directory)
                raise
        finally:
            shutil.rmtree(work, ignore_errors=True)
    except OSError as error:
        reason = error.strerror or error
        raise UserError(f"cannot write {str(directory)!r}: {reason}; name a folder that you may write to") from error
