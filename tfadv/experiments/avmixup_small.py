"""The methods of "Adversarial vertex mixup", tables 1 to 6 and figure 2, on CIFAR-10 with a net of a million weights.

python -m trainers.reproduce --target=avmixup/table1 --scale=short
As printed: the attack of the training (10 steps of 2/255, epsilon 8/255), the smoothings, gamma and the lambdas, and a
rate divided by 10 at 50% and 75% of the steps. The paper trains WRN-34-10 for 80,000 steps, Feature Scatter WRN-28-10
for 200 epochs of batches of 60; here it is `small_cnn`, Adam and a few epochs. That net has no batch norm, so that
crafting in training mode, as the authors' program does, or in inference mode is the same thing. Epsilon grows over the
first steps: at full strength from the first one it is still at the uniform prediction after 200. `subset_` trains on
5,000 images without augmentation, where a net of this size overfits.
"""

from __future__ import annotations

import dataclasses
from typing import Any

from tfadv.attacks import Pgd
from tfadv.augment import PadCropFlip
from tfadv.losses import LabelSmoothing
from tfadv.training import Experiment, Validation

EPSILON, NORM = 8 / 255, "linf"
ATTACK = Pgd(EPSILON, 2 / 255, 10, keep="last")
STEPS, SUBSET_STEPS = 1_200, 2_000
# Feature Scatter's smaller batches see as many images.
BATCH_SIZE, SCATTER_BATCH_SIZE, SUBSET_BATCH_SIZE = 128, 60, 50
SCATTER_STEPS = STEPS * BATCH_SIZE // SCATTER_BATCH_SIZE


def decay(steps: int) -> tuple[tuple[int, float], ...]:
    """A tenth of the rate from half of the steps on, a hundredth from three quarters on."""
    return (steps // 2, 0.1), (3 * steps // 4, 0.01)


STANDARD = Experiment(
    "cifar10",
    "small_cnn",
    # The paper names no augmentation; its authors' program has the usual one.
    augment=(PadCropFlip(),),
    learning_rate=1e-3,
    batch_size=BATCH_SIZE,
    steps=STEPS,
    decay=decay(STEPS),
    validation=Validation(ATTACK, every=200, limit=500),
    precision="mixed_bfloat16",
)
_SCATTERED = dataclasses.replace(
    STANDARD, batch_size=SCATTER_BATCH_SIZE, steps=SCATTER_STEPS, decay=decay(SCATTER_STEPS)
)
# Batch norm of a larger net sees the attacked batch, as in the authors' program; Feature Scatter's attacks in inference
# mode, one step of epsilon.
_PGD = ("madry", {"attack": ATTACK, "crafting_mode": "training", "ramp_steps": STEPS // 4})
_SCATTER = ("feature_scatter", {"attack": Pgd(EPSILON, EPSILON, 1), "ramp_steps": SCATTER_STEPS // 4})


def _trades(beta: float) -> dict[str, Any]:
    """As its authors have it: epsilon 0.031, 10 steps of 0.007; beta is the paper's 1 / lambda."""
    return {"method": (("trades", {"attack": Pgd(0.031, 0.007, 10), "beta": beta, "ramp_steps": STEPS // 4}),)}


def _mixed(first: float, second: float) -> dict[str, Any]:
    """Feature Scatter with AVmixup, gamma 1 and lambda1 / lambda2; its own smoothing is not used."""
    mixup = {"gamma": 1.0, "clean_probability": first, "vertex_probability": second}
    return {"method": (_SCATTER, ("avmixup", mixup))}


_CHANGES: dict[str, dict[str, Any]] = {
    "pgd": {"method": (_PGD,)},
    "ls08": {"method": (_PGD,), "loss": LabelSmoothing(mass=0.2)},
    "ls09": {"method": (_PGD,), "loss": LabelSmoothing(mass=0.1)},
    "avmixup": {"method": (_PGD, ("avmixup", {"gamma": 2.0}))},
    "trades_1": _trades(1.0),
    "trades_6": _trades(6.0),
}
_SCATTER_CHANGES: dict[str, dict[str, Any]] = {
    "feature_scatter": {"method": (_SCATTER,)},
    "feature_scatter_avmixup": _mixed(0.5, 0.7),
    "feature_scatter_avmixup_01_05": _mixed(0.1, 0.5),
    "feature_scatter_avmixup_05_03": _mixed(0.5, 0.3),
    "feature_scatter_avmixup_10_05": _mixed(1.0, 0.5),
}
_SUBSET = dataclasses.replace(
    STANDARD,
    augment=(),
    batch_size=SUBSET_BATCH_SIZE,
    steps=SUBSET_STEPS,
    decay=decay(SUBSET_STEPS),
    validation=Validation(ATTACK, every=100, limit=1_000),
    limit=5_000,
)

EXPERIMENTS: dict[str, Experiment] = {
    f"avmixup_small/{name}": experiment
    for name, experiment in {
        "standard": STANDARD,
        **{name: dataclasses.replace(STANDARD, **changes) for name, changes in _CHANGES.items()},
        **{name: dataclasses.replace(_SCATTERED, **changes) for name, changes in _SCATTER_CHANGES.items()},
        **{f"subset_{name}": dataclasses.replace(_SUBSET, **_CHANGES[name]) for name in ("pgd", "ls08", "avmixup")},
    }.items()
}
