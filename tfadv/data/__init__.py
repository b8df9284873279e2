"""Data sets: float32 images in [0, 1] and int32 labels, in an order that is the same every time.

`load("mnist", "train")` is a `tf.data.Dataset` of single examples, `arrays("mnist", "test")` the same as NumPy.
"digits" ships inside scikit-learn and "moons" is computed; the others come through TensorFlow Datasets, which downloads
and prepares them on first use; a machine without a network prepares them from the original files
(`tfadv.data.prepare`), as does everybody for Tiny ImageNet, which may not be downloaded unasked. The simulated data of
the papers, points of known law, are functions in `tfadv.data.simulated`.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import numpy as np

from tfadv.data import (
    cifar10,
    cifar100,
    digits,
    fashion_mnist,
    holdout,
    mnist,
    mnist_3v7,
    moons,
    svhn,
    through_tfds,
    tiny_imagenet,
)
from tfadv.data.spec import Arrays, DatasetSpec
from tfadv.data.subset import check_limit, classes_of, stratified_subset
from tfadv.validation import UserError

if TYPE_CHECKING:
    import tensorflow as tf

# Name -> what is known of the data set before one byte of it is read.
DATASETS: dict[str, DatasetSpec] = {
    spec.name: spec
    for spec in (
        digits.SPEC,
        moons.SPEC,
        mnist.SPEC,
        mnist_3v7.SPEC,
        fashion_mnist.SPEC,
        cifar10.SPEC,
        cifar100.SPEC,
        svhn.SPEC,
        tiny_imagenet.SPEC,
        tiny_imagenet.SUBSET,
    )
}

# `limit` draws with this seed, so that two users, or two runs, with one limit see the same examples.
LIMIT_SEED = 0


def find(name: str) -> DatasetSpec:
    """The description of the data set `name`.

    Raises:
        UserError: there is none of that name.
    """
    if name not in DATASETS:
        raise UserError(f"name must be a data set, one of {sorted(DATASETS)}, got {name!r}")
    return DATASETS[name]


def arrays(name: str, split: str, data_dir: str | os.PathLike | None = None, limit: int | None = None) -> Arrays:
    """A split of a data set in memory.

    Args:
        name: a key of `DATASETS`.
        split: "train" or "test", as published; "validation", a fixed tenth of "train", at most 5,000 examples, with its
            class shares; "train_fit", the rest of "train" (`tfadv.data.holdout`).
        data_dir: folder of TensorFlow Datasets (it holds <name>/<version>/); None is the TFDS default, which the
            environment variable TFDS_DATA_DIR sets. "digits" and "moons" need none.
        limit: keep that many examples, drawn with a fixed seed so that each class keeps its share; None keeps all.

    Returns:
        (x, y): x float32 [N, H, W, C], or [N, features], in [0, 1], y int32 [N]; in dataset order, also under `limit`.

    Raises:
        UserError: unknown name or split, a limit outside 1..N, or data that is neither here nor to be downloaded.
    """
    spec = find(name)
    available = _size(spec, split, data_dir)
    if limit is not None:
        check_limit(limit, available, f"{split!r} of {name!r}")
    x, y = _read(spec, holdout.source(split), data_dir)
    kept = holdout.indices(y, split)
    if limit is not None:
        kept = kept[stratified_subset(y[kept], limit, LIMIT_SEED)]
    if len(kept) < len(y):
        x, y = x[kept], y[kept]
    # Only what is kept: float32 takes four times the memory of the 8-bit originals.
    return (np.divide(x, 255, dtype=np.float32) if x.dtype == np.uint8 else x), y


def load(name: str, split: str, data_dir: str | os.PathLike | None = None, limit: int | None = None) -> tf.data.Dataset:
    """A split of a data set as a `tf.data.Dataset` of (image [H, W, C] float32 in [0, 1], label [] int32).

    The arguments, the examples, their order and the errors are those of `arrays`; the cardinality is known. The split
    lies in memory (CIFAR-10 "train" takes 614 MB, the largest, Tiny ImageNet "train", 4.9 GB): an epoch of shuffled
    MNIST batches is read in 0.4 to 0.7 s from there and in 5 to 6 s from the compressed files, on two cores.
    """
    import tensorflow as tf

    return tf.data.Dataset.from_tensor_slices(arrays(name, split, data_dir, limit))


def _size(spec: DatasetSpec, split: str, data_dir: str | os.PathLike | None) -> int:
    sizes = holdout.sizes(spec.splits or through_tfds.sizes(spec, data_dir))
    if split not in sizes:
        raise UserError(f"split must be one of {sorted(sizes)} for {spec.name!r}, got {split!r}")
    return sizes[split]


def _read(spec: DatasetSpec, split: str, data_dir: str | os.PathLike | None) -> Arrays:
    """A published split: x uint8 as TFDS has it, or float32 in [0, 1] where it is embedded."""
    if spec.embedded:
        return spec.embedded(split)
    if spec.view:
        return classes_of(*_read(find(spec.view.of), split, data_dir), spec.view.labels)
    return through_tfds.read(spec, split, data_dir)
