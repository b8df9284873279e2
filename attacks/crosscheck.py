"""Repeats an attack with CleverHans, from the same start, and says whether the two libraries agree.

python -m attacks.crosscheck --model=PATH --dataset=digits --epsilon=0.1 --step_size=0.01 [--output=FILE.json]
Runs FGM, BIM and PGD on the data set's test split, prints one table, and ends with status 1 when one disagrees.

python -m attacks.crosscheck ... --peers=cleverhans,foolbox,art,torchattacks --attacks=pgd,mim,apgd,square
Runs these attacks by each of these libraries that has them, prints how strong they are beside ours, and ends with
status 1 when ours is weaker. --autoattack_source=DIR adds the published AutoAttack.

python -m attacks.crosscheck --model=FILE.keras ... --frameworks [--l2_epsilon=1.5] [--modules=my_package.models]
Loads the file in TensorFlow, PyTorch and JAX, runs FGM, BIM and PGD by those of their libraries that are installed, in
l2 too where it has a radius, and classifies what they made in each framework. Prints one table, which says "verified"
or what disagrees and why, in which case the status is 1.
"""

from __future__ import annotations

import math
import sys
from typing import Any

import numpy as np
from absl import app, flags

from tfadv import attacks, data, files, models
from tfadv.balls import BALLS
from tfadv.crosscheck import (
    PEERS,
    cleverhans,
    comparison,
    frameworks,
    ours,
    published_autoattack,
    record,
    verification,
)
from tfadv.validation import UserError, exit_cleanly

_MODEL = flags.DEFINE_string("model", None, "A .keras file, a SavedModel folder or a run folder.", required=True)
_DATASET = flags.DEFINE_enum("dataset", "digits", sorted(data.DATASETS), "Its test split is attacked.")
_DATA_DIR = flags.DEFINE_string("data_dir", None, "Where TFDS keeps its data sets; default as TFDS has it.")
_LIMIT = flags.DEFINE_integer("limit", 200, "Attacks a seeded, stratified subset of this many examples.", lower_bound=1)
_EPSILON = flags.DEFINE_float("epsilon", None, "Radius in input units: 0.0314 for 8/255, never 8.", required=True)
_STEP_SIZE = flags.DEFINE_float("step_size", None, "Step in input units, at most epsilon.", required=True)
_STEPS = flags.DEFINE_integer("steps", 40, "Gradient steps of BIM, PGD and MIM.", lower_bound=1)
_NORM = flags.DEFINE_enum("norm", "linf", sorted(BALLS), "Norm of the ball.")
_SEED = flags.DEFINE_integer("seed", 0, "Seed of random starts and searches.")
_PEERS = flags.DEFINE_list("peers", None, f"Compares strength with these libraries: {', '.join(PEERS)}.")
_ATTACKS = flags.DEFINE_list("attacks", "fgm,bim,pgd,mim", "Attacks that are compared; a wrong name lists all.")
_SOURCE = flags.DEFINE_string("autoattack_source", None, "A clone of github.com/fra31/auto-attack, also compared with.")
_BATCH_SIZE = flags.DEFINE_integer("batch_size", 250, "Of a comparison of strength.", lower_bound=1)
_SEEDS = flags.DEFINE_integer(
    "seeds", 1, "Runs of each side, where two libraries draw different random numbers.", lower_bound=1
)
_FRAMEWORKS = flags.DEFINE_bool("frameworks", False, "Compares libraries of TensorFlow, PyTorch and JAX.")
_L2_EPSILON = flags.DEFINE_float("l2_epsilon", None, "With --frameworks: radius of attacks in l2, with as many steps.")
_MODULES = flags.DEFINE_list("modules", [], "With --frameworks: Python modules that register the model's classes.")
_TIMEOUT = flags.DEFINE_float("timeout", 1800.0, "With --frameworks: seconds for each process.", lower_bound=1.0)
_NAME = flags.DEFINE_string("name", None, "What the record calls the model; default its path.")
_OUTPUT = flags.DEFINE_string("output", None, "Also writes the comparisons as JSON; strength with README.md beside it.")


def main(argv: list[str]) -> None:
    if len(argv) > 1:
        raise app.UsageError(f"unexpected arguments: {argv[1:]}")
    if _L2_EPSILON.value is not None and not _FRAMEWORKS.value:
        raise UserError("l2_epsilon is a second radius of --frameworks; add that, or drop it")
    if not math.isfinite(_TIMEOUT.value):
        raise UserError(f"timeout must be a finite number of seconds, got {_TIMEOUT.value}")
    if _FRAMEWORKS.value:
        if _PEERS.value is not None or _SOURCE.value is not None:
            raise UserError("frameworks compares all libraries that it finds; drop --peers and --autoattack_source")
        found = frameworks.verify(
            _MODEL.value,
            *data.arrays(_DATASET.value, "test", data_dir=_DATA_DIR.value, limit=_LIMIT.value),
            frameworks.suite(
                _NORM.value,
                _EPSILON.value,
                step_size=_STEP_SIZE.value,
                steps=_STEPS.value,
                seed=_SEED.value,
                l2_epsilon=_L2_EPSILON.value,
            ),
            modules=_MODULES.value,
            batch_size=_BATCH_SIZE.value,
            timeout=_TIMEOUT.value,
        )
        print(verification.table(found))
        if _OUTPUT.value:
            files.write_json(_OUTPUT.value, found.to_dict())
        if found.verdict != "verified":
            sys.exit(f"not verified: {found.verdict}")
        return
    model = models.load(_MODEL.value)
    x, y = data.arrays(_DATASET.value, "test", data_dir=_DATA_DIR.value, limit=_LIMIT.value)
    if _PEERS.value is None and _SOURCE.value is None:
        config = attacks.Pgd(
            epsilon=_EPSILON.value,
            step_size=_STEP_SIZE.value,
            steps=_STEPS.value,
            norm=_NORM.value,
            keep="last",
            seed=_SEED.value,
        )
        values: Any
        values, complaint = agreement(model, x, y, config)
    else:
        if _OUTPUT.value:
            record.check_output(_OUTPUT.value)
        peers = {name: _peer(name) for name in _PEERS.value or ()}
        if _SOURCE.value is not None:
            peers["published"] = published_autoattack.peer(_SOURCE.value)
        configs = ours.configs(
            _ATTACKS.value,
            _EPSILON.value,
            step_size=_STEP_SIZE.value,
            steps=_STEPS.value,
            norm=_NORM.value,
            seed=_SEED.value,
        )
        strength = comparison.compare(model, x, y, configs, peers, batch_size=_BATCH_SIZE.value, seeds=_SEEDS.value)
        print(comparison.table(strength))
        failing = [f"{row.attack} with {row.peer}: {row.verdict}" for row in strength.rows if row.verdict != "passes"]
        values, complaint = strength.to_dict(), f"the comparison fails: {'; '.join(failing)}" if failing else ""
    if _OUTPUT.value and isinstance(values, list):
        files.write_json(_OUTPUT.value, values)
    elif _OUTPUT.value:
        title = f"Strength beside other libraries: {_NAME.value or _MODEL.value}, {len(x):,} images of {_DATASET.value}"
        record.publish(_OUTPUT.value, title, f"```text\n{comparison.table(strength)}\n```", values)
    if complaint:
        sys.exit(complaint)


def agreement(model: Any, x: np.ndarray, y: np.ndarray, config: attacks.Pgd) -> tuple[list[dict[str, Any]], str]:
    """Compares with CleverHans image by image; the comparisons as JSON, and which of them disagree."""
    suite = cleverhans.suite(config)
    comparisons = []
    for number, each in enumerate(suite, start=1):
        print(f"comparing {number} of {len(suite)} on {len(x)} images: {cleverhans.describe(each)}", file=sys.stderr)
        comparisons.append(cleverhans.compare(model, x, y, each))
    print(cleverhans.table(comparisons))
    disagreeing = [each.attack for each in comparisons if not each.agreed]
    complaint = f"tfadv and CleverHans disagree on: {'; '.join(disagreeing)}" if disagreeing else ""
    return [each.to_dict() for each in comparisons], complaint


def _peer(name: str) -> Any:
    if name not in PEERS:
        raise UserError(f"peers must be among {sorted(PEERS)}, got {name!r}")
    return PEERS[name]


def run() -> None:
    app.run(exit_cleanly(main))


if __name__ == "__main__":
    run()
