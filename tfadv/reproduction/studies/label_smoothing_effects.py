"""Figure 4 of "Adversarial robustness via label-smoothing" (LSV), section 3.2: what label smoothing does to a model.

Panel (a) is about the confidence of MLPs on two moons, panel (b) about the gradients of linear models on MNIST.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

import numpy as np
from scipy.stats import gaussian_kde

from tfadv import analysis
from tfadv.report.charts import Chart, Pictures
from tfadv.report.values import unpack
from tfadv.reproduction.studies.label_smoothing_models import ATTACKED, EPSILONS, measure_linear, measure_moons
from tfadv.reproduction.studies.lines import line
from tfadv.reproduction.study import Claim, Compared, Job, Rendering, Study

_MOONS, _LINEAR = "moons, ", "linear, "
_MOONS_AT = (0.0, 0.04, ATTACKED)  # epsilons of the numbers in words
_LINEAR_AT = (0.0, 0.02, 0.05)
_CURVE = 200

Results = Mapping[str, Mapping[str, Any]]


def render(results: Results) -> Rendering:
    """Figure 4, and beside it what the paper concludes from it: robust accuracies."""
    moons = {key: value for key, value in results.items() if key.startswith(_MOONS)}
    linear = {key.removeprefix(_LINEAR): value for key, value in results.items() if key.startswith(_LINEAR)}
    figures: dict[str, Chart | Pictures] = {}
    compared, findings, evidence = [], [], []
    if moons:
        groups = _groups(moons)
        first = {name: found[0] for name, found in groups.items()}
        planes = analysis.Decisions(
            "",
            np.concatenate([unpack(found["classes"]) for found in first.values()]),
            np.concatenate([unpack(found["confidence"]) for found in first.values()]),
            tuple(first),
            tuple(tuple((int(r), int(c), int(k)) for r, c, k in found["marks"]) for found in first.values()),
            ("upper", "lower"),
        ).charts()[0]
        title = (
            "Predictions of MLPs on two moons: a color for each class, paler where the model is less sure; dots: data."
        )
        figures["a"] = dataclasses.replace(planes, title=title, columns=3)
        compared += [
            Compared(f"moons, {name}: mean probability of the predicted class", None, 100 * _mean(found, "confident"))
            for name, found in groups.items()
        ]
        compared += [
            Compared(f"moons, {name}: accuracy at epsilon {epsilon:g}, mean of {len(found)}", None, 100 * values[at])
            for name, found in groups.items()
            for values in [np.mean([each["accuracy"] for each in found], axis=0)]
            for at, epsilon in enumerate(EPSILONS)
            if epsilon in _MOONS_AT
        ]
        at = EPSILONS.index(ATTACKED)
        words = "; ".join(
            f"{name} {100 * _mean(found, 'confident'):.1f}% sure, and right everywhere within epsilon {ATTACKED:g} on "
            + " / ".join(f"{100 * each['accuracy'][at]:.1f}%" for each in found)
            for name, found in groups.items()
        )
        findings.append(f"Two moons, for each seed: {words}. The robust accuracies are exact up to the search grid.")
        left = "; ".join(
            f"{name} " + " / ".join(f"{100 * (each['pgd'] - each['accuracy'][at]):.1f}" for each in found)
            for name, found in groups.items()
        )
        findings.append(
            f"PGD of 20 steps leaves more than that at epsilon {ATTACKED:g}, by points for each seed: {left}. Label "
            "smoothing hides points from the gradient, beside protecting some."
        )
        evidence.append(f"two moons: {words}")
    if linear:
        span = np.linspace(0, 1.1 * max(max(found["gaps"]) for found in linear.values()), _CURVE)
        figures["b"] = Chart(
            "Gradient gaps of linear models: kernel density over the pairs of classes.",
            "1-norm of (gradient of z_i - gradient of z_j), 1 / unit of x",
            "density",
            {name: line(span, gaussian_kde(found["gaps"])(span)) for name, found in linear.items()},
        )
        figures["c"] = Chart(
            "Accuracy of the linear models under the strongest attack in [0, 1], exact (95% intervals).",
            "epsilon (l-infinity, pixels in [0, 1])",
            "accuracy",
            {
                name: line(found["epsilons"], found["accuracy"], found["low"], found["high"])
                for name, found in linear.items()
            },
            percent=True,
        )
        ends = {name: linear[name] for name in (next(iter(linear)), list(linear)[-1])}
        images = np.concatenate([unpack(found["gradients"]) for found in ends.values()])
        figures["d"] = Pictures(
            f"Gradients of the ten logits of linear models: {' and '.join(ends)}, one scale.",
            images,
            tuple(f"{name} {number}" for name in ends for number in range(len(images) // len(ends))),
            columns=len(images) // len(ends),
        )
        for name, found in linear.items():
            compared += [
                Compared(f"linear, {name}: {what}", None, float(value), "")
                for what, value in (
                    ("mean 1-norm of the gradient gap", np.mean(found["gaps"])),
                    ("mean 2-norm of a gradient", np.mean(found["norms"])),
                    ("mean logit gap of the right ones", found["logit_gap"]),
                    ("median smallest step that misclassifies", found["median_step"]),
                )
            ]
            compared += [
                Compared(
                    f"linear, {name}: accuracy at epsilon {epsilon:g}",
                    None,
                    100 * found["accuracy"][at],
                    interval=(100 * found["low"][at], 100 * found["high"][at]),
                )
                for at, epsilon in enumerate(EPSILONS)
                if epsilon in _LINEAR_AT
            ]
        at = EPSILONS.index(_LINEAR_AT[-1])
        words = "; ".join(
            f"{name}: gradient gap {np.mean(found['gaps']):.1f}, logit gap {found['logit_gap']:.2f}, accuracy at "
            f"epsilon {_LINEAR_AT[-1]:g} {100 * found['accuracy'][at]:.1f}% ({100 * found['low'][at]:.1f} to "
            f"{100 * found['high'][at]:.1f})"
            for name, found in linear.items()
        )
        findings.append(
            "ALS makes the gradient gap of linear models smaller, as the paper says, but the logit gap with it; only "
            f"their quotient bounds an attack. {words[0].upper() + words[1:]}."
        )
        evidence.append(f"linear models of MNIST: {words}")
    claims = (Claim("LSV-1", "depends", "; ".join(evidence)),) if moons and linear else ()
    return Rendering(tuple(compared), figures, tuple(findings), claims)


def _groups(moons: Results) -> dict[str, list[Mapping[str, Any]]]:
    """Results over the seeds, under the name of the loss."""
    groups: dict[str, list[Mapping[str, Any]]] = {}
    for key, found in moons.items():
        groups.setdefault(key.removeprefix(_MOONS).partition(", seed")[0], []).append(found)
    return groups


def _mean(found: list[Mapping[str, Any]], key: str) -> float:
    return float(np.mean([each[key] for each in found]))


def jobs(scale: str) -> tuple[Job, ...]:
    """Short is paper, whose MLP and training are not stated; smoke has digits in place of MNIST."""
    smoke = scale == "smoke"
    moons = [
        Job(
            f"{_MOONS}{_name(mass)}, seed {seed}",
            measure_moons,
            {
                "mass": mass,
                "seed": seed,
                "steps": 50 if smoke else 2000,
                "resolution": 101 if smoke else 401,
            },
            3 if smoke else 15,
        )
        for mass in ((0.0, 0.4) if smoke else (0.0, 0.1, 0.4))
        for seed in range(1 if smoke else 3)
    ]
    linear = [
        Job(
            f"{_LINEAR}{_name(mass)}",
            measure_linear,
            {
                "dataset": "digits" if smoke else "mnist",
                "mass": mass,
                "seed": 0,
                # 15 epochs in batches of 100.
                "steps": 30 if smoke else 9000,
            },
            2 if smoke else 25,
        )
        for mass in ((0.0, 0.4) if smoke else (0.0, 0.01, 0.1, 0.4))
    ]
    return (*moons, *linear)


def _name(mass: float) -> str:
    return f"ALS {mass:g}" if mass else "natural"


STUDIES = (
    Study(
        "label_smoothing_variants/fig4",
        "Effects of label smoothing: predictions on two moons, and gradients of linear models",
        jobs,
        render,
        (
            "Neither the MLP nor its training is stated, nor alpha: 500 and 256 units as on MNIST, 1,000 points with "
            "noise 0.1, Adam 1e-3, 2,000 steps of 100 points, three seeds. With two classes ALS and SLS differ on "
            "misclassified points alone.",
            "The linear models as in the authors' published program (gradient_gap.py): SGD with rate 0.1, batches of "
            "100, 15 epochs, ALS; each trained from the same initial weights, where that program trains on from one "
            "alpha to the next. Its density is that of the pairs' gradient gaps, or of the norms, which are given too.",
            "The step that changes the class has the logit gap as its numerator (LSQ equation 4), where LSV 3.2.1 "
            "prints 1 (inconsistency I19).",
        ),
    ),
)
