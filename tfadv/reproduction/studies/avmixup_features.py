"""Theorems 2 and 3 of "Adversarial vertex mixup" (AV): the weight of the sufficient non-robust features.

One robust feature and d weak ones, of which the first c look robust in the sample (examples 2 and 3); weights >= 0 of
sum 1, equal for features of one kind: w_A for the c + 1 that look robust, w_B for the d - c others. With
r = (sigma_A / sigma_B)^2 the variance of w'x given y is least at

    w_B = r / (c + 1 + (d - c) r)                          in the sample's law, 0 as printed for r -> 0 (equation 10)
    w_B = (r + c) / ((c + 1)^2 + (d - c)(r + c))           in the true law, c / (c d + 2 c + 1) for r -> 0 (equation 11)

What the theorems are there for, robust accuracy, is not the variance; so that is measured beside it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from tfadv.analysis.gaussian_linear import accuracy
from tfadv.analysis.logistic import sigmoid
from tfadv.data.simulated import gaussian, robust_and_weak
from tfadv.report.charts import Chart
from tfadv.reproduction.studies.lines import line, mean_interval
from tfadv.reproduction.study import Claim, Compared, Context, Job, Rendering, Study

WEAK, INSUFFICIENT, ETA = 20, 10, 0.3
SIGMA_A, SIGMA_B = 0.3, 1.0  # of the training
VARIANCES, TRAINING = "least variance", "adversarial training"
_RATIOS = (0.01, 0.02, 0.05, 0.1, 0.2, 0.3, 0.5, 0.7)
_SHOWN = (0.01, 0.1, 0.3, 0.7)  # in the table
_EPSILONS = (0.1, 0.2, 0.35)  # two below eta, and one above
_GRID = 2001

Results = Mapping[str, Mapping[str, Any]]


def sample_weight(ratio: float, d: int = WEAK, c: int = INSUFFICIENT) -> float:
    """w_B of least variance in the sample's law; ratio = sigma_A / sigma_B."""
    r = ratio**2
    return r / (c + 1 + (d - c) * r)


def true_weight(ratio: float, d: int = WEAK, c: int = INSUFFICIENT) -> float:
    """w_B of least variance in the true law."""
    r = ratio**2
    return (r + c) / ((c + 1) ** 2 + (d - c) * (r + c))


def printed_weight(d: int = WEAK, c: int = INSUFFICIENT) -> float:
    """Equation 11."""
    return c / (c * d + 2 * c + 1)


def weights(w_b: Any, d: int = WEAK, c: int = INSUFFICIENT) -> np.ndarray:
    """The weights [..., d + 1] of a w_B [...]: what is left of 1 goes evenly to the other c + 1 features."""
    w_b = np.asarray(w_b, np.float64)[..., None]
    alike = np.arange(d + 1) <= c
    return np.where(alike, (1 - (d - c) * w_b) / (c + 1), w_b)


def least_variance(covariance: np.ndarray, d: int, c: int) -> float:
    """w_B in [0, 1 / (d - c)] at which w'Cw is least; C [d + 1, d + 1]."""
    # w = u + w_B v is a line, so that the variance is a parabola.
    u = weights(0.0, d, c)
    v = weights(1.0, d, c) - u
    return float(np.clip(-(u @ covariance @ v) / (v @ covariance @ v), 0.0, 1 / (d - c)))


def measure_variances(settings: Mapping[str, Any], context: Context) -> dict[str, Any]:
    """w_B of least variance, of drawn examples, given y and not given y.

    Settings:
        d, c, eta, ratios: sigma_A / sigma_B with sigma_B = 1, samples, repetitions, seed.

    Returns:
        ratios; "sample", "true": {"given": w_B [ratios][repetitions] of the variance given y, "whole": the same of the
        variance of w'x over both labels}.
    """
    d, c = settings["d"], settings["c"]
    found: dict[str, Any] = {name: {"given": [], "whole": []} for name in ("sample", "true")}
    seed = settings["seed"]
    for ratio in settings["ratios"]:
        for name, insufficient in (("sample", c), ("true", 0)):
            law = robust_and_weak(d, eta=settings["eta"], sigma_a=ratio, sigma_b=1.0, insufficient=insufficient)
            given, whole = [], []
            for _ in range(settings["repetitions"]):
                x, y = gaussian(settings["samples"], *law, seed=seed)
                seed += 1
                # y x has the law of label 1 whatever the label is, so its covariance is the one given y.
                given.append(least_variance(np.cov(((2.0 * y - 1)[:, None] * x).T), d, c))
                whole.append(least_variance(np.cov(x.T.astype(np.float64)), d, c))
            found[name]["given"].append(given)
            found[name]["whole"].append(whole)
    return {"ratios": list(settings["ratios"]), **found}


def train_adversarially(settings: Mapping[str, Any], context: Context) -> dict[str, Any]:
    """Adversarial training of a logistic model on the sample's law, and its robust accuracies on the way.

    For w >= 0 the strongest perturbation is x - epsilon y (1, ..., 1), so that the adversarial risk is the mean of
    log(1 + exp(-(y w'x - epsilon sum w))); projected gradient descent from w = 0, no bias.

    Settings:
        d, c, eta, sigma_a, sigma_b, epsilons, samples, rate, steps, seed.

    Returns:
        epsilons; steps: where it was looked at; for each epsilon a list over the steps of "share": (d - c) w_B of the
        weights over their sum, and "sample", "true": exact robust accuracies at that epsilon in both laws.
    """
    law = {key: settings[key] for key in ("eta", "sigma_a", "sigma_b")}
    sample = robust_and_weak(settings["d"], **law, insufficient=settings["c"])
    true = robust_and_weak(settings["d"], **law)
    x, y = gaussian(settings["samples"], *sample, seed=settings["seed"])
    signed = (2.0 * y - 1)[:, None] * x
    looked = sorted({round(step) for step in np.geomspace(1, settings["steps"], 25)})
    found: dict[str, list[list[float]]] = {"share": [], "sample": [], "true": []}
    for epsilon in settings["epsilons"]:
        w = np.zeros(settings["d"] + 1)
        rows = []
        for step in range(1, settings["steps"] + 1):
            doubt = sigmoid(-(signed @ w - epsilon * w.sum()))
            w = np.maximum(w + settings["rate"] * (doubt @ signed / len(signed) - epsilon * doubt.mean()), 0.0)
            if step in looked:
                share = float(w[settings["c"] + 1 :].sum() / w.sum())
                rows.append((share, *(float(accuracy(w, *each, epsilon)) for each in (sample, true))))
        for name, column in zip(found, zip(*rows, strict=True), strict=True):
            found[name].append(list(column))
        context.report(f"epsilon {epsilon:g}")
    return {"epsilons": list(settings["epsilons"]), "steps": looked, **found}


def most_robust_weight(epsilon: float) -> float:
    """w_B of the largest robust accuracy in the true law among `weights`, on a grid."""
    line_of = np.linspace(0, 1 / (WEAK - INSUFFICIENT), _GRID)
    true = robust_and_weak(WEAK, eta=ETA, sigma_a=SIGMA_A, sigma_b=SIGMA_B)
    return float(line_of[np.argmax(accuracy(weights(line_of), *true, epsilon))])


def _variance_chart(name: str, title: str, exact: Any, printed: float, results: Results) -> Chart:
    """Total weight of the sufficient features against the ratio of the deviations."""
    count = WEAK - INSUFFICIENT
    series = {
        "exact": line(_RATIOS, [count * exact(ratio) for ratio in _RATIOS]),
        "as printed": line(_RATIOS, [count * printed] * len(_RATIOS)),
    }
    if VARIANCES in results:
        found = results[VARIANCES]
        values = count * np.array(found[name]["given"])
        series["drawn examples"] = line(found["ratios"], values.mean(axis=1), values.min(axis=1), values.max(axis=1))
    return Chart(title, "sigma_A / sigma_B", "weight of all sufficient features", series, log_x=True)


def _compared(name: str, exact: Any, printed: float, results: Results) -> list[Compared]:
    if VARIANCES not in results:
        return []
    found, rows = results[VARIANCES], []
    note = "printed: the limit for sigma_A / sigma_B -> 0"
    for ratio, values in zip(found["ratios"], found[name]["given"], strict=True):
        if ratio in _SHOWN:
            what = f"w_B at sigma_A / sigma_B = {ratio:g}"
            rows.append(Compared(f"{what}, exact", printed, exact(ratio), "", note=note))
            rows.append(Compared(f"{what}, drawn", printed, float(np.mean(values)), "", mean_interval(values), note))
    return rows


def _not_given(name: str, exact: Any, results: Results) -> str:
    found = results[VARIANCES]
    drawn = (WEAK - INSUFFICIENT) * float(np.mean(found[name]["whole"][0]))
    return (
        "Both theorems mean the variance given y. Over both labels it contains (w'mean)^2, and is least where w'x "
        f"tells less of y: at sigma_A / sigma_B = {found['ratios'][0]:g} with {100 * drawn:.0f}% of the weight on the "
        f"sufficient features, not {100 * (WEAK - INSUFFICIENT) * exact(found['ratios'][0]):.1f}%."
    )


def render_sample(results: Results) -> Rendering:
    """Theorem 2: least variance in the sample's law."""
    title = "Sample law: total weight of the sufficient non-robust features at the least variance of w'x."
    findings = [
        "w_B = 0 is the limit for sigma_A / sigma_B -> 0; for every ratio of the deviations it is above 0: at 0.1, "
        f"{sample_weight(0.1):.2g}, which is {100 * (WEAK - INSUFFICIENT) * sample_weight(0.1):.2g}% of the weight in "
        "all."
    ]
    if VARIANCES in results:
        findings.append(_not_given("sample", sample_weight, results))
    return Rendering(
        compared=tuple(_compared("sample", sample_weight, 0.0, results)),
        figures={"": _variance_chart("sample", title, sample_weight, 0.0, results)},
        findings=tuple(findings),
    )


def render_true(results: Results) -> Rendering:
    """Theorem 3: least variance in the true law; and adversarial training, for which it stands."""
    title = "True law: total weight of the sufficient non-robust features at the least variance of w'x."
    figures = {"a": _variance_chart("true", title, true_weight, printed_weight(), results)}
    findings = [
        f"Equation 11 is the limit for sigma_A / sigma_B -> 0 ({printed_weight():.4f} for d = {WEAK}, c = "
        f"{INSUFFICIENT}); exact at 0.3 it is {true_weight(0.3):.4f}."
    ]
    if VARIANCES in results:
        findings.append(_not_given("true", true_weight, results))
    true = robust_and_weak(WEAK, eta=ETA, sigma_a=SIGMA_A, sigma_b=SIGMA_B)
    rows = []
    for epsilon in _EPSILONS:
        best = most_robust_weight(epsilon)
        values = accuracy(weights([0.0, true_weight(SIGMA_A / SIGMA_B), best]), *true, epsilon)
        rows.append(
            f"at epsilon {epsilon:g}, {100 * values[0]:.1f}% with w_B = 0, {100 * values[1]:.1f}% with theorem 3's, "
            f"{100 * values[2]:.1f}% with the best w_B, {best:.4f}"
        )
    findings.append(
        f"The least variance is not the most robust: in the true law (eta {ETA:g}, sigma_A {SIGMA_A:g}, sigma_B "
        f"{SIGMA_B:g}) the accuracy is {'; '.join(rows)}. Above eta, where adversarial training does give weight 0, it "
        "is also the best."
    )
    claims: tuple[Claim, ...] = ()
    if TRAINING in results:
        found = results[TRAINING]
        steps = found["steps"]
        names = [f"epsilon = {epsilon:g}" for epsilon in found["epsilons"]]
        lost = [100 * (np.array(values) - values[0]) for values in found["true"]]
        for panel, what, label, columns in (
            ("b", "total weight of the sufficient features", "weight over the sum of all weights", found["share"]),
            ("c", "change of the robust accuracy in the true law", "points since the first step", lost),
        ):
            figures[panel] = Chart(
                f"Adversarial training on the sample law (eta = {ETA:g}): {what}.",
                "steps of gradient descent",
                label,
                {name: line(steps, values) for name, values in zip(names, columns, strict=True)},
                log_x=True,
            )
        words = "; ".join(
            f"epsilon {epsilon:g}: weight {share[0]:.3f} at first, {share[-1]:.3f} after {steps[-1]:,} steps, robust "
            f"accuracy {100 * max(values):.2f}% at best and {100 * values[-1]:.2f}% at last"
            for epsilon, share, values in zip(found["epsilons"], found["share"], found["true"], strict=True)
        )
        findings.append(
            f"Adversarial training on the sample law, by the true law: {words}. Where epsilon < eta the weight falls "
            "and robust accuracy with it, as AV describes, but not to 0, and the loss is small; where epsilon > eta "
            "the weight is about 0 from the first step, and next to nothing is lost."
        )
        claims = (Claim("AV-6", "depends", f"on epsilon < eta = {ETA:g} or not, {words}"),)
    return Rendering(
        compared=tuple(_compared("true", true_weight, printed_weight(), results)),
        figures=figures,
        findings=tuple(findings),
        claims=claims,
    )


def _jobs(scale: str, *, training: bool) -> tuple[Job, ...]:
    """Short is paper, which has no numbers of its own."""
    smoke = scale == "smoke"
    size = {"d": WEAK, "c": INSUFFICIENT, "eta": ETA}
    variances = {
        **size,
        "ratios": [0.1, 0.5] if smoke else list(_RATIOS),
        "samples": 500 if smoke else 10_000,
        "repetitions": 3 if smoke else 8,
        "seed": 0,
    }
    trained = {
        **size,
        "sigma_a": SIGMA_A,
        "sigma_b": SIGMA_B,
        "epsilons": list(_EPSILONS),
        "samples": 500 if smoke else 10_000,
        "rate": 0.2,
        "steps": 100 if smoke else 10_000,
        "seed": 0,
    }
    jobs = (
        Job(VARIANCES, measure_variances, variances, 0.1 if smoke else 15),
        Job(TRAINING, train_adversarially, trained, 0.1 if smoke else 10),
    )
    return jobs if training else jobs[:1]


_READINGS = (
    "The variance is the one given y, and w_B = 0 and equation 11 are the limits for sigma_A / sigma_B -> 0 "
    "(inconsistency I25 and what follows from it).",
    "Features of one kind have equal weights, as AV assumes for theorem 3.",
    f"d = {WEAK}, c = {INSUFFICIENT}, eta = {ETA:g}: the paper states no numbers.",
)

STUDIES = (
    Study(
        "avmixup/theorem2",
        "Theorem 2: the weight of the sufficient non-robust features of least variance in the sample",
        lambda scale: _jobs(scale, training=False),
        render_sample,
        _READINGS,
    ),
    Study(
        "avmixup/theorem3",
        "Theorem 3: the weight of least variance in the true law, and adversarial training",
        lambda scale: _jobs(scale, training=True),
        render_true,
        (*_READINGS, f"Training: sigma_A = {SIGMA_A:g}, sigma_B = {SIGMA_B:g}, a logistic model, exact perturbations."),
    ),
)
