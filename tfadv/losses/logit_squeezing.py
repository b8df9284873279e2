"""Cross-entropy plus a penalty on the size of the logits: a small gap between logits is what noise training then uses.

The papers disagree on the penalty, so each reading is a function of its own:

- Feature smoothing (ICLR 2019 submission), L_LoS: (1/m) sum_i ||z_i||_2, unsquared: `norm_of_each`.
- "Label smoothing and logit squeezing" (Shafahi et al.), eq. 5: sum_i CE_i + beta ||z||_p. The text allows any p-norm
  and its experiments take p = 2. Read example by example, z = 0 is the exact minimizer once beta reaches the dual norm
  of the slope of cross-entropy there, ||1/K - y||_q with 1/p + 1/q = 1: for K = 10 that is 0.9 for p = 1, sqrt(0.9) =
  0.949 for p = 2, 1.8 for p = infinity. The paper's working beta of 2 to 10 cannot be that. Two readings remain: the
  square, `squared_norm_of_each`, or one norm of the whole batch's logit matrix beside the *summed* cross-entropy,
  `share_of_batch_norm`; there the collapse comes at sqrt(B) times 0.949 (6.7 at batch 50, 10.7 at batch 128).
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import keras
import tensorflow as tf

from tfadv.losses.parameters import check_at_least, for_config
from tfadv.losses.penalized_cross_entropy import PenalizedCrossEntropy, Penalty, penalized_cross_entropy
from tfadv.validation import UserError


def norm_of_each(logits: tf.Tensor, p: float = 2.0) -> tf.Tensor:
    """||z_i||_p for each row of `logits` [B, K]: [B], logit units. The gradient at z = 0 is 0.

    Args:
        p: 1 <= p <= infinity.
    """
    sizes = tf.abs(logits)
    if p == 1.0:
        return tf.reduce_sum(sizes, axis=-1)
    if p == math.inf:
        return tf.reduce_max(sizes, axis=-1)
    if p == 2.0:
        return _root(squared_norm_of_each(logits), tf.sqrt)
    # Powers of the shares of the largest entry: 100^20 is beyond float32. The norm does not depend on this scale.
    largest = tf.stop_gradient(tf.reduce_max(sizes, axis=-1))
    scale = tf.where(largest > 0.0, largest, 1.0)
    powers = tf.reduce_sum(tf.pow(sizes / scale[..., None], p), axis=-1)
    return scale * _root(powers, lambda sums: tf.pow(sums, 1.0 / p))


def squared_norm_of_each(logits: tf.Tensor, p: float = 2.0) -> tf.Tensor:
    """||z_i||_p^2 for each row of `logits` [B, K]: [B], squared logit units."""
    return tf.reduce_sum(tf.square(logits), axis=-1) if p == 2.0 else tf.square(norm_of_each(logits, p))


def share_of_batch_norm(logits: tf.Tensor, p: float = 2.0) -> tf.Tensor:
    """||vec Z||_p / B for every row of `logits` Z [B, K]: [B], equal entries that sum to the norm of the batch.

    With p = 2 that is the Frobenius norm. The gradient at Z = 0 is 0.
    """
    return _shared(logits, norm_of_each, p)


def share_of_squared_batch_norm(logits: tf.Tensor, p: float = 2.0) -> tf.Tensor:
    """||vec Z||_p^2 / B for every row of `logits` Z [B, K], except for p = 2: [B], squared logit units.

    A squared Frobenius norm is the sum of the squared rows, so its natural share is the example's own square.
    """
    return squared_norm_of_each(logits) if p == 2.0 else _shared(logits, squared_norm_of_each, p)


PENALTIES: dict[tuple[int, str], Callable[[tf.Tensor, float], tf.Tensor]] = {
    (1, "example"): norm_of_each,
    (2, "example"): squared_norm_of_each,
    (1, "batch"): share_of_batch_norm,
    (2, "batch"): share_of_squared_batch_norm,
}


def logit_squeezing(
    labels: tf.Tensor, logits: tf.Tensor, *, weight: float, penalty: Penalty = norm_of_each
) -> tf.Tensor:
    """CE(y_i, z_i) + weight * penalty(Z)_i, per example.

    Args:
        labels: int [B] or [B, 1], or distributions [B, K].
        logits: [B, K].
        weight: lambda of feature smoothing, beta of logit squeezing; >= 0, nats for each unit of the penalty.
        penalty: logits [B, K] -> [B]; one of this file's, by default the unsquared 2-norm of each example. For another
            p: `functools.partial(norm_of_each, p=1.0)`.

    Returns:
        [B], nats, >= 0; `weight` 0 is cross-entropy.
    """
    return penalized_cross_entropy(labels, logits, penalty=penalty, weight=weight)


@keras.saving.register_keras_serializable("tfadv")
class LogitSqueezing(PenalizedCrossEntropy):
    """`logit_squeezing` for `compile()`; `power`, `extent` and `p` choose the penalty from `PENALTIES`.

    y_true: class numbers [B] or [B, 1], or distributions [B, K]; y_pred: logits [B, K].

    What the default reduction (the mean over the batch) makes of it, and reduction "sum"; n is the p-norm:

    | power | extent | mean | sum |
    |---|---|---|---|
    | 1 | example | mean CE + weight * mean n(z_i) (p = 2: feature smoothing's L_LoS) | B times that |
    | 2 | example | mean CE + weight * mean n(z_i)^2 | B times that |
    | 1 | batch | (sum CE + weight n(vec Z)) / B | sum CE + weight n(vec Z) (logit squeezing, eq. 5) |
    | 2 | batch | (sum CE + weight n(vec Z)^2) / B (p = 2: as "example") | sum CE + weight n(vec Z)^2 |

    With extent "batch", but for the squared 2-norm, an example's loss depends on its neighbors, and the strength on the
    batch size: with power 1 and p = 2 the collapse to z = 0 comes at weight sqrt(B (K-1)/K). Under `tf.distribute` the
    batch is the replica's own, so that R replicas of B / R examples act as a global batch of B / R; scale `weight` by
    1 / sqrt(R) to compensate.

    Args:
        weight: >= 0; 0 is cross-entropy.
        power: 1 or 2, of the norm.
        extent: "example" (the norm of each row) or "batch" (one norm of all entries of the matrix).
        p: of the norm: a number >= 1, or "inf".
        reduction, name, dtype: as in `keras.losses.Loss`. Keep `dtype` float32: class numbers travel in it.

    Raises:
        UserError: `weight` negative or not finite, `power` or `extent` unknown, or `p` below 1.
    """

    def __init__(
        self,
        weight: float,
        power: int = 1,
        extent: str = "example",
        p: float | str = 2.0,
        reduction: str | None = "sum_over_batch_size",
        name: str | None = None,
        dtype: Any = None,
    ) -> None:
        super().__init__(weight, reduction, name, dtype)
        if power not in (1, 2):
            raise UserError(f"power must be 1 (the norm) or 2 (its square), got {power!r}")
        if extent not in ("example", "batch"):
            raise UserError(f"extent must be 'example' or 'batch', got {extent!r}")
        self.power = int(power)
        self.extent = extent
        self.p = check_at_least(p, 1.0, "p", "below 1 it is no norm; 2 is the papers'")

    def penalty(self, logits: tf.Tensor) -> tf.Tensor:
        return PENALTIES[self.power, self.extent](logits, self.p)

    def get_config(self) -> dict[str, Any]:
        config = {**super().get_config(), "power": self.power, "extent": self.extent}
        # Without p at its default, so that descriptions written before p existed still equal those written now.
        return config if self.p == 2.0 else {**config, "p": for_config(self.p)}


def _shared(logits: tf.Tensor, penalty: Callable[[tf.Tensor, float], tf.Tensor], p: float) -> tf.Tensor:
    rows = tf.ones_like(logits[:, 0])
    return rows * penalty(tf.reshape(logits, [1, -1]), p) / tf.cast(tf.size(rows), rows.dtype)


def _root(sums: tf.Tensor, root: Callable[[tf.Tensor], tf.Tensor]) -> tf.Tensor:
    """root(sums), gradient 0 at 0: the inner `where` keeps the infinite slope out of the chain rule (inf * 0 = NaN)."""
    positive = sums > 0.0
    return tf.where(positive, root(tf.where(positive, sums, 1.0)), 0.0)
