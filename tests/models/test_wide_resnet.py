"""Wide residual networks: published sizes, spatial sizes, initial weights, preprocessing."""

import math

import numpy as np
import pytest

from tfadv.models import MODELS, wide_resnet
from tfadv.validation import UserError


@pytest.mark.parametrize(
    ("name", "parameters"), [("wrn_16_8", 10_961_370), ("wrn_28_10", 36_479_194), ("wrn_34_10", 46_160_474)]
)
def test_trainable_parameters_are_the_published_ones(name, parameters):
    model = MODELS[name]()
    assert model.name == name
    assert sum(math.prod(variable.shape) for variable in model.trainable_variables) == parameters


def test_parameters_by_hand():
    """WRN-10-2: stem 432; blocks of two 3x3 convolutions, two batch norms of 2 c, a 1x1 shortcut; last norm; logits."""

    def block(before, after):
        return 9 * before * after + 9 * after * after + 2 * before + 2 * after + before * after

    expected = 432 + block(16, 32) + block(32, 64) + block(64, 128) + 256 + 1290
    model = wide_resnet(10, 2)
    assert sum(math.prod(variable.shape) for variable in model.trainable_variables) == expected


def test_depth_counts_the_convolutions_on_the_longest_way():
    """6 n + 4 = stem + 3 groups x (2 n + 1 shortcut)."""
    model = wide_resnet(22, 1, shape=(8, 8, 3))
    kernels = [weight for weight in model.weights if weight.path.endswith("kernel") and len(weight.shape) == 4]
    # Width 1 keeps 16 channels through the first group, which so has no shortcut.
    assert len(kernels) == 22 - 1
    assert model.name == "wrn_22_1"


def test_the_groups_halve_the_image():
    model = wide_resnet(10, 2)
    sizes = [model.get_layer(f"group{group}_block1_add").output.shape[1:] for group in (1, 2, 3)]
    assert sizes == [(32, 32, 32), (16, 16, 64), (8, 8, 128)]


def test_kernels_start_by_their_fan_out_and_the_logits_without_bias():
    """sqrt(2 / (9 * 128)) = 0.0417 for the last group of width 2."""
    model = wide_resnet(10, 2)
    assert np.std(model.get_layer("group3_block1_conv2").kernel) == pytest.approx(math.sqrt(2 / (9 * 128)), rel=0.02)
    logits = model.get_layer("logits")
    assert np.abs(logits.kernel).max() <= 128**-0.5
    assert not np.any(logits.bias)


def test_preprocessing_is_by_name():
    """Feature Scatter's network sees [-1, 1], AVmixup's standardized images, and TRADES' the pixels as they are."""
    assert MODELS["wrn_28_10"].keywords["normalization"] == "signed"
    assert type(wide_resnet(10, 1).layers[1]).__name__ == "PerImageStandardization"
    assert wide_resnet(10, 1, normalization="none").layers[1].name == "stem"
    assert wide_resnet(10, 1, normalization="signed").layers[1].scale == 2.0


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((32, 10), r"depth must be 6 n \+ 4 with n >= 1 \(10, 16, 22, 28, 34\), got 32"),
        ((4, 10), "depth must be .* got 4"),
        ((28, 0), "width must be at least 1, got 0"),
    ],
)
def test_a_depth_or_width_that_is_none_is_refused(arguments, message):
    with pytest.raises(UserError, match=message):
        wide_resnet(*arguments)
