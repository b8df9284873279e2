"""ResNet-18 and PreActResNet-18 for small images: 3x3 stem of stride 1, no pooling before the blocks.

As in github.com/kuangliu/pytorch-cifar, where both have this shape: 64, 128, 256 and 512 filters, two blocks each.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import keras

from tfadv.models import arguments, initial, residual
from tfadv.models.normalization import normalization as normalizing


def resnet18(
    classes: int = 10, seed: int = 0, shape: tuple[int, int, int] = (32, 32, 3), *, normalization: str = "signed"
) -> keras.Model:
    """ResNet-18 with the CIFAR stem (He et al. 2016, arXiv:1512.03385); 11,173,962 trainable parameters.

    "Adversarial robustness via label-smoothing" names ResNet18; its authors' program (github.com/MGoibert/
    Label_smoothing) has this network, on pixels taken to [-1, 1]. Initial weights, batch norm's momentum (a running
    mean takes 0.1 of a batch) and epsilon (1e-5) are PyTorch's defaults there. Departure: running variances are
    Keras', of the batch as it is, where PyTorch multiplies by n / (n - 1).

    Args:
        classes: number of logits.
        seed: seeds the initial weights.
        shape: (height, width, channels) of an image.
        normalization: see `tfadv.models.normalization`.

    Returns:
        A model from images [B, *shape] in [0, 1] to logits [B, classes], float32 under every precision policy.

    Raises:
        UserError: a shape, number of classes or normalization that is none.
    """

    def stem(x: Any, kernels: residual.Kernels) -> Any:
        return residual.activate(residual.convolve(x, 64, 3, 1, kernels, "stem"), "stem_bn")

    return _resnet18("resnet18", classes, seed, shape, normalization, stem, residual.basic_block)


def preact_resnet18(
    classes: int = 10, seed: int = 0, shape: tuple[int, int, int] = (32, 32, 3), *, normalization: str = "per_image"
) -> keras.Model:
    """PreActResNet-18 with the CIFAR stem (He et al. 2016, arXiv:1603.05027); 11,171,146 trainable parameters.

    AVmixup's network for Tiny ImageNet, `preact_resnet18(200, shape=(64, 64, 3))`. That count is of the network without
    batch norm and ReLU between the last block and the mean over pixels, as in pytorch-cifar; AVmixup states no count.
    Assumed: its preprocessing (its authors' CIFAR-10 program standardizes each image) and the mean over all 8x8 pixels
    that 64x64 images leave. For the rest see `resnet18`.

    Args:
        classes: number of logits.
        seed: seeds the initial weights.
        shape: (height, width, channels) of an image.
        normalization: see `tfadv.models.normalization`.

    Returns:
        A model from images [B, *shape] in [0, 1] to logits [B, classes], float32 under every precision policy.

    Raises:
        UserError: a shape, number of classes or normalization that is none.
    """

    def stem(x: Any, kernels: residual.Kernels) -> Any:
        return residual.convolve(x, 64, 3, 1, kernels, "stem")

    return _resnet18("preact_resnet18", classes, seed, shape, normalization, stem, residual.preactivation_block)


def _resnet18(
    name: str,
    classes: int,
    seed: int,
    shape: tuple[int, int, int],
    normalization: str,
    stem: Callable[[Any, residual.Kernels], Any],
    block: Callable[..., Any],
) -> keras.Model:
    arguments.check(shape, classes, smallest=1)
    seeds = initial.numbers(seed)
    kernels = initial.torch_kernels(seeds)
    x = inputs = keras.Input(shape)
    for layer in normalizing(normalization):
        x = layer(x)
    x = stem(x, kernels)
    for group, filters in enumerate((64, 128, 256, 512), start=1):
        for number in (1, 2):
            stride = 2 if group > 1 and number == 1 else 1
            x = block(x, filters, stride, kernels, f"group{group}_block{number}")
    return keras.Model(inputs, residual.classify(x, classes, initial.torch_default(512, seeds)), name=name)
