"""Experiments: data, no logic. `EXPERIMENTS` maps a name to what `tfadv.training.run` trains."""

from __future__ import annotations

from tfadv.experiments import (
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
from tfadv.training import Experiment

EXPERIMENTS: dict[str, Experiment] = {
    **attack_strength.EXPERIMENTS,
    **avmixup_small.EXPERIMENTS,
    **defenses_cifar10.EXPERIMENTS,
    **defenses_mnist.EXPERIMENTS,
    **feature_smoothing_table1.EXPERIMENTS,
    **label_smoothing_variants.EXPERIMENTS,
    **logit_squeezing_mnist.EXPERIMENTS,
    **quickstart.EXPERIMENTS,
    **weight_decay_cifar10.EXPERIMENTS,
}
