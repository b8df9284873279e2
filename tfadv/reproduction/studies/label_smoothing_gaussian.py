"""Figures 1 and 2 of "Adversarial robustness via label-smoothing" (LSV), section 3.1: ALS in the fading Gaussian.

The minimizer of the expected ALS loss is Bayes' classifier times a number (`gaussian_linear.smoothed_classifier`), so
it cannot differ from Bayes' in figure 2. The authors' published program (github.com/MGoibert/Label_smoothing,
fading_gaussian_example.py) takes 12 steps of gradient descent, and what it finds is on the way there; so both are done.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from tfadv.analysis.gaussian_linear import accuracy, best_accuracy, most_robust
from tfadv.data.simulated import fading
from tfadv.report.charts import Chart, Series
from tfadv.reproduction.studies.label_smoothing_descent import descended_weights, exact_weights
from tfadv.reproduction.studies.lines import line, mean_interval
from tfadv.reproduction.study import Claim, Compared, Job, Rendering, Study

FEATURES = 10
EPSILONS = tuple(round(0.05 * at, 2) for at in range(21))
EXACT, DESCENT = "minimum of the expected loss", "gradient descent"
_AT = (0.0, 0.25, 0.5)  # epsilons of the numbers in words
_FEATURES_SHOWN = (1, 3, 5, 7, 10)
_MASSES_SHOWN = (0.01, 0.1, 0.3)
_ROBUST_AT = 0.2  # epsilon of lemma 1 in figure 1

Results = Mapping[str, Mapping[str, Any]]


def jobs(scale: str) -> tuple[Job, ...]:
    """Short is paper: the authors' program is small."""
    smoke = scale == "smoke"
    masses = [0.0, 0.1] if smoke else [0.0, 0.01, 0.05, 0.1, 0.15, 0.2, 0.3]
    descent = {
        "features": FEATURES,
        "masses": masses,
        "steps": [12, 60] if smoke else [12, 1200],
        "samples": 1000 if smoke else 6000,
        "runs": 3 if smoke else 15,
        "learning_rate": 0.75,
        "seed": 0,
    }
    return (
        Job(EXACT, exact_weights, {"features": FEATURES, "masses": masses, "seed": 0}, 1 if smoke else 2),
        Job(DESCENT, descended_weights, descent, 1 if smoke else 60),
    )


def _spread(x: Any, values: np.ndarray, low: float, high: float, *, median: bool) -> Series:
    """The middle of `values` [R, ...] over the runs, and its quantiles."""
    middle = np.median(values, axis=0) if median else values.mean(axis=0)
    return line(x, middle, *np.quantile(values, [low, high], axis=0))


def _found(results: Results) -> tuple[list[float], list[int], np.ndarray, np.ndarray]:
    """(masses, steps, weights [M, S, R, d], minimizers [M, R, d]) of the gradient descent."""
    found = results[DESCENT]
    return found["masses"], found["steps"], np.array(found["weights"]), np.array(found["minimizers"])


def _sentence(exact: Mapping[str, Any]) -> str:
    return (
        "The ALS loss is a strictly convex function of the margin y w'x, so that the minimizer of its expectation is "
        "Bayes' classifier times a number, for every alpha; minimized numerically over all weights it is that to "
        f"{exact['difference']:.1e} (largest angle {exact['tilt']:.1e} degrees). Its accuracies are those of Bayes' "
        "classifier at every epsilon, contrary to figures 1 and 2 as the text describes them."
    )


def render_weights(results: Results) -> Rendering:
    """Figure 1, and what it does not show: the direction by feature."""
    figures, findings = {}, []
    mean, deviation = fading(FEATURES)
    number = np.arange(1, FEATURES + 1)
    if DESCENT in results:
        masses, steps, weights, minimizers = _found(results)
        figures["a"] = Chart(
            f"Weights of ALS classifiers after {steps[0]} steps of gradient descent, as in the authors' program: "
            "median and quartiles over the samples.",
            "alpha",
            "weight w_i",
            {
                f"i = {i}, sigma {deviation[i - 1]:g}": _spread(
                    masses, weights[:, 0, :, i - 1].T, 0.25, 0.75, median=True
                )
                for i in _FEATURES_SHOWN
            },
        )
        first = np.median(weights[:, 0], axis=1)
        findings.append(
            f"After {steps[0]} steps the weights are ordered as the paper says, the more important feature the larger: "
            f"w_1 / w_{FEATURES} is {first[0, 0]:.2f} / {first[0, -1]:.2f} for alpha 0, which is no label smoothing, "
            f"and {first[-1, 0]:.2f} / {first[-1, -1]:.2f} for alpha {masses[-1]:g} (medians). The order is that of "
            "the first gradient, E y x = (sigma_i^2), and not of label smoothing."
        )
    if EXACT in results:
        exact = results[EXACT]
        series = {"every feature, expected loss": line(exact["masses"], exact["scale"])}
        if DESCENT in results:
            for i in (1, FEATURES):
                series[f"i = {i}, loss of a sample"] = _spread(
                    masses, minimizers[:, :, i - 1].T, 0.25, 0.75, median=True
                )
        figures["b"] = Chart("Weights that minimize the ALS loss.", "alpha", "weight w_i", series)
        findings.insert(0, _sentence(exact))
    if DESCENT in results:
        at = len(masses) // 2
        robust = most_robust(mean, deviation, _ROBUST_AT)
        lines = {
            f"natural, {steps[0]} steps": np.median(weights[0, 0], axis=0),
            f"ALS {masses[at]:g}, {steps[0]} steps": np.median(weights[at, 0], axis=0),
            f"ALS {masses[at]:g}, {steps[-1]} steps": np.median(weights[at, -1], axis=0),
            f"ALS {masses[at]:g}, minimum of the sample": np.median(minimizers[at], axis=0),
        }
        figures["c"] = Chart(
            "The same by feature, over the largest weight: medians of the runs.",
            "feature i; sigma_i = 1 - (i - 1) / 10",
            "w_i / max w",
            {
                "Bayes, and the minimum for every alpha": line(number, np.ones(FEATURES)),
                **{name: line(number, w / w.max()) for name, w in lines.items()},
                f"lemma 1 at epsilon {_ROBUST_AT:g}": line(number, robust / robust.max()),
            },
        )
    return Rendering(figures=figures, findings=tuple(findings), columns=3)


def render_accuracies(results: Results) -> Rendering:
    """Figure 2, and the gain over Bayes' classifier with and without label smoothing."""
    mean, deviation = fading(FEATURES)
    epsilons = np.array(EPSILONS)
    bayes, best = accuracy(np.ones((1, FEATURES)), mean, deviation, epsilons), best_accuracy(mean, deviation, epsilons)
    compared = [
        Compared(f"Bayes, and the exact ALS classifier for every alpha, epsilon {epsilon:g}", None, 100 * value)
        for epsilon, value in zip(epsilons, bayes, strict=True)
        if epsilon in _AT
    ]
    findings, claims = [], []
    shown = {"Bayes": line(epsilons, bayes)}
    gains = {"Bayes, and exact ALS for every alpha": line(epsilons, np.zeros(len(epsilons)))}
    if EXACT in results:
        findings.append(_sentence(results[EXACT]))
        claims.append(
            Claim(
                "LSV-1",
                "depends",
                'a counterexample to "always": in the fading Gaussian the exact ALS classifier has the accuracies of '
                f"the natural one at every epsilon (angle between them at most {results[EXACT]['tilt']:.1e} degrees)",
            )
        )
    if DESCENT in results:
        masses, steps, weights, _ = _found(results)
        early = {
            mass: accuracy(weights[at, 0][:, None], mean, deviation, epsilons[None]) for at, mass in enumerate(masses)
        }
        late = accuracy(weights[0, -1][:, None], mean, deviation, epsilons[None])
        for mass in masses:
            if mass in _MASSES_SHOWN:
                shown[f"ALS {mass:g}"] = _spread(epsilons, early[mass], 0.1, 0.9, median=False)
            if mass in (0.0, *_MASSES_SHOWN):
                name = f"ALS {mass:g}" if mass else "natural"
                gains[f"{name}, {steps[0]} steps"] = line(epsilons, 100 * (early[mass].mean(axis=0) - bayes))
        gains[f"natural, {steps[-1]} steps"] = line(epsilons, 100 * (late.mean(axis=0) - bayes))
        compared.extend(
            Compared(
                f"{f'ALS {mass:g}' if mass else 'natural'} after {steps[0]} steps, epsilon {epsilon:g}, mean of runs",
                None,
                100 * float(early[mass][:, at].mean()),
                interval=mean_interval(100 * early[mass][:, at]),
            )
            for mass in masses
            if mass in (0.0, *_MASSES_SHOWN)
            for at, epsilon in enumerate(epsilons)
            if epsilon in _AT
        )
        worst = np.argmin(np.abs(epsilons - 0.5))
        best_mass = max((mass for mass in masses if mass), key=lambda mass: early[mass].mean(axis=0)[worst])
        half = {mass: float(each[:, worst].mean()) for mass, each in early.items()}
        findings.append(
            f"What is stopped after {steps[0]} steps does better than Bayes' classifier under attack, as in figure 2: "
            f"at epsilon 0.5, {100 * half[best_mass]:.1f}% for ALS {best_mass:g}, the best alpha, against "
            f"{100 * bayes[worst]:.1f}%. But so does the natural loss, {100 * half[0.0]:.1f}%: the gain is that of "
            f"stopping early, and larger alpha loses it. After {steps[-1]} steps the natural loss keeps "
            f"{100 * late.mean(axis=0)[worst]:.1f}%; lemma 1's best is {100 * best[worst]:.1f}%."
        )
    gains["lemma 1, the best of all"] = line(epsilons, 100 * (best - bayes))
    return Rendering(
        compared=tuple(compared),
        figures={
            "a": Chart(
                "Accuracy under the strongest attack: Bayes' classifier, and ALS stopped as in the authors' program "
                "(mean, and 10% to 90% of the runs).",
                "epsilon (l-infinity, in units of x)",
                "accuracy",
                shown,
                percent=True,
            ),
            "b": Chart(
                "Accuracy less that of Bayes' classifier at the same epsilon; descent: means of the runs.",
                "epsilon (l-infinity, in units of x)",
                "points of accuracy",
                gains,
            ),
        },
        findings=tuple(findings),
        claims=tuple(claims),
    )


_READINGS = (
    "sigma_i = 1 - (i - 1) / d and mu_i = sigma_i^2, d = 10. The paper states neither alpha nor how w is found: alpha "
    "and everything else as in the authors' published program (10,000 examples of which 6,000 train, all of them in "
    "each of 12 steps of size 0.75, 15 samples); its weights start in U(-1/sqrt(d), 1/sqrt(d)), PyTorch's default, and "
    "its schedule, for a loss that no longer falls, is left out.",
    "y_worst may be the true class (equation 4 as printed, inconsistency I5), and the losses l1 to l4 have the sign of "
    "SmoothCE (I4).",
    "Accuracies are equation 9, for an attack on both classes; that program perturbs the examples of label 1 alone, "
    "so that its own numbers under attack are half clean.",
)

STUDIES = (
    Study(
        "label_smoothing_variants/fig1",
        "Weights of Bayes' and of ALS classifiers in the fading Gaussian model",
        jobs,
        render_weights,
        _READINGS,
    ),
    Study(
        "label_smoothing_variants/fig2",
        "Accuracy of Bayes' and of ALS classifiers in the fading Gaussian model, against epsilon",
        jobs,
        render_accuracies,
        _READINGS,
    ),
)
