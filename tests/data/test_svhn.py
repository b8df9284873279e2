"""SVHN from .mat files of the original layout, and from mocked prepared files."""

import numpy as np
import pytest
import scipy.io
import tensorflow_datasets as tfds

from tfadv import data
from tfadv.data.prepare import prepare
from tfadv.validation import UserError

SIZES = {"train": 30, "test": 20, "extra": 10}


@pytest.fixture
def prepared(tmp_path, register):
    """A TFDS folder prepared from .mat files; image i shows digit i % 10, in columns of red 20 * digit."""
    source = tmp_path / "archives"
    source.mkdir()
    for split, count in SIZES.items():
        digits = np.arange(count) % 10
        images = np.zeros((32, 32, 3, count), np.uint8)
        images[:, ::2, 0, :] = 20 * digits
        # The original files call the digit 0 "10" and keep labels in a column.
        labels = np.where(digits == 0, 10, digits).astype(np.uint8)[:, None]
        scipy.io.savemat(source / f"{split}_32x32.mat", {"X": images, "y": labels})
    register("svhn", source, {"train": 30, "test": 20})
    result = prepare("svhn", source, tmp_path / "tfds")
    assert result.folder == tmp_path / "tfds" / "svhn_cropped" / "3.1.0"
    assert [path.name for path in (tmp_path / "tfds").iterdir()] == ["svhn_cropped"]
    return tmp_path / "tfds"


def test_mat_files_are_prepared_and_the_label_is_the_digit(prepared):
    for split, each in (("train", 3), ("test", 2)):
        x, y = data.arrays("svhn", split, prepared)
        assert x.shape == (SIZES[split], 32, 32, 3)
        assert np.bincount(y).tolist() == [each] * 10
        np.testing.assert_allclose(x[:, :, ::2, 0] * 255, np.broadcast_to((20 * y)[:, None, None], (len(y), 32, 16)))
        assert (x[:, :, 1::2] == 0).all()
        assert (x[..., 1:] == 0).all()


def test_only_the_splits_of_the_papers_are_offered(prepared):
    with pytest.raises(UserError, match=r"split must be one of \['test', 'train', 'train_fit', 'validation'\]"):
        data.arrays("svhn", "extra", prepared)


def test_any_images_of_tfds_come_as_float32_in_the_unit_range(prepared):
    """Mocked: TFDS makes up pixels of all brightnesses and labels of all classes."""
    with tfds.testing.mock_data(num_examples=20, data_dir=prepared):
        x, y = data.arrays("svhn", "test", prepared)
    assert (x.dtype, y.dtype) == (np.float32, np.int32)
    assert x.shape == (20, 32, 32, 3)
    assert x.min() >= 0
    assert 0.9 < x.max() <= 1
    assert y.min() >= 0
    assert y.max() < 10
    assert len(np.unique(y)) > 3
