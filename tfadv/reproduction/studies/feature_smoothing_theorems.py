"""FS, theorems 4.1 to 4.3 and appendix A: by the law of large samples, and by figure 3's simulated ones."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from tfadv.report.charts import Chart, Series
from tfadv.reproduction.studies.feature_smoothing_closed_forms import appendix, large_samples, moments
from tfadv.reproduction.studies.feature_smoothing_simulations import (
    AUGMENTATIONS,
    OUTER_LAW,
    PLAIN,
    READINGS,
    REALIZATIONS,
    REGULARIZERS,
    SMOKE_REALIZATIONS,
    simulation,
)
from tfadv.reproduction.studies.feature_smoothing_variances import by_slope, variance_jobs
from tfadv.reproduction.study import Compared, Job, Rendering, Study

Results = Mapping[str, Mapping[str, Any]]

_SLOPES = tuple(0.5 + 0.25 * step for step in range(31))
_ALPHAS = (0.05, 0.1, 0.15, 0.2, 0.25, 0.3, 0.35, 0.4, 0.45, 0.49)
_ALPHA_SLOPES = (2.0, 4.0, 6.0)
_SHIFTED = [[-1.0, -0.9], [0.6, 0.7]]
_STRENGTHS = {
    "label smoothing": [0.003, 0.01, 0.03, 0.06, 0.1, 0.15, 0.2],
    "logit squeezing": [0.003, 0.01, 0.03, 0.06, 0.1, 0.15, 0.2],
    "weight decay": [0.0003, 0.001, 0.003, 0.006, 0.01, 0.02, 0.03],
}
# A third of the points lie near the boundary, as many points as without them.
_NEAR = [[-1.0, -0.9], [-0.3, 0.3], [0.9, 1.0]]


def _jobs(scale: str) -> tuple[Job, ...]:
    smoke = scale == "smoke"
    count = SMOKE_REALIZATIONS if smoke else REALIZATIONS
    large = {
        "slopes": [1.0, 4.0] if smoke else list(_SLOPES),
        "methods": {PLAIN: {}, **{name: dict(method) for name, method in REGULARIZERS.items()}},
        "shifted": _SHIFTED,
        "strengths": {name: values[:: 3 if smoke else 1] for name, values in _STRENGTHS.items()},
    }
    law = {"slope": 2.0, "intervals": [[-1.0, 1.0]], "size": 2000, "realizations": count, "seed": 0}
    added = {name: AUGMENTATIONS[name] for name in ("feature smoothing", "mixup")}
    mixed_law = {"sampler": "logistic", "slope": 4.0, "intercept": 0.0}
    alphas = _ALPHAS[5:6] if smoke else _ALPHAS
    return (
        *variance_jobs(scale),
        Job("large samples", large_samples, large, 2.0 if smoke else 20.0),
        Job("moments, b = 0", moments, {**law, "intercept": 0.0}, 4 * count / REALIZATIONS),
        Job("moments, b = 1", moments, {**law, "intercept": 1.0}, 4 * count / REALIZATIONS),
        Job("appendix", appendix, {"draws": 1000, "seed": 0}, 1.0),
        simulation("near", {**mixed_law, "size": [100] * 3, "intervals": _NEAR}, {PLAIN: {}}, scale, level=None),
        simulation(
            "shifted", {**mixed_law, "size": [150, 150], "intervals": _SHIFTED}, {PLAIN: {}, **added}, scale, level=None
        ),
        *(
            simulation(
                f"alpha, w = {slope:g}, seed {seed}",
                {**OUTER_LAW, "slope": slope},
                _interpolated(alphas),
                scale,
                level=None,
                seed=seed,
            )
            for slope in _ALPHA_SLOPES[: 1 if smoke else None]
            for seed in (0, 1)
        ),
    )


def _interpolated(alphas: Sequence[float]) -> dict[str, dict[str, Any]]:
    """For every alpha mixup, against plain logistic regression, and feature smoothing, against that mixup."""
    methods: dict[str, dict[str, Any]] = {PLAIN: {}}
    for alpha in alphas:
        points = {"interpolate": alpha, "new": 300}
        methods[f"mixup {alpha:g}"] = {**points, "mixed": True}
        methods[f"feature smoothing {alpha:g}"] = {**points, "against": f"mixup {alpha:g}"}
    return methods


def _render(results: Results) -> Rendering:
    figures: dict[str, Chart] = {}
    findings: list[str] = []
    simulated = {seed: by_slope({k: v for k, v in results.items() if k.startswith("w = ")}, seed) for seed in (0, 1)}
    large = results.get("large samples")
    if large is not None:
        figures |= _large_figures(large, simulated[0])
        findings += _theorem_41(large)
    findings += _theorem_42(simulated)
    findings += _theorem_43(results)
    swept = {key: result for key, result in results.items() if key.startswith("alpha, ")}
    if swept:
        figures["c"] = _alpha_chart(swept)
        findings += _remark_a4(swept)
    if "appendix" in results:
        findings += _appendix_findings(results["appendix"])
    return Rendering(_moment_rows(results), dict(sorted(figures.items())), tuple(findings))


def _large_figures(large: Mapping[str, Any], points: Sequence[tuple[float, Any]]) -> dict[str, Chart]:
    slopes = large["slopes"]
    ratios: dict[str, Series] = {}
    unit: dict[str, Series] = {}
    for name in REGULARIZERS:
        for law, series in (("outer", ratios), ("unit", unit)):
            known = [
                (w, math.log10(value / plain))
                for w, value, plain in zip(slopes, large[law][name], large[law][PLAIN], strict=True)
                if value
            ]
            series[name] = Series(*zip(*known, strict=True))
    for name in REGULARIZERS:
        found = [(w, ratio) for w, result in points if (ratio := result["methods"][name]["ratios"]["iqr"])]
        if found:
            squared = [[2 * math.log10(value) for value in ratio] for _, ratio in found]
            ratios[f"{name}, samples of 300"] = Series(tuple(w for w, _ in found), *zip(*squared, strict=True))
    label = "log10 of the variance over plain's"
    shifted = {
        name: Series(*zip(*sorted((slope, boundary) for _, slope, boundary in values), strict=True))
        for name, values in large["shifted"].items()
    }
    return {
        "a": Chart(
            "Theorem 4.1, x far from the boundary: variance of the boundary over plain logistic regression's, in large "
            "samples, and squared ratios of interquartile ranges in simulated ones. Below 0 the theorem holds.",
            "true w",
            label,
            ratios,
            rules={"plain": 0.0},
        ),
        "b": Chart(
            "Theorem 4.1, x uniform on [0, 1] and the boundary at 1/2, in large samples.",
            "true w",
            label,
            unit,
            rules={"plain": 0.0},
        ),
        "d": Chart(
            "Where the estimates go if x lies in [-1, -0.9] and [0.6, 0.7], for weak to strong regularization (w = 4).",
            "fitted w",
            "fitted boundary (true: 0)",
            shifted,
        ),
    }


def _theorem_41(large: Mapping[str, Any]) -> list[str]:
    slopes = large["slopes"]
    findings = []
    for law, text in (("outer", "x on [-1, -0.9] and [0.9, 1]"), ("unit", "x on [0, 1]")):
        broken = {
            name: [
                w
                for w, value, plain in zip(slopes, large[law][name], large[law][PLAIN], strict=True)
                if value is None or value > plain
            ]
            for name in REGULARIZERS
        }
        told = "; ".join(
            f"{name} up to w = {max(values):g}" if values else f"{name} nowhere" for name, values in broken.items()
        )
        findings.append(
            f"Theorem 4.1, {text}, w from {slopes[0]:g} to {slopes[-1]:g}, large samples: the variance is not smaller "
            f"than plain logistic regression's for {told}."
        )
    return findings


def _theorem_42(simulated: Mapping[int, Sequence[tuple[float, Any]]]) -> list[str]:
    intervals = [
        result["methods"][name]["boundary"]["median_interval"]
        for points in simulated.values()
        for _, result in points
        for name in REGULARIZERS
        if result["methods"][name]["boundary"]["median_interval"]
    ]
    if not intervals:
        return []
    covered = sum(low <= 0 <= high for low, high in intervals)
    return [
        f"Theorem 4.2: of {len(intervals)} medians of the boundary (regularizer, w, seed), 95% intervals of {covered} "
        "contain the truth, 0; regularizers of one w and seed see the same samples. Mirroring x and the classes "
        "changes neither the law of the samples nor the objectives, so that the median is exactly 0."
    ]


def _theorem_43(results: Results) -> list[str]:
    findings = []
    outer = results.get("w = 4, seed 0")
    near = results.get("near")
    if outer is not None and near is not None:
        far, close = outer["methods"][PLAIN]["boundary"], near["methods"][PLAIN]["boundary"]
        word = "holds" if close["iqr"] < far["iqr"] else "does not hold"
        findings.append(
            "Theorem 4.3: with 100 of 300 points in [-0.3, 0.3] and labels of the true law, the interquartile range of "
            f"the boundary is {close['iqr']:.4f} in place of {far['iqr']:.4f}; median {close['median']:+.4f} "
            f"({close['median_interval'][0]:+.4f} to {close['median_interval'][1]:+.4f}). The theorem {word}."
        )
    shifted = results.get("shifted")
    if shifted is not None:
        told = ", ".join(f"{name} {found['boundary']['median']:+.4f}" for name, found in shifted["methods"].items())
        findings.append(
            f"Theorem 4.3, labels not of the true law, x in [-1, -0.9] and [0.6, 0.7]: median boundaries {told}."
        )
    return findings


def _alpha_points(result: Mapping[str, Any], method: str) -> list[tuple[float, Mapping[str, Any]]]:
    """(alpha, what was found) of one interpolating method, by alpha."""
    start = f"{method} "
    return sorted(
        (
            (float(name.removeprefix(start)), found)
            for name, found in result["methods"].items()
            if name.startswith(start)
        ),
        key=lambda each: each[0],
    )


def _alpha_chart(swept: Results) -> Chart:
    series = {}
    for key, result in swept.items():
        if key.endswith("seed 0"):
            known = [
                (alpha, *(math.log10(value) for value in ratio))
                for alpha, found in _alpha_points(result, "feature smoothing")
                if (ratio := found["ratios"]["iqr"])
            ]
            if known:
                series[key.removeprefix("alpha, ").removesuffix(", seed 0")] = Series(*zip(*known, strict=True))
    return Chart(
        "Remark A.4: interquartile range of the boundary by feature smoothing over that by mixup. Below 0 feature "
        "smoothing varies less.",
        "alpha",
        "log10 of the ratio",
        series,
        rules={"mixup": 0.0},
    )


def _remark_a4(swept: Results) -> list[str]:
    findings = []
    for key in swept:
        if not key.endswith("seed 0") or (twin := key.replace("seed 0", "seed 1")) not in swept:
            continue
        pairs = zip(
            _alpha_points(swept[key], "feature smoothing"), _alpha_points(swept[twin], "feature smoothing"), strict=True
        )
        both = [(alpha, one["ratios"]["iqr"], two["ratios"]["iqr"]) for (alpha, one), (_, two) in pairs]
        known = [(alpha, one, two) for alpha, one, two in both if one and two]
        less = [f"{alpha:g}" for alpha, one, two in known if one[2] < 1 and two[2] < 1]
        more = [f"{alpha:g}" for alpha, one, two in known if one[1] > 1 and two[1] > 1]
        findings.append(
            f"Remark A.4, {key.removeprefix('alpha, ').removesuffix(', seed 0')}: feature smoothing varies less than "
            f"mixup at alpha = {', '.join(less) or 'none'}, more at alpha = {', '.join(more) or 'none'} (95% intervals "
            "of both seeds)."
        )
    return findings


def _appendix_findings(found: Mapping[str, Any]) -> list[str]:
    between, broken, others, broken_others = found["sandwich"]
    margin, printed, corrected = found["stationary"]
    return [
        f"A.1: g(w) is least at |w x| = {found['margin']:.4f} and grows beyond it; its printed derivative agrees with "
        f"difference quotients to {found['derivative']:.1g}. The proof of theorem 4.1 therefore says nothing below.",
        f"A.1: the inequality for E(y - p^)^2 holds for all {between} pairs with p^ between 1/2 and p ({broken} "
        f"violations), and for none of the {others} others ({broken_others} violations): it says that p^ is shrunk.",
        f"A.4: g' = 0 at w x = {margin:.4f}; the printed formula gives {printed:.4f}, with 2 p - 1 {corrected:.4f}.",
        f"Inequality (2), {found['draws']} random cases: {found['relu']} violations for ReLU, {found['pool_above']} "
        f"and {found['pool_below']} for max-pooling of non-negative inputs ({found['pool_signed']} for signed ones). "
        f"The consequence drawn for networks fails in {found['network']} of {found['draws']} random two-layer "
        f"networks, {found['network_positive']} with a non-negative last layer.",
    ]


def _moment_rows(results: Results) -> tuple[Compared, ...]:
    """N var as simulated, where the "paper" is what its formula gives."""
    rows = []
    for key in ("moments, b = 0", "moments, b = 1"):
        if key not in results:
            continue
        found = results[key]
        where = f"w = 2, {key.removeprefix('moments, ')}, x on [-1, 1], N = 2000: "
        for number, (name, equation) in enumerate(
            (("weight", "N var(w), equation 3"), ("bias", "N var(b), equation 4"))
        ):
            whole = found["information"][number]
            note = "" if math.isclose(whole, found["fisher"][number], rel_tol=1e-6) else f"whole matrix: {whole:.4g}"
            rows.append(_row(where + equation, found["fisher"][number], found[name], note))
        note = f"delta method with the covariance: {found['delta']:.4g}"
        rows.append(_row(where + "N var(-b/w), A.1", found["printed"], found["boundary"], note))
    return tuple(rows)


def _row(what: str, formula: float, simulated: Sequence[float], note: str) -> Compared:
    value, error = simulated
    return Compared(what, formula, value, "", (value - 1.96 * error, value + 1.96 * error), note)


STUDY = Study(
    "feature_smoothing/theorems",
    "Theorems 4.1 to 4.3 and appendix A",
    _jobs,
    _render,
    (
        *READINGS,
        'In the table, "paper" is what the paper\'s formula gives, ours is simulated.',
        "A.1 prints b^2 / var(1/w) in the delta method, for b^2 var(w) / w^4, and leaves out the covariance; A.4 "
        "prints 2 / (x (1 - 2 p)) for 2 / (x (2 p - 1)).",
        "Large samples: the estimates' limit and its sandwich covariance, exact up to the quadrature over x.",
    ),
)
