"""The nets that attacks are measured on: two architectures, and of the small one three ways of training."""

import dataclasses

from tfadv.experiments.attack_strength import EPSILON, EXPERIMENTS


def test_the_small_nets_differ_in_their_training_alone():
    natural, pgd, squeezed = (EXPERIMENTS[f"attack_strength/{name}_small"] for name in ("natural", "pgd", "squeezed"))
    assert dataclasses.replace(pgd, train_attack=None, ramp_steps=0) == natural
    assert dataclasses.replace(squeezed, loss=natural.loss, augment=()) == natural
    assert pgd.train_attack.epsilon == EPSILON
    assert type(squeezed.loss).__name__ == "LogitSqueezing"
    assert [type(each).__name__ for each in squeezed.augment] == ["GaussianNoise"]


def test_speed_is_measured_on_the_net_of_madry():
    assert EXPERIMENTS["attack_strength/natural_madry"].model == "madry_mnist"
