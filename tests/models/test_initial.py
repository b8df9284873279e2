"""Initial weights: the distributions of the sources, and one stream of numbers for each seed."""

import itertools
import math

import numpy as np
import pytest

from tfadv.models import initial


def test_the_numbers_of_two_seeds_do_not_meet():
    """The deepest network here, WRN-34-10, draws 35 kernels."""
    first, second = (set(itertools.islice(initial.numbers(seed), 100)) for seed in (3, 4))
    assert len(first) == 100
    assert first.isdisjoint(second)


def test_kernel_and_bias_start_as_pytorchs():
    """U(-b, b) with b = 1 / sqrt(100) has standard deviation b / sqrt(3) = 0.0577; the two are different draws."""
    start = initial.torch_default(100, initial.numbers(0))
    assert set(start) == {"kernel_initializer", "bias_initializer"}
    kernel, bias = (np.asarray(draw((100, 500))) for draw in start.values())
    for values in (kernel, bias):
        assert np.abs(values).max() <= 0.1
        assert values.std() == pytest.approx(0.1 / math.sqrt(3), rel=0.01)
    assert not np.array_equal(kernel, bias)


def test_kernels_without_bias_start_in_the_same_range():
    """A 5x5 convolution of 4 channels has 100 inputs."""
    kernels = initial.torch_kernels(initial.numbers(0))
    first, second = (np.asarray(next(kernels)((5, 5, 4, 500))) for _ in range(2))
    assert 0.099 < np.abs(first).max() <= 0.1
    assert first.std() == pytest.approx(0.1 / math.sqrt(3), rel=0.01)
    assert not np.array_equal(first, second)


def test_kernels_of_wide_networks_start_by_their_fan_out_without_truncation():
    """sqrt(2 / (3 * 3 * 50)) = 0.0667; of 45,000 normal draws some 120 lie beyond three standard deviations."""
    kernel = np.asarray(next(initial.he_kernels(initial.numbers(0)))((3, 3, 100, 50)))
    assert kernel.std() == pytest.approx(math.sqrt(2 / 450), rel=0.02)
    assert (np.abs(kernel) > 3 * math.sqrt(2 / 450)).sum() > 50
