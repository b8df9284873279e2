"""The multilayer perceptron: size, what it computes, inputs in the plane."""

import numpy as np
import pytest

from tfadv.models import MODELS, mlp
from tfadv.validation import UserError

IMAGES = np.random.default_rng(0).random([3, 4, 4, 1], np.float32)


def test_it_has_the_layers_of_the_published_program():
    """784 * 500 + 500 + 500 * 256 + 256 + 256 * 10 + 10 = 392,500 + 128,256 + 2,570."""
    assert MODELS["mlp"] is mlp
    assert mlp().count_params() == 392_500 + 128_256 + 2_570


def test_it_is_relu_of_dense_layers_on_centered_pixels():
    model = mlp(classes=2, shape=(4, 4, 1), widths=(6, 5))
    w1, b1, w2, b2, w3, b3 = model.get_weights()
    hidden = np.maximum((IMAGES.reshape(3, -1) - 0.5) @ w1 + b1, 0)
    hidden = np.maximum(hidden @ w2 + b2, 0)
    np.testing.assert_allclose(model(IMAGES), hidden @ w3 + b3, atol=1e-6)


def test_points_of_the_plane_go_in_as_they_are():
    model = mlp(classes=2, shape=(2,), widths=(7,), normalization="none")
    x = np.array([[0.5, -3.0]], np.float32)
    w1, b1, w2, b2 = model.get_weights()
    np.testing.assert_allclose(model(x), np.maximum(x @ w1 + b1, 0) @ w2 + b2, atol=1e-6)


def test_each_layer_starts_by_its_own_number_of_inputs():
    """U(-b, b) with b = 1 / sqrt(inputs): 784, 500, 256; the largest of thousands of draws is close to b."""
    for kernel, inputs in zip(mlp().get_weights()[::2], (784, 500, 256), strict=True):
        assert 0.99 * inputs**-0.5 < np.abs(kernel).max() <= inputs**-0.5


def test_without_hidden_layers_it_is_linear():
    model = mlp(classes=3, shape=(2,), widths=(), normalization="none")
    w, b = model.get_weights()
    np.testing.assert_allclose(model(np.eye(2, dtype=np.float32)), w + b, atol=1e-6)
    assert np.abs(w).max() <= 2**-0.5


def test_a_layer_without_units_is_refused():
    with pytest.raises(UserError, match=r"widths must be at least 1 unit each, got \(5, 0\)"):
        mlp(widths=(5, 0))
