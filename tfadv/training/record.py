"""What a run leaves in its folder beside the classifier: whose folder it is, its checkpoints, its log."""

from __future__ import annotations

import json
import os
import pathlib
import platform
import sys
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from tfadv import files
from tfadv.training.experiment import Experiment, describe
from tfadv.validation import UserError
from tfadv.version import __version__


def environment() -> dict[str, str]:
    """Versions and hardware that a number was measured with."""
    return {
        "tfadv": __version__,
        "python": platform.python_version(),
        "tensorflow": tf.__version__,
        "keras": keras.__version__,
        "numpy": np.__version__,
        "platform": platform.platform(),
        "processor_cores": str(os.cpu_count()),
    }


def claim(experiment: Experiment, workdir: pathlib.Path) -> None:
    """Writes experiment.json, or refuses a folder that belongs to another experiment."""
    path, mine = workdir / "experiment.json", json.loads(json.dumps(describe(experiment)))
    if path.exists():
        # A folder written before a field existed was trained with the field's default.
        defaults = json.loads(json.dumps(describe(Experiment())))
        try:
            theirs = {**defaults, **json.loads(path.read_text(encoding="utf-8"))["experiment"]}
        except (ValueError, KeyError, TypeError, OSError) as error:
            raise UserError(f"{path} is not an experiment's description ({error}); name another workdir") from error
        differing = sorted(key for key in mine if key != "steps" and mine[key] != theirs[key])
        if differing:
            changes = ", ".join(f"{key}: {theirs[key]!r} there, {mine[key]!r} now" for key in differing)
            raise UserError(f"workdir {workdir} holds another experiment ({changes}); name another workdir")
        if theirs["steps"] >= experiment.steps:
            return
    files.write_json(
        path,
        {"experiment": mine, "seed": experiment.seed, "versions": environment(), "command": " ".join(sys.argv)},
    )


def restore(checkpoint: tf.train.Checkpoint, folder: pathlib.Path) -> int:
    """Loads the newest checkpoint that is there; returns its step, 0 without one.

    TensorFlow's own list of them, the file "checkpoint", is written anew at the next one; where it is damaged it goes.

    Raises:
        UserError: the checkpoint cannot be read.
    """
    try:
        listed = tf.train.get_checkpoint_state(str(folder))
    except ValueError:  # UnicodeDecodeError is one
        listed = None
    if listed is None:
        (folder / "checkpoint").unlink(missing_ok=True)
    steps = sorted(int(path.stem.rpartition("-")[2]) for path in folder.glob("ckpt-*.index"))
    if not steps:
        return 0
    newest = str(folder / f"ckpt-{steps[-1]}")
    try:
        checkpoint.restore(newest).assert_existing_objects_matched()
    except Exception as error:  # TensorFlow raises another type for each kind of damage, IndexError among them.
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise UserError(
            f"checkpoint {newest} cannot be read ({reason}); remove {newest}.* to go back to the one before, or "
            "name another workdir"
        ) from error
    # Not the optimizer's count, which leaves out the updates that loss scaling skipped.
    return steps[-1]


class Log:
    """metrics.jsonl, one row for each checkpoint; rows newer than the one that a run resumes from are dropped."""

    def __init__(self, path: pathlib.Path, step: int) -> None:
        self.path, self.rows = path, []
        if path.exists():
            for line in path.read_text(encoding="utf-8").splitlines():
                try:
                    row = json.loads(line)
                except ValueError:
                    break  # A kill in the middle of a write: the checkpoint before it is what we resume from.
                if row["step"] <= step:
                    self.rows.append(row)
        files.write_text(path, "".join(json.dumps(row) + "\n" for row in self.rows))

    def append(self, row: dict[str, Any]) -> None:
        """Adds a row, at once on disk."""
        self.rows.append(row)
        with self.path.open("a", encoding="utf-8") as stream:
            stream.write(json.dumps(row) + "\n")

    def best(self, name: str) -> float:
        """The largest value of this name so far; minus infinity where there is none."""
        return max((row[name] for row in self.rows if name in row), default=float("-inf"))
