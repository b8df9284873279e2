"""Table 1, theorem 1 and corollary 1 of "Adversarial robustness via label-smoothing" (LSV): the algebra, in numbers."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import tensorflow as tf

from tfadv.losses import boltzmann, other_classes, second_best_class, worst_class
from tfadv.report.charts import Chart, Series
from tfadv.reproduction.studies.label_smoothing_identities import (
    RANDOM_LABELS,
    check_identities,
    compare_gradients,
    free_gap,
    free_minima,
)
from tfadv.reproduction.studies.lines import line
from tfadv.reproduction.study import Compared, Job, Rendering, Study

IDENTITIES, GRADIENTS, MINIMA = "identities", "gradients", "minima"
_EXAMPLE = (2.0, 1.0, 0.5, -0.5, -1.5)  # logits of the drawn q'
_MASSES = (0.005, 0.1, 0.4)  # of the paper's tables

Results = Mapping[str, Mapping[str, Any]]


def render_table(results: Results) -> Rendering:
    """Table 1: does each printed q' and R_n make SmoothCE equal to L_n + alpha R_n; and the q' drawn."""
    figures = {
        name: Chart(
            f"Where the mass alpha goes: q' of one example of five classes whose true class has the {what} logit.",
            "class and its logit",
            "q'",
            _targets(true),
            kind="bars",
            x_names=tuple(
                f"{'true, ' if k == true else ''}{value:g}".replace("-", "−") for k, value in enumerate(_EXAMPLE)
            ),
        )
        for name, what, true in (("a", "largest", 0), ("b", "smallest", len(_EXAMPLE) - 1))
    }
    if IDENTITIES not in results:
        return Rendering(figures=figures)
    found = results[IDENTITIES]
    compared, findings = [], []
    for name, row in found["methods"].items():
        for key, what in (("theorem", "R_n of theorem 1"), ("printed", "R_n as printed")):
            compared.append(Compared(f"{name}: largest |SmoothCE - (L_n + alpha R_n)|, {what}", 0.0, row[key], "nats"))
    findings.append(
        "With the sign and the mean of theorem 1 all four rows hold to the rounding of float32, in "
        f"{found['cases']} draws of 2 to 100 classes. As printed none does: ALS, BLS and SBLS have the opposite sign, "
        "and SLS lacks 1/n."
    )
    findings.append(
        "For two classes and logits of the right signs the penalty of SLS is ||z||_1, as the text says, to "
        f"{found['norm']:.0e}."
    )
    return Rendering(compared=tuple(compared), figures=figures, findings=tuple(findings))


def _targets(true: int) -> dict[str, Series]:
    """q' of each method for the drawn example."""
    y, z = tf.one_hot([true], len(_EXAMPLE)), tf.constant([_EXAMPLE])
    rows = {
        "SLS": other_classes(y, z),
        "ALS": worst_class(y, z),
        "BLS, T = 1": boltzmann(y, z, temperature=1.0),
        "SBLS": second_best_class(y, z),
    }
    return {name: line(range(len(_EXAMPLE)), row.numpy()[0]) for name, row in rows.items()}


def render_theorem(results: Results) -> Rendering:
    """Theorem 1, equation 4 and lemma 2; and whether the equal values have equal gradients."""
    compared, findings, figures = [], [], {}
    if IDENTITIES in results:
        found = results[IDENTITIES]
        compared = [
            Compared(f"largest |SmoothCE - (L_n + alpha R_n)|, {name}", 0.0, value, "nats")
            for name, value in (
                *((name, row["theorem"]) for name, row in found["methods"].items()),
                ("random q'", found["any"]),
            )
        ]
        findings.append(
            f"Theorem 1 holds for every q' tried, to the rounding of float32. Equation 4 (lemma 2) holds: of "
            f"{RANDOM_LABELS * found['cases']:,} random labels of the TV ball none has a larger SmoothCE than that of "
            f"ALS; the nearest stays {-found['worst']:.0e} below."
        )
    if GRADIENTS in results:
        found = results[GRADIENTS]
        worst = int(np.argmax(found["added"]))
        findings.append(
            "The two problems of theorem 1 have equal gradients too where q' is constant, or piecewise constant (SLS, "
            "ALS, SBLS). With BLS it matters whether q' is differentiated: doing so adds up to "
            f"{100 * found['added'][worst]:.0f}% of the penalty's gradient, at T = {found['temperatures'][worst]:g}, "
            f"and {100 * found['added'][0]:.1g}% at the paper's T = {found['temperatures'][0]:g}."
        )
        figures[""] = Chart(
            "BLS: what differentiating through q' would add to the gradient of the penalty (10 classes, logits of "
            "standard deviation 3).",
            "temperature T (in units of the logits)",
            "2-norm over that of the gradient with q' constant",
            {"added": line(found["temperatures"], found["added"])},
            log_x=True,
        )
    return Rendering(compared=tuple(compared), findings=tuple(findings), figures=figures)


def render_corollary(results: Results) -> Rendering:
    """Corollary 1: the penalty is not negative, and what logits it leads to."""
    compared, findings, figures = [], [], {}
    if IDENTITIES in results:
        found = results[IDENTITIES]
        compared = [
            Compared("ALS: smallest penalty z_y - min z of an example", 0.0, found["methods"]["ALS"]["smallest"], "")
        ]
        findings.append(
            "R_n of ALS is never negative, and 0 where the true class has the smallest logit "
            f"({100 * found['below']:.0f}% of the random examples), where equation 4 takes nothing from it."
        )
    if MINIMA in results:
        found = results[MINIMA]
        masses = found["masses"]
        series, largest = {}, 0.0
        for name in ("ALS", "SLS"):
            for classes, gaps in found[name].items():
                exact = [free_gap(mass, int(classes)) for mass in masses]
                largest = max(largest, float(np.abs(np.array(gaps) - exact).max()))
                series[f"{name}, K = {classes}"] = line(masses, gaps)
        figures[""] = Chart(
            "Gap between the logit of the true class and the smallest, where the loss of one example is least.",
            "alpha",
            "z_y - min z",
            series,
        )
        findings.append(
            "ALS squeezes logits exactly as SLS does: on one example both losses are least at p_y = 1 - alpha with all "
            "other classes alike, where the gap is log((1 - alpha)(K - 1) / alpha); descent on the logits ends within "
            f"{largest:.2g} of that. The two differ where a model cannot choose the logits of every example."
        )
    return Rendering(compared=tuple(compared), findings=tuple(findings), figures=figures)


def jobs(scale: str, *keys: str) -> tuple[Job, ...]:
    """The jobs of these names; short is paper."""
    smoke = scale == "smoke"
    masses = [0.02, 0.05, 0.1, 0.2, 0.3, 0.4]
    made = {
        IDENTITIES: Job(
            IDENTITIES,
            check_identities,
            {
                "classes": [2, 5] if smoke else [2, 10, 100],
                "examples": 50 if smoke else 2000,
                "scales": [1.0, 10.0],
                "masses": list(_MASSES),
                "seed": 0,
            },
            1 if smoke else 5,
        ),
        GRADIENTS: Job(
            GRADIENTS,
            compare_gradients,
            {
                "classes": 10,
                "examples": 50 if smoke else 2000,
                "scale": 3.0,
                "temperatures": [0.001, 0.01, 0.1, 0.3, 1.0, 3.0, 10.0, 100.0, 1000.0],
                "seed": 0,
            },
            0.2,
        ),
        MINIMA: Job(
            MINIMA,
            free_minima,
            {
                "classes": [2, 5] if smoke else [2, 10, 100],
                "masses": [0.1, 0.4] if smoke else masses,
                "steps": 50 if smoke else 3000,
                "rate": 3.0,
            },
            0.5 if smoke else 25,
        ),
    }
    return tuple(made[key] for key in keys)


_READINGS = (
    "R_n is the mean of (y - q')'z, the sign of theorem 1 and corollary 1; table 1 prints the opposite sign for ALS, "
    "BLS and SBLS, and SLS without 1/n (inconsistency I3). SmoothCE = -q'log p everywhere (I4).",
    "y_worst may be the true class (equation 4 as printed); BLS and SBLS leave it out. BLS is the vector of the "
    "Boltzmann weights, SBLS a one-hot vector (I5).",
    "q' is a constant in back-propagation: algorithm 1 computes the labels first (I5).",
)

STUDIES = (
    Study(
        "label_smoothing_variants/table1",
        "Label-smoothing methods: where the mass goes, and the logit penalty that follows",
        lambda scale: jobs(scale, IDENTITIES),
        render_table,
        _READINGS,
    ),
    Study(
        "label_smoothing_variants/theorem1",
        "Theorem 1: label smoothing is cross-entropy and a penalty on the logits",
        lambda scale: jobs(scale, IDENTITIES, GRADIENTS),
        render_theorem,
        _READINGS,
    ),
    Study(
        "label_smoothing_variants/corollary1",
        "Corollary 1: adversarial label smoothing squeezes logits",
        lambda scale: jobs(scale, IDENTITIES, MINIMA),
        render_corollary,
        _READINGS,
    ),
)
