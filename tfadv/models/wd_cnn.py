"""The small convolutional network of "Adversarial training versus weight decay", table 1."""

from __future__ import annotations

import keras
import numpy as np

from tfadv.models import arguments, initial
from tfadv.validation import UserError


def wd_cnn(
    classes: int = 10, seed: int = 0, shape: tuple[int, int, int] = (32, 32, 3), *, filters: int = 32
) -> keras.Model:
    """Three convolutions (8x8/2, 6x6/2, 5x5/1) and logits, ReLU, no biases; 184,832 parameters, printed as 184.8k.

    6,144 + 73,728 + 102,400 + 2,560. The table gives 256 inputs to the last layer and no padding; SAME, VALID, VALID
    is what the authors' program has (github.com/uoguelph-mlrg/adversarial_training_vs_weight_decay) and the only one
    that fits: 32 -> 16 -> 6 -> 2 pixels, and 2 x 2 x 64 = 256. Without biases, scaling every kernel by c scales the
    logits by c^4 (section 5.1). Initial weights as in that program: a random direction of length 1 for each unit (all
    weights that go into it), truncated normal for the convolutions and normal for the logits. Pixels stay in [0, 1].

    The paper trains it with Adam at 1e-3, batches of 128, 250 epochs, and weight decay 1e-3 or 0 ("CNN-L2", "CNN").

    Args:
        classes: number of logits.
        seed: seeds the initial weights.
        shape: (height, width, channels) of an image, sides >= 27 (5 pixels for the last window).
        filters: of the first convolution; the others have twice as many. The paper has 32, and tried 64.

    Returns:
        A model from images [B, *shape] in [0, 1] to logits [B, classes], float32 under every precision policy.

    Raises:
        UserError: a shape, number of classes or filters that does not fit.
    """
    arguments.check(shape, classes, smallest=27)
    if filters < 1:
        raise UserError(f"filters must be at least 1, got {filters}")
    layers, seeds = keras.layers, initial.numbers(seed)

    def convolution(number: int, count: int, size: int, stride: int, padding: str) -> keras.layers.Layer:
        start = keras.initializers.TruncatedNormal(stddev=0.1, seed=next(seeds))
        return layers.Conv2D(
            count,
            size,
            stride,
            padding,
            activation="relu",
            use_bias=False,
            kernel_initializer=start,
            name=f"conv{number}",
        )

    start = keras.initializers.RandomNormal(stddev=1.0, seed=next(seeds))
    model = keras.Sequential(
        [
            layers.Input(shape),
            convolution(1, filters, 8, 2, "same"),
            convolution(2, 2 * filters, 6, 2, "valid"),
            convolution(3, 2 * filters, 5, 1, "valid"),
            layers.Flatten(name="flatten"),
            layers.Dense(classes, use_bias=False, kernel_initializer=start, name="logits", dtype="float32"),
        ],
        name="wd_cnn",
    )
    # Not a Keras initializer of our own: a file of this model then loads where tfadv is not installed.
    model.set_weights([_unit_norm(kernel) for kernel in model.get_weights()])
    return model


def _unit_norm(kernel: np.ndarray) -> np.ndarray:
    """A kernel [..., units] whose weights into each unit have length 1 (up to the program's 1e-7)."""
    return kernel / np.sqrt(1e-7 + np.square(kernel).sum(axis=tuple(range(kernel.ndim - 1)), keepdims=True))
