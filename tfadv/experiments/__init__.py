"""Experiments: data, no logic. `EXPERIMENTS` maps a name to what `tfadv.training.run` trains."""

from __future__ import annotations

from tfadv.experiments import attack_strength, defenses_cifar10, defenses_mnist, feature_smoothing_table1, quickstart
from tfadv.training import Experiment

EXPERIMENTS: dict[str, Experiment] = {
    **attack_strength.EXPERIMENTS,
    **defenses_cifar10.EXPERIMENTS,
    **defenses_mnist.EXPERIMENTS,
    **feature_smoothing_table1.EXPERIMENTS,
    **quickstart.EXPERIMENTS,
}
