"""MNIST: 70,000 handwritten digits, 28x28 gray (LeCun, Bottou, Bengio and Haffner 1998), through TFDS."""

from __future__ import annotations

from tfadv.data.spec import DatasetSpec

# Fashion-MNIST took over the format and the file names of MNIST, so that one can stand in for the other.
IDX_ARCHIVES = (
    "train-images-idx3-ubyte.gz",
    "train-labels-idx1-ubyte.gz",
    "t10k-images-idx3-ubyte.gz",
    "t10k-labels-idx1-ubyte.gz",
)

SPEC = DatasetSpec(
    name="mnist",
    shape=(28, 28, 1),
    classes=10,
    splits={"train": 60_000, "test": 10_000},
    class_names=tuple("0123456789"),
    archives=IDX_ARCHIVES,
)
