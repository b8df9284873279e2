"""Cross-entropy plus a penalty on the size of the logits: a small gap between logits is what noise training then uses.

The papers disagree on the penalty, so each reading is a function of its own:

- Feature smoothing (ICLR 2019 submission), L_LoS: (1/m) sum_i ||z_i||_2, unsquared: `norm_of_each`.
- "Label smoothing and logit squeezing" (Shafahi et al.), eq. 5: sum_i CE_i + beta ||z||_2. Read example by example,
  z = 0 is the exact minimizer once beta >= sqrt((K-1)/K) (0.949 for K = 10), so that the paper's working beta of 2
  to 10 cannot be that. Two readings remain: the square, `squared_norm_of_each`, or one norm of the whole batch's
  logit matrix beside the *summed* cross-entropy, `share_of_batch_norm`; there the collapse comes at sqrt(B) times
  0.949 (6.7 at batch 50, 10.7 at batch 128).
"""

from __future__ import annotations

import math
import numbers
from collections.abc import Callable
from typing import Any

import keras
import tensorflow as tf

from tfadv import soft_labels
from tfadv.objectives import cross_entropy
from tfadv.validation import UserError

Penalty = Callable[[tf.Tensor], tf.Tensor]


def norm_of_each(logits: tf.Tensor) -> tf.Tensor:
    """||z_i||_2 for each row of `logits` [B, K]: [B], logit units. The gradient at z = 0 is 0."""
    return _root(squared_norm_of_each(logits))


def squared_norm_of_each(logits: tf.Tensor) -> tf.Tensor:
    """||z_i||_2^2 for each row of `logits` [B, K]: [B], squared logit units."""
    return tf.reduce_sum(tf.square(logits), axis=-1)


def share_of_batch_norm(logits: tf.Tensor) -> tf.Tensor:
    """||Z||_F / B for every row of `logits` Z [B, K]: [B], equal entries that sum to the Frobenius norm of the batch.

    The gradient at Z = 0 is 0.
    """
    each = squared_norm_of_each(logits)
    share = _root(tf.reduce_sum(each)) / tf.cast(tf.size(each), each.dtype)
    return tf.ones_like(each) * share


# A squared Frobenius norm is the sum of the squared rows, so its natural share is the example's own square.
PENALTIES: dict[tuple[int, str], Penalty] = {
    (1, "example"): norm_of_each,
    (2, "example"): squared_norm_of_each,
    (1, "batch"): share_of_batch_norm,
    (2, "batch"): squared_norm_of_each,
}


def logit_squeezing(
    labels: tf.Tensor, logits: tf.Tensor, *, weight: float, penalty: Penalty = norm_of_each
) -> tf.Tensor:
    """CE(y_i, z_i) + weight * penalty(Z)_i, per example.

    Args:
        labels: int [B] or [B, 1], or distributions [B, K].
        logits: [B, K].
        weight: lambda of feature smoothing, beta of logit squeezing; >= 0, nats for each unit of the penalty.
        penalty: logits [B, K] -> [B]; one of this file's, by default the unsquared norm of each example.

    Returns:
        [B], nats, >= 0; `weight` 0 is cross-entropy.
    """
    logits = tf.cast(logits, tf.float32)
    return cross_entropy(labels, logits) + weight * penalty(logits)


@keras.saving.register_keras_serializable("tfadv")
class LogitSqueezing(keras.losses.Loss):
    """`logit_squeezing` for `compile()`; `power` and `extent` choose the penalty from `PENALTIES`.

    y_true: class numbers [B] or [B, 1], or distributions [B, K]; y_pred: logits [B, K].

    What the default reduction (the mean over the batch) makes of it, and reduction "sum":

    | power | extent | mean | sum |
    |---|---|---|---|
    | 1 | example | mean CE + weight * mean ||z_i|| (feature smoothing's L_LoS) | B times that |
    | 2 | example or batch | mean CE + weight * mean ||z_i||^2 | sum CE + weight ||Z||_F^2 |
    | 1 | batch | (sum CE + weight ||Z||_F) / B | sum CE + weight ||Z||_F (logit squeezing, eq. 5) |

    With extent "batch" and power 1 an example's loss depends on its neighbors, and the strength on the batch size: the
    collapse to z = 0 comes at weight sqrt(B (K-1)/K). Under `tf.distribute` the batch is the replica's own, so that R
    replicas of B / R examples act as a global batch of B / R; scale `weight` by 1 / sqrt(R) to compensate.

    Args:
        weight: >= 0; 0 is cross-entropy.
        power: 1 or 2, of the 2-norm.
        extent: "example" (the norm of each row) or "batch" (one norm of the whole matrix).
        reduction, name, dtype: as in `keras.losses.Loss`. Keep `dtype` float32: class numbers travel in it.

    Raises:
        UserError: `weight` negative or not finite, `power` or `extent` unknown.
    """

    def __init__(
        self,
        weight: float,
        power: int = 1,
        extent: str = "example",
        reduction: str | None = "sum_over_batch_size",
        name: str = "logit_squeezing",
        dtype: Any = None,
    ) -> None:
        super().__init__(name=name, reduction=reduction, dtype=dtype)
        if power not in (1, 2):
            raise UserError(f"power must be 1 (the norm) or 2 (its square), got {power!r}")
        if extent not in ("example", "batch"):
            raise UserError(f"extent must be 'example' or 'batch', got {extent!r}")
        self.weight = _weight(weight)
        self.power = int(power)
        self.extent = extent

    def call(self, y_true: tf.Tensor, y_pred: tf.Tensor) -> tf.Tensor:
        penalty = PENALTIES[self.power, self.extent]
        return logit_squeezing(soft_labels.recast(y_true, y_pred), y_pred, weight=self.weight, penalty=penalty)

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "weight": self.weight, "power": self.power, "extent": self.extent}


def _weight(value: Any) -> float:
    number = math.nan if isinstance(value, bool) or not isinstance(value, numbers.Real) else float(value)
    if not 0.0 <= number < math.inf:
        raise UserError(f"weight must be a finite number >= 0, got {value!r}; 0 is plain cross-entropy")
    return number


def _root(squares: tf.Tensor) -> tf.Tensor:
    """sqrt with gradient 0 at 0: the inner `where` keeps the infinite slope out of the chain rule (inf * 0 = NaN)."""
    positive = squares > 0
    return tf.where(positive, tf.sqrt(tf.where(positive, squares, tf.ones_like(squares))), tf.zeros_like(squares))
