"""The nets on which attacks are measured against other libraries: natural, adversarially trained, and squeezed.

python -m trainers.train --experiment=attack_strength/pgd_small --workdir=runs/pgd_small
MNIST, epsilon 0.3. `madry` is the net of Madry et al. 2018, whose cost per step the speed figures refer to; `small` is
a few times cheaper, so that a whole AutoAttack fits into minutes. `squeezed_small` is logit squeezing with Gaussian
noise: the gradients of its cross-entropy are small, and attacks differ on it.
Expect 98.7, 98.8, 98.0 and 98.8% clean accuracy in the order below.
"""

from __future__ import annotations

import dataclasses

from tfadv.attacks import Pgd
from tfadv.augment import GaussianNoise
from tfadv.losses import LogitSqueezing
from tfadv.training import Experiment

EPSILON = 0.3
_ATTACK = Pgd(EPSILON, EPSILON / 4, 10, keep="last")

NATURAL_SMALL = Experiment("mnist", "small_cnn", learning_rate=1e-3, batch_size=50, steps=4_000)
NATURAL_MADRY = dataclasses.replace(NATURAL_SMALL, model="madry_mnist", learning_rate=5e-4, precision="mixed_bfloat16")

EXPERIMENTS: dict[str, Experiment] = {
    "attack_strength/natural_small": NATURAL_SMALL,
    "attack_strength/pgd_small": dataclasses.replace(NATURAL_SMALL, train_attack=_ATTACK, ramp_steps=1_000),
    "attack_strength/squeezed_small": dataclasses.replace(
        NATURAL_SMALL, loss=LogitSqueezing(weight=0.5), augment=(GaussianNoise(stddev=0.5),)
    ),
    "attack_strength/natural_madry": NATURAL_MADRY,
}
