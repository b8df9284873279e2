"""Simulated samples stacked for `logistic.fit`, and the virtual points that augmentations add to them.

"Theoretical and empirical study of adversarial examples" (FS), sections 2.1 and 2.2, on arrays of float64 [R, N, d]:
the mathematics of tfadv/augment for a thousand small samples at once.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from tfadv.analysis.logistic import Fit, Objective, fit
from tfadv.data.spec import Arrays
from tfadv.validation import UserError

# Samples of one seed are numbered below this, so that two seeds share none.
_MOST = 1_000_000
_LARGEST_SEED = 4000


class Samples(NamedTuple):
    """R samples: points x [R, N, d] and targets [R, N], P(y = 1), 0 and 1 for hard labels."""

    x: np.ndarray
    targets: np.ndarray


def realizations(sample: Callable[[int], Arrays], count: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """x float64 [count, N, d] and y int [count, N] of `count` independent draws.

    Args:
        sample: seed -> (x [N, d], y [N]), such as a sampler of tfadv/data/simulated.py.
        count: 1..1,000,000.
        seed: 0..3,999; draw r has the seed 1,000,000 seed + r.

    Raises:
        UserError: count or seed is none of these.
    """
    if not 1 <= count <= _MOST or not 0 <= seed < _LARGEST_SEED:
        raise UserError(
            f"count must lie in 1..{_MOST} and seed in 0..{_LARGEST_SEED - 1}, got count={count!r} and seed={seed!r}"
        )
    drawn = [sample(_MOST * seed + number) for number in range(count)]
    return np.stack([x for x, _ in drawn]).astype(np.float64), np.stack([y for _, y in drawn])


def interpolated(samples: Samples, *, alpha: float, new: int, mixed: bool, seed: int) -> Samples:
    """Adds `new` points (1 - alpha) x_i + alpha x_j to every sample, i and j drawn independently and uniformly from it.

    Args:
        alpha: of FS 2.1, below 0.5 there; a negative one extrapolates beyond x_i.
        mixed: False keeps y_i (feature smoothing); True interpolates the labels too (mixup, FS 2.2), and needs
            0 <= alpha <= 1.
        seed: of the pairs; both kinds draw the same.

    Raises:
        UserError: alpha is not in [-1, 1], or is negative where labels are mixed.
    """
    if not (0.0 if mixed else -1.0) <= alpha <= 1:
        raise UserError(f"alpha must lie in [-1, 1], and in [0, 1] where labels are mixed, got {alpha!r}")
    x, targets = samples
    draw = np.random.RandomState(seed)
    i, j = draw.randint(x.shape[1], size=(2, len(x), new))
    row = np.arange(len(x))[:, None]
    points = (1 - alpha) * x[row, i] + alpha * x[row, j]
    own = targets[row, i]
    labels = (1 - alpha) * own + alpha * targets[row, j] if mixed else own
    return Samples(np.concatenate([x, points], axis=1), np.concatenate([targets, labels], axis=1))


def noisy(samples: Samples, *, stddev: float, bounds: tuple[float, float], seed: int) -> Samples:
    """x~ = P(x + e), e ~ N(0, stddev^2) on every feature, P clips to `bounds`, the range of the data (FS 2.1)."""
    draw = np.random.RandomState(seed)
    return samples._replace(x=np.clip(samples.x + stddev * draw.standard_normal(samples.x.shape), *bounds))


def adversarial(samples: Samples, fitted: Fit, *, epsilon: float) -> Samples:
    """Adds to every point with a hard label its adversarial example x - epsilon (2 y - 1) w / ||w||_2, labeled y.

    Of a linear model that is the exact worst point of the l2 ball; of one feature also of the linf ball.
    """
    w = fitted.weights
    unit = w / np.maximum(np.linalg.norm(w, axis=1, keepdims=True), np.finfo(float).tiny)
    points = samples.x - epsilon * (2 * samples.targets - 1)[..., None] * unit[:, None]
    return Samples(np.concatenate([samples.x, points], axis=1), np.concatenate([samples.targets] * 2, axis=1))


def adversarially_fitted(samples: Samples, objective: Objective | None = None, *, epsilon: float, rounds: int) -> Fit:
    """Adversarial training of a linear model: fits, adds the adversarial examples of that fit, and fits again.

    Args:
        samples: with hard labels.
        epsilon: radius of the l2 ball, in the units of x.
        rounds: how often; of one feature the second round changes nothing, as long as the slope keeps its sign.
    """
    found = fit(samples.x, samples.targets, objective)
    for _ in range(rounds):
        found = fit(*adversarial(samples, found, epsilon=epsilon), objective)
    return found


def summary(values: Any) -> dict[str, Any]:
    """What is known of an estimate after R realizations: JSON values.

    Args:
        values: [R]; NaN where a realization has no estimate.

    Returns:
        count, undefined (how many are NaN), mean, standard_error, variance, median, median_interval (95%, of order
        statistics, without assumptions on the law), quartiles and iqr; None where fewer than 2 values are defined.
    """
    values = np.asarray(values, np.float64)
    known = np.sort(values[np.isfinite(values)])
    found: dict[str, Any] = {"count": len(values), "undefined": len(values) - len(known)}
    if len(known) < 2:
        names = ("mean", "standard_error", "variance", "median", "median_interval", "quartiles", "iqr")
        return {**found, **dict.fromkeys(names)}
    # The number of values below the median is binomial(n, 1/2), here by its normal approximation.
    reach = 0.98 * np.sqrt(len(known))
    low = max(int(np.floor((len(known) - 1) / 2 - reach)), 0)
    quartiles = np.percentile(known, [25, 75])
    return {
        **found,
        "mean": float(known.mean()),
        "standard_error": float(known.std(ddof=1) / np.sqrt(len(known))),
        "variance": float(known.var(ddof=1)),
        "median": float(np.median(known)),
        "median_interval": [float(known[low]), float(known[len(known) - 1 - low])],
        "quartiles": quartiles.tolist(),
        "iqr": float(quartiles[1] - quartiles[0]),
    }


def spread_ratios(values: Any, base: Any, *, resamples: int = 500, seed: int = 0) -> dict[str, Any]:
    """Spread of one estimate over that of another on the same realizations: variance and iqr, each with an interval.

    Args:
        values, base: [R]; realizations where either is NaN are left out.

    Returns:
        {"variance": [ratio, low, high], "iqr": [ratio, low, high]}, intervals of the 95% paired bootstrap; None where
        fewer than 2 realizations are left or `base` does not vary.
    """
    pairs = np.stack([np.asarray(values, np.float64), np.asarray(base, np.float64)])
    pairs = pairs[:, np.isfinite(pairs).all(axis=0)]
    if pairs.shape[1] < 2 or np.ptp(pairs[1]) == 0:
        return {"variance": None, "iqr": None}
    chosen = np.random.RandomState(seed).randint(pairs.shape[1], size=(resamples, pairs.shape[1]))

    def interval(spread: Callable[[np.ndarray], np.ndarray]) -> list[float] | None:
        of_one, of_base = spread(pairs)
        one, other = spread(pairs[:, chosen])
        usable = other > 0
        if of_base == 0 or not usable.any():
            return None
        ends = np.percentile(one[usable] / other[usable], [2.5, 97.5])
        return [float(of_one / of_base), *map(float, ends)]

    return {
        "variance": interval(lambda each: each.var(axis=-1)),
        "iqr": interval(lambda each: np.subtract(*np.percentile(each, [75, 25], axis=-1))),
    }
