"""The main job: python -m trainers.quickstart --dataset=digits --output=runs/quickstart (or: make quickstart)."""

from __future__ import annotations

from absl import app, flags

from tfadv import quickstart
from tfadv.experiments.quickstart import EPSILON
from tfadv.validation import exit_cleanly

_DATASET = flags.DEFINE_enum("dataset", "digits", sorted(EPSILON), "digits needs no network; mnist comes through TFDS.")
_OUTPUT = flags.DEFINE_string("output", "runs/quickstart", "Receives the report, the runs and the exported models.")
_DATA_DIR = flags.DEFINE_string("data_dir", None, "Where TFDS keeps its data sets; default as TFDS has it.")


def main(argv: list[str]) -> None:
    if len(argv) > 1:
        raise app.UsageError(f"unexpected arguments: {argv[1:]}")
    quickstart.run(
        _DATASET.value,
        _OUTPUT.value,
        data_dir=_DATA_DIR.value,
        report=lambda line: print(line, flush=True),
    )


def run() -> None:
    app.run(exit_cleanly(main))


if __name__ == "__main__":
    run()
