"""The paper's CNN: the printed parameter counts, SAME / VALID / VALID, no biases, unit-length kernels."""

import numpy as np
import pytest

from tfadv.models import MODELS, wd_cnn
from tfadv.validation import UserError

IMAGES = np.random.default_rng(0).random([3, 32, 32, 3], np.float32)


def test_it_has_the_parameters_of_table_1():
    """8*8*3*32, 6*6*32*64, 5*5*64*64 and 256*10: printed as 6.1k, 73.7k, 102.4k, 2.6k and 184.8k."""
    assert MODELS["wd_cnn"] is wd_cnn
    counts = [int(np.prod(kernel.shape)) for kernel in wd_cnn().get_weights()]
    assert counts == [6_144, 73_728, 102_400, 2_560]
    assert [round(count / 1000, 1) for count in (*counts, sum(counts))] == [6.1, 73.7, 102.4, 2.6, 184.8]


def test_same_valid_valid_gives_the_256_inputs_of_the_last_layer():
    """ceil(32 / 2) = 16, (16 - 6) / 2 + 1 = 6, 6 - 5 + 1 = 2, 2 * 2 * 64 = 256."""
    shapes = [layer.output.shape[1:] for layer in wd_cnn().layers]
    assert shapes == [(16, 16, 32), (6, 6, 64), (2, 2, 64), (256,), (10,)]


def test_scaling_every_kernel_scales_the_logits_by_the_power_of_the_depth():
    """Section 5.1: no biases and no normalization, so W -> c W in all l = 4 layers gives c^4 times the logits."""
    model = wd_cnn()
    before = np.asarray(model(IMAGES))
    model.set_weights([1.5 * kernel for kernel in model.get_weights()])
    np.testing.assert_allclose(model(IMAGES), 1.5**4 * before, rtol=1e-4, atol=1e-6)


def test_weights_into_each_unit_start_with_length_one():
    for kernel in wd_cnn(seed=5).get_weights():
        np.testing.assert_allclose(np.linalg.norm(kernel.reshape(-1, kernel.shape[-1]), axis=0), 1, atol=1e-5)


def test_convolutions_start_truncated_and_the_last_layer_does_not():
    """No weight of a normal cut at two standard deviations is far above the mean size; a plain one has a few."""
    *convolutions, last = wd_cnn().get_weights()
    assert all(np.abs(kernel).max() / kernel.std() < 2.6 for kernel in convolutions)
    assert np.abs(last).max() / last.std() > 2.6


def test_its_filters_can_be_doubled_as_the_paper_tried():
    counts = [int(np.prod(kernel.shape)) for kernel in wd_cnn(filters=64).get_weights()]
    assert counts == [2 * 6_144, 4 * 73_728, 4 * 102_400, 2 * 2_560]
    with pytest.raises(UserError, match="filters must be at least 1, got 0"):
        wd_cnn(filters=0)
