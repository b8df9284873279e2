"""Every defense and every method of adversarial training on MNIST, one small network each, epsilon 0.3.

python -m trainers.survey --family=defenses_mnist --output=runs/survey
4 epochs each: enough to see what a method does, far from any paper's schedule. Expect 97 to 99% clean accuracy, and
read the column of AutoAttack: the others flatter what hides gradients.
"""

from __future__ import annotations

import dataclasses
from typing import Any

from tfadv.adversarial import fast_attack
from tfadv.attacks import Pgd
from tfadv.augment import DisturbLabel, FeatureSmoothing, GaussianNoise, Mixup
from tfadv.losses import (
    AdversarialLabelSmoothing,
    BoltzmannLabelSmoothing,
    CleanLogitPairing,
    ConfidencePenalty,
    LabelSmoothing,
    LogitSqueezing,
    SecondBestLabelSmoothing,
)
from tfadv.training import Experiment

EPSILON, NORM = 0.3, "linf"
_ATTACK = Pgd(EPSILON, EPSILON / 4, 10, keep="last")
# From full strength on, small networks stay at the uniform prediction.
_CRAFTED: dict[str, Any] = {"attack": _ATTACK, "ramp_steps": 1_200}

NATURAL = Experiment("mnist", "small_cnn", learning_rate=1e-3, batch_size=50, steps=4_800)


def _with(**changes: Any) -> Experiment:
    return dataclasses.replace(NATURAL, **changes)


def _method(*layers: tuple[str, dict[str, Any]]) -> Experiment:
    return _with(method=layers)


EXPERIMENTS: dict[str, Experiment] = {
    f"defenses_mnist/{name}": experiment
    for name, experiment in {
        "natural": NATURAL,
        "label_smoothing": _with(loss=LabelSmoothing(mass=0.1)),
        "adversarial_label_smoothing": _with(loss=AdversarialLabelSmoothing(mass=0.1)),
        "boltzmann_label_smoothing": _with(loss=BoltzmannLabelSmoothing(mass=0.1)),
        "second_best_label_smoothing": _with(loss=SecondBestLabelSmoothing(mass=0.1)),
        "logit_squeezing": _with(loss=LogitSqueezing(weight=0.5)),
        "logit_squeezing_noise": _with(loss=LogitSqueezing(weight=0.5), augment=(GaussianNoise(stddev=0.5),)),
        "clean_logit_pairing": _with(loss=CleanLogitPairing(weight=0.5), augment=(GaussianNoise(stddev=0.5),)),
        "confidence_penalty": _with(loss=ConfidencePenalty(weight=0.1)),
        "disturb_label": _with(augment=(DisturbLabel(rate=0.1, classes=10),)),
        "noise": _with(augment=(GaussianNoise(stddev=0.5),)),
        "feature_smoothing": _with(augment=(FeatureSmoothing(new_points=10),)),
        "mixup": _with(augment=(Mixup(new_points=10, classes=10),)),
        "l2": _with(l2=5e-4),
        "l1": _with(l1=5e-5),
        "madry": _method(("madry", _CRAFTED)),
        "madry_label_smoothing": dataclasses.replace(_method(("madry", _CRAFTED)), loss=LabelSmoothing(mass=0.1)),
        "fast": _method(("madry", {"attack": fast_attack(EPSILON), "ramp_steps": 1_200})),
        "trades": _method(("trades", {**_CRAFTED, "beta": 1.0})),
        "mart": _method(("mart", _CRAFTED)),
        "logit_pairing": _method(("logit_pairing", _CRAFTED)),
        "awp": _method(("madry", _CRAFTED), ("awp", {"gamma": 0.01})),
        "feature_scatter": _method(("feature_scatter", {"attack": Pgd(EPSILON, EPSILON, 1), "ramp_steps": 1_200})),
        "avmixup": _method(("madry", _CRAFTED), ("avmixup", {"gamma": 2.0})),
    }.items()
}
