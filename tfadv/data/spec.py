"""What the library knows of a data set before it reads one byte of it."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

Arrays = tuple[np.ndarray, np.ndarray]


@dataclasses.dataclass(frozen=True)
class View:
    """Some classes of another data set: label k here is label `labels[k]` of data set `of`; the order is kept."""

    of: str
    labels: tuple[int, ...]


@dataclasses.dataclass(frozen=True)
class DatasetSpec:
    """One labeled data set.

    It comes from one of three places: TensorFlow Datasets (TFDS) unless said otherwise, this package (`embedded`), or
    another data set (`view`).

    Attributes:
        name: what `load` and the programs call it; also the TFDS name, unless `builder` is given.
        shape: of every example: (height, width, channels) of an image, (features,) of a vector.
        classes: number of classes K; labels are 0..K-1.
        splits: number of examples by split name, in the data set as published; empty where only the prepared files can
            tell.
        class_names: what each label stands for, K names.
        archives: names of the original files that `prepare` reads; empty where there is nothing to prepare.
        embedded: split -> (x float32 [N, *shape] in [0, 1], y int32 [N]) for data that ships inside an installed
            package or is computed, and so needs neither a network nor a folder.
        view: the classes of another data set that this one consists of.
        builder: data_dir -> TFDS builder, where TFDS has another name for the data set or does not know it.
        by_hand: why, and where, a user has to fetch the archives in person; empty where TFDS may download them.
    """

    name: str
    shape: tuple[int, ...]
    classes: int
    splits: Mapping[str, int]
    class_names: tuple[str, ...]
    archives: tuple[str, ...] = ()
    embedded: Callable[[str], Arrays] | None = None
    view: View | None = None
    builder: Callable[[str | None], Any] | None = None
    by_hand: str = ""
