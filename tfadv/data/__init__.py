"""Data sets: float32 images in [0, 1] and int32 labels, in an order that is the same every time.

`load("mnist", "train")` is a `tf.data.Dataset` of single examples, `arrays("mnist", "test")` the same as NumPy.
"digits" ships inside scikit-learn; the others come through TensorFlow Datasets, which downloads and prepares them on
first use; a machine without a network prepares them from the original files (`tfadv.data.prepare`).
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from tfadv.data import cifar10, digits, fashion_mnist, mnist, through_tfds
from tfadv.data.spec import Arrays, DatasetSpec
from tfadv.data.subset import check_limit, stratified_subset
from tfadv.validation import UserError

if TYPE_CHECKING:
    import tensorflow as tf

DATASETS: dict[str, DatasetSpec] = {
    module.SPEC.name: module.SPEC for module in (digits, mnist, fashion_mnist, cifar10)
}  # fmt: skip

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
        split: "train" or "test".
        data_dir: folder of TensorFlow Datasets (it holds <name>/<version>/); None is the TFDS default, which the
            environment variable TFDS_DATA_DIR sets. "digits" needs none.
        limit: keep that many examples, drawn with a fixed seed so that each class keeps its share; None keeps all.

    Returns:
        (x, y): x float32 [N, H, W, C] in [0, 1], y int32 [N]; in dataset order, also under `limit`.

    Raises:
        UserError: unknown name or split, a limit outside 1..N, or data that is neither here nor to be downloaded.
    """
    spec = _check(name, split, limit)
    x, y = spec.embedded(split) if spec.embedded else through_tfds.read(spec, split, data_dir)
    if limit is None:
        return x, y
    kept = stratified_subset(y, limit, LIMIT_SEED)
    return x[kept], y[kept]


def load(name: str, split: str, data_dir: str | os.PathLike | None = None, limit: int | None = None) -> tf.data.Dataset:
    """A split of a data set as a `tf.data.Dataset` of (image [H, W, C] float32 in [0, 1], label [] int32).

    The arguments, the examples, their order and the errors are those of `arrays`; the cardinality is known. The split
    lies in memory (the largest, CIFAR-10 "train", takes 614 MB): an epoch of shuffled MNIST batches is read in 0.4 to
    0.7 s from there and in 5 to 6 s from the compressed files, on two cores.
    """
    import tensorflow as tf

    return tf.data.Dataset.from_tensor_slices(arrays(name, split, data_dir, limit))


def _check(name: str, split: str, limit: int | None) -> DatasetSpec:
    spec = find(name)
    if split not in spec.splits:
        raise UserError(f"split must be one of {sorted(spec.splits)} for {name!r}, got {split!r}")
    if limit is not None:
        check_limit(limit, spec.splits[split], f"{split!r} of {name!r}")
    return spec
