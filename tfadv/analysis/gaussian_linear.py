"""Linear classifiers sign(w'x) of two Gaussian classes: their accuracies in closed form, and the most robust of them.

Labels -1 and +1 are equally likely, and feature j is N(y mean_j, deviation_j^2) (`tfadv.data.simulated.gaussian`), so
that the margin m = y w'x is Gaussian whatever w is. "Adversarial robustness via label-smoothing" (Goibert and Dohmatob,
LSV), section 3.1.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from scipy.optimize import brentq
from scipy.stats import norm

from tfadv.analysis.logistic import sigmoid
from tfadv.validation import UserError

SMOOTHINGS = ("adversarial", "standard")
# The trapezoid rule over +-10 deviations converges geometrically for analytic integrands such as these.
_NODES = np.linspace(-10.0, 10.0, 4001)
_WEIGHTS = norm.pdf(_NODES) * (_NODES[1] - _NODES[0])


def accuracy(weights: Any, mean: Any, deviation: Any, epsilon: Any = 0.0) -> np.ndarray:
    """P(w'x' has the sign of y for every ||x' - x||_inf <= epsilon) = Psi((w'mean - epsilon ||w||_1) / sd(w'x)).

    LSV, equations 8 (epsilon 0) and 9; Psi is the distribution function of N(0, 1). The attack that attains it is
    x' = x - epsilon y sign(w).

    Args:
        weights: [..., d], not all 0.
        mean, deviation: [d], deviations > 0.
        epsilon: radius in input units, broadcast against the leading axes of `weights`.

    Returns:
        Accuracies in [0, 1], float64 [...].

    Raises:
        UserError: shapes that do not agree, deviations <= 0, or weights that are all 0 and thus no classifier.
    """
    center, spread = _law(mean, deviation)
    w = np.asarray(weights, np.float64)
    if w.shape[-1:] != center.shape or not np.abs(w).sum(axis=-1).all():
        raise UserError(f"weights must be [..., {len(center)}] and not all 0, got {weights!r}")
    sd = np.sqrt(((w * spread) ** 2).sum(axis=-1))
    return norm.cdf((w @ center - np.asarray(epsilon, np.float64) * np.abs(w).sum(axis=-1)) / sd)


def most_robust(mean: Any, deviation: Any, epsilon: float) -> np.ndarray:
    """Weights [d] of the linear classifier of the largest accuracy at epsilon (LSV, lemma 1, equation 10).

    w_j = sign(mean_j) (|mean_j| - epsilon)_+ / deviation_j^2; with epsilon 0 that is Bayes' classifier. From epsilon =
    max |mean_j| on, where these are all 0, the best is a single feature, the one of the largest (|mean_j| - epsilon) /
    deviation_j: then (epsilon - |mean_j|) |w_j| is least in relation to |w_j| deviation_j for j alone, and a sum over
    several features has a 2-norm below its 1-norm.
    """
    center, spread = _law(mean, deviation)
    left = np.abs(center) - epsilon
    if left.max() > 0:
        return np.sign(center) * np.maximum(left, 0.0) / spread**2
    alone = np.arange(len(center)) == np.argmax(left / spread)
    return np.where(alone, np.where(center < 0, -1.0, 1.0), 0.0)


def best_accuracy(mean: Any, deviation: Any, epsilon: Any) -> np.ndarray:
    """What `most_robust` attains: Psi(sqrt(sum_j (|mean_j| - epsilon)_+^2 / deviation_j^2)) (LSV, equation 11).

    From epsilon = max |mean_j| on that formula says 1/2; returned is Psi(max_j (|mean_j| - epsilon) / deviation_j).

    Args:
        epsilon: radii, any shape.
    """
    center, spread = _law(mean, deviation)
    left = (np.abs(center) - np.asarray(epsilon, np.float64)[..., None]) / spread
    return norm.cdf(np.where(left.max(axis=-1) > 0, np.linalg.norm(np.maximum(left, 0), axis=-1), left.max(axis=-1)))


def expected_smoothed_loss(
    weights: Any, mean: Any, deviation: Any, mass: float, smoothing: str = "adversarial"
) -> tuple[float, np.ndarray]:
    """The expected label-smoothed loss of the model P(y = 1 | x) = 1 / (1 + exp(-w'x)), and its gradient.

    In terms of the margin m a loss is log(1 + e^-m) + mass m for "standard" smoothing, and log(1 + e^-m) + mass (m)_+
    for "adversarial" smoothing, which takes nothing from a true class that has the smaller logit (LSV, l1 to l4 of
    section 3.1 with the sign of SmoothCE).

    Args:
        weights: [d].
        mass: alpha, the probability taken from the true class, in [0, 1].
        smoothing: one of `SMOOTHINGS`.

    Returns:
        (nats, [d]); by an integral over the law of m, exact to about 1e-12.
    """
    center, spread = _law(mean, deviation)
    _check_smoothing(mass, smoothing)
    w = np.asarray(weights, np.float64)
    a, b = float(w @ center), float(np.sqrt(((w * spread) ** 2).sum()))
    m = a + b * _NODES
    loss, slope = np.logaddexp(0.0, -m), -sigmoid(-m)
    value, by_mean, by_deviation = _WEIGHTS @ loss, _WEIGHTS @ slope, _WEIGHTS @ (slope * _NODES)
    if smoothing == "standard":
        value, by_mean = value + mass * a, by_mean + mass
    else:
        # E (m)_+ = a Psi(a / b) + b psi(a / b), whose derivatives are Psi and psi.
        ratio = a / b if b else 0.0
        value += mass * (a * norm.cdf(ratio) + b * norm.pdf(ratio))
        by_mean, by_deviation = by_mean + mass * norm.cdf(ratio), by_deviation + mass * norm.pdf(ratio)
    return float(value), by_mean * center + (by_deviation / b if b else 0.0) * spread**2 * w


def smoothed_classifier(mean: Any, deviation: Any, mass: float, smoothing: str = "adversarial") -> np.ndarray:
    """Weights [d] that minimize `expected_smoothed_loss`: Bayes' classifier mean_j / deviation_j^2 times a number.

    The loss is a strictly convex function g of the margin. So its expectation depends on w through E m = w'mean and
    sd(m) alone, it grows with sd(m), and where the gradient vanishes w is proportional to mean_j / deviation_j^2. The
    number is 2 without smoothing, where the posterior is exact, and falls to 0 as the mass grows to 1/2 ("standard"),
    or earlier ("adversarial", 0.498 for LSV's fading Gaussian of 10 features). Label smoothing therefore changes the
    confidence of the best classifier of this model, and no prediction, with or without an attack.
    """
    center, spread = _law(mean, deviation)
    _check_smoothing(mass, smoothing)
    bayes = center / spread**2

    def slope(scale: float) -> float:
        return float(expected_smoothed_loss(scale * bayes, center, spread, mass, smoothing)[1] @ bayes)

    if mass == 0:
        return 2.0 * bayes
    # The slope at 0 is that of the limit: a tiny scale keeps the sign of every margin.
    return (0.0 if slope(1e-9) >= 0 else brentq(slope, 1e-9, 2.0, xtol=1e-13)) * bayes


def _law(mean: Any, deviation: Any) -> tuple[np.ndarray, np.ndarray]:
    center, spread = np.asarray(mean, np.float64), np.asarray(deviation, np.float64)
    if center.ndim != 1 or center.shape != spread.shape or not center.any() or not (spread > 0).all():
        raise UserError(
            f"mean and deviation must be [d] of one d, mean not all 0 and deviation > 0, got {mean!r}, {deviation!r}"
        )
    return center, spread


def _check_smoothing(mass: float, smoothing: str) -> None:
    if smoothing not in SMOOTHINGS or not 0 <= mass <= 1:
        raise UserError(f"smoothing must be one of {SMOOTHINGS} and mass in [0, 1], got {smoothing!r} and {mass!r}")
