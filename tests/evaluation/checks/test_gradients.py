"""Gradients in closed form; models that have none, have zero, or have no number for one."""

import dataclasses

import numpy as np
import pytest
import tensorflow as tf

from tfadv.evaluation.checks import QUICK, gradients
from tfadv.evaluation.subject import Subject
from tfadv.validation import UserError

WEIGHTS = np.float32([[1, -1, 0], [2, 0, -2], [-1, 3, -2], [0.5, -1.5, 1]])


def logits(x):
    return tf.reshape(x - 0.5, [-1, 4]) @ WEIGHTS


def subject_of(model, count=20):
    x = np.random.default_rng(1).uniform(0.2, 0.8, [count, 2, 2, 1]).astype(np.float32)
    return Subject(model, x, np.argmax(model(x), axis=1).astype(np.int32), norm="linf", epsilon=0.1)


def zero_below(limit, sharp=1.0):
    """`logits`, whose gradient is zero where the first pixel is below `limit`; times `sharp`."""

    def model(x):
        z = sharp * logits(x)
        return tf.where(tf.reshape(x, [-1, 4])[:, :1] < limit, tf.stop_gradient(z), z)

    return model


# The gradients.


def test_the_gradient_of_the_margin_is_that_of_the_runner_up_less_the_true_class():
    subject = subject_of(logits)
    order = np.argsort(subject.logits, axis=1)
    rows = np.array([3, 0, 11])
    expected = (WEIGHTS[:, order[rows, -2]] - WEIGHTS[:, order[rows, -1]]).T
    np.testing.assert_allclose(gradients.gradients(subject, rows, "margin"), expected, atol=1e-6)


def test_the_gradient_of_cross_entropy_is_that_of_the_probabilities_less_the_label():
    subject = subject_of(logits)
    rows = np.arange(20)
    p = np.exp(subject.logits) / np.exp(subject.logits).sum(axis=1, keepdims=True)
    expected = (p - np.eye(3)[subject.y]) @ WEIGHTS.T
    np.testing.assert_allclose(gradients.gradients(subject, rows, "cross_entropy"), expected, atol=1e-5)


def test_batches_change_nothing(monkeypatch):
    subject = subject_of(lambda x: logits(x) ** 2)
    whole = gradients.gradients(subject, np.arange(20), "margin")
    monkeypatch.setattr(gradients, "_BATCH", 7)
    np.testing.assert_allclose(gradients.gradients(subject, np.arange(20), "margin"), whole, atol=1e-6)


def test_a_model_without_a_gradient_is_an_error_with_a_remedy():
    subject = subject_of(lambda x: logits(tf.round(255 * x) / 255))
    with pytest.raises(UserError, match="no gradient with respect to its input"):
        gradients.gradients(subject, np.arange(3), "margin")


# They exist.


def test_finite_gradients_pass():
    check = gradients.exist(subject_of(logits), QUICK)
    assert (check.outcome, check.evidence, check.value) == ("passed", "0 of 20 gradients hold NaN or infinity", 0.0)


@pytest.mark.parametrize(
    "model",
    [
        lambda x: logits(tf.round(255 * x) / 255),
        lambda x: logits(tf.stop_gradient(x)),
        lambda x: tf.ensure_shape(tf.numpy_function(lambda v: logits(v).numpy(), [x], tf.float32), [None, 3]),
    ],
    ids=["rounding", "a gradient that is stopped", "NumPy"],
)
def test_a_model_without_a_gradient_fails_with_the_remedy(model):
    subject = subject_of(model)
    assert not subject.has_gradient
    check = gradients.exist(subject, QUICK)
    assert check.outcome == "failed"
    assert "put tfadv.models.bpda around what is not differentiable, or give a stand-in" in check.evidence
    assert gradients.not_zero(subject, QUICK).outcome == "not applicable"


def test_gradients_that_are_no_numbers_fail_and_are_counted():
    """Where the first pixel is below 0.3, x - min(x, 0.3) is 0 with slope 0, and its root has slope 0 * infinity."""

    def model(x):
        first = tf.reshape(x, [-1, 4])[:, :1]
        return logits(x) + tf.sqrt(first - tf.minimum(first, 0.3)) * [1.0, 0.0, -1.0]

    subject = subject_of(model)
    below = int((subject.x[:, 0, 0, 0] < 0.3).sum())
    assert 0 < below < 20
    check = gradients.exist(subject, QUICK)
    assert (check.outcome, check.value) == ("failed", below)
    assert check.evidence == f"{below} of 20 gradients hold NaN or infinity"


def test_only_what_is_classified_correctly_is_looked_at():
    subject = subject_of(logits)
    wrong = Subject(logits, subject.x, (subject.y + 1) % 3, norm="linf", epsilon=0.1)
    check = gradients.exist(wrong, QUICK)
    assert (check.outcome, check.evidence) == ("not applicable", "no example is classified correctly")
    half = Subject(
        logits, subject.x, np.where(np.arange(20) < 5, subject.y, (subject.y + 1) % 3), norm="linf", epsilon=0.1
    )
    assert gradients.exist(half, QUICK).evidence == "0 of 5 gradients hold NaN or infinity"
    assert gradients.exist(subject, dataclasses.replace(QUICK, examples=8)).evidence.startswith("0 of 8 ")


# They are not zero.


def with_zeros(count, sharp=1.0):
    """100 images, `count` of which have a zero gradient."""
    x = np.random.default_rng(1).uniform(0.3, 0.8, [100, 2, 2, 1]).astype(np.float32)
    x[:count, 0, 0, 0] = 0.1
    model = zero_below(0.2, sharp)
    return Subject(model, x, np.argmax(model(x), axis=1).astype(np.int32), norm="linf", epsilon=0.1)


@pytest.mark.parametrize(("zeros", "outcome"), [(0, "passed"), (1, "passed"), (2, "failed"), (100, "failed")])
def test_a_zero_margin_gradient_fails_above_one_percent(zeros, outcome):
    check = gradients.not_zero(with_zeros(zeros), QUICK)
    assert (check.outcome, check.value) == (outcome, pytest.approx(zeros / 100))
    assert check.evidence == f"zero for {zeros}.0% (margin) and {zeros}.0% (cross-entropy) of 100"


def test_a_zero_gradient_of_cross_entropy_alone_only_warns():
    """exp(-1e4) is 0 in float32: the softmax is the label exactly, and cross-entropy is flat; the margin is not."""
    subject = subject_of(lambda x: 1e6 * logits(x))
    check = gradients.not_zero(subject, QUICK)
    assert (check.outcome, check.value) == ("warning", 0.0)
    assert check.evidence == "zero for 0.0% (margin) and 100.0% (cross-entropy) of 20"


def test_what_the_suite_broke_does_not_count():
    """There the gradient led somewhere."""
    subject = with_zeros(10)
    subject.broken[:9] = True
    check = gradients.not_zero(subject, QUICK)
    assert (check.outcome, check.value) == ("failed", pytest.approx(1 / 91))
    subject.broken[9] = True
    assert gradients.not_zero(subject, QUICK).outcome == "passed"
    subject.broken[:] = True
    check = gradients.not_zero(subject, QUICK)
    assert (check.outcome, check.evidence) == ("not applicable", "no example is left that the suite has not broken")


def test_the_chart_counts_every_image_by_the_size_of_its_gradient():
    """Largest entries: of w_a - w_b between 1 and 4, so in the bin from 10^0; zeros in the lowest."""
    check = gradients.not_zero(with_zeros(30), QUICK)
    margin = check.chart.series["margin"]
    counts = dict(zip(margin.x[:-1], margin.y, strict=True))
    assert (counts[-12.0], counts[0.0]) == (30, 70)
    assert [sum(series.y) for series in check.chart.series.values()] == [100, 100]
    assert check.chart.kind == "histogram"
