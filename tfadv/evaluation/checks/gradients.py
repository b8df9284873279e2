"""Checks of the gradients that white-box attacks follow: there, finite, and not zero."""

from __future__ import annotations

import numpy as np
import tensorflow as tf

from tfadv.attacks import search
from tfadv.attacks.engine import Programs
from tfadv.evaluation.checks.rule import AUTOATTACK, PINTOR, Effort, Finding, bars, rule
from tfadv.evaluation.subject import Subject
from tfadv.objectives import OBJECTIVES
from tfadv.report.charts import Chart, Series

_BATCH = 100


def gradients(subject: Subject, rows: np.ndarray, objective: str) -> np.ndarray:
    """Gradients of an objective at the clean images `rows`, float32 [m, features].

    Raises:
        UserError: the model has none.
    """

    @tf.function(autograph=False)
    def of(x, y):  # type: ignore[no-untyped-def]
        return search.first_order(subject.plain, x, lambda logits: OBJECTIVES[objective](y, logits)).gradient

    program = Programs(of, any_batch=True)
    batches = [rows[at : at + _BATCH] for at in range(0, len(rows), _BATCH)]
    parts = [program(subject.x[some], subject.y[some]).numpy() for some in batches]
    return np.concatenate(parts).reshape(len(rows), -1)


@rule(
    "the input has a gradient, and it is finite",
    "the margin has a gradient at every image, without NaN or infinity",
    PINTOR,
)
def exist(subject: Subject, effort: Effort) -> Finding:
    """A layer that is not differentiable stops every gradient attack; the model may be as weak as ever."""
    rows = subject.attacked(effort.examples)
    if not len(rows):
        return Finding("not applicable", "no example is classified correctly")
    if not subject.has_gradient:
        return Finding(
            "failed",
            "the model has no gradient with respect to its input, so no gradient attack could run; put "
            "tfadv.models.bpda around what is not differentiable, or give a stand-in",
            float(len(rows)),
            0,
            bars("Images without a finite gradient.", "share", {"without": 1.0}, {"limit": 0.0}),
        )
    bad = int((~np.isfinite(gradients(subject, rows, "margin"))).any(axis=1).sum())
    evidence = f"{bad} of {len(rows)} gradients hold NaN or infinity"
    chart = bars("Images without a finite gradient.", "share", {"without": bad / len(rows)}, {"limit": 0.0})
    return Finding("failed" if bad else "passed", evidence, float(bad), 0, chart)


@rule(
    "gradients are not zero",
    "the gradient of the margin is zero for at most 1% of what the suite left; that of cross-entropy only warns",
    f"{AUTOATTACK}; {PINTOR}",
)
def not_zero(subject: Subject, effort: Effort) -> Finding:
    """Where the gradient is zero an attack stands still, and the example looks robust."""
    rows = subject.survivors(effort.examples)
    if not subject.has_gradient:
        return Finding("not applicable", "the model has no gradient at all")
    if not len(rows):
        return Finding("not applicable", "no example is left that the suite has not broken")
    sizes = {name: np.abs(gradients(subject, rows, name)).max(axis=1) for name in ("margin", "cross_entropy")}
    zero = {name: float((size == 0).mean()) for name, size in sizes.items()}
    evidence = f"zero for {zero['margin']:.1%} (margin) and {zero['cross_entropy']:.1%} (cross-entropy) of {len(rows)}"
    edges = np.arange(-12.0, 7.0)
    counts = {
        name: Series(tuple(edges), tuple(np.histogram(np.log10(np.maximum(size, 1e-12)).clip(-12, 6 - 1e-9), edges)[0]))
        for name, size in sizes.items()
    }
    chart = Chart(
        f"Largest entry of the gradient at the clean image, {len(rows)} images left by the suite.",
        "log10 of the largest entry (-12: zero)",
        "images",
        counts,
        "histogram",
    )
    outcome = "failed" if zero["margin"] > 0.01 else "warning" if zero["cross_entropy"] > 0.01 else "passed"
    return Finding(outcome, evidence, zero["margin"], 0, chart)
