"""Exports a classifier, and an attack on it, for where tfadv is not installed.

python -m trainers.export --model=PATH --output=FOLDER [--attack=pgd --epsilon=0.3 --step_size=0.01 --steps=40]
--format=stablehlo writes both for XLA, --format=onnx and --format=tflite the classifier alone. A TensorFlow Lite file
is quantized by images of --dataset; with an attack, what it withstands is measured anew.
"""

from __future__ import annotations

from typing import Any

from absl import app, flags

from tfadv import attacks, data, export, models
from tfadv.balls import BALLS
from tfadv.validation import UserError, exit_cleanly

_MODEL = flags.DEFINE_string("model", None, "A .keras or HDF5 file, a SavedModel or a run folder.", required=True)
_ARCHITECTURE = flags.DEFINE_string("architecture", None, "For HDF5 weights: which of tfadv.models.MODELS they fit.")
_FORMAT = flags.DEFINE_enum("format", "saved_model", ["saved_model", "stablehlo", "onnx", "tflite"], "What is written.")
_OUTPUT = flags.DEFINE_string("output", None, "Receives the export; one that is there is replaced.", required=True)
_ATTACK = flags.DEFINE_enum("attack", None, ["fgm", "pgd"], "Adds an attack: (images, labels, epsilon) -> x_adv.")
_EPSILON = flags.DEFINE_float("epsilon", None, "Radius that step_size belongs to, in input units: 0.0314 for 8/255.")
_STEP_SIZE = flags.DEFINE_float("step_size", None, "Step of pgd at that radius; scaled with the epsilon of a call.")
_STEPS = flags.DEFINE_integer("steps", 40, "Gradient steps of pgd.", lower_bound=1)
_RESTARTS = flags.DEFINE_integer("restarts", 1, "Random starts of pgd.", lower_bound=1)
_NORM = flags.DEFINE_enum("norm", "linf", sorted(BALLS), "Norm of the attack's ball.")
_SEED = flags.DEFINE_integer("seed", 0, "Seed of pgd's random starts.", lower_bound=0)
_BATCH_SIZE = flags.DEFINE_integer("batch_size", 100, "Images of one call of a StableHLO program.", lower_bound=1)
_DATASET = flags.DEFINE_string("dataset", None, "For tflite: a data set; quantized by its train, measured on its test.")
_DATA_DIR = flags.DEFINE_string("data_dir", None, "Where TFDS keeps its data sets; default as TFDS has it.")
_REPRESENTATIVE = flags.DEFINE_integer("representative", 200, "Images that the file is quantized by.", lower_bound=1)
_LIMIT = flags.DEFINE_integer("limit", 200, "Images that the quantized file is measured on.", lower_bound=1)
_QUERIES = flags.DEFINE_integer("queries", 1000, "Of the Square attack on the quantized file.", lower_bound=1)


def main(argv: list[str]) -> None:
    if len(argv) > 1:
        raise app.UsageError(f"unexpected arguments: {argv[1:]}")
    needed = {None: (), "fgm": ("epsilon",), "pgd": ("epsilon", "step_size")}[_ATTACK.value]
    given = {"epsilon": _EPSILON.value, "step_size": _STEP_SIZE.value}
    if any(given[name] is None for name in needed):
        raise UserError(f"--attack={_ATTACK.value} needs {' and '.join(f'--{name}' for name in needed)} in input units")
    unused = [name for name, value in given.items() if value is not None and name not in needed]
    if unused:
        raise UserError(f"--{unused[0]} needs an attack that takes it: add --attack=pgd, or leave it out")
    if _FORMAT.value == "onnx" and _ATTACK.value:
        raise UserError("--format=onnx holds the classifier alone: leave --attack out, or export a saved_model")
    if _FORMAT.value == "tflite" and _DATASET.value is None:
        raise UserError("--format=tflite needs --dataset, whose images say what numbers the activations take")
    config: Any = None
    if _ATTACK.value == "fgm":
        config = attacks.Fgm(epsilon=_EPSILON.value, norm=_NORM.value)
    elif _ATTACK.value == "pgd":
        config = attacks.Pgd(
            epsilon=_EPSILON.value,
            step_size=_STEP_SIZE.value,
            steps=_STEPS.value,
            norm=_NORM.value,
            restarts=_RESTARTS.value,
            seed=_SEED.value,
            # What goes on behind the float model's decision boundary transfers better.
            keep="last" if _FORMAT.value == "tflite" and _RESTARTS.value == 1 else "best",
        )
    model = models.load(_MODEL.value, _ARCHITECTURE.value)
    if _FORMAT.value == "saved_model":
        folder = (
            export.export_classifier(model, _OUTPUT.value)
            if config is None
            else export.export_attack(model, config, _OUTPUT.value)
        )
        print(f"exported to {folder}; see its signatures: saved_model_cli show --all --dir {folder}")
    elif _FORMAT.value == "stablehlo":
        folder = export.export_stablehlo(model, config, _OUTPUT.value, batch_size=_BATCH_SIZE.value)
        print(f"exported to {folder}; tfadv/crosscheck/stablehlo.py runs it where JAX is")
    elif _FORMAT.value == "onnx":
        print(f"exported to {export.export_onnx(model, _OUTPUT.value)}")
    else:
        images, _ = data.arrays(_DATASET.value, "train", _DATA_DIR.value, _REPRESENTATIVE.value)
        if config is not None:  # Before anything is written, because a limit beyond the data set is refused.
            x, y = data.arrays(_DATASET.value, "test", _DATA_DIR.value, _LIMIT.value)
        path = export.export_tflite(model, _OUTPUT.value, images)
        print(f"exported to {path}")
        if config is not None:
            table = export.robust_accuracy_by_transfer(
                model, export.TfliteClassifier(path), x, y, config, queries=_QUERIES.value
            ).table()
            print(f"{table.caption}\n{table.text()}", end="")


def run() -> None:
    app.run(exit_cleanly(main))


if __name__ == "__main__":
    run()
