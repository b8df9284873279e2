"""Accuracy against epsilon: exact on a linear model, never rising, and with every distance backed by a success."""

import numpy as np
import pytest
import tensorflow as tf

from tfadv.analysis.accuracy_curve import AccuracyCurve, accuracy_chart, accuracy_curve
from tfadv.analysis.linearized import linearized
from tfadv.attacks import DeepFool, Fgm, Pgd, Rotation, compiled
from tfadv.report.records import clopper_pearson
from tfadv.validation import UserError

EPSILONS = (0.0, 0.05, 0.2, 0.4)
WEIGHTS = np.array([[1.0, -1.0], [-2.0, 0.5], [0.5, 1.5], [1.0, 0.0]], np.float32)


def model(x):
    return (x - 0.5) @ WEIGHTS


@pytest.fixture(scope="module")
def data():
    """100 points, of which about a tenth has the wrong label."""
    draw = np.random.default_rng(3)
    x = draw.random((100, 4), np.float32)
    y = np.asarray(model(x)).argmax(axis=1)
    return x, np.where(draw.random(100) < 0.9, y, 1 - y).astype(np.int32)


@pytest.mark.parametrize("config", [Fgm(epsilon=0.3), Pgd(epsilon=0.1, step_size=0.1, steps=2, random_start=False)])
def test_on_a_linear_model_the_curve_is_that_of_the_smallest_step_in_the_box(data, config):
    exact = linearized(model, *data)
    curve = accuracy_curve(model, *data, config, EPSILONS)
    np.testing.assert_array_equal(curve.accuracy, [exact.accuracy_in_box(epsilon) for epsilon in EPSILONS])
    broken = np.isfinite(curve.distances)
    assert (curve.distances[broken] >= np.maximum(exact.steps_in_box[broken], 0) - 1e-6).all()
    assert 0 < curve.accuracy[-1] < curve.accuracy[0]


def test_epsilon_zero_is_the_clean_accuracy(data):
    x, y = data
    curve = accuracy_curve(model, x, y, Fgm(), EPSILONS)
    assert curve.accuracy[0] == (np.asarray(model(x)).argmax(axis=1) == y).mean()
    np.testing.assert_array_equal(curve.distances == 0, np.asarray(model(x)).argmax(axis=1) != y)


def test_what_breaks_at_a_radius_stays_broken_where_the_attack_is_too_weak(data):
    """From 0.1 on the attack does not move; alone it would give the clean accuracy back."""

    def weaker(epsilon):
        return Pgd(epsilon=epsilon, step_size=epsilon if epsilon < 0.1 else 0.0, steps=1, random_start=False)

    curve = accuracy_curve(model, *data, weaker, EPSILONS)
    assert curve.accuracy[1] < curve.accuracy[0]
    np.testing.assert_array_equal(curve.accuracy[1:], [curve.accuracy[1]] * 3)


def test_the_step_grows_with_the_radius(data):
    """Two steps of half the radius reach the corner of every ball; two steps of 0.05 would not at 0.4."""
    exact, radii = linearized(model, *data), (0.1, 0.4)
    scaled = accuracy_curve(model, *data, Pgd(epsilon=0.1, step_size=0.05, steps=2, random_start=False), radii)
    np.testing.assert_array_equal(scaled.accuracy, [exact.accuracy_in_box(epsilon) for epsilon in radii])
    fixed = accuracy_curve(model, *data, lambda e: Pgd(epsilon=e, step_size=0.05, steps=2, random_start=False), radii)
    assert fixed.accuracy[1] > scaled.accuracy[1]


def test_an_attack_without_a_radius_gives_the_whole_curve_at_once(data):
    """DeepFool overshoots a linear boundary by 2% and by 1e-4."""
    x, y = data[0] * 0.2 + 0.4, data[1]  # Away from the box.
    exact = linearized(model, x, y, norm="l2")
    curve = accuracy_curve(model, x, y, DeepFool(epsilon=None, norm="l2"), EPSILONS)
    np.testing.assert_allclose(curve.distances[exact.correct], 1.02 * exact.steps[exact.correct], rtol=1e-3, atol=2e-4)
    np.testing.assert_array_equal(curve.accuracy, [(curve.distances > epsilon).mean() for epsilon in EPSILONS])
    assert curve.norm == "l2"


def test_area_bands_and_median_by_hand():
    """Distances 0, 0.5, 2, infinite at epsilon 0, 1, 3: accuracies 3/4, 2/4, 1/4; area (0.625 + 2 x 0.375) / 3."""
    curve = AccuracyCurve([0, 1, 3], [0, 0.5, 2, np.inf], "linf")
    np.testing.assert_array_equal(curve.accuracy, [0.75, 0.5, 0.25])
    assert curve.area == pytest.approx((0.625 + 2 * 0.375) / 3)
    assert curve.median_distance == 1.25
    low, high = curve.bands
    assert (low[1], high[1]) == clopper_pearson(2, 4)
    assert AccuracyCurve([0, 1], [0, np.inf, np.inf], "linf").median_distance == np.inf


def test_a_perturbation_of_exactly_the_radius_counts_as_within_it():
    """0.1 is no float32; the distance and the radius are rounded to the same one."""
    assert AccuracyCurve([0.1, 0.2], [np.float32(0.1)], "linf").accuracy[0] == 0


def test_the_chart_names_the_areas_and_has_the_bands():
    curve = AccuracyCurve([0, 1, 3], [0, 0.5, 2, np.inf], "l2")
    chart = accuracy_chart({"net": curve, "twin": curve})
    assert list(chart.series) == ["net", "twin"]
    assert chart.title.endswith("Mean over the range: net 0.458, twin 0.458.")
    assert chart.series["net"].low == tuple(curve.bands[0])
    assert "l2" in chart.x_label
    assert chart.percent
    with pytest.raises(UserError, match="one norm"):
        accuracy_chart({"net": curve, "other": AccuracyCurve([0, 1], [0.5], "linf")})


@pytest.mark.parametrize(
    ("config", "epsilons", "text"),
    [
        (Fgm(), [0.1], "at least two rising"),
        (Fgm(), [0.2, 0.1], "at least two rising"),
        (Fgm(), [-0.1, 0.1], "finite number >= 0"),
        (Fgm(epsilon=(0.1, 0.2)), [0.1, 0.2], "one epsilon for all"),
        (Rotation(), [0.1, 0.2], "one epsilon for all"),
    ],
)
def test_what_does_not_fit_is_refused(data, config, epsilons, text):
    with pytest.raises(UserError, match=text):
        accuracy_curve(model, *data, config, epsilons)


def test_the_survivors_start_at_the_next_radius_where_they_would_start_without_the_others(data):
    """So every radius breaks what the attack alone breaks, and what a smaller radius broke. One step from a random
    start: where it begins decides what it finds.
    """
    x, y = data

    def bent(x):
        return tf.sin(4 * model(x))

    def attack(epsilon):
        return Pgd(epsilon=epsilon, step_size=0.2 * epsilon, steps=1)

    curve = accuracy_curve(bent, x, y, attack, (0.05, 0.1), batch_size=13)
    alone = [compiled(bent, attack(epsilon), precision="float32").run(x, y).adversarial for epsilon in (0.05, 0.1)]
    np.testing.assert_array_equal(curve.distances <= np.float32(0.05), alone[0])
    np.testing.assert_array_equal(np.isfinite(curve.distances), alone[0] | alone[1])
    assert (~alone[0] & alone[1]).any()
