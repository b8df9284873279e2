"""MNIST, the ten rows of table 1 of "Theoretical and empirical study of adversarial examples" (feature smoothing).

python -m trainers.train --experiment=feature_smoothing_table1/los_noise_fs --workdir=runs/los_noise_fs

Settings as printed: the Madry MNIST net, Adam 1e-4, batch 50, 200 epochs (240,000 steps); noise 0.5, logit squeezing
0.2 (unsquared, batch mean), label smoothing 0.1, mixup Beta(8, 8), feature smoothing 0.3, 10 new points on each batch.
Our readings: the new points are added to the 50 (batch 60), then noise and clipping apply to all of them.
Expect: about 50 steps/s in mixed_bfloat16 on two cores; clean accuracy about 99 %. results/RESULTS.md has the measured
accuracies beside the printed ones.
"""

from __future__ import annotations

import dataclasses

from tfadv.augment import FeatureSmoothing, GaussianNoise, Mixup
from tfadv.losses import LabelSmoothing, LogitSqueezing
from tfadv.training import Experiment

CLEAN = Experiment(
    dataset="mnist",
    model="madry_mnist",
    loss=LabelSmoothing(mass=0.0),
    optimizer="adam",
    learning_rate=1e-4,
    batch_size=50,
    steps=240_000,
    precision="mixed_bfloat16",
    seed=0,
)

_NOISE = GaussianNoise(stddev=0.5)
_FS = FeatureSmoothing(alpha=0.3, new_points=10)
_MIXUP = Mixup(alpha=8.0, new_points=10)
_LOS = LogitSqueezing(weight=0.2, power=1, extent="example")
_LAS = LabelSmoothing(mass=0.1)

EXPERIMENTS: dict[str, Experiment] = {
    f"feature_smoothing_table1/{name}": dataclasses.replace(CLEAN, **changes)  # type: ignore[arg-type]
    for name, changes in {
        "clean": {},
        "noise": {"augment": (_NOISE,)},
        "los": {"loss": _LOS},
        "las": {"loss": _LAS},
        "mixup": {"augment": (_MIXUP,)},
        "fs": {"augment": (_FS,)},
        "los_noise": {"loss": _LOS, "augment": (_NOISE,)},
        "las_noise": {"loss": _LAS, "augment": (_NOISE,)},
        "los_noise_mixup": {"loss": _LOS, "augment": (_MIXUP, _NOISE)},
        "los_noise_fs": {"loss": _LOS, "augment": (_FS, _NOISE)},
        # The source of the black-box columns: naturally trained, as in Madry et al., whom the paper follows there.
        "copy": {"seed": 1},
    }.items()
}
