"""Residual blocks against their formulas, with batch norm in inference mode written out."""

import itertools

import keras
import numpy as np
import pytest
import tensorflow as tf

from tfadv.models import residual

RNG = np.random.default_rng(0)
X = RNG.normal(size=[2, 8, 6, 4]).astype(np.float32)


def built(block, filters, stride):
    """The block as a model, with random weights and statistics."""
    inputs = keras.Input(X.shape[1:])
    kernels = (keras.initializers.GlorotUniform(seed=number) for number in itertools.count())
    model = keras.Model(inputs, block(inputs, filters, stride, kernels, "block"))
    for weight in model.weights:
        low = 0.5 if "variance" in weight.path or "gamma" in weight.path else -1.0
        weight.assign(RNG.uniform(low, 1.5, weight.shape))
    return model


def norm(model, name, x):
    layer = model.get_layer(f"block_{name}")
    scale = layer.gamma / tf.sqrt(layer.moving_variance + 1e-5)
    return (x - layer.moving_mean) * scale + layer.beta


def conv(model, name, x, stride):
    """PyTorch's padding=1 for 3x3, padding=0 for 1x1."""
    kernel = model.get_layer(f"block_{name}").kernel
    margin = kernel.shape[0] // 2
    padded = np.pad(x, [[0, 0], [margin, margin], [margin, margin], [0, 0]])
    return tf.nn.conv2d(padded, kernel, stride, "VALID")


@pytest.mark.parametrize(("filters", "stride"), [(4, 1), (6, 1), (6, 2), (4, 2)])
def test_a_basic_block_is_its_formula(filters, stride):
    model = built(residual.basic_block, filters, stride)
    branch = tf.nn.relu(norm(model, "bn1", conv(model, "conv1", X, stride)))
    branch = norm(model, "bn2", conv(model, "conv2", branch, 1))
    same = filters == 4 and stride == 1
    shortcut = X if same else norm(model, "shortcut_bn", conv(model, "shortcut", X, stride))
    np.testing.assert_allclose(model(X, training=False), tf.nn.relu(shortcut + branch), atol=1e-4)
    assert len(model.trainable_variables) == (6 if same else 9)


@pytest.mark.parametrize(("filters", "stride"), [(4, 1), (6, 1), (6, 2), (4, 2)])
def test_a_preactivation_block_is_its_formula(filters, stride):
    model = built(residual.preactivation_block, filters, stride)
    activated = tf.nn.relu(norm(model, "bn1", X))
    branch = tf.nn.relu(norm(model, "bn2", conv(model, "conv1", activated, stride)))
    same = filters == 4 and stride == 1
    shortcut = X if same else conv(model, "shortcut", activated, stride)
    expected = shortcut + conv(model, "conv2", branch, 1)
    np.testing.assert_allclose(model(X, training=False), expected, atol=1e-4)
    assert len(model.trainable_variables) == (6 if same else 7)


def test_a_strided_window_is_centered_on_the_pixel_of_the_shortcut():
    """A kernel that is 1 in its middle takes the pixels 0, 2, 4, ... as a 1x1 convolution of stride 2 does."""
    inputs = keras.Input((8, 6, 1))
    middle = np.zeros([3, 3, 1, 1], np.float32)
    middle[1, 1] = 1
    model = keras.Model(inputs, residual.convolve(inputs, 1, 3, 2, iter([keras.initializers.Zeros()]), "conv"))
    model.set_weights([middle])
    np.testing.assert_array_equal(model(X[..., :1]), X[:, ::2, ::2, :1])


def test_a_running_mean_takes_a_tenth_of_each_batch():
    inputs = keras.Input((1, 1, 1))
    model = keras.Model(inputs, residual.normalize(inputs, "bn"))
    model(np.full([4, 1, 1, 1], 3.0, np.float32), training=True)
    assert float(model.get_layer("bn").moving_mean[0]) == pytest.approx(0.3)
    assert float(model.get_layer("bn").moving_variance[0]) == pytest.approx(0.9)


def test_logits_are_a_dense_layer_of_the_mean_over_pixels():
    inputs = keras.Input((8, 6, 4))
    model = keras.Model(inputs, residual.classify(inputs, 3, {"bias_initializer": "ones"}))
    kernel, bias = model.get_weights()
    np.testing.assert_allclose(model(X), X.mean(axis=(1, 2)) @ kernel + bias, atol=1e-5)
    assert bias.tolist() == [1.0, 1.0, 1.0]
