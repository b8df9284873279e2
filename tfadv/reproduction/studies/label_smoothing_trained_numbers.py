"""Tables 2 to 6 of "Adversarial robustness via label-smoothing" (LSV) as flat numbers, printed and measured, compared.

Everywhere a number is found by (set-up, defense, attack), such as ("MNIST LeNet", "ALS 0.1", "FGSM 0.2"), in percent.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from tfadv.reproduction.studies.label_smoothing_trained_jobs import METHODS, NATURAL, PGD, SETUPS, Setup, at
from tfadv.reproduction.study import reference

CLEAN, STRONG = "clean", "AutoAttack"
TABLES = {"FGSM": 2, "BIM": 3, "DeepFool": 4, "C&W": 5, CLEAN: 6}
ALPHAS = (0.005, 0.1, 0.4)
_DATASETS, _MODELS = {"CIFAR10": "CIFAR"}, {"linear": "Linear", "ResNet18": "ResNet"}

Results = Mapping[str, Mapping[str, Any]]
Numbers = Mapping[tuple[str, str, str], float]


def printed(*tables: int) -> dict[tuple[str, str, str], float]:
    """What the paper prints in these tables, of all five set-ups."""
    found = {}
    for table in tables:
        for row in reference(f"label_smoothing_variants_table{table}"):
            name = f"{_DATASETS.get(row['dataset'], row['dataset'])} {_MODELS.get(row['model'], row['model'])}"
            settings = dict(part.split("=") for part in row["attack_params"].split(";") if part)
            attack = at(row["attack"], float(settings["eps"])) if settings else row["attack"].replace("none", CLEAN)
            found[name, _defense(row["defense"], row["defense_params"]), attack] = 100 * float(row["value"])
    return found


def _defense(name: str, settings: str) -> str:
    known = {"none": NATURAL, "adversarial_training": PGD}
    return known.get(name) or f"{name.upper()} {settings.removeprefix('alpha=')}"


def nets(results: Results) -> Iterator[tuple[Setup, str, Mapping[str, Any]]]:
    """(set-up, defense, what was measured) of each net that is there, in the order of the set-ups."""
    for setup in SETUPS:
        start = f"{setup.name}, "
        for key, found in results.items():
            if key.startswith(start):
                yield setup, key.removeprefix(start), found


def measured(results: Results, *kinds: str) -> dict[tuple[str, str, str], float]:
    """What was measured, by kind: "attacks", "own_labels", "program", "closest", "clean" or "standard"."""
    found: dict[tuple[str, str, str], float] = {}
    for setup, name, result in nets(results):
        for kind in kinds:
            if kind in ("clean", "standard"):
                shares = {CLEAN if kind == "clean" else STRONG: result[kind]} if kind in result else {}
            else:
                shares = result[kind]
            found |= {(setup.name, name, attack): 100 * each["accuracy"] for attack, each in shares.items()}
    return found


def smoothed(name: str) -> bool:
    """Whether a defense is label smoothing."""
    return name not in (NATURAL, PGD)


def gaps(numbers: Numbers, images: int = 0) -> tuple[int, int, int]:
    """Cells in which label smoothing is above the natural classifier, and below it; and all cells that have both.

    With `images`, on which both were measured, differences within two standard errors are neither.
    """
    found = []
    for (setup, name, attack), value in numbers.items():
        if smoothed(name) and (setup, NATURAL, attack) in numbers:
            natural = numbers[setup, NATURAL, attack]
            variance = sum(each * (100 - each) for each in (value, natural)) / images if images else 0.0
            gap = value - natural
            found.append(0.0 if abs(gap) <= 2 * math.sqrt(variance) else gap)
    return sum(gap > 0 for gap in found), sum(gap < 0 for gap in found), len(found)


def as_printed(numbers: Numbers, paper: Numbers) -> dict[tuple[str, str, str], float]:
    """Those that the paper prints too."""
    return {cell: value for cell, value in numbers.items() if cell in paper}


def counts(kinds: Mapping[str, Numbers]) -> str:
    """`gaps` in words, by kind; of the first, which is printed, all cells, of the others those that it has too.

    AutoAttack, which the paper does not have, counts each net once.
    """
    paper = next(iter(kinds.values()))
    parts = []
    for label, numbers in kinds.items():
        higher, lower, cells = gaps(numbers if label == STRONG else as_printed(numbers, paper))
        if cells:
            parts.append(f"{label} {higher} higher and {lower} lower of {cells}")
    return ", ".join(parts)


def pairs_won(numbers: Numbers) -> tuple[int, int]:
    """In how many cells ALS and BLS together beat SLS and SBLS; of how many that have all four."""
    won = []
    for (setup, name, attack), value in numbers.items():
        method, _, alpha = name.partition(" ")
        if method == METHODS[0]:
            sls, bls, sbls = (numbers.get((setup, f"{other} {alpha}", attack)) for other in METHODS[1:])
            if sls is not None and bls is not None and sbls is not None:
                won.append(value + bls > sls + sbls)
    return sum(won), len(won)


def mean_of(numbers: Numbers, setup: str, attack: str) -> float | None:
    """The mean over all label smoothing of one set-up under one attack; None where there is none."""
    values = [
        value for (where, name, what), value in numbers.items() if (where, what) == (setup, attack) and smoothed(name)
    ]
    return float(np.mean(values)) if values else None
