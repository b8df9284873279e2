"""ResNet-18 and PreActResNet-18: published sizes, spatial sizes, order of the layers, initial weights."""

import math

import numpy as np
import pytest

from tfadv.models import MODELS, preact_resnet18, resnet18


def trainable(model):
    return sum(math.prod(variable.shape) for variable in model.trainable_variables)


def test_resnet18_has_the_trainable_parameters_of_pytorch_cifar():
    """Stem 1,728 + 128; groups 147,968, 525,568, 2,099,712, 8,393,728; logits 5,130."""
    assert MODELS["resnet18"] is resnet18
    groups = [147_968, 525_568, 2_099_712, 8_393_728]
    assert trainable(resnet18()) == 1_856 + sum(groups) + 5_130 == 11_173_962


def test_preact_resnet18_has_the_trainable_parameters_of_pytorch_cifar():
    """Batch norm of the shortcuts (256 + 512 + 1,024) and of the stem is gone; blocks normalize what comes in."""
    assert MODELS["preact_resnet18"] is preact_resnet18
    assert trainable(preact_resnet18()) == 11_171_146


@pytest.mark.parametrize(
    ("build", "last"), [(resnet18, "group{}_block2_relu"), (preact_resnet18, "group{}_block2_add")]
)
def test_the_groups_halve_the_image(build, last):
    """32 pixels stay 32 in the stem and the first group; Tiny ImageNet's 64 leave 8x8 for the mean."""
    model = build(classes=200, shape=(64, 64, 3))
    sizes = [model.get_layer(last.format(group)).output.shape[1:] for group in (1, 2, 3, 4)]
    assert sizes == [(64, 64, 64), (32, 32, 128), (16, 16, 256), (8, 8, 512)]
    assert model.output.shape == (None, 200)


def test_kernels_start_within_one_over_the_root_of_their_inputs_and_logits_have_a_bias():
    model = resnet18(shape=(8, 8, 3))
    for name, inputs in (("stem", 27), ("group2_block1_shortcut", 64), ("group4_block2_conv2", 4608), ("logits", 512)):
        kernel = np.asarray(model.get_layer(name).kernel)
        assert 0.9 * inputs**-0.5 < np.abs(kernel).max() <= inputs**-0.5
    assert 0 < np.abs(model.get_layer("logits").bias).max() <= 512**-0.5


def test_the_nets_prepare_pixels_as_their_sources():
    images = np.random.default_rng(0).random([2, 8, 8, 3], np.float32)
    np.testing.assert_allclose(resnet18(shape=(8, 8, 3)).get_layer("normalization")(images), 2 * images - 1, atol=1e-6)
    standardized = np.asarray(preact_resnet18(shape=(8, 8, 3)).get_layer("normalization")(images))
    np.testing.assert_allclose(standardized.std(axis=(1, 2, 3)), 1, atol=1e-4)
