"""Work for the theorems of FS: large-sample laws, the equations of its appendix on grids, and its inequality (2)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from tfadv.analysis.logistic import Objective, fit, sigmoid
from tfadv.analysis.logistic_samples import realizations
from tfadv.analysis.logistic_theory import (
    delta_method,
    fisher_variances,
    large_sample,
    least_varying_margin,
    point_mass_variance,
    points_of,
)
from tfadv.data import simulated
from tfadv.data.simulated import OUTER
from tfadv.reproduction.study import Context
from tfadv.validation import UserError

# Half of the difference quotient of FS A.1's derivative.
_STEP = 1e-5


def large_samples(settings: Mapping[str, Any], context: Context) -> dict[str, Any]:
    """N times the variance of the boundary as N grows, for x far from the boundary and for x on both sides of it.

    Settings:
        slopes: true w.
        methods: name -> coefficients of `Objective`.
        shifted: intervals of an asymmetric law; strengths: method -> values of its coefficient there, at w = 4.

    Returns:
        slopes; outer, unit: method -> variances by slope, x uniform on [-1, -0.9] and [0.9, 1], b = 0; and on [0, 1],
        b = -w / 2. None where the minimum is flat.
        shifted: method -> [[coefficient, slope, boundary], ...]; the true boundary is 0.
    """
    found: dict[str, Any] = {"slopes": list(settings["slopes"]), "outer": {}, "unit": {}, "shifted": {}}
    laws = {"outer": (points_of(OUTER), 0.0), "unit": (points_of([(0, 1)]), 0.5)}
    for law, (x, boundary) in laws.items():
        for name, method in settings["methods"].items():
            context.report(f"{law}: {name}")
            found[law][name] = [_variance(x, w, -boundary * w, Objective(**method)) for w in settings["slopes"]]
    x = points_of(settings["shifted"])
    for name, values in settings["strengths"].items():
        (coefficient,) = settings["methods"][name]
        found["shifted"][name] = [
            [value, law.slope, law.boundary]
            for value in values
            for law in [large_sample(x, 4.0, 0.0, Objective(**{coefficient: value}))]
        ]
    return found


def _variance(x: np.ndarray, slope: float, intercept: float, objective: Objective) -> float | None:
    try:
        return large_sample(x, slope, intercept, objective).variance
    except UserError:  # The minimum is flat: logit squeezing on labels that are nearly fair coins.
        return None


def moments(settings: Mapping[str, Any], context: Context) -> dict[str, Any]:
    """N var of plain w, b and -b / w, simulated, beside FS equations 3 and 4 and the delta method.

    Settings:
        slope, intercept, intervals: of the law; size: N; realizations, seed.

    Returns:
        weight, bias, boundary: N var with its standard error, [value, error]; fisher: equations 3 and 4;
        information: N var of w and b from the whole matrix; delta: N var of the boundary by the first-order formula;
        printed: the same as FS A.1 prints it, var(b) / w^2 + b^2 / var(1 / w), from the simulated moments.
    """
    law = {key: settings[key] for key in ("slope", "intercept", "intervals")}
    x, y = realizations(
        lambda seed: simulated.logistic(settings["size"], **law, seed=seed), settings["realizations"], settings["seed"]
    )
    found = fit(x, y)
    w, b, size = found.weights[:, 0], found.biases, settings["size"]
    points = points_of(settings["intervals"])
    theory = large_sample(points, settings["slope"], settings["intercept"])
    slope, intercept = settings["slope"], settings["intercept"]
    covariance = np.cov(w, b)

    def variance(values: np.ndarray) -> list[float]:
        squares = np.square(values - values.mean())
        return [size * float(squares.mean()), size * float(squares.std() / np.sqrt(len(values)))]

    return {
        "weight": variance(w),
        "bias": variance(b),
        "boundary": variance(found.boundaries()),
        "fisher": list(fisher_variances(points, slope, intercept)),
        "information": np.diag(theory.covariance).tolist(),
        "delta": delta_method(slope, intercept, theory.covariance),
        "printed": size * float(covariance[1, 1] / slope**2 + intercept**2 / np.var(1 / w)),
    }


def appendix(settings: Mapping[str, Any], context: Context) -> dict[str, Any]:
    """The equations of FS A.1 and A.4 on grids, and its inequality (2) on random numbers.

    Settings:
        draws, seed.

    Returns:
        margin: |w x| where g is least; derivative: largest relative error of g' as printed; stationary: w at x = 1
        where g' = 0, beside A.4's formula as printed and with 2 p - 1; sandwich: [pairs with p^ between 1/2 and p,
        violations among them, other pairs, violations among those]; relu, pool_below, pool_above: violations of (2);
        pool_signed: of its lower bound when inputs may be negative; network: of f(x~) <= a f(x_i) + (1 - a) f(x_j) for
        two-layer networks with weights of both signs, and network_positive with a non-negative last layer; draws.
    """
    margin = least_varying_margin()
    w = np.linspace(0.2, 8, 400)
    p = sigmoid(w)
    printed = (-2 * w - w**2 * (1 - 2 * p)) / (w**4 * p * (1 - p))
    numeric = (point_mass_variance(w + _STEP) - point_mass_variance(w - _STEP)) / (2 * _STEP)
    at = float(sigmoid(margin))
    return {
        "margin": margin,
        "derivative": float(np.max(np.abs(printed - numeric) / (1 + np.abs(numeric)))),
        "stationary": [margin, 2 / (1 - 2 * at), 2 / (2 * at - 1)],
        "sandwich": _sandwich(),
        **_interpolations(settings["draws"], settings["seed"]),
        "draws": settings["draws"],
    }


def _sandwich() -> list[int]:
    """E(y - p^)^2 / (p^ (1 - p^))^2 <= 1 / (p^ (1 - p^)), on a grid of p and p^."""
    line = np.linspace(0.005, 0.995, 199)
    p, estimate = (each.reshape(-1) for each in np.meshgrid(line, line))
    expected = p * (1 - estimate) ** 2 + (1 - p) * estimate**2
    # Rounding must not decide where both sides are equal, at p^ = p and at p^ = 1/2.
    broken = expected > estimate * (1 - estimate) + 1e-12
    between = ((estimate >= 0.5) & (estimate <= p)) | ((estimate <= 0.5) & (estimate >= p))
    return [int(between.sum()), int(broken[between].sum()), int((~between).sum()), int(broken[~between].sum())]


def _interpolations(draws: int, seed: int) -> dict[str, int]:
    """How many of the random cases break the inequalities of FS section 4.3, beyond rounding."""
    draw = np.random.RandomState(seed)
    alpha = draw.uniform(size=(draws, 1))
    x, other = draw.standard_normal((2, draws, 8))

    def mixed(one: np.ndarray, two: np.ndarray, weight: np.ndarray = alpha) -> np.ndarray:
        return weight * one + (1 - weight) * two

    def relu(values: np.ndarray) -> np.ndarray:
        return np.maximum(values, 0)

    def pool(values: np.ndarray) -> np.ndarray:
        return values.max(axis=1, keepdims=True)

    first, last = draw.standard_normal((draws, 8, 8)), draw.standard_normal((draws, 8, 1))

    def network(values: np.ndarray, ending: np.ndarray) -> np.ndarray:
        return (relu(values[:, None] @ first) @ ending)[:, 0]

    def broken(low: np.ndarray, high: np.ndarray) -> int:
        return int((low > high + 1e-12).any(axis=1).sum())

    positive, also = np.abs(x), np.abs(other)
    return {
        "relu": broken(relu(mixed(x, other)), mixed(relu(x), relu(other))),
        "pool_above": broken(pool(mixed(positive, also)), mixed(pool(positive), pool(also))),
        "pool_below": broken(0.5 * mixed(pool(positive), pool(also)), pool(mixed(positive, also))),
        "pool_signed": broken(0.5 * mixed(pool(x), pool(other)), pool(mixed(x, other))),
        **{
            key: broken(network(mixed(x, other), ending), mixed(network(x, ending), network(other, ending)))
            for key, ending in {"network": last, "network_positive": np.abs(last)}.items()
        },
    }
