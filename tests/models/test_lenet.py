"""The two LeNets: sizes of the published program, spatial sizes, preprocessing, dropout in training alone."""

import numpy as np
import pytest

from tfadv.models import MODELS, lenet_cifar10, lenet_mnist

RNG = np.random.default_rng(0)
DIGITS, PHOTOS = RNG.random([4, 28, 28, 1], np.float32), RNG.random([4, 32, 32, 3], np.float32)


def test_they_have_the_parameters_of_the_published_program():
    """260 + 5,020 + 320 * 50 + 50 + 510 = 21,840, and 456 + 2,416 + 400 * 120 + 120 + 10,164 + 850 = 62,006."""
    assert lenet_mnist().count_params() == 260 + 5_020 + 16_050 + 510
    assert lenet_cifar10().count_params() == 456 + 2_416 + 48_120 + 10_164 + 850


def test_cifar10_and_svhn_share_one_network():
    assert MODELS["lenet_mnist"] is lenet_mnist
    assert MODELS["lenet_cifar10"] is MODELS["lenet_svhn"] is lenet_cifar10


def test_spatial_sizes():
    """28 - 4 = 24, 12, 12 - 4 = 8, 4; 32 - 4 = 28, 14, 10, 5."""
    sizes = [lenet_mnist().get_layer(name).output.shape[1:] for name in ("conv1", "pool1", "conv2", "pool2")]
    assert sizes == [(24, 24, 10), (12, 12, 10), (8, 8, 20), (4, 4, 20)]
    sizes = [lenet_cifar10().get_layer(name).output.shape[1:] for name in ("conv1", "pool1", "conv2", "pool2")]
    assert sizes == [(28, 28, 6), (14, 14, 6), (10, 10, 16), (5, 5, 16)]


@pytest.mark.parametrize(
    ("build", "images", "expected"),
    [(lenet_mnist, DIGITS, DIGITS - 0.5), (lenet_cifar10, PHOTOS, 2 * PHOTOS - 1)],
    ids=["mnist", "cifar10"],
)
def test_pixels_are_prepared_as_published(build, images, expected):
    np.testing.assert_allclose(build().get_layer("normalization")(images), expected, atol=1e-6)


def test_dropout_works_in_training_only_and_by_the_seed():
    def trained(seed):
        return np.asarray(lenet_mnist(seed=seed)(DIGITS, training=True))

    model = lenet_mnist(seed=1)
    np.testing.assert_array_equal(model(DIGITS), model(DIGITS, training=False))
    assert not np.array_equal(model(DIGITS, training=True), model(DIGITS, training=False))
    np.testing.assert_array_equal(trained(1), trained(1))


def test_dropout_takes_whole_channels_of_the_second_convolution():
    channels = np.asarray(lenet_mnist().get_layer("drop_channels")(np.ones([50, 3, 3, 20], np.float32), training=True))
    np.testing.assert_array_equal(channels, channels[:, :1, :1] * np.ones([1, 3, 3, 1]))
    assert set(np.unique(channels)) == {0.0, 2.0}


@pytest.mark.parametrize("build", [lenet_mnist, lenet_cifar10])
def test_each_layer_starts_by_its_own_number_of_inputs(build):
    """b = 1 / sqrt(kernel height x width x channels), for kernel and bias."""
    weights = build().get_weights()
    for kernel, bias in zip(weights[::2], weights[1::2], strict=True):
        bound = np.prod(kernel.shape[:-1]) ** -0.5
        assert 0.9 * bound < np.abs(kernel).max() <= bound
        assert 0.3 * bound < np.abs(bias).max() <= bound
