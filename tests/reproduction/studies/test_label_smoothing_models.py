"""The models of figure 4: their robust accuracies are exact, and their gradients are their weights."""

import numpy as np
import pytest

import tfadv.data
from tfadv.attacks import Pgd, compiled
from tfadv.models import load
from tfadv.report.values import unpack
from tfadv.reproduction.studies.label_smoothing_models import (
    ATTACKED,
    EPSILONS,
    grid_distances,
    measure_linear,
    measure_moons,
)
from tfadv.reproduction.study import Context


@pytest.fixture
def context(tmp_path):
    return Context(tmp_path, tmp_path / "runs", None, lambda line: None)


def test_grid_distances_by_hand():
    """Five points a side, 1/4 apart; class 1 in the right column and, upwards, in the upper row."""
    grid = np.zeros((5, 5), int)
    grid[:, 4] = grid[0] = 1
    x = np.array([[0.0, 0.0], [0.5, 0.25], [0.75, 0.5], [1.0, 0.0], [0.25, 1.0], [0.5, 0.5]], np.float32)
    y = np.array([0, 0, 0, 1, 1, 1])
    # To class 1: over the diagonal 4, 2 and 1 steps; to class 0: 1 and 1 steps; the last lies in class 0 already.
    np.testing.assert_allclose(grid_distances(grid, x, y), [1.0, 0.5, 0.25, 0.25, 0.25, 0.0])


def test_moons(context):
    found = measure_moons({"mass": 0.4, "seed": 0, "steps": 60, "resolution": 101}, context)
    assert unpack(found["classes"]).shape == unpack(found["confidence"]).shape == (1, 99, 99)
    assert found["epsilons"] == list(EPSILONS)
    assert found["accuracy"] == sorted(found["accuracy"], reverse=True)
    assert 0.7 < found["accuracy"][0] <= 1
    bounds = np.array([found[name] for name in ("low", "accuracy", "high")])
    assert (np.diff(bounds, axis=0) >= 0).all()
    assert 0.5 < found["confident"] < 1
    # What PGD leaves is an upper bound of what the grid leaves, whose points are 1/100 apart.
    assert found["pgd"] >= found["accuracy"][EPSILONS.index(ATTACKED) + 1]


def test_linear_models_are_measured_exactly(context):
    """PGD with many steps comes down to the exact accuracy, and never below it."""
    found = measure_linear({"dataset": "digits", "mass": 0.1, "seed": 0, "steps": 40}, context)
    (run,) = context.runs.iterdir()
    model = load(run / "model.keras")
    x, y = tfadv.data.arrays("digits", "test")
    epsilon = EPSILONS[5]
    attack = Pgd(epsilon, epsilon / 2, 30, objective="margin")
    left = ~compiled(model, attack, precision="float32").run(x, y).adversarial
    exact = found["accuracy"][5]
    assert exact <= left.mean() <= exact + 0.01
    weights = model.get_layer("logits").get_weights()[0]
    np.testing.assert_allclose(unpack(found["gradients"]).reshape(10, -1), weights.T)
    assert len(found["gaps"]) == 45
    assert found["gaps"][0] == pytest.approx(np.abs(weights[:, 0] - weights[:, 1]).sum(), rel=1e-5)
    assert found["gaps"][-1] == pytest.approx(np.abs(weights[:, 8] - weights[:, 9]).sum(), rel=1e-5)
    assert found["norms"][3] == pytest.approx(np.sqrt((weights[:, 3] ** 2).sum()), rel=1e-5)
    # Half of the images have a larger smallest step.
    assert found["accuracy"][0] > 0.5 > found["accuracy"][-1]
    at = np.searchsorted(EPSILONS, found["median_step"])
    assert found["accuracy"][at - 1] >= 0.5 >= found["accuracy"][at]
