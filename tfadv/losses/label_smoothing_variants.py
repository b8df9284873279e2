"""Label smoothing toward classes that the current logits choose: adversarial, Boltzmann and second-best.

"Adversarial robustness via label-smoothing" (Goibert and Dohmatob; LSV), sections 2.1 and 2.2. With the mass alpha:

| variant | loss | q' | adds to cross-entropy, alpha times |
|---|---|---|---|
| SLS, eq. 5 | `LabelSmoothing` | evenly on the classes k != y | ((K y - 1) / (K-1))' z |
| ALS, eq. 4 | `AdversarialLabelSmoothing` | the class of the smallest logit | z_y - min_k z_k, >= 0 |
| BLS, eq. 6 | `BoltzmannLabelSmoothing` | softmax of -z / T over the classes k != y | (y - q')' z |
| SBLS, eq. 7 | `SecondBestLabelSmoothing` | the class of the largest logit, k != y | z_y - max_{k != y} z_k |

Where the paper is unclear:

- The last column has the sign of its theorem 1 and corollary 1; its table 1 prints the opposite one for ALS, BLS, SBLS.
- ALS minimizes over all classes, the true one included, as eq. 4 is printed: where the true class has the smallest
  logit, nothing is taken from it. BLS and SBLS leave the true class out, so that BLS tends for T -> 0 to ALS over the
  other classes. For T -> infinity it is SLS.
- q' of eq. 6 has one entry for each class; eq. 7 is the one-hot vector of its argmax.
- Classes of equal logits share evenly. Each share is an argmin (argmax) of the equation, this one does not depend on
  the order of the classes, and it is the limit of BLS.
- The true class of a distribution (mixup) is the one of largest weight, of equal ones the first.
"""

from __future__ import annotations

from typing import Any

import keras
import tensorflow as tf

from tfadv.losses.parameters import check_at_least, for_config
from tfadv.losses.smoothed_cross_entropy import SmoothedCrossEntropy


@keras.saving.register_keras_serializable("tfadv")
def worst_class(y: tf.Tensor, logits: tf.Tensor) -> tf.Tensor:
    """q' of ALS (LSV, eq. 4): one on the smallest of all logits; float32 [B, K]. It does not depend on y."""
    return _shared(logits == tf.reduce_min(logits, axis=-1, keepdims=True))


@keras.saving.register_keras_serializable("tfadv")
def second_best_class(y: tf.Tensor, logits: tf.Tensor) -> tf.Tensor:
    """q' of SBLS (LSV, eq. 7): one on the largest logit among the classes other than the true one; float32 [B, K]."""
    others = _others(y)
    best = tf.reduce_max(tf.where(others, logits, float("-inf")), axis=-1, keepdims=True)
    return _shared(others & (logits == best))


def boltzmann(y: tf.Tensor, logits: tf.Tensor, *, temperature: float) -> tf.Tensor:
    """q' of BLS (LSV, eq. 6): exp(-z_k / T) / sum_{j != y} exp(-z_j / T) for k != y, 0 for y; float32 [B, K].

    Args:
        y: distributions [B, K].
        logits: [B, K].
        temperature: T, logit units, in [0, infinity]; both ends are the limits.
    """
    others = _others(y)
    above = logits - tf.reduce_min(tf.where(others, logits, float("inf")), axis=-1, keepdims=True)
    # The lowest class has weight 1 by itself, because 0 / T is NaN where T is 0 or float32 rounds it to 0. Every other
    # quotient may overflow: exp(-inf) is 0.
    weights = tf.where(above <= 0.0, 1.0, tf.exp(-above / temperature))
    weights = tf.where(others, weights, 0.0)
    return weights / tf.reduce_sum(weights, axis=-1, keepdims=True)


@keras.saving.register_keras_serializable("tfadv")
class AdversarialLabelSmoothing(SmoothedCrossEntropy):
    """ALS for `compile()`: smoothing toward `worst_class`. Arguments and errors as in `SmoothedCrossEntropy`."""

    def target(self, y: tf.Tensor, logits: tf.Tensor) -> tf.Tensor:
        return worst_class(y, logits)


@keras.saving.register_keras_serializable("tfadv")
class SecondBestLabelSmoothing(SmoothedCrossEntropy):
    """SBLS for `compile()`: smoothing toward `second_best_class`. Arguments as in `SmoothedCrossEntropy`."""

    def target(self, y: tf.Tensor, logits: tf.Tensor) -> tf.Tensor:
        return second_best_class(y, logits)


@keras.saving.register_keras_serializable("tfadv")
class BoltzmannLabelSmoothing(SmoothedCrossEntropy):
    """BLS for `compile()`: smoothing toward `boltzmann`.

    Args:
        mass: alpha, the probability taken from the true class, in [0, 1].
        temperature: T, logit units, in [0, infinity]; "inf" is infinity. The paper calls 0.001 a good default.
        reduction, name, dtype: as in `SmoothedCrossEntropy`.

    Raises:
        UserError: `mass` outside [0, 1], or `temperature` negative.
    """

    def __init__(
        self,
        mass: float,
        temperature: float | str = 0.001,
        reduction: str | None = "sum_over_batch_size",
        name: str | None = None,
        dtype: Any = None,
    ) -> None:
        super().__init__(mass, reduction, name, dtype)
        self.temperature = check_at_least(
            temperature, 0.0, "temperature", "0 is the worst other class, 'inf' all of them evenly"
        )

    def target(self, y: tf.Tensor, logits: tf.Tensor) -> tf.Tensor:
        return boltzmann(y, logits, temperature=self.temperature)

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "temperature": for_config(self.temperature)}


def _others(y: tf.Tensor) -> tf.Tensor:
    """bool [B, K]: every class but the true one."""
    return tf.one_hot(tf.argmax(y, axis=-1), y.shape[-1], on_value=False, off_value=True, dtype=tf.bool)


def _shared(chosen: tf.Tensor) -> tf.Tensor:
    """Equal shares for the chosen classes; NaN where none is, which only NaN logits bring about."""
    shares = tf.cast(chosen, tf.float32)
    return shares / tf.reduce_sum(shares, axis=-1, keepdims=True)
