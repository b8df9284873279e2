"""What figures 2 to 7 of the feature smoothing paper (FS) have in common: many samples, several estimates of each.

The estimates are exact minimizers (`tfadv.analysis.logistic`), so that nothing here depends on an optimizer. Every
estimate sees the same samples, and ratios are taken over pairs.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from tfadv.analysis.logistic import Fit, Objective, fit, separable, sigmoid
from tfadv.analysis.logistic_samples import (
    Samples,
    adversarially_fitted,
    interpolated,
    noisy,
    realizations,
    spread_ratios,
    summary,
)
from tfadv.data import simulated
from tfadv.reproduction.study import Context, Job

PLAIN = "plain"
TRUE = "true p"
# FS figure 3 prints delta = lambda = 0.1 and 0.01 for weight decay; the other figures state nothing else.
REGULARIZERS: Mapping[str, Mapping[str, Any]] = {
    "label smoothing": {"label_smoothing": 0.1},
    "logit squeezing": {"logit_squeezing": 0.1},
    "weight decay": {"weight_decay": 0.01},
}
# FS figure 4 prints alpha = 0.3 and sigma = 0.3. As many new points as there are data.
AUGMENTATIONS: Mapping[str, Mapping[str, Any]] = {
    "feature smoothing": {"interpolate": 0.3, "new": 300},
    "mixup": {"interpolate": 0.3, "new": 300, "mixed": True},
    "noise": {"noise": 0.3},
    "adversarial": {"adversarial": 0.3},
}
# Data figures: where w and b are as in panel (a) of figures 2 and 4, and in panel (b) with the sign of b read as minus.
OUTER_LAW = {"sampler": "logistic", "size": 300, "slope": 4.0, "intercept": 0.0}
UNIT_LAW = {"sampler": "logistic", "size": 300, "slope": 8.0, "intercept": -4.0, "intervals": [[0.0, 1.0]]}
_POINTS = 61
_ROUNDS = 2
_OBJECTIVES = ("label_smoothing", "logit_squeezing", "weight_decay")

SMOKE_REALIZATIONS, REALIZATIONS = 20, 1000
READINGS = (
    "The plain fit has no maximum on separable samples: Newton's method, 100 iterations, |w| <= 50; the share of such "
    "samples is given, with medians and interquartile ranges of all samples.",
    "Bands hold the stated share of the estimates at each x (percentiles over the realizations).",
    "Logit squeezing penalizes the mean of |w x + b|, the one logit of the binary model, not squared; weight decay "
    "penalizes w and not b, and both stand beside the mean cross-entropy, as printed in section 2.2.",
)
COEFFICIENTS = "No coefficients are stated; those of figure 3 are taken: delta = lambda = 0.1, weight decay 0.01."


def simulate(settings: Mapping[str, Any], context: Context) -> dict[str, Any]:
    """Fits every method to every realization of a law with one feature.

    Settings:
        law: {"sampler": name in tfadv.data.simulated, **its arguments}.
        methods: name -> {"label_smoothing", "logit_squeezing", "weight_decay": coefficients; "interpolate": alpha,
            "new": points, "mixed": whether labels are too; "noise": stddev; "adversarial": epsilon; "against": the
            method that its spread is compared with, plain if there is none}, all optional.
        realizations, seed.
        span: (low, high) of the curves, and what noise is clipped to.
        level: share of the realizations within the bands; None leaves out the curves.

    Returns:
        separable: share; boundary: the true one; curves: {"x", "true"}; methods: name -> {"weight", "bias", "boundary":
        as in `summary`; "distance": median of |boundary - true one|; "ratios": of the boundary's spread to the other
        method's, as in `spread_ratios`; "limited", "unconverged": shares; "curve": {"mean", "low", "high"} of p at x,
        and "crossing", where the mean is 1/2}.
    """
    law = dict(settings["law"])
    sampler = getattr(simulated, law.pop("sampler"))
    x, y = realizations(lambda seed: sampler(seed=seed, **law), settings["realizations"], settings["seed"])
    low, high = settings["span"]
    grid = np.linspace(low, high, _POINTS)
    truth, true = _truth(sampler, law, grid)
    found, boundaries = {}, {}
    for number, (name, method) in enumerate(settings["methods"].items()):
        each = estimate(Samples(x, y), method, span=settings["span"], seed=settings["seed"])
        boundaries[name] = each.boundaries()
        known = boundaries[name][np.isfinite(boundaries[name])]
        found[name] = {
            "weight": summary(each.weights[:, 0]),
            "bias": summary(each.biases),
            "boundary": summary(boundaries[name]),
            "distance": float(np.median(np.abs(known - truth))) if len(known) else None,
            "limited": float(each.limited.mean()),
            "unconverged": float(1 - each.converged.mean()),
        }
        if settings["level"] is not None:
            found[name] |= _curve(each, grid, settings["level"])
        context.report(f"{number + 1} of {len(settings['methods'])}: {name}")
    for name, values in boundaries.items():
        found[name]["ratios"] = spread_ratios(values, boundaries[settings["methods"][name].get("against", PLAIN)])
    return {
        "separable": float(separable(x, y).mean()),
        "boundary": truth,
        "curves": {"x": _rounded(grid), "true": _rounded(true)},
        "methods": found,
    }


def _truth(sampler: Any, law: Mapping[str, Any], grid: np.ndarray) -> tuple[float, np.ndarray]:
    """The true boundary, and P(y = 1) on the grid."""
    if sampler is simulated.thresholded:
        return 0.0, np.where(grid == 0, 0.5, grid > 0)
    return 0.0 - law["intercept"] / law["slope"], sigmoid(law["slope"] * grid + law["intercept"])


def _curve(found: Fit, grid: np.ndarray, level: float) -> dict[str, Any]:
    curves = found.probabilities(grid)
    mean = curves.mean(axis=0)
    low, high = np.percentile(curves, [50 * (1 - level), 50 * (1 + level)], axis=0)
    curve = {"mean": _rounded(mean), "low": _rounded(low), "high": _rounded(high)}
    return {"curve": curve, "crossing": crossing(grid, mean)}


def _rounded(values: np.ndarray) -> list[float]:
    """For a drawing; the numbers of a curve are most of a result."""
    return np.round(values, 4).tolist()


def estimate(samples: Samples, method: Mapping[str, Any], *, span: tuple[float, float], seed: int) -> Fit:
    """The fit by one of `simulate`'s methods: augments the samples, then minimizes the objective."""
    objective = Objective(**{name: method[name] for name in _OBJECTIVES if name in method})
    if "interpolate" in method:
        samples = interpolated(
            samples, alpha=method["interpolate"], new=method["new"], mixed=method.get("mixed", False), seed=seed
        )
    if "noise" in method:
        samples = noisy(samples, stddev=method["noise"], bounds=span, seed=seed)
    if "adversarial" in method:
        return adversarially_fitted(samples, objective, epsilon=method["adversarial"], rounds=_ROUNDS)
    return fit(*samples, objective)


def crossing(x: Any, p: Any) -> float | None:
    """Where the first upward passage of p through 1/2 lies, linearly interpolated; None if there is none."""
    x, p = np.asarray(x), np.asarray(p)
    up = np.flatnonzero((p[:-1] < 0.5) & (p[1:] >= 0.5))
    if not len(up):
        return None
    at = up[0]
    return float(x[at] + (0.5 - p[at]) / (p[at + 1] - p[at]) * (x[at + 1] - x[at]))


def simulation(
    key: str,
    law: Mapping[str, Any],
    methods: Mapping[str, Mapping[str, Any]],
    scale: str,
    *,
    span: tuple[float, float] = (-1.0, 1.0),
    level: float | None = 0.95,
    seed: int = 0,
) -> Job:
    """A job of `simulate`; at scale smoke of a few realizations, else of the paper's 1,000."""
    count = SMOKE_REALIZATIONS if scale == "smoke" else REALIZATIONS
    settings = {
        "law": dict(law),
        "methods": {name: dict(method) for name, method in methods.items()},
        "realizations": count,
        "seed": seed,
        "span": list(span),
        "level": level,
    }
    # Measured: 0.5 s to draw 1,000 samples, and 0.3 s to 1.5 s for each method.
    return Job(key, simulate, settings, count / REALIZATIONS * (0.5 + 0.8 * len(methods)))
