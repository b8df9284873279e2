"""Cross-entropy less the entropy of the prediction: the network pays for confidence itself, not for large logits.

"Regularizing neural networks by penalizing confident output distributions" (Pereyra et al. 2017, arXiv:1701.06548).
-H(p) = KL(p || u) - log K with the uniform distribution u, where label smoothing toward u adds KL(u || p): the same two
distributions in the other direction, so that classes of tiny probability cost almost nothing here.
"""

from __future__ import annotations

import keras
import tensorflow as tf

from tfadv.losses.penalized_cross_entropy import PenalizedCrossEntropy, penalized_cross_entropy


def negative_entropy(logits: tf.Tensor) -> tf.Tensor:
    """-H(p) = sum_k p_k log p_k with p = softmax(z), for each row of `logits` [B, K]: [B], nats, in [-log K, 0]."""
    log_p = tf.nn.log_softmax(logits)
    return tf.reduce_sum(tf.exp(log_p) * log_p, axis=-1)


def confidence_penalty(labels: tf.Tensor, logits: tf.Tensor, *, weight: float) -> tf.Tensor:
    """CE(y_i, z_i) - weight * H(softmax(z_i)), per example.

    Args:
        labels: int [B] or [B, 1], or distributions [B, K].
        logits: [B, K].
        weight: beta, dimensionless, >= 0.

    Returns:
        [B], nats, >= -weight * log K; `weight` 0 is cross-entropy.
    """
    return penalized_cross_entropy(labels, logits, penalty=negative_entropy, weight=weight)


@keras.saving.register_keras_serializable("tfadv")
class ConfidencePenalty(PenalizedCrossEntropy):
    """`confidence_penalty` for `compile()`. Arguments and errors as in `PenalizedCrossEntropy`."""

    def penalty(self, logits: tf.Tensor) -> tf.Tensor:
        return negative_entropy(logits)
