"""Checks that the attacks had converged: more steps, more starts and other step sizes change nothing."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np

from tfadv.attacks import Apgd
from tfadv.evaluation.checks.rule import (
    CARLINI,
    NOTHING_LEFT,
    PINTOR,
    Effort,
    Finding,
    Hunt,
    hunt,
    iterative,
    probe,
    rule,
    tolerance,
)
from tfadv.evaluation.subject import Subject
from tfadv.report.charts import Chart, Series

_STEP_FACTORS = (0.25, 0.5, 1.0, 2.0, 4.0)
_LIMIT = "the accuracy falls by at most max(0.5 points, 2 standard errors)"


def strongest(subject: Subject) -> Any:
    """The iterative attack of the suite that leaves least; None if it has none."""
    pairs = [(row.accuracy, at) for at, row in enumerate(subject.white) if subject.configs[at] in iterative(subject)]
    return subject.configs[min(pairs)[1]] if pairs else None


def _judged(subject: Subject, before: float, result: Hunt, what: str) -> Finding:
    limit = tolerance(subject)
    evidence = (
        f"{what} would lower the accuracy by {result.drop:.1%} (tried on {result.tried} of what the suite left; "
        f"{result.found} new); allowed {limit:.1%}"
    )
    bars = Series((0.0, 1.0), (before, before - result.drop))
    chart = Chart(
        f"Accuracy that the suite left (0), and with {what} (1).", "effort", "accuracy", {"accuracy": bars}, "bars",
        percent=True,
    )  # fmt: skip
    return Finding("failed" if result.drop > limit else "passed", evidence, result.drop, result.found, chart)


@rule("twice the steps change nothing", _LIMIT, CARLINI)
def steps(subject: Subject, effort: Effort) -> Finding:
    """An attack stopped before it has converged overstates robustness."""
    config = strongest(subject)
    if config is None:
        return Finding("not applicable", "the suite has no iterative attack")
    if not len(subject.survivors()):
        return NOTHING_LEFT
    before = 1 - float(subject.broken.mean())
    longer = dataclasses.replace(config, steps=2 * config.steps)
    return _judged(subject, before, hunt(subject, longer, effort, label="twice the steps"), f"{2 * config.steps} steps")


@rule("further random starts change nothing", _LIMIT, "Mosbach et al. 2018, arXiv:1810.12042")
def restarts(subject: Subject, effort: Effort) -> Finding:
    """Masked gradients leave small pockets that only some starts find."""
    config = strongest(subject)
    if config is None:
        return Finding("not applicable", "the suite has no iterative attack")
    if not len(subject.survivors()):
        return NOTHING_LEFT
    before = 1 - float(subject.broken.mean())
    changes: dict[str, Any] = {"restarts": effort.restarts, "seed": subject.seed + 1_000, "keep": "best"}
    if not isinstance(config, Apgd):
        changes["random_start"] = True
    again = dataclasses.replace(config, **changes)
    found = hunt(subject, again, effort, label="further random starts")
    return _judged(subject, before, found, f"{effort.restarts} further starts")


@rule("no other step size is better", _LIMIT, f"{CARLINI}; Mosbach et al. 2018, arXiv:1810.12042")
def step_sizes(subject: Subject, effort: Effort) -> Finding:
    """Label smoothing and logit squeezing fell from 71% to 39% by the step size of PGD alone (Mosbach et al.)."""
    if not subject.has_gradient:
        return Finding("not applicable", "the model has no gradient")
    rows = subject.survivors(effort.examples)
    if not len(rows):
        return NOTHING_LEFT
    sizes = np.minimum(2.5 * subject.epsilon / effort.steps * np.array(_STEP_FACTORS), subject.epsilon)
    config = probe(subject, effort, step_size=tuple(np.tile(sizes, len(rows)).tolist()))
    crafted = subject.craft(config, np.repeat(rows, len(sizes)), label="PGD with other steps")
    fooled = crafted.fooled.reshape(len(rows), len(sizes))
    x_adv = crafted.x_adv.reshape(len(rows), len(sizes), *subject.x.shape[1:])
    share = len(subject.survivors()) / subject.count
    found = sum(subject.offer(rows, np.ascontiguousarray(x_adv[:, at])) for at in range(len(sizes)))
    drop = found / len(rows) * share
    limit = tolerance(subject)
    if drop > limit:
        best = probe(subject, effort, step_size=float(sizes[fooled.mean(axis=0).argmax()]))
        left = subject.survivors()
        found += subject.offer(left, subject.craft(best, left, label="PGD with the best step").x_adv)
        drop = found / subject.count
    evidence = (
        f"PGD-{effort.steps} with {len(sizes)} step sizes would lower the accuracy by {drop:.1%} (tried on {len(rows)} "
        f"of what the suite left; {found} new); allowed {limit:.1%}"
    )
    chart = Chart(
        f"What PGD-{effort.steps} leaves of {len(rows)} images that the suite left, by step size.",
        "step size (image units)",
        "accuracy",
        {"PGD": Series(tuple(sizes), tuple(1 - fooled.mean(axis=0)))},
        log_x=True,
        percent=True,
    )
    return Finding("failed" if drop > limit else "passed", evidence, drop, found, chart)


@rule(
    "no adversarial image is thrown away",
    "attacks return an adversarial iterate wherever they saw one; more than 0.5% thrown away fails",
    f"{PINTOR}, silent success",
)
def silent(subject: Subject, effort: Effort) -> Finding:
    """An attack that returns its last iterate may have passed an adversarial one."""
    if not subject.rows:
        return Finding("not applicable", "no attack was run")
    # Thrown away by one attack, and found by none.
    lost = int((subject.discarded & ~(subject.broken | subject.by_checks)).sum())
    seen = int(subject.discarded.sum())
    evidence = f"{seen} examples were adversarial on the way of an attack and not at its end; {lost} count as robust"
    return Finding("failed" if lost > 0.005 * subject.count else "passed", evidence, float(lost))
