"""Every experiment trains a step, and the index holds each under one name."""

import dataclasses
import math

import numpy as np
import pytest

from tfadv import data, training
from tfadv.experiments import (
    EXPERIMENTS,
    attack_strength,
    avmixup_small,
    defenses_cifar10,
    defenses_mnist,
    feature_smoothing_table1,
    label_smoothing_variants,
    logit_squeezing_mnist,
    quickstart,
    weight_decay_cifar10,
)


def test_the_index_holds_every_experiment_of_every_file():
    modules = (
        attack_strength,
        avmixup_small,
        defenses_cifar10,
        defenses_mnist,
        feature_smoothing_table1,
        label_smoothing_variants,
        logit_squeezing_mnist,
        quickstart,
        weight_decay_cifar10,
    )
    assert len(EXPERIMENTS) == sum(len(module.EXPERIMENTS) for module in modules)
    for module in modules:
        assert module.EXPERIMENTS.items() <= EXPERIMENTS.items()


def test_no_two_experiments_train_the_same():
    described = [repr(training.describe(experiment)) for experiment in EXPERIMENTS.values()]
    assert len(set(described)) == len(described)


def shortened(attack):
    return dataclasses.replace(attack, steps=2)


@pytest.mark.parametrize("name", sorted(EXPERIMENTS))
def test_an_experiment_takes_one_step_with_a_finite_loss_that_moves_every_weight(name):
    """On made-up images of its data set's shape, 20 at most; attacks take two steps. Eagerly: tracing takes longer."""
    experiment = EXPERIMENTS[name]
    experiment = dataclasses.replace(experiment, batch_size=min(experiment.batch_size, 20))
    if experiment.train_attack is not None:
        experiment = dataclasses.replace(experiment, train_attack=shortened(experiment.train_attack))
    method = tuple(
        (kind, {key: shortened(value) if key == "attack" else value for key, value in settings.items()})
        for kind, settings in experiment.method
    )
    experiment = dataclasses.replace(experiment, method=method)
    spec = data.find(experiment.dataset)
    x = np.random.default_rng(0).random((20, *spec.shape), np.float32)
    y = (np.arange(20) % spec.classes).astype(np.int32)
    trainee = training.build(experiment)
    before = trainee.get_weights()
    ((images, labels),) = training.batches(experiment, x, y, 0, 1)
    assert math.isfinite(float(trainee.update(images, labels).loss))
    assert all(np.abs(after - old).max() > 0 for after, old in zip(trainee.get_weights(), before, strict=True))
