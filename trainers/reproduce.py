"""Reproduces tables and figures of the papers: paper beside ours beside the difference. Run again, it continues.

python -m trainers.reproduce --target=feature_smoothing/fig2 --scale=short --output=runs/reproduction
python -m trainers.reproduce --target=all --scale=smoke --output=runs/smoke
"""

from __future__ import annotations

from absl import app, flags

from tfadv import reproduction
from tfadv.reproduction.plan import EXECUTORS
from tfadv.reproduction.study import SCALES
from tfadv.validation import exit_cleanly

_TARGET = flags.DEFINE_list(
    "target", None, "PAPER/TABLE_OR_FIGURE, several, or all; a wrong one lists them.", required=True
)
_OUTPUT = flags.DEFINE_string("output", None, "Receives jobs, runs, and a folder for each target.", required=True)
_SCALE = flags.DEFINE_enum("scale", "short", SCALES, "Training schedules: seconds, hours, or the paper's.")
_STEPS = flags.DEFINE_integer("steps", None, "Of a table's rows: training steps instead of a scale's.", lower_bound=1)
_ROWS = flags.DEFINE_list("rows", None, "Of a table: works on these rows only; the others stay as they are.")
_DATA_DIR = flags.DEFINE_string("data_dir", None, "Where TFDS keeps its data sets; default as TFDS has it.")
_KEEP_EVERY = flags.DEFINE_integer(
    "keep_every", None, "Of a table: keeps classifiers at these steps, for a curve.", lower_bound=1
)
_LIMIT = flags.DEFINE_integer("limit", None, "Of a table: evaluates a seeded, stratified subset of this size.")
_PUBLISH = flags.DEFINE_string("publish", None, "A record: tables take rows from it; everything shown goes into it.")
_PRECISION = flags.DEFINE_enum("precision", "auto", ["auto", "float32", "bfloat16"], "Of a table's attacks.")
_EXECUTOR = flags.DEFINE_enum("executor", "local", EXECUTORS, "One job after the other here, or on a Ray cluster.")
_ONLY_FINISHED = flags.DEFINE_bool("only_finished", False, "Shows what is finished, and does no further work.")


def main(argv: list[str]) -> None:
    if len(argv) > 1:
        raise app.UsageError(f"unexpected arguments: {argv[1:]}")
    reproduction.run(
        _TARGET.value,
        _OUTPUT.value,
        scale=_SCALE.value,
        data_dir=_DATA_DIR.value,
        executor=_EXECUTOR.value,
        only_finished=_ONLY_FINISHED.value,
        publish=_PUBLISH.value,
        steps=_STEPS.value,
        rows=_ROWS.value,
        keep_every=_KEEP_EVERY.value,
        limit=_LIMIT.value,
        precision=_PRECISION.value,
    )


def run() -> None:
    app.run(exit_cleanly(main))


if __name__ == "__main__":
    run()
