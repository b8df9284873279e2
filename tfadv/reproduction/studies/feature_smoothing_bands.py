"""FS, figures 2, 4, 6 and 7: the mean of the fitted p(x) over 1,000 samples and a band around it, a panel for each law.

Where a figure shows a bias or a spread, a number says how large it is: the median of the estimated boundaries, their
interquartile range, and the ratios of the spread to that of plain logistic regression on the same samples.
"""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence
from typing import Any

from tfadv.report.charts import Chart, Series
from tfadv.reproduction.studies.feature_smoothing_simulations import (
    AUGMENTATIONS,
    COEFFICIENTS,
    OUTER_LAW,
    PLAIN,
    READINGS,
    REGULARIZERS,
    TRUE,
    UNIT_LAW,
    simulation,
)
from tfadv.reproduction.study import Claim, Compared, Job, Rendering, Study

Results = Mapping[str, Mapping[str, Any]]

_ASYMMETRIC = {"sampler": "logistic", "slope": 4.0, "intercept": 0.0}
_UNBALANCED_LAW = {**_ASYMMETRIC, "size": [200, 100]}
_SHIFTED_LAW = {**_ASYMMETRIC, "size": [150, 150], "intervals": [[-1.0, -0.9], [0.6, 0.7]]}
_ONE_SIDED_LAW = {"sampler": "thresholded", "size": 300, "near": 10, "distance": 0.1}

_OUTER_TEXT = "x uniform on [-1, -0.9] and [0.9, 1], w = 4, b = 0"
_UNIT_TEXT = "x uniform on [0, 1], w = 8, b = -4"
_PANELS = {
    "feature_smoothing/fig2": {"a": _OUTER_TEXT, "b": _UNIT_TEXT},
    "feature_smoothing/fig4": {"a": _OUTER_TEXT, "b": _UNIT_TEXT},
    "feature_smoothing/fig6": {
        "a": "200 points in [-1, -0.9], 100 in [0.9, 1], w = 4, b = 0",
        "b": "150 points in [-1, -0.9], 150 in [0.6, 0.7], w = 4, b = 0",
    },
    "feature_smoothing/fig7": {
        "a": "regularizers; y = 1 where x > 0, and 10 points at 0.1 or 10 at -0.1",
        "b": "augmentations of the same data",
    },
}
# What figure 4 is asked beside what it shows: fewer new points, and the "data extrapolation" of FS section 1.
EXTRAPOLATION = "extrapolation"
_FEWER = {f"{name}, 60 new": {**AUGMENTATIONS[name], "new": 60} for name in ("feature smoothing", "mixup")}
_MORE = {**_FEWER, EXTRAPOLATION: {"interpolate": -0.3, "new": 300}}


def _regularized(scale: str) -> tuple[Job, ...]:
    methods = {PLAIN: {}, **REGULARIZERS}
    return (
        simulation("a", OUTER_LAW, methods, scale, level=0.99),
        simulation("b", UNIT_LAW, methods, scale, level=0.99, span=(0.0, 1.0)),
        simulation("b as printed", {**UNIT_LAW, "intercept": 4.0}, {PLAIN: {}}, scale, level=None, span=(0.0, 1.0)),
    )


def _augmented(scale: str) -> tuple[Job, ...]:
    methods = {PLAIN: {}, **AUGMENTATIONS, **_MORE}
    return (
        simulation("a", OUTER_LAW, methods, scale),
        simulation("b", UNIT_LAW, methods, scale, span=(0.0, 1.0)),
    )


def _asymmetric(scale: str) -> tuple[Job, ...]:
    methods = {PLAIN: {}, **REGULARIZERS}
    return tuple(
        simulation(panel if seed == 0 else f"{panel}, seed {seed}", law, methods, scale, seed=seed)
        for panel, law in {"a": _UNBALANCED_LAW, "b": _SHIFTED_LAW}.items()
        for seed in (0, 1)
    )


def _one_sided(scale: str) -> tuple[Job, ...]:
    return (
        simulation("a", _ONE_SIDED_LAW, {PLAIN: {}, **REGULARIZERS}, scale),
        simulation("b", _ONE_SIDED_LAW, {PLAIN: {}, **AUGMENTATIONS}, scale),
    )


def band_chart(title: str, result: Mapping[str, Any], methods: Sequence[str]) -> Chart:
    """The true p, and mean and band of the methods that the result has."""
    x = result["curves"]["x"]
    series = {TRUE: Series(x, result["curves"]["true"])}
    for name in methods:
        if name in result["methods"]:
            curve = result["methods"][name]["curve"]
            series[name] = Series(x, curve["mean"], curve["low"], curve["high"])
    return Chart(title, "x", "estimated P(y = 1 | x)", series)


def boundary_rows(panel: str, result: Mapping[str, Any], methods: Sequence[str]) -> tuple[Compared, ...]:
    """Median and spread of the boundaries; the paper prints neither."""
    rows = []
    for name in methods:
        found = result["methods"].get(name)
        if found is None or found["boundary"]["median"] is None:
            continue
        boundary, ratio = found["boundary"], found["ratios"]["iqr"]
        where = f"({panel}) {name}: "
        interval = tuple(boundary["median_interval"])
        rows.append(Compared(where + "boundary, median", None, boundary["median"], "", interval))
        rows.append(Compared(where + "boundary, interquartile range", None, boundary["iqr"], ""))
        if name != PLAIN and ratio:
            what = where + "interquartile range over plain"
            rows.append(Compared(what, None, ratio[0], "", (ratio[1], ratio[2])))
    return tuple(rows)


def _render(key: str, methods: Mapping[str, Sequence[str]], level: str, more: Any, results: Results) -> Rendering:
    """Panels of the results that are there, their rows, and what `more` finds."""
    figures: dict[str, Chart] = {}
    rows: list[Compared] = []
    findings: list[str] = []
    for panel, law in _PANELS[key].items():
        result = results.get(panel)
        if result is None:
            continue
        title = f"Mean fitted p and {level} bands; {law}."
        figures[panel] = band_chart(title, result, methods[panel])
        rows.extend(boundary_rows(panel, result, result["methods"]))
        limited = result["methods"][PLAIN]["limited"]
        findings.append(
            f"({panel}) {result['separable']:.1%} of the samples are separable; plain logistic regression ends at "
            f"|w| = 50 in {limited:.1%}."
        )
    extra, claims = more(results)
    return Rendering(tuple(rows), figures, (*findings, *extra), tuple(claims))


def _more_of_regularized(results: Results) -> tuple[list[str], list[Claim]]:
    findings = []
    if (printed := results.get("b as printed")) is not None:
        undefined = printed["methods"][PLAIN]["boundary"]
        findings.append(
            f"With b = 4 as printed the boundary is -1/2, outside the data: {printed['separable']:.1%} of the samples "
            f"are separable, and {undefined['undefined'] / undefined['count']:.1%} give no boundary at all."
        )
    if (unit := results.get("b")) is not None:
        findings += [_spread_sentence("b", name, unit) for name in REGULARIZERS]
    return findings, []


def _spread_sentence(panel: str, name: str, result: Mapping[str, Any]) -> str:
    ratios = result["methods"][name]["ratios"]
    if not ratios["variance"] or not ratios["iqr"]:
        return f"({panel}) {name}: too few realizations for a ratio."
    (variance, low, high), (iqr, *_) = ratios["variance"], ratios["iqr"]
    word = "narrows" if high < 1 else "widens" if low > 1 else "leaves"
    return (
        f"({panel}) {name} {word} the spread of the boundary: variance {variance:.3g} times that of plain logistic "
        f"regression ({low:.3g} to {high:.3g}), interquartile range {iqr:.3g} times."
    )


def _more_of_augmented(results: Results) -> tuple[list[str], list[Claim]]:
    found = {panel: results[panel] for panel in ("a", "b") if panel in results}
    findings = [
        _spread_sentence(panel, name, result) for panel, result in found.items() for name in (*AUGMENTATIONS, *_FEWER)
    ]
    evidence = [_spread_sentence(panel, EXTRAPOLATION, result) for panel, result in found.items()]
    if not evidence:
        return findings, []
    reading = "Read as x_i + 0.3 (x_i - x_j) with the label y_i; the paper names it once and does not define it."
    return findings, [Claim("FS-7", "depends", " ".join([reading, *evidence]))]


def _more_of_asymmetric(results: Results) -> tuple[list[str], list[Claim]]:
    outcomes = {key: _stabler(result) for key, result in sorted(results.items())}
    findings = [
        f"({key}) median error of the boundary: "
        + ", ".join(f"{name} {found['boundary']['median']:+.4f}" for name, found in result["methods"].items())
        + f"; those of label smoothing and logit squeezing are {outcomes[key]} the true boundary than weight decay's."
        for key, result in sorted(results.items())
        if result["methods"][PLAIN]["boundary"]["median"] is not None
    ]
    if len(outcomes) < 4:
        return findings, []
    if set(outcomes.values()) == {"closer to"}:
        mark = "reproduced"
    elif set(outcomes.values()) == {"farther from"}:
        mark = "not reproduced"
    else:
        mark = "depends"
    return findings, [Claim("FS-6", mark, " ".join(findings))]


def _stabler(result: Mapping[str, Any]) -> str:
    """Label smoothing and logit squeezing against weight decay: "closer to" the true boundary, "farther from" it, or
    neither, because 95% intervals of the medians' distances meet."""
    truth = result["boundary"]

    def distance(name: str) -> tuple[float, float]:
        low, high = (end - truth for end in result["methods"][name]["boundary"]["median_interval"])
        return (0.0 if low <= 0 <= high else min(abs(low), abs(high)), max(abs(low), abs(high)))

    decay, logits = distance("weight decay"), [distance("label smoothing"), distance("logit squeezing")]
    if all(high < decay[0] for _, high in logits):
        return "closer to"
    return "farther from" if all(low > decay[1] for low, _ in logits) else "neither closer to nor farther from"


def _more_of_one_sided(results: Results) -> tuple[list[str], list[Claim]]:
    findings = []
    for panel in ("a", "b"):
        if panel in results:
            methods = results[panel]["methods"]
            distances = ", ".join(
                f"{name} {found['distance']:.3f}" for name, found in methods.items() if found["distance"] is not None
            )
            findings.append(f"({panel}) median distance of the estimated boundary from the true one: {distances}.")
    if "b" in results:
        methods = results["b"]["methods"]
        plain = methods[PLAIN]["distance"]
        same = [name for name in AUGMENTATIONS if methods[name]["distance"] > 0.95 * plain]
        if same:
            findings.append(
                f"(b) {', '.join(same)}: no improvement over plain logistic regression. Points that are moved by less "
                "than the margin stay separable, and among unbounded weights the widest margin wins, as before."
            )
    return findings, []


def _study(key: str, title: str, jobs: Any, methods: Any, level: str, more: Any, readings: tuple[str, ...]) -> Study:
    render = functools.partial(_render, key, methods, level, more)
    return Study(key, title, jobs, render, (*READINGS, *readings))


_REGULARIZED = (PLAIN, *REGULARIZERS)
_AUGMENTED = (PLAIN, *AUGMENTATIONS)
_BOUNDARY_READING = "Panel (b) prints b = 4, which puts the boundary outside the data; b = -4 is taken (boundary 1/2)."
_AUGMENTATION_READING = (
    "Not stated: how many new points. As many as data, 300, drawn from pairs of any classes and added; also 60, the "
    "ratio of table 1. Noise is on every point, then clipped to the range of the data. Mixup has alpha = 0.3, not a "
    "Beta law, as printed. Adversarial examples, which the caption leaves out, at epsilon = 0.3, one for each point."
)

STUDIES = (
    _study(
        "feature_smoothing/fig2",
        "Estimated probabilities by regularization methods",
        _regularized,
        {"a": _REGULARIZED, "b": _REGULARIZED},
        "99%",
        _more_of_regularized,
        (_BOUNDARY_READING, COEFFICIENTS),
    ),
    _study(
        "feature_smoothing/fig4",
        "Estimated probabilities by augmentation methods",
        _augmented,
        {"a": _AUGMENTED, "b": _AUGMENTED},
        "95%",
        _more_of_augmented,
        (_BOUNDARY_READING, _AUGMENTATION_READING),
    ),
    _study(
        "feature_smoothing/fig6",
        "Estimated probabilities where x is not symmetric about the boundary",
        _asymmetric,
        {"a": _REGULARIZED, "b": _REGULARIZED},
        "95%",
        _more_of_asymmetric,
        (COEFFICIENTS, "Section 4.1 cites this figure as figure 7."),
    ),
    _study(
        "feature_smoothing/fig7",
        "Estimated probabilities where one class alone has data near the boundary",
        _one_sided,
        {"a": _REGULARIZED, "b": _AUGMENTED},
        "95%",
        _more_of_one_sided,
        (
            COEFFICIENTS,
            _AUGMENTATION_READING,
            "Either 10 points at 0.1, all of class 1, or 10 at -0.1, all of class 0, by one coin (caption); section "
            "B.3 says some x in [0, 0.1]. Every sample is separable.",
        ),
    ),
)
