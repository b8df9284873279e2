"""FS, figures 3 and 5: how the spread of the estimates goes with the true w, for two classes and for three."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from tfadv.analysis.logistic import Objective, fit, separable
from tfadv.analysis.logistic_samples import realizations, spread_ratios, summary
from tfadv.data import simulated
from tfadv.report.charts import Chart, Series
from tfadv.reproduction.studies.feature_smoothing_simulations import (
    OUTER_LAW,
    PLAIN,
    READINGS,
    REALIZATIONS,
    REGULARIZERS,
    SMOKE_REALIZATIONS,
    simulation,
)
from tfadv.reproduction.study import Compared, Context, Job, Rendering, Study

Results = Mapping[str, Mapping[str, Any]]

METHODS: Mapping[str, Mapping[str, Any]] = {PLAIN: {}, **REGULARIZERS}
SLOPES = tuple(1 + 0.5 * step for step in range(11))
_CLASS_SLOPES = (1.0, 2.0, 3.0, 4.0, 5.0, 6.0)
# Columns are classes; they sum to 0, none has a small entry to divide by, and swapping the features swaps two classes.
CLASS_WEIGHTS = ((1.0, -0.5, -0.5), (-0.5, 1.0, -0.5))
# Where more samples than this have no plain fit, its average over classes is a matter of the limit on w alone.
_MOST_SEPARABLE = 0.01


def variance_jobs(scale: str) -> tuple[Job, ...]:
    """Figure 3's samples for every true w, twice."""
    slopes = (1.0, 6.0) if scale == "smoke" else SLOPES
    return tuple(
        simulation(f"w = {slope:g}, seed {seed}", {**OUTER_LAW, "slope": slope}, METHODS, scale, level=None, seed=seed)
        for seed in (0, 1)
        for slope in slopes
    )


def simulate_classes(settings: Mapping[str, Any], context: Context) -> dict[str, Any]:
    """Fits every method to samples of two features and three classes.

    Settings:
        slope: w, by which `weights` [features][classes] are multiplied; the true biases are 0.
        methods: name -> coefficients of `Objective`.
        size, realizations, seed.

    Returns:
        separable: share; methods: name -> {"averages": `summary` of (1/K) sum_k b_k / w_1k, with "band", its 95% range;
        "ratios": of their spread to plain's; "limited", "unconverged": shares}.
    """
    weights = settings["slope"] * np.asarray(settings["weights"])
    classes = weights.shape[1]
    x, y = realizations(
        lambda seed: simulated.multinomial(settings["size"], weights=weights, biases=[0.0] * classes, seed=seed),
        settings["realizations"],
        settings["seed"],
    )
    found, averages = {}, {}
    for name, method in settings["methods"].items():
        each = fit(x, np.eye(classes)[y], Objective(**method))
        averages[name] = (each.biases / each.weights[:, 0]).mean(axis=1)
        found[name] = {
            "averages": {**summary(averages[name]), "band": np.percentile(averages[name], [2.5, 97.5]).tolist()},
            "limited": float(each.limited.mean()),
            "unconverged": float(1 - each.converged.mean()),
        }
        context.report(name)
    for name, values in averages.items():
        found[name]["ratios"] = spread_ratios(values, averages[PLAIN])
    return {"separable": float(separable(x, y).mean()), "methods": found}


def _class_jobs(scale: str) -> tuple[Job, ...]:
    count = SMOKE_REALIZATIONS if scale == "smoke" else REALIZATIONS
    slopes = (1.0,) if scale == "smoke" else _CLASS_SLOPES
    settings = {
        "weights": [list(row) for row in CLASS_WEIGHTS],
        "methods": {name: dict(method) for name, method in METHODS.items()},
        "size": 300,
        "realizations": count,
        "seed": 0,
    }
    # Most of it the linear programs of `separable`, and plain fits that have no minimum.
    return tuple(
        Job(f"w = {slope:g}", simulate_classes, {**settings, "slope": slope}, 60 * count / REALIZATIONS)
        for slope in slopes
    )


def by_slope(results: Results, seed: int | None) -> list[tuple[float, Mapping[str, Any]]]:
    """(w, result) of the jobs that are there, by w; `seed` None where the keys name none."""
    ending = "" if seed is None else f", seed {seed}"
    found = {key.removesuffix(ending): result for key, result in results.items() if key.endswith(ending)}
    return sorted((float(key.removeprefix("w = ")), result) for key, result in found.items())


def _chart(
    title: str, y_label: str, points: Sequence[tuple[float, Any]], value: Callable[[Mapping[str, Any]], float | None]
) -> Chart:
    """log10 of a spread against w, a series for each method."""
    series = {}
    for name in METHODS:
        known = [(w, value(result["methods"][name])) for w, result in points]
        known = [(w, math.log10(v)) for w, v in known if v]
        if known:
            series[name] = Series(*zip(*known, strict=True))
    return Chart(title, "true w", y_label, series)


_ESTIMATES = {"weight": "w", "bias": "b", "boundary": "the boundary"}


def render_variances(results: Results) -> Rendering:
    """Figure 3: variances as printed (a to c), and interquartile ranges, robust against separable samples (d to f)."""
    points = by_slope(results, 0)
    if not points:
        return Rendering()
    figures = {}
    for letter, (key, name) in zip("abc", _ESTIMATES.items(), strict=True):
        title = f"Variance of the estimated {name.removeprefix('the ')} over the samples, |w| <= 50."
        figures[letter] = _chart(title, f"log10 of the variance of {name}", points, _found(key, "variance"))
    for letter, (key, name) in zip("def", _ESTIMATES.items(), strict=True):
        title = f"Interquartile range of the estimated {name.removeprefix('the ')}."
        label = f"log10 of the interquartile range of {name}"
        figures[letter] = _chart(title, label, points, _found(key, "iqr"))
    rows = []
    for w, result in points:
        for name in REGULARIZERS:
            for spread, word in (("variance", "variance"), ("iqr", "interquartile range")):
                ratio = result["methods"][name]["ratios"][spread]
                if ratio and w == int(w):
                    what = f"w = {w:g}, {name}: {word} of the boundary over plain"
                    rows.append(Compared(what, None, ratio[0], "", (ratio[1], ratio[2])))
    return Rendering(tuple(rows), figures, tuple(_variance_findings(results, points)), columns=3)


def _found(estimate: str, spread: str) -> Callable[[Mapping[str, Any]], float | None]:
    return lambda method: method[estimate][spread]


def _variance_findings(results: Results, points: Sequence[tuple[float, Any]]) -> list[str]:
    shares = ", ".join(f"{result['separable']:.1%} at w = {w:g}" for w, result in points if w == int(w))
    findings = [f"Separable samples: {shares}."]
    for name in REGULARIZERS:
        wider = [
            f"{w:g}"
            for w, result in points
            if all((other := _ratio(results, w, seed, name)) is not None and other[1] > 1 for seed in (0, 1))
        ]
        if wider:
            findings.append(
                f"{name}: a larger variance of the boundary than plain logistic regression at w = {', '.join(wider)} "
                "(95% intervals above 1, two seeds): theorem 4.1 does not hold there."
            )
        else:
            findings.append(
                f"{name}: at no w a variance of the boundary that is larger than plain logistic regression's."
            )
    variances = {name: [result["methods"][name]["boundary"]["variance"] for _, result in points] for name in METHODS}
    least = min(range(len(points)), key=lambda at: variances[PLAIN][at])
    growth = variances[PLAIN][-1] / variances[PLAIN][least]
    falling = [name for name in REGULARIZERS if variances[name] == sorted(variances[name], reverse=True)]
    findings.append(
        f"Plain logistic regression: the variance of the boundary is least at w = {points[least][0]:g}, and "
        f"{growth:.3g} times that at w = {points[-1][0]:g}. From each w to the next it falls for "
        f"{', '.join(falling) or 'no regularizer'}."
    )
    spreads = [(w, [result["methods"][name]["boundary"]["variance"] for name in REGULARIZERS]) for w, result in points]
    w, values = max(spreads, key=lambda each: max(each[1]) / min(each[1]))
    findings.append(
        'The paper draws one line for all regularizers, "almost identical"; their variances of the boundary differ '
        f"by a factor of up to {max(values) / min(values):.2g} (at w = {w:g})."
    )
    return findings


def _ratio(results: Results, w: float, seed: int, name: str) -> Sequence[float] | None:
    result = results.get(f"w = {w:g}, seed {seed}")
    return None if result is None else result["methods"][name]["ratios"]["variance"]


def _render_classes(results: Results) -> Rendering:
    points = by_slope(results, None)
    if not points:
        return Rendering()
    series = {}
    for name in METHODS:
        shown = [(w, r) for w, r in points if name != PLAIN or r["separable"] <= _MOST_SEPARABLE]
        if shown:
            found = [result["methods"][name]["averages"] for _, result in shown]
            series[name] = Series(
                tuple(w for w, _ in shown),
                tuple(each["median"] for each in found),
                *zip(*(each["band"] for each in found), strict=True),
            )
    label = "(1/K) Σ b / w of the first feature"
    title = "Averaged boundary: medians and 95% bands; plain where at most 1% of the samples are separable."
    figures = {
        "a": Chart(title, "true w", label, series),
        "b": _chart(
            "Width of the 95% bands of the averaged boundary, all samples, |w| <= 50.",
            "log10 of the width",
            points,
            lambda method: method["averages"]["band"][1] - method["averages"]["band"][0],
        ),
    }
    rows = []
    for w, result in points:
        for name, found in result["methods"].items():
            average = found["averages"]
            interval = tuple(average["median_interval"])
            rows.append(
                Compared(f"w = {w:g}, {name}: averaged boundary, median", None, average["median"], "", interval)
            )
            rows.append(Compared(f"w = {w:g}, {name}: interquartile range", None, average["iqr"], ""))
    shares = ", ".join(f"{result['separable']:.1%} at w = {w:g}" for w, result in points)
    biased = {
        name: sum(
            not low <= 0 <= high
            for low, high in (result["methods"][name]["averages"]["median_interval"] for _, result in points)
        )
        for name in METHODS
    }
    told = ", ".join(f"{name} at {count}" for name, count in biased.items())
    findings = [
        f"Separable samples, of which plain logistic regression has no fit: {shares}.",
        f"The true average is 0; the 95% interval of the median excludes it, of {len(points)} values of w, for {told}.",
    ]
    return Rendering(tuple(rows), figures, tuple(findings))


STUDIES = (
    Study(
        "feature_smoothing/fig3",
        "Spread of the estimates against the true w",
        variance_jobs,
        render_variances,
        (
            *READINGS,
            "Panels (a) to (c) as printed; (d) to (f) are added, because a variance over samples that have no fit "
            "depends on the limit on w. The figure prints linear axes; logarithms show both ends.",
        ),
    ),
    Study(
        "feature_smoothing/fig5",
        "Averaged boundary of two features and three classes",
        _class_jobs,
        _render_classes,
        (
            *READINGS,
            "The law is not stated: both features uniform on [-1, -0.9] and [0.9, 1], N = 300, weights of the classes "
            "w (1, -1/2), w (-1/2, 1) and w (-1/2, -1/2), b = 0; w_i is read as the weight of the first feature, and "
            "w from 1 to 6 as in figure 3, whose coefficients are taken.",
        ),
    ),
)
