"""The blocks that residual networks are made of; see `resnet18` and `wide_resnet` for the networks."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import keras

# PyTorch's defaults, which the public programs of these networks keep: a running mean takes 0.1 of each batch.
MOMENTUM, EPSILON = 0.9, 1e-5

Kernels = Iterator[keras.initializers.Initializer]


def convolve(x: Any, filters: int, size: int, stride: int, kernels: Kernels, name: str) -> Any:
    """A convolution without bias; a window of stride 2 is centered on the pixel that the 1x1 shortcut takes.

    That is PyTorch's padding (one pixel on each side). TensorFlow's "same" would put the odd pixel at the end alone and
    shift the branch against the shortcut by a pixel.
    """
    padding = "same" if stride == 1 else "valid"
    if stride > 1 and size > 1:
        x = keras.layers.ZeroPadding2D(size // 2, name=f"{name}_padding")(x)
    layer = keras.layers.Conv2D(
        filters, size, stride, padding, use_bias=False, kernel_initializer=next(kernels), name=name
    )
    return layer(x)


def normalize(x: Any, name: str) -> Any:
    """Batch normalization with PyTorch's momentum and epsilon; scale starts at 1, offset at 0."""
    return keras.layers.BatchNormalization(momentum=MOMENTUM, epsilon=EPSILON, name=name)(x)


def activate(x: Any, name: str) -> Any:
    """Batch normalization and ReLU."""
    return keras.layers.ReLU(name=f"{name}_relu")(normalize(x, name))


def basic_block(x: Any, filters: int, stride: int, kernels: Kernels, name: str) -> Any:
    """relu(shortcut(x) + BN(conv(relu(BN(conv(x)))))), He et al. 2016 (arXiv:1512.03385).

    The shortcut is x, or BN(1x1 convolution of x) where the shape changes.
    """
    branch = activate(convolve(x, filters, 3, stride, kernels, f"{name}_conv1"), f"{name}_bn1")
    branch = normalize(convolve(branch, filters, 3, 1, kernels, f"{name}_conv2"), f"{name}_bn2")
    if stride != 1 or x.shape[-1] != filters:
        x = normalize(convolve(x, filters, 1, stride, kernels, f"{name}_shortcut"), f"{name}_shortcut_bn")
    return keras.layers.ReLU(name=f"{name}_relu")(keras.layers.Add(name=f"{name}_add")([x, branch]))


def preactivation_block(x: Any, filters: int, stride: int, kernels: Kernels, name: str) -> Any:
    """shortcut(x) + conv(relu(BN(conv(relu(BN(x)))))), He et al. 2016 (arXiv:1603.05027).

    The shortcut is x, or a 1x1 convolution of relu(BN(x)) where the shape changes.
    """
    activated = activate(x, f"{name}_bn1")
    branch = activate(convolve(activated, filters, 3, stride, kernels, f"{name}_conv1"), f"{name}_bn2")
    branch = convolve(branch, filters, 3, 1, kernels, f"{name}_conv2")
    if stride != 1 or x.shape[-1] != filters:
        x = convolve(activated, filters, 1, stride, kernels, f"{name}_shortcut")
    return keras.layers.Add(name=f"{name}_add")([x, branch])


def classify(x: Any, classes: int, start: dict[str, Any]) -> Any:
    """Float32 logits of the mean over all pixels."""
    # Not in bfloat16, which would round a mean over 64 pixels to 8 bits.
    pooled = keras.layers.GlobalAveragePooling2D(name="pool", dtype="float32")(x)
    return keras.layers.Dense(classes, name="logits", dtype="float32", **start)(pooled)
