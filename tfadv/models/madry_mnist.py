"""The MNIST network of Madry et al. 2018 (arXiv:1706.06083, mnist_challenge)."""

from __future__ import annotations

import keras

from tfadv.models import arguments


def madry_mnist(classes: int = 10, seed: int = 0, shape: tuple[int, int, int] = (28, 28, 1)) -> keras.Model:
    """Two 5x5 convolutions (32, 64), each with 2x2 max-pooling, and a dense layer of 1,024; 3,274,634 parameters.

    Args:
        classes: number of logits.
        seed: seeds the initial weights (truncated normal of standard deviation 0.1, biases 0.1, as in mnist_challenge).
        shape: (height, width, channels) of an image, sides >= 4.

    Returns:
        A model from images [B, *shape] in [0, 1] to logits [B, classes], float32 under every precision policy.

    Raises:
        UserError: a shape or number of classes that does not fit.
    """
    arguments.check(shape, classes, smallest=4)
    layers = keras.layers

    def started(number: int) -> dict:
        return {
            "kernel_initializer": keras.initializers.TruncatedNormal(stddev=0.1, seed=seed * 16 + number),
            "bias_initializer": keras.initializers.Constant(0.1),
        }

    return keras.Sequential(
        [
            layers.Input(shape),
            layers.Conv2D(32, 5, padding="same", activation="relu", name="conv1", **started(0)),
            layers.MaxPooling2D(2, name="pool1"),
            layers.Conv2D(64, 5, padding="same", activation="relu", name="conv2", **started(1)),
            layers.MaxPooling2D(2, name="pool2"),
            layers.Flatten(name="flatten"),
            layers.Dense(1024, activation="relu", name="dense1", **started(2)),
            # Logits stay float32 under mixed policies: their small differences are what a loss and an attack see.
            layers.Dense(classes, name="logits", dtype="float32", **started(3)),
        ],
        name="madry_mnist",
    )
