"""CIFAR-10: 60,000 photographs of animals and vehicles, 32x32 RGB (Krizhevsky 2009), through TFDS."""

from __future__ import annotations

from tfadv.data.spec import DatasetSpec

SPEC = DatasetSpec(
    name="cifar10",
    shape=(32, 32, 3),
    classes=10,
    splits={"train": 50_000, "test": 10_000},
    class_names=("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck"),
    archives=("cifar-10-binary.tar.gz",),
)
