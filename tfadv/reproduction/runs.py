"""Finished runs: getting one for an experiment, and what its folder tells; shared by all that train and measure."""

from __future__ import annotations

import hashlib
import json
import pathlib
from collections.abc import Callable
from typing import Any

import numpy as np

from tfadv import training
from tfadv.training import record


def trained(
    experiment: training.Experiment,
    folder: pathlib.Path,
    *,
    label: str,
    report: Callable[[str], None],
    data_dir: str | None = None,
    keep_every: int | None = None,
) -> pathlib.Path:
    """`folder` with a run of at least `experiment.steps` steps: as it is where it has them, trained further otherwise.

    Args:
        label: what the line calls the run that says that training begins.
        report, data_dir, keep_every: as in `tfadv.training.run`.

    Raises:
        UserError: `folder` holds another experiment, or whatever training refuses.
    """
    done = read_json(folder / "metrics.json")
    if done and done["step"] >= experiment.steps:
        record.claim(experiment, folder)
    else:
        report(f"{label}: training to {experiment.steps:,} steps")
        training.run(experiment, folder, data_dir=data_dir, keep_every=keep_every, report=report)
    return folder


def seconds_of_training(run: pathlib.Path) -> float:
    """Wall time of the training steps alone, over all the sessions of a run."""
    rows = [json.loads(line) for line in (run / "metrics.jsonl").read_text(encoding="utf-8").splitlines()]
    batch = read_json(run / "experiment.json")["experiment"]["batch_size"]
    steps = np.diff([0, *(row["step"] for row in rows)])
    return float(sum(count * batch / row["images_per_second"] for count, row in zip(steps, rows, strict=True)))


def digest(model: Any) -> str:
    """SHA-256 of a Keras model's weights, so that saving the same weights again is no new model."""
    return hashlib.sha256(b"".join(np.ascontiguousarray(each).tobytes() for each in model.get_weights())).hexdigest()


def short_hash(settings: Any) -> str:
    """Twelve hexadecimal digits that tell JSON values from others."""
    return hashlib.sha256(json.dumps(settings, sort_keys=True).encode()).hexdigest()[:12]


def read_json(path: pathlib.Path) -> Any:
    """The values of a JSON file, or None where there is none that can be read."""
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
