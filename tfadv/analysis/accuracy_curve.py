"""Accuracy against epsilon: an example that is broken at one radius stays broken at every larger one."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import tensorflow as tf

from tfadv.analysis.activations import logits
from tfadv.analysis.batches import BATCH_SIZE, check_models
from tfadv.attacks import compiled
from tfadv.balls import BALLS
from tfadv.report.charts import Chart, Series
from tfadv.report.records import clopper_pearson
from tfadv.report.values import freeze
from tfadv.validation import UserError, check_epsilon, check_images, check_labels

# Rounding of x + delta in float32 near 1 is 6e-8; a hundred of them are still no larger perturbation.
_ROUNDING = 1e-5


@dataclasses.dataclass(frozen=True, eq=False)
class AccuracyCurve:
    """How far every example has to be changed, as far as the attack found out.

    Attributes:
        epsilons: float64 [E], rising, input units: where the attack was run.
        distances: float32 [N], size of the smallest perturbation found that changes the prediction, in `norm` and input
            units: an upper bound. 0 where the input itself is misclassified; infinite where nothing was found.
        norm: of both.
    """

    epsilons: np.ndarray
    distances: np.ndarray
    norm: str

    def __post_init__(self) -> None:
        freeze(self, {"epsilons": np.float64, "distances": np.float32})

    @property
    def accuracy(self) -> np.ndarray:
        """[E], share of examples without a known perturbation of size <= epsilon; falls monotonically."""
        return (self.distances[None] > self.epsilons.astype(np.float32)[:, None]).mean(axis=1)

    @property
    def bands(self) -> tuple[np.ndarray, np.ndarray]:
        """(low, high) [E]: 95% intervals of the accuracies (Clopper and Pearson), of the sampling of examples only."""
        count = len(self.distances)
        ends = np.array([clopper_pearson(round(float(share) * count), count) for share in self.accuracy])
        return ends[:, 0], ends[:, 1]

    @property
    def area(self) -> float:
        """Area under the accuracies by the trapezoid rule, divided by the range of epsilon: a mean accuracy."""
        accuracy, widths = self.accuracy, np.diff(self.epsilons)
        return float(((accuracy[1:] + accuracy[:-1]) / 2 * widths).sum() / widths.sum())

    @property
    def median_distance(self) -> float:
        """Half of all examples, also counting those misclassified as they are, break within it; may be infinite."""
        return float(np.median(self.distances))


def accuracy_curve(
    model: Any,
    x: Any,
    y: Any,
    config: Any,
    epsilons: Sequence[float],
    *,
    precision: str = "float32",
    batch_size: int = BATCH_SIZE,
) -> AccuracyCurve:
    """Attacks with each epsilon, the smallest first, whatever is not broken yet.

    A perturbation that succeeds at one epsilon is allowed at every larger one, so the success is carried over without
    another search, and the accuracies fall monotonically. An attack without a radius (epsilon None, such as
    `CarliniWagner` or `DeepFool`) runs once, and its distances give the whole curve. Each epsilon compiles the attack
    anew, which takes a second or two, of `AutoAttack` half a minute.

    Args:
        model: a Keras model, a SavedModel or a function from inputs to logits; inference mode.
        x, y: inputs [N, ...] in the config's bounds, labels [N] or [N, K].
        config: an attack, or `AutoAttack`, whose epsilon is replaced, and whose step_size, if it has one, is scaled
            with it, so that the same number of steps goes equally far in every ball; or a function from epsilon to the
            attack, which decides for itself.
        epsilons: radii in input units, rising, at least two.
        precision, batch_size: as in `tfadv.attacks.compiled`; successes are verified in float32 in any case.

    Raises:
        UserError: unusable inputs or model, epsilons that do not rise, or an attack without an epsilon.
    """
    radii = np.asarray(epsilons, np.float64)
    if radii.ndim != 1 or len(radii) < 2 or not (np.diff(radii) > 0).all():
        raise UserError(f"epsilons must be at least two rising numbers, got {epsilons!r}")
    first = config(float(radii[0])) if callable(config) else config
    if np.ndim(getattr(first, "epsilon", ())):
        raise UserError(
            "config must be an attack with one epsilon for all examples (or None, for the closest), or a function from "
            f"epsilon to such an attack, got {first!r}"
        )
    check_epsilon(radii, first.bounds, first.norm, strict=False)
    found = logits(model, x, bounds=first.bounds, batch_size=batch_size)
    x = check_images(x, first.bounds)
    y = check_labels(y, len(x), found.shape[1])
    distances = np.where(found.argmax(axis=1) == y, np.float32(np.inf), np.float32(0))
    for radius in radii if first.epsilon is not None else [np.inf]:
        left = np.flatnonzero(np.isinf(distances))
        if not len(left) or not radius:
            continue
        attack = compiled(model, _at(config, float(radius)), precision=precision, batch_size=batch_size)
        outcome = attack.run(x[left], y[left], index=left)
        sizes = BALLS[first.norm].size(tf.constant(outcome.x_adv - x[left])).numpy()
        broken = outcome.adversarial & (sizes <= radius + _ROUNDING)
        distances[left[broken]] = np.minimum(sizes[broken], np.float32(radius))
    return AccuracyCurve(radii, distances, first.norm)


def _at(config: Any, epsilon: float) -> Any:
    """The attack for one radius."""
    if callable(config):
        return config(epsilon)
    if config.epsilon is None:
        return config
    changes = {"epsilon": epsilon}
    if hasattr(config, "step_size") and config.epsilon > 0:
        changes["step_size"] = config.step_size * epsilon / config.epsilon
    return dataclasses.replace(config, **changes)


def accuracy_chart(curves: Mapping[str, AccuracyCurve]) -> Chart:
    """Accuracy against epsilon with 95% bands, one series for each name; the title has the areas under the curves.

    Raises:
        UserError: no curve, or curves of different norms.
    """
    check_models(curves)
    norms = {curve.norm for curve in curves.values()}
    if len(norms) > 1:
        raise UserError(f"curves must have one norm to share an axis, got {sorted(norms)}; draw a chart for each")
    areas = ", ".join(f"{name} {curve.area:.3f}" for name, curve in curves.items())
    return Chart(
        f"Accuracy against epsilon (band: 95% interval). Mean over the range: {areas}.",
        f"epsilon ({norms.pop()}, input units)",
        "accuracy",
        {
            name: Series(tuple(curve.epsilons), tuple(curve.accuracy), *map(tuple, curve.bands))
            for name, curve in curves.items()
        },
        percent=True,
    )
