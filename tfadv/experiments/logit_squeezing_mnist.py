"""MNIST of "Label smoothing and logit squeezing" (LSQ): the rows of table 5, and what its figures show beside them.

python -m trainers.train --experiment=logit_squeezing_mnist/0_0.5_0.5_batch --workdir=runs/squeezed

Names are alpha_beta_sigma as in the printed rows: label smoothing y - alpha (y - 1/K), logit squeezing beta, Gaussian
noise sigma (pixels in [0, 1]). The paper takes "the same architecture and hyper-parameters" as Madry et al.: their
MNIST net, Adam 1e-4, batch 50; most rows are trained for 400,000 steps, some for 100,000 or 2,000,000.
Equation 5, a sum of losses plus beta ||z||_2, does not say of what the norm is; each of `READINGS` is (power, extent)
of `tfadv.losses.LogitSqueezing`. `adversarial_strong` and `adversarial_weak` are those of footnotes 1 and 2.
Expect: about 30 steps/s in mixed_bfloat16 on one core, clean accuracy about 99%. The readings differ: with beta 10 the
one named "batch" collapses.
"""

from __future__ import annotations

import dataclasses

from tfadv.attacks import Pgd
from tfadv.augment import GaussianNoise
from tfadv.experiments.feature_smoothing_table1 import CLEAN
from tfadv.losses import LabelSmoothing, LogitSqueezing
from tfadv.training import Experiment

EPSILON = 0.3
BATCH, EXAMPLE, SQUARED = "batch", "example", "squared"
READINGS: dict[str, tuple[int, str]] = {BATCH: (1, "batch"), EXAMPLE: (1, "example"), SQUARED: (2, "example")}
STRONG, WEAK = "logit_squeezing_mnist/adversarial_strong", "logit_squeezing_mnist/adversarial_weak"

# The clean net of feature smoothing's table 1, whose paper takes Madry et al.'s settings too, for longer.
NATURAL = dataclasses.replace(CLEAN, steps=400_000)

# (alpha, beta, sigma); the first two are not printed in table 5: the natural net, and figure 7's squeezing alone.
GRID: tuple[tuple[float, float, float], ...] = (
    (0, 0, 0),
    (0, 0.5, 0),
    *((0, 0, sigma) for sigma in (0.3, 0.5, 0.7, 1.0)),
    *((0, 2, sigma) for sigma in (0, 0.3, 0.5)),
    *((0, beta, 0.5) for beta in (0.5, 5, 10)),
    *((0.2, 0, sigma) for sigma in (0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7)),
    *((0.5, 0, sigma) for sigma in (0.3, 0.5, 0.7)),
    *((0.75, 0, sigma) for sigma in (0, 0.3, 0.5, 0.7)),
    *((0.95, 0, sigma) for sigma in (0, 0.3, 0.5)),
)
# With noise 0.5 every reading is trained: these rows decide between them.
DECIDING = (0.5, 2.0, 5.0, 10.0)


def name(alpha: float, beta: float, sigma: float, reading: str = BATCH) -> str:
    """The experiment of a row; `reading` matters where beta > 0."""
    return f"logit_squeezing_mnist/{alpha:g}_{beta:g}_{sigma:g}" + f"_{reading}" * (beta > 0)


def _defense(alpha: float, beta: float, sigma: float, reading: str = BATCH) -> Experiment:
    loss = LabelSmoothing.from_uniform_mixture(alpha, classes=10)
    return dataclasses.replace(
        NATURAL,
        loss=LogitSqueezing(beta, *READINGS[reading]) if beta else loss,
        augment=(GaussianNoise(stddev=sigma),) if sigma else (),
    )


EXPERIMENTS: dict[str, Experiment] = {
    **{name(*row): _defense(*row) for row in GRID},
    **{
        name(0, beta, 0.5, reading): _defense(0, beta, 0.5, reading)
        for reading in (EXAMPLE, SQUARED)
        for beta in DECIDING
    },
    # 100,000 steps as in the authors' program for Madry et al.; the paper does not say.
    STRONG: dataclasses.replace(NATURAL, train_attack=Pgd(EPSILON, 0.01, 40, keep="last"), steps=100_000),
    WEAK: dataclasses.replace(NATURAL, train_attack=Pgd(EPSILON, 0.2, 2, keep="last"), steps=100_000),
}
