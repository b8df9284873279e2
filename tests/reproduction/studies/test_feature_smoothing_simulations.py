"""One simulation, by hand where it is small, and what it says about itself."""

import numpy as np
import pytest

from tfadv.analysis.logistic_samples import Samples
from tfadv.reproduction.studies.feature_smoothing_simulations import (
    AUGMENTATIONS,
    OUTER_LAW,
    PLAIN,
    REGULARIZERS,
    UNIT_LAW,
    crossing,
    estimate,
    simulate,
    simulation,
)
from tfadv.reproduction.study import Context

METHODS = {PLAIN: {}, **REGULARIZERS, **AUGMENTATIONS}


@pytest.fixture
def context(tmp_path):
    lines = []
    return Context(tmp_path, tmp_path, None, lines.append)


def smoke(law, methods, context, **options):
    return simulate(simulation("key", law, methods, "smoke", **options).settings, context)


def test_the_true_curve_and_boundary(context):
    found = smoke(UNIT_LAW, {PLAIN: {}}, context, span=(0.0, 1.0))
    assert found["boundary"] == 0.5
    x, p = np.array(found["curves"]["x"]), np.array(found["curves"]["true"])
    assert (x[0], x[-1]) == (0, 1)
    np.testing.assert_allclose(p, 1 / (1 + np.exp(4 - 8 * x)), atol=2e-4)


def test_labels_that_follow_from_x_have_a_step(context):
    found = smoke({"sampler": "thresholded", "size": 30}, {PLAIN: {}}, context)
    x, p = np.array(found["curves"]["x"]), np.array(found["curves"]["true"])
    np.testing.assert_array_equal(p, np.where(x == 0, 0.5, x > 0))
    assert found["boundary"] == 0
    assert found["separable"] == 1
    assert found["methods"][PLAIN]["limited"] == 1


def test_every_method_gives_a_curve_within_its_band(context):
    found = smoke(OUTER_LAW, METHODS, context, level=0.9)
    assert list(found["methods"]) == list(METHODS)
    for method in found["methods"].values():
        curve = {name: np.array(values) for name, values in method["curve"].items()}
        assert (curve["low"] <= curve["high"]).all()
        assert method["crossing"] == pytest.approx(0, abs=0.3)
        assert method["boundary"]["count"] == 20
        assert method["unconverged"] == 0
    assert context.report.__self__[-1] == f"{len(METHODS)} of {len(METHODS)}: adversarial"


def test_without_a_level_there_are_no_curves(context):
    assert "curve" not in smoke(OUTER_LAW, {PLAIN: {}}, context, level=None)["methods"][PLAIN]


def test_all_methods_see_the_same_samples(context):
    """A method that is plain by another name has the same estimates: ratios of exactly 1."""
    again = smoke(OUTER_LAW, {PLAIN: {}, "same": {"label_smoothing": 0.0}}, context)["methods"]["same"]
    assert again["ratios"] == {"variance": [1, 1, 1], "iqr": [1, 1, 1]}


def test_a_method_may_be_compared_with_another(context):
    methods = {PLAIN: {}, "one": {"label_smoothing": 0.1}, "two": {"label_smoothing": 0.1, "against": "one"}}
    assert smoke(OUTER_LAW, methods, context)["methods"]["two"]["ratios"]["variance"] == [1, 1, 1]


def test_the_result_follows_from_the_settings_and_seeds_differ(context):
    first, again = (smoke(OUTER_LAW, METHODS, context) for _ in range(2))
    assert first == again
    assert smoke(OUTER_LAW, METHODS, context, seed=1) != first


@pytest.mark.parametrize(
    ("method", "slope"),
    [
        ({}, np.log(3)),
        ({"label_smoothing": 0.1}, np.log(0.7 / 0.3)),  # 0.8 * 3/4 + 0.1 = 0.7
        ({"noise": 0.0}, np.log(3)),
        ({"adversarial": 0.0}, np.log(3)),  # Every point twice.
        ({"interpolate": 0.0, "new": 0}, np.log(3)),
    ],
)
def test_an_estimate_by_hand(method, slope):
    """Three of four labels at 1 are 1, and one of four at -1."""
    x, y = np.repeat([-1.0, 1.0], 4)[None, :, None], np.array([[1.0, 0, 0, 0, 1, 1, 1, 0]])
    found = estimate(Samples(x, y), method, span=(-1, 1), seed=0)
    assert found.weights[0, 0] == pytest.approx(slope)
    assert found.biases[0] == pytest.approx(0, abs=1e-9)


def test_the_crossing_is_interpolated():
    assert crossing([0, 1, 2, 3], [0.1, 0.4, 0.8, 0.9]) == pytest.approx(1.25)
    assert crossing([0, 1], [0.6, 0.9]) is None
    assert crossing([0, 1], [0.9, 0.1]) is None


def test_only_smoke_has_fewer_realizations():
    jobs = {scale: simulation("key", OUTER_LAW, METHODS, scale) for scale in ("smoke", "short", "paper")}
    assert jobs["short"].identity == jobs["paper"].identity
    assert jobs["paper"].settings["realizations"] == 1000
    assert jobs["smoke"].settings["realizations"] == 20
