"""Sanity checks of an evaluation: each is one claim, its evidence and where the rule comes from.

A failed check does not change the number; it says that the number should not be believed as it stands.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import tensorflow as tf

from tfadv.report.records import AttackResult, Check

_CARLINI = "Carlini et al. 2019, arXiv:1902.06705"
_AUTOATTACK = "Croce and Hein 2020, AutoAttack's flags"
# Rounding of x + delta in float32 near 1 is 6e-8; a hundred of them are still no larger perturbation.
SIZE_TOLERANCE = 1e-5


def deterministic_forward(predict: Callable[[tf.Tensor], tf.Tensor], x: np.ndarray) -> Check:
    """Two passes over the same images give the same logits (relative difference of the largest at most 1e-4)."""
    first, second = predict(tf.constant(x)).numpy(), predict(tf.constant(x)).numpy()
    difference = float(np.abs(first - second).max() / max(float(np.abs(first).max()), 1e-12))
    evidence = f"largest difference of two passes over {len(x)} images, relative to the largest logit: {difference:.1e}"
    return Check("the model is deterministic", difference <= 1e-4, evidence, _AUTOATTACK)


def iterative_beats_single_step(single: AttackResult | None, iterative: list[AttackResult]) -> Check:
    """The best iterative attack leaves at most the accuracy that one gradient step leaves."""
    name = "iterative attacks beat a single step"
    if single is None or not iterative:
        return Check(name, None, "needs a single-step and an iterative attack in the suite", _CARLINI)
    best = min(iterative, key=lambda row: row.accuracy)
    evidence = f"{best.name} leaves {best.accuracy:.1%}, {single.name} {single.accuracy:.1%}"
    return Check(name, best.accuracy <= single.accuracy, evidence, _CARLINI)


def white_box_beats_transfer(white: list[AttackResult], transfer: list[AttackResult]) -> Check:
    """Transferred examples fool fewer than max(3 images, 0.5 %) that no gradient attack fooled."""
    name = "white-box attacks beat transfer, per example"
    if not white or not transfer:
        return Check(name, None, "needs a source model and a white-box attack", _CARLINI)
    by_gradient = np.logical_or.reduce([row.adversarial for row in white])
    only_transfer = int((np.logical_or.reduce([row.adversarial for row in transfer]) & ~by_gradient).sum())
    allowed = max(3.0, 0.005 * len(by_gradient))
    evidence = f"{only_transfer} of {len(by_gradient)} examples fall to transfer alone; fewer than {allowed:g} pass"
    return Check(name, only_transfer < allowed, evidence, _CARLINI)


def feasible(largest: float, epsilon: float, outside: float) -> Check:
    """Recomputed from the images: no perturbation is larger than epsilon, no pixel outside the bounds."""
    evidence = (
        f"largest perturbation {largest:.6g} for epsilon {epsilon:.6g}; farthest pixel outside the bounds {outside:.1e}"
    )
    return Check(
        "every adversarial image is inside the threat model",
        bool(largest <= epsilon + SIZE_TOLERANCE and outside <= 0),
        evidence,
        "AutoAttack's final check",
    )


def survives_rounding(fooled: int, kept: int) -> Check:
    """At least half of the adversarial images still fool when rounded to 8 bits toward the clean image."""
    name = "adversarial images survive rounding to 8 bits"
    if not fooled:
        return Check(name, None, "no adversarial image was found", _CARLINI)
    return Check(
        name, kept >= 0.5 * fooled, f"{kept} of {fooled} still fool after rounding toward the clean image", _CARLINI
    )
