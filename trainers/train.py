"""Trains a named experiment: python -m trainers.train --experiment=NAME --workdir=DIR (again to resume or to grow).

--strategy=mirrored uses all GPUs of the machine; --strategy=multiworker one process for each entry of TF_CONFIG, each
started with this command and one --workdir that all of them see; --strategy=tpu a TPU.
"""

from __future__ import annotations

import dataclasses
import json
import sys

from absl import app, flags

from tfadv import training
from tfadv.experiments import EXPERIMENTS
from tfadv.validation import UserError, exit_cleanly

_EXPERIMENT = flags.DEFINE_string(
    "experiment", None, "What to train; an unknown name lists the known ones.", required=True
)
_WORKDIR = flags.DEFINE_string("workdir", None, "Receives checkpoints, logs and the classifier.", required=True)
_DATA_DIR = flags.DEFINE_string("data_dir", None, "Where TFDS keeps its data sets; default as TFDS has it.")
_STEPS = flags.DEFINE_integer("steps", None, "Trains for this many steps instead of the experiment's.")
_LIMIT = flags.DEFINE_integer("limit", None, "Trains on a seeded, stratified subset of this many examples.")
_SEED = flags.DEFINE_integer("seed", None, "Replaces the experiment's seed.")
_CHECKPOINT_EVERY = flags.DEFINE_integer(
    "checkpoint_every", 1_000, "Steps between checkpoints and log lines.", lower_bound=1
)
_KEEP_EVERY = flags.DEFINE_integer("keep_every", None, "Keeps a classifier at every multiple of this many steps.")
_STRATEGY = flags.DEFINE_enum("strategy", "default", training.STRATEGIES, "What the training is spread over.")
_TPU = flags.DEFINE_string("tpu", "", "With --strategy=tpu: name or address of the TPU; default this machine's.")


def main(argv: list[str]) -> None:
    if len(argv) > 1:
        raise app.UsageError(f"unexpected arguments: {argv[1:]}")
    if _EXPERIMENT.value not in EXPERIMENTS:
        raise UserError(f"experiment must be one of {', '.join(EXPERIMENTS)}; got {_EXPERIMENT.value!r}")
    # First, because TensorFlow forms a cluster before it does anything else.
    strategy = training.make_strategy(_STRATEGY.value, _TPU.value)
    changes = {"steps": _STEPS.value, "limit": _LIMIT.value, "seed": _SEED.value}
    experiment = dataclasses.replace(
        EXPERIMENTS[_EXPERIMENT.value], **{name: value for name, value in changes.items() if value is not None}
    )
    try:
        metrics = training.run(
            experiment,
            _WORKDIR.value,
            data_dir=_DATA_DIR.value,
            checkpoint_every=_CHECKPOINT_EVERY.value,
            keep_every=_KEEP_EVERY.value,
            strategy=strategy,
            report=lambda line: print(line, flush=True),
        )
    except training.WorkerLost as lost:
        print(f"{lost}; this process starts again by itself", file=sys.stderr)
        training.start_again()
    print(json.dumps(metrics))


def run() -> None:
    app.run(exit_cleanly(main))


if __name__ == "__main__":
    run()
