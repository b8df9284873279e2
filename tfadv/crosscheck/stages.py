"""AutoAttack by the published program and by this one, on the same weights and images, stage by stage.

The published program draws other random numbers, so its own runs with different seeds say how far two runs may differ.
"""

from __future__ import annotations

import dataclasses
import os
import pathlib
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import tensorflow as tf

from tfadv import files
from tfadv.attacks import AutoAttack, compiled, saved
from tfadv.crosscheck import published_autoattack
from tfadv.crosscheck.torch_models import array, classifier, images, labels
from tfadv.models import predictor
from tfadv.progress import Progress

STAGES = ("apgd-ce", "apgd-t", "fab-t", "square")
# Percentage points: of the final robust accuracy, and of a stage beyond the published program's own spread.
FINAL_TOLERANCE = 0.3
STAGE_TOLERANCE = 0.5

_WRONG, _UNBROKEN = -2, -1
_NORMS = {"linf": "Linf", "l2": "L2"}
_BATCH_SIZE = 250
# Images whose logits tell one model from another.
_COMPARED = 32


@dataclasses.dataclass(frozen=True)
class Run:
    """One run of the four stages, each on the survivors of the ones before.

    Attributes:
        broken_by: int [N], number of the stage that fooled the example; -1 where none did, -2 misclassified already.
        seconds: of each stage.
    """

    broken_by: np.ndarray
    seconds: tuple[float, ...]

    def robust(self) -> tuple[float, ...]:
        """Robust accuracy in percent, clean and after each stage."""
        return tuple(
            100.0 * float(((self.broken_by == _UNBROKEN) | (self.broken_by > last)).mean())
            for last in range(-1, len(STAGES))
        )


def published(
    source: str | os.PathLike,
    model: Any,
    x: np.ndarray,
    y: np.ndarray,
    *,
    epsilon: float,
    norm: str,
    seed: int,
    path: str | os.PathLike,
    report: Callable[[str], None] = print,
) -> Run:
    """The published AutoAttack `standard`, one stage and one batch at a time, saved to `path` and continued from it.

    Args:
        source: a clone of github.com/fra31/auto-attack.
        model: a Keras classifier, whose weights PyTorch gets.
        x, y: images [N, H, W, C] in [0, 1] and labels [N].
        seed: of the published program.

    Raises:
        UserError: no such source, PyTorch is not installed, or a layer that cannot be converted.
    """
    modules, path = published_autoattack.load(source), pathlib.Path(path)
    module = classifier(model).module
    broken_by, seconds, done = np.full(len(x), _UNBROKEN), np.zeros(len(STAGES)), (0, 0)
    broken_by[array_logits(module, x).argmax(axis=1) != y] = _WRONG
    if path.exists():
        with np.load(path, allow_pickle=False) as stored:
            broken_by, seconds, done = stored["broken_by"], stored["seconds"], tuple(stored["done"].tolist())
    suite = modules["autoattack"].AutoAttack(
        module, norm=_NORMS[norm], eps=epsilon, seed=seed, version="standard", verbose=False, device="cpu"
    )
    for number, stage in enumerate(STAGES):
        if number < done[0]:
            continue
        suite.attacks_to_run = [stage]
        alive = np.flatnonzero((broken_by == _UNBROKEN) | (broken_by == number))
        for at in range(done[1] if number == done[0] else 0, len(alive), _BATCH_SIZE):
            rows, began = alive[at : at + _BATCH_SIZE], time.monotonic()
            x_adv = array(suite.run_standard_evaluation(images(x[rows]), labels(y[rows]), bs=_BATCH_SIZE))
            broken_by[rows[array_logits(module, x_adv).argmax(axis=1) != y[rows]]] = number
            seconds[number] += time.monotonic() - began
            _save(path, broken_by, seconds, (number, at + _BATCH_SIZE))
        _save(path, broken_by, seconds, (number + 1, 0))
        left = 100.0 * float((broken_by == _UNBROKEN).mean())
        report(f"published, seed {seed}, {stage}: {left:.2f}% left after {seconds[: number + 1].sum():.0f} s")
    return Run(broken_by, tuple(seconds.tolist()))


def array_logits(module: Any, x: np.ndarray) -> np.ndarray:
    """Logits [N, K] of the PyTorch module for images [N, H, W, C]."""
    return np.concatenate([module(images(x[at : at + 500])).numpy() for at in range(0, len(x), 500)])


def _save(path: pathlib.Path, broken_by: np.ndarray, seconds: np.ndarray, done: tuple[int, int]) -> None:
    with files.replacing(path) as temporary, temporary.open("wb") as stream:
        np.savez(stream, broken_by=broken_by, seconds=seconds, done=np.array(done))


def compare(ours: Run, references: Mapping[int, Run], index: Sequence[int]) -> dict[str, Any]:
    """Both by stage, the rules, and the examples about which they disagree, as JSON values.

    Args:
        ours: this program's run.
        references: seed -> run of the published program.
        index: number of each example in its data set.

    Returns:
        `stages`: for clean and each stage ours, and every seed's robust accuracy in percent, and whether ours lies
        within their spread + 0.5; `final`: |ours - mean of the seeds| <= 0.3; `agreed`; and the numbers of the examples
        that only one of the programs fools (the published one: with any seed).
    """
    mine, theirs = ours.robust(), {seed: run.robust() for seed, run in references.items()}
    stages = []
    for number, name in enumerate(("clean", *STAGES)):
        values = [robust[number] for robust in theirs.values()]
        within = min(values) - STAGE_TOLERANCE <= mine[number] <= max(values) + STAGE_TOLERANCE
        stages.append(
            {
                "stage": name,
                "ours": round(mine[number], 2),
                "published": {str(seed): round(robust[number], 2) for seed, robust in theirs.items()},
                "agreed": within,
            }
        )
    difference = mine[-1] - float(np.mean([robust[-1] for robust in theirs.values()]))
    numbers = np.asarray(index)
    we = ours.broken_by != _UNBROKEN
    any_seed = np.logical_or.reduce([run.broken_by != _UNBROKEN for run in references.values()])
    all_seeds = np.logical_and.reduce([run.broken_by != _UNBROKEN for run in references.values()])
    final = abs(difference) <= FINAL_TOLERANCE
    return {
        "examples": len(numbers),
        "stages": stages,
        "final_difference": round(difference, 3) + 0.0,  # -0.0 + 0.0 is 0.0
        "final_agreed": final,
        "agreed": final and all(stage["agreed"] for stage in stages),
        "fooled_by_us_only": numbers[we & ~any_seed].tolist(),
        "fooled_by_every_published_seed_but_not_by_us": numbers[all_seeds & ~we].tolist(),
        "published_seeds_differ_on": numbers[any_seed & ~all_seeds].tolist(),
        "seconds": {"ours": list(ours.seconds), **{str(seed): list(run.seconds) for seed, run in references.items()}},
    }


def ours(
    model: Any,
    x: np.ndarray,
    y: np.ndarray,
    *,
    epsilon: float,
    norm: str,
    seed: int,
    precision: str,
    index: np.ndarray,
    state: str | os.PathLike,
    report: Callable[[str], None] = print,
) -> Run:
    """This program's AutoAttack `standard` on the same images; `state` is continued from, as in `Cascade.run`."""
    cascade = compiled(model, AutoAttack(epsilon, norm, seed=seed), precision=precision)
    number, began = iter(STAGES), time.monotonic()

    def on_stage(stage: Any) -> None:
        left, elapsed = 100 * stage.robust_accuracy, time.monotonic() - began
        report(f"ours, {precision}, seed {seed}, {next(number)}: {left:.2f}% left, {elapsed:.0f} s since the beginning")

    progress = Progress(f"AutoAttack, {precision}, seed {seed}")
    outcome = cascade.run(x, y, index=index, on_stage=on_stage, progress=progress, state=state)
    progress.close()
    return Run(outcome.broken_by, tuple(stage.seconds for stage in outcome.stages))


def claim(folder: str | os.PathLike, model: Any, x: np.ndarray, y: np.ndarray, *, epsilon: float, norm: str) -> None:
    """Marks `folder` as that of the runs on this model, these examples and this threat model.

    Raises:
        UserError: it holds the runs on another model, on other examples or within another ball.
    """
    path = pathlib.Path(folder) / "about.npz"
    about = saved.identity(AutoAttack(epsilon=epsilon, norm=norm), "float32", _BATCH_SIZE, (x, y))
    logits = predictor(model)(tf.constant(x[:_COMPARED])).numpy()
    if saved.read(path, about, logits) is None:
        saved.write(path, about, logits, {})


def stored(path: str | os.PathLike, make: Callable[[], Run]) -> Run:
    """The run kept at `path`, or else a new one, which is then kept there."""
    path = pathlib.Path(path)
    if path.exists():
        with np.load(path, allow_pickle=False) as found:
            return Run(found["broken_by"], tuple(found["seconds"].tolist()))
    run = make()
    with files.replacing(path) as temporary, temporary.open("wb") as stream:
        np.savez(stream, broken_by=run.broken_by, seconds=np.array(run.seconds))
    return run


def markdown(name: str, runs: Mapping[str, Run], comparisons: Mapping[str, Mapping[str, Any]]) -> str:
    """The runs as a table, stages across, and what the comparisons with the published program found."""
    lines = [f"| {name} | clean | {' | '.join(STAGES)} | seconds, not paired |", "|---|" + "---:|" * (len(STAGES) + 2)]
    for label, run in runs.items():
        cells = " | ".join(f"{value:.2f}" for value in run.robust())
        lines.append(f"| {label} | {cells} | {sum(run.seconds):.0f} |")
    for label, found in comparisons.items():
        verdict = "agrees" if found["agreed"] else "does not agree"
        outside = ", ".join(each["stage"] for each in found["stages"] if not each["agreed"])
        lines.append(
            f"\n{label} {verdict} with the published program: final robust accuracy {found['final_difference']:+.2f} "
            f"points from the mean of its seeds (at most {FINAL_TOLERANCE}), stages outside its spread "
            f"+ {STAGE_TOLERANCE}: {outside or 'none'}; "
            f"fooled by us alone {found['fooled_by_us_only'] or 'none'}, by every seed of it and not by us "
            f"{found['fooled_by_every_published_seed_but_not_by_us'] or 'none'}, its seeds differ on "
            f"{found['published_seeds_differ_on'] or 'none'}."
        )
    return "\n".join(lines) + "\n"
