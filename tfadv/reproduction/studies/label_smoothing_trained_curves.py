"""Figure 5 of "Adversarial robustness via label-smoothing" (LSV): accuracy against alpha, and against epsilon."""

from __future__ import annotations

from collections.abc import Mapping

from tfadv.experiments.label_smoothing_variants import MORE_ALPHAS, TEMPERATURE
from tfadv.report.charts import Chart
from tfadv.reproduction.studies.label_smoothing_trained import CLOSEST, LABELS, TRAINING
from tfadv.reproduction.studies.label_smoothing_trained import jobs as jobs_of_the_tables
from tfadv.reproduction.studies.label_smoothing_trained_jobs import (
    BIM,
    CIFAR_LENET,
    CW,
    DEEP_FOOL,
    FGSM,
    METHODS,
    MNIST_LENET,
    MNIST_LINEAR,
    NATURAL,
    PGD,
    Setup,
    at,
    job,
)
from tfadv.reproduction.studies.label_smoothing_trained_numbers import (
    CLEAN,
    STRONG,
    TABLES,
    Numbers,
    Results,
    measured,
    printed,
)
from tfadv.reproduction.studies.lines import line
from tfadv.reproduction.study import Claim, Compared, Job, Rendering, Study

_SWEPT = "ALS"  # the method of panels a to c
_ALPHA = 0.1  # of panels d and e
_WARM = f"BLS {_ALPHA:g}, T = {TEMPERATURE:g}"
_SMALL = 10.0  # points; what LSV-3 calls no great impact


def render(results: Results) -> Rendering:
    """Panels a to c: each set-up against alpha; d: FGSM against epsilon on own labels; e: on true labels."""
    own, true = measured(results, "own_labels", "program"), measured(results, "attacks")
    numbers = {**measured(results, "clean", "standard"), **own}
    with_true = {(setup, name, f"{what}, true labels"): value for (setup, name, what), value in true.items()}
    numbers |= with_true
    figures = {}
    for panel, setup in zip("abc", (MNIST_LENET, MNIST_LINEAR, CIFAR_LENET), strict=True):
        chart = _against_alpha(setup, numbers)
        if len(chart.series):
            figures[panel] = chart
    for panel, label, found in (("d", "own", own), ("e", "true", true)):
        chart = _against_epsilon(label, found, numbers)
        if len(chart.series):
            figures[panel] = chart
    paper = printed(TABLES[FGSM])
    compared, findings = [], []
    attack = at(FGSM, MNIST_LENET.epsilon)
    for method in METHODS:
        curve = _curve(MNIST_LENET, method, attack, own)
        strong = _curve(MNIST_LENET, method, STRONG, numbers)
        if len(curve) > 1:
            names = {alpha: f"{method} {alpha:g}" for alpha in curve if alpha}
            compared += [
                Compared(f"MNIST LeNet, {name}: {attack}", paper.get((MNIST_LENET.name, name, attack)), curve[alpha])
                for alpha, name in names.items()
            ]
            best = max(curve, key=curve.__getitem__)
            beneath = f", where AutoAttack leaves {strong[best]:.1f}%" if best in strong else ""
            findings.append(
                f"MNIST LeNet, {method}: FGSM at epsilon {MNIST_LENET.epsilon:g} on own labels leaves most at alpha "
                f"{best:g}, {curve[best]:.1f}%{beneath}."
            )
    claim = _temperature(own, numbers)
    return Rendering(tuple(compared), figures, tuple(findings), (claim,) if claim else ())


def _curve(setup: Setup, method: str, attack: str, numbers: Numbers) -> dict[float, float]:
    """alpha -> percent; 0 is the natural classifier."""
    found = {}
    for (where, name, what), value in numbers.items():
        kind, _, alpha = name.partition(" ")
        if (where, what) == (setup.name, attack) and (name == NATURAL or kind == method) and "," not in alpha:
            found[0.0 if name == NATURAL else float(alpha)] = value
    return dict(sorted(found.items()))


def _against_alpha(setup: Setup, numbers: Numbers) -> Chart:
    bounded = [at(attack, setup.epsilon) for attack in (FGSM, BIM)]
    wanted = {
        **{f"{name}, own labels": name for name in bounded},
        **{f"{name}, true labels": f"{name}, true labels" for name in bounded},
        DEEP_FOOL: DEEP_FOOL,
        CW: CW,
        f"{STRONG} {setup.epsilon:g}": STRONG,
    }
    series = {}
    for label, attack in wanted.items():
        curve = _curve(setup, _SWEPT, attack, numbers)
        if len(curve) > 1:
            series[label] = line(list(curve), [value / 100 for value in curve.values()])
    title = f"{setup.name}, {_SWEPT}: accuracy against alpha; DeepFool and C&W as in tables 4 and 5."
    return Chart(title, "alpha (0 is the natural classifier)", "accuracy", series, percent=True)


def _against_epsilon(label: str, numbers: Numbers, clean: Numbers) -> Chart:
    """FGSM on MNIST LeNet: all methods at one alpha, natural and PGD training."""
    series = {}
    for name in (NATURAL, *(f"{method} {_ALPHA:g}" for method in METHODS), PGD):
        points = [
            (float(attack.partition(" ")[2]), value / 100)
            for (where, who, attack), value in numbers.items()
            if where == MNIST_LENET.name and who == name and attack.startswith(FGSM)
        ]
        if points:
            points = sorted([(0.0, clean[MNIST_LENET.name, name, CLEAN] / 100), *points])
        if len(points) > 1:
            series[name] = line(*zip(*points, strict=True))
    title = f"MNIST LeNet under FGSM on {label} labels against epsilon."
    return Chart(title, "epsilon (l-infinity, pixels in [0, 1])", "accuracy", series, percent=True)


def _temperature(own: Mapping[tuple[str, str, str], float], numbers: Numbers) -> Claim | None:
    """LSV-3: BLS at T = 0.001 and 1, and its limit for T to infinity, which is SLS."""
    names = {"T = 0.001": f"BLS {_ALPHA:g}", f"T = {TEMPERATURE:g}": _WARM, "T = infinity (SLS)": f"SLS {_ALPHA:g}"}
    words, spreads = [], []
    for attack, found in (
        (CLEAN, numbers),
        *((at(kind, MNIST_LENET.epsilon), own) for kind in (FGSM, BIM)),
        (STRONG, numbers),
    ):
        values = {label: found.get((MNIST_LENET.name, name, attack)) for label, name in names.items()}
        known = {label: value for label, value in values.items() if value is not None}
        if len(known) == len(names):
            words.append(f"{attack}: " + ", ".join(f"{label} {value:.1f}%" for label, value in known.items()))
            spreads.append(max(known.values()) - min(known.values()))
    if not words:
        return None
    mark = "reproduced" if max(spreads) <= _SMALL else "depends"
    return Claim(
        "LSV-3", mark, f"MNIST LeNet, BLS {_ALPHA:g}, at most {max(spreads):.1f} points apart; {'; '.join(words)}."
    )


def jobs(scale: str) -> tuple[Job, ...]:
    """The nets of the tables, and on MNIST LeNet two more masses of ALS and one more temperature of BLS."""
    if scale == "smoke":
        return (*jobs_of_the_tables(scale), job(MNIST_LENET, NATURAL, scale), job(MNIST_LENET, "ALS 0.7", scale))
    more = [f"{_SWEPT} {alpha:g}" for alpha in MORE_ALPHAS]
    return (*jobs_of_the_tables(scale), *(job(MNIST_LENET, name, scale) for name in (*more, _WARM)))


STUDIES = (
    Study(
        "label_smoothing_variants/fig5",
        "Accuracy of label-smoothed nets against alpha and against epsilon",
        jobs,
        render,
        (
            *TRAINING,
            *LABELS,
            *CLOSEST,
            "The grid of alpha is not stated, nor which method panels a to c show, nor the set-ups of b and c (the "
            "text says that a is MNIST LeNet). Here: ALS, the paper's default, at the alphas of the tables, 0.2 and "
            "0.7. Panel e is not in the paper.",
        ),
    ),
)
