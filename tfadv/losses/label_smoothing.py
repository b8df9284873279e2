"""Cross-entropy against smoothed labels: the network is not asked for certainty, so its logits stay small."""

from __future__ import annotations

from typing import Any

import keras
import tensorflow as tf

from tfadv import soft_labels
from tfadv.objectives import cross_entropy


def label_smoothing(labels: tf.Tensor, logits: tf.Tensor, *, mass: float) -> tf.Tensor:
    """-sum_k q_k log softmax(z)_k with q = mass / (K-1) (1 - y) + (1 - mass) y, per example.

    Feature smoothing (ICLR 2019 submission), sec. 2.2, L_LaS; eq. 5 (SLS) of "Adversarial robustness via
    label-smoothing" (Goibert and Dohmatob), whose theorem 1 says what it adds to cross-entropy:
    mass * ((K y - 1) / (K-1))' z.

    Args:
        labels: int [B] or [B, 1], or distributions [B, K].
        logits: [B, K].
        mass: probability taken from the true class, in [0, 1]; `tfadv.soft_labels` converts the papers' parameters.

    Returns:
        [B], nats, >= 0; `mass` 0 is cross-entropy.

    Raises:
        UserError: `mass` outside [0, 1], fewer than two classes, or labels of another shape.
    """
    return cross_entropy(soft_labels.smooth(labels, logits.shape[-1], mass), logits)


@keras.saving.register_keras_serializable("tfadv")
class LabelSmoothing(keras.losses.Loss):
    """`label_smoothing` for `compile()`.

    y_true: class numbers [B] or [B, 1], or distributions [B, K]; y_pred: logits [B, K].

    Args:
        mass: probability taken from the true class, in [0, 1]: delta of feature smoothing, alpha of the label-smoothing
            variants. For the others see `from_uniform_mixture` and `from_true_class_probability`.
        reduction, name, dtype: as in `keras.losses.Loss`. Keep `dtype` float32: class numbers travel in it.

    Raises:
        UserError: `mass` outside [0, 1].
    """

    def __init__(
        self,
        mass: float,
        reduction: str | None = "sum_over_batch_size",
        name: str = "label_smoothing",
        dtype: Any = None,
    ) -> None:
        super().__init__(name=name, reduction=reduction, dtype=dtype)
        self.mass = soft_labels.check_mass(mass)

    @classmethod
    def from_uniform_mixture(cls, alpha: float, classes: int, **options: Any) -> LabelSmoothing:
        """Labels y - alpha (y - 1/K), as in "Logit squeezing" and as Keras' `label_smoothing`: mass alpha (K-1) / K."""
        return cls(soft_labels.mass_from_uniform_mixture(alpha, classes), **options)

    @classmethod
    def from_true_class_probability(cls, probability: float, **options: Any) -> LabelSmoothing:
        """Labels that leave `probability` on the true class, as in "Adversarial vertex mixup": mass 1 - probability."""
        return cls(soft_labels.mass_from_true_class_probability(probability), **options)

    def call(self, y_true: tf.Tensor, y_pred: tf.Tensor) -> tf.Tensor:
        return label_smoothing(soft_labels.recast(y_true, y_pred), y_pred, mass=self.mass)

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "mass": self.mass}
