"""Checks that the attacks had converged: more steps, more starts and other step sizes change nothing."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np

from tfadv.analysis import loss_path
from tfadv.attacks import Apgd
from tfadv.attacks.search import SEEDS
from tfadv.evaluation.checks.rule import (
    CARLINI,
    NOTHING_LEFT,
    PINTOR,
    Effort,
    Finding,
    Hunt,
    bars,
    hunt,
    iterative,
    probe,
    rule,
    tolerance,
    without_probe,
)
from tfadv.evaluation.subject import Subject
from tfadv.report.charts import Chart, Series

_STEP_FACTORS = (0.25, 0.5, 1.0, 2.0, 4.0)
_LIMIT = "the accuracy falls by at most max(0.5 points, 2 standard errors)"


def strongest(subject: Subject) -> Any:
    """The iterative attack of the suite that leaves least; None if it has none.

    One that goes for every class in turn is taken only if there is no other: nine times the steps, twice or with ten
    starts, would take longer than the whole suite.
    """
    pairs = [
        (config.objective == "targeted_dlr", row.accuracy, at)
        for at, (config, row) in enumerate(zip(subject.configs, subject.white, strict=True))
        if config in iterative(subject)
    ]
    return subject.configs[min(pairs)[2]] if pairs else None


def _judged(subject: Subject, before: float, result: Hunt, what: str) -> Finding:
    limit = tolerance(subject)
    evidence = (
        f"{what} would lower the accuracy by {result.drop:.1%} (tried on {result.tried} of what the suite left; "
        f"{result.found} new); allowed {limit:.1%}"
    )
    chart = bars(
        f"Accuracy that the suite left, and with {what}.",
        "accuracy",
        {"suite": before, what: before - result.drop},
        {"allowed": before - limit},
    )
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
    changes: dict[str, Any] = {"restarts": effort.restarts, "seed": (subject.seed + 1_000) % SEEDS}
    if not isinstance(config, Apgd):
        changes |= {"random_start": True, "keep": "best"}
    again = dataclasses.replace(config, **changes)
    found = hunt(subject, again, effort, label="further random starts")
    return _judged(subject, before, found, f"{effort.restarts} further starts")


@rule("no other step size is better", _LIMIT, f"{CARLINI}; Mosbach et al. 2018, arXiv:1810.12042")
def step_sizes(subject: Subject, effort: Effort) -> Finding:
    """Label smoothing and logit squeezing fell from 71% to 39% by the step size of PGD alone (Mosbach et al.)."""
    if nothing := without_probe(subject):
        return nothing
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
    "the loss rises along the attack",
    "what PGD ascends is at the end above its beginning, on average over what the suite left; a fall of more than a "
    "tenth of the rise from its highest point is a warning",
    CARLINI,
)
def rises(subject: Subject, effort: Effort) -> Finding:
    """A loss that falls or stands still says that the gradient leads nowhere."""
    path = _path(subject, effort)
    if isinstance(path, Finding):
        return path
    name, losses = path
    mean = losses.mean(axis=0)
    rise, lost = float(mean[-1] - mean[0]), float(mean.max() - mean[-1])
    evidence = f"mean {name} from {mean[0]:.4g} to {mean[-1]:.4g} in {len(mean) - 1} steps, {len(losses)} images"
    quarters = np.quantile(losses, [0.25, 0.75], axis=0)
    chart = Chart(
        f"{name.capitalize()} along PGD, mean and middle half of {len(losses)} images that the suite left.",
        "step",
        name,
        {"mean": Series(tuple(range(len(mean))), tuple(mean), tuple(quarters[0]), tuple(quarters[1]))},
    )
    outcome = "failed" if rise <= 0 else "warning" if lost > 0.1 * rise else "passed"
    return Finding(outcome, evidence, rise, 0, chart)


@rule(
    "the attack had come to rest",
    "best loss so far, rescaled to [0, 1] for each example: it rises by at most 0.05 in the last tenth of the steps; "
    "more is a warning, because the check with twice the steps decides",
    f"{PINTOR}, incomplete optimization",
)
def rests(subject: Subject, effort: Effort) -> Finding:
    """An attack that still climbs when it ends had too few steps."""
    path = _path(subject, effort)
    if isinstance(path, Finding):
        return path
    best = np.maximum.accumulate(path[1], axis=1)
    span = best[:, -1:] - best[:, :1]
    scaled = np.where(span > 0, (best - best[:, :1]) / np.where(span > 0, span, 1), 1.0)
    last = max(2, best.shape[1] // 10)
    value = float((scaled[:, -1] - scaled[:, -1 - last]).mean())
    evidence = f"in the last {last} steps the best loss rose by {value:.1%} of its whole rise, {len(best)} images"
    chart = Chart(
        f"Best loss so far along PGD, rescaled for each of {len(best)} images; mean.",
        "step",
        "share of the whole rise",
        {"best so far": Series(tuple(range(scaled.shape[1])), tuple(scaled.mean(axis=0)))},
        rules={"limit before the last steps": 0.95},
    )
    return Finding("passed" if value <= 0.05 else "warning", evidence, value, 0, chart)


def _path(subject: Subject, effort: Effort) -> tuple[str, np.ndarray] | Finding:
    """What PGD ascends and its values [m, steps + 1], for some of what the suite left; or why there is none."""
    if nothing := without_probe(subject):
        return nothing
    if not len(subject.survivors()):
        return NOTHING_LEFT
    if "path" not in subject.memory:
        rows = subject.survivors(min(effort.examples, 50))
        config = probe(subject, effort, keep="last")
        path = loss_path(subject.plain, subject.x[rows], subject.y[rows], config)
        ascended = path.margin if config.objective == "margin" else path.cross_entropy
        subject.memory["path"] = config.objective.replace("_", "-"), ascended
    return subject.memory["path"]


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
    shares = {"seen and not returned": seen / subject.count, "counted as robust": lost / subject.count}
    chart = bars("Adversarial iterates that attacks threw away.", "share of the examples", shares, {"limit": 0.005})
    return Finding("failed" if lost > 0.005 * subject.count else "passed", evidence, float(lost), 0, chart)
