"""Lemma 1 and figure 3 of "Adversarial robustness via label-smoothing" (LSV), section 3.1: the most robust classifier.

Figure 3 compares w = (1, 1), Bayes' classifier of the fading Gaussian with two features, with w = (4, 1), which is the
one of lemma 1 at epsilon 0.2.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, cast

import contourpy
import numpy as np
from scipy.optimize import brentq
from scipy.stats import gaussian_kde, norm

from tfadv.analysis.gaussian_linear import accuracy, best_accuracy, most_robust
from tfadv.data.simulated import fading, gaussian
from tfadv.report.charts import Chart, Series
from tfadv.reproduction.studies.lines import line
from tfadv.reproduction.study import Compared, Context, Job, Rendering, Study

FEATURES = 10
EPSILONS = tuple(round(0.05 * at, 2) for at in range(25))
BAYES, ROBUST = (1.0, 1.0), (4.0, 1.0)  # the weights of figure 3
CERTIFIED, DENSITY = "lemma 1", "density"
_FRACTIONS = (0.1, 0.5, 0.9)  # of the largest |mean|: epsilons of the random laws
_SHARES = (0.25, 0.5, 0.75, 0.95)  # of the points within a contour
_AT = (0.0, 0.1, 0.2, 0.4)
_WINDOW = (3.8, 2.1)  # half width and half height: one unit is as long on both axes of the drawn figure

Results = Mapping[str, Mapping[str, Any]]


def certify(settings: Mapping[str, Any], context: Context) -> dict[str, Any]:
    """Lemma 1 on random laws, and over epsilon in the fading Gaussian.

    Optimality is certified by the dual, LSV equation 14 at the z of equation 16: no w has a larger
    (w'mean - epsilon ||w||_1) / sd(w'x) than the norm of (mean - z) / deviation, for any ||z||_inf <= epsilon.

    Settings:
        dimensions: of the random laws. laws: for each dimension. directions: of the random search, in each law.
        samples: of the Monte Carlo accuracy, at each epsilon. seed.

    Returns:
        cases; to_value, to_bound: the largest |difference| of the accuracy at the weights of equation 10 from equation
        11, and of the dual's bound from it; above: the most by which a random w exceeds equation 11; misprinted: the
        largest difference that the appendix's sum without sigma_j^-2 makes; epsilons, and "best", "bayes", "search",
        "misprint", "monte_carlo": accuracies in the fading Gaussian at each; samples.
    """
    draw = np.random.RandomState(settings["seed"])
    rows = []
    for features in settings["dimensions"]:
        for _ in range(settings["laws"]):
            mean, deviation = draw.standard_normal(features), draw.uniform(0.3, 2.0, features)
            for epsilon in np.abs(mean).max() * np.array(_FRACTIONS):
                value, w = float(best_accuracy(mean, deviation, epsilon)), most_robust(mean, deviation, epsilon)
                bound = norm.cdf(np.linalg.norm((mean - np.clip(mean, -epsilon, epsilon)) / deviation))
                found = searched(w, mean, deviation, epsilon, settings["directions"], draw)
                own = float(accuracy(w, mean, deviation, epsilon))
                rows.append(
                    (abs(own - value), abs(bound - value), found - value, abs(_misprint(mean, epsilon) - value))
                )
    to_value, to_bound, above, misprinted = np.max(rows, axis=0).tolist()
    mean, deviation = fading(FEATURES)
    lines: dict[str, list[float]] = {name: [] for name in ("best", "bayes", "search", "misprint", "monte_carlo")}
    for number, epsilon in enumerate(EPSILONS):
        w = most_robust(mean, deviation, epsilon)
        lines["best"].append(float(best_accuracy(mean, deviation, epsilon)))
        lines["bayes"].append(float(accuracy(np.ones(FEATURES), mean, deviation, epsilon)))
        lines["search"].append(searched(w, mean, deviation, epsilon, settings["directions"], draw))
        lines["misprint"].append(_misprint(mean, epsilon))
        x, y = gaussian(settings["samples"], mean, deviation, seed=settings["seed"] + number)
        sign = 2.0 * y - 1
        # Bayes' classifier under its strongest perturbation, x - epsilon y sign(w) with w = (1, ..., 1).
        lines["monte_carlo"].append(float((sign * (x - epsilon * sign[:, None]).sum(axis=1) > 0).mean()))
    return {
        "cases": len(rows),
        "to_value": to_value,
        "to_bound": to_bound,
        "above": above,
        "misprinted": misprinted,
        "samples": settings["samples"],
        "epsilons": list(EPSILONS),
        **lines,
    }


def searched(
    w: np.ndarray, mean: np.ndarray, deviation: np.ndarray, epsilon: float, count: int, draw: np.random.RandomState
) -> float:
    """The best accuracy at epsilon of the features alone and `count` random weights, half of them beside w."""
    free = draw.standard_normal((count // 2, len(mean))) / deviation
    steps = draw.choice([0.3, 0.03, 0.003], (count // 2, 1)) * draw.standard_normal(free.shape)
    tried = np.concatenate([np.diag(np.where(mean < 0, -1.0, 1.0)), free, w + np.abs(w).max() * steps])
    return float(accuracy(tried, mean, deviation, epsilon).max())


def _misprint(mean: np.ndarray, epsilon: float) -> float:
    """Equation 11 with the last sum of appendix 1.3, which lacks sigma_j^-2."""
    return float(norm.cdf(np.sqrt((np.maximum(np.abs(mean) - epsilon, 0) ** 2).sum())))


def density(settings: Mapping[str, Any], context: Context) -> dict[str, Any]:
    """The kernel density of points of the fading Gaussian with two features, as contours.

    Settings:
        samples, resolution: points along each side of the grid, seed.

    Returns:
        contours: [share of the points within, list of closed curves [[x1], [x2]]] of each; main: the direction of the
        largest variance of the points, in degrees from the first axis.
    """
    mean, deviation = fading(2)
    x, _ = gaussian(settings["samples"], mean, deviation, seed=settings["seed"])
    kernel = gaussian_kde(x.T)
    axis = np.linspace(-5.0, 5.0, settings["resolution"])
    first, second = np.meshgrid(axis, axis)
    height = kernel(np.stack([first.ravel(), second.ravel()])).reshape(first.shape)
    drawn = contourpy.contour_generator(axis, axis, height)
    # As many points lie above this height as the share says.
    levels = np.quantile(kernel(x.T), 1 - np.array(_SHARES))
    contours = [
        [share, [loop.T.tolist() for loop in cast(list[np.ndarray], drawn.lines(level))]]
        for share, level in zip(_SHARES, levels, strict=True)
    ]
    largest = np.linalg.eigh(np.cov(x.T))[1][:, -1]
    return {"contours": contours, "main": float(np.degrees(np.arctan(largest[1] / largest[0])))}


def render_lemma(results: Results) -> Rendering:
    """Lemma 1: numbers of the certificate, and accuracies over epsilon."""
    if CERTIFIED not in results:
        return Rendering()
    found = results[CERTIFIED]
    cases = f"{found['cases']} random laws and epsilons"
    compared = (
        Compared(f"accuracy of the weights of eq. 10 less eq. 11, largest of {cases}", 0.0, found["to_value"], ""),
        Compared(f"the dual's upper bound less eq. 11, largest of {cases}", 0.0, found["to_bound"], ""),
    )
    error = np.abs(np.array(found["monte_carlo"]) - found["bayes"])
    bayes = np.clip(found["bayes"], 1 / found["samples"], 1 - 1 / found["samples"])
    scores = error / np.sqrt(bayes * (1 - bayes) / found["samples"])
    findings = (
        f"Lemma 1 holds: on {cases} the weights of equation 10 attain equation 11 to {found['to_value']:.0e}, and the "
        f"dual shows to {found['to_bound']:.0e} that no weights attain more; random weights exceed it by at most "
        f"{found['above']:.0e}.",
        f"Equation 9 agrees with Monte Carlo ({found['samples']:,} attacked points at each epsilon): the largest "
        f"difference is {scores.max():.1f} standard errors, of {len(scores)} epsilons.",
        f"The last sum of appendix 1.3, without sigma_j^-2, is another number, by up to {found['misprinted']:.2f} in "
        "accuracy on the random laws.",
        "Equation 11 supposes epsilon < max |mu_j|, which is 1 here. Beyond, it says 1/2, where the best linear "
        f"classifier is a single feature, right in {100 * found['best'][-1]:.1f}% at epsilon "
        f"{found['epsilons'][-1]:g}.",
    )
    names = {
        "lemma 1, eq. 11": "best",
        "Bayes, eq. 9": "bayes",
        "Bayes, Monte Carlo": "monte_carlo",
        "best of a random search": "search",
        "appendix 1.3 as printed": "misprint",
    }
    chart = Chart(
        "Accuracy in the fading Gaussian with 10 features under the strongest attack.",
        "epsilon (l-infinity, in units of x)",
        "accuracy",
        {name: line(found["epsilons"], found[key]) for name, key in names.items()},
        percent=True,
    )
    return Rendering(compared=compared, figures={"": chart}, findings=findings)


def render_density(results: Results) -> Rendering:
    """Figure 3, and what its caption says of the two boundaries."""
    mean, deviation = fading(2)
    epsilons = np.linspace(0, 1, 21)
    names = {"w = (1, 1), Bayes": BAYES, "w = (4, 1)": ROBUST}

    def gain(epsilon: float) -> float:
        return float(accuracy(ROBUST, mean, deviation, epsilon) - accuracy(BAYES, mean, deviation, epsilon))

    crossing = brentq(gain, 0.0, 0.2)
    compared = [
        Compared(f"{name}, epsilon {epsilon:g}", None, 100 * float(accuracy(w, mean, deviation, epsilon)))
        for epsilon in _AT
        for name, w in names.items()
    ]
    robust = most_robust(mean, deviation, 0.2)
    findings = [
        f"The caption holds from epsilon {crossing:.3f} on: there w = (4, 1) is the more accurate under attack, below "
        f"it Bayes' w = (1, 1). Lemma 1's weights at epsilon 0.2 are proportional to ({robust[0] / robust[1]:.4g}, 1)."
    ]
    figures: dict[str, Chart] = {}
    if DENSITY in results:
        found = results[DENSITY]
        series = {}
        for share, loops in found["contours"]:
            for number, (first, second) in enumerate(loops):
                part = f", part {number + 1}" if len(loops) > 1 else ""
                series[f"{100 * share:.0f}% of the points{part}"] = line(first, second)
        series["boundary of w = (1, 1), Bayes"] = _across(BAYES)
        series["boundary of w = (4, 1)"] = _across(ROBUST)
        series["line through the means"] = _across((-mean[1], mean[0]))
        figures["a"] = Chart(
            "Kernel density of the fading Gaussian with two features, and two decision boundaries.",
            "x_1",
            "x_2",
            series,
        )
        means = float(np.degrees(np.arctan(mean[1] / mean[0])))
        findings.append(
            f"The boundary of w = (4, 1) is orthogonal to the line through the two means ({means:.1f} degrees from "
            "the first axis). The direction of the largest variance, as the paper calls that line, is another one "
            f"({found['main']:.1f} degrees in the sample)."
        )
    figures["b"] = Chart(
        "Accuracy of the two classifiers under the strongest attack, and the most that any linear one attains.",
        "epsilon (l-infinity, in units of x)",
        "accuracy",
        {
            **{name: line(epsilons, accuracy([w], mean, deviation, epsilons)) for name, w in names.items()},
            "lemma 1": line(epsilons, best_accuracy(mean, deviation, epsilons)),
        },
        percent=True,
    )
    return Rendering(compared=tuple(compared), figures=figures, findings=tuple(findings))


def _across(w: tuple[float, ...]) -> Series:
    """The part of the line w'x = 0 that lies in the window."""
    along = np.array([-w[1], w[0]])
    end = along * np.min(np.array(_WINDOW) / np.maximum(np.abs(along), 1e-12))
    return line((-end[0], end[0]), (-end[1], end[1]))


def _lemma_jobs(scale: str) -> tuple[Job, ...]:
    smoke = scale == "smoke"
    settings = {
        "dimensions": [2, 10] if smoke else [2, 5, 10, 50],
        "laws": 2 if smoke else 25,
        "directions": 200 if smoke else 20_000,
        "samples": 500 if smoke else 100_000,
        "seed": 0,
    }
    return (Job(CERTIFIED, certify, settings, 0.2 if smoke else 15),)


def _density_jobs(scale: str) -> tuple[Job, ...]:
    smoke = scale == "smoke"
    settings = {"samples": 300 if smoke else 5000, "resolution": 31 if smoke else 101, "seed": 0}
    return (Job(DENSITY, density, settings, 0.2 if smoke else 3),)


STUDIES = (
    Study(
        "label_smoothing_variants/lemma1",
        "Lemma 1: the most robust linear classifier of two Gaussian classes",
        _lemma_jobs,
        render_lemma,
        (
            "Lemma 1 as stated in section 3.1, which is right; appendix 1.3 drops sigma_j^-2 in its last sum, and "
            "confuses diag(sigma) with diag(sigma^2) and an inverse square root with its inverse (inconsistency I20).",
        ),
    ),
    Study(
        "label_smoothing_variants/fig3",
        "Kernel density of the fading Gaussian with two features, and two decision boundaries",
        _density_jobs,
        render_density,
        (
            "5,000 points, as in the authors' published program; the width of the kernel is not stated: Scott's rule. "
            "The contours enclose 25, 50, 75 and 95% of the points.",
            "The line that the paper calls the main direction of the density is drawn through the two means, to which "
            "the boundary of w = (4, 1) is orthogonal as the paper says.",
        ),
    ),
)
