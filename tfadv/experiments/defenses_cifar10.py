"""Defenses on CIFAR-10, epsilon 8/255: the CNN of the weight-decay paper, with and without L2, and a PreActResNet-18.

python -m trainers.survey --family=defenses_cifar10 --output=runs/survey
Adam at 1e-3, batches of 128 and label smoothing as "Adversarial training versus weight decay" has them (the smoothing's
mass is not printed; 0.1 stands in its program). Its schedule is 50 natural epochs and 200 of PGD; here it is 8 epochs
natural, or 3 and then 5 of PGD. The networks without PGD are no defenses but the twins to compare with.
"""

from __future__ import annotations

import dataclasses
from typing import Any

from tfadv.attacks import Pgd
from tfadv.augment import PadCropFlip
from tfadv.losses import LabelSmoothing
from tfadv.training import Experiment

EPSILON, NORM = 8 / 255, "linf"
_STEPS_OF_AN_EPOCH = 50_000 // 128
# 7 steps of 2/255 (section 5.1).
_PGD: dict[str, Any] = {
    "attack": Pgd(EPSILON, 2 / 255, 7, keep="last"),
    "start_step": 3 * _STEPS_OF_AN_EPOCH,
}
# The paper writes lambda = 1e-3 and does not say of what; its program's decay has the half, (lambda / 2) ||w||^2.
_L2 = 5e-4

NATURAL = Experiment(
    "cifar10", "wd_cnn", learning_rate=1e-3, batch_size=128, steps=8 * _STEPS_OF_AN_EPOCH, precision="mixed_bfloat16"
)
SMOOTHED = dataclasses.replace(NATURAL, loss=LabelSmoothing(mass=0.1))
_ADVERSARIAL = dataclasses.replace(SMOOTHED, method=(("madry", _PGD),))

EXPERIMENTS: dict[str, Experiment] = {
    f"defenses_cifar10/{name}": experiment
    for name, experiment in {
        "cnn": NATURAL,
        "cnn_label_smoothing": SMOOTHED,
        "cnn_l2": dataclasses.replace(SMOOTHED, l2=_L2),
        "cnn_pgd": _ADVERSARIAL,
        "cnn_pgd_l2": dataclasses.replace(_ADVERSARIAL, l2=_L2),
        "cnn_avmixup": dataclasses.replace(NATURAL, method=(("madry", _PGD), ("avmixup", {"gamma": 2.0}))),
        "preact_resnet18": dataclasses.replace(
            NATURAL,
            model="preact_resnet18",
            augment=(PadCropFlip(),),
            optimizer="sgd",
            momentum=0.9,
            nesterov=True,
            learning_rate=0.05,
            decay=((2 * _STEPS_OF_AN_EPOCH, 0.1),),
            l2=2.5e-4,
            steps=3 * _STEPS_OF_AN_EPOCH,
        ),
    }.items()
}
