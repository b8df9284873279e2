"""The quickstart's four experiments of each data set differ in their defense alone."""

import dataclasses

import pytest

from tfadv import data, training
from tfadv.attacks import Pgd
from tfadv.experiments.quickstart import EPSILON, EXPERIMENTS


@pytest.mark.parametrize("dataset", ["digits", "mnist"])
def test_three_models_and_a_source_for_each_data_set(dataset):
    natural, cheap, adversarial, source = (
        EXPERIMENTS[f"quickstart_{dataset}/{name}"] for name in ("natural", "cheap", "adversarial", "source")
    )
    assert natural.dataset == dataset
    assert (natural.augment, natural.train_attack) == ((), None)
    described = training.describe(cheap)
    assert described["loss"]["class"] == "LogitSqueezing"
    assert [each["class"] for each in described["augment"]] == ["FeatureSmoothing", "GaussianNoise"]
    assert dataclasses.replace(cheap, loss=natural.loss, augment=()) == natural
    assert dataclasses.replace(adversarial, train_attack=None, ramp_steps=0) == natural
    assert dataclasses.replace(source, seed=natural.seed) == natural
    assert source.seed != natural.seed


@pytest.mark.parametrize(("dataset", "epsilon"), [("digits", 0.2), ("mnist", 0.3)])
def test_adversarial_training_meets_pgd_10_of_the_radius_of_the_evaluation(dataset, epsilon):
    attack = EXPERIMENTS[f"quickstart_{dataset}/adversarial"].train_attack
    assert isinstance(attack, Pgd)
    assert EPSILON[dataset] == attack.epsilon == epsilon
    assert (attack.norm, attack.steps, attack.random_start) == ("linf", 10, True)
    assert attack.steps * attack.step_size >= 2 * epsilon  # enough to cross the ball


def test_the_digits_train_for_about_fifteen_epochs():
    for experiment in EXPERIMENTS.values():
        if experiment.dataset == "digits":
            images = data.DATASETS["digits"].splits["train"]
            assert 14 <= experiment.steps * experiment.batch_size / images <= 16
