"""Models whose predictions and gradients figure 4 of "Adversarial robustness via label-smoothing" (LSV) shows.

Robust accuracies are exact, without an attack: the moons' plane is searched on a grid, and for a linear model the
smallest step of `tfadv.analysis.linearized` is no approximation.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from scipy.ndimage import distance_transform_cdt

import tfadv.data
from tfadv import analysis, attacks
from tfadv.attacks import Pgd
from tfadv.losses import AdversarialLabelSmoothing
from tfadv.models import load
from tfadv.report.values import pack
from tfadv.reproduction.jobs import share
from tfadv.reproduction.runs import short_hash, trained
from tfadv.reproduction.study import Context
from tfadv.training import Experiment

EPSILONS = tuple(round(0.01 * at, 2) for at in range(11))  # the radius of a moon is 0.25
ATTACKED = 0.08  # by PGD, on the moons
_DRAWN = 99  # points along each side of a drawn plane; from 100 on a dot of the data is three points wide
_MARKS = 200


def _model(experiment: Experiment, context: Context) -> Any:
    """The classifier of an experiment, trained in the shared folder of runs."""
    name = f"lsv_fig4-{experiment.model}-{short_hash(repr(experiment))}"
    run = trained(experiment, context.runs / name, label=name, report=context.report, data_dir=context.data_dir)
    return load(run / "model.keras")


def measure_moons(settings: Mapping[str, Any], context: Context) -> dict[str, Any]:
    """An MLP on two moons, with ALS of the given mass (0 is cross-entropy).

    Settings:
        mass, seed, steps, resolution: points along each side of the grid that is searched.

    Returns:
        classes, confidence: of a map of 99 points along each side, packed; marks: of training points; confident: mean
        probability of the predicted class on test points; gap: mean difference of the two logits there; epsilons,
        accuracy, low, high: the share of test points that no change of linf size epsilon misclassifies, up to the
        grid's 1 / (resolution - 1), and its 95% interval; pgd: the share that PGD of 20 steps leaves at epsilon 0.08.
    """
    experiment = Experiment(
        "moons",
        "mlp",
        AdversarialLabelSmoothing(settings["mass"]),
        learning_rate=1e-3,
        batch_size=100,
        steps=settings["steps"],
        seed=settings["seed"],
    )
    model = _model(experiment, context)
    x, y = tfadv.data.arrays("moons", "train")
    drawn = analysis.decision_map(model, x[:_MARKS], y[:_MARKS], resolution=_DRAWN)
    x, y = tfadv.data.arrays("moons", "test")
    logits = analysis.logits(model, x)
    grid = analysis.decision_map(model, x, y, resolution=settings["resolution"]).classes[0]
    steps = np.where(logits.argmax(axis=1) == y, grid_distances(grid, x, y), 0.0)
    gap = np.abs(logits[:, 0] - logits[:, 1])
    # Of two classes the margin has the gradient of cross-entropy, but never one of 0 because the model is sure.
    attack = Pgd(ATTACKED, ATTACKED / 4, 20, objective="margin")
    left = ~attacks.compiled(model, attack, precision="float32").run(x, y).adversarial
    return {
        "classes": pack(drawn.classes),
        "confidence": pack(drawn.confidence),
        "marks": [list(mark) for mark in drawn.marks[0]],
        "confident": float((1 / (1 + np.exp(-gap))).mean()),
        "gap": float(gap.mean()),
        "pgd": float(left.mean()),
        **_curve(steps),
    }


def grid_distances(grid: np.ndarray, x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """linf distance in the unit square from each point x [N, 2] to the nearest point of the grid with a class not y.

    Args:
        grid: classes [R, R] as in `tfadv.analysis.Decisions`: the first feature to the right, the second upwards.
    """
    side = len(grid) - 1
    right, up = np.round(x * side).astype(int).T
    found = np.zeros(len(x))
    for label in np.unique(y):
        away = distance_transform_cdt(grid == label, metric="chessboard") / side
        found[y == label] = away[side - up, right][y == label]
    return found


def _curve(steps: np.ndarray) -> dict[str, list[float]]:
    """Shares of the points whose smallest step that misclassifies them is above epsilon."""
    shares = [share(steps > epsilon) for epsilon in EPSILONS]
    return {
        "epsilons": list(EPSILONS),
        "accuracy": [each["accuracy"] for each in shares],
        "low": [each["interval"][0] for each in shares],
        "high": [each["interval"][1] for each in shares],
    }


def measure_linear(settings: Mapping[str, Any], context: Context) -> dict[str, Any]:
    """A linear model of images, with ALS of the given mass: its gradients, and its exact accuracy at every epsilon.

    Settings:
        dataset, mass, seed, steps.

    Returns:
        gradients: of the K logits, packed [K, H, W, C]; gaps: ||gradient of z_i - gradient of z_j||_1 of all pairs;
        norms: 2-norms of the gradients; logit_gap: mean of z_y - the largest other over the test images that are
        classified right; median_step: the median over all test images of the smallest linf step in [0, 1] that changes
        the class, 0 where it is wrong; epsilons, accuracy, low, high: exact robust accuracy and 95% intervals.
    """
    experiment = Experiment(
        settings["dataset"],
        "linear",
        AdversarialLabelSmoothing(settings["mass"]),
        optimizer="sgd",
        learning_rate=0.1,
        batch_size=100,
        steps=settings["steps"],
        seed=settings["seed"],
    )
    model = _model(experiment, context)
    weights = model.get_layer("logits").get_weights()[0]
    first, second = np.triu_indices(weights.shape[1], 1)
    x, y = tfadv.data.arrays(settings["dataset"], "test", data_dir=context.data_dir)
    logits = analysis.logits(model, x)
    true = logits[np.arange(len(y)), y]
    others = np.where(np.arange(logits.shape[1]) == y[:, None], -np.inf, logits).max(axis=1)
    right = true > others
    smallest = analysis.linearized(model, x, y)
    steps = np.where(right, smallest.steps_in_box, 0.0)
    return {
        "gradients": pack(analysis.first_weights(model).images),
        "gaps": np.abs(weights[:, first] - weights[:, second]).sum(axis=0).tolist(),
        "norms": np.linalg.norm(weights, axis=0).tolist(),
        "logit_gap": float((true - others)[right].mean()),
        "median_step": float(np.median(steps)),
        **_curve(steps),
    }
