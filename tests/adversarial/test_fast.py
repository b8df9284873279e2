"""Fast adversarial training: the attack of the paper, and a callback that sees the collapse and undoes it."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from tfadv.adversarial import AdversarialTraining, StopOnCatastrophicOverfitting, fast_attack
from tfadv.attacks import Pgd
from tfadv.validation import UserError


def test_the_attack_is_one_step_of_one_and_a_quarter_epsilon_from_a_uniform_start():
    attack = fast_attack(8 / 255)
    assert (attack.steps, attack.norm, attack.random_start, attack.keep) == (1, "linf", True, "last")
    assert attack.step_size == pytest.approx(10 / 255)  # the paper's 10/255 for 8/255
    assert fast_attack(0.2, bounds=(-1.0, 1.0)).bounds == (-1.0, 1.0)


def test_training_steps_from_the_clipped_start_and_back_into_ball_and_box(linear_model, images, labels):
    """x' = clip(start + 1.25 epsilon sign(gradient)) from start = clip(x + epsilon u), by hand on a linear model."""
    model = AdversarialTraining(linear_model, fast_attack(0.1), seed=2)
    seed = tf.random.experimental.stateless_fold_in(tf.constant([2, 0], tf.int32), tf.constant(0))
    start = np.clip(images + 0.1 * tf.random.stateless_uniform(images.shape, seed, -1.0, 1.0), 0, 1)
    kernel = linear_model.get_weights()[0]
    p = np.exp(start.reshape(10, 4) @ kernel)
    gradient = (p / p.sum(axis=1, keepdims=True) - np.eye(3)[labels]) @ kernel.T
    step = start.reshape(10, 4) + 0.125 * np.sign(gradient)
    expected = np.clip(np.clip(step, images.reshape(10, 4) - 0.1, images.reshape(10, 4) + 0.1), 0, 1)
    found = model.craft(tf.constant(images), tf.constant(labels), 0).numpy().reshape(10, 4)
    np.testing.assert_allclose(found, expected, atol=1e-6)
    inner = np.abs(found - images.reshape(10, 4)) < 0.09
    assert inner.any()  # FGSM without a random start would end at corners alone


class Break(keras.callbacks.Callback):
    """At the ends of the given epochs gives the classifier these weights."""

    def __init__(self, weights):
        super().__init__()
        self.weights = weights

    def on_epoch_end(self, epoch, logs=None):
        self.model.classifier.set_weights(self.weights[epoch])


def run(linear_model, images, labels, compiled, schedule, **options):
    """(history, lines, final weights) of epochs at rate 0 that end with the weights of `schedule`."""
    lines = []
    model = compiled(AdversarialTraining(linear_model, fast_attack(0.05)), rate=0.0, run_eagerly=True)
    watch = StopOnCatastrophicOverfitting(images, labels, Pgd(0.0, 0.0, 1), report=lines.append, **options)
    history = model.fit(
        images, labels, epochs=len(schedule), batch_size=10, verbose=0, callbacks=[Break(schedule), watch]
    )
    return history.history, lines, model.classifier.get_weights()[0]


@pytest.fixture
def kernels(linear_model):
    """Accuracy -> a kernel that has it when the labels are those of `linear_model`: other classes are swapped in."""
    kernel = linear_model.get_weights()[0]
    return {"all": [kernel], "none": [kernel[:, [1, 2, 0]]]}


@pytest.fixture
def own(linear_model, images):
    """Labels that `linear_model` gets right, so that its accuracy is 1."""
    return linear_model(images).numpy().argmax(axis=1).astype(np.int32)


def test_a_sudden_fall_stops_training_restores_the_best_weights_and_says_so(
    linear_model, images, own, compiled, kernels
):
    worse = [0.5 * kernels["all"][0]]  # the same decisions: the first of equals is kept
    history, lines, weights = run(
        linear_model, images, own, compiled, [kernels["all"], worse, kernels["none"], kernels["all"]]
    )
    assert history["robust_accuracy"] == pytest.approx([1.0, 1.0, 0.0])
    np.testing.assert_array_equal(weights, kernels["all"][0])
    (line,) = lines
    assert line.startswith("epoch 3: accuracy under Pgd fell from 100.0% to 0.0%, by more than 20%: catastrophic")
    assert "Training stops with the weights of the epoch that had 100.0%" in line


def test_a_rise_and_a_fall_within_the_limit_go_on(linear_model, images, own, compiled, kernels):
    history, lines, weights = run(
        linear_model, images, own, compiled, [kernels["none"], kernels["all"], kernels["none"]], drop=1.0
    )
    assert history["robust_accuracy"] == pytest.approx([0.0, 1.0, 0.0])
    assert lines == []
    np.testing.assert_array_equal(weights, kernels["none"][0])


def test_a_second_fit_begins_to_compare_anew(linear_model, images, own, compiled, kernels):
    lines = []
    model = compiled(AdversarialTraining(linear_model, fast_attack(0.05)), rate=0.0, run_eagerly=True)
    watch = StopOnCatastrophicOverfitting(images, own, Pgd(0.0, 0.0, 1), report=lines.append)
    for weights in (kernels["all"], kernels["none"]):
        model.fit(images, own, batch_size=10, verbose=0, callbacks=[Break([weights]), watch])
    assert lines == []
    assert watch.accuracies == [0.0]


def test_the_accuracy_is_that_under_the_attack(linear_model, images, own):
    """On a linear model an image survives if it does at the best corner against each other class."""
    watch = StopOnCatastrophicOverfitting(images, own, Pgd(0.1, 0.1, 3))
    watch.set_model(linear_model)
    watch.on_train_begin()
    logs = {}
    watch.on_epoch_end(0, logs)
    flat = images.reshape(10, 4)
    kernel = linear_model.get_weights()[0]
    survives = []
    for x, y in zip(flat, own, strict=True):
        corners = [
            np.clip(x + 0.1 * np.sign(kernel[:, other] - kernel[:, y]), 0, 1) for other in range(3) if other != y
        ]
        survives.append(all((corner @ kernel).argmax() == y for corner in corners))
    assert 0 < np.mean(survives) < 1
    assert logs["robust_accuracy"] == pytest.approx(np.mean(survives))


def test_bad_arguments_are_refused(images, labels):
    for arguments, message in (
        ((images * 255, labels), "x must lie in"),
        ((images, labels[:3]), "y must be one integer label for each of the 10 images"),
    ):
        with pytest.raises(UserError, match=message):
            StopOnCatastrophicOverfitting(*arguments, Pgd())
    with pytest.raises(UserError, match=r"drop must lie in \[0, 1\], got 20"):
        StopOnCatastrophicOverfitting(images, labels, Pgd(), drop=20)
