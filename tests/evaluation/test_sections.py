"""Statistics in a report: closed forms on a linear model, filters of a Keras model, and nothing where nothing is."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from tfadv.evaluation.sections import analyzed
from tfadv.evaluation.subject import Subject

DIRECTION = np.array([1.0, -2.0, 0.5, 0.25], np.float32)
X = (0.5 + np.outer(np.linspace(-1, 1, 20), DIRECTION) * 0.1).astype(np.float32).reshape(-1, 2, 2, 1)
Y = (np.linspace(-1, 1, 20) > 0).astype(np.int32)


def linear(x):
    score = tf.linalg.matvec(tf.reshape(x, [-1, 4]) - 0.5, DIRECTION)
    return tf.stack([tf.zeros_like(score), score], axis=1)


def sections_of(model):
    return {each.title: each for each in analyzed(model, Subject(model, X, Y, norm="linf", epsilon=0.05))}


def test_a_linear_model_has_its_closed_forms():
    sections = sections_of(linear)
    assert list(sections) == ["Accuracy against epsilon", "Linearized robustness", "Gaps and gradients", "Logits"]
    (curve,) = sections["Accuracy against epsilon"].charts
    ((_, series),) = curve.series.items()
    reach = np.array(series.x) * np.abs(DIRECTION).sum()
    margins = np.abs(np.linspace(-1, 1, 20)) * 0.1 * float(DIRECTION @ DIRECTION)
    np.testing.assert_allclose(series.y, [(margins > each).mean() for each in reach], atol=1e-6)
    median = np.median(margins) / np.abs(DIRECTION).sum()
    assert f"median {median:.4g}" in sections["Linearized robustness"].text[0]


def test_a_keras_model_shows_its_first_weights():
    keras.utils.set_random_seed(0)
    model = keras.Sequential([keras.Input((2, 2, 1)), keras.layers.Flatten(), keras.layers.Dense(2)])
    assert "First weights" in sections_of(model)


def test_a_model_without_gradient_has_its_logits_alone():
    assert list(sections_of(lambda x: linear(tf.round(x * 255) / 255))) == ["Logits"]


def test_nothing_is_said_where_nothing_is_classified_correctly():
    subject = Subject(linear, X, 1 - Y, norm="linf", epsilon=0.05)
    assert analyzed(linear, subject) == ()


@pytest.mark.parametrize("norm", ["rotation", "l0"])
def test_a_threat_that_is_no_norm_has_no_sections(norm):
    assert analyzed(linear, Subject(linear, X, Y, norm=norm, epsilon=1.0)) == ()
