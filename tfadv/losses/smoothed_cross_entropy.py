"""Cross-entropy against labels smoothed toward q', which the current logits may choose: the frame of label smoothing.

"Adversarial robustness via label-smoothing" (Goibert and Dohmatob; LSV): every label that leaves at least 1 - alpha on
the true class is q = (1 - alpha) y + alpha q' for some distribution q' (eq. 1), and training minimizes
SmoothCE = -q' log p with that q (eq. 2). A variant is its q' and nothing else:

    @keras.saving.register_keras_serializable("mine")
    def toward_the_prediction(y, logits):
        return tf.nn.softmax(logits)

    model.compile("adam", LabelSmoothingToward(0.1, toward_the_prediction))

By theorem 1 a variant adds alpha (y - q')' z to cross-entropy, exactly.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import keras
import tensorflow as tf

from tfadv import soft_labels
from tfadv.losses.parameters import snake_case
from tfadv.objectives import cross_entropy
from tfadv.validation import UserError

# (labels float32 [B, K], one-hot or mixed; logits float32 [B, K]) -> distributions [B, K]
QPrime = Callable[[tf.Tensor, tf.Tensor], tf.Tensor]

# Rounding of a softmax over a million classes stays below this.
_SUM_TOLERANCE = 1e-3


def smoothed_cross_entropy(labels: tf.Tensor, logits: tf.Tensor, *, q_prime: QPrime, mass: float) -> tf.Tensor:
    """-sum_k q_k log softmax(z)_k with q = (1 - mass) y + mass q'(y, z), per example (LSV, eq. 1 and 2).

    q' is computed from the current logits and is constant in back-propagation, as algorithm 1 reads: labels first, then
    the loss. So the gradient by the logits is softmax(z) - q.

    Args:
        labels: int [B] or [B, 1], or distributions [B, K].
        logits: [B, K].
        q_prime: where the mass goes; see `QPrime`.
        mass: alpha, the probability taken from the true class, in [0, 1].

    Returns:
        [B], nats, >= 0; `mass` 0 is cross-entropy. A row of NaN logits is NaN.

    Raises:
        UserError: `mass` outside [0, 1], labels of another shape, or a q' of another shape than the logits.
    """
    logits = tf.cast(logits, tf.float32)
    y = soft_labels.one_hot(labels, logits.shape[-1])
    soft_labels.check_pairs(y, logits)
    target = tf.cast(q_prime(y, logits), tf.float32)
    if not target.shape.is_compatible_with(logits.shape):
        raise UserError(
            f"q_prime must give one distribution for each example, shape {logits.shape}, got {target.shape}; "
            "return a tensor of the shape of the logits"
        )
    return cross_entropy(soft_labels.smooth_toward(y, tf.stop_gradient(target), mass), logits)


class SmoothedCrossEntropy(keras.losses.Loss):
    """`smoothed_cross_entropy` for `compile()`: the base of the label-smoothing losses.

    A subclass gives `target`, its q', and is registered with Keras. A q' without parameters needs no subclass: see
    `LabelSmoothingToward`.

    y_true: class numbers [B] or [B, 1], or distributions [B, K]; y_pred: logits [B, K].

    Args:
        mass: alpha, the probability taken from the true class, in [0, 1].
        reduction, dtype: as in `keras.losses.Loss`. Keep `dtype` float32: class numbers travel in it.
        name: None is the name of the class, in snake case.

    Raises:
        UserError: `mass` outside [0, 1].
    """

    def __init__(
        self, mass: float, reduction: str | None = "sum_over_batch_size", name: str | None = None, dtype: Any = None
    ) -> None:
        super().__init__(name=name or snake_case(type(self).__name__), reduction=reduction, dtype=dtype)
        self.mass = soft_labels.check_mass(mass)

    def target(self, y: tf.Tensor, logits: tf.Tensor) -> tf.Tensor:
        """q' [B, K] of labels y and logits, both float32 [B, K]; it needs no `stop_gradient`."""
        raise NotImplementedError(f"{type(self).__name__} must implement target(y, logits)")

    def call(self, y_true: tf.Tensor, y_pred: tf.Tensor) -> tf.Tensor:
        labels = soft_labels.recast(y_true, y_pred)
        return smoothed_cross_entropy(labels, y_pred, q_prime=self.target, mass=self.mass)

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "mass": self.mass}


@keras.saving.register_keras_serializable("tfadv")
class LabelSmoothingToward(SmoothedCrossEntropy):
    """Label smoothing toward a q' of your own: a new variant from one function.

    Args:
        mass: alpha, the probability taken from the true class, in [0, 1].
        q_prime: (labels [B, K], logits [B, K]) -> distributions [B, K]. Labels are one-hot, or mixtures where mixup is
            used. A `.keras` file keeps a function that is registered with `keras.saving.register_keras_serializable`,
            or an object of a registered class with `__call__`, `get_config` and `from_config`, which may have
            parameters.
        reduction, name, dtype: as in `SmoothedCrossEntropy`.

    Raises:
        UserError: `mass` outside [0, 1], or `q_prime` not callable.
        tf.errors.InvalidArgumentError: in a call, rows of q' that are negative or do not sum to one. XLA compiles
            assertions away; there such a row is NaN, so that the loss cannot look healthy.
    """

    def __init__(
        self,
        mass: float,
        q_prime: QPrime,
        reduction: str | None = "sum_over_batch_size",
        name: str | None = None,
        dtype: Any = None,
    ) -> None:
        super().__init__(mass, reduction, name, dtype)
        if not callable(q_prime):
            raise UserError(
                f"q_prime must be a function (labels [B, K], logits [B, K]) -> distributions [B, K], got {q_prime!r}; "
                "for example tfadv.losses.second_best_class"
            )
        self.q_prime = q_prime

    def target(self, y: tf.Tensor, logits: tf.Tensor) -> tf.Tensor:
        rows = tf.cast(self.q_prime(y, logits), tf.float32)
        # NaN compares false: rows of NaN logits pass, and their loss is NaN anyway.
        wrong = (tf.abs(tf.reduce_sum(rows, axis=-1) - 1.0) > _SUM_TOLERANCE) | tf.reduce_any(rows < 0.0, axis=-1)
        message = "q_prime must give distributions, >= 0 with sum 1 in each row; a softmax does"
        tf.debugging.assert_equal(tf.reduce_any(wrong), False, message=message)
        return tf.where(wrong[..., None], float("nan"), rows)

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "q_prime": keras.saving.serialize_keras_object(self.q_prime)}

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> LabelSmoothingToward:
        return cls(**{**config, "q_prime": keras.saving.deserialize_keras_object(config["q_prime"])})
