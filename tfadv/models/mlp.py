"""A multilayer perceptron, for MNIST and for data in the plane."""

from __future__ import annotations

import math
from collections.abc import Sequence

import keras

from tfadv.models import arguments, initial
from tfadv.models.normalization import normalization as normalizing
from tfadv.validation import UserError


def mlp(
    classes: int = 10,
    seed: int = 0,
    shape: tuple[int, ...] = (28, 28, 1),
    *,
    widths: Sequence[int] = (500, 256),
    normalization: str = "centered",
) -> keras.Model:
    """Dense ReLU layers and logits; 523,326 parameters for MNIST.

    "Adversarial robustness via label-smoothing" names an MLP without its size. The defaults are those of its authors'
    program (github.com/MGoibert/Label_smoothing): 500 and 256 units, pixels minus 1/2, PyTorch's default initial
    weights; there it runs under the name "Linear", as in the paper's tables 2 to 6. For the two moons of figure 4a
    nothing is stated or published: `mlp(2, shape=(2,), widths=(100, 100), normalization="none")` is a guess.

    Args:
        classes: number of logits.
        seed: seeds the initial weights.
        shape: of one input, of any rank.
        widths: units of the hidden layers, from the input on; none gives a linear classifier.
        normalization: see `tfadv.models.normalization`; "none" for inputs that are no images.

    Returns:
        A model from inputs [B, *shape] to logits [B, classes], float32 under every precision policy.

    Raises:
        UserError: a shape, width, number of classes or normalization that is none.
    """
    arguments.check(shape, classes)
    if any(width < 1 for width in widths):
        raise UserError(f"widths must be at least 1 unit each, got {tuple(widths)}")
    layers, seeds = keras.layers, initial.numbers(seed)
    hidden = [
        layers.Dense(width, activation="relu", name=f"dense{number}", **initial.torch_default(fan_in, seeds))
        for number, (fan_in, width) in enumerate(zip([math.prod(shape), *widths], widths, strict=False), start=1)
    ]
    start = initial.torch_default([math.prod(shape), *widths][-1], seeds)
    return keras.Sequential(
        [
            layers.Input(shape),
            *normalizing(normalization),
            layers.Flatten(name="flatten"),
            *hidden,
            layers.Dense(classes, name="logits", dtype="float32", **start),
        ],
        name="mlp",
    )
