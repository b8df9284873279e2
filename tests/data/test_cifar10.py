"""Real CIFAR-10, already prepared, and a small made-up archive of the original layout."""

import io
import tarfile

import numpy as np
import pytest

from tfadv import data
from tfadv.data import through_tfds
from tfadv.data.prepare import prepare


@pytest.mark.slow
def test_the_test_split_has_its_published_size_classes_and_colors(shared_data):
    x, y = data.arrays("cifar10", "test", shared_data / "tfds")
    assert x.shape == (10_000, 32, 32, 3)
    assert (x.dtype, y.dtype) == (np.float32, np.int32)
    assert np.bincount(y).tolist() == [1_000] * 10
    # The mean color of the published test images.
    np.testing.assert_allclose(x.mean(axis=(0, 1, 2), dtype=np.float64), [0.4942, 0.4851, 0.4504], atol=5e-4)


@pytest.mark.slow
def test_a_limited_set_is_stratified_and_the_same_every_time(shared_data):
    (x, y), (again, _) = (data.arrays("cifar10", "test", shared_data / "tfds", limit=50) for _ in range(2))
    assert np.bincount(y).tolist() == [5] * 10
    np.testing.assert_array_equal(x, again)


def test_the_class_names_are_those_of_the_archive(shared_data):
    spec = data.DATASETS["cifar10"]
    label = through_tfds.builder(spec, shared_data / "tfds").info.features["label"]
    assert tuple(label.names) == spec.class_names


def test_an_archive_of_the_original_layout_is_prepared_and_read(tmp_path, register):
    """A record is 1 byte of label and 3 x 32 x 32 bytes of color planes; here plane c of class k is 60 * c + 5 * k."""
    spec, source = data.DATASETS["cifar10"], tmp_path / "archives"
    source.mkdir()
    labels = np.arange(20, dtype=np.uint8) % 10
    planes = (60 * np.arange(3)[None, :] + 5 * labels[:, None]).astype(np.uint8)
    records = np.concatenate([labels[:, None], np.repeat(planes, 1_024, axis=1)], axis=1).tobytes()
    files = {f"data_batch_{i}.bin": records for i in range(1, 6)} | {"test_batch.bin": records}
    with tarfile.open(source / "cifar-10-binary.tar.gz", "w:gz") as archive:
        for name, content in {**files, "batches.meta.txt": "\n".join(spec.class_names).encode()}.items():
            member = tarfile.TarInfo(f"cifar-10-batches-bin/{name}")
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
    register("cifar10", source, {"train": 100, "test": 20})
    prepare("cifar10", source, tmp_path / "tfds")
    x, y = data.arrays("cifar10", "test", tmp_path / "tfds")
    assert np.bincount(y).tolist() == [2] * 10
    expected = (60 * np.arange(3)[None, :] + 5 * y[:, None]) / 255
    np.testing.assert_allclose(x, np.broadcast_to(expected[:, None, None, :], x.shape), rtol=1e-6)
    assert len(data.arrays("cifar10", "train", tmp_path / "tfds")[1]) == 100
