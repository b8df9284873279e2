"""Tiny ImageNet: what is said of it, and real images of a subset."""

import io
import zipfile

import numpy as np
import pytest
from PIL import Image

from tfadv import data
from tfadv.data import prepare as room
from tfadv.data.prepare import prepare
from tfadv.data.tiny_imagenet import CLASSES
from tfadv.validation import UserError

ROOT = "tiny-imagenet-200"


@pytest.fixture(scope="session")
def subset(shared_data):
    """The archive of real images, open."""
    with zipfile.ZipFile(shared_data / "tiny-imagenet-200-subset.zip") as archive:
        yield archive


@pytest.fixture(scope="session")
def subset_dir(shared_data, tmp_path_factory):
    """A TFDS folder that holds the subset, prepared in about 3 s."""
    folder = tmp_path_factory.mktemp("tiny")
    lines = []
    result = prepare("tiny_imagenet_subset", shared_data, folder, lines.append)
    assert result == room.Prepared(folder / "tiny_imagenet_subset" / "1.0.0", already=False)
    assert [path.name for path in folder.iterdir()] == ["tiny_imagenet_subset"]
    assert lines[0].startswith("not verified, because no checksum is registered for it: tiny-imagenet-200-subset.zip")
    return folder


def test_the_classes_are_200_wordnet_numbers_in_ascending_order():
    assert len(CLASSES) == 200
    assert list(CLASSES) == sorted(set(CLASSES))
    assert all(len(name) == 9 and name[0] == "n" and name[1:].isdigit() for name in CLASSES)


def test_the_classes_are_those_of_the_archive(subset):
    assert set(subset.read(f"{ROOT}/wnids.txt").decode().split()) == set(CLASSES)


def test_a_subset_under_the_name_of_the_original_is_refused_with_both_hashes(shared_data, tmp_path):
    (tmp_path / f"{ROOT}.zip").symlink_to(shared_data / f"{ROOT}-subset.zip")
    found = room.sha256(shared_data / f"{ROOT}-subset.zip")
    message = (
        rf"{ROOT}\.zip is truncated at \d+ of 248100043 bytes \(expected sha256 6198c8ae015e2b3e\w+, got {found}\)"
    )
    with pytest.raises(UserError, match=message):
        prepare("tiny_imagenet", tmp_path, tmp_path / "tfds", print)
    assert not (tmp_path / "tfds").exists()


def test_a_missing_subset_is_named(tmp_path):
    with pytest.raises(UserError, match=rf"{ROOT}-subset\.zip is missing \(any archive of the layout\)"):
        prepare("tiny_imagenet_subset", tmp_path, tmp_path / "tfds", print)


@pytest.mark.slow
def test_a_prepared_subset_is_not_taken_for_the_whole(subset_dir):
    with pytest.raises(UserError, match="data set 'tiny_imagenet' is not in data_dir"):
        data.arrays("tiny_imagenet", "test", subset_dir)


@pytest.mark.slow
def test_sizes_and_limits_of_a_subset_are_those_of_what_was_prepared(subset_dir):
    sizes = {split: len(data.arrays("tiny_imagenet_subset", split, subset_dir)[1]) for split in ("train", "test")}
    assert sizes == {"train": 12 * 200, "test": 5 * 200}
    y = data.arrays("tiny_imagenet_subset", "test", subset_dir, limit=200)[1]
    assert np.bincount(y).tolist() == [1] * 200
    with pytest.raises(UserError, match=r"limit must be a whole number from 1 to 240 \(the size of 'validation'"):
        data.arrays("tiny_imagenet_subset", "validation", subset_dir, limit=241)


@pytest.mark.slow
def test_real_images_have_the_pixels_of_the_exact_decoder_and_the_label_of_their_class(subset, subset_dir):
    """Every image, also the gray ones, as Pillow decodes it; "test" is labeled by val_annotations.txt."""
    rows = [line.split("\t") for line in subset.read(f"{ROOT}/val/val_annotations.txt").decode().splitlines()]
    label_of = {f"{ROOT}/val/images/{row[0]}": row[1] for row in rows}
    expected = {"train": set(), "test": set()}
    for name in subset.namelist():
        if name.endswith(".JPEG"):
            pixels = np.asarray(Image.open(io.BytesIO(subset.read(name))).convert("RGB"))
            split, label = ("test", label_of[name]) if name in label_of else ("train", name.split("/")[2])
            expected[split].add((pixels.tobytes(), CLASSES.index(label)))
    for split, examples in expected.items():
        x, y = data.arrays("tiny_imagenet_subset", split, subset_dir)
        assert (x.dtype, y.dtype, x.shape[1:]) == (np.float32, np.int32, (64, 64, 3))
        assert (x.min(), x.max()) == (0, 1)
        pixels = np.round(x * 255).astype(np.uint8)
        assert {(image.tobytes(), int(label)) for image, label in zip(pixels, y, strict=True)} == examples
