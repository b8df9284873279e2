"""Checks at other radii: none, smaller and larger ones, half of the range, and no bound at all."""

from __future__ import annotations

import math

import numpy as np

from tfadv.evaluation.checks.rule import CARLINI, Effort, Finding, bars, probe, rule
from tfadv.evaluation.subject import Subject
from tfadv.report.charts import Chart, Series

_FACTORS = (0.0, 0.25, 0.5, 0.75, 1.0, 1.5, 2.0, 4.0)


def unbounded_radius(subject: Subject) -> float:
    """The radius of a ball around any image that holds the whole box."""
    size = subject.x[0].size
    reach = subject.bounds[1] - subject.bounds[0]
    return reach * {"linf": 1.0, "l2": math.sqrt(size), "l1": float(size)}[subject.norm]


def sweep(subject: Subject, effort: Effort) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """(radii [r], fooled bool [m, r], rows [m]): PGD at all radii at once, each with steps of its own size."""
    if "sweep" not in subject.memory:
        rows = subject.attacked(effort.examples)
        whole = unbounded_radius(subject)
        radii = np.array(sorted({min(factor * subject.epsilon, whole) for factor in _FACTORS} | {whole}))
        each = np.tile(radii, len(rows))
        config = probe(
            subject, effort, epsilon=tuple(each.tolist()), step_size=tuple((2.5 * each / effort.steps).tolist())
        )
        crafted = subject.craft(config, np.repeat(rows, len(radii)), label="PGD at other radii")
        fooled = crafted.fooled.reshape(len(rows), len(radii))
        held = radii <= subject.epsilon * (1 + 1e-6)
        x_adv = crafted.x_adv.reshape(len(rows), len(radii), *subject.x.shape[1:])
        found = sum(subject.offer(rows, np.ascontiguousarray(x_adv[:, at])) for at in np.flatnonzero(held))
        subject.memory["sweep"] = radii, fooled, rows, found
    radii, fooled, rows, _ = subject.memory["sweep"]
    return radii, fooled, rows


@rule("epsilon 0 equals the clean accuracy", "an attack with epsilon 0 changes no prediction", CARLINI)
def epsilon_zero(subject: Subject, effort: Effort) -> Finding:
    """Catches a model that behaves differently inside an attack, and an attack that leaves its ball."""
    if not subject.has_gradient:
        return Finding("not applicable", "the model has no gradient")
    _, fooled, rows = sweep(subject, effort)
    if not len(rows):
        return Finding("not applicable", "no example is classified correctly")
    changed = int(fooled[:, 0].sum())
    evidence = f"{changed} of {len(rows)} correctly classified examples change at epsilon 0"
    shares = {"clean": 1.0, "epsilon 0": 1 - changed / len(rows)}
    chart = bars("Accuracy on examples that are classified correctly.", "accuracy", shares)
    return Finding("failed" if changed else "passed", evidence, float(changed), 0, chart)


@rule(
    "accuracy falls as epsilon grows",
    "success at a larger radius is at least that at a smaller one less 2 standard errors",
    CARLINI,
)
def monotone(subject: Subject, effort: Effort) -> Finding:
    """What fools within a small ball fools within a large one; an attack that loses it is badly set."""
    if not subject.has_gradient:
        return Finding("not applicable", "the model has no gradient")
    radii, fooled, rows = sweep(subject, effort)
    if not len(rows):
        return Finding("not applicable", "no example is classified correctly")
    accuracy = 1 - fooled.mean(axis=0)
    rises = accuracy - np.minimum.accumulate(accuracy)
    at = int(rises.argmax())
    limit = max(0.01, 2 * math.sqrt(accuracy[at] * (1 - accuracy[at]) / len(rows)))
    lowest = np.minimum.accumulate(accuracy)
    # The trapezoidal rule; np.trapezoid is of NumPy 2.
    area = float(np.diff(radii) @ (lowest[:-1] + lowest[1:]) / 2 / radii[-1])
    evidence = f"largest rise {rises[at]:.1%} at epsilon {radii[at]:.4g}; area under the curve {area:.3f} of 1"
    # The unbounded radius would squeeze all others to the left.
    shown = radii <= max(4 * subject.epsilon, radii[0]) * (1 + 1e-6)
    chart = Chart(
        f"Accuracy against epsilon, PGD with {effort.steps} steps, {len(rows)} images.",
        f"epsilon ({subject.norm}, image units)",
        "accuracy",
        {"PGD": Series(tuple(radii[shown]), tuple(accuracy[shown]))},
        percent=True,
    )
    outcome = "passed" if rises[at] <= limit else "failed"
    return Finding(outcome, evidence, float(rises[at]), subject.memory["sweep"][3], chart)


@rule("an unbounded attack always succeeds", "no example withstands an attack that may reach any image", CARLINI)
def unbounded(subject: Subject, effort: Effort) -> Finding:
    """Any class can be reached in the whole box; an attack that fails there fails for technical reasons."""
    if not subject.has_gradient:
        return Finding("not applicable", "the model has no gradient")
    radii, fooled, rows = sweep(subject, effort)
    if not len(rows):
        return Finding("not applicable", "no example is classified correctly")
    if len(np.unique(subject.predictions)) < 2:
        return Finding("not applicable", "the model gives one class to all images, so there may be no other to reach")
    left = int((~fooled.any(axis=1)).sum())
    evidence = f"{left} of {len(rows)} examples withstand PGD at every radius up to {radii[-1]:.4g}, the whole box"
    shares = {f"{radius:.3g}": 1 - share for radius, share in zip(radii, fooled.mean(axis=0), strict=True)}
    chart = bars("Accuracy under PGD by radius, up to the whole box.", "accuracy", shares | {"any": left / len(rows)})
    return Finding("failed" if left else "passed", evidence, left / len(rows), 0, chart)


@rule(
    "at half the range nothing is left",
    "linf, epsilon 0.5: PGD (steps of 2.5 epsilon / steps) and the gray image leave at most the largest class share",
    CARLINI,
)
def half_range(subject: Subject, effort: Effort) -> Finding:
    """Every image can be turned gray, so at most one class can be right; PGD alone above that is a warning."""
    rows = subject.attacked(effort.examples)
    low, high = subject.bounds
    if subject.norm != "linf" or not subject.has_gradient or not len(rows):
        return Finding("not applicable", "of linf, of models with a gradient, and of what is classified correctly")
    radius = (high - low) / 2
    config = probe(subject, effort, epsilon=radius, step_size=2.5 * radius / effort.steps)
    alone = subject.craft(config, rows, label="PGD at half the range").fooled
    gray = subject.forward(np.full_like(subject.x[:1], (low + high) / 2)).argmax(axis=1)[0]
    together = alone | (subject.y[rows] != gray)
    share = float(np.bincount(subject.y[rows]).max() / len(rows))
    left, by_pgd = 1 - float(together.mean()), 1 - float(alone.mean())
    evidence = f"PGD leaves {by_pgd:.1%}, with the gray image {left:.1%}; the largest class has {share:.1%}"
    shares = {"PGD": by_pgd, "PGD and gray": left}
    chart = bars("What is left at half the range.", "accuracy", shares, {"largest class": share})
    outcome = "failed" if left > share else "passed" if by_pgd <= share + 0.01 else "warning"
    return Finding(outcome, evidence, left, 0, chart)
