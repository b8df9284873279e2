"""Every experiment trains a step, and the index holds each under one name."""

import dataclasses
import math

import numpy as np
import pytest

from tfadv import data, training
from tfadv.experiments import EXPERIMENTS, attack_strength, feature_smoothing_table1, quickstart


def test_the_index_holds_every_experiment_of_every_file():
    modules = (attack_strength, feature_smoothing_table1, quickstart)
    assert len(EXPERIMENTS) == sum(len(module.EXPERIMENTS) for module in modules)
    for module in modules:
        assert module.EXPERIMENTS.items() <= EXPERIMENTS.items()


def test_no_two_experiments_train_the_same():
    described = [repr(training.describe(experiment)) for experiment in EXPERIMENTS.values()]
    assert len(set(described)) == len(described)


@pytest.mark.parametrize("name", sorted(EXPERIMENTS))
def test_an_experiment_takes_one_step_with_a_finite_loss_that_moves_every_weight(name):
    """On a batch of the digits, which have the shape of MNIST; attacks take two steps, to be quick."""
    experiment = dataclasses.replace(EXPERIMENTS[name], dataset="digits", limit=60)
    if experiment.train_attack is not None:
        attack = dataclasses.replace(experiment.train_attack, steps=2)
        experiment = dataclasses.replace(experiment, train_attack=attack)
    x, y = data.arrays(experiment.dataset, "train", limit=experiment.limit)
    trainee = training.build(experiment)
    before = trainee.get_weights()
    history = trainee.fit(training.batches(experiment, x, y, 0, 1), verbose=0).history
    assert math.isfinite(history["loss"][0])
    assert all(np.abs(after - old).max() > 0 for after, old in zip(trainee.get_weights(), before, strict=True))
