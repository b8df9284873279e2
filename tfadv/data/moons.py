"""Two moons: points of the plane in two interlocking half circles, computed (LSV, figure 4).

The moons of `simulated.two_moons` with noise 0.1, moved and shrunk into the unit square by one factor for both axes, so
that attacks find them in the box [0, 1] and distances keep their proportions: a quarter of a unit is the radius of a
moon. LSV states neither noise nor size; these are ours.
"""

from __future__ import annotations

import numpy as np

from tfadv.data.simulated import two_moons
from tfadv.data.spec import Arrays, DatasetSpec

NOISE = 0.1
EXAMPLES = 1_000
SCALE = 0.25
# The moons fill [-1, 2] x [-1/2, 1], whose middle goes to that of the unit square.
CENTER = (0.5, 0.25)
_SEEDS = {"train": 0, "test": 1}


def read(split: str) -> Arrays:
    """The points x float32 [1000, 2] in [0, 1] and labels y int32 [1000] of "train" or "test"."""
    x, y = two_moons(EXAMPLES, noise=NOISE, seed=_SEEDS[split])
    # The square's edges are five deviations of the noise away.
    return np.clip((x - np.asarray(CENTER, np.float32)) * np.float32(SCALE) + np.float32(0.5), 0.0, 1.0), y


SPEC = DatasetSpec(
    name="moons",
    shape=(2,),
    classes=2,
    splits={"train": EXAMPLES, "test": EXAMPLES},
    class_names=("upper", "lower"),
    embedded=read,
)
