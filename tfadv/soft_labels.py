"""Label smoothing in every parameterization, converted to one number: the mass taken from the true class.

Smoothing takes probability from the true class and spreads it evenly over the K - 1 others. The papers write the same
map with different parameters; `mass` is the one that is stored:

| source | printed form | mass |
|---|---|---|
| feature smoothing, sec. 2.2 | delta / (K-1) (1 - y) + (1 - delta) y | delta |
| logit squeezing, y_warm | y - alpha (y - 1/K) | alpha (K-1) / K |
| label-smoothing variants, eq. 5 (SLS) | (1 - alpha) y + alpha (1 - y) / (K-1) | alpha |
| adversarial vertex mixup, phi(y, lambda) | lambda y + (1 - lambda) (1 - y) / (K-1) | 1 - lambda |

The second row is `mass_from_uniform_mixture` (Keras' own `CategoricalCrossentropy(label_smoothing=alpha)` is the same),
the fourth `mass_from_true_class_probability`; the others are the mass already. With K = 10, alpha = 0.95 is mass 0.855,
and lambda = 0.1 is mass 0.9, the uniform distribution. Beyond (K-1)/K the true class is the least likely one.
"""

from __future__ import annotations

import warnings
from typing import Any

import tensorflow as tf

from tfadv.validation import UserError, as_number

# 1 - 0.1 and (10 - 1) / 10 may differ in the last bit; neither is "beyond uniform".
_ROUNDING = 1e-9


def check_mass(mass: float) -> float:
    """Returns `mass` as a Python float, or raises UserError unless it is a number in [0, 1]."""
    return _probability("mass", mass, "it is the probability taken from the true class, for example 0.1")


def mass_from_uniform_mixture(alpha: float, classes: int) -> float:
    """mass = alpha (K-1) / K for labels y - alpha (y - 1/K), a mixture of y with the uniform distribution.

    The mixture gives back alpha / K of what it takes, because the uniform distribution includes the true class
    ("Label smoothing and logit squeezing", Shafahi et al.; Keras' `label_smoothing`). With K = 10: 0.2 gives 0.18,
    0.95 gives 0.855.

    Args:
        alpha: weight of the uniform distribution, in [0, 1].
        classes: K >= 2.

    Raises:
        UserError: `alpha` outside [0, 1], or fewer than two classes.
    """
    alpha = _probability("alpha", alpha, "it is the weight of the uniform distribution")
    return alpha * (_classes(classes) - 1) / classes


def mass_from_true_class_probability(probability: float) -> float:
    """mass = 1 - lambda for labels that leave probability lambda on the true class ("Adversarial vertex mixup").

    Raises:
        UserError: `probability` outside [0, 1].
    """
    return 1.0 - _probability("probability", probability, "it is what the true class keeps, for example 0.9")


def one_hot(labels: tf.Tensor, classes: int) -> tf.Tensor:
    """Distributions float32 [B, K] of integer labels [B] or [B, 1]; distributions [B, K] pass through as float32.

    A label outside 0..K-1 raises where assertions exist (eager, graphs). XLA compiles assertions away; there its row
    is NaN, so that the loss cannot look healthy.

    Args:
        labels: int [B] or [B, 1], or any real dtype [B, K].
        classes: K >= 2.

    Raises:
        UserError: rank other than 1 or 2, a second axis that is neither 1 nor K, or float labels without K columns.
        tf.errors.InvalidArgumentError: a label outside 0..K-1.
    """
    labels = tf.convert_to_tensor(labels)
    classes = _classes(classes)
    if labels.shape.rank == 2 and labels.shape[1] in (classes, None):
        return tf.ensure_shape(tf.cast(labels, tf.float32), [None, classes])
    if labels.shape.rank == 2 and labels.shape[1] == 1:
        labels = labels[:, 0]
    if labels.shape.rank != 1:
        raise UserError(
            f"labels must have shape [B], [B, 1] or [B, {classes}], got {labels.shape}; "
            "pass one integer or one distribution for each example"
        )
    if not labels.dtype.is_integer:
        raise UserError(
            f"labels of shape {labels.shape} must be integers, got {labels.dtype.name}; cast class numbers to int32, "
            f"or pass distributions of shape [B, {classes}]"
        )
    inside = (labels >= 0) & (labels < tf.cast(classes, labels.dtype))
    tf.debugging.assert_equal(tf.reduce_all(inside), True, message=f"labels must lie in 0..{classes - 1}")
    rows = tf.one_hot(labels, classes, dtype=tf.float32)
    return tf.where(inside[:, None], rows, float("nan"))


def check_pairs(labels: tf.Tensor, logits: tf.Tensor) -> None:
    """Refuses labels that are visibly not one for each row of `logits`; unknown shapes pass.

    Raises:
        UserError: logits that are not [B, K], or another number of labels.
    """
    if logits.shape.rank not in (None, 2) or not labels.shape[:1].is_compatible_with(logits.shape[:1]):
        raise UserError(
            f"labels must be one for each row of logits [B, K], got labels of shape {labels.shape} and logits of shape "
            f"{logits.shape}; pass those of the same batch"
        )


def smooth(labels: tf.Tensor, classes: int, mass: float) -> tf.Tensor:
    """mass / (K-1) (1 - y) + (1 - mass) y: the true class gives `mass`, the K - 1 others share it evenly.

    Feature smoothing (ICLR 2019 submission), sec. 2.2. The map is linear in y and keeps sums of one, so that it also
    holds for mixup's distributions: smoothing a mixture is mixing the smoothed labels.

    Args:
        labels: int [B] or [B, 1], or distributions [B, K].
        classes: K >= 2.
        mass: in [0, 1]; 0 leaves the labels as they are, (K-1)/K makes them uniform, more makes the true class the
            least likely (a warning: the usual cause is the probability of the true class given as the mass).

    Returns:
        float32 [B, K], rows sum to one where the labels' do.

    Raises:
        UserError: `mass` outside [0, 1], or labels that `one_hot` refuses.
    """
    y = one_hot(labels, classes)
    return smooth_toward(y, (1.0 - y) / (classes - 1), mass)


def smooth_toward(y: tf.Tensor, target: tf.Tensor, mass: float) -> tf.Tensor:
    """(1 - mass) y + mass target: eq. 1 of "Adversarial robustness via label-smoothing" (Goibert and Dohmatob).

    Args:
        y: distributions [B, K], one-hot or mixed.
        target: distributions [B, K], where the mass goes: q' of the paper.
        mass: in [0, 1]; more than (K-1)/K is a warning, as in `smooth`.

    Returns:
        float32 [B, K].

    Raises:
        UserError: `mass` outside [0, 1].
    """
    mass = check_mass(mass)
    classes = y.shape[-1]
    if mass > (classes - 1) / classes + _ROUNDING:
        warnings.warn(
            f"mass {mass:g} leaves the true class {1 - mass:g}, less than the {1 / classes:g} of a uniform label over "
            f"{classes} classes, which is mass {(classes - 1) / classes:g}. If {mass:g} is what the true class should "
            "keep, convert it with mass_from_true_class_probability",
            stacklevel=3,
        )
    return (1.0 - mass) * y + mass * target


def recast(y_true: tf.Tensor, logits: tf.Tensor) -> tf.Tensor:
    """The labels as the caller of a `keras.losses.Loss` meant them; `Loss.__call__` has cast them to float.

    Args:
        y_true: class numbers [B] or [B, 1], or distributions [B, K]; any real dtype.
        logits: [B, K].

    Returns:
        int32 [B], or float32 [B, K], as the shape says.

    Raises:
        UserError: logits that are not [B, K] with K >= 2, or labels of another shape.
    """
    if logits.shape.rank != 2 or logits.shape[1] is None or logits.shape[1] < 2:
        raise UserError(
            f"y_pred must be logits of shape [B, K] with K >= 2, got shape {logits.shape}; "
            "end the model in Dense(classes) without activation"
        )
    classes, given = logits.shape[1], y_true.shape
    rows = given[:1].is_compatible_with(logits.shape[:1])
    if rows and given.rank == 2 and given[1] == classes:
        return tf.cast(y_true, tf.float32)
    if rows and given.rank == 2 and given[1] == 1:
        return tf.cast(y_true[:, 0], tf.int32)
    if not rows or given.rank != 1:
        raise UserError(
            f"y_true must have shape [B], [B, 1] or [B, {classes}] for logits of shape {logits.shape}, "
            f"got {given}; pass one integer or one distribution for each example"
        )
    return tf.cast(y_true, tf.int32)


def _probability(name: str, value: Any, meaning: str) -> float:
    number = as_number(value)
    if not 0.0 <= number <= 1.0:
        raise UserError(f"{name} must lie in [0, 1], got {value!r}; {meaning}")
    return number


def _classes(classes: int) -> int:
    if classes is None or classes < 2:
        raise UserError(f"classes must be at least 2, got {classes!r}; labels are spread over the other classes")
    return int(classes)
