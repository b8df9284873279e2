"""A table or figure of a paper as data: independent jobs, and a renderer that joins what they found."""

from __future__ import annotations

import csv
import dataclasses
import importlib.resources
import pathlib
from collections.abc import Callable, Mapping
from typing import Any

from tfadv.report.charts import Chart, Pictures
from tfadv.reproduction.runs import short_hash
from tfadv.validation import UserError

# Smoke shows in seconds that everything runs; short is what two cores can do in hours; paper is what is printed.
SCALES = ("smoke", "short", "paper")
MARKS = ("reproduced", "not reproduced", "not comparable", "depends")


@dataclasses.dataclass(frozen=True)
class Context:
    """Where a job works.

    Attributes:
        folder: of its own, kept until it is finished; a job that was killed finds there what it left.
        runs: shared by all jobs: trained models, each in a folder named after its experiment and a hash of it.
        data_dir: where TFDS keeps its data sets; None as TFDS has it.
        report: receives one line for each thing worth saying.
    """

    folder: pathlib.Path
    runs: pathlib.Path
    data_dir: str | None
    report: Callable[[str], None]


Work = Callable[[Mapping[str, Any], Context], dict[str, Any]]


@dataclasses.dataclass(frozen=True)
class Job:
    """An independent piece of work with a result of JSON values.

    Attributes:
        key: what it is called within its study; a renderer finds its result by it.
        work: a function at the top of a module: (settings, context) -> result. Another process may be given it.
        settings: JSON values; with the name of `work` they decide the result, so an equal job is never done twice, also
            where several studies ask for it.
        seconds: about how long it takes on two cores.
    """

    key: str
    work: Work
    settings: Mapping[str, Any]
    seconds: float

    @property
    def identity(self) -> str:
        """A file name that follows from everything that the result depends on."""
        return f"{self.work.__name__}-{short_hash([self.work.__module__, dict(self.settings)])}"


@dataclasses.dataclass(frozen=True)
class Compared:
    """A printed number beside ours.

    Attributes:
        what: row and column, as printed.
        paper: the printed number; None where the paper shows a curve or nothing.
        ours: what we measured, in the paper's unit.
        unit: "%" or another; "" for a plain number.
        interval: (low, high) of ours where known.
        note: why the two cannot be compared, such as "8% of the schedule"; "" where they can.
    """

    what: str
    paper: float | None
    ours: float
    unit: str = "%"
    interval: tuple[float, float] | None = None
    note: str = ""


@dataclasses.dataclass(frozen=True)
class Beside:
    """What is claimed of a trained classifier, beside what a stronger evaluation leaves of it; shares in percent.

    Attributes:
        defense: as the paper names it, with the data set and network where a table has several.
        attack: of the paper, under which the claim was measured.
        claimed: the printed accuracy under it; None where nothing is printed.
        ours: of our classifier under the same attack.
        strong: what AutoAttack leaves of our classifier, and the checks of `tfadv.evaluate` with it.
        interval: (low, high) of `strong`, 95%.
        count: images of the strong evaluation.
        verdict: "trusted", "overestimated" or "unverified".
        schedule: of training, beside the paper's: "8% of the schedule".
    """

    defense: str
    attack: str
    claimed: float | None
    ours: float
    strong: float
    interval: tuple[float, float]
    count: int
    verdict: str
    schedule: str


def beside(
    defense: str, attack: str, claimed: float | None, ours: float, standard: Mapping[str, Any], schedule: str
) -> Beside:
    """A line of it from what `tfadv.reproduction.jobs.strong` found; `claimed` and `ours` in percent."""
    low, high = (100 * each for each in standard["interval"])
    strong = 100 * standard["accuracy"]
    return Beside(defense, attack, claimed, ours, strong, (low, high), standard["count"], standard["verdict"], schedule)


@dataclasses.dataclass(frozen=True)
class Claim:
    """What became of one sentence of a paper (reference/claims.csv).

    Attributes:
        key: its id there.
        mark: one of `MARKS`. "not reproduced" needs the paper's schedule, two seeds and intervals that do not overlap.
        evidence: the numbers, in words.
    """

    key: str
    mark: str
    evidence: str

    def __post_init__(self) -> None:
        if self.mark not in MARKS:
            raise ValueError(f"mark must be one of {MARKS}, got {self.mark!r}")


@dataclasses.dataclass(frozen=True)
class Rendering:
    """What a study shows.

    Attributes:
        compared: paper beside ours.
        figures: panel name ("a", "b", ...; "" of a single panel) -> the figure, in the paper's order.
        findings: in words, one sentence each: theorems tested, shares, what surprised.
        claims: of the paper, with their marks.
        beside: each trained classifier's claimed and true robustness; RESULTS.md opens with them.
        columns: panels side by side, as printed.
    """

    compared: tuple[Compared, ...] = ()
    figures: Mapping[str, Chart | Pictures] = dataclasses.field(default_factory=dict)
    findings: tuple[str, ...] = ()
    claims: tuple[Claim, ...] = ()
    beside: tuple[Beside, ...] = ()
    columns: int = 2


@dataclasses.dataclass(frozen=True)
class Study:
    """A table or figure of a paper.

    Attributes:
        key: PAPER/TABLE_OR_FIGURE, "feature_smoothing/fig2".
        title: what it shows.
        jobs: scale -> the work; everything that differs between scales is in the jobs' settings.
        render: results by the key of their job (all that are there) -> what is shown.
        readings: what the paper leaves open or prints in two ways, and how it is read here.
    """

    key: str
    title: str
    jobs: Callable[[str], tuple[Job, ...]]
    render: Callable[[Mapping[str, Mapping[str, Any]]], Rendering]
    readings: tuple[str, ...] = ()


def reference(name: str) -> list[dict[str, str]]:
    """The rows of a file of printed numbers, by column: paper, table, dataset, model, defense, attack, value, ...

    Raises:
        UserError: no such file.
    """
    place = importlib.resources.files("tfadv.reproduction").joinpath(f"reference/{name}.csv")
    if not place.is_file():
        raise UserError(f"there are no printed numbers called {name!r}")
    return list(csv.DictReader(place.read_text("utf-8").splitlines()))
