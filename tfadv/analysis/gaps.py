"""Logit gap, gradient gap and gradient coherence: the parts of the linearized step, over all images and wrong classes.

"Label smoothing and logit squeezing" (Shafahi et al., LSQ): figures 1 and 3 to 7.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

import numpy as np
import tensorflow as tf

from tfadv.analysis.batches import BATCH_SIZE, checked, program, slices, wrong_class
from tfadv.analysis.histograms import histogram
from tfadv.attacks.search import Predictor, first_order
from tfadv.balls import L1, L2, normalized
from tfadv.report.charts import Chart
from tfadv.report.values import freeze
from tfadv.validation import check_labels


@dataclasses.dataclass(frozen=True, eq=False)
class Gaps:
    """Logits and their gradients with respect to the input, compared between the true class y and every wrong class.

    Column j of an array [N, K - 1] is about the wrong class j, or j + 1 from y on: they keep their order.

    Attributes:
        labels: int32 [N].
        logits: float32 [N, K].
        gradient_gap: float32 [N, K - 1], ||gradient of z_y - gradient of z_k||_1, logit units per input unit.
        coherence: float32 [N, K - 1], cosine of the two gradients, in [-1, 1]; NaN where one of them is 0.
        gradient_norms: float32 [N, K], ||gradient of z_k||_1 of every class, the true one included.
    """

    labels: np.ndarray
    logits: np.ndarray
    gradient_gap: np.ndarray
    coherence: np.ndarray
    gradient_norms: np.ndarray

    def __post_init__(self) -> None:
        real = ("logits", "gradient_gap", "coherence", "gradient_norms")
        freeze(self, {"labels": np.int32, **dict.fromkeys(real, np.float32)})

    @property
    def logit_gap(self) -> np.ndarray:
        """z_y - z_k, float32 [N, K - 1]; negative where the wrong class is ahead."""
        count, classes = self.logits.shape
        wrong = self.logits[np.arange(classes) != self.labels[:, None]].reshape(count, classes - 1)
        return self.logits[np.arange(count), self.labels][:, None] - wrong

    @property
    def steps(self) -> np.ndarray:
        """L of equation 4 for every wrong class, float32 [N, K - 1], linf and input units.

        Plus or minus infinity where the gradient gap is 0, by the sign of the logit gap; 0 where both are 0.
        """
        gap = self.logit_gap
        with np.errstate(divide="ignore", invalid="ignore"):
            return np.where(gap == 0, np.float32(0), gap / self.gradient_gap)


def gaps(model: Any, x: Any, y: Any, *, bounds: tuple[float, float] = (0.0, 1.0), batch_size: int = BATCH_SIZE) -> Gaps:
    """Numerator, denominator and cosine of LSQ equation 4 for every image and wrong class.

    K gradients for each image, one class at a time: memory for two gradients of a batch, whatever K. NaN and infinite
    entries of a gradient count as 0, as in the attacks.

    Args:
        model: a Keras model, a SavedModel or a function from inputs to logits; inference mode.
        x, y: inputs [N, ...] in `bounds`, labels [N] or [N, K].
        batch_size: images at a time.

    Raises:
        UserError: unusable inputs or model, or a model without gradient.
    """
    predict, x, classes = checked(model, x, bounds)
    y = check_labels(y, len(x), classes)

    @program
    def of_class(x: tf.Tensor, label: tf.Tensor) -> tuple[tf.Tensor, ...]:
        logits, gradient = _logit_gradient(predict, x, label)
        return logits, gradient, L1.size(gradient)

    @program
    def compared(x: tf.Tensor, rival: tf.Tensor, true: tf.Tensor) -> tuple[tf.Tensor, ...]:
        _, gradient = _logit_gradient(predict, x, rival)
        return L1.size(true - gradient), _cosine(true, gradient), L1.size(gradient)

    logits, norms = (np.zeros((len(x), classes), np.float32) for _ in range(2))
    gap, coherence = (np.zeros((len(x), classes - 1), np.float32) for _ in range(2))
    for rows in slices(len(x), batch_size, "logit gradients"):
        image, label = x[rows], y[rows]
        numbers = np.arange(len(image))
        logits[rows], true, norms[rows][numbers, label] = of_class(image, label)
        for rank in range(classes - 1):
            rival = wrong_class(label, rank)
            gap[rows, rank], coherence[rows, rank], norms[rows][numbers, rival] = compared(image, rival, true)
    return Gaps(y, logits, gap, coherence, norms)


def _logit_gradient(predict: Predictor, x: tf.Tensor, label: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    """Logits [B, K], and the gradient of that of class `label` [B], like x."""
    logits, gradient = first_order(predict, x, lambda logits: tf.gather(logits, label, batch_dims=1))
    return logits, tf.where(tf.math.is_finite(gradient), gradient, tf.zeros_like(gradient))


def _cosine(first: tf.Tensor, second: tf.Tensor) -> tf.Tensor:
    """[B]; NaN where one of them is 0."""
    features = range(1, first.shape.rank)
    cosine = tf.reduce_sum(normalized(first, L2.size) * normalized(second, L2.size), axis=features)
    defined = tf.reduce_any(first != 0, axis=features) & tf.reduce_any(second != 0, axis=features)
    return tf.where(defined, tf.clip_by_value(cosine, -1.0, 1.0), float("nan"))


def gap_charts(models: Mapping[str, Gaps]) -> tuple[Chart, ...]:
    """Histograms as in LSQ figures 1 and 3 to 7, over all images and wrong classes; one series for each model.

    Logit gap in absolute value, gradient gap, L, coherence, and the 1-norms of the gradients of all logits (figure 6).

    Raises:
        UserError: no model.
    """
    pairs = "pairs of image and wrong class"

    def over(values: Mapping[str, np.ndarray], title: str, x_label: str, **options: Any) -> Chart:
        return histogram(title, x_label, values, **{"of": pairs, **options})

    return (
        over({name: np.abs(each.logit_gap) for name, each in models.items()}, "Logit gap.", "|z_y - z_k|"),
        over({name: each.gradient_gap for name, each in models.items()}, "Gradient gap.", "||∇z_y - ∇z_k||_1"),
        over(
            {name: each.steps for name, each in models.items()},
            "Smallest linear step to each wrong class (logit gap / gradient gap).",
            "L (linf, input units)",
        ),
        over(
            {name: each.coherence for name, each in models.items()},
            "Gradient coherence.",
            "cos(∇z_y, ∇z_k)",
            span=(-1.0, 1.0),
        ),
        over(
            {name: each.gradient_norms for name, each in models.items()},
            "Size of the gradients of the logits.",
            "||∇z_k||_1",
            of="pairs of image and class",
        ),
    )
