"""Weights and perturbations as pictures: the very numbers, at one scale with zero in gray."""

import keras
import numpy as np
import pytest

from tfadv import models
from tfadv.analysis.pictures import first_weights, perturbations
from tfadv.validation import UserError


def test_filters_of_a_convolution_are_shown_in_color_and_order():
    """WD figure 13: filters that weight decay took to zero are gray, 0, among the others."""
    net = models.wd_cnn()
    kernel = np.array(net.get_layer("conv1").kernel)
    kernel[..., 3] = 0
    net.get_layer("conv1").kernel.assign(kernel)
    shown = first_weights(net)
    assert shown.images.shape == (32, 8, 8, 3)
    assert shown.bounds is None
    np.testing.assert_array_equal(shown.images[5], kernel[..., 5])
    np.testing.assert_array_equal(shown.images[3], 0)
    assert shown.labels[5] == "5"
    assert f"{np.abs(kernel).max():.3g}" in shown.title
    np.testing.assert_array_equal(first_weights(net, limit=2).images, shown.images[:2])


def test_weights_of_a_linear_model_are_the_gradients_of_its_logits():
    net = models.linear(3, shape=(4, 5, 1))
    shown = first_weights(net)
    kernel = np.array(net.get_layer("logits").kernel)
    assert shown.images.shape == (3, 4, 5, 1)
    np.testing.assert_array_equal(shown.images[1].ravel(), kernel[:, 1])


def test_weights_of_logistic_regression_are_one_picture():
    weights = np.random.default_rng(0).random((28, 28, 1), np.float32)
    np.testing.assert_array_equal(first_weights(models.logistic_regression(weights=weights)).images, [weights])


def test_nested_models_are_opened_and_flat_inputs_get_a_shape():
    inner = keras.Sequential([keras.Input((12,)), keras.layers.Rescaling(2.0), keras.layers.Dense(2)])
    net = keras.Sequential([keras.Input((12,)), inner])
    shown = first_weights(net, shape=(2, 2, 3))
    np.testing.assert_array_equal(shown.images[1].ravel(), np.array(inner.layers[-1].kernel)[:, 1])


def test_other_numbers_of_channels_are_averaged():
    conv = keras.layers.Conv2D(4, 3)
    net = keras.Sequential([keras.Input((8, 8, 2)), conv])
    np.testing.assert_allclose(first_weights(net).images[1, ..., 0], np.array(conv.kernel)[..., 1].mean(axis=-1))


def test_perturbations_are_differences():
    x = np.full((2, 2, 2, 1), 0.5, np.float32)
    x_adv = x + np.array([0.25, -0.125], np.float32)[:, None, None, None]
    shown = perturbations(x, x_adv, labels=("a", 7))
    np.testing.assert_array_equal(shown.images[:, 0, 0, 0], [0.25, -0.125])
    assert shown.labels == ("a", "7")
    assert shown.title.endswith("gray is 0, black and white are -0.25 and 0.25.")
    assert perturbations(x, x).labels == ("0", "1")


def test_what_does_not_fit_is_refused():
    flat = keras.Sequential([keras.Input((12,)), keras.layers.Dense(2)])
    with pytest.raises(UserError, match=r"as many values as layer .* has inputs, 12, got \(12,\)"):
        first_weights(flat)
    with pytest.raises(UserError, match="Conv2D or Dense"):
        first_weights(keras.Sequential([keras.Input((2,)), keras.layers.Flatten()]))
    with pytest.raises(UserError, match="Conv2D or Dense layer, got function"):
        first_weights(lambda x: x)
    with pytest.raises(UserError, match="limit"):
        first_weights(flat, limit=0)
    x = np.zeros((2, 2, 2, 1), np.float32)
    with pytest.raises(UserError, match="one shape"):
        perturbations(x, x[:1])
    with pytest.raises(UserError, match="one for each of the 2"):
        perturbations(x, x, labels=("a",))
