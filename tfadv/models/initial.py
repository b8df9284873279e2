"""Seeded initial weights, as the sources' frameworks draw them."""

from __future__ import annotations

import itertools
from collections.abc import Iterator

import keras

# More than any network here has weights that are drawn, so that two seeds share none of their numbers.
_PER_NETWORK = 128


def numbers(seed: int) -> Iterator[int]:
    """Seeds for the weights of one network, one after the other; those of two networks do not meet."""
    return itertools.count(_PER_NETWORK * seed)


def torch_default(fan_in: int, seeds: Iterator[int]) -> dict[str, keras.initializers.Initializer]:
    """Arguments of a dense or convolution layer: kernel and bias ~ U(-b, b), b = 1 / sqrt(fan_in), PyTorch's default.

    Args:
        fan_in: inputs of one unit; kernel height x width x channels for a convolution.
        seeds: gives the next two numbers.
    """
    bound = fan_in**-0.5
    return {
        name: keras.initializers.RandomUniform(-bound, bound, seed=next(seeds))
        for name in ("kernel_initializer", "bias_initializer")
    }


def torch_kernels(seeds: Iterator[int]) -> Iterator[keras.initializers.Initializer]:
    """Kernels ~ U(-b, b), b = 1 / sqrt(fan_in): a variance of b^2 / 3, PyTorch's default without a bias."""
    return (keras.initializers.VarianceScaling(1 / 3, "fan_in", "uniform", seed=seed) for seed in seeds)


def he_kernels(seeds: Iterator[int]) -> Iterator[keras.initializers.Initializer]:
    """Kernels ~ N(0, 2 / (height x width x output channels)), not truncated: the wide residual networks' start."""
    return (keras.initializers.VarianceScaling(2.0, "fan_out", "untruncated_normal", seed=seed) for seed in seeds)
