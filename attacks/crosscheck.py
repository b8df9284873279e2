"""Repeats an attack with CleverHans, from the same start, and says whether the two libraries agree.

python -m attacks.crosscheck --model=PATH --dataset=digits --epsilon=0.1 --step_size=0.01 [--output=FILE.json]
Runs FGM, BIM and PGD on the data set's test split, prints one table, and ends with status 1 when one disagrees.
"""

from __future__ import annotations

import sys

from absl import app, flags

from tfadv import attacks, data, files, models
from tfadv.balls import BALLS
from tfadv.crosscheck import cleverhans
from tfadv.validation import exit_cleanly

_MODEL = flags.DEFINE_string("model", None, "A .keras file, a SavedModel folder or a run folder.", required=True)
_DATASET = flags.DEFINE_enum("dataset", "digits", sorted(data.DATASETS), "Its test split is attacked.")
_DATA_DIR = flags.DEFINE_string("data_dir", None, "Where TFDS keeps its data sets; default as TFDS has it.")
_LIMIT = flags.DEFINE_integer("limit", 200, "Attacks a seeded, stratified subset of this many examples.", lower_bound=1)
_EPSILON = flags.DEFINE_float("epsilon", None, "Radius in input units: 0.0314 for 8/255, never 8.", required=True)
_STEP_SIZE = flags.DEFINE_float("step_size", None, "Step in input units, at most epsilon.", required=True)
_STEPS = flags.DEFINE_integer("steps", 40, "Gradient steps of BIM and PGD.", lower_bound=1)
_NORM = flags.DEFINE_enum("norm", "linf", sorted(BALLS), "Norm of the ball.")
_SEED = flags.DEFINE_integer("seed", 0, "Seed of PGD's random start.")
_OUTPUT = flags.DEFINE_string("output", None, "Also writes the comparisons to this file, as JSON.")


def main(argv: list[str]) -> None:
    if len(argv) > 1:
        raise app.UsageError(f"unexpected arguments: {argv[1:]}")
    config = attacks.Pgd(
        epsilon=_EPSILON.value,
        step_size=_STEP_SIZE.value,
        steps=_STEPS.value,
        norm=_NORM.value,
        keep="last",
        seed=_SEED.value,
    )
    model = models.load(_MODEL.value)
    x, y = data.arrays(_DATASET.value, "test", data_dir=_DATA_DIR.value, limit=_LIMIT.value)
    suite = cleverhans.suite(config)
    comparisons = []
    for number, each in enumerate(suite, start=1):
        print(f"comparing {number} of {len(suite)} on {len(x)} images: {cleverhans.describe(each)}", file=sys.stderr)
        comparisons.append(cleverhans.compare(model, x, y, each))
    print(cleverhans.table(comparisons))
    if _OUTPUT.value:
        files.write_json(_OUTPUT.value, [comparison.to_dict() for comparison in comparisons])
    disagreeing = [comparison.attack for comparison in comparisons if not comparison.agreed]
    if disagreeing:
        sys.exit(f"tfadv and CleverHans disagree on: {'; '.join(disagreeing)}")


def run() -> None:
    app.run(exit_cleanly(main))


if __name__ == "__main__":
    run()
