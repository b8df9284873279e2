"""Wide residual networks (Zagoruyko and Komodakis 2016, arXiv:1605.07146): WRN-16-8, WRN-28-10, WRN-34-10."""

from __future__ import annotations

import keras

from tfadv.models import arguments, initial, residual
from tfadv.models.normalization import normalization as normalizing
from tfadv.validation import UserError


def wide_resnet(
    depth: int,
    width: int,
    classes: int = 10,
    seed: int = 0,
    shape: tuple[int, int, int] = (32, 32, 3),
    *,
    normalization: str = "per_image",
) -> keras.Model:
    """WRN-depth-width: three groups of (depth - 4) / 6 pre-activation blocks with 16, 32 and 64 x width filters.

    Trainable parameters for ten classes: WRN-16-8 10,961,370; WRN-28-10 36,479,194; WRN-34-10 46,160,474, as in the
    public programs of TRADES (without the second first group that it builds and never calls) and of Feature Scatter.
    Theirs are also the start (kernels N(0, 2 / (height x width x output channels)); kernel of the logits PyTorch's
    default, their biases 0) and batch norm (momentum 0.9 in Keras' sense, epsilon 1e-5). No dropout. The papers' weight
    decay is 2e-4, in those programs (2e-4 / 2) w^2 on every parameter, batch norm's and biases included.

    Preprocessing: TRADES has "none", Feature Scatter "signed". AVmixup names WRN-34-10 and WRN-16-8; its authors'
    program (github.com/Saehyung-Lee/cifar10_challenge) runs `madry_cifar10`, which standardizes each image.

    Args:
        depth: 6 n + 4, convolutions on the longest way, 1x1 shortcuts counted.
        width: k, at least 1.
        classes: number of logits.
        seed: seeds the initial weights.
        shape: (height, width, channels) of an image.
        normalization: see `tfadv.models.normalization`.

    Returns:
        A model from images [B, *shape] in [0, 1] to logits [B, classes], float32 under every precision policy.

    Raises:
        UserError: a depth, width, shape, number of classes or normalization that is none.
    """
    blocks, rest = divmod(depth - 4, 6)
    if blocks < 1 or rest:
        raise UserError(f"depth must be 6 n + 4 with n >= 1 (10, 16, 22, 28, 34), got {depth}")
    if width < 1:
        raise UserError(f"width must be at least 1, got {width}")
    arguments.check(shape, classes, smallest=1)
    seeds = initial.numbers(seed)
    kernels = initial.he_kernels(seeds)
    x = inputs = keras.Input(shape)
    for layer in normalizing(normalization):
        x = layer(x)
    x = residual.convolve(x, 16, 3, 1, kernels, "stem")
    for group, filters in enumerate((16 * width, 32 * width, 64 * width), start=1):
        for number in range(1, blocks + 1):
            stride = 2 if group > 1 and number == 1 else 1
            x = residual.preactivation_block(x, filters, stride, kernels, f"group{group}_block{number}")
    x = residual.activate(x, "last_bn")
    start = {"kernel_initializer": next(initial.torch_kernels(seeds))}
    return keras.Model(inputs, residual.classify(x, classes, start), name=f"wrn_{depth}_{width}")
