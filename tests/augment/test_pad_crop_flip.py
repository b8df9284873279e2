"""Pad, crop, flip: every result is one of the (2 pad + 1)^2 windows of the padded image, or the mirror of one."""

import keras
import numpy as np
import pytest
import scipy.stats
import tensorflow as tf

from tfadv.augment import AugmentationLayer, PadCropFlip, pad_crop_flip
from tfadv.validation import UserError

SEED = [5, 6]


def numbered(count, height, width, channels=1):
    """Images whose pixels are the numbers 1, 2, 3, ..., so that every window and its mirror differ from all others."""
    pixels = np.arange(1, height * width * channels + 1, dtype=np.float32).reshape(height, width, channels)
    return np.repeat(pixels[None], count, axis=0)


def windows(image, pad):
    """The possible results as [2, 2 pad + 1, 2 pad + 1, H, W, C]: mirrored or not, rows down, columns to the right."""
    padded = np.pad(image, [(pad, pad), (pad, pad), (0, 0)])
    height, width, _ = image.shape
    reach = range(2 * pad + 1)
    plain = np.stack([np.stack([padded[i : i + height, j : j + width] for j in reach]) for i in reach])
    return np.stack([plain, plain[:, :, :, ::-1]])


def chosen(moved, pad, image):
    """Which (mirrored, row, column) each result [B, H, W, C] is; fails where one is none of them, or several."""
    matches = (windows(image, pad)[:, :, :, None] == np.asarray(moved)).all(axis=(-1, -2, -3))
    assert (matches.sum(axis=(0, 1, 2)) == 1).all()
    return np.argwhere(matches.transpose(3, 0, 1, 2))[:, 1:]


def test_a_crop_worked_by_hand():
    """The image [[1, 2], [3, 4]] padded by 1 has 9 windows.

    The window at (0, 0) is [[0, 0], [0, 1]], that at (2, 1) is [[3, 4], [0, 0]]; the mirrors are [[0, 0], [1, 0]] and
    [[4, 3], [0, 0]].
    """
    moved, _ = pad_crop_flip(numbered(400, 2, 2), None, config=PadCropFlip(pad=1), seed=SEED)
    seen = {tuple(image.ravel().astype(int)) for image in moved.numpy()}
    assert {(0, 0, 0, 1), (3, 4, 0, 0), (0, 0, 1, 0), (4, 3, 0, 0), (1, 2, 3, 4), (2, 1, 4, 3)} <= seen
    assert len(seen) == 18


@pytest.mark.parametrize(("height", "width", "channels", "pad"), [(6, 6, 3, 4), (5, 8, 1, 2), (3, 4, 2, 7)])
def test_every_image_is_one_window_of_the_padded_image_or_its_mirror(height, width, channels, pad):
    """Also where the window may miss the picture: pad 7 is more than the image is high."""
    x = numbered(64, height, width, channels)
    moved, _ = pad_crop_flip(x, None, config=PadCropFlip(pad=pad), seed=SEED)
    assert moved.shape == x.shape
    possible = windows(x[0], pad).reshape(-1, *x.shape[1:])
    assert all((possible == image).all(axis=(1, 2, 3)).any() for image in moved.numpy())


def test_windows_and_mirrors_are_uniform_and_independent():
    """20,000 images over 2 * 5 * 5 equally likely results, 400 each."""
    x = numbered(20_000, 5, 5)
    places = chosen(pad_crop_flip(x, None, config=PadCropFlip(pad=2), seed=SEED)[0], 2, x[0])
    counts = np.zeros([2, 5, 5])
    np.add.at(counts, tuple(places.T), 1)
    assert scipy.stats.chisquare(counts.ravel()).pvalue > 1e-4
    # Neighbors in the batch: correlations of standard error 0.007.
    for column in places.T:
        assert abs(np.corrcoef(column[:-1], column[1:])[0, 1]) < 0.035


def test_without_padding_and_mirror_nothing_happens():
    x = numbered(9, 4, 4)
    moved, _ = pad_crop_flip(x, None, config=PadCropFlip(pad=0, flip=False), seed=SEED)
    np.testing.assert_array_equal(moved, x)


def test_without_padding_half_of_the_images_are_mirrored():
    """1,000 fair coins have standard deviation 16."""
    x = numbered(1_000, 4, 4)
    places = chosen(pad_crop_flip(x, None, config=PadCropFlip(pad=0), seed=SEED)[0], 0, x[0])
    assert 420 < places[:, 0].sum() < 580


def test_digits_can_be_kept_from_being_mirrored():
    x = numbered(200, 4, 4)
    places = chosen(pad_crop_flip(x, None, config=PadCropFlip(pad=1, flip=False), seed=SEED)[0], 1, x[0])
    assert (places[:, 0] == 0).all()
    assert len(np.unique(places[:, 1:], axis=0)) == 9


def test_the_channels_of_a_pixel_stay_together_and_images_apart():
    x = numbered(50, 4, 4, 3) + 1_000 * np.arange(50, dtype=np.float32)[:, None, None, None]
    moved = pad_crop_flip(x, None, config=PadCropFlip(pad=1), seed=SEED)[0].numpy()
    inside = moved[..., 0] > 0
    assert inside.any(axis=(1, 2)).all()
    for channel in (1, 2):
        np.testing.assert_array_equal(moved[..., channel][inside] - moved[..., 0][inside], channel)
        assert (moved[..., channel][~inside] == 0).all()
    number = np.broadcast_to(np.arange(50)[:, None, None], inside.shape)
    np.testing.assert_array_equal(moved[..., 0][inside] // 1_000, number[inside])


def test_labels_come_back_as_they_are():
    y = {"anything": [1, 2]}
    assert pad_crop_flip(tf.zeros([2, 3, 3, 1]), y, config=PadCropFlip(), seed=SEED)[1] is y


def test_one_image_is_a_batch_of_one():
    x = numbered(1, 5, 5)
    single, _ = pad_crop_flip(x[0], None, config=PadCropFlip(pad=2), seed=SEED)
    batch, _ = pad_crop_flip(x, None, config=PadCropFlip(pad=2), seed=SEED)
    np.testing.assert_array_equal(single, batch[0])


def test_single_images_of_a_dataset_are_augmented_and_keep_their_shape():
    x = numbered(30, 5, 5)
    dataset = tf.data.Dataset.from_tensor_slices((x, np.arange(30))).apply(PadCropFlip(pad=2))
    assert dataset.element_spec[0].shape == (5, 5, 1)
    moved = np.stack([image for image, _ in dataset.as_numpy_iterator()])
    assert len(np.unique(chosen(moved, 2, x[0]), axis=0)) > 15


def test_sizes_may_be_unknown_until_the_graph_runs():
    function = tf.function(
        lambda x: pad_crop_flip(x, 0, config=PadCropFlip(pad=2), seed=SEED)[0],
        input_signature=[tf.TensorSpec([None, None, None, 1])],
    )
    for count, height in ((3, 5), (7, 6)):
        x = numbered(count, height, 5)
        expected, _ = pad_crop_flip(x, 0, config=PadCropFlip(pad=2), seed=SEED)
        np.testing.assert_array_equal(function(x), expected)


def test_compiled_by_xla_the_results_are_crops_too():
    x = numbered(40, 5, 5)
    compiled = tf.function(lambda x: pad_crop_flip(x, 0, config=PadCropFlip(pad=2), seed=SEED)[0], jit_compile=True)
    assert len(np.unique(chosen(compiled(x), 2, x[0]), axis=0)) > 15


def test_inside_a_model_only_training_moves_the_images():
    x = numbered(40, 5, 5)
    model = keras.Sequential([keras.Input([5, 5, 1]), AugmentationLayer(PadCropFlip(pad=2))])
    np.testing.assert_array_equal(model(x), x)
    first, second = (chosen(model(x, training=True), 2, x[0]) for _ in range(2))
    assert not np.array_equal(first, second)


@pytest.mark.parametrize("dtype", [tf.float16, tf.bfloat16, tf.float32, tf.float64])
def test_the_dtype_is_kept(dtype):
    moved, _ = pad_crop_flip(tf.ones([4, 3, 3, 1], dtype), None, config=PadCropFlip(pad=1), seed=SEED)
    assert moved.dtype == dtype
    assert set(np.unique(tf.cast(moved, tf.float32))) == {0.0, 1.0}


@pytest.mark.parametrize("shape", [[3], [3, 3], [1, 2, 3, 3, 1]], ids=str)
def test_what_is_neither_an_image_nor_a_batch_is_refused(shape):
    with pytest.raises(
        UserError, match=r"x must be an image \[H, W, C\] or a batch of images \[B, H, W, C\], got shape"
    ):
        pad_crop_flip(tf.zeros(shape), None, config=PadCropFlip(), seed=SEED)


@pytest.mark.parametrize("pad", [-1, 1.5, True, "4", None], ids=repr)
def test_a_pad_that_is_not_a_whole_number_is_refused(pad):
    with pytest.raises(UserError, match="pad must be an integer >= 0"):
        PadCropFlip(pad)


@pytest.mark.parametrize("flip", [1, 0.5, "yes", None], ids=repr)
def test_a_flip_that_is_not_yes_or_no_is_refused(flip):
    with pytest.raises(UserError, match="flip must be True or False, got"):
        PadCropFlip(flip=flip)
