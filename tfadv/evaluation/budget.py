"""Time: what a suite will take, told after a first look, and how far it gets in a given time."""

from __future__ import annotations

import re
import sys
import time
from collections.abc import Callable

import numpy as np

from tfadv.data.subset import stratified_subset
from tfadv.report.tables import duration
from tfadv.validation import UserError

# Examples of the first look. The engine halves batches of 500 to 62 on its way, so this shape is compiled anyway.
PILOT = 62
# Share of a budget for the suite; the rest is for the checks.
_FOR_SUITE = 0.7
_LONG = 60.0  # Seconds beyond which an estimate is worth a line.
_UNITS = {"s": 1, "sec": 1, "second": 1, "min": 60, "minute": 60, "h": 3600, "hour": 3600}


def seconds_of(budget: str | float) -> float:
    """Seconds of "90 s", "10 min", "1.5 h" or a number of seconds.

    Raises:
        UserError: anything else, or no time at all.
    """
    match = re.fullmatch(r"\s*([0-9.]+)\s*([a-z]*)\s*", str(budget).lower())
    unit = (match[2].removesuffix("s") or "s") if match else ""
    try:
        seconds = float(match[1]) * _UNITS[unit]  # type: ignore[index]
    except (KeyError, TypeError, ValueError):
        seconds = 0.0
    if not 0 < seconds < float("inf"):
        raise UserError(f'budget must be a time such as "90 s", "10 min" or "2 h", got {budget!r}')
    return seconds


def in_portions(
    work: Callable[[np.ndarray], None], y: np.ndarray, *, seed: int, what: str, budget: float | None, pilot: bool
) -> np.ndarray:
    """Does `work` on portions of the examples until all are done or the time is spent; bool [n], which are done.

    Every portion is a seeded draw with the class shares of what is left, so what is done is a stratified sample at any
    time. Without a budget there are at most two: a first look, after which the time for the rest is estimated.

    Args:
        work: given the numbers of some examples.
        y: int [n], labels.
        what: is done, for the line with the estimate.
        budget: seconds from now, or None.
        pilot: whether to take a first look where there is no budget.
    """
    done, began = np.zeros(len(y), bool), time.monotonic()
    if budget is None and (not pilot or len(y) < 2 * PILOT):
        work(np.arange(len(y)))
        return ~done
    size, portion = min(PILOT, len(y)), 0
    while True:
        left = np.flatnonzero(~done)
        rows = left[stratified_subset(y[left], size, seed + portion)]
        start = time.monotonic()
        work(rows)
        done[rows] = True
        now, remaining = time.monotonic(), int((~done).sum())
        if not remaining:
            return done
        # Of the first portion this includes compiling, so the estimate errs on the long side.
        rate = (now - start) / len(rows)
        if budget is None:
            size = remaining
        else:
            affordable = int((budget * _FOR_SUITE - (now - began)) / rate)
            size = min(remaining, affordable, 4 * len(rows))
            if size < min(PILOT, remaining) // 2:
                line = f"{what}: {int(done.sum()):,} of {len(y):,} images in {duration(now - began)}; time is up"
                print(line, file=sys.stderr, flush=True)
                return done
        if portion == 0 and rate * remaining > _LONG:
            line = f"{what}: about {duration(rate * remaining)} for the other {remaining:,} images"
            print(line, file=sys.stderr, flush=True)
        portion += 1
