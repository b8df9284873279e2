"""Fashion-MNIST: 70,000 pieces of clothing, 28x28 gray (Xiao, Rasul and Vollgraf, arXiv:1708.07747), through TFDS."""

from __future__ import annotations

from tfadv.data.mnist import IDX_ARCHIVES
from tfadv.data.spec import DatasetSpec

SPEC = DatasetSpec(
    name="fashion_mnist",
    shape=(28, 28, 1),
    classes=10,
    splits={"train": 60_000, "test": 10_000},
    class_names=(
        "T-shirt/top", "Trouser", "Pullover", "Dress", "Coat", "Sandal", "Shirt", "Sneaker", "Bag", "Ankle boot",
    ),
    archives=IDX_ARCHIVES,
)  # fmt: skip
