"""The fast gradient method (Goodfellow et al. 2015): one step of the full radius."""

from __future__ import annotations

import dataclasses
from typing import Any

import tensorflow as tf

from tfadv.attacks.pgd import Pgd, Predictor, pgd


@dataclasses.dataclass(frozen=True)
class Fgm:
    """Settings of `fgm`: FGSM for norm "linf", the normalized gradient for "l2".

    Attributes:
        epsilon: radius in input units (8/255 for images in [0, 1], never 8); a number or a tuple, one for each example.
        norm, objective, bounds: as in `Pgd`.
    """

    epsilon: Any = 8 / 255
    norm: str = "linf"
    objective: str = "cross_entropy"
    bounds: tuple[float, float] = (0.0, 1.0)

    def __post_init__(self) -> None:
        self.as_pgd()

    def as_pgd(self) -> Pgd:
        """The same attack as one step of PGD from the image, whose result is returned whether it fools or not."""
        return Pgd(
            epsilon=self.epsilon,
            step_size=self.epsilon,
            steps=1,
            norm=self.norm,
            objective=self.objective,
            random_start=False,
            keep="last",
            bounds=self.bounds,
        )


def fgm(model: Predictor, x: tf.Tensor, y: tf.Tensor, start: tf.Tensor, *, config: Fgm) -> tf.Tensor:
    """x + epsilon * argmax of <v, gradient> over the unit ball, clipped to bounds (arXiv:1412.6572, eq. in section 4).

    Args and returns as in `pgd`; start is ignored: the step leaves from x.
    """
    return pgd(model, x, y, x, config=config.as_pgd())
