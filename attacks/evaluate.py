"""Worst-case accuracy of a model under a suite of attacks, whether the number can be trusted, and a report.

python -m attacks.evaluate --model=runs/natural/model.keras --dataset=mnist --epsilon=0.3 --output=report
--suite=standard is AutoAttack. A run that was killed continues where --output has what it left.
--threat=linf:0.3 --threat=l2:2 --threat=rotation:20 evaluates several threat models, and their union.
--strategy=mirrored attacks on all GPUs of the machine, --strategy=multiworker on several machines (TF_CONFIG).
"""

from __future__ import annotations

import contextlib
import pathlib
from typing import Any

from absl import app, flags

from tfadv import devices, evaluation, files, models, training
from tfadv.attacks.passes import PRECISIONS
from tfadv.balls import BALLS
from tfadv.report import Collection, Report
from tfadv.validation import UserError, exit_cleanly

_MODEL = flags.DEFINE_string("model", None, "A .keras file, a SavedModel folder or a run folder.", required=True)
_SIGNATURE = flags.DEFINE_string("signature", None, "Of a SavedModel: which one gives the logits.")
_ARCHITECTURE = flags.DEFINE_string("architecture", None, "For HDF5 weights: which of tfadv.models.MODELS they fit.")
_DATASET = flags.DEFINE_string("dataset", "digits", "A data set (its test split), tfds:NAME, or an .npz with x and y.")
_DATA_DIR = flags.DEFINE_string("data_dir", None, "Where TFDS keeps its data sets; default as TFDS has it.")
_EPSILON = flags.DEFINE_float("epsilon", None, "Radius in input units: 0.0314 for 8/255, never 8.")
_NORM = flags.DEFINE_enum("norm", "linf", sorted(BALLS), "Norm of the ball.")
_THREAT = flags.DEFINE_multi_string(
    "threat", [], "Instead: norm:epsilon, such as linf:8/255 or rotation:20. Repeatable."
)
_SUITE = flags.DEFINE_enum("suite", "gradient", sorted(evaluation.SUITES), "Which attacks run.")
_SOURCE = flags.DEFINE_multi_string("source", [], "Another model: its adversarial examples are tried too. Repeatable.")
_STAND_IN = flags.DEFINE_string("stand_in", None, "A differentiable model that behaves like this one, for a check.")
_CLAIMED = flags.DEFINE_float("claimed", None, "A robust accuracy to be judged, from 0 to 1.")
_LIMIT = flags.DEFINE_integer("limit", None, "Evaluates a seeded, stratified subset of this many examples.")
_BUDGET = flags.DEFINE_string("budget", None, 'Such as "10 min": as many examples as this time allows.')
_SEED = flags.DEFINE_integer("seed", 0, "Seed of the subset and of the random starts.")
_CHECK = flags.DEFINE_bool("check", True, "Whether the evaluation itself is checked.")
_ANALYZE = flags.DEFINE_bool("analyze", False, "Adds statistics of logits and gradients to the report.")
_EXAMPLES = flags.DEFINE_bool("examples", False, "Also writes the adversarial images, as an .npz file.")
_PRECISION = flags.DEFINE_enum("precision", "auto", list(PRECISIONS), "Of the search; successes are float32.")
_BATCH_SIZE = flags.DEFINE_integer("batch_size", None, "Examples attacked at a time.", lower_bound=1)
_STRATEGY = flags.DEFINE_enum("strategy", "default", training.STRATEGIES, "What the attacks are spread over.")
_TPU = flags.DEFINE_string("tpu", "", "With --strategy=tpu: name or address of the TPU; default this machine's.")
_OUTPUT = flags.DEFINE_string("output", None, "Receives report.json, report.html, tables, plots and the state.")


def main(argv: list[str]) -> None:
    if len(argv) > 1:
        raise app.UsageError(f"unexpected arguments: {argv[1:]}")
    if _EPSILON.value is None and not _THREAT.value:
        raise UserError("the threat model is missing: pass --epsilon=0.0314 for 8/255, or --threat=linf:8/255")
    if _EPSILON.value is not None and _THREAT.value:
        raise UserError("the threat model is given twice: pass --epsilon and --norm, or --threat, which has both")
    # First, because TensorFlow forms a cluster before it does anything else.
    strategy = training.make_strategy(_STRATEGY.value, _TPU.value)
    chief = devices.is_chief(strategy)
    with files.holding(_OUTPUT.value) if _OUTPUT.value and chief else contextlib.nullcontext():
        with strategy.scope():
            model = models.load(_MODEL.value, _ARCHITECTURE.value, signature=_SIGNATURE.value)
            data = evaluation.named(_DATASET.value, data_dir=_DATA_DIR.value)
            options: dict[str, Any] = {
                "limit": _LIMIT.value,
                "seed": _SEED.value,
                "precision": _PRECISION.value,
                "batch_size": _BATCH_SIZE.value,
                "name": pathlib.Path(_MODEL.value).name,
                "dataset": data.name,
                "check": _CHECK.value,
                "analyze": _ANALYZE.value,
            }
            found: Report | Collection
            if _THREAT.value:
                found = evaluation.evaluate_threats(model, (data.x, data.y), _THREAT.value, **options)
            else:
                train = None
                if _SUITE.value == "full" and not _DATASET.value.endswith(".npz"):
                    train = evaluation.named(_DATASET.value, "train", data_dir=_DATA_DIR.value)
                found = evaluation.evaluate(
                    model,
                    (data.x, data.y),
                    _EPSILON.value,
                    norm=_NORM.value,
                    suite=_SUITE.value,
                    sources={path: models.load(path) for path in _SOURCE.value},
                    stand_in=None if _STAND_IN.value is None else models.load(_STAND_IN.value),
                    claimed=_CLAIMED.value,
                    train=None if train is None else (train.x, train.y),
                    budget=_BUDGET.value,
                    state=None if _OUTPUT.value is None else pathlib.Path(_OUTPUT.value) / ".unfinished",
                    **options,
                )
        if not chief:
            return
        print(found.summary())
        for report in (found,) if isinstance(found, Report) else found.reports:
            for check in report.checks:
                print(f"{check.outcome}: {check.name} ({check.evidence})")
        if _OUTPUT.value:
            if _EXAMPLES.value and isinstance(found, Report):
                found.save(_OUTPUT.value, adversarial=found.images)
            else:
                found.save(_OUTPUT.value)
            print(f"report in {_OUTPUT.value}")


def run() -> None:
    app.run(exit_cleanly(main))


if __name__ == "__main__":
    run()
