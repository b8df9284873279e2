"""AutoAttack on a model; with --published beside the program that its authors published, stage by stage.

python -m attacks.autoattack --model=PATH --dataset=mnist --epsilon=0.3 --limit=1000 --work=DIR [--output=FILE.json]
Every run is kept in --work and continued from there; the published program needs PyTorch and a clone of its source.
"""

from __future__ import annotations

import pathlib

from absl import app, flags

from tfadv import data, models, training
from tfadv.attacks.auto_attack import NORMS
from tfadv.attacks.search import SEEDS
from tfadv.crosscheck import published_autoattack, record, stages
from tfadv.validation import UserError, exit_cleanly

_MODEL = flags.DEFINE_string("model", None, "A .keras file, a SavedModel folder or a run folder.", required=True)
_DATASET = flags.DEFINE_enum("dataset", "mnist", sorted(data.DATASETS), "Its test split is attacked.")
_DATA_DIR = flags.DEFINE_string("data_dir", None, "Where TFDS keeps its data sets; default as TFDS has it.")
_LIMIT = flags.DEFINE_integer(
    "limit", 1000, "Attacks a seeded, stratified subset of this many examples.", lower_bound=1
)
_EPSILON = flags.DEFINE_float("epsilon", None, "Radius in input units: 0.0314 for 8/255, never 8.", required=True)
_NORM = flags.DEFINE_enum("norm", "linf", NORMS, "Norm of the ball.")
_SEEDS = flags.DEFINE_list("seeds", "0", "Seeds; each is a run in float32, the first one also in bfloat16.")
_PUBLISHED = flags.DEFINE_string("published", None, "Folder of a clone of github.com/fra31/auto-attack.")
_PUBLISHED_SEEDS = flags.DEFINE_list("published_seeds", "0,1,2", "Its seeds, whose spread is what may differ.")
_WORK = flags.DEFINE_string("work", None, "Receives every run as it is made, and is continued from.", required=True)
_NAME = flags.DEFINE_string("name", None, "What the record calls the model; default its path.")
_OUTPUT = flags.DEFINE_string("output", None, "Also writes the runs to this JSON file, and README.md beside it.")


def main(argv: list[str]) -> None:
    if len(argv) > 1:
        raise app.UsageError(f"unexpected arguments: {argv[1:]}")
    seeds, published_seeds = _whole("seeds", _SEEDS.value), _whole("published_seeds", _PUBLISHED_SEEDS.value)
    if _OUTPUT.value:
        record.check_output(_OUTPUT.value)
    if _PUBLISHED.value:
        published_autoattack.load(_PUBLISHED.value)
    model, work = models.load(_MODEL.value), pathlib.Path(_WORK.value)
    x, y = data.arrays(_DATASET.value, "test", data_dir=_DATA_DIR.value)
    index = data.stratified_subset(y, min(_LIMIT.value, len(y)), seed=0)
    x, y = x[index], y[index]
    threat = {"epsilon": _EPSILON.value, "norm": _NORM.value}
    stages.claim(work, model, x, y, **threat)
    ours, published = {}, {}
    for seed in published_seeds if _PUBLISHED.value else ():
        path = work / f"published-{seed}.npz"
        published[seed] = stages.published(_PUBLISHED.value, model, x, y, seed=seed, path=path, **threat)
    for number, seed in enumerate(seeds):
        for precision in ("float32", "bfloat16") if number == 0 else ("float32",):
            path = work / f"ours-{precision}-{seed}.npz"
            ours[f"ours, {precision}, seed {seed}"] = stages.stored(
                path,
                lambda seed=seed, precision=precision, path=path: stages.ours(
                    model, x, y, seed=seed, precision=precision, index=index, state=f"{path}.state", **threat
                ),
            )
    compared = {label: stages.compare(run, published, index) for label, run in ours.items()} if published else {}
    runs = {**ours, **{f"published, seed {seed}": run for seed, run in published.items()}}
    title = f"{_NAME.value or _MODEL.value}, {_NORM.value} {_EPSILON.value:g}, {len(x):,} images of {_DATASET.value}"
    text = stages.markdown("robust accuracy after each stage, %", runs, compared)
    print(f"{title}\n{text}")
    if _OUTPUT.value:
        values = {
            **threat,
            "examples": len(x),
            "runs": {label: {"robust": run.robust(), "seconds": run.seconds} for label, run in runs.items()},
            "fooled": {label: index[run.broken_by >= 0].tolist() for label, run in runs.items()},
            "compared": compared,
            "environment": training.environment(),
        }
        record.publish(_OUTPUT.value, f"AutoAttack by stages: {title}", text, values)


def _whole(name: str, texts: list[str]) -> list[int]:
    if not texts or not all(text.isdecimal() and int(text) < SEEDS for text in texts):
        raise UserError(f"{name} must be whole numbers from 0 to {SEEDS - 1}, such as 0,1,2, got {','.join(texts)!r}")
    return [int(text) for text in texts]


def run() -> None:
    app.run(exit_cleanly(main))


if __name__ == "__main__":
    run()
