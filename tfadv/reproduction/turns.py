"""Turns of training, timed in pairs: baseline, other, baseline, other, and the median of their ratios.

A turn is a few steps of `tfadv.training.loop.Loop`, which is what `tfadv.training.run` drives, on batches of the input
pipeline. Each turn begins with an empty pipeline and makes exactly the batches that it trains on, so that no side's
batches are prepared while the other is on the clock; waiting for the first of them makes a turn a little dearer than
the same steps of a long run. Building and tracing are not timed, and the first steps of each side are thrown away.
"""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import os
import pathlib
import statistics
import time
from collections.abc import Callable, Iterator
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from tfadv import data, training
from tfadv.training.loop import Loop
from tfadv.validation import UserError

Clock = Callable[[], float]
Turn = Callable[[int], float]  # takes this many steps; seconds for each
Arrays = tuple[tf.Tensor, tf.Tensor]

WARM_UP = 2  # steps of each side before its first turn


@dataclasses.dataclass(frozen=True)
class Row:
    """One thing beside its baseline.

    Attributes:
        what, baseline: in words.
        seconds, baseline_seconds: of a step, pair by pair.
        goal: largest allowed ratio; None where there is no goal.
        threads: that an operation computes with.
        note: what the numbers mean in another unit.
    """

    what: str
    baseline: str
    seconds: tuple[float, ...]
    baseline_seconds: tuple[float, ...]
    goal: float | None
    threads: int
    note: str = ""

    @property
    def ratios(self) -> tuple[float, ...]:
        """Seconds over the baseline's, of each pair."""
        return tuple(mine / base for mine, base in zip(self.seconds, self.baseline_seconds, strict=True))

    @property
    def ratio(self) -> float:
        """Median over the pairs."""
        return statistics.median(self.ratios)

    @property
    def met(self) -> bool | None:
        """Whether the median ratio keeps to the goal, the goal itself included; None without a goal."""
        return None if self.goal is None else self.ratio <= self.goal

    def to_dict(self) -> dict[str, Any]:
        """As JSON values."""
        medians = {
            "median_seconds": statistics.median(self.seconds),
            "median_baseline_seconds": statistics.median(self.baseline_seconds),
        }
        spread = {"lowest_ratio": min(self.ratios), "ratio": self.ratio, "highest_ratio": max(self.ratios)}
        return {**dataclasses.asdict(self), **medians, **spread, "met": self.met}


class Trainer:
    """An experiment in the compiled loop, on one device, as `tfadv.training.run` drives it.

    Args:
        arrays: images and labels that its batches are made of.
        clock: seconds, from any origin.
    """

    def __init__(self, experiment: training.Experiment, arrays: Arrays, clock: Clock) -> None:
        self.experiment, self.arrays, self.clock, self.step = experiment, arrays, clock, 0
        self.trainee = training.build(experiment)
        self.loop = Loop(self.trainee, tf.distribute.get_strategy())

    def turn(self, steps: int) -> float:
        """Seconds a step of the next `steps` steps, fed by the pipeline."""
        return self._timed(training.batches(self.experiment, *self.arrays, self.step, self.step + steps), steps)

    def cached(self, steps: int) -> float:
        """Seconds a step of `steps` steps on one batch that lies ready."""
        return self._timed(tf.data.Dataset.from_tensors(self._ready).repeat(steps), steps)

    @functools.cached_property
    def _ready(self) -> Arrays:
        return training.batches(self.experiment, *self.arrays, 0, 1).get_single_element()

    def _timed(self, dataset: tf.data.Dataset, steps: int) -> float:
        iterator = iter(dataset)  # makes no batch yet
        began = self.clock()
        self.loop.run(iterator, self.step, steps)
        seconds = self.clock() - began
        self.step += steps
        return seconds / steps

    def accuracy(self, x: np.ndarray, y: np.ndarray) -> float:
        """Of its float32 classifier, in [0, 1]."""
        return training.accuracy(training.classifier_of(self.experiment, self.trainee), x, y)


class Fit:
    """The same experiment trained by `keras.Model.fit`; arguments as `Trainer`'s."""

    def __init__(self, experiment: training.Experiment, arrays: Arrays, clock: Clock) -> None:
        self.experiment, self.arrays, self.clock, self.step = experiment, arrays, clock, 0
        self.model = training.build(experiment).classifier
        optimizer = training.OPTIMIZERS[experiment.optimizer](learning_rate=experiment.learning_rate)
        accuracy = keras.metrics.SparseCategoricalAccuracy("accuracy")
        self.model.compile(optimizer, experiment.loss, metrics=[accuracy])

    def turn(self, steps: int) -> float:
        """Seconds a step of the next `steps` steps, from the first to the end of the epoch."""
        dataset = training.batches(self.experiment, *self.arrays, self.step, self.step + steps)
        watch = _Stopwatch(self.clock)
        self.model.fit(dataset, verbose=0, callbacks=[watch], shuffle=False)
        self.step += steps
        return watch.seconds / steps


class _Stopwatch(keras.callbacks.Callback):
    """Runs from the first step of an epoch to its end: what `fit` prepares is not timed."""

    def __init__(self, clock: Clock) -> None:
        super().__init__()
        self.clock, self.began, self.seconds = clock, 0.0, 0.0

    def on_train_batch_begin(self, batch: int, logs: Any = None) -> None:
        if batch == 0:
            self.began = self.clock()

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        self.seconds = self.clock() - self.began


def paired(turn: Turn, baseline: Turn, repeats: int, steps: int) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """(seconds a step, the baseline's) of `repeats` pairs: baseline, turn, baseline, turn, after a warm-up of each."""
    baseline(WARM_UP)
    turn(WARM_UP)
    pairs = []
    for _ in range(repeats):
        before = baseline(steps)
        pairs.append((turn(steps), before))
    mine, theirs = zip(*pairs, strict=True)
    return mine, theirs


class Others:
    """What other processes make the processor do, from here on."""

    def __init__(self) -> None:
        self._began = _readings()

    def share(self) -> float | None:
        """Of the time of all cores, in [0, 1]; None where the system does not tell."""
        now = _readings()
        if self._began is None or now is None:
            return None
        everybody, own, passed = (after - before for after, before in zip(now, self._began, strict=True))
        return max(everybody - own, 0.0) / (passed * (os.cpu_count() or 1))


def _readings() -> tuple[float, float, float] | None:
    """Seconds that the cores have worked for anybody, that they have for this process, and of the clock."""
    try:
        line = pathlib.Path("/proc/stat").read_text(encoding="utf-8").splitlines()[0]
    except OSError:
        return None
    user, nice, system, _, _, *others = (int(ticks) for ticks in line.split()[1:9])  # not idle, not waiting for a disk
    everybody = (user + nice + system + sum(others)) / os.sysconf("SC_CLK_TCK")
    return everybody, time.process_time(), time.perf_counter()


HEAD = ("", "against", "ms", "against, ms", "ratio", "lowest to highest", "goal", "", "threads", "")


def cells(row: dict[str, Any]) -> tuple[str, ...]:
    """A row, as `Row.to_dict` gives it, in words; one for each column of `HEAD`."""
    return (
        row["what"],
        row["baseline"],
        f"{1e3 * row['median_seconds']:.2f}",
        f"{1e3 * row['median_baseline_seconds']:.2f}",
        f"{row['ratio']:.3f}",
        f"{row['lowest_ratio']:.3f} to {row['highest_ratio']:.3f}",
        "–" if row["goal"] is None else f"{row['goal']:.3f}",
        verdict(row["met"]),
        str(row["threads"]),
        row["note"],
    )


def verdict(met: bool | None) -> str:
    """What a table says of a goal."""
    return {True: "met", False: "not met", None: "no goal"}[met]


@dataclasses.dataclass(frozen=True)
class Settings:
    """What is trained, and how much of it is timed.

    Attributes:
        model: a name of `tfadv.models.MODELS`.
        dataset: a name of `tfadv.data.DATASETS`; crops and flips are timed on the shape of CIFAR-10 instead.
        data_dir: where TFDS keeps its data sets; None is its default.
        batch_size: B, before an augmentation adds points.
        repeats: pairs for each row.
        steps: in one turn; the accuracies are those of 2 + repeats * steps steps.
        images: random ones, of which the batches are made.
        seed: of the experiments and of the random images.

    Raises:
        UserError: a model or data set that does not exist, or a number below 1.
    """

    model: str = "madry_mnist"
    dataset: str = "mnist"
    data_dir: str | None = None
    batch_size: int = 128
    repeats: int = 9
    steps: int = 16
    images: int = 20_000
    seed: int = 0

    def __post_init__(self) -> None:
        for name in ("repeats", "steps", "images"):
            if getattr(self, name) < 1:
                raise UserError(f"{name} must be at least 1, got {getattr(self, name)}")
        self.experiment()

    def experiment(self, **changes: Any) -> training.Experiment:
        """Natural training with these settings but for `changes`."""
        settings = {name: getattr(self, name) for name in ("model", "dataset", "batch_size", "seed")}
        return training.Experiment(**settings | changes)


class Bench:
    """One section while it is measured: what its rows share, and what they found."""

    def __init__(self, settings: Settings, report: Callable[[str], Any], clock: Clock) -> None:
        self.settings, self.report, self.clock = settings, report, clock
        self.rows: list[Row] = []
        self.remarks: list[str] = []
        self.checks: list[dict[str, Any]] = []
        self.not_measured: list[str] = []
        self._arrays: dict[str, Arrays] = {}

    def trainer(self, arrays: Arrays | None = None, **changes: Any) -> Trainer:
        """Natural training but for `changes`, on random images unless others are given."""
        experiment = self.settings.experiment(**changes)
        return Trainer(experiment, arrays or self.random(experiment.dataset), self.clock)

    def random(self, dataset: str) -> Arrays:
        """Random images and labels in the shape of a data set."""
        if dataset not in self._arrays:
            spec, rng = data.find(dataset), np.random.default_rng(self.settings.seed)
            x = tf.constant(rng.random([self.settings.images, *spec.shape], np.float32))
            self._arrays[dataset] = x, tf.constant(rng.integers(0, spec.classes, len(x)), tf.int32)
        return self._arrays[dataset]

    @contextlib.contextmanager
    def attempt(self, what: str) -> Iterator[None]:
        """What cannot be measured is noted with the reason, and the rest goes on."""
        try:
            yield
        except UserError as error:
            self.not_measured.append(f"{what}: {error}")
            self.report(f"  {self.not_measured[-1]}")

    def compare(
        self,
        what: str,
        turn: Turn,
        against: str,
        baseline: Turn,
        goal: float | None = None,
        note: Callable[[Row], str] = lambda row: "",
    ) -> None:
        """Adds a row."""
        seconds = paired(turn, baseline, self.settings.repeats, self.settings.steps)
        threads = tf.config.threading.get_intra_op_parallelism_threads() or os.cpu_count() or 1
        row = Row(what, against, *seconds, goal, threads)
        self.rows.append(dataclasses.replace(row, note=note(row)))
        self.report("  " + "  ".join(cells(self.rows[-1].to_dict())))
