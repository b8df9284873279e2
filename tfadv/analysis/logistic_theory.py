"""How much the estimate of a decision boundary varies: what theory says for large samples, in one dimension.

"Theoretical and empirical study of adversarial examples" (FS), appendix A, argues with Fisher's information for plain
logistic regression. The regularized estimates are no maximum-likelihood estimates; `large_sample` has the law that
holds for every objective of `logistic`, so that theorems 4.1 and 4.2 can be checked rather than simulated.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from scipy.optimize import brentq

from tfadv.analysis.logistic import Objective, fit, loss_derivatives, sigmoid
from tfadv.data.simulated import OUTER
from tfadv.validation import UserError

# Logit squeezing has a kink at the boundary, smoothed as in `logistic.fit` over logits of this size.
_WIDTH = 1e-3


class LargeSample(NamedTuple):
    """The estimate (w, b) of one feature as the number N of points grows.

    Attributes:
        slope, intercept: where the estimates go.
        covariance: [2, 2] of (w, b), times N.
        boundary: -intercept / slope.
        variance: of the estimated boundary, times N.
    """

    slope: float
    intercept: float
    covariance: np.ndarray
    boundary: float
    variance: float


def points_of(intervals: Any = OUTER, count: int = 20_000) -> np.ndarray:
    """[about count]: midpoints that stand for the uniform law on the union of disjoint (low, high)."""
    bounds = np.asarray(intervals, np.float64)
    lengths = bounds[:, 1] - bounds[:, 0]
    shares = np.maximum(np.round(count * lengths / lengths.sum()).astype(int), 1)
    return np.concatenate(
        [
            low + (np.arange(share) + 0.5) / share * length
            for low, length, share in zip(bounds[:, 0], lengths, shares, strict=True)
        ]
    )


def fisher_variances(x: Any, slope: float, intercept: float) -> tuple[float, float]:
    """(N var(w), N var(b)) of plain logistic regression by FS equations 3 and 4: 1 / E[x^2 p (1-p)], 1 / E[p (1-p)].

    That is the inverse of the diagonal of Fisher's information, and holds where E[x p (1 - p)] = 0: for x symmetric
    about the boundary 0. `large_sample` inverts the whole matrix.

    Args:
        x: [n], points that stand for the law of x.
    """
    x = np.asarray(x, np.float64)
    p = sigmoid(slope * x + intercept)
    return float(1 / np.mean(x**2 * p * (1 - p))), float(1 / np.mean(p * (1 - p)))


def delta_method(slope: float, intercept: float, covariance: Any) -> float:
    """var(-b / w) = var(b) / w^2 + b^2 var(w) / w^4 - 2 b cov(w, b) / w^3, to first order.

    FS A.1 prints b^2 / var(1 / w) for the second term and leaves out the third; for b = 0 nothing depends on them.

    Args:
        covariance: [2, 2] of (w, b).
    """
    gradient = np.array([intercept / slope**2, -1 / slope])
    return float(gradient @ np.asarray(covariance) @ gradient)


def large_sample(x: Any, slope: float, intercept: float, objective: Objective | None = None) -> LargeSample:
    """The law of the estimates on N independent points, P(y = 1 | x) = sigmoid(slope x + intercept), as N grows.

    The estimates go to the minimum of the expected objective, and N times their covariance to A^-1 B A^-1, where A is
    the Hessian there and B the covariance of one point's gradient (Huber, Proceedings of the 5th Berkeley Symposium,
    1967). For plain logistic regression A = B is Fisher's information.

    Args:
        x: [n], points that stand for the law of x, as from `points_of`.
        slope, intercept: w and b of FS equation 1.

    Raises:
        UserError: the objective has its minimum at a flat fit, which has no boundary.
    """
    objective = objective or Objective()
    x = np.asarray(x, np.float64)
    p = sigmoid(slope * x + intercept)
    # The loss is linear in the labels, so that their expectation may stand for them.
    found = fit(x[None, :, None], p[None], objective)
    w, b = float(found.weights[0, 0]), float(found.biases[0])
    boundary = float(found.boundaries()[0])
    if not np.isfinite(boundary):
        raise UserError(
            f"{objective} has its minimum at slope {w:.2g}, where there is no boundary; choose a smaller penalty"
        )
    design = np.stack([x, np.ones_like(x)], axis=1)
    delta = objective.label_smoothing

    def scores(y: float) -> tuple[np.ndarray, np.ndarray]:
        target = np.full((1, len(x), 1), (1 - delta) * y + delta * (1 - y))
        logits = (w * x + b)[None, :, None]
        each = loss_derivatives(logits, target, objective.logit_squeezing, _WIDTH)
        return each.slope[0] * design, each.curvature[0, :, 0]

    ones, curvature = scores(1.0)
    zeros, _ = scores(0.0)
    hessian = (curvature * design).T @ design / len(x)
    hessian[0, 0] += 2 * objective.weight_decay
    squares = (p[:, None] * ones).T @ ones + ((1 - p)[:, None] * zeros).T @ zeros
    mean = (p[:, None] * ones + (1 - p)[:, None] * zeros).mean(axis=0)
    inverse = np.linalg.inv(hessian)
    covariance = inverse @ (squares / len(x) - np.outer(mean, mean)) @ inverse
    return LargeSample(w, b, covariance, boundary, delta_method(w, b, covariance))


def point_mass_variance(slope: Any, x: float = 1.0) -> Any:
    """g(w) = 1 / (w^2 p (1 - p)), p = sigmoid(w x): N var of the boundary 0, all points at distance |x| (FS A.1)."""
    w = np.asarray(slope, np.float64)
    p = sigmoid(w * x)
    return 1 / (w**2 * p * (1 - p))


def least_varying_margin() -> float:
    """|w x| at which g(w) is least, 2.3994: the root of t tanh(t / 2) = 2, for w = 2 / (x (2 p - 1)).

    FS A.4 prints 2 / (x (1 - 2 p)), which is negative where w x > 0. Below this margin a larger w lowers the variance.
    """
    return float(brentq(lambda t: t * np.tanh(t / 2) - 2, 1.0, 4.0))
