"""Gaps of logits and gradients, against the weights of a linear model, where they are all known."""

import numpy as np
import pytest
import tensorflow as tf

from tfadv.analysis.gaps import gap_charts, gaps
from tfadv.analysis.linearized import linearized

# Columns of conftest's LINEAR_WEIGHTS: the gradients of the three logits.
W = np.array([[1.0, 2.0, -1.0, 0.5], [-1.0, 0.0, 3.0, -1.5], [0.0, -2.0, -2.0, 1.0]])
GRAY = np.full((3, 2, 2, 1), 0.5, np.float32)
EACH = np.arange(3, dtype=np.int32)


def cosine(a, b):
    return a @ b / np.sqrt((a @ a) * (b @ b))


def test_a_linear_model_by_hand(linear_model):
    """Row i is the gray image with label i, its columns the two wrong classes in their order."""
    found = gaps(linear_model, GRAY, EACH)
    wrong = [(1, 2), (0, 2), (0, 1)]
    np.testing.assert_allclose(found.logits, [[1.25, 0.25, -1.5]] * 3, atol=1e-6)
    np.testing.assert_allclose(found.logit_gap, [[1, 2.75], [-1, 1.75], [-2.75, -1.75]], atol=1e-6)
    np.testing.assert_allclose(found.gradient_gap, [[10, 6.5], [10, 10.5], [6.5, 10.5]], rtol=1e-6)
    np.testing.assert_allclose(found.coherence, [[cosine(W[y], W[k]) for k in wrong[y]] for y in range(3)], rtol=1e-5)
    np.testing.assert_allclose(found.gradient_norms, [np.abs(W).sum(axis=1)] * 3, rtol=1e-6)
    np.testing.assert_allclose(found.steps, found.logit_gap / found.gradient_gap, rtol=1e-6)


def test_the_smallest_step_over_the_classes_is_the_linearized_one(digits):
    from tfadv import models

    x, y = digits
    net = models.small_cnn(seed=1)
    found = gaps(net, x, y)
    np.testing.assert_allclose(found.steps.min(axis=1), linearized(net, x, y).steps, rtol=1e-3, atol=1e-6)
    parts = gaps(net, x, y, batch_size=25)
    np.testing.assert_allclose(parts.gradient_gap, found.gradient_gap, rtol=1e-3)
    np.testing.assert_allclose(parts.coherence, found.coherence, atol=1e-4)
    np.testing.assert_allclose(parts.gradient_norms, found.gradient_norms, rtol=1e-3)


def test_coherence_does_not_depend_on_the_scale_of_the_logits(linear_model):
    """Squares of 1e-25 are 0 in float32."""
    scaled = gaps(lambda x: 1e-25 * linear_model(x), GRAY, EACH)
    np.testing.assert_allclose(scaled.coherence, gaps(linear_model, GRAY, EACH).coherence, rtol=1e-5)


def test_a_logit_without_gradient_has_no_coherence_and_an_infinite_step():
    """Logits (3, 1 + x1 + x2, 4): class 0 and 2 are constant, so only the gaps to class 1 have a size."""

    def model(x):
        total = tf.reduce_sum(x, axis=1)
        return tf.stack([3 + 0 * total, 1 + total, 4 + 0 * total], axis=1)

    found = gaps(model, np.full((2, 2), 0.25, np.float32), [0, 1])
    np.testing.assert_array_equal(found.gradient_gap, [[2, 0], [2, 2]])
    np.testing.assert_array_equal(found.coherence, np.full((2, 2), np.nan))
    np.testing.assert_array_equal(found.gradient_norms, [[0, 2, 0]] * 2)
    np.testing.assert_allclose(found.steps, [[0.75, -np.inf], [-0.75, -1.25]])
    charts = gap_charts({"constant": found})
    assert charts[3].title == "Gradient coherence. Beyond the axis or undefined: constant 100.00%."


def test_the_model_is_traced_once_for_each_of_two_programs():
    """One look at the inputs, one gradient of the true class, one of a wrong class: not one for each class or batch."""
    calls = []

    def model(x):
        calls.append(x.shape)
        return tf.concat([x, 2 * x], axis=1)

    gaps(model, np.random.default_rng(0).random((7, 4), np.float32), np.arange(7) % 8, batch_size=3)
    assert len(calls) == 3


def test_charts_overlay_the_models(linear_model):
    found = gaps(linear_model, GRAY, EACH)
    twice = gaps(lambda x: 2 * linear_model(x), GRAY, EACH)
    charts = gap_charts({"once": found, "twice": twice})
    assert [list(chart.series) for chart in charts] == [["once", "twice"]] * 5
    assert [chart.kind for chart in charts] == ["histogram"] * 5
    cosines = charts[3].series
    assert (cosines["once"].x[0], cosines["once"].x[-1]) == (-1, 1)
    assert cosines["once"].y == pytest.approx(cosines["twice"].y)
    # The logit gap is shown without its sign.
    assert charts[0].series["once"].x[0] == 0
    assert charts[4].y_label == "share of pairs of image and class"
