"""How robust a classifier in whole numbers is: rounding hides gradients, so it is attacked without using its own."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import tensorflow as tf

from tfadv import attacks
from tfadv.attacks.search import Attack
from tfadv.models import bpda, predictor
from tfadv.report.tables import Table, percent
from tfadv.validation import UserError, check_images, check_labels

_BATCH_SIZE = 500


@dataclasses.dataclass(frozen=True)
class Withstood:
    """Which examples one model classifies correctly, bool [N] each.

    Attributes:
        clean: as they are.
        transferred: after the attack on the float model.
        guided: after the attack on this model's logits with the float model's gradient.
        searched: after Square on this model.
    """

    clean: np.ndarray
    transferred: np.ndarray
    guided: np.ndarray
    searched: np.ndarray

    @property
    def worst(self) -> np.ndarray:
        """In all these cases."""
        return self.clean & self.transferred & self.guided & self.searched


@dataclasses.dataclass(frozen=True)
class Quantized:
    """What the float model and the quantized one withstand, and the two attacks."""

    real: Withstood
    quantized: Withstood
    attack: Attack
    square: attacks.Square

    def table(self) -> Table:
        """Accuracy of both, in percent; for the float model the first two attacks are the same white-box attack."""
        count = len(self.real.clean)

        def cells(own: Withstood) -> tuple[str, ...]:
            shares = (own.clean, own.transferred, own.guided, own.searched, own.worst)
            return tuple(percent(float(each.mean()), count) for each in shares)

        kind = type(self.attack).__name__
        attacked = (f"{kind} on the float32 model", f"{kind} by its gradient", f"Square, {self.square.queries} queries")
        return Table(
            ("model", "clean", *attacked, "worst of these"),
            (("float32", *cells(self.real)), ("quantized", *cells(self.quantized))),
            f"Accuracy on {count} images, {self.square.norm} radius {self.square.epsilon:.4g}.",
        )


def robust_accuracy_by_transfer(
    model: Any, quantized: Any, x: Any, y: Any, attack: Attack, *, queries: int = 1000, seed: int = 0
) -> Quantized:
    """Attacks `quantized` with what the float model knows, by transfer and by its gradient, and by Square.

    Gradients through rounding are zero almost everywhere, so an attack that follows them finds nothing, and what it
    leaves says nothing (Athalye et al. 2018, arXiv:1802.00420). The float model has nearly the same decision boundary
    and useful gradients: its examples are tried on the quantized one, and its gradient guides a search that looks at
    the quantized one's logits (`tfadv.models.bpda`). Square asks the quantized model itself, and for its logits only.

    Args:
        model: the float model, as in `tfadv.attacks.compiled`.
        quantized: a `TfliteClassifier`, or any other function from images to logits.
        x, y: images float32 [N, ...] in [0, 1] and labels int [N].
        attack: an untargeted attack with one epsilon, in linf or l2. With keep="last" its examples go on beyond the
            float model's boundary, and transfer better.
        queries, seed: of Square.

    Raises:
        UserError: a targeted attack or one without an epsilon, and as in `tfadv.attacks.compiled`.
    """
    radius = getattr(attack, "epsilon", None)
    if attack.targeted or radius is None or np.ndim(radius):
        raise UserError(f"attack must be untargeted and have one epsilon, got {attack!r}")
    square = attacks.Square(epsilon=radius, norm=attack.norm, queries=queries, seed=seed)
    x = check_images(x)
    y = check_labels(y, len(x))
    real, rounded = predictor(model), predictor(quantized)
    transferred = attacks.transfer(model, quantized, attack, x, y)
    guided = attacks.compiled(bpda(rounded, backward=real), attack, jit="off").run(x, y)

    def searched(target: Any, jit: str) -> np.ndarray:
        return ~attacks.compiled(target, square, jit=jit).run(x, y).adversarial

    white_box = _right(real, transferred.x_adv, y)
    return Quantized(
        Withstood(_right(real, x, y), white_box, white_box, searched(model, "auto")),
        Withstood(
            _right(rounded, x, y), ~transferred.adversarial, ~guided.ever_adversarial, searched(quantized, "off")
        ),
        attack,
        square,
    )


def _right(predict: Any, x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Which images are classified correctly, bool [N]."""
    batches = [tf.constant(x[at : at + _BATCH_SIZE]) for at in range(0, len(x), _BATCH_SIZE)]
    return np.concatenate([np.argmax(predict(batch), axis=1) for batch in batches]) == y
