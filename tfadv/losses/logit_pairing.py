"""Logit pairing: the logits of two inputs are drawn together, of an input and its attack, or of two clean inputs.

"Adversarial logit pairing" (Kannan, Kurakin and Goodfellow 2018, arXiv:1803.06373). Clean logit pairing pairs random
inputs, mostly of different classes, and so works as a penalty on the size and the spread of the logits: it needs no
attack, and what it gains against gradient attacks is largely masked gradients ("Logit pairing methods can fool
gradient-based attacks", Mosbach et al. 2018, arXiv:1810.12042). Evaluate it with more than PGD.
"""

from __future__ import annotations

import keras
import tensorflow as tf

from tfadv.losses.penalized_cross_entropy import PenalizedCrossEntropy, penalized_cross_entropy
from tfadv.validation import UserError


def logit_pairing(logits: tf.Tensor, other_logits: tf.Tensor) -> tf.Tensor:
    """(1/K) sum_k (z_k - z'_k)^2 = ||z - z'||_2^2 / K, for each pair.

    The convention of the authors' released program (adversarial_logit_pairing/train.py of tensorflow/models), where
    the loss adds weight * (the mean of the squared differences over pairs and classes): the mean of what is returned
    here. A source that prints weight * ||z - z'||_2^2 needs K times its weight. The gradient flows into both.

    Args:
        logits: [B, K].
        other_logits: [B, K], row i the partner of row i.

    Returns:
        float32 [B], squared logit units, >= 0.

    Raises:
        UserError: shapes that differ, or are not [B, K].
    """
    logits, other_logits = tf.cast(logits, tf.float32), tf.cast(other_logits, tf.float32)
    if logits.shape.rank != 2 or not logits.shape.is_compatible_with(other_logits.shape):
        raise UserError(
            f"logits and other_logits must have one shape [B, K], got {logits.shape} and {other_logits.shape}; "
            "pass the logits of the partners in the order of the pairs"
        )
    return tf.reduce_mean(tf.math.squared_difference(logits, other_logits), axis=-1)


def pairing_within_batch(logits: tf.Tensor) -> tf.Tensor:
    """`logit_pairing` of each example with the one half a batch further on, round the end: [B].

    In a batch of even size B these are the pairs (i, i + B/2) of the released program, each listed at both of its
    members, so that the mean over the batch is the mean over the pairs. In an odd one, where that program fails, the
    shift is (B-1)/2 and the pairs form a ring: every example is in two pairs, as before, and the mean over the batch is
    again the mean over the pairs. A batch of one is its own partner and pays 0.

    Args:
        logits: [B, K]. In a shuffled pipeline the pairs are random; in one ordered by class they are not.
    """
    return logit_pairing(logits, tf.roll(logits, tf.shape(logits)[0] // 2, axis=0))


def clean_logit_pairing(labels: tf.Tensor, logits: tf.Tensor, *, weight: float) -> tf.Tensor:
    """CE(y_i, z_i) + weight * ||z_i - z_j||_2^2 / K with the partner j of `pairing_within_batch`, per example.

    Args:
        labels: int [B] or [B, 1], or distributions [B, K].
        logits: [B, K], of a shuffled batch.
        weight: lambda, nats for each squared logit unit, >= 0.

    Returns:
        [B], nats, >= 0; `weight` 0 is cross-entropy.
    """
    return penalized_cross_entropy(labels, logits, penalty=pairing_within_batch, weight=weight)


@keras.saving.register_keras_serializable("tfadv")
class CleanLogitPairing(PenalizedCrossEntropy):
    """`clean_logit_pairing` for `compile()`. Arguments and errors as in `PenalizedCrossEntropy`.

    With the default reduction it is the mean cross-entropy + weight * (the mean over pairs and classes of the squared
    difference). An example's loss depends on its partner's logits. Under `tf.distribute` pairs are within a replica's
    share of the batch.
    """

    def penalty(self, logits: tf.Tensor) -> tf.Tensor:
        return pairing_within_batch(logits)
