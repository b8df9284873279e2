"""Checks of what a forward pass is: the same every time, a function of the image, and no attack on itself."""

from __future__ import annotations

import numpy as np
import tensorflow as tf

from tfadv.balls import BALLS
from tfadv.evaluation.checks.rule import AUTOATTACK, CARLINI, PINTOR, Effort, Finding, bars, rule
from tfadv.evaluation.refusals import RANDOM
from tfadv.evaluation.subject import Subject
from tfadv.report.charts import Chart, Series

_IMAGES = 500
_POINTS = 100
# What a backward pass leaves in a graph: operations of its own, and the names under which it puts ordinary ones.
_BACKWARD, _SCOPES = ("Grad", "TensorListPopBack"), ("gradient_tape/", "gradients/")
_HARMLESS = ("StopGradient", "PreventGradient")


@rule(
    "the model is deterministic",
    f"two passes over the same images differ by at most {RANDOM:g} of the largest logit",
    AUTOATTACK,
)
def deterministic(subject: Subject, effort: Effort) -> Finding:
    """A model that draws random numbers is refused before the attacks, except by suite="rand"."""
    x = subject.x[:_IMAGES]
    first, second = subject.forward(x), subject.forward(x)
    apart = float(np.abs(first - second).max() / max(float(np.abs(first).max()), 1e-12))
    evidence = f"largest difference of two passes over {len(x)} images, relative to the largest logit: {apart:.1e}"
    chart = bars(
        "Largest difference of two passes.",
        "share of the largest logit",
        {"two passes": apart},
        {"limit": RANDOM},
        False,
    )
    if apart > RANDOM:
        evidence += "; the attacks of suite='rand' ascend means over random numbers"
        return Finding("warning", evidence, apart, 0, chart)
    return Finding("passed", evidence, apart, 0, chart)


@rule(
    "the model gives logits",
    "rows that all lie in [0, 1] and sum to 1 are refused before any attack; their range is shown",
    AUTOATTACK,
)
def logits(subject: Subject, effort: Effort) -> Finding:
    """Attacks and losses apply softmax themselves; a second one flattens the gradient."""
    sums = subject.logits.sum(axis=1)
    low, high = float(subject.logits.min()), float(subject.logits.max())
    edges = np.linspace(low, high if high > low else low + 1, 21)
    chart = Chart(
        f"Logits of {len(sums)} clean images, all classes.",
        "logit",
        "share",
        {"logits": Series(tuple(edges), tuple(np.histogram(subject.logits, edges)[0] / subject.logits.size))},
        "histogram",
        percent=True,
    )
    evidence = f"values from {low:.4g} to {high:.4g}; rows sum to {sums.min():.4g} to {sums.max():.4g}"
    return Finding("passed", evidence, high - low, 0, chart)


@rule(
    "inference computes no gradients",
    "the graph of a forward pass holds no operation of a backward pass",
    "AutoAttack's check for adaptive defenses at test time (Croce et al. 2022, arXiv:2202.13711)",
)
def no_optimization(subject: Subject, effort: Effort) -> Finding:
    """A defense that optimizes at inference needs attacks of its own; standard suites overstate it."""
    function = tf.function(subject.plain, autograph=False).get_concrete_function(
        tf.TensorSpec([None, *subject.x.shape[1:]], tf.float32)
    )
    graph = function.graph.as_graph_def()
    nodes = [*graph.node, *(node for each in graph.library.function for node in each.node_def)]
    backward = [
        node.op
        for node in nodes
        if node.op not in _HARMLESS
        and (any(mark in node.op for mark in _BACKWARD) or any(scope in node.name for scope in _SCOPES))
    ]
    # Those first that say by themselves what they are.
    found = sorted(set(backward), key=lambda name: ("Grad" not in name, name))
    if found:
        evidence = f"the forward pass holds {', '.join(found[:5])}: attack its whole loop"
    else:
        evidence = f"none among {len(nodes):,} operations"
    counts = {"backward": float(len(backward)), "all": float(len(nodes))}
    chart = bars("Operations of a forward pass.", "operations", counts, percent=False)
    return Finding("warning" if found else "passed", evidence, float(len(found)), 0, chart)


@rule(
    "the loss is stable around the images",
    f"relative change of the margin at {_POINTS} random points of a ball a tenth as large: mean at most 10%",
    f"{PINTOR}, unstable predictions; the limit is ours",
)
def stable(subject: Subject, effort: Effort) -> Finding:
    """Randomness or quantization that makes logits jump also makes gradients useless; only a warning."""
    rows = subject.attacked(min(effort.examples, 20))
    if not len(rows):
        return Finding("not applicable", "no example is classified correctly")
    changes = []
    for row in rows:
        y = np.full(_POINTS, subject.y[row])
        near = _margins(subject.forward(subject.near(row, _POINTS, 999, 0.1)), y)
        here = float(_margins(subject.logits[[row]], y[:1])[0])
        changes.append(np.abs(near - here) / max(abs(here), 1e-12))
    value = float(np.mean(changes))
    evidence = f"mean relative change of the margin {value:.1%}, {len(rows)} images"
    chart = bars("Relative change of the margin near the images.", "mean change", {"near": value}, {"limit": 0.1})
    return Finding("passed" if value <= 0.1 else "warning", evidence, value, 0, chart)


def _margins(logits: np.ndarray, y: np.ndarray) -> np.ndarray:
    rows = np.arange(len(y))
    others = logits.copy()
    others[rows, y] = -np.inf
    return logits[rows, y] - others.max(axis=1)


@rule(
    "every adversarial image is inside the threat model",
    "recomputed from the images: no perturbation larger than epsilon, no pixel outside the bounds, nothing infinite",
    "AutoAttack's final check",
)
def feasible(subject: Subject, effort: Effort) -> Finding:
    """An attack that leaves its ball proves nothing."""
    moved = np.flatnonzero((subject.broken | subject.by_checks) & subject.correct)
    inside = bool(subject.inside(subject.found[moved], moved).all()) if len(moved) else True
    holds = inside and subject.largest <= subject.epsilon + 1e-5 and subject.outside <= 0
    evidence = (
        f"largest perturbation {subject.largest:.6g} for epsilon {subject.epsilon:.6g}; farthest pixel outside the "
        f"bounds {max(subject.outside, 0.0):.1e}"
    )
    sizes = {"largest perturbation": subject.largest}
    chart = bars(
        "Size of the perturbations.", f"{subject.norm}, image units", sizes, {"epsilon": subject.epsilon}, False
    )
    outcome = "passed" if holds and np.isfinite(subject.found).all() else "failed"
    return Finding(outcome, evidence, subject.largest, 0, chart)


@rule(
    "adversarial images survive rounding to 8 bits",
    "rounded toward the clean image to levels of 1/255, at least half of them still fool; fewer is a warning",
    CARLINI,
)
def rounded(subject: Subject, effort: Effort) -> Finding:
    """Rounding toward the clean image keeps |delta| <= floor(255 epsilon) / 255."""
    fooled = np.flatnonzero((subject.broken | subject.by_checks) & subject.correct)
    if not len(fooled):
        return Finding("not applicable", "no adversarial image was found")
    if subject.bounds != (0.0, 1.0):
        return Finding("not applicable", f"pixels lie in {list(subject.bounds)}, not in [0, 1]")
    clean = subject.x[fooled]
    delta = subject.found[fooled] - clean
    levels = np.floor(np.abs(delta) * 255 + 1e-3) * np.sign(delta)
    images = np.clip(np.round(clean * 255) + levels, 0, 255).astype(np.float32) / 255
    kept = int((subject.forward(images).argmax(axis=1) != subject.y[fooled]).sum())
    size = BALLS[subject.norm].size(tf.constant(images - np.round(clean * 255).astype(np.float32) / 255)).numpy().max()
    evidence = (
        f"{kept} of {len(fooled)} still fool after rounding; largest perturbation then {size:.6g}, accuracy "
        f"{1 - (subject.count - subject.correct.sum() + kept) / subject.count:.1%}"
    )
    chart = bars(
        "Adversarial images that still fool.",
        "share",
        {"as found": 1.0, "in 8 bits": kept / len(fooled)},
        {"limit": 0.5},
    )
    return Finding("passed" if kept >= 0.5 * len(fooled) else "warning", evidence, kept / len(fooled), 0, chart)
