"""The cheaper gradient is TensorFlow's gradient: for every padding, stride and size, or it is not used."""

import numpy as np
import pytest
import tensorflow as tf

from tfadv.attacks.input_gradient import cheaper_gradients, plain_gradients


def gradients(function, x, target):
    """(gradient with the overrides, TensorFlow's own) of sum(target * function(x)), and the operations of the first."""

    @tf.function(autograph=False)
    def cheap(x):
        with cheaper_gradients():
            total = tf.reduce_sum(target * function(x))
        return tf.gradients(total, x)[0]

    with tf.GradientTape() as tape:
        tape.watch(x)
        total = tf.reduce_sum(target * function(x))
    operations = {operation.type for operation in cheap.get_concrete_function(x).graph.get_operations()}
    return cheap(x).numpy(), tape.gradient(total, x).numpy(), operations


def random(*shape, seed=0):
    return tf.constant(np.random.default_rng(seed).normal(size=shape).astype(np.float32))


@pytest.mark.parametrize("padding", ["SAME", "VALID"])
@pytest.mark.parametrize(
    ("size", "channels", "side", "stride"),
    [
        (28, 1, 5, 1),
        (28, 1, 5, 2),
        (12, 1, 3, 1),
        (32, 3, 3, 1),
        (32, 3, 3, 2),
        (12, 2, 4, 3),
        (8, 1, 8, 1),
        (8, 4, 2, 2),
    ],
)
def test_a_first_convolution_is_computed_in_blocks_with_the_same_result(size, channels, side, stride, padding):
    x, kernel = random(2, size, size, channels), random(side, side, channels, 6, seed=1)
    target = random(*tf.nn.conv2d(x, kernel, stride, padding).shape, seed=2)
    got, expected, operations = gradients(lambda x: tf.nn.conv2d(x, kernel, stride, padding), x, target)
    np.testing.assert_allclose(got, expected, atol=1e-4)
    assert "Conv2DBackpropInput" not in operations


@pytest.mark.parametrize("shape", [(8, 12), (16, 8)])
def test_height_and_width_are_told_apart(shape):
    x, kernel = random(2, *shape, 1), random(3, 5, 1, 4, seed=1)
    target = random(*tf.nn.conv2d(x, kernel, 1, "SAME").shape, seed=2)
    got, expected, _ = gradients(lambda x: tf.nn.conv2d(x, kernel, 1, "SAME"), x, target)
    np.testing.assert_allclose(got, expected, atol=1e-4)


@pytest.mark.parametrize(
    ("size", "channels", "kernel", "options"),
    [
        (8, 8, (3, 3, 8, 4), {"strides": 1, "padding": "SAME"}),  # Enough channels already.
        (9, 1, (3, 3, 1, 4), {"strides": 1, "padding": "SAME"}),  # No block divides the image.
        (8, 1, (3, 3, 1, 4), {"strides": 1, "padding": "SAME", "dilations": 2}),
        (8, 1, (3, 3, 1, 4), {"strides": 1, "padding": [[0, 0], [1, 1], [2, 0], [0, 0]]}),
        (8, 1, (1, 1, 1, 4), {"strides": 2, "padding": "VALID"}),  # Pixels between the taps.
        (8, 4, (3, 3, 2, 4), {"strides": 1, "padding": "SAME"}),  # Two groups.
    ],
)
def test_other_convolutions_keep_their_gradient(size, channels, kernel, options):
    x, kernel = random(2, size, size, channels), random(*kernel, seed=1)
    target = random(*tf.nn.conv2d(x, kernel, **options).shape, seed=2)
    got, expected, operations = gradients(lambda x: tf.nn.conv2d(x, kernel, **options), x, target)
    np.testing.assert_allclose(got, expected, atol=1e-5)
    assert "Conv2DBackpropInput" in operations


def test_outside_the_block_nothing_is_overridden():
    x, kernel = random(2, 8, 8, 1), random(3, 3, 1, 4, seed=1)

    @tf.function(autograph=False)
    def plain(x):
        with cheaper_gradients():
            pass
        return tf.gradients(tf.nn.conv2d(x, kernel, 1, "SAME"), x)[0]

    operations = {operation.type for operation in plain.get_concrete_function(x).graph.get_operations()}
    assert "Conv2DBackpropInput" in operations


def test_where_plain_gradients_are_asked_for_they_are_given():
    x, kernel = random(2, 8, 8, 1), random(3, 3, 1, 4, seed=1)
    target = random(2, 8, 8, 4, seed=2)
    with plain_gradients():
        _, _, operations = gradients(lambda x: tf.nn.conv2d(x, kernel, 1, "SAME"), x, target)
    assert "Conv2DBackpropInput" in operations
    _, _, operations = gradients(lambda x: tf.nn.conv2d(x, kernel, 1, "SAME"), x, target)
    assert "Conv2DBackpropInput" not in operations
