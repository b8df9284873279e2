"""A soak: evaluates a classifier over and over for a given time, and reports memory and traces over time.

    python -m tools.soak --minutes=30 --output=results/soak

A round is a whole evaluation from the beginning (suite "quick" with its checks; its report is saved to a folder that is
thrown away), then one more call of an attack that was compiled before the first round. The first must leave no memory
behind and trace as much as the round before; the second must never be traced again. After the warm-up, in which the
allocators and TensorFlow's caches fill, the memory of the process may grow by `ALLOWED` in all. Exit status 1 says that
it grew more, or that the number of traces changed.
"""

from __future__ import annotations

import argparse
import gc
import os
import pathlib
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import tensorflow as tf

from tfadv import attacks, data, files, models, training
from tfadv.crosscheck.benchmark import machine
from tfadv.evaluation import evaluate
from tfadv.report.tables import Table

WARM_UP = 5  # rounds
ALLOWED = 0.05  # of the memory after the warm-up
_EPSILON, _IMAGES = 0.1, 60
_SHOWN = 12  # rows of the table


class Traced:
    """A classifier that counts how often it is traced: TensorFlow runs its Python once for each trace."""

    def __init__(self, model: Any) -> None:
        self.model, self.traces = models.predictor(model), 0

    def __call__(self, images: Any) -> Any:
        self.traces += not tf.executing_eagerly()
        return self.model(images)


def memory() -> float:
    """Resident memory of this process, MiB, as Linux counts it."""
    pages = int(pathlib.Path("/proc/self/statm").read_text(encoding="utf-8").split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 2**20


def soak(seconds: float, report: Callable[[str], None], *, check: bool = True) -> list[dict[str, Any]]:
    """Rounds until the time is over, at least twice `WARM_UP` of them; one dictionary for each.

    Args:
        check: False leaves out the checks of the evaluation, which are nine tenths of a round.

    Returns:
        round, minutes since the beginning, mib of memory, traces of this round's evaluation, traces_again of the attack
        that was compiled before, robust_accuracy.
    """
    x, _ = data.arrays("digits", "test", limit=_IMAGES)
    net = models.small_cnn()
    y = net.predict(x, verbose=0).argmax(axis=1)  # so that every image is attacked, untrained as the net is
    again = Traced(net)
    attack = attacks.compiled(again, attacks.Pgd(_EPSILON, _EPSILON / 4, 10))
    began, rounds = time.monotonic(), list[dict[str, Any]]()
    while len(rounds) < 2 * WARM_UP or time.monotonic() - began < seconds:
        before, model = again.traces, Traced(net)
        with tempfile.TemporaryDirectory() as folder:
            found = evaluate(model, (x, y), _EPSILON, suite="quick", check=check, state=f"{folder}/state")
            found.save(folder)
        attack.run(x, y)
        accuracy, traces = found.robust_accuracy, model.traces
        del found, model
        gc.collect()  # what Python has not yet thrown away is no leak
        rounds.append(
            {
                "round": len(rounds) + 1,
                "minutes": (time.monotonic() - began) / 60,
                "mib": memory(),
                "traces": traces,
                "traces_again": again.traces - before,
                "robust_accuracy": accuracy,
            }
        )
        report("  ".join(_cells(rounds[-1])))
    return rounds


def judged(rounds: list[dict[str, Any]]) -> dict[str, Any]:
    """What the rounds after the warm-up say: growth of the memory as a share, and whether the traces stay the same.

    Growth compares the medians of the first and of the last fifth of the rounds, at least three each, so that one round
    in which an allocator gave something back does not decide.
    """
    steady = rounds[WARM_UP:]
    part = max(3, len(steady) // 5)
    first, last = (statistics.median(each["mib"] for each in some) for some in (steady[:part], steady[-part:]))
    minutes = steady[-1]["minutes"] - steady[0]["minutes"]
    slope = float(np.polyfit([each["minutes"] for each in steady], [each["mib"] for each in steady], 1)[0])
    constant = len({each["traces"] for each in steady}) == 1 and not any(each["traces_again"] for each in steady)
    growth = last / first - 1
    return {
        "rounds": len(rounds),
        "minutes": minutes,
        "first_mib": first,
        "last_mib": last,
        "mib_per_minute": slope,
        "growth": growth,
        "allowed": ALLOWED,
        "traces": steady[-1]["traces"],
        "traces_constant": constant,
        "accuracies": sorted({each["robust_accuracy"] for each in rounds}),
        "flat": growth <= ALLOWED,
    }


_HEAD = ("round", "minutes", "memory, MiB", "traces of the evaluation", "of the attack compiled before")


def _cells(row: dict[str, Any]) -> tuple[str, ...]:
    shown = str(row["round"]), f"{row['minutes']:.1f}", f"{row['mib']:.0f}"
    return (*shown, str(row["traces"]), str(row["traces_again"]))


def page(rounds: list[dict[str, Any]], found: dict[str, Any], environment: dict[str, str]) -> str:
    """The README of a folder of results: what was found, some of the rounds, versions and hardware."""
    every = max(1, len(rounds) // _SHOWN)
    some = [each for each in rounds if each["round"] % every == 0 or each["round"] in (1, WARM_UP, len(rounds))]
    again = sum(each["traces_again"] for each in rounds[WARM_UP:])
    table = Table(_HEAD, tuple(_cells(each) for each in some)).markdown()
    return f"""# Soak

Written by `python -m tools.soak --minutes=... --output=results/soak`, whose docstring says what a round is; do not
edit. soak.json has every round.

{found["rounds"]} rounds. In the {found["minutes"]:.1f} minutes after the {WARM_UP} of the warm-up the memory went from
{found["first_mib"]:.0f} to {found["last_mib"]:.0f} MiB: {found["growth"]:+.1%}, {found["allowed"]:.0%} being allowed;
{found["mib_per_minute"]:+.2f} MiB a minute by least squares. Each of these rounds traced
{found["traces"] if found["traces_constant"] else "a changing number of"} programs anew, and the attack that was
compiled before the first round {again or "none"}. Robust accuracies found: {", ".join(map(str, found["accuracies"]))}.

{table}

Measured with {", ".join(f"{name} {value}" for name, value in environment.items())}.
"""


def main(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=1.0, help=f"How long; at least {2 * WARM_UP} rounds are made.")
    parser.add_argument("--no-check", dest="check", action="store_false", help="Leaves out the evaluation's checks.")
    parser.add_argument("--output", type=pathlib.Path, help="Receives soak.json and README.md.")
    options = parser.parse_args(arguments)
    rounds = soak(60 * options.minutes, lambda line: print(line, flush=True), check=options.check)
    found, environment = judged(rounds), {**training.environment(), "processor": machine()["processor"]}
    if options.output:
        values = {"found": found, "environment": environment, "rounds": rounds}
        files.write_json(options.output / "soak.json", values)
        files.write_text(options.output / "README.md", page(rounds, found, environment))
    for name, value in found.items():
        print(f"{name}: {value}")
    return 0 if found["flat"] and found["traces_constant"] else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
