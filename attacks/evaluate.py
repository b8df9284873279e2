"""Worst-case accuracy of a model under a suite of attacks, with a report.

python -m attacks.evaluate --model=runs/natural/model.keras --dataset=mnist --epsilon=0.3 --output=report
--strategy=mirrored attacks on all GPUs of the machine, --strategy=multiworker on several machines (TF_CONFIG).
"""

from __future__ import annotations

import pathlib

import numpy as np
from absl import app, flags

from tfadv import data, evaluation, models, training
from tfadv.attacks.passes import PRECISIONS
from tfadv.balls import BALLS
from tfadv.validation import UserError, exit_cleanly

_MODEL = flags.DEFINE_string("model", None, "A .keras file, a SavedModel folder or a run folder.", required=True)
_DATASET = flags.DEFINE_string("dataset", "digits", "A data set's name (its test split), or an .npz file with x and y.")
_DATA_DIR = flags.DEFINE_string("data_dir", None, "Where TFDS keeps its data sets; default as TFDS has it.")
_EPSILON = flags.DEFINE_float("epsilon", None, "Radius in input units: 0.0314 for 8/255, never 8.", required=True)
_NORM = flags.DEFINE_enum("norm", "linf", sorted(BALLS), "Norm of the ball.")
_SUITE = flags.DEFINE_enum("suite", "gradient", sorted(evaluation.SUITES), "Which attacks run.")
_SOURCE = flags.DEFINE_multi_string("source", [], "Another model: its adversarial examples are tried too. Repeatable.")
_LIMIT = flags.DEFINE_integer("limit", None, "Evaluates a seeded, stratified subset of this many examples.")
_SEED = flags.DEFINE_integer("seed", 0, "Seed of the subset and of the random starts.")
_PRECISION = flags.DEFINE_enum("precision", "auto", list(PRECISIONS), "Of the search; successes are float32.")
_BATCH_SIZE = flags.DEFINE_integer("batch_size", None, "Examples attacked at a time.", lower_bound=1)
_ARCHITECTURE = flags.DEFINE_string("architecture", None, "For HDF5 weights: which of tfadv.models.MODELS they fit.")
_STRATEGY = flags.DEFINE_enum("strategy", "default", training.STRATEGIES, "What the attacks are spread over.")
_TPU = flags.DEFINE_string("tpu", "", "With --strategy=tpu: name or address of the TPU; default this machine's.")
_OUTPUT = flags.DEFINE_string("output", None, "Receives report.json, report.html and the plots.")


def _arrays(dataset: str, data_dir: str | None) -> tuple[np.ndarray, np.ndarray]:
    if not dataset.endswith(".npz"):
        return data.arrays(dataset, "test", data_dir=data_dir)
    try:
        with np.load(dataset, allow_pickle=False) as stored:
            return stored["x"], stored["y"]
    except (OSError, ValueError, KeyError) as error:
        raise UserError(f"dataset {dataset} must be an .npz file with arrays x and y ({error})") from error


def main(argv: list[str]) -> None:
    if len(argv) > 1:
        raise app.UsageError(f"unexpected arguments: {argv[1:]}")
    # First, because TensorFlow forms a cluster before it does anything else.
    strategy = training.make_strategy(_STRATEGY.value, _TPU.value)
    with strategy.scope():
        report = evaluation.evaluate(
            models.load(_MODEL.value, _ARCHITECTURE.value),
            _arrays(_DATASET.value, _DATA_DIR.value),
            _EPSILON.value,
            norm=_NORM.value,
            suite=_SUITE.value,
            sources={str(path): models.load(path) for path in _SOURCE.value},
            limit=_LIMIT.value,
            seed=_SEED.value,
            precision=_PRECISION.value,
            batch_size=_BATCH_SIZE.value,
            name=pathlib.Path(_MODEL.value).name,
            dataset=_DATASET.value,
        )
    if not training.is_chief(strategy):
        return
    print(report.summary())
    for check in report.checks:
        print(f"{check.outcome}: {check.name} ({check.evidence})")
    if _OUTPUT.value:
        report.save(_OUTPUT.value)
        print(f"report in {_OUTPUT.value}")


def run() -> None:
    app.run(exit_cleanly(main))


if __name__ == "__main__":
    run()
