"""Theorem 1 and corollary 1 of "Adversarial vertex mixup" (AV): how large an epsilon a smaller variance pays for.

Their proofs stand in a supplement. What they compare are the bounds of Schmidt et al. (2018, "Adversarially robust
generalization requires more data"), which follow in two lines: with z = theta + sigma / sqrt(n) g, g ~ N(0, I), the
events ||g|| <= 2 sqrt(d) and theta'g >= -d / (2 sigma) have together at least the probability of the theorem, and then
w = z / ||z|| has w'theta >= sqrt(d) m(sigma) with m(sigma) = (2 sqrt(n) - 1) / (2 sqrt(n) + 4 sigma). So the errors are
at most exp(-d m^2 / (2 sigma^2)), and under attack, as ||w||_1 <= sqrt(d), exp(-d (m - epsilon)^2 / (2 sigma^2)).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from scipy.stats import norm

from tfadv.report.charts import Chart
from tfadv.reproduction.studies.lines import line
from tfadv.reproduction.study import Compared, Context, Job, Rendering, Study

ERRORS = "errors of the classifier"
_SETTINGS = ((1, 1.0), (16, 2.0))  # (n, sigma_s) of the drawn lines
_POINTS = 21

Results = Mapping[str, Mapping[str, Any]]


def margin(n: int, sigma: Any) -> Any:
    """m(sigma) = (2 sqrt(n) - 1) / (2 sqrt(n) + 4 sigma)."""
    return (2 * np.sqrt(n) - 1) / (2 * np.sqrt(n) + 4 * np.asarray(sigma, np.float64))


def printed_epsilon(n: int, sigma_s: float, sigma_r: Any) -> Any:
    """Equation 5: m(sigma_s) (1 - sigma_r / sigma_s)."""
    return margin(n, sigma_s) * (1 - np.asarray(sigma_r, np.float64) / sigma_s)


def equal_epsilon(n: int, sigma_s: float, sigma_r: Any) -> Any:
    """Where the two bounds are equal: (m(sigma_r) - epsilon) / sigma_r = m(sigma_s) / sigma_s."""
    return margin(n, sigma_r) - np.asarray(sigma_r, np.float64) / sigma_s * margin(n, sigma_s)


def slope(n: int, sigma_s: float) -> float:
    """Equation 6, pi."""
    return float((2 * np.sqrt(n) - 1) / (sigma_s * (2 * np.sqrt(n) + 4 * sigma_s)))


def measure_errors(settings: Mapping[str, Any], context: Context) -> dict[str, Any]:
    """Draws classifiers f_{n, sigma} of definition 3; their errors are exact, as those of any linear classifier.

    Settings:
        d, n, sigma_s, ratios: sigma_r / sigma_s, draws, seed.

    Returns:
        ratios; epsilon: of equation 5 at each; and as -log10 of errors: standard_bound, robust_bound at that epsilon,
        standard and robust: medians over the draws; within: share of the pairs of draws with both margins as large as
        the bounds take them to be; promised: the theorem's probability; violated: share of those pairs of which one
        exceeds its bound.
    """
    d, n, sigma_s = settings["d"], settings["n"], settings["sigma_s"]
    draw = np.random.RandomState(settings["seed"])
    found: dict[str, list[float]] = {
        name: []
        for name in (
            "epsilon",
            "standard_bound",
            "robust_bound",
            "standard",
            "robust",
            "within",
            "promised",
            "violated",
        )
    }

    def classifiers(sigma: float) -> np.ndarray:
        """Unit weights [draws, d] for theta = (1, ..., 1), whose norm is sqrt(d)."""
        z = 1 + sigma / np.sqrt(n) * draw.standard_normal((settings["draws"], d))
        return z / np.linalg.norm(z, axis=1, keepdims=True)

    for ratio in settings["ratios"]:
        sigma_r = ratio * sigma_s
        epsilon = float(printed_epsilon(n, sigma_s, sigma_r))
        standard, robust = classifiers(sigma_s), classifiers(sigma_r)
        # P(N(w'theta, sigma^2) < 0), and with the attack's epsilon ||w||_1; as -log10.
        errors = {
            "standard": -norm.logcdf(-standard.sum(axis=1) / sigma_s) / np.log(10),
            "robust": -norm.logcdf(-(robust.sum(axis=1) - epsilon * np.abs(robust).sum(axis=1)) / sigma_r) / np.log(10),
        }
        bounds = {
            "standard": d * float(margin(n, sigma_s)) ** 2 / (2 * sigma_s**2) / np.log(10),
            "robust": d * float(margin(n, sigma_r) - epsilon) ** 2 / (2 * sigma_r**2) / np.log(10),
        }
        held = (standard.sum(axis=1) >= np.sqrt(d) * margin(n, sigma_s)) & (
            robust.sum(axis=1) >= np.sqrt(d) * margin(n, sigma_r)
        )
        broken = (errors["standard"] < bounds["standard"]) | (errors["robust"] < bounds["robust"])
        chances = [max(1 - 2 * np.exp(-d / (8 * (sigma**2 + 1))), 0.0) for sigma in (sigma_s, sigma_r)]
        found["epsilon"].append(epsilon)
        for name in errors:
            found[name].append(float(np.median(errors[name])))
            found[f"{name}_bound"].append(float(bounds[name]))
        found["within"].append(float(held.mean()))
        found["promised"].append(float(np.prod(chances)))
        found["violated"].append(float((held & broken).mean()))
    return {"ratios": list(settings["ratios"]), **found}


def render_theorem(results: Results) -> Rendering:
    """Theorem 1: bounds and errors at the epsilon of equation 5."""
    if ERRORS not in results:
        return Rendering()
    found = results[ERRORS]
    names = {
        "standard, bound": "standard_bound",
        "robust, bound at eq. 5's epsilon": "robust_bound",
        "standard, median of the draws": "standard",
        "robust, median of the draws": "robust",
    }
    excess = np.array(found["robust_bound"]) - found["standard_bound"]
    compared = [
        Compared(
            f"sigma_r / sigma_s = {ratio:g}: log10 of the standard over the robust bound at eq. 5's epsilon",
            0.0,
            float(excess[at]),
            "",
        )
        for at, ratio in enumerate(found["ratios"])
    ]
    findings = (
        "With both margins as the theorem has them, no classifier exceeds its bound "
        f"({100 * max(found['violated']):.2g}% of the draws), and they are so in {100 * min(found['within']):.1f}% of "
        f"the draws or more, where {100 * min(found['promised']):.1f}% are promised.",
        "At the epsilon of equation 5 the robust bound is not equal to the standard bound but smaller, by up to "
        f"{excess.max():.2f} powers of ten; they are equal at sigma_r = sigma_s alone, where epsilon is 0. The theorem "
        "is right as a sufficient condition. The errors themselves are below both bounds.",
    )
    chart = Chart(
        "Errors of f_n at the epsilon of equation 5: bounds, and classifiers drawn from the Gaussian model.",
        "sigma_r / sigma_s",
        "−log10 of the error",
        {name: line(found["ratios"], found[key]) for name, key in names.items()},
    )
    return Rendering(compared=tuple(compared), figures={"": chart}, findings=findings)


def render_corollary(results: Results) -> Rendering:
    """Corollary 1: epsilon against sigma_r."""
    series, compared, above = {}, [], []
    for n, sigma_s in _SETTINGS:
        sigma_r = np.linspace(0, sigma_s, _POINTS)
        printed, equal = printed_epsilon(n, sigma_s, sigma_r), equal_epsilon(n, sigma_s, sigma_r)
        series[f"eq. 5, n = {n}, sigma_s = {sigma_s:g}"] = line(sigma_r, printed)
        series[f"equal bounds, n = {n}, sigma_s = {sigma_s:g}"] = line(sigma_r, equal)
        fitted = -np.polyfit(sigma_r, printed, 1)[0]
        name = f"fall of eq. 5's epsilon per unit of sigma_r, n = {n}, sigma_s = {sigma_s:g}"
        compared.append(Compared(name, slope(n, sigma_s), float(fitted), ""))
        above.append(float((equal - printed).max()))
    findings = (
        "Equation 5's epsilon is linear in sigma_r with the slope -pi of equation 6, as corollary 1 says.",
        "That epsilon is where the two bounds are sure to be in order, and not where they are equal: equal they are "
        f"at a larger epsilon, by up to {max(above):.2f} for these n and sigma_s, which is not linear in sigma_r.",
    )
    chart = Chart(
        "Largest epsilon at which the robust bound is no worse than the standard one.",
        "sigma_r (in units of x)",
        "epsilon (l-infinity)",
        series,
    )
    return Rendering(compared=tuple(compared), figures={"": chart}, findings=findings)


def _jobs(scale: str) -> tuple[Job, ...]:
    smoke = scale == "smoke"
    settings = {
        "d": 100,
        "n": 16,
        "sigma_s": 2.0,
        "ratios": [0.5, 1.0] if smoke else [0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0],
        "draws": 200 if smoke else 20_000,
        "seed": 0,
    }
    return (Job(ERRORS, measure_errors, settings, 0.1 if smoke else 2),)


_READINGS = (
    "The proofs are in a supplement; the bounds are those of Schmidt et al. (2018), from whom the model, the "
    "classifier and the probability come. theta* = (1, ..., 1).",
)

STUDIES = (
    Study(
        "avmixup/theorem1",
        "Theorem 1: standard and robust errors of a linear classifier of two Gaussian classes",
        _jobs,
        render_theorem,
        (*_READINGS, "d, n and sigma are not stated: d = 100, n = 16, sigma_s = 2, where the bounds say something."),
    ),
    Study(
        "avmixup/corollary1",
        "Corollary 1: the epsilon that a smaller variance pays for",
        lambda scale: (),
        render_corollary,
        _READINGS,
    ),
)
