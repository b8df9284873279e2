"""Ending on SIGTERM, the signal of `kill`, of batch systems and of container managers, as cleanly as on Ctrl-C."""

from __future__ import annotations

import functools
import os
import signal
import sys
import threading
import time
from collections.abc import Callable
from types import FrameType
from typing import Any, NoReturn

STATUS = 128 + signal.SIGTERM  # as a shell reports a process that the signal killed
_LATER = 0.05  # seconds, by which a callback is over
GRACE = 10.0  # seconds; batch systems and container managers kill after 10 to 30


@functools.cache
def end_on_sigterm() -> None:
    """From here on SIGTERM ends this process with `STATUS`: what is half-written is removed, and a line says so.

    Call it in the main thread. Python hears a signal only between two of its own instructions, and a call of TensorFlow
    may take minutes; the process therefore ends after `GRACE` seconds in any case, which harms no more than a kill.
    """
    heard, tell = os.pipe()
    os.set_blocking(tell, False)
    signal.set_wakeup_fd(tell, warn_on_full_buffer=False)
    threading.Thread(target=_end_at_last, args=(heard,), daemon=True).start()
    signal.signal(signal.SIGTERM, _end)
    sys.unraisablehook = functools.partial(_end_again, sys.unraisablehook)


class _Stopped(SystemExit):
    """Raised where the signal was heard."""


def _end(number: int, frame: FrameType | None) -> NoReturn:
    signal.signal(signal.SIGTERM, signal.SIG_IGN)  # one is enough: nothing breaks off what is cleaned up now
    _tell()
    raise _Stopped(STATUS)


@functools.cache
def _tell() -> None:
    print("stopped by SIGTERM; the same command continues from what is finished", file=sys.stderr, flush=True)


def _end_again(before: Callable[[Any], None], unraisable: Any) -> None:
    """What is raised in a callback of the garbage collector or a `__del__` is dropped: once more, a little later."""
    if not isinstance(unraisable.exc_value, _Stopped):
        before(unraisable)
        return
    signal.signal(signal.SIGTERM, _end)
    threading.Timer(_LATER, os.kill, (os.getpid(), signal.SIGTERM)).start()


def _end_at_last(heard: int) -> None:
    while os.read(heard, 1) != bytes([signal.SIGTERM]):
        pass  # another signal, such as Ctrl-C
    time.sleep(GRACE)
    os._exit(STATUS)
