"""CNN and CNN-L2 of "Adversarial training versus weight decay", section 6, on CIFAR-10 with the paper's schedule.

python -m trainers.train --experiment=weight_decay_cifar10/cnn_l2 --workdir=runs/cnn_l2
250 epochs: 50 on images, then 200 on those of PGD, 7 steps of 2/255 within 8/255. The two natural networks are twins to
compare with, trained on images throughout. `defenses_cifar10` has the same networks with PGD from epoch 3 on, which are
of use after fewer epochs. Not yet run: a step of PGD takes seven times as long as one without.
"""

from __future__ import annotations

import dataclasses

from tfadv.experiments import defenses_cifar10
from tfadv.training import Experiment

EPOCH = 50_000 // 128  # steps
EPOCHS, NATURAL_EPOCHS = 250, 50


def _as_printed(twin: str) -> Experiment:
    """A network of `defenses_cifar10`, trained for as long as the paper has it."""
    experiment = defenses_cifar10.EXPERIMENTS[f"defenses_cifar10/{twin}"]
    method = tuple((name, {**settings, "start_step": NATURAL_EPOCHS * EPOCH}) for name, settings in experiment.method)
    return dataclasses.replace(experiment, method=method, steps=EPOCHS * EPOCH)


EXPERIMENTS: dict[str, Experiment] = {
    f"weight_decay_cifar10/{name}": _as_printed(twin)
    for name, twin in {
        "cnn": "cnn_pgd",
        "cnn_l2": "cnn_pgd_l2",
        "cnn_natural": "cnn_label_smoothing",
        "cnn_l2_natural": "cnn_l2",
    }.items()
}
