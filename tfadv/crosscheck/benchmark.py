"""Speed beside other libraries: pairs of runs, one after the other, on one machine, and the medians of their ratios.

Two sets of examples are timed apart, because leaving fooled examples alone is worth much on the one and nothing on the
other: those that our attack fools, and those that it does not. Both are classified correctly to begin with.
"""

from __future__ import annotations

import contextlib
import dataclasses
import os
import pathlib
import platform
import statistics
import sys
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from tfadv import devices, models
from tfadv.crosscheck import comparison, ours
from tfadv.crosscheck.judging import Examples
from tfadv.crosscheck.sides import OURS, PUBLISHED, Memory, Process, Side
from tfadv.validation import UserError

# Set of examples -> how a table calls it.
REGIMES = {"fooled": "0% survive", "robust": "100% survive"}
# Running processes for each core above which the machine is called busy. PyTorch's threads wait for each other in a
# spin, so that a busy machine slows it more than it slows TensorFlow.
_BUSY = 0.5
# Images on which a peer warms up; a whole suite takes its time for each of them.
_WARM_UP = {"AutoAttack": 2}


@dataclasses.dataclass(frozen=True)
class Timing:
    """One side on one set of examples.

    Attributes:
        side: its name.
        seconds: of each run, in the order in which they were taken.
        survivors: share of the examples that its last run did not fool, in [0, 1].
        memory: MiB of its process, when the model was loaded and at most.
        threads: that it computes with.
        idle_share: largest share of one core that its process used while others ran.
    """

    side: str
    seconds: tuple[float, ...]
    survivors: float
    memory: Memory
    threads: int
    idle_share: float

    @property
    def median(self) -> float:
        """Seconds."""
        return statistics.median(self.seconds)


@dataclasses.dataclass(frozen=True)
class Pairing:
    """A peer and our sides, run in turn on one set of examples: ours, ours in bfloat16, the peer, and again.

    Attributes:
        regime: a key of `REGIMES`.
        examples: how many, N.
        peer, ours: the timings; ours by precision.
    """

    regime: str
    examples: int
    peer: Timing
    ours: dict[str, Timing]

    def speedup(self, precision: str) -> float:
        """Median over the pairs of the peer's seconds / ours."""
        pairs = zip(self.peer.seconds, self.ours[precision].seconds, strict=True)
        return statistics.median(theirs / mine for theirs, mine in pairs)

    def to_dict(self) -> dict[str, Any]:
        """As JSON values."""
        speedups = {precision: self.speedup(precision) for precision in self.ours}
        return {**dataclasses.asdict(self), "speedup": speedups}


@dataclasses.dataclass(frozen=True)
class Benchmark:
    """What was measured.

    Attributes:
        attack: in words.
        batch_size: of all sides.
        pairings: one for each peer and set of examples.
        first_seconds: regime and precision -> our first run there, tracing included; no other run traces.
        not_measured: what was left out, and why.
        machine: processor, cores, system, and the load (running processes) that was there before.
        versions: of all packages.
    """

    attack: str
    batch_size: int
    pairings: tuple[Pairing, ...]
    first_seconds: dict[str, dict[str, float]]
    not_measured: tuple[str, ...]
    machine: dict[str, Any]
    versions: dict[str, str]

    def to_dict(self) -> dict[str, Any]:
        """As JSON values."""
        values = {field.name: getattr(self, field.name) for field in dataclasses.fields(self)}
        return {**values, "pairings": [pairing.to_dict() for pairing in self.pairings]}


def measure(
    path: str | os.PathLike,
    x: Any,
    y: Any,
    config: Any,
    peers: Sequence[str],
    *,
    images: int = 2_000,
    batch_size: int = 500,
    repeats: int = 5,
    source: str | None = None,
    report: Callable[[str], Any] = lambda text: print(text, file=sys.stderr),
) -> Benchmark:
    """Times an attack by us, in float32 and where the processor has it in bfloat16, and by each peer.

    Args:
        path: a .keras file of a trained classifier, which every process loads.
        x, y: float32 images [N, ...] in [0, 1] and their labels.
        config: an attack of `tfadv.attacks`.
        peers: names of `tfadv.crosscheck.PEERS`, and "published".
        images: at most so many in each set of examples; a set with less than one batch (or less than `images`, where
            that is smaller) is left out.
        repeats: pairs for each peer and set.
        source: folder of the published AutoAttack.
        report: told what is being done.

    Raises:
        UserError: a peer that cannot be run; a model, images or labels that cannot be attacked.
    """
    sides, facts = [Side(name, source=source) for name in peers], machine()
    for side in sides:
        side.peer()  # Refuses a wrong name before anything has been timed.
    if facts["load"] > _BUSY * facts["cores"]:
        report(f"warning: {facts['load']} processes are running here already; such timings compare little")
    examples = Examples(models.load(path), x, y, batch_size)
    precisions = ["float32", *(["bfloat16"] if devices.cpu_has_bfloat16() else [])]
    with contextlib.ExitStack() as stack:
        mine = {
            precision: stack.enter_context(Process(Side(OURS, precision), path, batch_size)) for precision in precisions
        }
        report(f"finding out which of {len(examples.x)} images survive: {ours.describe(config)}")
        labels, numbers = examples.labels(config), np.arange(len(examples.x))
        fooled, _ = examples.judge(config, mine["float32"].run(config, examples.x, labels, numbers)[0])
        sets = {"fooled": np.flatnonzero(fooled)[:images], "robust": np.flatnonzero(~fooled)[:images]}
        left_out = [
            f"{REGIMES[regime]}: only {len(rows)} images"
            for regime, rows in sets.items()
            if len(rows) < min(batch_size, images)
        ]
        sets = {regime: rows for regime, rows in sets.items() if len(rows) >= min(batch_size, images)}
        first: dict[str, dict[str, float]] = {}
        for regime, rows in sets.items():
            first[regime] = {
                precision: process.run(config, examples.x[rows], labels[rows], rows)[1]
                for precision, process in mine.items()
            }
        pairings, versions = [], dict(mine["float32"].versions)
        for side in sides:
            try:
                with Process(side, path, batch_size) as theirs:
                    versions |= theirs.versions
                    warm = _WARM_UP.get(type(config).__name__, batch_size)
                    theirs.run(config, examples.x[:warm], labels[:warm], numbers[:warm])
                    for regime, rows in sets.items():
                        report(f"{side.name}, {REGIMES[regime]}: {repeats} pairs on {len(rows)} images")
                        pairings.append(_paired(examples, config, regime, rows, mine, theirs, repeats))
            except UserError as error:
                left_out.append(f"{side.name}: {error}")
    return Benchmark(ours.describe(config), batch_size, tuple(pairings), first, tuple(left_out), facts, versions)


def _paired(
    examples: Examples,
    config: Any,
    regime: str,
    rows: np.ndarray,
    mine: dict[str, Process],
    theirs: Process,
    repeats: int,
) -> Pairing:
    x, y = examples.x[rows], examples.labels(config)[rows]
    sides = {**mine, "": theirs}
    seconds: dict[str, list[float]] = {key: [] for key in sides}
    survivors = {}
    for _ in range(repeats):
        for key, process in sides.items():
            x_adv, taken = process.run(config, x, y, rows)
            seconds[key].append(taken)
            survivors[key] = 1.0 - float(examples.judge(config, x_adv, rows)[0].mean())
    timings = {
        key: Timing(
            process.side.name,
            tuple(seconds[key]),
            survivors[key],
            process.memory,
            process.threads,
            process.idle_share,
        )
        for key, process in sides.items()
    }
    peer = timings.pop("")
    return Pairing(regime, len(rows), peer, timings)


def machine() -> dict[str, Any]:
    """Processor, cores and system of this machine, and how busy it is."""
    processor = platform.processor()
    with contextlib.suppress(OSError):
        lines = pathlib.Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
        names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
        processor = names[0] if names else processor
    return {
        "processor": processor,
        "load": round(os.getloadavg()[0], 1),
        "cores": os.cpu_count(),
        "bfloat16": devices.cpu_has_bfloat16(),
        "system": f"{platform.system()} {platform.machine()}",
        "python": platform.python_version(),
    }


def table(benchmark: Benchmark) -> str:
    """The benchmark as plain text."""
    head = (
        *("examples", "N", "peer"),
        *("s", "f32 s", "bf16 s"),
        *("x f32", "x bf16"),
        *("survive", "f32", "bf16"),
        *("MiB", "f32", "bf16"),
    )
    rows: list[tuple[str, ...]] = []
    sides: list[Timing] = []
    for pairing in benchmark.pairings:
        found = [pairing.ours.get(precision) for precision in ("float32", "bfloat16")]
        sides += [pairing.peer, *pairing.ours.values()]
        rows.append(
            (
                REGIMES[pairing.regime],
                str(pairing.examples),
                pairing.peer.side,
                f"{pairing.peer.median:.2f}",
                *("" if timing is None else f"{timing.median:.2f}" for timing in found),
                *(f"{pairing.speedup(name):.2f}" if name in pairing.ours else "" for name in ("float32", "bfloat16")),
                f"{pairing.peer.survivors:.2%}",
                *("" if timing is None else f"{timing.survivors:.2%}" for timing in found),
                f"{pairing.peer.memory.peak:.0f}",
                *("" if timing is None else f"{timing.memory.peak:.0f}" for timing in found),
            )
        )
    threads = ", ".join(f"{name} {count}" for name, count in sorted({(side.side, side.threads) for side in sides}))
    idle = max((side.idle_share for side in sides), default=0.0)
    return "\n".join(
        [
            f"{benchmark.attack}, batch size {benchmark.batch_size}; f32, bf16: tfadv, by the precision of its search",
            *comparison.columns(head, *rows),
            "s: median; x: median over the pairs of the peer's seconds / tfadv's; MiB: peak of the process",
            *(f"not measured: {reason}" for reason in benchmark.not_measured),
            f"threads: {threads}; an idle process used at most {idle:.1%} of a core",
            ", ".join(f"{name} {value}" for name, value in benchmark.machine.items()),
            comparison.in_words(benchmark.versions),
        ]
    )


def default_peers(kind: str) -> list[str]:
    """Who is timed against an attack: the published code against the suite, libraries against PGD."""
    if kind not in ("pgd", "autoattack"):
        raise UserError(f"kind must be 'pgd' or 'autoattack', got {kind!r}")
    return [PUBLISHED] if kind == "autoattack" else ["cleverhans", "torchattacks", "foolbox", "art"]
