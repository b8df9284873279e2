"""The models that figures 1 to 7 of "Adversarial training versus weight decay" (WD) show, by name."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from tfadv.reproduction.studies.weight_decay_models import EPSILON, SCALE, job
from tfadv.reproduction.study import Job

EXPERT, NATURAL, BINARY = "Expert-L2", "Natural", "Binarized"
L1, L2, L1_LARGE, L1_15 = "L1 3.25", "L2 3.25", "L1 32", "L1 15"
FGSM, FAST, SMALL, LARGE = "FGSM 0.25", "Fast grad L2 0.25", "FGSM 0.1", "FGSM 0.5"
PREDICTED, ALL_THREE = "FGSM 0.25, predicted label", "FGSM 0.25 with expert start and L2 0.05"

_SHORT, _LONG = 10_000, 50_000
# Steps at which the weights are kept; the first of Expert-L2 is its start.
_MODELS: Mapping[str, tuple[tuple[int, ...], Mapping[str, Any]]] = {
    EXPERT: ((0, _SHORT), {"start": "expert", "l2": 0.05}),
    NATURAL: ((_LONG,), {}),
    BINARY: ((_LONG,), {"bits": 1}),
    L1: ((_LONG,), {"l1": 3.25}),
    L2: ((_LONG,), {"l2": 3.25}),
    L1_LARGE: ((_LONG,), {"l1": 32.0}),
    L1_15: ((_LONG,), {"l1": 15.0}),
    FGSM: ((_SHORT, _LONG), {"epsilon": EPSILON}),
    FAST: ((_SHORT, _LONG), {"epsilon": EPSILON, "scale": SCALE}),
    SMALL: ((_LONG,), {"epsilon": 0.1}),
    LARGE: ((_LONG,), {"epsilon": 0.5}),
    PREDICTED: ((_LONG,), {"epsilon": EPSILON, "label": "predicted"}),
    ALL_THREE: ((_LONG,), {"epsilon": EPSILON, "start": "expert", "l2": 0.05}),
}
# Variants of a recipe: seeds on all training images; and as few images as the authors' program reaches, three blocks.
SEEDS = ("seed 0", "seed 1")
WINDOWS = ("window", "window 1", "window 2")
ALL = (*SEEDS, "window")
FIRST = ("seed 0",)


def jobs(scale: str, models: Mapping[str, Sequence[str]]) -> tuple[Job, ...]:
    """Jobs "MODEL, VARIANT" for each model and its variants, in the order of `models`."""
    found = []
    for name, variants in models.items():
        steps, changes = _MODELS[name]
        for variant in variants:
            kind, _, seed = variant.partition(" ")
            how = {"batches": "window" if kind == "window" else "all", "seed": int(seed or 0)}
            found.append(job(scale, f"{name}, {variant}", *steps, **changes, **how))
    return tuple(found)


def kept(results: Mapping[str, Mapping[str, Any]], name: str, variant: str = "seed 0", at: int = -1) -> Any:
    """What a job measured of its weights number `at`; None where it is missing."""
    result = results.get(f"{name}, {variant}")
    return None if result is None else result["kept"][at]
