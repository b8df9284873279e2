"""The network of cifar10_challenge: size, and a small one of its kind against the formula of the public program."""

import math

import numpy as np
import pytest
import tensorflow as tf

from tfadv.models import MODELS, madry_cifar10
from tfadv.validation import UserError

RNG = np.random.default_rng(0)
IMAGES = RNG.random([2, 8, 8, 3], np.float32)


def test_it_is_wrn_34_10_without_the_three_shortcuts():
    """46,160,474 - (16 * 160 + 160 * 320 + 320 * 640) = 46,160,474 - 258,560."""
    model = MODELS["wrn_32_10"]()
    assert MODELS["wrn_32_10"] is madry_cifar10
    assert sum(math.prod(variable.shape) for variable in model.trainable_variables) == 45_901_914
    kernels = [weight for weight in model.weights if weight.path.endswith("kernel")]
    assert len(kernels) == 32  # the name's 32: the stem, 30 convolutions and the logits


def test_logits_are_the_formula_of_the_public_program():
    """Written out with TensorFlow's functions for two units a group and width 2."""
    model = madry_cifar10(classes=4, shape=(8, 8, 3), width=2, units=2)
    for weight in model.weights:
        positive = "variance" in weight.path or "gamma" in weight.path
        weight.assign(RNG.uniform(0.5 if positive else -0.3, 1.5 if positive else 0.3, weight.shape))

    def conv(x, name, stride=1):
        return tf.nn.conv2d(x, model.get_layer(name).kernel, stride, "SAME")

    def activated(x, name):
        layer = model.get_layer(name)
        x = (x - layer.moving_mean) / tf.sqrt(layer.moving_variance + 1e-3) * layer.gamma + layer.beta
        return tf.where(x < 0, 0.1 * x, x)

    x = conv(tf.image.per_image_standardization(255 * IMAGES), "stem")
    for group, filters in ((1, 32), (2, 64), (3, 128)):
        for unit in (1, 2):
            name, stride = f"group{group}_unit{unit}", 2 if group > 1 and unit == 1 else 1
            shortcut, before = x, x.shape[-1]
            x = activated(x, f"{name}_bn1")
            if group == unit == 1:
                shortcut = x
            x = conv(activated(conv(x, f"{name}_conv1", stride), f"{name}_bn2"), f"{name}_conv2")
            if before != filters:
                shortcut = tf.nn.avg_pool(shortcut, stride, stride, "VALID")
                margin = (filters - before) // 2
                shortcut = tf.pad(shortcut, [[0, 0], [0, 0], [0, 0], [margin, margin]])
            x += shortcut
    x = tf.reduce_mean(activated(x, "last_bn"), [1, 2])
    kernel, bias = model.get_layer("logits").get_weights()
    expected = (x @ kernel + bias).numpy()
    np.testing.assert_allclose(model(IMAGES, training=False), expected, atol=1e-4 * np.abs(expected).max())


def test_kernels_start_by_their_fan_out_and_logits_within_their_bound():
    """sqrt(2 / (9 * 128)), and sqrt(3 / 128) for the logits."""
    model = madry_cifar10(width=2, units=1)
    assert np.std(model.get_layer("group3_unit1_conv2").kernel) == pytest.approx(math.sqrt(2 / (9 * 128)), rel=0.02)
    kernel, bias = model.get_layer("logits").get_weights()
    assert 0.95 * math.sqrt(3 / 128) < np.abs(kernel).max() <= math.sqrt(3 / 128)
    assert not bias.any()


def test_batch_norm_has_the_momentum_and_epsilon_of_its_source():
    layer = madry_cifar10(width=1, units=1).get_layer("last_bn")
    assert (layer.momentum, layer.epsilon) == (0.9, 1e-3)
    assert madry_cifar10(width=1, units=1, epsilon=1e-5).get_layer("last_bn").epsilon == 1e-5


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"shape": (30, 32, 3)}, "multiples of 4"),
        ({"width": 0}, "width and units must be at least 1, got width=0, units=5"),
        ({"units": 0}, "got width=10, units=0"),
    ],
)
def test_arguments_that_do_not_fit_are_refused(arguments, message):
    with pytest.raises(UserError, match=message):
        madry_cifar10(**arguments)
