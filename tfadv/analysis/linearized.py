"""Linearized robustness: how far an image is from another class if the logits were linear beside it.

"Label smoothing and logit squeezing" (Shafahi et al., LSQ), equations 2 to 4, and its table 1: the accuracy under FGSM
that this predicts, beside the measured one.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import tensorflow as tf

from tfadv.analysis.batches import BATCH_SIZE, batched, check_models, checked, program, slices, wrong_class
from tfadv.analysis.histograms import histogram
from tfadv.attacks import hyperplane, search
from tfadv.attacks.fgm import Fgm
from tfadv.attacks.search import Predictor
from tfadv.balls import BALLS
from tfadv.report.charts import Chart, Series
from tfadv.report.records import clopper_pearson
from tfadv.report.values import freeze
from tfadv.validation import UserError, check_epsilon, check_labels

# What FGSM ascends in table 1, "X-ent" and "on logits (CW)".
OBJECTIVES = ("cross_entropy", "margin")
_DUAL = {"linf": "1-norm", "l2": "2-norm", "l1": "largest entry"}


@dataclasses.dataclass(frozen=True, eq=False)
class LinearizedRobustness:
    """The smallest step of equation 4 for every image.

    Attributes:
        labels, predictions: int32 [N].
        steps: float32 [N], L = min_k (z_y - z_k) / ||gradient of z_y - gradient of z_k|| in the norm dual to `norm`, in
            input units. Of misclassified images it is negative, the class that is farthest ahead by this measure (0 at
            a tie). Infinite where no class has a gradient that differs from that of y: no step changes the prediction.
        steps_in_box: float32 [N], the same for a step that stays within `bounds`, where every feature goes the way of
            the step until it meets the box; infinite where even the corner of the box does not change the prediction.
            Of misclassified images as in `steps`.
        rivals: int32 [N], the class k of `steps`.
        norm: of the step, "linf", "l2" or "l1".
        bounds: (lowest, highest) input value.
    """

    labels: np.ndarray
    predictions: np.ndarray
    steps: np.ndarray
    steps_in_box: np.ndarray
    rivals: np.ndarray
    norm: str
    bounds: tuple[float, float]

    def __post_init__(self) -> None:
        whole, real = ("labels", "predictions", "rivals"), ("steps", "steps_in_box")
        freeze(self, {**dict.fromkeys(whole, np.int32), **dict.fromkeys(real, np.float32)})

    @property
    def correct(self) -> np.ndarray:
        """Which images are classified right, bool [N]."""
        return self.predictions == self.labels

    @property
    def without_gradient(self) -> int:
        """How many images have an infinite step: logits whose gradients do not differ say nothing about robustness."""
        return int(np.isinf(self.steps).sum())

    def accuracy(self, epsilon: float) -> float:
        """Share of images that are classified right and have L > epsilon, in [0, 1]; for epsilon 0 the clean accuracy.

        The "predicted accuracy" of table 1.
        """
        return float(self._kept(self.steps, epsilon).mean())

    def accuracy_in_box(self, epsilon: float) -> float:
        """The same with `steps_in_box`."""
        return float(self._kept(self.steps_in_box, epsilon).mean())

    def _kept(self, steps: np.ndarray, epsilon: float) -> np.ndarray:
        return self.correct & ((steps > epsilon) | (epsilon == 0))


def linearized(
    model: Any,
    x: Any,
    y: Any,
    *,
    norm: str = "linf",
    bounds: tuple[float, float] = (0.0, 1.0),
    batch_size: int = BATCH_SIZE,
) -> LinearizedRobustness:
    """LSQ equation 4 for every image: exact on linear models, a first-order guess on others.

    K - 1 gradients for each image, one class at a time. For two classes FGSM takes exactly this step; with more, the
    step of FGSM goes towards one class or a mixture of them, and the smallest of the targeted steps is that of eq. 4.

    Departures: equation 4 is printed for linf; l2 and l1 divide by the norms dual to them. The step of the paper may
    leave the box; `steps_in_box` does not. NaN and infinite entries of a gradient count as 0, as in the attacks.

    Args:
        model: a Keras model, a SavedModel or a function from inputs to logits; inference mode.
        x, y: inputs [N, ...] in `bounds`, labels [N] or [N, K].
        norm: of the step: "linf", "l2" or "l1".
        batch_size: images at a time.

    Raises:
        UserError: unusable inputs or model, an unknown norm, or a model without gradient.
    """
    search.check_choice("norm", norm, hyperplane.NORMS)
    predict, x, classes = checked(model, x, bounds)
    y = check_labels(y, len(x), classes)

    @program
    def toward(x: tf.Tensor, y: tf.Tensor, rival: tf.Tensor) -> tuple[tf.Tensor, ...]:
        return _step(predict, norm, bounds, x, y, rival)

    predictions, rivals = np.zeros(len(x), np.int32), np.zeros(len(x), np.int32)
    steps, in_box = np.full(len(x), np.inf, np.float32), np.full(len(x), np.inf, np.float32)
    for rows in slices(len(x), batch_size, "linearized"):
        for rank in range(classes - 1):
            rival = wrong_class(y[rows], rank)
            free, boxed, predicted = (each.numpy() for each in toward(x[rows], y[rows], rival))
            rivals[rows] = np.where((free < steps[rows]) | (rank == 0), rival, rivals[rows])
            steps[rows] = np.minimum(steps[rows], free)
            in_box[rows] = np.minimum(in_box[rows], boxed)
            predictions[rows] = predicted
    return LinearizedRobustness(y, predictions, steps, in_box, rivals, norm, (float(bounds[0]), float(bounds[1])))


def _step(
    predict: Predictor, norm: str, bounds: tuple[float, float], x: tf.Tensor, y: tf.Tensor, rival: tf.Tensor
) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
    """(L towards the class `rival`, the same in the box, prediction), each [B]."""
    measured = hyperplane.linearized(predict, x, y, rival[:, None])
    plane = hyperplane.nearest(norm, measured, y, rival[:, None])
    logits = measured.logits
    gap = tf.gather(logits, y, batch_dims=1) - tf.gather(logits, rival, batch_dims=1)
    has_normal = BALLS["linf"].size(plane.normal) > 0
    distance = tf.where(has_normal, plane.distance, float("inf"))
    # Not sign(gap) * distance: at a tie without a gradient that is 0 times infinity.
    free = tf.where(gap > 0, distance, tf.where(gap < 0, -distance, 0.0))
    step = hyperplane.step_onto(norm, x, plane.normal, -plane.value, bounds)
    room = tf.where(plane.normal > 0, bounds[1] - x, x - bounds[0])
    most = tf.reduce_sum(tf.abs(plane.normal) * tf.maximum(room, 0.0), axis=range(1, x.shape.rank))
    boxed = tf.where(-plane.value < most, BALLS[norm].size(step), float("inf"))
    return free, tf.where(gap > 0, boxed, free), tf.argmax(logits, axis=-1, output_type=tf.int32)


def steps_chart(models: Mapping[str, LinearizedRobustness]) -> Chart:
    """Histogram of the smallest step of every image, one series for each model.

    Raises:
        UserError: no model, or models with different norms.
    """
    check_models(models)
    norms = {each.norm for each in models.values()}
    if len(norms) > 1:
        raise UserError(f"models must have one norm to share an axis, got {sorted(norms)}; draw a chart for each")
    (norm,) = norms
    return histogram(
        "Smallest step to another class if the logits were linear; negative where an image is misclassified.",
        f"L: logit gap / {_DUAL[norm]} of the gradient gap ({norm}, input units)",
        {name: each.steps for name, each in models.items()},
        of="images",
    )


@dataclasses.dataclass(frozen=True, eq=False)
class PredictedAccuracy:
    """What equation 4 predicts of FGSM, and what FGSM does; accuracies are fractions in [0, 1].

    Attributes:
        epsilons: float64 [E], input units.
        predicted, predicted_in_box: float64 [E], by `LinearizedRobustness.accuracy` and `accuracy_in_box`.
        measured: name of the objective -> float64 [E], accuracy under FGSM (the normalized gradient for l2) in the box.
        count: images.
        norm: of epsilon.
    """

    epsilons: np.ndarray
    predicted: np.ndarray
    predicted_in_box: np.ndarray
    measured: Mapping[str, np.ndarray]
    count: int
    norm: str

    def charts(self) -> tuple[Chart]:
        """Predicted and measured accuracy against epsilon; the measured ones with their 95% intervals."""
        epsilons = tuple(self.epsilons)
        series = {
            "equation 4": Series(epsilons, tuple(self.predicted)),
            "equation 4 in the box": Series(epsilons, tuple(self.predicted_in_box)),
        }
        for objective, accuracy in self.measured.items():
            ends = [clopper_pearson(round(float(share) * self.count), self.count) for share in accuracy]
            low, high = zip(*ends, strict=True)
            series[f"FGSM, {objective.replace('_', ' ')}"] = Series(epsilons, tuple(accuracy), low, high)
        title = "Accuracy that the linearized logits predict, and accuracy under one gradient step."
        return (Chart(title, f"epsilon ({self.norm}, input units)", "accuracy", series, percent=True),)


def predicted_accuracy(
    model: Any,
    x: Any,
    y: Any,
    epsilons: Sequence[float],
    *,
    norm: str = "linf",
    bounds: tuple[float, float] = (0.0, 1.0),
    batch_size: int = BATCH_SIZE,
) -> PredictedAccuracy:
    """LSQ table 1: accuracy predicted by equation 4 and accuracy under FGSM on cross-entropy and on the margin.

    Args:
        epsilons: radii in input units, at least one; the paper has 0.3 for MNIST and 8/255 for CIFAR-10.
        Others as in `linearized`.

    Raises:
        UserError: as in `linearized`, or a radius that is none.
    """
    radii = np.asarray(epsilons, np.float64)
    if radii.ndim != 1 or not radii.size:
        raise UserError(f"epsilons must be a sequence of numbers, at least one, got {epsilons!r}")
    check_epsilon(radii, bounds, norm, strict=False)
    found = linearized(model, x, y, norm=norm, bounds=bounds, batch_size=batch_size)
    predict, x, _ = checked(model, x, bounds)
    measured = {}
    for objective in OBJECTIVES:
        survives = _after_fgsm(predict, Fgm(norm=norm, objective=objective, bounds=bounds))
        shares = []
        for epsilon in radii:
            arrays = (x, found.labels, np.full(len(x), epsilon, np.float32))
            shares.append(batched(survives, arrays, batch_size=batch_size, label=f"FGSM {epsilon:g}")[0].mean())
        measured[objective] = np.array(shares)
    free, boxed = np.array([(found.accuracy(each), found.accuracy_in_box(each)) for each in radii]).T
    return PredictedAccuracy(radii, free, boxed, measured, len(x), norm)


def _after_fgsm(predict: Predictor, config: Fgm) -> Callable[..., Any]:
    """(x, y, epsilon [B]) -> whether the example is classified right after the step, (bool [B],); one graph for all."""

    @program
    def survives(x: tf.Tensor, y: tf.Tensor, epsilon: tf.Tensor) -> tuple[tf.Tensor]:
        x_adv = search.run(config, predict, x, y, x, epsilon=epsilon)
        return (tf.argmax(predict(x_adv), axis=-1, output_type=tf.int32) == y,)

    return survives
