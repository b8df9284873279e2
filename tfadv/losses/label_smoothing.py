"""Cross-entropy against smoothed labels: the network is not asked for certainty, so its logits stay small."""

from __future__ import annotations

from typing import Any

import keras
import tensorflow as tf

from tfadv import soft_labels
from tfadv.losses.smoothed_cross_entropy import SmoothedCrossEntropy, smoothed_cross_entropy


@keras.saving.register_keras_serializable("tfadv")
def other_classes(y: tf.Tensor, logits: tf.Tensor) -> tf.Tensor:
    """q' = (1 - y) / (K-1), float32 [B, K]: evenly over the other classes, whatever the logits (LSV, eq. 5: SLS)."""
    return (1.0 - y) / (logits.shape[-1] - 1)


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
    return smoothed_cross_entropy(labels, logits, q_prime=other_classes, mass=mass)


@keras.saving.register_keras_serializable("tfadv")
class LabelSmoothing(SmoothedCrossEntropy):
    """`label_smoothing` for `compile()`.

    y_true: class numbers [B] or [B, 1], or distributions [B, K]; y_pred: logits [B, K].

    Args:
        mass: probability taken from the true class, in [0, 1]: delta of feature smoothing, alpha of the label-smoothing
            variants. For the others see `from_uniform_mixture` and `from_true_class_probability`.
        reduction, name, dtype: as in `keras.losses.Loss`. Keep `dtype` float32: class numbers travel in it.

    Raises:
        UserError: `mass` outside [0, 1].
    """

    @classmethod
    def from_uniform_mixture(cls, alpha: float, classes: int, **options: Any) -> LabelSmoothing:
        """Labels y - alpha (y - 1/K), as in "Logit squeezing" and as Keras' `label_smoothing`: mass alpha (K-1) / K."""
        return cls(soft_labels.mass_from_uniform_mixture(alpha, classes), **options)

    @classmethod
    def from_true_class_probability(cls, probability: float, **options: Any) -> LabelSmoothing:
        """Labels that leave `probability` on the true class, as in "Adversarial vertex mixup": mass 1 - probability."""
        return cls(soft_labels.mass_from_true_class_probability(probability), **options)

    def target(self, y: tf.Tensor, logits: tf.Tensor) -> tf.Tensor:
        return other_classes(y, logits)
