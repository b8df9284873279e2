"""Results that studies are rendered from, made up."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from tfadv.report.values import pack
from tfadv.reproduction.studies import weight_decay_models as models


def _weight_decay(clean=0.96, fgsm=0.41, chance_at=30, own=0.3, seed=0) -> dict[str, Any]:
    """A result of `weight_decay_models.logistic`, two equal steps; chance_at=None never comes down to chance."""
    draw = np.random.RandomState(seed)
    x, y = draw.uniform(size=(100, 784)).astype(np.float32), draw.randint(2, size=100)
    w = draw.standard_normal(784).astype(np.float32)
    share = {name: {"accuracy": value, "interval": [value - 0.02, value + 0.02]} for name, value in
             (("clean", clean), ("fgsm", fgsm), ("fast", fgsm), ("saturated", fgsm))}  # fmt: skip
    end = 10**9 if chance_at is None else chance_at
    kept = {
        "step": 10,
        "weights": pack(w),
        **share,
        "distortion_fgsm": 4.9,
        "distortion_fast": 4.0,
        "distortion_saturated": 4.1,
        "distortion_underflow": 4.6,
        "epsilons": list(models.EPSILONS),
        "linf": np.linspace(clean, own, len(models.EPSILONS)).tolist(),
        "pixels": list(models.PIXELS),
        "extremes": [max(clean - (clean - 0.5) * at / end, 0.5) for at in models.PIXELS],
        "strongest": np.linspace(clean, 0, len(models.PIXELS)).tolist(),
        "l1": 60.0,
        "l2": 4.0,
        "large": 200,
        "zero": 144,
        "count": 100,
        "majority": 0.5,
        "margins": models.margins(w, x, y),
    }
    return {"kept": [kept, kept]}


@pytest.fixture(scope="session")
def made() -> Callable[..., dict[str, Any]]:
    """`made(clean=0.96, fgsm=0.41, ...)` is what a job of the weight decay studies found."""
    return _weight_decay
