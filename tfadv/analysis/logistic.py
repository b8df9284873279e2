"""Logistic regression on many simulated samples at once: exact minimizers of the objectives of the papers.

"Theoretical and empirical study of adversarial examples" (FS), section 4, compares the estimates of a decision boundary
by plain logistic regression, label smoothing, logit squeezing and weight decay over 1,000 samples each. All of these
objectives are convex, so that Newton's method finds their minimum whatever the optimizer of the paper was. NumPy,
float64; a sample is a row of every array.
"""

from __future__ import annotations

import dataclasses
from typing import Any, NamedTuple

import numpy as np
from scipy.optimize import linprog

from tfadv.validation import UserError

LIMIT = 50.0
ITERATIONS = 100
# |f| is smoothed to sqrt(f^2 + h^2), which differs by at most h; from wide to narrow, each starts where the last ended.
_WIDTHS = (1.0, 0.1, 0.01, 1e-3)
_TOLERANCE = 1e-9
_SUFFICIENT_DECREASE = 1e-4
_HALVINGS = 40
_ROUNDING = 1e-14
# Under a flatter slope the logits of inputs of size 1 are nothing but the smoothing of |f|.
_FLAT = 0.01


@dataclasses.dataclass(frozen=True)
class Objective:
    """Mean cross-entropy over a sample, and what FS adds to it in section 2.2.

    Attributes:
        label_smoothing: delta, the probability taken from the true class and divided among the others.
        logit_squeezing: lambda of lambda mean_i ||f(x_i)||_2, not squared; |w x + b| where there is one logit.
        weight_decay: lambda of lambda ||w||_2^2; the intercept is free, as FS B.2 says ("regularized on w only").
    """

    label_smoothing: float = 0.0
    logit_squeezing: float = 0.0
    weight_decay: float = 0.0

    def __post_init__(self) -> None:
        for name, value in dataclasses.asdict(self).items():
            if not 0 <= value < (1 if name == "label_smoothing" else np.inf):
                allowed = "in [0, 1)" if name == "label_smoothing" else "a finite number >= 0"
                raise UserError(f"{name} must be {allowed}, got {value!r}")


class Fit(NamedTuple):
    """Minimizers, one for each sample.

    Attributes:
        weights: [R, d] of one logit, or [R, d, K] of K.
        biases: [R] or [R, K]. Of K logits, weights and biases sum to 0 over the classes.
        converged: [R], whether the last step was shorter than 1e-9 of the parameters.
        limited: [R], whether a weight stands at the limit.
    """

    weights: np.ndarray
    biases: np.ndarray
    converged: np.ndarray
    limited: np.ndarray

    def boundaries(self) -> np.ndarray:
        """[R]: -b / w of one feature and one logit; NaN where |w| < 0.01, because a flat fit has no boundary."""
        w = self.weights[:, 0]
        flat = np.abs(w) < _FLAT
        return np.where(flat, np.nan, -self.biases / np.where(flat, 1.0, w))

    def probabilities(self, x: Any) -> np.ndarray:
        """[R, G]: P(y = 1) by each fit of one feature and one logit at the points x [G]."""
        return sigmoid(self.weights * np.asarray(x, np.float64) + self.biases[:, None])


class Derivatives(NamedTuple):
    """Of one point's loss by its M logits: slope [R, N, M] and curvature [R, N, M, M]."""

    slope: np.ndarray
    curvature: np.ndarray


def fit(
    x: Any, targets: Any, objective: Objective | None = None, *, limit: float = LIMIT, iterations: int = ITERATIONS
) -> Fit:
    """Minimizes the objective on every sample: Newton's method with backtracking, projected onto |weight| <= `limit`.

    Plain logistic regression has no minimum on a sample that a threshold separates; the limit makes it finite (w = 50
    takes p from 0.01 to 0.99 within 0.2), and `Fit.limited` tells. Logit squeezing is minimized with |f| smoothed to
    sqrt(f^2 + h^2), h = 1, 0.1, 0.01, 0.001, `iterations` each.

    Args:
        x: R samples of N points with d features, [R, N, d].
        targets: P(y = 1) for one logit, as in FS equation 1, [R, N]; or distributions over K >= 2 classes for K logits,
            [R, N, K]. Hard labels are 0 and 1.
        objective: None is plain logistic regression.
        limit: of the absolute value of every weight; biases are free.

    Returns:
        `Fit`.

    Raises:
        UserError: the shapes do not agree, or the targets are no probabilities.
    """
    objective = objective or Objective()
    points, wanted = _checked(x, targets)
    classes = max(2, wanted.shape[-1])
    delta = objective.label_smoothing
    wanted = (1 - delta) * wanted + delta / (classes - 1) * (1 - wanted)
    theta = np.zeros((len(points), points.shape[-1], wanted.shape[-1]))
    converged = np.zeros(len(points), bool)
    for width in _WIDTHS if objective.logit_squeezing else (0.0,):
        theta, converged = _newton(_Problem(points, wanted, objective, width), theta, limit, iterations)
    limited = np.asarray((np.abs(theta[:, :-1]) >= limit).any(axis=(1, 2)))
    if wanted.shape[-1] == 1:
        return Fit(theta[:, :-1, 0], theta[:, -1, 0], converged, limited)
    theta = theta - theta.mean(axis=-1, keepdims=True)
    return Fit(theta[:, :-1], theta[:, -1], converged, limited)


def separable(x: Any, y: Any) -> np.ndarray:
    """[R]: whether plain logistic regression has no minimum, because some direction never raises any point's loss.

    That is complete or quasi-complete separation (Albert and Anderson, Biometrika 71, 1984). One feature and two
    classes: a threshold has all of one class on one side. Otherwise a linear program asks for coefficients that put
    every point's class on a par with the others or ahead, and some point's ahead.

    Args:
        x: [R, N, d].
        y: class numbers [R, N]; a class that no point has counts only if a larger number occurs.

    Raises:
        UserError: the shapes do not agree.
    """
    x, y = np.asarray(x, np.float64), np.asarray(y)
    if x.ndim != 3 or y.shape != x.shape[:2]:
        raise UserError(f"x must be [samples, points, features] and y [samples, points], got {x.shape} and {y.shape}")
    classes = int(y.max(initial=0)) + 1
    if x.shape[-1] == 1 and classes <= 2:
        ones, value = y == 1, x[..., 0]
        ends = [
            (np.where(mask, value, np.inf).min(axis=1), np.where(mask, value, -np.inf).max(axis=1))
            for mask in (ones, ~ones)
        ]
        return (ends[0][0] >= ends[1][1]) | (ends[0][1] <= ends[1][0])
    return np.array([_has_free_direction(points, labels, classes) for points, labels in zip(x, y, strict=True)])


def sigmoid(z: Any) -> np.ndarray:
    """1 / (1 + exp(-z)), without overflow."""
    small = np.exp(-np.abs(z))
    return np.where(np.asarray(z) >= 0, 1.0, small) / (1 + small)


def loss_derivatives(logits: np.ndarray, targets: np.ndarray, squeezing: float, width: float) -> Derivatives:
    """Of cross-entropy + squeezing sqrt(||f||^2 + width^2), by the logits f; both [R, N, M], M as in `fit`.

    p - t is never formed, because it would be 0 for a point with 1 - p < 1e-16, far from which the fit still has a way
    to go: slope_k = (1 - t_k) p_k - t_k sum_{j != k} p_j.
    """
    if logits.shape[-1] == 1:
        p, rest = sigmoid(logits), sigmoid(-logits)
        curvature = (p * rest)[..., None]
    else:
        p = np.exp(logits - logits.max(axis=-1, keepdims=True))
        p /= p.sum(axis=-1, keepdims=True)
        same = np.eye(p.shape[-1])
        rest = p @ (1 - same)
        curvature = same * (p * rest)[..., None] - (1 - same) * p[..., None] * p[..., None, :]
    slope = (1 - targets) * p - targets * rest
    if squeezing:
        length = np.sqrt(np.square(logits).sum(axis=-1, keepdims=True) + width**2)
        unit = logits / length
        slope = slope + squeezing * unit
        identity = np.eye(logits.shape[-1])
        curvature = curvature + squeezing * (identity - unit[..., None] * unit[..., None, :]) / length[..., None]
    return Derivatives(slope, curvature)


class _Problem(NamedTuple):
    """points [R, N, P], the last of them 1; targets [R, N, M]."""

    points: np.ndarray
    targets: np.ndarray
    objective: Objective
    width: float

    def rows(self, chosen: np.ndarray) -> _Problem:
        if len(chosen) == len(self.points):
            return self
        return self._replace(points=self.points[chosen], targets=self.targets[chosen])

    def loss(self, theta: np.ndarray) -> np.ndarray:
        logits = self.points @ theta
        best = np.maximum(logits.max(axis=-1), 0) if logits.shape[-1] == 1 else logits.max(axis=-1)
        if logits.shape[-1] == 1:
            z, t = logits[..., 0], self.targets[..., 0]
            # t softplus(-z) + (1 - t) softplus(z), exact also where it is 1e-20.
            each = t * (best - z) + (1 - t) * best + np.log1p(np.exp(-np.abs(z)))
        else:
            others = np.exp(logits - best[..., None])
            np.put_along_axis(others, logits.argmax(axis=-1)[..., None], 0, axis=-1)
            each = (self.targets * (best[..., None] - logits)).sum(axis=-1) + np.log1p(others.sum(axis=-1))
        if self.objective.logit_squeezing:
            length = np.sqrt(np.square(logits).sum(axis=-1) + self.width**2)
            each = each + self.objective.logit_squeezing * length
        return each.mean(axis=1) + self.objective.weight_decay * np.square(theta[:, :-1]).sum(axis=(1, 2))

    def derivatives(self, theta: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Gradient [R, P, M] and Hessian [R, P, M, P, M]."""
        count, size, outputs = len(theta), theta.shape[1], theta.shape[2]
        each = loss_derivatives(self.points @ theta, self.targets, self.objective.logit_squeezing, self.width)
        transposed = self.points.swapaxes(1, 2) / self.points.shape[1]
        gradient = transposed @ each.slope
        hessian = np.empty((count, size, outputs, size, outputs))
        for one in range(outputs):
            for other in range(one + 1):
                block = transposed @ (each.curvature[..., one, other, None] * self.points)
                hessian[:, :, one, :, other] = hessian[:, :, other, :, one] = block
        decay = 2 * self.objective.weight_decay
        gradient[:, :-1] += decay * theta[:, :-1]
        weights = np.arange((size - 1) * outputs)
        hessian.reshape(count, size * outputs, -1)[:, weights, weights] += decay
        return gradient, hessian


def _newton(problem: _Problem, theta: np.ndarray, limit: float, iterations: int) -> tuple[np.ndarray, np.ndarray]:
    """(theta, converged) after at most `iterations` steps from `theta` [R, P, M]."""
    theta, converged = theta.copy(), np.zeros(len(theta), bool)
    left = np.arange(len(theta))
    for _ in range(iterations):
        part, here = problem.rows(left), theta[left]
        gradient, hessian = part.derivatives(here)
        there, moved = _searched(part, here, gradient, _direction(here, gradient, hessian, limit), limit)
        theta[left] = there
        arrived = np.abs(there - here).max(axis=(1, 2)) <= _TOLERANCE * (1 + np.abs(there).max(axis=(1, 2)))
        converged[left[arrived & moved]] = True
        left = left[~arrived]
        if not len(left):
            break
    return theta, converged


def _direction(theta: np.ndarray, gradient: np.ndarray, hessian: np.ndarray, limit: float) -> np.ndarray:
    """Newton's direction [R, P, M] among the parameters that may move: a weight at the limit that wants out may not."""
    count, size, outputs = theta.shape
    fixed = np.zeros(theta.shape, bool)
    fixed[:, :-1] = (np.abs(theta[:, :-1]) >= limit) & (gradient[:, :-1] * theta[:, :-1] < 0)
    blocked = fixed.reshape(count, -1)
    matrix = hessian.reshape(count, size * outputs, -1).copy()
    scale = np.trace(matrix, axis1=1, axis2=2)[:, None, None] / (size * outputs) + np.finfo(float).tiny
    if outputs > 1:
        # Adding the same to all logits changes no probability; without this the matrix would be singular.
        matrix += scale * np.kron(np.eye(size), np.full((outputs, outputs), 1 / outputs))
    matrix[blocked[:, :, None] | blocked[:, None, :]] = 0
    diagonal = np.arange(size * outputs)
    matrix[:, diagonal, diagonal] += np.where(blocked, 1.0, _ROUNDING) * scale[..., 0]
    wanted = np.where(blocked, 0.0, -gradient.reshape(count, -1))
    return np.linalg.solve(matrix, wanted[..., None])[..., 0].reshape(theta.shape)


def _searched(
    problem: _Problem, theta: np.ndarray, gradient: np.ndarray, direction: np.ndarray, limit: float
) -> tuple[np.ndarray, np.ndarray]:
    """(parameters, moved): the longest of the steps 1, 1/2, 1/4, ... that lowers the loss as much as it promised."""
    before = problem.loss(theta)
    result, length = theta.copy(), np.ones(len(theta))
    left = np.arange(len(theta))
    for _ in range(_HALVINGS):
        there = theta[left] + length[left, None, None] * direction[left]
        there[:, :-1] = np.clip(there[:, :-1], -limit, limit)
        promised = (gradient[left] * (there - theta[left])).sum(axis=(1, 2))
        after = problem.rows(left).loss(there)
        good = after <= before[left] + _SUFFICIENT_DECREASE * promised + _ROUNDING * np.abs(before[left])
        result[left[good]] = there[good]
        left = left[~good]
        if not len(left):
            break
        length[left] /= 2
    moved = np.ones(len(theta), bool)
    moved[left] = False
    return result, moved


def _has_free_direction(x: np.ndarray, y: np.ndarray, classes: int) -> bool:
    points = np.concatenate([x, np.ones((len(x), 1))], axis=1)
    own = np.eye(classes)[y]
    # One row for each point and other class: (coefficients of the own class - those of the other) applied to the point.
    rows = np.einsum("nkc,np->nkpc", own[:, None] - np.eye(classes), points).reshape(len(x) * classes, -1)
    rows = rows[np.abs(rows).any(axis=1)]
    found = linprog(-rows.sum(axis=0), A_ub=-rows, b_ub=np.zeros(len(rows)), bounds=(-1, 1), method="highs")
    return bool(found.status == 0 and -found.fun > 1e-7)


def _checked(x: Any, targets: Any) -> tuple[np.ndarray, np.ndarray]:
    """Points with a last feature 1, [R, N, d + 1], and targets [R, N, M], float64."""
    x, targets = np.asarray(x, np.float64), np.asarray(targets, np.float64)
    if x.ndim != 3 or not x.size or targets.shape[:2] != x.shape[:2] or targets.ndim not in (2, 3):
        raise UserError(
            "x must be [samples, points, features], and targets [samples, points] or [samples, points, classes]; got "
            f"{x.shape} and {targets.shape}"
        )
    if targets.ndim == 2:
        targets = targets[..., None]
    elif targets.shape[-1] < 2:
        raise UserError(f"targets must have 2 classes or more in their last axis, got {targets.shape}")
    elif not np.allclose(targets.sum(axis=-1), 1):
        raise UserError("targets must sum to 1 over the classes; one-hot labels do, class numbers do not")
    if not (np.isfinite(x).all() and (targets >= 0).all() and (targets <= 1).all()):
        raise UserError("x must be finite and targets probabilities in [0, 1]; labels -1 and 1 become 0 and 1")
    return np.concatenate([x, np.ones((*x.shape[:2], 1))], axis=-1), targets
