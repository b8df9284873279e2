"""Real MNIST, prepared from the original files and read back."""

import gzip

import numpy as np
import pytest

from tfadv import data

pytestmark = pytest.mark.slow

# Examples of each digit, counted in the original label files.
COUNTS = {
    "train": [5923, 6742, 5958, 6131, 5842, 5421, 5918, 6265, 5851, 5949],
    "test": [980, 1135, 1032, 1010, 982, 892, 958, 1028, 974, 1009],
}


@pytest.mark.parametrize("split", ["train", "test"])
def test_each_split_has_its_published_size_classes_and_types(mnist_dir, split):
    x, y = data.arrays("mnist", split, mnist_dir)
    assert x.shape == (sum(COUNTS[split]), 28, 28, 1)
    assert (x.dtype, y.dtype) == (np.float32, np.int32)
    assert (x.min(), x.max()) == (0.0, 1.0)
    assert np.bincount(y).tolist() == COUNTS[split]


def test_the_training_images_have_the_known_mean_and_deviation(mnist_dir):
    """0.1307 and 0.3081, the constants by which MNIST is customarily normalized."""
    x, _ = data.arrays("mnist", "train", mnist_dir)
    assert x.mean(dtype=np.float64) == pytest.approx(0.1307, abs=1e-4)
    assert x.std(dtype=np.float64) == pytest.approx(0.3081, abs=1e-4)


def test_the_test_split_is_exactly_the_labeled_images_of_the_original_files(mnist_dir, shared_data):
    """The idx format: 16 bytes of header before the images, 8 before the labels. TFDS only reorders."""
    images, labels = (
        np.frombuffer(gzip.decompress((shared_data / "mnist" / f"t10k-{name}.gz").read_bytes())[skip:], np.uint8)
        for name, skip in (("images-idx3-ubyte", 16), ("labels-idx1-ubyte", 8))
    )
    x, y = data.arrays("mnist", "test", mnist_dir)
    ours = np.round(x * 255).astype(np.uint8).reshape(10_000, -1)
    np.testing.assert_array_equal(ours.astype(np.float32) / 255, x.reshape(10_000, -1))
    original = zip(images.reshape(10_000, -1), labels, strict=True)
    assert {(i.tobytes(), int(k)) for i, k in zip(ours, y, strict=True)} == {(i.tobytes(), int(k)) for i, k in original}


def test_load_arrays_and_a_second_read_agree_on_the_order(mnist_dir):
    x, y = data.arrays("mnist", "test", mnist_dir)
    dataset = data.load("mnist", "test", mnist_dir)
    assert int(dataset.cardinality()) == 10_000
    images, labels = (np.concatenate(part) for part in zip(*dataset.batch(2_000).as_numpy_iterator(), strict=True))
    np.testing.assert_array_equal(images, x)
    np.testing.assert_array_equal(labels, y)


def test_a_limit_keeps_the_class_shares(mnist_dir):
    _, y = data.arrays("mnist", "test", mnist_dir, limit=1_000)
    assert np.abs(np.bincount(y) - np.array(COUNTS["test"]) / 10).max() < 1
