"""Normalization inside the model: the formulas by hand, the floor, finite gradients, float32, `.keras` round-trip."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from tfadv.models.normalization import PerImageStandardization, normalization
from tfadv.validation import UserError

IMAGES = np.random.default_rng(0).random([3, 4, 5, 3], np.float32)


def prepared(kind, x):
    (layer,) = normalization(kind)
    return np.asarray(layer(x))


def test_rescaled_images_by_hand():
    np.testing.assert_allclose(prepared("centered", IMAGES), IMAGES - 0.5, atol=1e-7)
    np.testing.assert_allclose(prepared("signed", IMAGES), 2 * IMAGES - 1, atol=1e-6)
    assert normalization("none") == []


def test_another_kind_is_refused():
    with pytest.raises(UserError, match=r"one of \['centered', 'none', 'per_image', 'signed'\], got 'imagenet'"):
        normalization("imagenet")


def test_each_image_is_standardized_over_all_its_values():
    """Pixels 0, 51, 102, 255 have mean 102 and variance (102^2 + 51^2 + 0 + 153^2) / 4 = 9103.5 = 95.412^2."""
    image = np.array([0.0, 0.2, 0.4, 1.0], np.float32).reshape(1, 2, 2, 1)
    expected = np.array([-102, -51, 0, 153]) / np.sqrt(9103.5)
    np.testing.assert_allclose(prepared("per_image", image).ravel(), expected, atol=1e-5)
    pixels = 255 * IMAGES.astype(np.float64)
    mean, std = (getattr(pixels, name)(axis=(1, 2, 3), keepdims=True) for name in ("mean", "std"))
    np.testing.assert_allclose(prepared("per_image", IMAGES), (pixels - mean) / std, atol=1e-4)


def test_it_is_the_standardization_of_the_published_program():
    """tf.image.per_image_standardization of pixels from 0 to 255, a constant image and a faint one among them."""
    faint = np.full([1, 4, 5, 3], 0.5, np.float32)
    faint[0, 0, 0, 0] += 0.1 / 255
    images = np.concatenate([IMAGES, faint, np.full([1, 4, 5, 3], 0.25, np.float32)])
    expected = tf.image.per_image_standardization(255 * images)
    np.testing.assert_allclose(prepared("per_image", images), expected, atol=1e-4)


def test_a_faint_image_is_divided_by_the_floor():
    """One of N = 16 pixels is 0.4 above the others, in 255ths: std = 0.4 sqrt(15) / 16 = 0.0968 < 1 / sqrt(16)."""
    image = np.full([1, 4, 4, 1], 0.5, np.float32)
    image[0, 0, 0, 0] += 0.4 / 255
    result = prepared("per_image", image).ravel()
    np.testing.assert_allclose(result, np.array([0.4 * 15 / 16, *[-0.4 / 16] * 15]) * 4, atol=1e-3)


def test_the_floor_is_in_the_units_of_the_scale():
    """The same contrast counts as strong where pixels are taken to 0..25500."""
    image = np.full([1, 4, 4, 1], 0.5, np.float32)
    image[0, 0, 0, 0] += 0.4 / 255
    result = np.asarray(PerImageStandardization(scale=25_500.0)(image))
    assert result.std() == pytest.approx(1.0, abs=1e-3)


def test_a_constant_image_gives_zeros_and_a_finite_gradient():
    image = tf.fill([2, 4, 4, 3], 0.3)
    layer = PerImageStandardization()
    with tf.GradientTape() as tape:
        tape.watch(image)
        result = layer(image)
        first = result[:, 0, 0, 0]
    np.testing.assert_allclose(result, 0, atol=1e-3)
    gradient = tape.gradient(first, image)
    # d/dp of 255 (p - mean) sqrt(48): 255 sqrt(48) (1 - 1/48) at the pixel itself.
    assert float(gradient[0, 0, 0, 0]) == pytest.approx(255 * np.sqrt(48) * 47 / 48, rel=1e-4)
    assert np.isfinite(gradient).all()


@pytest.mark.parametrize("kind", ["centered", "signed", "per_image"])
def test_it_computes_in_float32_under_a_mixed_policy(kind):
    """In bfloat16, 0.5 and 0.5 + 1/1000 would be the same pixel."""
    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy("mixed_bfloat16")
    try:
        (layer,) = normalization(kind)
    finally:
        keras.config.set_dtype_policy(before)
    image = np.full([1, 2, 2, 1], 0.5, np.float32)
    image[0, 0, 0, 0] += 0.001
    result = layer(image)
    assert result.dtype == "float32"
    assert float(result[0, 0, 0, 0]) > float(result[0, 0, 1, 0])


def test_the_layer_comes_back_from_a_keras_file(tmp_path):
    model = keras.Sequential([keras.Input((4, 5, 3)), PerImageStandardization(scale=100.0)])
    model.save(tmp_path / "model.keras")
    restored = keras.saving.load_model(tmp_path / "model.keras", safe_mode=True)
    assert restored.layers[-1].scale == 100.0
    np.testing.assert_array_equal(restored(IMAGES), model(IMAGES))
