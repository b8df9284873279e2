"""The Madry MNIST network: published size, logits out, seeded weights, float32 logits, `.keras` round-trip."""

import keras
import numpy as np
import pytest

from tfadv.models import MODELS, madry_mnist

IMAGES = np.random.default_rng(0).random([3, 28, 28, 1], np.float32)


def test_it_has_the_parameters_of_the_published_network():
    """5*5*1*32 + 32 + 5*5*32*64 + 64 + 7*7*64*1024 + 1024 + 1024*10 + 10 = 3,274,634."""
    assert madry_mnist().count_params() == 3_274_634


def test_it_is_listed_by_name():
    assert MODELS["madry_mnist"] is madry_mnist


def test_it_gives_one_logit_for_each_class_and_no_probabilities():
    logits = madry_mnist(classes=7)(IMAGES).numpy()
    assert logits.shape == (3, 7)
    assert not np.allclose(logits.sum(axis=1), 1, atol=1e-3)


def test_its_initial_weights_are_a_function_of_the_seed():
    first, again, other = (madry_mnist(seed=seed).get_weights() for seed in (1, 1, 2))
    for one, two in zip(first, again, strict=True):
        np.testing.assert_array_equal(one, two)
    assert (first[0] != other[0]).any()


def test_its_initial_kernels_and_biases_are_those_of_mnist_challenge():
    """A normal of standard deviation 0.1 cut at two of them has standard deviation 0.0880; biases are 0.1."""
    *_, kernel, bias, _, _ = madry_mnist().get_weights()
    assert kernel.shape == (7 * 7 * 64, 1024)
    assert kernel.std() == pytest.approx(0.0880, abs=5e-4)
    assert np.abs(kernel).max() <= 0.2 + 1e-6
    np.testing.assert_allclose(bias, 0.1)


def test_its_logits_are_float32_under_a_mixed_policy():
    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy("mixed_bfloat16")
    try:
        model = madry_mnist()
    finally:
        keras.config.set_dtype_policy(before)
    assert model.get_layer("conv1").compute_dtype == "bfloat16"
    assert model(IMAGES).dtype == "float32"


def test_a_keras_file_of_it_gives_the_same_logits(tmp_path):
    model = madry_mnist(seed=3)
    model.save(tmp_path / "model.keras")
    restored = keras.saving.load_model(tmp_path / "model.keras")
    np.testing.assert_array_equal(restored(IMAGES), model(IMAGES))
