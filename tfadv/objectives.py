"""What an attack ascends: objectives of (labels, logits), one value for each example, larger = closer to an error.

Labels are integers [B] or distributions [B, K]; logits are float [B, K]. Nothing is averaged over the batch, so the
gradient of one example never depends on its neighbors.
"""

from __future__ import annotations

from collections.abc import Callable

import tensorflow as tf

from tfadv.soft_labels import check_pairs, one_hot
from tfadv.validation import UserError

# A logit that no class can reach: masks the true class out of a maximum without making infinities.
_MASKED = -1e9
# exp(-10) = 5e-5 stays clear of what p - 1 rounds to 0 at, exp(-16), in float32.
_LEAST_SPREAD = 10.0
# Croce and Hein's, in denominators of logits that may all be equal.
_NO_ZERO = 1e-12


def _distribution(labels: tf.Tensor, classes: int) -> tf.Tensor:
    labels = tf.convert_to_tensor(labels)
    if labels.dtype.is_integer and labels.shape.rank == 1:
        return tf.one_hot(labels, classes)  # An attack's labels were checked once; its loop does not check them again.
    return one_hot(labels, classes)


def cross_entropy(labels: tf.Tensor, logits: tf.Tensor) -> tf.Tensor:
    """-sum_k y_k log softmax(z)_k, per example.

    Args:
        labels: int [B] or [B, 1], or float distributions [B, K].
        logits: [B, K].

    Returns:
        [B], nats, >= 0.

    Raises:
        UserError: shapes that do not fit.
    """
    logits = tf.cast(logits, tf.float32)
    labels = tf.convert_to_tensor(labels)
    check_pairs(labels, logits)
    if labels.dtype.is_integer and labels.shape.rank == 1:
        return tf.nn.sparse_softmax_cross_entropy_with_logits(tf.cast(labels, tf.int32), logits)
    return tf.nn.softmax_cross_entropy_with_logits(_distribution(labels, logits.shape[-1]), logits)


def lifted_cross_entropy(labels: tf.Tensor, logits: tf.Tensor) -> tf.Tensor:
    """Cross-entropy of logits whose spread, max z - min z, is 10 at least: smaller ones are multiplied up to it.

    Near zero cross-entropy is linear in the logits, and its gradient ascends the mean of all wrong classes instead of
    the nearest one: logits that are small (squeezed, smoothed, or divided by a constant) hinder the attack without
    moving a boundary. The factor is constant in back-propagation. Logits of a larger spread, 10 is common in networks
    trained with cross-entropy alone, are left as they are, also where they are so large that the gradient rounds to 0.

    Returns:
        [B], nats, >= 0.
    """
    logits = tf.cast(logits, tf.float32)
    spread = tf.reduce_max(logits, axis=-1, keepdims=True) - tf.reduce_min(logits, axis=-1, keepdims=True)
    factor = tf.maximum(_LEAST_SPREAD / tf.maximum(spread, _NO_ZERO), 1.0)
    return cross_entropy(labels, tf.stop_gradient(factor) * logits)


def margin(labels: tf.Tensor, logits: tf.Tensor) -> tf.Tensor:
    """max_{k != y} z_k - z_y, per example: positive exactly when the example is misclassified.

    The objective of Carlini and Wagner 2017 (arXiv:1608.04644), eq. f6 without its confidence cut; the papers call it
    "cw", "CW" or "correct-wrong" (it is not their optimization attack). Its gradient does not vanish when the
    softmax saturates.

    Returns:
        [B], logit units.
    """
    logits = tf.cast(logits, tf.float32)
    truth = _distribution(labels, logits.shape[-1])
    true_logit = tf.reduce_sum(truth * logits, axis=-1)
    return tf.reduce_max(logits + _MASKED * truth, axis=-1) - true_logit


def difference_of_logits_ratio(labels: tf.Tensor, logits: tf.Tensor) -> tf.Tensor:
    """-(z_y - max_{k != y} z_k) / (z_(1) - z_(3)), per example; unchanged by scaling or shifting the logits.

    DLR, eq. 6 of Croce and Hein 2020 (arXiv:2003.01690), with their 1e-12 in the denominator. z_(i) is the i-th
    largest logit, so at least three classes are needed; with two use `margin`.

    Returns:
        [B], dimensionless: in [-1, 0] where the example is classified right, positive where not; 1 where the true
        class is the third, more where it is lower.

    Raises:
        UserError: fewer than three classes.
    """
    logits = tf.cast(logits, tf.float32)
    _check_classes("the dlr objective", logits, 3, "objective='margin'")
    top = tf.math.top_k(logits, 3).values
    return margin(labels, logits) / (top[:, 0] - top[:, 2] + _NO_ZERO)


def targeted_dlr(labels: tf.Tensor, targets: tf.Tensor, logits: tf.Tensor) -> tf.Tensor:
    """-(z_y - z_t) / (z_(1) - (z_(3) + z_(4)) / 2), per example; unchanged by scaling or shifting the logits.

    Eq. 7 of Croce and Hein 2020 (arXiv:2003.01690), with the 1e-12 of `difference_of_logits_ratio` in the denominator.
    It is positive exactly where the target t is ahead of the true class y.

    Args:
        labels, targets: y and t, as in `cross_entropy`.
        logits: [B, K], K >= 4.

    Returns:
        [B], dimensionless.

    Raises:
        UserError: fewer than four classes.
    """
    logits = tf.cast(logits, tf.float32)
    _check_classes("the targeted dlr objective", logits, 4, "the untargeted one")
    direction = _distribution(targets, logits.shape[-1]) - _distribution(labels, logits.shape[-1])
    top = tf.math.top_k(logits, 4).values
    spread = top[:, 0] - 0.5 * (top[:, 2] + top[:, 3])
    return tf.reduce_sum(direction * logits, axis=-1) / (spread + _NO_ZERO)


def ranked_wrong_class(labels: tf.Tensor, logits: tf.Tensor, rank: tf.Tensor) -> tf.Tensor:
    """The class of the rank-th highest logit among all but the true class: what an attack on one class goes for.

    Args:
        labels: as in `cross_entropy`; of a distribution the true class is the one of largest weight.
        logits: [B, K].
        rank: int32 [B], from 0; beyond the last wrong class, K - 2, it is the last. Of equal logits the lower class
            comes first.

    Returns:
        int32 [B].
    """
    logits = tf.cast(logits, tf.float32)
    classes = logits.shape[-1]
    truth = tf.one_hot(tf.argmax(_distribution(labels, classes), axis=-1), classes, on_value=True, off_value=False)
    wrong = tf.math.top_k(tf.where(truth, float("-inf"), logits), classes - 1).indices
    return tf.gather(wrong, tf.minimum(rank, classes - 2), batch_dims=1)


def _check_classes(name: str, logits: tf.Tensor, least: int, instead: str) -> None:
    if logits.shape[-1] is not None and logits.shape[-1] < least:
        raise UserError(f"{name} needs at least {least} classes, got {logits.shape[-1]} logits; use {instead}")


# (labels [B] or [B, K], logits [B, K]) -> [B].
Objective = Callable[[tf.Tensor, tf.Tensor], tf.Tensor]
# Name -> what an attack's `objective` ascends.
OBJECTIVES: dict[str, Objective] = {
    "cross_entropy": cross_entropy,
    "lifted_cross_entropy": lifted_cross_entropy,
    "margin": margin,
    "dlr": difference_of_logits_ratio,
}
# Those that logits of great size saturate.
CROSS_ENTROPIES = ("cross_entropy", "lifted_cross_entropy")
