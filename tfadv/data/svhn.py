"""SVHN: 99,289 house numbers, cropped to one digit, 32x32 RGB (Netzer et al. 2011), TFDS "svhn_cropped".

Label k is the digit k; the original files call the digit 0 "10". TFDS prepares the 531,131 easier "extra" images with
the others, so it needs all three files, although the papers use none of them. The authors of SVHN allow non-commercial
use only.
"""

from __future__ import annotations

from typing import Any

from tfadv.data.spec import DatasetSpec


def builder(data_dir: str | None) -> Any:
    """The TFDS builder over `data_dir`."""
    import tensorflow_datasets as tfds

    return tfds.builder("svhn_cropped", data_dir=data_dir)


SPEC = DatasetSpec(
    name="svhn",
    shape=(32, 32, 3),
    classes=10,
    splits={"train": 73_257, "test": 26_032},
    class_names=tuple("0123456789"),
    archives=("train_32x32.mat", "test_32x32.mat", "extra_32x32.mat"),
    builder=builder,
)
