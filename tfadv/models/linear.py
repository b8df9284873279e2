"""A linear classifier: what every closed form about attacks is stated for."""

from __future__ import annotations

import keras

from tfadv.models import arguments, initial


def linear(classes: int = 10, seed: int = 0, shape: tuple[int, ...] = (28, 28, 1)) -> keras.Model:
    """logits = W x + b of the flattened input; 7,850 parameters for MNIST.

    The "one-layer linear classifiers" of "Adversarial robustness via label-smoothing", figure 4b. That paper's "MNIST
    Linear" of tables 2 to 6 is another network: its text and its authors' program train the `mlp`. The initial weights
    are PyTorch's default, which that program uses; a linear model needs no normalization, which b takes up.

    Args:
        classes: number of logits.
        seed: seeds the initial weights.
        shape: of one input, of any rank.

    Returns:
        A model from inputs [B, *shape] to logits [B, classes], float32 under every precision policy.

    Raises:
        UserError: a shape or number of classes that is none.
    """
    arguments.check(shape, classes)
    inputs = keras.Input(shape)
    features = keras.layers.Flatten(name="flatten")(inputs)
    start = initial.torch_default(features.shape[-1], initial.numbers(seed))
    logits = keras.layers.Dense(classes, name="logits", dtype="float32", **start)(features)
    return keras.Model(inputs, logits, name="linear")
