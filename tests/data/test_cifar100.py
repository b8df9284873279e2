"""CIFAR-100 from real records of the original archive."""

import io
import tarfile

import numpy as np
import pytest

from tfadv import data
from tfadv.data.prepare import prepare

RECORD = 2 + 3 * 32 * 32  # coarse label, fine label, color planes


def records(content: bytes) -> tuple[np.ndarray, np.ndarray]:
    """The images uint8 [N, 32, 32, 3] and fine labels [N] of a file of the archive."""
    rows = np.frombuffer(content, np.uint8).reshape(-1, RECORD)
    return rows[:, 2:].reshape(-1, 3, 32, 32).transpose(0, 2, 3, 1), rows[:, 1].astype(np.int32)


def contents(images: np.ndarray, labels: np.ndarray) -> set[tuple[bytes, int]]:
    return {(image.tobytes(), int(label)) for image, label in zip(images, labels, strict=True)}


def test_the_class_names_are_those_of_the_archive(shared_data):
    names = (shared_data / "cifar-100-binary-subset" / "fine_label_names.txt").read_text().split()
    assert tuple(names) == data.DATASETS["cifar100"].class_names


@pytest.mark.parametrize("count", [300, pytest.param(None, marks=pytest.mark.slow)])
def test_real_records_are_prepared_and_read(shared_data, tmp_path, register, count):
    """TFDS reorders; images and fine labels, as pairs, are exactly those of the files."""
    folder, source, originals = shared_data / "cifar-100-binary-subset", tmp_path / "archives", {}
    source.mkdir()
    with tarfile.open(source / "cifar-100-binary.tar.gz", "w:gz") as archive:
        for path in folder.iterdir():
            content = path.read_bytes()
            if path.suffix == ".bin":
                content = content[: count and count * RECORD]
                originals[path.stem] = records(content)
            member = tarfile.TarInfo(f"cifar-100-binary/{path.name}")
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
    register("cifar100", source, {split: len(labels) for split, (_, labels) in originals.items()})

    prepare("cifar100", source, tmp_path / "tfds")
    for split, (images, labels) in originals.items():
        x, y = data.arrays("cifar100", split, tmp_path / "tfds")
        assert (x.dtype, y.dtype) == (np.float32, np.int32)
        pixels = np.round(x * 255).astype(np.uint8)
        np.testing.assert_array_equal(pixels.astype(np.float32) / np.float32(255), x)
        assert contents(pixels, y) == contents(images, labels)
        again, _ = data.arrays("cifar100", split, tmp_path / "tfds")
        np.testing.assert_array_equal(again, x)
