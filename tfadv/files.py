"""Writing files so that a reader never sees half of one: a temporary sibling, then a rename."""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import json
import os
import pathlib
import shlex
import socket
import sys
import tempfile
import textwrap
import time
from collections.abc import Callable, Iterator, Mapping
from typing import IO, Any

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


class InUse(UserError):
    """Another process holds what is asked for; the message names it."""


@contextlib.contextmanager
def holding(folder: str | os.PathLike, *, waiting: Callable[[str], None] | None = None) -> Iterator[None]:
    """Keeps every other process out of `folder` while the block runs; a process that dies lets go of it.

    Args:
        folder: is made where there is none, and then removed if it is empty at the end.
        waiting: is told who holds the folder, which is then waited for; None refuses at once.

    Raises:
        InUse: another process holds the folder: its number, host and command are named.
        UserError: the folder cannot be written to, or its file system has no locks.
    """
    with locked(pathlib.Path(folder) / ".lock", folder, waiting=waiting):
        yield


@contextlib.contextmanager
def locked(
    path: pathlib.Path, what: str | os.PathLike, *, waiting: Callable[[str], None] | None = None
) -> Iterator[None]:
    """As `holding`, of `what` in words: `path` is a file that is there while the lock is held, or its holder died."""
    made = not path.parent.exists()
    try:
        lock = _taken(path, what, waiting)
    except OSError as error:
        raise UserError(
            f"cannot write to {path.parent}: {error.strerror}; name a folder that you may write to, on a disk that "
            "knows locks"
        ) from error
    try:
        yield
    finally:
        # While it is held: afterwards the file may be another holder's. On a disk that is read-only by now it stays.
        with contextlib.suppress(OSError):
            path.unlink(missing_ok=True)
        lock.close()
        if made:
            with contextlib.suppress(OSError):  # it received something
                path.parent.rmdir()


def _taken(path: pathlib.Path, what: str | os.PathLike, waiting: Callable[[str], None] | None) -> IO[bytes]:
    """The open lock file, held, with a line about this process in it."""
    while True:
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            lock = path.open("a+b", buffering=0)
        except FileNotFoundError:
            continue  # the holder before has just removed the folder
        try:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError as error:
                lock.seek(0)
                holder = lock.read().decode(errors="replace") or "another process"
                if waiting is None:
                    raise InUse(
                        f"{what} is in use by {holder}; wait until it has ended, or name another folder"
                    ) from error
                waiting(holder)
                fcntl.flock(lock, fcntl.LOCK_EX)
            # The holder before may have removed the file after it was opened here; that lock would keep nobody out.
            if _is_still(path, lock):
                # A full disk is found where something that matters is written.
                with contextlib.suppress(OSError):
                    lock.truncate(0)
                    lock.write(_this_process().encode())
                return lock
        except BaseException:
            lock.close()
            raise
        lock.close()


def _is_still(path: pathlib.Path, opened: IO[bytes]) -> bool:
    try:
        return os.path.samestat(path.stat(), os.fstat(opened.fileno()))
    except FileNotFoundError:
        return False


def _this_process() -> str:
    command = textwrap.shorten(shlex.join(sys.orig_argv), 200, placeholder=" ...")
    return f"process {os.getpid()} on {socket.gethostname()} since {time.strftime('%Y-%m-%d %H:%M:%S')} ({command})"


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
