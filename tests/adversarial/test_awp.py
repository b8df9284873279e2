"""Weight perturbation: its size and direction, the gradient at w + v, and variables that never hold w + v."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from tfadv.adversarial import AdversarialTraining, WeightPerturbation
from tfadv.adversarial.awp import weight_perturbation
from tfadv.attacks import Fgm, Pgd
from tfadv.validation import UserError

ATTACK = Pgd(epsilon=0.1, step_size=0.05, steps=2, random_start=False)


def same(first, second, atol=0.0):
    for one, two in zip(first.get_weights(), second.get_weights(), strict=True):
        np.testing.assert_allclose(one, two, atol=atol, rtol=0)


def test_a_kernel_moves_by_gamma_times_its_length_along_the_gradient():
    """||w|| = 5, g / ||g|| = (0, 1; 0, 0): v = 0.1 x 5 along it, at any size of g; a bias stays."""
    kernel, bias = tf.constant([[3.0, 0.0], [0.0, 4.0]]), tf.constant([1.0, 1.0])
    for size in (2.0, 1e-30, 1e30):
        gradients = [tf.constant([[0.0, size], [0.0, 0.0]]), tf.constant([1.0, 0.0])]
        found = weight_perturbation([kernel, bias], gradients, 0.1)
        np.testing.assert_allclose(found[0], [[0.0, 0.5], [0.0, 0.0]], rtol=1e-6)
        np.testing.assert_array_equal(found[1], [0.0, 0.0])


@pytest.mark.parametrize("value", [0.0, np.nan, np.inf])
def test_no_direction_moves_nothing(value):
    found = weight_perturbation([tf.ones([2, 2])], [tf.fill([2, 2], tf.constant(value, tf.float32))], 0.1)
    np.testing.assert_array_equal(found[0], np.zeros((2, 2)))


def test_the_update_of_a_linear_model_is_the_gradient_at_the_perturbed_kernel(linear_model, compiled, images, labels):
    """g(w) = x_adv^T (p - y) / B at x_adv crafted at w; v = gamma ||w|| g / ||g||; w <- w - rate g(w + v)."""
    kernel = linear_model.get_weights()[0].astype(np.float64)
    inner = AdversarialTraining(linear_model, Fgm(epsilon=0.1))
    x_adv = inner.craft(tf.constant(images), tf.constant(labels), 0).numpy().reshape(10, 4).astype(np.float64)

    def at(kernel):
        p = np.exp(x_adv @ kernel)
        p /= p.sum(axis=1, keepdims=True)
        return -np.log(p[np.arange(10), labels]).mean(), x_adv.T @ (p - np.eye(3)[labels]) / 10

    loss, gradient = at(kernel)
    perturbed_loss, expected = at(kernel + 0.2 * np.linalg.norm(kernel) * gradient / np.linalg.norm(gradient))
    model = compiled(WeightPerturbation(inner, gamma=0.2), rate=0.5, run_eagerly=True)
    logs = model.train_on_batch(images, labels, return_dict=True)
    assert perturbed_loss > loss + 0.1
    assert float(logs["loss"]) == pytest.approx(perturbed_loss, rel=1e-5)
    np.testing.assert_allclose(linear_model.get_weights()[0], kernel - 0.5 * expected, atol=2e-6)


def test_at_rate_0_the_weights_are_to_the_bit_what_they_were(net, compiled, images, labels):
    model = compiled(WeightPerturbation(AdversarialTraining(net(), ATTACK), gamma=0.5), rate=0.0)
    model.fit(images, labels, batch_size=5, epochs=2, verbose=0)
    same(model.classifier, net())


@pytest.mark.parametrize("settings", [{"gamma": 0.0}, {"gamma": 0.1, "start_step": 99}], ids=["gamma", "start"])
def test_gamma_0_and_the_steps_before_the_start_are_the_method_inside(settings, net, compiled, images, labels):
    norm, other = (keras.layers.BatchNormalization(momentum=0.5) for _ in range(2))
    wrapped = WeightPerturbation(AdversarialTraining(net(extra=[norm]), ATTACK), **settings)
    plain = AdversarialTraining(net(extra=[other]), ATTACK)
    for model in (wrapped, plain):
        compiled(model, optimizer=keras.optimizers.Adam(0.01), run_eagerly=True)
        for _ in range(3):
            model.train_on_batch(images, labels)
    same(wrapped.classifier, plain.classifier, atol=1e-6)


def test_the_moving_averages_move_once_by_the_batch_at_the_perturbed_weights(net, compiled, images, labels):
    """moving <- 0.5 moving + 0.5 mean, from a mean of 0, with the hidden layer at w + v."""
    norm = keras.layers.BatchNormalization(momentum=0.5)
    model = WeightPerturbation(AdversarialTraining(net(extra=[norm]), ATTACK), gamma=0.3)
    compiled(model, rate=0.0, run_eagerly=True).train_on_batch(images, labels)
    x_adv = model.craft(tf.constant(images), tf.constant(labels), 0)
    unperturbed = 0.5 * model.classifier.layers[1](model.classifier.layers[0](x_adv)).numpy().mean(axis=0)
    # Crafting sees other averages now, so that x_adv is only near by; twice as far would show.
    assert 0.01 < np.abs(norm.moving_mean - unperturbed).max() < 0.2
    assert 0.5 < norm.moving_variance.numpy().min()


def test_penalties_of_the_layers_are_taken_at_the_perturbed_weights(linear_model, compiled, images, labels):
    """The logged loss minus cross-entropy at w + v is 0.25 ||w + v||^2."""
    linear_model.layers[-1].kernel.regularizer = keras.regularizers.L2(0.25)
    model = compiled(
        WeightPerturbation(AdversarialTraining(linear_model, Fgm(0.0)), gamma=0.2), rate=0.0, run_eagerly=True
    )
    kernel, flat, truth = linear_model.get_weights()[0].astype(np.float64), images.reshape(10, 4), np.eye(3)[labels]

    def at(kernel):
        p = np.exp(flat @ kernel)
        p /= p.sum(axis=1, keepdims=True)
        loss = -(truth * np.log(p)).sum(axis=1).mean() + 0.25 * (kernel**2).sum()
        return loss, flat.T @ (p - truth) / 10 + 0.5 * kernel

    gradient = at(kernel)[1]
    perturbed = kernel + 0.2 * np.linalg.norm(kernel) * gradient / np.linalg.norm(gradient)
    assert float(model.train_on_batch(images, labels)[0]) == pytest.approx(at(perturbed)[0], rel=1e-5)


def test_frozen_layers_are_not_perturbed(net, compiled, images, labels):
    classifier = net()
    classifier.layers[1].trainable = False
    model = compiled(WeightPerturbation(AdversarialTraining(classifier, ATTACK), gamma=0.3), run_eagerly=True)
    model.train_on_batch(images, labels)
    np.testing.assert_array_equal(classifier.layers[1].kernel, net().layers[1].kernel)
    assert np.abs(classifier.layers[2].kernel - net().layers[2].kernel).max() > 1e-3


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"gamma": -0.1}, "gamma must be a finite number >= 0, got -0.1"),
        ({"start_step": -1}, "start_step must be >= 0, got -1"),
    ],
)
def test_bad_settings_are_refused(net, settings, message):
    with pytest.raises(UserError, match=message):
        WeightPerturbation(AdversarialTraining(net(), ATTACK), **settings)
