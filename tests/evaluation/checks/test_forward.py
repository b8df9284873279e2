"""What a forward pass is: deterministic, stable, with a search inside or without; and what is inside the ball."""

import dataclasses

import keras
import numpy as np
import pytest
import tensorflow as tf

from tfadv.evaluation.checks import QUICK, forward
from tfadv.evaluation.subject import Subject

WEIGHTS = np.float32([[1, -1, 0], [2, 0, -2], [-1, 3, -2], [0.5, -1.5, 1]])


def logits(x):
    return tf.reshape(x - 0.5, [-1, 4]) @ WEIGHTS


def subject_of(model, **options):
    x = np.random.default_rng(1).uniform(0.2, 0.8, [20, 2, 2, 1]).astype(np.float32)
    options = {"norm": "linf", "epsilon": 0.1, **options}
    return Subject(model, x, np.argmax(logits(x), axis=1).astype(np.int32), **options)


def on_a_line(x, model, **options):
    """A subject with inputs [n, 1], all of class 1, which a model (-s, s) gives where its score s(x) is positive."""
    x = np.float32(x)[:, None]
    options = {"norm": "linf", "epsilon": 0.1, **options}
    return Subject(lambda v: tf.concat([-model(v), model(v)], axis=1), x, np.ones(len(x), np.int32), **options)


# Deterministic.


def test_two_equal_passes_pass():
    check = forward.deterministic(subject_of(logits), QUICK)
    assert (check.outcome, check.value) == ("passed", 0.0)
    assert "two passes over 20 images" in check.evidence


def test_a_model_that_draws_random_numbers_warns_and_is_sent_to_the_suite_for_it():
    noisy = subject_of(lambda x: logits(x) + tf.random.normal([3], stddev=0.1))
    check = forward.deterministic(noisy, QUICK)
    assert check.outcome == "warning"
    assert check.value > 1e-3
    assert "suite='rand'" in check.evidence


@pytest.mark.parametrize("size", [1e-3, 1.0, 1e6])
@pytest.mark.parametrize(("change", "outcome"), [(0.5e-4, "passed"), (2e-4, "warning")])
def test_differences_are_relative_to_the_largest_logit(size, change, outcome):
    """Every pass gives logits (size, 0), every second one size * (1 + change): the limit is 1e-4, whatever the size."""
    passes = tf.Variable(0, dtype=tf.int32)

    def model(x):
        odd = tf.cast(passes.assign_add(1) % 2, tf.float32)
        return tf.reshape(x, [-1, 4])[:, :2] * 0.0 + size * (1 + change * odd) * tf.constant([1.0, 0.0])

    check = forward.deterministic(subject_of(model), QUICK)
    assert check.outcome == outcome
    assert check.value == pytest.approx(change, rel=0.01)


# No search inside.


def descending(x):
    """A defense that looks for a calmer image before it answers: one gradient step inside the forward pass."""
    x = tf.identity(x)
    with tf.GradientTape() as tape:
        tape.watch(x)
        total = tf.reduce_sum(tf.nn.relu(logits(x)))
    return logits(x - 0.01 * tape.gradient(total, x))


def looped(x):
    """The same, five times, in a loop of the graph."""
    step = lambda i, z: (i + 1, z - 0.01 * tf.gradients(tf.reduce_sum(tf.tanh(logits(z))), z)[0])  # noqa: E731
    return logits(tf.while_loop(lambda i, z: i < 5, step, (0, tf.identity(x)))[1])


@pytest.mark.parametrize(("model", "mark"), [(descending, "ReluGrad"), (looped, "TanhGrad")])
def test_a_gradient_inside_the_forward_pass_warns_and_is_named(model, mark):
    check = forward.no_optimization(subject_of(tf.function(model)), QUICK)
    assert check.outcome == "warning"
    assert mark in check.evidence
    assert "attack its whole loop" in check.evidence


def test_ordinary_layers_hold_no_backward_pass():
    """Pooling, transposed convolution, normalization, and a loop that computes no gradient."""
    layers = keras.layers
    net = keras.Sequential(
        [
            keras.Input((2, 2, 1)),
            layers.Conv2DTranspose(4, 3, 2, activation="gelu"),
            layers.BatchNormalization(),
            layers.Conv2D(4, 2, activation="softplus"),
            layers.MaxPooling2D(),
            layers.Dropout(0.5),
            layers.Flatten(),
            layers.Dense(3),
        ]
    )

    def model(x):
        return tf.while_loop(lambda i, z: i < 3, lambda i, z: (i + 1, 0.5 * z), (0, net(x)))[1]

    check = forward.no_optimization(subject_of(model), QUICK)
    assert (check.outcome, check.value) == ("passed", 0.0), check.evidence
    assert forward.no_optimization(subject_of(net), QUICK).outcome == "passed"


# Stable.


@pytest.mark.parametrize(
    ("distance", "outcome"), [(0.4, "passed"), (0.1, "passed"), (0.04, "warning"), (0.01, "warning")]
)
def test_the_relative_change_of_the_margin_by_hand(distance, outcome):
    """A score d = x - 1/2 moves by 0.1 * 0.1 |u| with u uniform in [-1, 1]: on average by 0.005 / d of itself."""
    check = forward.stable(on_a_line([0.5 + distance] * 4, lambda v: v - 0.5), QUICK)
    assert check.outcome == outcome
    assert check.value == pytest.approx(0.005 / distance, rel=0.2)


def test_logits_that_jump_warn():
    """Levels of 1/64 are coarser than the hundredth by which the points differ."""
    check = forward.stable(subject_of(lambda x: logits(tf.round(64 * x) / 64) ** 9, epsilon=0.1), QUICK)
    assert check.outcome == "warning"
    noisy = subject_of(lambda x: logits(x) + tf.random.normal(tf.shape(x)[:1])[:, None] * [1.0, 0.0, -1.0])
    assert forward.stable(noisy, QUICK).outcome == "warning"


def test_the_scale_of_the_logits_does_not_matter():
    values = [forward.stable(subject_of(lambda x, by=by: by * logits(x)), QUICK).value for by in (1e-3, 1.0, 1e3)]
    np.testing.assert_allclose(values, values[0], rtol=1e-4)


def test_at_most_twenty_images_are_looked_at_and_none_of_them_is_misclassified():
    subject = on_a_line([0.9] * 30, lambda v: v - 0.5)
    assert forward.stable(subject, QUICK).evidence.endswith("20 images")
    assert forward.stable(subject, dataclasses.replace(QUICK, examples=7)).evidence.endswith("7 images")
    wrong = on_a_line([0.1] * 3, lambda v: v - 0.5)
    assert forward.stable(wrong, QUICK).outcome == "not applicable"


# Inside the threat model.


def found(subject, rows, x_adv):
    """The subject with these images as what the suite found."""
    subject.broken[rows] = True
    subject.found[rows] = x_adv
    return subject


def test_images_inside_ball_and_box_pass():
    subject = subject_of(logits)
    check = forward.feasible(subject, QUICK)
    assert (check.outcome, check.value) == ("passed", 0.0)
    subject = found(subject, [1, 2], np.clip(subject.x[[1, 2]] + 0.1, 0, 1))
    subject.largest = 0.1
    check = forward.feasible(subject, QUICK)
    assert check.outcome == "passed"
    assert check.evidence == "largest perturbation 0.1 for epsilon 0.1; farthest pixel outside the bounds 0.0e+00"


@pytest.mark.parametrize("value", [0.101, np.nan, np.inf])
def test_an_image_that_is_farther_away_or_no_number_fails(value):
    subject = subject_of(logits)
    x_adv = subject.x[[1]].copy()
    x_adv[0, 0, 0, 0] += value
    assert forward.feasible(found(subject, [1], x_adv), QUICK).outcome == "failed"


def test_an_image_outside_the_box_fails():
    subject = on_a_line([0.98], lambda v: v - 0.5)
    assert forward.feasible(found(subject, [0], np.float32([[1.0]])), QUICK).outcome == "passed"
    assert forward.feasible(found(subject, [0], np.float32([[1.0001]])), QUICK).outcome == "failed"


def test_what_a_check_found_is_measured_too():
    subject = subject_of(logits)
    subject.by_checks[3] = True
    subject.found[3] = subject.x[3] + 0.2
    assert forward.feasible(subject, QUICK).outcome == "failed"


@pytest.mark.parametrize(
    ("largest", "outside", "outcome"), [(0.1 + 9e-6, 0.0, "passed"), (0.1001, 0.0, "failed"), (0.1, 1e-6, "failed")]
)
def test_all_that_the_suite_crafted_is_measured_not_only_what_fooled(largest, outside, outcome):
    """An attack that leaves its ball without success is as faulty."""
    subject = subject_of(logits)
    subject.largest, subject.outside = largest, outside
    check = forward.feasible(subject, QUICK)
    assert check.outcome == outcome
    assert check.value == largest


# Rounding.


@pytest.mark.parametrize(("limits", "kept"), [((103.5, 103.5), 2), ((103.5, 104.2), 1), ((104.2, 104.2), 0)])
def test_rounding_is_toward_the_clean_image(limits, kept):
    """100/255 moved by 4.7/255 becomes 104/255: below 104.2, where a class may begin that 104.7 had reached.

    To the nearest level it would be 105/255, and the perturbation larger than it was.
    """
    x = np.float32([[100 / 255, 0.0], [100 / 255, 1.0]])
    limit = tf.constant(limits)

    def model(v):
        score = tf.gather(limit, tf.cast(v[:, 1], tf.int32)) - 255 * v[:, 0]
        return tf.stack([-score, score], axis=1)

    subject = Subject(model, x, np.ones(2, np.int32), norm="linf", epsilon=4.7 / 255)
    check = forward.rounded(found(subject, [0, 1], x + np.float32([4.7 / 255, 0])), QUICK)
    assert check.value == kept / 2
    assert check.outcome == ("warning" if kept == 0 else "passed")
    assert check.evidence.startswith(f"{kept} of 2 still fool after rounding; largest perturbation then 0.0156863")
    assert check.evidence.endswith(f"accuracy {1 - kept / 2:.1%}")


def test_a_perturbation_of_whole_levels_is_kept_whole_and_in_both_directions():
    """5/255 and -5/255 are 4.9999... levels in float32."""
    x = np.float32([[100 / 255], [110 / 255]])
    subject = on_a_line(x[:, 0], lambda v: 105.5 - 255 * v, epsilon=5 / 255)
    assert subject.correct.tolist() == [True, False]
    up = on_a_line([100 / 255] * 2, lambda v: 104.5 - 255 * v, epsilon=5 / 255)
    assert forward.rounded(found(up, [0, 1], up.x + np.float32(5 / 255)), QUICK).value == 1.0
    down = on_a_line([110 / 255] * 2, lambda v: 255 * v - 105.5, epsilon=5 / 255)
    assert forward.rounded(found(down, [0, 1], down.x - np.float32(5 / 255)), QUICK).value == 1.0


def test_rounding_needs_adversarial_images_in_the_unit_box():
    none = forward.rounded(subject_of(logits), QUICK)
    assert (none.outcome, none.evidence) == ("not applicable", "no adversarial image was found")
    shifted = subject_of(logits, bounds=(-1.0, 1.0))
    check = forward.rounded(found(shifted, [0], shifted.x[:1] + 0.1), QUICK)
    assert (check.outcome, check.evidence) == ("not applicable", "pixels lie in [-1.0, 1.0], not in [0, 1]")
