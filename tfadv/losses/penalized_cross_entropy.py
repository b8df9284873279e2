"""Cross-entropy plus a penalty on the logits: the frame of logit squeezing, logit pairing, confidence penalty."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import keras
import tensorflow as tf

from tfadv import soft_labels
from tfadv.losses.parameters import check_weight, snake_case
from tfadv.objectives import cross_entropy

# logits float32 [B, K] -> [B]
Penalty = Callable[[tf.Tensor], tf.Tensor]


def penalized_cross_entropy(labels: tf.Tensor, logits: tf.Tensor, *, penalty: Penalty, weight: float) -> tf.Tensor:
    """CE(y_i, z_i) + weight * penalty(Z)_i, per example.

    Args:
        labels: int [B] or [B, 1], or distributions [B, K].
        logits: [B, K].
        penalty: logits [B, K] -> [B].
        weight: >= 0, nats for each unit of the penalty.

    Returns:
        [B], nats; `weight` 0 is cross-entropy.
    """
    logits = tf.cast(logits, tf.float32)
    return cross_entropy(labels, logits) + weight * penalty(logits)


class PenalizedCrossEntropy(keras.losses.Loss):
    """`penalized_cross_entropy` for `compile()`: the base of the losses that penalize logits.

    A subclass gives `penalty` and is registered with Keras.

    y_true: class numbers [B] or [B, 1], or distributions [B, K]; y_pred: logits [B, K].

    Args:
        weight: >= 0; 0 is cross-entropy.
        reduction, dtype: as in `keras.losses.Loss`. Keep `dtype` float32: class numbers travel in it.
        name: None is the name of the class, in snake case.

    Raises:
        UserError: `weight` negative or not finite.
    """

    def __init__(
        self, weight: float, reduction: str | None = "sum_over_batch_size", name: str | None = None, dtype: Any = None
    ) -> None:
        super().__init__(name=name or snake_case(type(self).__name__), reduction=reduction, dtype=dtype)
        self.weight = check_weight(weight)

    def penalty(self, logits: tf.Tensor) -> tf.Tensor:
        """The penalty [B] of float32 logits [B, K]."""
        raise NotImplementedError(f"{type(self).__name__} must implement penalty(logits)")

    def call(self, y_true: tf.Tensor, y_pred: tf.Tensor) -> tf.Tensor:
        labels = soft_labels.recast(y_true, y_pred)
        return penalized_cross_entropy(labels, y_pred, penalty=self.penalty, weight=self.weight)

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "weight": self.weight}
