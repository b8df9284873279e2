"""The simulated data of the papers: seeded samplers of points x and labels y whose laws are known in closed form.

Every sampler gives x float32 [N, d] and y int32 [N], in random order, and depends on its arguments alone. Where a paper
has labels -1 and +1, label 0 stands for -1 and label 1 for +1.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from tfadv.data.spec import Arrays
from tfadv.validation import UserError

# Features far from the boundary, as in figures 2 (a), 3, 4 (a) and 7 of the feature smoothing paper.
OUTER = ((-1.0, -0.9), (0.9, 1.0))


def logistic(
    size: int | Sequence[int],
    *,
    slope: float = 4.0,
    intercept: float = 0.0,
    intervals: Sequence[tuple[float, float]] = OUTER,
    seed: int,
) -> Arrays:
    """One feature, and P(y = 1 | x) = 1 / (1 + exp(-(slope x + intercept))) (feature smoothing paper, FS, equation 1).

    The figures of FS are 1,000 samples each, of these arguments beside the defaults:

        figure 2 (a), 4 (a): size=300            figure 3: size=300, slope=1..6
        figure 2 (b), 4 (b): size=300, slope=8, intercept=-4, intervals=[(0, 1)]; FS prints b = 4, which puts the
            boundary at -1/2, outside the data
        figure 6 (a): size=(200, 100)            figure 6 (b): size=(150, 150), intervals=[(-1, -0.9), (0.6, 0.7)]

    Args:
        size: a whole number N draws x uniformly from the union of the intervals; one number for each interval fixes how
            many come from there.
        slope: w of FS.
        intercept: b of FS.
        intervals: disjoint (low, high), low < high.
        seed: of the draw, 0..2^32 - 1.

    Returns:
        (x [N, 1], y [N]).

    Raises:
        UserError: an argument is none of these.
    """
    draw = _random(seed)
    x = draw.permutation(_uniform(draw, size, intervals))
    y = draw.uniform(size=len(x)) < _sigmoid(slope * x + intercept)
    return _arrays(x[:, None], y)


def thresholded(
    size: int | Sequence[int] = 300,
    *,
    near: int = 10,
    distance: float = 0.1,
    intervals: Sequence[tuple[float, float]] = OUTER,
    seed: int,
) -> Arrays:
    """One feature with labels that follow from it, y = 1 if x > 0, and a few points near the boundary (FS, figure 7).

    FS adds either 10 points at x = 0.1 with y = 1 or 10 points at x = -0.1 with y = 0, each with probability 1/2: one
    coin for all of them, so that one class has data near the boundary and the other has not.

    Args:
        size, intervals: the points away from the boundary, as for `logistic`; no interval contains 0.
        near: number of points at `distance` from the boundary, all on one side of it.
        distance: from 0, above 0.
        seed: of the draw.

    Returns:
        (x [N + near, 1], y [N + near]).

    Raises:
        UserError: an argument is none of these.
    """
    if near < 0 or not distance > 0:
        raise UserError(f"near must be at least 0 and distance above 0, got near={near!r} and distance={distance!r}")
    draw = _random(seed)
    far = _uniform(draw, size, intervals)
    side = 1.0 if draw.uniform() < 0.5 else -1.0
    x = draw.permutation(np.concatenate([far, np.full(near, side * distance)]))
    return _arrays(x[:, None], x > 0)


def multinomial(
    size: int, *, weights: Any, biases: Any, intervals: Sequence[tuple[float, float]] = OUTER, seed: int
) -> Arrays:
    """Several features, each uniform on the union of the intervals, and P(y = k | x) = softmax(x weights + biases)_k.

    FS, figure 5, has two features and three classes and states neither the law of x nor the weights.

    Args:
        size: N.
        weights: [d, K].
        biases: [K].
        intervals: as for `logistic`.
        seed: of the draw.

    Returns:
        (x [N, d], y [N]).

    Raises:
        UserError: the shapes do not agree, or an argument is none of these.
    """
    weights, biases = np.asarray(weights, np.float64), np.asarray(biases, np.float64)
    if weights.ndim != 2 or biases.shape != weights.shape[1:] or not weights.size:
        raise UserError(
            f"weights must have the shape [features, classes] and biases [classes], got {weights.shape} and "
            f"{biases.shape}"
        )
    draw = _random(seed)
    x = np.stack([draw.permutation(_uniform(draw, _count(size), intervals)) for _ in weights], axis=1)
    # Gumbel: the largest of logit + g is class k with probability softmax_k.
    return _arrays(x, np.argmax(x @ weights + biases + draw.gumbel(size=(len(x), len(biases))), axis=1))


def gaussian(size: int, mean: Any, deviation: Any, *, seed: int) -> Arrays:
    """Fair labels, and independent features x_j ~ N(+-mean_j, deviation_j^2), + for label 1 and - for label 0.

    The model of LSV, section 3.1 (`fading`), and of AVmixup (AV), examples 1 to 3: example 1 has the per-class mean
    theta* (of length sqrt(d) in definition 3) and one deviation sigma, examples 2 and 3 are `robust_and_weak`. A linear
    classifier sign(w'x) is right with probability Psi(w'mean / sqrt(sum_j w_j^2 deviation_j^2)) (LSV, equation 8).

    Args:
        size: N.
        mean: [d].
        deviation: standard deviations >= 0, [d], or one number for all.
        seed: of the draw.

    Returns:
        (x [N, d], y [N]).

    Raises:
        UserError: the shapes do not agree, or an argument is none of these.
    """
    center, spread = np.asarray(mean, np.float64), np.asarray(deviation, np.float64)
    if center.ndim != 1 or not center.size or spread.shape not in ((), center.shape):
        raise UserError(
            f"mean must have the shape [d], d >= 1, and deviation the same or none, got {center.shape} and "
            f"{spread.shape}"
        )
    if not (np.isfinite(center).all() and np.isfinite(spread).all() and (spread >= 0).all()):
        raise UserError(f"mean must be finite, deviation also >= 0, got {mean!r} and {deviation!r}")
    draw = _random(seed)
    y = draw.uniform(size=_count(size)) < 0.5
    noise = draw.standard_normal((size, len(center)))
    return _arrays(np.where(y, 1.0, -1.0)[:, None] * center + spread * noise, y)


def fading(features: int = 10) -> tuple[np.ndarray, np.ndarray]:
    """(mean, deviation) [d] of LSV's fading Gaussian: deviation_i = 1 - (i - 1) / d, mean_i = deviation_i^2, i = 1..d.

    The mean is the variance for every feature, so Bayes' classifier is w = (1, ..., 1) (LSV, section 3.1); d is 10 in
    its figure 2 and 2 in figure 3.

    Raises:
        UserError: `features` is not a whole number above 0.
    """
    deviation = 1.0 - np.arange(_count(features, "features")) / features
    return deviation**2, deviation


def robust_and_weak(
    weak: int, *, eta: float, sigma_a: float, sigma_b: float, insufficient: int = 0
) -> tuple[np.ndarray, np.ndarray]:
    """(mean, deviation) [weak + 1] of AV's robust feature and its `weak` non-robust ones (AV, examples 2 and 3).

    The true law, example 2: x_1 ~ N(y, sigma_a^2), and the d = `weak` others ~ N(eta y, sigma_b^2). The sample law of
    example 3 has c = `insufficient` of those, the first, look like x_1.

    Args:
        weak: d of AV.
        eta: mean of a weak feature, in [0, 1).
        sigma_a, sigma_b: deviations of x_1 and of the weak features, 0 < sigma_a < sigma_b (AV: much less).
        insufficient: c of AV, 0 for the true law and 0 < c < d for the sample law.

    Raises:
        UserError: an argument is none of these.
    """
    if not 0 <= eta < 1:
        raise UserError(f"eta must lie in [0, 1), got {eta!r}")
    if not 0 < sigma_a < sigma_b:
        raise UserError(f"sigma_a and sigma_b must be 0 < sigma_a < sigma_b, got {sigma_a!r} and {sigma_b!r}")
    if not 0 <= insufficient < _count(weak, "weak"):
        raise UserError(f"insufficient must be a whole number from 0 to {weak - 1}, below weak, got {insufficient!r}")
    like_robust = np.arange(weak + 1) <= insufficient
    return np.where(like_robust, 1.0, eta), np.where(like_robust, sigma_a, sigma_b)


def two_moons(size: int, *, noise: float = 0.0, seed: int) -> Arrays:
    """Two half circles of radius 1, around (0, 0) and, turned over, (1, 1/2), each of which reaches into the other.

    Label 0: (cos t, sin t), the larger half of an odd size; label 1: (1 - cos t, 1/2 - sin t); t evenly spaced in
    [0, pi]. The geometry is that of scikit-learn's `make_moons`.

    Args:
        size: N.
        noise: standard deviation of the Gaussian noise on each coordinate.
        seed: of the noise and the order.

    Returns:
        (x [N, 2], y [N]).

    Raises:
        UserError: an argument is none of these.
    """
    if not 0 <= noise < np.inf:
        raise UserError(f"noise must be a finite number >= 0, got {noise!r}")
    draw = _random(seed)
    lower = _count(size) // 2
    t, s = np.linspace(0, np.pi, size - lower), np.linspace(0, np.pi, lower)
    x = np.concatenate([np.stack([np.cos(t), np.sin(t)], axis=1), np.stack([1 - np.cos(s), 0.5 - np.sin(s)], axis=1)])
    y = np.arange(size) >= size - lower
    order = draw.permutation(size)
    return _arrays(x[order] + noise * draw.standard_normal((size, 2)), y[order])


def _uniform(draw: np.random.RandomState, size: int | Sequence[int], intervals: Sequence[tuple[float, float]]) -> Any:
    """Points [N]: uniform on the union of the intervals for a number, so many from each for one number each."""
    bounds = np.asarray(intervals, np.float64)
    if bounds.ndim != 2 or bounds.shape[1:] != (2,) or not np.isfinite(bounds).all() or (np.diff(bounds) <= 0).any():
        raise UserError(f"intervals must be pairs (low, high) of finite numbers with low < high, got {intervals!r}")
    low, length = bounds[:, 0], bounds[:, 1] - bounds[:, 0]
    if np.ndim(size) == 0:
        part = draw.choice(len(low), size=_count(size), p=length / length.sum())
    else:
        counts = [_count(number) for number in np.asarray(size)]
        if len(counts) != len(low):
            raise UserError(f"size must be one number, or one for each of the {len(low)} intervals, got {size!r}")
        part = np.repeat(np.arange(len(low)), counts)
    return low[part] + length[part] * draw.uniform(size=len(part))


def _random(seed: int) -> np.random.RandomState:
    if isinstance(seed, bool) or not isinstance(seed, int | np.integer) or not 0 <= seed < 2**32:
        raise UserError(f"seed must be a whole number from 0 to 2^32 - 1, got {seed!r}")
    # NumPy freezes the numbers of RandomState for all its versions.
    return np.random.RandomState(seed)


def _count(size: Any, name: str = "size") -> int:
    if isinstance(size, bool) or not isinstance(size, int | np.integer) or size < 1:
        raise UserError(f"{name} must be a whole number above 0, got {size!r}")
    return int(size)


def _sigmoid(z: np.ndarray) -> np.ndarray:
    return 0.5 * (1 + np.tanh(0.5 * z))


def _arrays(x: np.ndarray, y: np.ndarray) -> Arrays:
    return x.astype(np.float32), y.astype(np.int32)
