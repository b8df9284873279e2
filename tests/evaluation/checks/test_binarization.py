"""The binarization test: readouts worked by hand, and attacks that find what was planted, or are hindered."""

import dataclasses

import keras
import numpy as np
import pytest
import tensorflow as tf

from tfadv import data, models
from tfadv.attacks import Pgd
from tfadv.balls import BALLS
from tfadv.evaluation.checks import QUICK, binarization
from tfadv.evaluation.subject import Subject

EPSILON = 0.1
EFFORT = dataclasses.replace(QUICK, binarized=12)


@pytest.fixture
def subject(linear_model):
    """The linear model of `x - 1/2` on 20 images that it classifies correctly, whose balls lie inside the box."""
    model = keras.Sequential([keras.Input((2, 2, 1)), keras.layers.Rescaling(1.0, -0.5), linear_model])
    return subject_of(model)


def subject_of(model, norm="linf", epsilon=EPSILON, **options):
    x = np.random.default_rng(1).uniform(0.2, 0.8, [20, 2, 2, 1]).astype(np.float32)
    y = np.argmax(model(x), axis=1).astype(np.int32)
    return Subject(model, x, y, norm=norm, epsilon=epsilon, **options)


def logits(x):
    """Three linear logits of the image, as a function: the readouts get these."""
    weights = np.float32([[1, -1, 0], [2, 0, -2], [-1, 3, -2], [0.5, -1.5, 1]])
    return tf.reshape(x - 0.5, [-1, 4]) @ weights


@tf.custom_gradient
def quantized(x):
    """Levels of 1/64 in the forward pass, and a gradient that exists and is zero."""
    return tf.round(64 * x) / 64, lambda gradient: tf.zeros_like(gradient)


# The readout.

CROSS = np.float32([[-1, 0], [1, 0], [0, -1], [0, 1]])


def test_a_readout_by_hand():
    """F'F = 2 I and the ridge is 10 * 4 / 4 = 10, so g - F'(FF' + 10 I)^-1 F g = 10 (F'F + 10 I)^-1 g = 10/12 g.

    For g = (3, 0) the scores are 7.5, of the inner points at most 2.5: relative to 7.5 the weights are (1/3, 0) and the
    threshold, halfway, is (1 + 1/3) / 2 = 2/3. So the classes part at 2, halfway between 1 and 3.
    """
    readout = binarization.fit(CROSS, np.float32([[3, 0]]))
    np.testing.assert_allclose(readout.weights, [1 / 3, 0], atol=1e-6)
    assert readout.bias == pytest.approx(-2 / 3, abs=1e-6)
    shift = np.float32([5, 7])
    moved = binarization.fit(CROSS + shift, np.float32([[3, 0]]) + shift)
    np.testing.assert_allclose(moved.weights, readout.weights, atol=1e-6)
    assert moved.bias == pytest.approx(-2 / 3 - 5 / 3, abs=1e-6)


def test_of_several_outer_points_the_one_that_stands_out_most_is_separated():
    """(1.5, 0) exceeds the inner points by a third of its score, (0, 4) by three quarters, (0.5, 0) not at all."""
    readout = binarization.fit(CROSS, np.float32([[1.5, 0], [0, 4], [0.5, 0]]))
    assert readout.point == 1
    assert readout.weights[0] == pytest.approx(0, abs=1e-6)
    assert binarization.fit(CROSS, np.float32([[0.5, 0], [0, -0.9]])) is None


@pytest.mark.parametrize("shape", [(40, 6), (12, 30)], ids=["more points than features", "more features than points"])
def test_the_weights_are_those_of_ridge_regression(shape):
    draws = np.random.default_rng(0)
    inner, outer = draws.normal(size=shape), 3 * draws.normal(size=(1, shape[1]))
    f = inner - inner.mean(axis=0)
    ridge = 10 * (f**2).sum() / shape[0]
    direction = np.linalg.solve(f.T @ f + ridge * np.eye(shape[1]), outer[0] - inner.mean(axis=0))
    weights = binarization.fit(inner, outer).weights
    np.testing.assert_allclose(weights / np.linalg.norm(weights), direction / np.linalg.norm(direction), atol=1e-5)


def test_a_readout_puts_all_inner_points_into_one_class_and_its_outer_point_into_the_other():
    draws = np.random.default_rng(0)
    inner, outer = draws.uniform(-0.95, 0.95, [50, 200]), np.sign(draws.normal(size=(4, 200)))
    readout = binarization.fit(inner, outer)
    scores = [points @ readout.weights + readout.bias for points in (inner, outer[readout.point])]
    assert scores[0].max() < 0 < scores[1]
    assert scores[1] == pytest.approx(-scores[0].max(), abs=1e-5)


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_features_that_are_not_finite_have_no_readout(value):
    assert binarization.fit(np.array([[0.0], [value]]), np.array([[1.0]])) is None
    assert binarization.fit(np.array([[0.0], [1.0]]), np.array([[value]])) is None


def test_features_that_do_not_change_in_the_ball_have_no_readout_until_they_do_at_its_surface():
    assert binarization.fit(np.ones([5, 3]), np.ones([2, 3])) is None
    readout = binarization.fit(np.ones([5, 3]), np.array([[1, 1, 1], [1, 1, 3]]))
    assert readout.point == 1
    np.testing.assert_allclose(readout.weights, [0, 0, 0.5], atol=1e-6)


# Features.


def test_features_are_the_input_of_the_dense_layer_that_gives_the_logits(linear_model):
    nested = keras.Sequential([keras.Input((2, 2, 1)), keras.layers.Rescaling(2.0), linear_model])
    x = np.random.default_rng(0).uniform(size=(3, 2, 2, 1)).astype(np.float32)
    np.testing.assert_allclose(binarization.penultimate(linear_model)(x), x.reshape(3, 4))
    np.testing.assert_allclose(binarization.penultimate(nested)(x), 2 * x.reshape(3, 4))
    deep = keras.Sequential([keras.Input((4,)), keras.layers.Dense(5, "relu"), keras.layers.Dense(2)])
    features = binarization.penultimate(deep)(x.reshape(3, 4))
    np.testing.assert_allclose(deep.layers[-1](features), deep(x.reshape(3, 4)), atol=1e-6)
    bare = keras.Sequential([keras.Input((4,)), keras.layers.Dense(2)])
    np.testing.assert_array_equal(binarization.penultimate(bare)(x.reshape(3, 4)), x.reshape(3, 4))


def test_a_model_without_such_a_layer_has_no_features(linear_model):
    class Subclassed(keras.Model):
        def call(self, x):
            return linear_model(x)

    pooled = keras.Sequential([keras.Input((2, 2, 1)), keras.layers.Conv2D(3, 2), keras.layers.Flatten()])
    inputs = keras.Input((4,))
    two = keras.Model(inputs, [keras.layers.Dense(2)(inputs), keras.layers.Dense(3)(inputs)])
    unbuilt = keras.Sequential([keras.layers.Dense(2)])
    for model in (logits, None, Subclassed(), pooled, two, unbuilt):
        assert binarization.penultimate(model) is None


# The points.


@pytest.mark.parametrize("norm", ["linf", "l2", "l1"])
def test_the_planted_point_is_in_ball_and_box_on_the_surface_and_in_class_1(subject, norm):
    made = subject_of(subject.model, norm)
    features = binarization.penultimate(subject.model)
    task = binarization.set_up(made, features, 4)
    size = BALLS[norm].size(tf.constant(task.point[None] - made.x[4:5])).numpy()[0]
    assert size == pytest.approx(EPSILON, abs=1e-6)
    if norm == "linf":
        np.testing.assert_allclose(np.abs(task.point - made.x[4]), EPSILON, atol=1e-6)
    scores = features(np.stack([made.x[4], task.point])).numpy() @ task.readout.weights + task.readout.bias
    assert scores[0] < 0 < scores[1]


def test_points_beyond_the_box_are_cut(subject):
    made = subject_of(subject.model, epsilon=0.5)
    point = binarization.set_up(made, binarization.penultimate(subject.model), 4).point
    assert point.min() >= 0
    assert point.max() <= 1
    np.testing.assert_allclose(np.clip(made.x[4] + 0.5 * np.sign(point - made.x[4]), 0, 1), point, atol=1e-6)


def test_what_is_drawn_for_an_example_does_not_depend_on_the_others(subject):
    alone = Subject(subject.model, subject.x[7:], subject.y[7:], index=np.arange(7, 20), norm="linf", epsilon=EPSILON)
    other = subject_of(subject.model, seed=1)
    features = binarization.penultimate(subject.model)
    tasks = [binarization.set_up(each, features, row) for each, row in ((subject, 9), (alone, 2), (other, 9))]
    np.testing.assert_array_equal(tasks[0].point, tasks[1].point)
    np.testing.assert_array_equal(tasks[0].readout.weights, tasks[1].readout.weights)
    assert (tasks[0].point != tasks[2].point).any()


# The rule.


@pytest.mark.parametrize("norm", ["linf", "l2", "l1"])
@pytest.mark.parametrize("objective", ["cross_entropy", "margin"])
def test_on_a_linear_model_every_planted_example_is_found(norm, objective):
    """The best point of the ball has the highest score of all, so at least that of the planted point.

    It takes some features: in few dimensions random points come close to any point of the surface.
    """
    model = models.linear(3, shape=(8, 8, 1))
    x = np.random.default_rng(1).uniform(0.2, 0.8, [20, 8, 8, 1]).astype(np.float32)
    made = Subject(model, x, np.argmax(model(x), axis=1), norm=norm, epsilon=EPSILON)
    made.configs = [Pgd(EPSILON, norm=norm, objective=objective)]
    check = binarization.planted(made, EFFORT)
    assert check.outcome == "passed", check.evidence
    assert check.value == 1.0
    assert "PGD-20 finds 100.0%" in check.evidence
    assert "12 of 12 images could be set up on the features" in check.evidence
    assert check.found == 0
    assert not made.by_checks.any()


def test_the_chart_sets_the_attack_beside_random_search(subject):
    check = binarization.planted(subject, EFFORT)
    assert check.chart.kind == "bars"
    assert check.chart.x_names == ("PGD-20", "100 random points")
    assert check.chart.series["found"].y[0] == check.value == 1.0
    assert check.chart.series["found"].y[1] < 0.5
    assert check.chart.rules == {"limit": 0.95}


def test_a_function_is_tested_on_its_logits():
    check = binarization.planted(subject_of(logits), EFFORT)
    assert check.outcome == "passed"
    assert "on the logits" in check.evidence


def test_steps_far_too_small_find_too_little(subject, monkeypatch):
    honest = binarization.probe
    monkeypatch.setattr(binarization, "probe", lambda *given: dataclasses.replace(honest(*given), step_size=1e-5))
    check = binarization.planted(subject, EFFORT)
    assert check.outcome == "failed"
    assert check.value <= 0.25


def test_gradients_that_are_zero_find_too_little():
    """A random start, from which no step leads anywhere, is in class 1 as seldom as any random point."""
    made = subject_of(lambda x: logits(quantized(x)))
    assert made.has_gradient
    check = binarization.planted(made, EFFORT)
    assert check.outcome == "failed"
    assert check.value <= 0.25


def test_what_hides_behind_the_features_is_not_seen(subject):
    """Logits times 1e6 leave no gradient of cross-entropy, but a readout has a scale of its own."""
    scaled = keras.Sequential([keras.Input((2, 2, 1)), subject.model, keras.layers.Rescaling(1e6)])
    assert binarization.planted(subject_of(scaled), EFFORT).outcome == "passed"


def test_95_percent_is_the_limit_whatever_random_search_does(subject, monkeypatch):
    """19 of 20 pass, 18 fail; where random search finds most, a success says nothing and a failure all the more."""
    effort = dataclasses.replace(QUICK, binarized=20)

    def outcome(found, luck):
        task = binarization.Task(0, binarization.Readout(np.zeros(4, np.float32), np.float32(0), 0), subject.x[0], luck)
        monkeypatch.setattr(binarization, "set_up", lambda *_: task)
        monkeypatch.setattr(binarization, "attacked", lambda *_: (np.ones(20, bool), np.arange(20) < found))
        return binarization.planted(subject, effort).outcome

    assert [outcome(found, False) for found in (20, 19, 18)] == ["passed", "passed", "failed"]
    assert [outcome(found, True) for found in (20, 19, 18)] == ["not applicable", "not applicable", "failed"]


def test_where_random_search_does_as_well_the_test_says_nothing():
    """On an interval the planted point is an end of it, and random points come close to both ends."""
    x = np.linspace(0.2, 0.8, 12, dtype=np.float32)[:, None]
    made = Subject(lambda v: tf.concat([-v, v], axis=1), x, np.ones(12, np.int32), norm="linf", epsilon=EPSILON)
    check = binarization.planted(made, EFFORT)
    assert check.outcome == "not applicable"
    assert check.evidence.startswith("random search does nearly as well: PGD-20 finds 100.0%")


def test_a_point_that_the_program_does_not_put_into_class_1_does_not_count(subject, monkeypatch):
    """No example is certain to exist there, so nothing follows from a failure."""
    honest = binarization.set_up

    def spoiled(subject, encode, row):
        task = honest(subject, encode, row)
        return task._replace(point=subject.x[row]) if row in rows[:half] else task

    rows, half = subject.attacked(EFFORT.binarized), 4
    monkeypatch.setattr(binarization, "set_up", spoiled)
    check = binarization.planted(subject, EFFORT)
    assert check.outcome == "passed"
    assert "8 of 12 images could be set up" in check.evidence
    half = 7
    check = binarization.planted(subject, EFFORT)
    assert (check.outcome, check.value) == ("not applicable", pytest.approx(5 / 12))
    assert check.evidence == "only 5 of 12 images could be set up on the features"


def test_a_model_that_is_constant_in_the_ball_cannot_be_set_up():
    made = subject_of(lambda x: logits(x + tf.stop_gradient(0.5 - x) + 0.0 * x))
    check = binarization.planted(made, EFFORT)
    assert check.outcome == "not applicable"
    assert "only 0 of 12 images could be set up" in check.evidence


def test_without_gradients_or_correct_examples_the_test_is_not_applicable(subject):
    rounded = binarization.planted(subject_of(lambda x: logits(tf.round(255 * x))), EFFORT)
    assert (rounded.outcome, rounded.evidence) == ("not applicable", "the model has no gradient")
    wrong = Subject(logits, subject.x, (subject.y + 1) % 3, norm="linf", epsilon=EPSILON)
    check = binarization.planted(wrong, EFFORT)
    assert (check.outcome, check.evidence) == ("not applicable", "no example is classified correctly")


def test_batches_and_repetitions_change_nothing(subject, monkeypatch):
    once, twice = (binarization.planted(subject, EFFORT) for _ in range(2))
    monkeypatch.setattr(binarization, "_BATCH", 5)
    assert once.evidence == twice.evidence == binarization.planted(subject, EFFORT).evidence


@pytest.mark.slow
def test_on_a_trained_network_what_is_planted_is_found_unless_gradients_are_masked():
    x, y = data.arrays("digits", "train", limit=1000)
    net = keras.Sequential(
        [
            keras.Input((28, 28, 1)),
            keras.layers.Conv2D(8, 5, 2, activation="relu", kernel_initializer=keras.initializers.GlorotUniform(0)),
            keras.layers.Flatten(),
            keras.layers.Dense(64, activation="relu", kernel_initializer=keras.initializers.GlorotUniform(1)),
            keras.layers.Dense(10, kernel_initializer=keras.initializers.GlorotUniform(2)),
        ]
    )
    net.compile("adam", keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    net.fit(x, y, batch_size=50, epochs=10, verbose=0, shuffle=False)
    for norm, epsilon in (("linf", 0.3), ("linf", 0.05), ("l2", 1.5), ("l1", 10.0)):
        check = binarization.planted(Subject(net, x[:100], y[:100], norm=norm, epsilon=epsilon), QUICK)
        assert (check.outcome, check.value) == ("passed", 1.0), (norm, epsilon, check.evidence)
    masked = binarization.planted(
        Subject(lambda v: net(quantized(v)), x[:100], y[:100], norm="linf", epsilon=0.3), QUICK
    )
    assert (masked.outcome, masked.value) == ("failed", 0.0)
