"""For the tests of this room: real MNIST, prepared once in a session, and made-up archives that pass for originals."""

import dataclasses
import gzip
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import tensorflow_datasets as tfds

from tfadv import data
from tfadv.data import through_tfds
from tfadv.data.prepare import prepare, sha256


@pytest.fixture(scope="session")
def mnist_dir(shared_data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A TFDS folder that holds MNIST and nothing else; takes about 15 s."""
    folder = tmp_path_factory.mktemp("tfds")
    prepare("mnist", shared_data / "mnist", folder)
    return folder


@pytest.fixture
def register(tmp_path, monkeypatch) -> Callable[[str, Path, dict[str, int]], None]:
    """`register(name, source, splits)` has the archives in folder `source` pass for the originals of data set `name`.

    The checksums and split sizes that TFDS and the library expect are set to those of the made-up files.
    """

    def patch(name: str, source: Path, splits: dict[str, int]) -> None:
        spec = data.DATASETS[name]
        kind, infos = type(through_tfds.builder(spec, tmp_path / "unused")), {}
        for url, info in kind.url_infos.items():
            path = source / info.filename
            size = tfds.core.utils.Size(path.stat().st_size)
            infos[url] = dataclasses.replace(info, size=size, checksum=sha256(path))
        monkeypatch.setattr(kind, "url_infos", infos)
        monkeypatch.setitem(data.DATASETS, name, dataclasses.replace(spec, splits=splits))

    return patch


def write_idx(path: Path, array: np.ndarray) -> None:
    """The idx format: 0, 0, 8 (unsigned byte), number of axes; each axis as a big-endian int32; the bytes."""
    header = bytes([0, 0, 8, array.ndim]) + b"".join(int(n).to_bytes(4, "big") for n in array.shape)
    path.write_bytes(gzip.compress(header + array.tobytes()))


@pytest.fixture(params=["mnist", "fashion_mnist"])
def small(request, tmp_path, monkeypatch, register) -> tuple[str, Path]:
    """A data set cut down to 60 and 40 examples, and archives of it in the original format.

    Image i of class i % 10 has the constant brightness 20 * (i % 10) + 5, so that images and labels must pair up.
    """
    name, splits, source = request.param, {"train": 60, "test": 40}, tmp_path / "small"
    source.mkdir()
    for split, prefix in (("train", "train"), ("test", "t10k")):
        labels = (np.arange(splits[split]) % 10).astype(np.uint8)
        write_idx(source / f"{prefix}-labels-idx1-ubyte.gz", labels)
        images = np.broadcast_to((20 * labels + 5)[:, None, None], (len(labels), 28, 28))
        write_idx(source / f"{prefix}-images-idx3-ubyte.gz", images)
    register(name, source, splits)
    for split, count in splits.items():
        monkeypatch.setattr(f"tensorflow_datasets.image_classification.mnist._{split.upper()}_EXAMPLES", count)
    return name, source
