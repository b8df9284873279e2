"""What the library knows of a data set before it reads one byte of it."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping

import numpy as np

Arrays = tuple[np.ndarray, np.ndarray]


@dataclasses.dataclass(frozen=True)
class DatasetSpec:
    """One labeled image data set.

    Attributes:
        name: what `load` and the programs call it; the TensorFlow Datasets (TFDS) name, unless `embedded` is given.
        shape: (height, width, channels) of every image.
        classes: number of classes K; labels are 0..K-1.
        splits: number of examples by split name, in the data set as published.
        class_names: what each label stands for, K names.
        archives: names of the original files that `prepare` reads; empty for an embedded data set.
        embedded: split -> (x float32 [N, H, W, C] in [0, 1], y int32 [N]) for data that ships inside an installed
            package and so needs neither a network nor a folder; None for data read through TFDS.
    """

    name: str
    shape: tuple[int, int, int]
    classes: int
    splits: Mapping[str, int]
    class_names: tuple[str, ...]
    archives: tuple[str, ...] = ()
    embedded: Callable[[str], Arrays] | None = None
