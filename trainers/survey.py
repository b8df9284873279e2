"""Trains a family of experiments and measures them all alike, up to AutoAttack. Run again, it continues and grows.

python -m trainers.survey --family=defenses_mnist --output=runs/survey [--publish=results] [--members=natural,madry]
"""

from __future__ import annotations

import pathlib

from absl import app, flags

from tfadv.reproduction import results, survey
from tfadv.validation import exit_cleanly

_FAMILY = flags.DEFINE_string(
    "family", None, "Experiments called FAMILY/...; an unknown name lists the known ones.", required=True
)
_OUTPUT = flags.DEFINE_string("output", None, "Receives runs, evaluations, table.json and table.md.", required=True)
_PUBLISH = flags.DEFINE_string("publish", None, "A record: members it holds are taken from it; the table goes into it.")
_MEMBERS = flags.DEFINE_list("members", None, "Works on these only; the table keeps the others as they are.")
_STEPS = flags.DEFINE_integer("steps", None, "Training steps instead of the experiments' own.", lower_bound=1)
_DATA_DIR = flags.DEFINE_string("data_dir", None, "Where TFDS keeps its data sets; default as TFDS has it.")
_LIMIT = flags.DEFINE_integer("limit", None, "Measures on a seeded, stratified subset of this many test images.")
_STANDARD_LIMIT = flags.DEFINE_integer(
    "standard_limit", survey.STANDARD_LIMIT, "Test images for AutoAttack, a subset of its own; 0 leaves it out."
)
_PRECISION = flags.DEFINE_enum(
    "precision", "auto", survey.PRECISIONS, "Of the searches; only what searched in float32 may be called AutoAttack."
)


def main(argv: list[str]) -> None:
    if len(argv) > 1:
        raise app.UsageError(f"unexpected arguments: {argv[1:]}")
    survey.survey(
        _FAMILY.value,
        _OUTPUT.value,
        members=_MEMBERS.value,
        steps=_STEPS.value,
        data_dir=_DATA_DIR.value,
        limit=_LIMIT.value,
        standard_limit=_STANDARD_LIMIT.value,
        precision=_PRECISION.value,
        publish=_PUBLISH.value,
        report=lambda line: print(line, flush=True),
    )
    print(f"table in {pathlib.Path(_OUTPUT.value) / 'table.md'}")
    if _PUBLISH.value:
        print(f"published in {results.place(_FAMILY.value, _PUBLISH.value)}")


def run() -> None:
    app.run(exit_cleanly(main))


if __name__ == "__main__":
    run()
