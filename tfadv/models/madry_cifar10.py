"""The CIFAR-10 network of Madry et al. 2018 (arXiv:1706.06083, cifar10_challenge): "w32-10 wide"."""

from __future__ import annotations

from typing import Any

import keras

from tfadv.models import arguments, initial, residual
from tfadv.models.normalization import normalization
from tfadv.validation import UserError

_LEAK = 0.1


def madry_cifar10(
    classes: int = 10,
    seed: int = 0,
    shape: tuple[int, int, int] = (32, 32, 3),
    *,
    width: int = 10,
    units: int = 5,
    epsilon: float = 1e-3,
) -> keras.Model:
    """A wide residual network without shortcut parameters, leaky ReLU, standardized images; 45,901,914 parameters.

    The layers of WRN-34-10 but for its three 1x1 shortcuts (258,560 parameters), in whose place the shortcut is
    averaged over 2x2 pixels and padded with zero channels on both sides: so 32 convolutions and dense layers, and the
    name. Also unlike WRN: leaky ReLU of slope 0.1, the first unit's shortcut starts behind batch norm and ReLU and the
    others' before them, and TensorFlow's "same" padding. Batch norm has momentum 0.9. Kernels start at N(0, 2 /
    (9 x output channels)), the logits at U(-b, b), b = sqrt(3 / inputs), biases at 0, as published. Weight decay 2e-4
    there means (2e-4 / 2) w^2 on the kernels, the logits' included, not on batch norm.

    It is the network behind "ResNet" and "the architecture of Madry et al." in "Theoretical and empirical study of
    adversarial examples" and "Label smoothing and logit squeezing", "W32-10" in "Adversarial training versus weight
    decay", and, with epsilon=1e-5, what AVmixup's published program runs where the paper names WRN-34-10.

    Args:
        classes: number of logits.
        seed: seeds the initial weights.
        shape: (height, width, channels) of an image, sides multiples of 4.
        width: filters are 16, 32 and 64 times this number.
        units: residual units in each of the three groups.
        epsilon: of batch norm; cifar10_challenge has TensorFlow's default, 1e-3.

    Returns:
        A model from images [B, *shape] in [0, 1] to logits [B, classes], float32 under every precision policy.

    Raises:
        UserError: a shape, number of classes, width or number of units that is none.
    """
    arguments.check(shape, classes, smallest=4, multiple=4)
    if min(width, units) < 1:
        raise UserError(f"width and units must be at least 1, got width={width}, units={units}")
    layers, seeds = keras.layers, initial.numbers(seed)
    kernels = initial.he_kernels(seeds)

    def convolve(x: Any, filters: int, stride: int, name: str) -> Any:
        layer = layers.Conv2D(filters, 3, stride, "same", use_bias=False, kernel_initializer=next(kernels), name=name)
        return layer(x)

    def activate(x: Any, name: str) -> Any:
        x = layers.BatchNormalization(momentum=0.9, epsilon=epsilon, name=name)(x)
        return layers.LeakyReLU(_LEAK, name=f"{name}_relu")(x)

    def unit(x: Any, filters: int, stride: int, first: bool, name: str) -> Any:
        activated = activate(x, f"{name}_bn1")
        branch = activate(convolve(activated, filters, stride, f"{name}_conv1"), f"{name}_bn2")
        branch = convolve(branch, filters, 1, f"{name}_conv2")
        shortcut = activated if first else x
        if stride > 1:
            shortcut = layers.AveragePooling2D(stride, name=f"{name}_pool")(shortcut)
        missing = filters - shortcut.shape[-1]
        if missing:
            shortcut = keras.ops.pad(shortcut, [[0, 0], [0, 0], [0, 0], [missing // 2, missing // 2]])
        return layers.Add(name=f"{name}_add")([shortcut, branch])

    x = inputs = keras.Input(shape)
    for layer in normalization("per_image"):
        x = layer(x)
    x = convolve(x, 16, 1, "stem")
    for group, filters in enumerate((16 * width, 32 * width, 64 * width), start=1):
        for number in range(1, units + 1):
            stride = 2 if group > 1 and number == 1 else 1
            x = unit(x, filters, stride, group == number == 1, f"group{group}_unit{number}")
    start = {"kernel_initializer": keras.initializers.VarianceScaling(1.0, "fan_in", "uniform", seed=next(seeds))}
    return keras.Model(inputs, residual.classify(activate(x, "last_bn"), classes, start), name="madry_cifar10")
