"""Checks that compare attacks: many steps with one, gradients with none, the model with others, search with luck."""

from __future__ import annotations

from typing import Any

import numpy as np

from tfadv.attacks import Apgd, CarliniWagner, DeepFool, Fab, Fgm, HopSkipJump, Spsa, Square
from tfadv.evaluation.checks.rule import (
    AUTOATTACK,
    CARLINI,
    NOTHING_LEFT,
    Effort,
    Finding,
    bars,
    hunt,
    iterative,
    probe,
    rule,
    tolerance,
    without_probe,
)
from tfadv.evaluation.subject import Subject
from tfadv.objectives import CROSS_ENTROPIES

_DRAWS_AT_A_TIME = 500


@rule(
    "iterative attacks beat a single step",
    "the best iterative attack leaves fewer than max(3, 0.5% of n) examples more than one step does",
    CARLINI,
)
def iterative_beats_single(subject: Subject, effort: Effort) -> Finding:
    """One gradient step that does better than many is the first sign of masked gradients."""
    pairs = list(zip(subject.configs, subject.white, strict=True))
    many = [row for config, row in pairs if config in iterative(subject)]
    single = [row for config, row in pairs if isinstance(config, Fgm)]
    if not many:
        return Finding("not applicable", "the suite has no iterative attack")
    if single:
        best, one = min(row.accuracy for row in many), min(row.accuracy for row in single)
        name = f"{min(many, key=lambda row: row.accuracy).name} leaves {best:.1%}, {single[0].name} {one:.1%}"
        chart = bars("Accuracy that attacks leave.", "accuracy", {"one step": one, "many": best})
        # An example at the very edge of the ball may fall to one of two attacks by rounding.
        holds = (best - one) * subject.count < subject.allowed
        return Finding("passed" if holds else "failed", name, best - one, 0, chart)
    config = Fgm(subject.epsilon, subject.norm, bounds=subject.bounds)
    found = hunt(subject, config, effort, label="one gradient step")
    evidence = f"one gradient step breaks {found.found} of {found.tried} examples that the suite left"
    chart = bars("Accuracy lost to one gradient step.", "accuracy", {"lost": found.drop}, {"limit": tolerance(subject)})
    return Finding("failed" if found.drop > tolerance(subject) else "passed", evidence, found.drop, found.found, chart)


@rule(
    "white-box attacks beat black-box ones, per example",
    "fewer than max(3, 0.5% of n) examples fall to gradient-free or transfer attacks and not to APGD-CE, APGD-T and "
    "FAB-T together",
    f"{CARLINI}; {AUTOATTACK}",
)
def white_beats_black(subject: Subject, effort: Effort) -> Finding:
    """What only an attack without gradients finds, the gradients hide."""
    only = _beyond_gradients(subject)
    found = 0
    if not any(isinstance(config, Square) for config in subject.configs) and subject.norm in ("linf", "l2"):
        if len(subject.survivors()):
            config = Square(subject.epsilon, effort.queries, subject.norm, seed=subject.seed, bounds=subject.bounds)
            rows = subject.survivors(effort.examples)
            crafted = subject.craft(config, rows, label="Square")
            found = subject.offer(rows, crafted.x_adv)
            only[rows[crafted.fooled]] = True
    elif not only.any() and not len(subject.survivors()):
        return NOTHING_LEFT
    rows = np.flatnonzero(only)
    by_black = len(rows)
    if len(rows) and subject.has_gradient:
        for attack in _trio(subject):
            rows = rows[~subject.craft(attack, rows, label="gradients on what fell without them").fooled]
    evidence = (
        f"{by_black} examples fell without gradients alone, {len(rows)} of them withstand APGD-CE, APGD-T and FAB-T; "
        f"fewer than {subject.allowed:g} pass"
    )
    counts = {"without gradients alone": float(by_black), "and not to gradients": float(len(rows))}
    chart = bars("Examples that fell without gradients.", "examples", counts, {"limit": subject.allowed}, False)
    return Finding("failed" if len(rows) >= subject.allowed else "passed", evidence, float(len(rows)), found, chart)


def _beyond_gradients(subject: Subject) -> np.ndarray:
    """[n] bool: broken by gradient-free or transfer attacks of the suite, and by no gradient attack of it."""
    free, gradient = np.zeros(subject.count, bool), np.zeros(subject.count, bool)
    for config, row in zip(subject.configs, subject.white, strict=True):
        broken = np.isfinite(row.distances)
        if isinstance(config, HopSkipJump | Spsa | Square):
            free |= broken
        else:
            gradient |= broken
    for row in subject.transferred:
        free |= np.isfinite(row.distances)
    return free & ~gradient & subject.correct


def _trio(subject: Subject) -> tuple[Apgd | Fab, ...]:
    """The gradient attacks of AutoAttack, less those that the suite ran already."""
    common = {"epsilon": subject.epsilon, "norm": subject.norm, "seed": subject.seed, "bounds": subject.bounds}
    trio = (
        Apgd(objective="cross_entropy", **common),  # type: ignore[arg-type]
        Apgd(objective="targeted_dlr", targets=9, **common),  # type: ignore[arg-type]
        Fab(targets=9, **common),  # type: ignore[arg-type]
    )
    return tuple(config for config in trio if config not in subject.configs)


@rule(
    "random search finds nothing",
    "no random point of the ball fools where the suite failed; one or two warn",
    CARLINI,
)
def random_search(subject: Subject, effort: Effort) -> Finding:
    """Points drawn from the ball, uniformly for linf, for examples that the suite left."""
    rows = subject.survivors(effort.draw_examples)
    if not len(rows):
        return NOTHING_LEFT
    found = 0
    for row in rows:
        for block in range(-(-effort.draws // _DRAWS_AT_A_TIME)):
            x = subject.near(row, min(_DRAWS_AT_A_TIME, effort.draws), block)
            hit = np.flatnonzero(subject.forward(x).argmax(axis=1) != subject.y[row])
            if len(hit):
                found += subject.offer(np.array([row]), x[hit[:1]])
                break
    evidence = f"{found} of {len(rows)} examples fell to {effort.draws:,} random points each"
    chart = bars("Examples that fell to random points.", "examples", {"fell": float(found)}, {"limit": 3.0}, False)
    outcome = "passed" if not found else "warning" if found < 3 else "failed"
    return Finding(outcome, evidence, float(found), found, chart)


@rule(
    "cross-entropy finds what scale-free losses find",
    "margin, DLR and rescaled cross-entropy lower the accuracy of PGD by at most max(1 point, 2 standard errors) "
    "beside plain cross-entropy; only a warning where the suite makes up for it",
    f"{AUTOATTACK}: DLR is unchanged when logits are scaled",
)
def scale(subject: Subject, effort: Effort) -> Finding:
    """Large logits saturate cross-entropy: its gradient rounds to zero, and PGD stands still.

    One-sided: logits times 100 take cross-entropy PGD from 0% to 97% on a natural network.
    """
    if nothing := without_probe(subject):
        return nothing
    rows = subject.attacked(effort.examples)
    if not len(rows):
        return Finding("not applicable", "no example is classified correctly")
    top = np.sort(subject.logits[rows], axis=1)
    gap = max(float(np.median(top[:, -1] - top[:, -2])), 1e-12)
    plain = subject.plain
    cross_entropy = probe(subject, effort, objective="cross_entropy")
    ways: dict[str, tuple[Any, Any]] = {
        "cross-entropy": (cross_entropy, None),
        "margin": (probe(subject, effort, objective="margin"), None),
    }
    if subject.logits.shape[1] > 2:
        ways["DLR"] = probe(subject, effort, objective="dlr"), None
    ways["rescaled cross-entropy"] = cross_entropy, lambda x: plain(x) / gap
    left, found = {}, 0
    for name, (config, on) in ways.items():
        crafted = subject.craft(config, rows, on=on, label=f"PGD-{effort.steps} {name}")
        left[name] = 1 - float(crafted.fooled.mean())
        found += subject.offer(rows, crafted.x_adv)
    best = min(left, key=lambda name: left[name])
    lower = left["cross-entropy"] - left[best]
    limit = max(0.01, 2 * float(np.sqrt(left[best] * (1 - left[best]) / len(rows))))
    evidence = ", ".join(f"{name} {share:.1%}" for name, share in left.items()) + f" of {len(rows)} images left"
    if lower > limit:
        saturates = left["cross-entropy"] - left["rescaled cross-entropy"] > limit
        evidence = f"cross-entropy {'saturates' if saturates else 'is the weaker loss here'}: {evidence}"
        missed = found > 0 and found / len(rows) > tolerance(subject)
        if missed:
            config, on = ways[best]
            rest = subject.survivors()
            found += subject.offer(rest, subject.craft(config, rest, on=on, label=f"PGD {best}").x_adv)
    chart = bars(f"What PGD-{effort.steps} leaves of {len(rows)} images, by loss.", "accuracy", left)
    outcome = "passed" if lower <= limit else "failed" if missed else "warning"
    return Finding(outcome, evidence, lower, found, chart)


@rule(
    "the suite has every kind of attack",
    "cross-entropy and a scale-free loss, every class as a target, minimum norm, and no gradient, as AutoAttack has; "
    "less is a warning",
    f"{CARLINI}; RobustBench asks for AutoAttack",
)
def coverage(subject: Subject, effort: Effort) -> Finding:
    """A quick look is no evaluation to publish."""
    objectives = {getattr(config, "objective", "") for config in iterative(subject)}
    kinds = {
        "cross-entropy": bool(objectives & set(CROSS_ENTROPIES)),
        "scale-free loss": bool(objectives - set(CROSS_ENTROPIES)),
        "every target": "targeted_dlr" in objectives,
        "minimum norm": any(isinstance(config, Fab | DeepFool | CarliniWagner) for config in subject.configs),
        "no gradient": any(isinstance(config, Square | Spsa | HopSkipJump) for config in subject.configs),
        "class alone": any(isinstance(config, HopSkipJump) for config in subject.configs),
    }
    missing = [name for name, there in kinds.items() if not there and name != "class alone"]
    evidence = f"missing: {', '.join(missing)}" if missing else "all are there"
    if not kinds["class alone"]:
        evidence += "; an attack that sees the class alone (HopSkipJump) is part of suite 'full'"
    chart = bars(
        "Kinds of attack in the suite.", "there", {name: float(there) for name, there in kinds.items()}, {}, False
    )
    return Finding("warning" if missing else "passed", evidence, float(len(missing)), 0, chart)


@rule(
    "a differentiable stand-in opens no hole",
    "examples crafted through the stand-in break fewer than max(3, 0.5% of n) that the suite left",
    "backward pass differentiable approximation, Athalye et al. 2018, arXiv:1802.00420",
)
def stand_in(subject: Subject, effort: Effort) -> Finding:
    """Needs a model that the caller says behaves like this one, such as one with `tfadv.models.bpda` inside."""
    if subject.stand_in is None:
        return Finding("not applicable", "no stand-in was given")
    if not len(subject.survivors()):
        return NOTHING_LEFT
    config = probe(subject, effort, objective="margin", keep="last")
    rows = subject.survivors()
    found = subject.offer(rows, subject.craft(config, rows, on=subject.stand_in, label="through the stand-in").x_adv)
    evidence = f"{found} of {len(rows)} examples that the suite left fall to examples crafted through the stand-in"
    chart = bars(
        "Examples that fell through the stand-in.",
        "examples",
        {"fell": float(found)},
        {"limit": subject.allowed},
        False,
    )
    return Finding("failed" if found >= subject.allowed else "passed", evidence, float(found), found, chart)
