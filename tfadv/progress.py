"""One line of progress on standard error for work that takes longer than a few seconds."""

from __future__ import annotations

import sys
import time


class Progress:
    """Calls as `progress(done, total)`; on a terminal one line is rewritten, elsewhere a line appears every 15 s.

    Args:
        label: what is being done.
        unit: what is counted.
        quiet_seconds: nothing is shown before this time has passed, so short work stays silent.
    """

    def __init__(self, label: str, unit: str = "images", quiet_seconds: float = 3.0) -> None:
        self._label, self._unit = label, unit
        self._began = time.monotonic()
        self._next = self._began + quiet_seconds
        self._interactive = sys.stderr.isatty()
        self._shown = False

    def __call__(self, done: int, total: int) -> None:
        now = time.monotonic()
        if now < self._next or not done:
            return
        self._next = now + (0.5 if self._interactive else 15.0)
        rate = done / (now - self._began)
        left = (total - done) / rate
        text = f"{self._label}: {done:,}/{total:,} {self._unit}, {rate:,.0f}/s, {left:,.0f} s left"
        print(
            f"\r{text:<78}" if self._interactive else text,
            end="" if self._interactive else "\n",
            file=sys.stderr,
            flush=True,
        )
        self._shown = True

    def close(self) -> None:
        """Ends the line on a terminal."""
        if self._shown and self._interactive:
            print(file=sys.stderr, flush=True)
