"""ALS classifiers of the fading Gaussian of "Adversarial robustness via label-smoothing" (LSV), found in two ways.

By minimizing the expected loss, as the text says, and by some steps of gradient descent on the loss of a sample, as the
authors' published program does (github.com/MGoibert/Label_smoothing, fading_gaussian_example.py).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from scipy.optimize import minimize

from tfadv.analysis.gaussian_linear import expected_smoothed_loss, smoothed_classifier
from tfadv.analysis.logistic import sigmoid
from tfadv.data.simulated import fading, gaussian
from tfadv.reproduction.study import Context

_STARTS = 3


def exact_weights(settings: Mapping[str, Any], context: Context) -> dict[str, Any]:
    """Minimizes the expected ALS loss over all weights, from random starts, not knowing what the minimizer is.

    Settings:
        features, masses, seed.

    Returns:
        masses; scale: of the minimizer in closed form to Bayes' classifier, for each mass; difference: the largest
        |difference| of a minimizer found from it, over its largest weight; tilt: the largest angle between a minimizer
        found and Bayes' classifier, in degrees.
    """
    mean, deviation = fading(settings["features"])
    bayes = mean / deviation**2
    draw = np.random.RandomState(settings["seed"])
    scales, differences, tilts = [], [], []
    for mass in settings["masses"]:
        closed = smoothed_classifier(mean, deviation, mass)
        scales.append(float(closed[0] / bayes[0]))
        for _ in range(_STARTS):
            start = draw.standard_normal(len(mean))
            law, options = (mean, deviation, mass), {"gtol": 1e-9}
            found = minimize(expected_smoothed_loss, start, law, jac=True, method="BFGS", options=options).x
            differences.append(float(np.abs(found - closed).max() / np.abs(closed).max()))
            cosine = found @ bayes / np.linalg.norm(found) / np.linalg.norm(bayes)
            tilts.append(float(np.degrees(np.arccos(min(cosine, 1.0)))))
    return {"masses": list(settings["masses"]), "scale": scales, "difference": max(differences), "tilt": max(tilts)}


def descended_weights(settings: Mapping[str, Any], context: Context) -> dict[str, Any]:
    """Gradient descent on the ALS loss of a sample, from small random weights, and the sample's minimizer.

    Settings:
        features, masses, steps: after which the weights are taken, samples, runs, learning_rate, seed.

    Returns:
        masses, steps; weights [masses][steps][runs][features]; minimizers [masses][runs][features].
    """
    mean, deviation = fading(settings["features"])
    paths, minimizers = [], []
    for mass in settings["masses"]:
        taken, ends = [], []
        for seed in range(settings["seed"], settings["seed"] + settings["runs"]):
            # Every mass sees the same samples and starts.
            x, y = gaussian(settings["samples"], mean, deviation, seed=seed)
            signed = (2.0 * y - 1)[:, None] * x
            limit = 1 / np.sqrt(settings["features"])
            w = np.random.RandomState(seed).uniform(-limit, limit, settings["features"])
            points = []
            for step in range(1, max(settings["steps"]) + 1):
                w = w - settings["learning_rate"] * sample_loss(w, signed, mass)[1]
                if step in settings["steps"]:
                    points.append(w.tolist())
            taken.append(points)
            ends.append(minimize(sample_loss, w, (signed, mass), jac=True, method="BFGS").x.tolist())
        paths.append(np.swapaxes(taken, 0, 1).tolist())
        minimizers.append(ends)
        context.report(f"ALS {mass:g}: {settings['runs']} runs")
    return {
        "masses": list(settings["masses"]),
        "steps": sorted(settings["steps"]),
        "weights": paths,
        "minimizers": minimizers,
    }


def sample_loss(w: np.ndarray, signed: np.ndarray, mass: float) -> tuple[float, np.ndarray]:
    """Mean of log(1 + e^-m) + mass (m)_+ over the margins m = signed w of the examples y x, and its gradient."""
    m = signed @ w
    slope = mass * (m > 0) - sigmoid(-m)
    return float(np.mean(np.logaddexp(0, -m) + mass * np.maximum(m, 0))), slope @ signed / len(m)
