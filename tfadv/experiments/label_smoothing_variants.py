"""Tables 2 to 6 of "Adversarial robustness via label-smoothing" (LSV): four variants, three masses, five set-ups.

python -m trainers.train --experiment=label_smoothing_variants/mnist_lenet_als_0.1 --workdir=runs/als
python -m trainers.reproduce --target=label_smoothing_variants/table2 --scale=short

The paper states neither optimizer, learning rate, batch size nor epochs. Here: SGD, batches of 100 and 50 epochs (for
ResNet18 50 and 150) as its authors' program has them by default or in its README (github.com/MGoibert/Label_smoothing),
and rate 0.1, the default of its training function. That of its command line, 1e-4, leaves these networks untrained.
Departures from the program: LeNets of MNIST start from random weights, where it goes on training a published network,
and the rate stays, where it falls by 10 when a validation loss rests. "Linear" is the perceptron of 500 and 256 units
that the program trains under this name. BLS weighs logits, as printed, and not probabilities.
PGD training as in the program that made the printed numbers: half of the loss on clean images, half on those of 3 steps
from the image itself, after one natural epoch (the program's are 20).
Expect about 98% clean accuracy of the perceptron, 99% of LeNet on MNIST and 60% on CIFAR-10; ResNet18 and SVHN are not
yet run. results/RESULTS.md has the measured accuracies beside the printed ones.
"""

from __future__ import annotations

import dataclasses
from typing import Any

from tfadv.attacks import Pgd
from tfadv.losses import (
    AdversarialLabelSmoothing,
    BoltzmannLabelSmoothing,
    LabelSmoothing,
    SecondBestLabelSmoothing,
)
from tfadv.training import Experiment

ALPHAS = (0.005, 0.1, 0.4)  # of the tables
MORE_ALPHAS = (0.2, 0.7)  # of ALS in figure 5, beside them
TEMPERATURE = 1.0  # of one more BLS; the others have the paper's 0.001
LOSSES: dict[str, Any] = {
    "als": AdversarialLabelSmoothing,
    "sls": LabelSmoothing,
    "bls": BoltzmannLabelSmoothing,
    "sbls": SecondBestLabelSmoothing,
}
NATURAL, PGD = "natural", "pgd"

_MNIST = Experiment("mnist", "mlp", optimizer="sgd", learning_rate=0.1, batch_size=100, steps=50 * 600)
_LENET = dataclasses.replace(_MNIST, model="lenet_mnist")
_CIFAR10 = dataclasses.replace(_MNIST, dataset="cifar10", model="lenet_cifar10", steps=50 * 500)
_RESNET = dataclasses.replace(_CIFAR10, model="resnet18", batch_size=50, steps=150 * 1000)
_SVHN = dataclasses.replace(_CIFAR10, dataset="svhn", steps=50 * 732)


def _pgd(experiment: Experiment, epsilon: float, step_size: float, epoch: int) -> Experiment:
    attack = Pgd(epsilon, step_size, 3, random_start=False, keep="last")
    settings = {"attack": attack, "clean_weight": 0.5, "start_step": epoch}
    return dataclasses.replace(experiment, method=(("madry", settings),))


def _smoothed(experiment: Experiment, names: tuple[str, ...], alphas: tuple[float, ...]) -> dict[str, Experiment]:
    return {
        f"{name}_{alpha:g}": dataclasses.replace(experiment, loss=LOSSES[name](mass=alpha))
        for name in names
        for alpha in alphas
    }


_BLS = dataclasses.replace(_LENET, loss=BoltzmannLabelSmoothing(mass=0.1, temperature=TEMPERATURE))
_SETUPS: dict[str, dict[str, Experiment]] = {
    "mnist_linear": {
        NATURAL: _MNIST,
        PGD: _pgd(_MNIST, 0.25, 0.1, 600),
        **_smoothed(_MNIST, tuple(LOSSES), ALPHAS),
    },
    "mnist_lenet": {
        NATURAL: _LENET,
        PGD: _pgd(_LENET, 0.25, 0.1, 600),
        **_smoothed(_LENET, tuple(LOSSES), ALPHAS),
        **_smoothed(_LENET, ("als",), MORE_ALPHAS),
        f"bls_0.1_temperature_{TEMPERATURE:g}": _BLS,
    },
    # Of these set-ups, some rows.
    "cifar10_lenet": {
        NATURAL: _CIFAR10,
        PGD: _pgd(_CIFAR10, 0.05, 0.02, 500),
        **_smoothed(_CIFAR10, ("als",), ALPHAS),
        **_smoothed(_CIFAR10, ("sls",), (0.1,)),
    },
    "cifar10_resnet18": {NATURAL: _RESNET, **_smoothed(_RESNET, ("als",), (0.1,))},
    "svhn_lenet": {NATURAL: _SVHN, PGD: _pgd(_SVHN, 0.05, 0.02, 732), **_smoothed(_SVHN, ("als",), (0.1,))},
}
EXPERIMENTS: dict[str, Experiment] = {
    f"label_smoothing_variants/{setup}_{name}": experiment
    for setup, experiments in _SETUPS.items()
    for name, experiment in experiments.items()
}
