"""Times PGD or AutoAttack by tfadv and by other libraries, in pairs of runs on this machine.

python -m attacks.benchmark --model=FILE.keras --dataset=mnist --kind=pgd --epsilon=0.3 --step_size=0.01 --steps=40
python -m attacks.benchmark --model=FILE.keras --kind=autoattack --epsilon=0.3 --autoattack_source=DIR --images=256
Examples that our attack fools and examples that it does not are timed apart, all classified correctly to begin with.
Every library has a process of its own and all cores. Only the float32 columns may be read as the same computation.
"""

from __future__ import annotations

import pathlib

from absl import app, flags

from tfadv import attacks, data
from tfadv.attacks.auto_attack import NORMS, AutoAttack
from tfadv.crosscheck import PEERS, benchmark, record
from tfadv.validation import UserError, exit_cleanly

_MODEL = flags.DEFINE_string("model", None, "A .keras file.", required=True)
_DATASET = flags.DEFINE_enum("dataset", "digits", sorted(data.DATASETS), "Its test split is attacked.")
_DATA_DIR = flags.DEFINE_string("data_dir", None, "Where TFDS keeps its data sets; default as TFDS has it.")
_LIMIT = flags.DEFINE_integer("limit", None, "Chooses among a seeded, stratified subset of this many.", lower_bound=1)
_IMAGES = flags.DEFINE_integer("images", 2000, "Times at most so many images that survive, and that do not.", 1)
_KIND = flags.DEFINE_enum("kind", "pgd", ["pgd", "autoattack"], "What is timed.")
_EPSILON = flags.DEFINE_float("epsilon", None, "Radius in input units: 0.0314 for 8/255, never 8.", required=True)
_STEP_SIZE = flags.DEFINE_float("step_size", None, "Step of PGD in input units; default epsilon / 4.")
_STEPS = flags.DEFINE_integer("steps", 40, "Gradient steps of PGD.", lower_bound=1)
_NORM = flags.DEFINE_enum("norm", "linf", NORMS, "Norm of the ball.")
_PEERS = flags.DEFINE_list("peers", None, f"Of {', '.join(PEERS)}, published; default those that have such an attack.")
_SOURCE = flags.DEFINE_string("autoattack_source", None, "A clone of github.com/fra31/auto-attack.")
_BATCH_SIZE = flags.DEFINE_integer("batch_size", 500, "Of every library.", lower_bound=1)
_REPEATS = flags.DEFINE_integer("repeats", 5, "Pairs of runs for each library.", lower_bound=1)
_NAME = flags.DEFINE_string("name", None, "What the record calls the model; default its path.")
_OUTPUT = flags.DEFINE_string("output", None, "Also writes every run to this JSON file, and README.md beside it.")


def main(argv: list[str]) -> None:
    if len(argv) > 1:
        raise app.UsageError(f"unexpected arguments: {argv[1:]}")
    if pathlib.Path(_MODEL.value).suffix != ".keras":
        raise UserError(f"model must be a .keras file, which other libraries can be given, got {_MODEL.value!r}")
    if _OUTPUT.value:
        record.check_output(_OUTPUT.value)
    step_size = _EPSILON.value / 4 if _STEP_SIZE.value is None else _STEP_SIZE.value
    config = (
        attacks.Pgd(epsilon=_EPSILON.value, step_size=step_size, steps=_STEPS.value, norm=_NORM.value)
        if _KIND.value == "pgd"
        else AutoAttack(epsilon=_EPSILON.value, norm=_NORM.value)
    )
    x, y = data.arrays(_DATASET.value, "test", data_dir=_DATA_DIR.value, limit=_LIMIT.value)
    found = benchmark.measure(
        _MODEL.value,
        x,
        y,
        config,
        _PEERS.value or benchmark.default_peers(_KIND.value),
        images=_IMAGES.value,
        batch_size=_BATCH_SIZE.value,
        repeats=_REPEATS.value,
        source=_SOURCE.value,
    )
    table = benchmark.table(found)
    print(table)
    if _OUTPUT.value:
        title = f"Speed beside other libraries: {_NAME.value or _MODEL.value}, {_DATASET.value}"
        record.publish(_OUTPUT.value, title, f"```text\n{table}\n```", found.to_dict())


def run() -> None:
    app.run(exit_cleanly(main))


if __name__ == "__main__":
    run()
