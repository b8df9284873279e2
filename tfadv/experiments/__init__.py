"""Experiments: data, no logic. `EXPERIMENTS` maps a name to what `tfadv.training.run` trains."""

from __future__ import annotations

from tfadv.experiments import feature_smoothing_table1, quickstart
from tfadv.training import Experiment

EXPERIMENTS: dict[str, Experiment] = {**feature_smoothing_table1.EXPERIMENTS, **quickstart.EXPERIMENTS}
