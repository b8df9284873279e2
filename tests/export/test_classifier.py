"""What every format knows of a model: its images, its answers, its variables; and which attacks can be exported."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from tfadv.attacks import CarliniWagner, Fgm, Pgd
from tfadv.export import export_classifier
from tfadv.export.classifier import classifier, explaining_lost_variables, radius_and_step
from tfadv.models import load
from tfadv.validation import UserError

IMAGES = np.random.default_rng(0).random([5, 2, 2, 1], np.float32)


class Flat(tf.Module):
    """A model that says nothing of its images."""

    def __init__(self):
        self.kernel = tf.Variable(tf.eye(4))

    def __call__(self, x):
        return tf.reshape(x, [-1, 4]) @ self.kernel


def test_a_keras_model_and_its_saved_model_say_their_shape(linear_model, tmp_path):
    saved = load(export_classifier(linear_model, tmp_path / "model"))
    for model in (linear_model, saved):
        served = classifier(model)
        assert served.image_shape == (2, 2, 1)
        assert served.images(7) == tf.TensorSpec([7, 2, 2, 1], tf.float32, name="images")
        np.testing.assert_allclose(served.predict(tf.constant(IMAGES)), linear_model(IMAGES), atol=1e-6)


def test_another_model_needs_image_shape():
    subclassed = type("Subclassed", (keras.Model,), {"call": lambda self, x, training=None: Flat()(x)})()
    for model in (Flat(), subclassed):
        with pytest.raises(UserError, match=r"does not state the shape .* pass image_shape=\(H, W, C\)"):
            classifier(model)
        assert classifier(model, image_shape=[2, 2, 1]).image_shape == (2, 2, 1)


def test_answers_are_logits_their_softmax_and_the_largest(linear_model):
    answers = classifier(linear_model).answers(tf.constant(IMAGES))
    logits = linear_model(IMAGES).numpy()
    np.testing.assert_allclose(answers["logits"], logits, atol=1e-6)
    exponentials = np.exp(logits)
    np.testing.assert_allclose(answers["probabilities"], exponentials / exponentials.sum(1, keepdims=True), atol=1e-6)
    np.testing.assert_array_equal(answers["class"], logits.argmax(axis=1))
    assert answers["class"].dtype == tf.int32


def test_probabilities_are_refused():
    with pytest.raises(UserError, match="gives probabilities"):
        classifier(lambda x: tf.nn.softmax(tf.reshape(x, [-1, 4])), image_shape=(2, 2, 1))


def test_radius_and_step_of_an_attack():
    assert radius_and_step(Pgd(epsilon=0.1, step_size=0.02)) == (0.1, 0.02)
    assert radius_and_step(Fgm(epsilon=0.1)) == (0.1, 0.0)


@pytest.mark.parametrize(
    "config",
    [Pgd(epsilon=0.0), Pgd(epsilon=(0.1, 0.2)), Pgd(epsilon=0.1, step_size=(0.1, 0.2)), CarliniWagner()],
    ids=["no radius", "two radii", "two steps", "unbounded"],
)
def test_an_attack_without_one_radius_is_refused(config):
    with pytest.raises(UserError, match="one epsilon > 0 and one step_size"):
        radius_and_step(config)


def test_what_is_no_attack_is_refused():
    with pytest.raises(UserError, match=r"config must be an attack of tfadv\.attacks, .*got dict"):
        radius_and_step({"epsilon": 0.1})


def test_only_the_complaint_of_a_lost_variable_is_explained():
    with pytest.raises(UserError, match="variables that it does not own"), explaining_lost_variables():
        raise AssertionError("Tried to export a function which references an 'untracked' resource")
    with pytest.raises(AssertionError, match="something else"), explaining_lost_variables():
        raise AssertionError("something else")
