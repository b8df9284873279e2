"""Times what training costs: losses, augmentations, bfloat16, PGD training, input, the loop; each in pairs of turns.

python -m trainers.training_cost --output=results/benchmarks/training.json [--only=losses,precision]
A section is written as soon as it is measured, and --only measures some of them again and keeps the others. Images are
random numbers, but where an accuracy is given: that needs the data set.
"""

from __future__ import annotations

from absl import app, flags

from tfadv import data, models
from tfadv.reproduction import training_cost
from tfadv.reproduction.turns import Settings
from tfadv.validation import exit_cleanly

_OUTPUT = flags.DEFINE_string("output", None, "Receives this JSON file, and README.md beside it.", required=True)
_MODEL = flags.DEFINE_enum("model", Settings.model, sorted(models.MODELS), "What is trained.")
_DATASET = flags.DEFINE_enum("dataset", Settings.dataset, sorted(data.DATASETS), "Gives the shape and the accuracies.")
_DATA_DIR = flags.DEFINE_string("data_dir", None, "Where TFDS keeps its data sets; default as TFDS has it.")
_REPEATS = flags.DEFINE_integer("repeats", Settings.repeats, "Pairs for each row.", lower_bound=1)
_STEPS = flags.DEFINE_integer("steps", Settings.steps, "Training steps in each half of a pair.", lower_bound=1)
_ONLY = flags.DEFINE_list("only", None, f"Measures these sections only, of {','.join(training_cost.SECTIONS)}.")


def main(argv: list[str]) -> None:
    if len(argv) > 1:
        raise app.UsageError(f"unexpected arguments: {argv[1:]}")
    settings = Settings(
        model=_MODEL.value,
        dataset=_DATASET.value,
        data_dir=_DATA_DIR.value,
        repeats=_REPEATS.value,
        steps=_STEPS.value,
    )
    training_cost.run(_OUTPUT.value, settings, _ONLY.value or (), report=lambda line: print(line, flush=True))


def run() -> None:
    app.run(exit_cleanly(main))


if __name__ == "__main__":
    run()
