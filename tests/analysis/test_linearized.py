"""The linearized step: exact on linear models, in the plane and in the box, and against FGSM itself."""

import numpy as np
import pytest
import tensorflow as tf

from tfadv import attacks
from tfadv.analysis.linearized import linearized, predicted_accuracy, steps_chart
from tfadv.report.records import clopper_pearson
from tfadv.validation import UserError

GRAY = np.full((3, 2, 2, 1), 0.5, np.float32)
EACH = np.arange(3, dtype=np.int32)
EPSILONS = (0.0, 0.02, 0.05, 0.1, 0.2, 0.4)
WIDE = (-50.0, 50.0)  # A box that no step of these tests meets.


def random_linear(classes, features=6, seed=0):
    """(model, x, y) of a linear classifier with points on both sides of its boundaries, most of them right."""
    draw = np.random.default_rng(seed)
    weights = draw.normal(size=(features, classes)).astype(np.float32)
    x = draw.random((200, features), np.float32)
    logits = x @ weights - (0.5 * weights).sum(axis=0)
    y = np.where(draw.random(200) < 0.9, logits.argmax(axis=1), draw.integers(classes, size=200))
    return lambda v: v @ weights - tf.reduce_sum(0.5 * weights, axis=0), x, y.astype(np.int32)


def test_equation_4_by_hand(linear_model):
    """At the gray image the logits are (1.25, 0.25, -1.5).

    Of the columns w0 - w1 = (2, 2, -4, 2), with norms 10, sqrt(28), 4; w0 - w2 = (1, 4, 1, -0.5), 6.5 in 1-norm;
    w1 - w2 = (-1, 2, 5, -2.5), 10.5.  y = 0: min(1 / 10, 2.75 / 6.5); the other two are misclassified, by
    y = 1: min(-1 / 10, 1.75 / 10.5), and y = 2: min(-2.75 / 6.5, -1.75 / 10.5).
    """
    found = linearized(linear_model, GRAY, EACH)
    np.testing.assert_allclose(found.steps, [0.1, -0.1, -2.75 / 6.5], rtol=1e-6)
    np.testing.assert_array_equal(found.rivals, [1, 0, 0])
    np.testing.assert_array_equal(found.predictions, [0, 0, 0])
    np.testing.assert_array_equal(found.correct, [True, False, False])
    assert linearized(linear_model, GRAY[:1], [0], norm="l2").steps[0] == pytest.approx(1 / np.sqrt(28))
    assert linearized(linear_model, GRAY[:1], [0], norm="l1").steps[0] == pytest.approx(1 / 4)


@pytest.mark.parametrize(
    ("gap", "norm", "free", "boxed"),
    [
        (0.5, "linf", 0.5 / 3, 0.3),  # 2 min(L, 0.1) + min(L, 0.5) = 0.5
        (0.5, "l2", 0.5 / np.sqrt(5), np.hypot(0.1, 0.3)),
        (0.5, "l1", 0.25, 0.4),
        (1.0, "linf", 1 / 3, np.inf),  # The corner gains 2 x 0.1 + 0.5 only.
        (-0.5, "linf", -0.5 / 3, -0.5 / 3),
    ],
)
def test_the_box_stops_a_feature_and_the_others_must_go_farther(gap, norm, free, boxed):
    """x = (0.9, 0.5) has room (0.1, 0.5); class 1 has the logit 2 x1 + x2 = 2.3, and class 0 is `gap` ahead."""

    def model(x):
        return tf.stack([tf.zeros_like(x[:, 0]) + 2.3 + gap, 2 * x[:, 0] + x[:, 1]], axis=1)

    found = linearized(model, np.array([[0.9, 0.5]], np.float32), [0], norm=norm)
    assert found.steps[0] == pytest.approx(free, rel=1e-5)
    assert found.steps_in_box[0] == pytest.approx(boxed, rel=1e-5)


@pytest.mark.parametrize("norm", ["linf", "l2"])
def test_of_two_linear_classes_the_prediction_is_the_accuracy_under_fgsm(norm):
    """Both objectives step along the one gradient gap. Without a wall equation 4 is exact, in either norm."""
    model, x, y = random_linear(2)
    found = predicted_accuracy(model, x, y, EPSILONS, norm=norm, bounds=WIDE)
    assert set(found.measured) == {"cross_entropy", "margin"}
    for accuracy in found.measured.values():
        np.testing.assert_array_equal(accuracy, found.predicted)
    assert found.predicted[0] > 0.85
    assert 0 < found.predicted[3] < found.predicted[0]


def test_in_the_box_the_boxed_prediction_is_exact_and_equation_4_too_low():
    model, x, y = random_linear(2, seed=1)
    found = predicted_accuracy(model, x, y, EPSILONS)
    for accuracy in found.measured.values():
        np.testing.assert_array_equal(accuracy, found.predicted_in_box)
    assert (found.predicted <= found.predicted_in_box).all()
    assert (found.predicted < found.predicted_in_box).any()


def test_of_many_linear_classes_the_worst_targeted_step_is_that_of_equation_4():
    """FGSM itself goes towards one class or a mixture of them, and may leave more."""
    model, x, y = random_linear(5)
    found = linearized(model, x, y, bounds=WIDE)
    for epsilon in EPSILONS[1:]:
        survives = found.correct
        for target in range(5):
            config = attacks.Fgm(epsilon=epsilon, objective="margin", targeted=True, bounds=WIDE)
            towards = attacks.fgm(model, tf.constant(x), tf.fill([len(x)], target), x, config=config)
            survives = survives & (np.argmax(model(towards), axis=1) == y)
        assert found.accuracy(epsilon) == survives.mean()
    untargeted = predicted_accuracy(model, x, y, EPSILONS, bounds=WIDE)
    assert all((accuracy >= untargeted.predicted).all() for accuracy in untargeted.measured.values())


@pytest.mark.parametrize(
    ("logits", "label", "step", "clean"),
    [((2.0, 1.0), 0, np.inf, 1), ((2.0, 1.0), 1, -np.inf, 0), ((1.0, 1.0), 0, 0, 1), ((1.0, 1.0), 1, 0, 0)],
)
def test_without_a_gradient_the_step_is_infinite_and_at_a_tie_zero(logits, label, step, clean):
    x = np.full((1, 3), 0.5, np.float32)
    found = linearized(lambda v: tf.constant([logits]) + 0 * tf.reduce_sum(v, axis=1, keepdims=True), x, [label])
    assert found.steps[0] == found.steps_in_box[0] == step
    assert found.without_gradient == int(np.isinf(step))
    assert found.accuracy(0) == found.accuracy_in_box(0) == clean
    assert found.accuracy(0.1) == (step == np.inf)


def test_an_infinite_entry_of_a_gradient_counts_as_zero():
    """The slope of sqrt at 0 is infinite; what is left is 1 for the second feature: L = (1 - 0.25) / 1."""

    def model(x):
        return tf.stack([tf.ones_like(x[:, 0]), tf.sqrt(x[:, 0]) + x[:, 1]], axis=1)

    assert linearized(model, np.array([[0.0, 0.25]], np.float32), [0]).steps[0] == pytest.approx(0.75)


def test_epsilon_zero_is_the_clean_accuracy_and_batches_do_not_matter():
    model, x, y = random_linear(4)
    whole, parts = linearized(model, x, y), linearized(model, x, y, batch_size=33)
    np.testing.assert_allclose(parts.steps, whole.steps, rtol=1e-5)
    np.testing.assert_array_equal(parts.rivals, whole.rivals)
    assert whole.accuracy(0) == whole.correct.mean()
    assert ((whole.steps > 0) == whole.correct).all()


def test_dense_labels_count_by_their_largest_weight(linear_model):
    np.testing.assert_array_equal(
        linearized(linear_model, GRAY, np.eye(3)).steps, linearized(linear_model, GRAY, EACH).steps
    )


def test_charts_show_the_accuracies_with_intervals_and_the_steps():
    model, x, y = random_linear(3)
    found = predicted_accuracy(model, x, y, EPSILONS)
    (chart,) = found.charts()
    assert list(chart.series) == ["equation 4", "equation 4 in the box", "FGSM, cross entropy", "FGSM, margin"]
    margin = chart.series["FGSM, margin"]
    assert margin.x == EPSILONS
    assert margin.y == tuple(found.measured["margin"])
    assert (margin.low[2], margin.high[2]) == clopper_pearson(round(200 * margin.y[2]), 200)
    steps = steps_chart({"net": linearized(model, x, y)})
    assert steps.kind == "histogram"
    assert "linf" in steps.x_label


def test_what_does_not_fit_is_refused(linear_model):
    with pytest.raises(UserError, match="norm must be one of"):
        linearized(linear_model, GRAY, EACH, norm="l0")
    with pytest.raises(UserError, match="epsilon"):
        predicted_accuracy(linear_model, GRAY, EACH, [-0.1])
    with pytest.raises(UserError, match="epsilons must be"):
        predicted_accuracy(linear_model, GRAY, EACH, [])
    with pytest.raises(UserError, match="no gradient"):
        linearized(lambda x: 3 * tf.round(x[:, 0, :, 0]), GRAY, [0, 1, 0])
    mixed = {norm: linearized(linear_model, GRAY, EACH, norm=norm) for norm in ("linf", "l2")}
    with pytest.raises(UserError, match="one norm"):
        steps_chart(mixed)
