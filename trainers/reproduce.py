"""Reproduces a table of a paper: paper beside ours beside the difference. Run again, it continues and grows.

python -m trainers.reproduce --target=feature_smoothing/table1 --scale=short --output=runs/fs_table1
"""

from __future__ import annotations

from absl import app, flags

from tfadv import reproduction
from tfadv.reproduction import results
from tfadv.validation import UserError, exit_cleanly

# Training steps for each row; None is the paper's own schedule. Smoke is for tests: it shows that everything runs.
_SCALES = {"smoke": 20, "short": 20_000, "paper": None}

_TARGET = flags.DEFINE_string("target", None, "PAPER/TABLE; an unknown name lists the known ones.", required=True)
_OUTPUT = flags.DEFINE_string("output", None, "Receives runs, evaluations, table.json and table.md.", required=True)
_SCALE = flags.DEFINE_enum("scale", "short", list(_SCALES), "Training schedule: seconds, hours, or the paper's.")
_STEPS = flags.DEFINE_integer("steps", None, "Training steps for each row, instead of a scale's.", lower_bound=1)
_ROWS = flags.DEFINE_list("rows", None, "Works on these rows only; the table keeps the others as they are.")
_DATA_DIR = flags.DEFINE_string("data_dir", None, "Where TFDS keeps its data sets; default as TFDS has it.")
_KEEP_EVERY = flags.DEFINE_integer("keep_every", None, "Keeps classifiers at these steps, for accuracy against steps.")
_LIMIT = flags.DEFINE_integer("limit", None, "Evaluates a seeded, stratified subset of this many test images.")
_PUBLISH = flags.DEFINE_string("publish", None, "A record: rows it holds are taken from it; the table goes into it.")
_PRECISION = flags.DEFINE_enum("precision", "auto", ["auto", "float32", "bfloat16"], "Of the attack's search.")


def main(argv: list[str]) -> None:
    if len(argv) > 1:
        raise app.UsageError(f"unexpected arguments: {argv[1:]}")
    if _TARGET.value not in reproduction.TARGETS:
        raise UserError(f"target must be one of {', '.join(reproduction.TARGETS)}; got {_TARGET.value!r}")
    target = reproduction.TARGETS[_TARGET.value]
    reproduction.reproduce(
        target,
        _OUTPUT.value,
        steps=_STEPS.value or _SCALES[_SCALE.value] or target.paper_steps,
        rows=_ROWS.value,
        data_dir=_DATA_DIR.value,
        keep_every=_KEEP_EVERY.value,
        limit=_LIMIT.value,
        precision=_PRECISION.value,
        record=results.place(_TARGET.value, _PUBLISH.value) if _PUBLISH.value else None,
        report=lambda line: print(line, flush=True),
    )
    if _PUBLISH.value:
        print(f"published in {results.publish(_OUTPUT.value, _TARGET.value, _PUBLISH.value)}")


def run() -> None:
    app.run(exit_cleanly(main))


if __name__ == "__main__":
    run()
