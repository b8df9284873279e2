"""The LeNets of "Adversarial robustness via label-smoothing", for MNIST and for CIFAR-10 and SVHN.

The paper names "LeNet" and states neither layers nor counts. What stands here is its authors' program
(github.com/MGoibert/Label_smoothing), initial weights (PyTorch's default) and preprocessing included.
"""

from __future__ import annotations

import keras

from tfadv.models import arguments, initial
from tfadv.models.normalization import normalization

# (side - 4) / 2, rounded down, after each of two convolutions with pooling must leave a pixel.
_SMALLEST = 16


def lenet_mnist(classes: int = 10, seed: int = 0, shape: tuple[int, int, int] = (28, 28, 1)) -> keras.Model:
    """Two 5x5 convolutions without padding (10, 20), each with 2x2 max-pooling, and 50 units; 21,840 parameters.

    In training, half of the second convolution's channels and half of the 50 units are dropped; pixels minus 1/2.

    Args:
        classes: number of logits.
        seed: seeds the initial weights and the dropout.
        shape: (height, width, channels) of an image, sides >= 16.

    Returns:
        A model from images [B, *shape] in [0, 1] to logits [B, classes], float32 under every precision policy.

    Raises:
        UserError: a shape or number of classes that does not fit.
    """
    arguments.check(shape, classes, smallest=_SMALLEST)
    layers, seeds = keras.layers, initial.numbers(seed)
    x = inputs = keras.Input(shape)
    for layer in normalization("centered"):
        x = layer(x)
    x = layers.Conv2D(10, 5, name="conv1", **initial.torch_default(25 * x.shape[-1], seeds))(x)
    x = layers.ReLU(name="relu1")(layers.MaxPooling2D(2, name="pool1")(x))
    x = layers.Conv2D(20, 5, name="conv2", **initial.torch_default(25 * x.shape[-1], seeds))(x)
    x = layers.SpatialDropout2D(0.5, seed=next(seeds), name="drop_channels")(x)
    x = layers.ReLU(name="relu2")(layers.MaxPooling2D(2, name="pool2")(x))
    x = layers.Flatten(name="flatten")(x)
    x = layers.Dense(50, activation="relu", name="dense1", **initial.torch_default(x.shape[-1], seeds))(x)
    x = layers.Dropout(0.5, seed=next(seeds), name="drop_units")(x)
    logits = layers.Dense(classes, name="logits", dtype="float32", **initial.torch_default(50, seeds))(x)
    return keras.Model(inputs, logits, name="lenet_mnist")


def lenet_cifar10(classes: int = 10, seed: int = 0, shape: tuple[int, int, int] = (32, 32, 3)) -> keras.Model:
    """Two 5x5 convolutions without padding (6, 16), each with 2x2 max-pooling, 120 and 84 units; 62,006 parameters.

    The same network for CIFAR-10 and SVHN; pixels are taken to [-1, 1].

    Args:
        classes: number of logits.
        seed: seeds the initial weights.
        shape: (height, width, channels) of an image, sides >= 16.

    Returns:
        A model from images [B, *shape] in [0, 1] to logits [B, classes], float32 under every precision policy.

    Raises:
        UserError: a shape or number of classes that does not fit.
    """
    arguments.check(shape, classes, smallest=_SMALLEST)
    layers, seeds = keras.layers, initial.numbers(seed)
    x = inputs = keras.Input(shape)
    for layer in normalization("signed"):
        x = layer(x)
    for number, filters in ((1, 6), (2, 16)):
        start = initial.torch_default(25 * x.shape[-1], seeds)
        x = layers.Conv2D(filters, 5, activation="relu", name=f"conv{number}", **start)(x)
        x = layers.MaxPooling2D(2, name=f"pool{number}")(x)
    x = layers.Flatten(name="flatten")(x)
    for number, units in ((1, 120), (2, 84)):
        start = initial.torch_default(x.shape[-1], seeds)
        x = layers.Dense(units, activation="relu", name=f"dense{number}", **start)(x)
    logits = layers.Dense(classes, name="logits", dtype="float32", **initial.torch_default(84, seeds))(x)
    return keras.Model(inputs, logits, name="lenet_cifar10")
