"""What a user has to be evaluated on, as arrays: arrays, a tf.data.Dataset, or the name of a data set or a file."""

from __future__ import annotations

import dataclasses
import os
import pathlib
import zipfile
from typing import Any

import numpy as np
import tensorflow as tf

import tfadv.data
from tfadv.data import through_tfds
from tfadv.data.spec import DatasetSpec
from tfadv.data.subset import check_limit, stratified_subset
from tfadv.validation import UserError, check_images, check_labels

_TFDS = "tfds:"
_DIVIDED = "the images are 8-bit numbers and were divided by 255"
# How far the sum of a distribution may be from 1.
_SUM_TOLERANCE = 1e-3


@dataclasses.dataclass(frozen=True, eq=False)
class NamedData:
    """What a name stood for.

    Attributes:
        x: float32 [N, ...] in the bounds that were asked for.
        y: int32 [N].
        name: as a report calls it: "mnist test", "images.npz".
        notes: what was done to the data on the way, in words.
    """

    x: np.ndarray
    y: np.ndarray
    name: str
    notes: tuple[str, ...] = ()


def named(
    text: str | os.PathLike,
    split: str = "test",
    *,
    data_dir: str | os.PathLike | None = None,
    limit: int | None = None,
    bounds: tuple[float, float] = (0.0, 1.0),
) -> NamedData:
    """The data that `text` names.

    Args:
        text: a data set of `tfadv.data.DATASETS`; "tfds:NAME", any TensorFlow Datasets set of 8-bit images of one size
            and class labels, NAME as in `tfds.builder` ("tfds:kmnist", "tfds:emnist/letters"); or the path of an .npz
            file with the arrays x and y.
        split: which part of a data set; an .npz file has no others than "test".
        data_dir: folder of TensorFlow Datasets; None is its default.
        limit: keeps that many examples, drawn with the seed of `tfadv.data` so that each class keeps its share.
        bounds: (lowest, highest) pixel value; 8-bit images are divided by 255 for (0, 1) alone.

    Raises:
        UserError: no such data, or data of another kind; the message says what is there.
    """
    text = os.fspath(text)
    if text.startswith(_TFDS):
        x, y = _through_tfds(text.removeprefix(_TFDS), split, data_dir)
        name = f"{text.removeprefix(_TFDS)} {split}"
    elif text in tfadv.data.DATASETS:
        # This reads no more than it keeps, so the limit is taken there.
        x, y = tfadv.data.arrays(text, split, data_dir=data_dir, limit=limit)
        limit, name = None, f"{text} {split}"
    elif text.endswith(".npz") or os.path.isfile(text):
        if split != "test":
            raise UserError(f"split must be 'test' for a file, which has no others, got {split!r}; name another file")
        x, y = _npz(pathlib.Path(text))
        name = pathlib.Path(text).name
    else:
        raise UserError(
            f"data must be one of {sorted(tfadv.data.DATASETS)}, '{_TFDS}NAME' for a set of TensorFlow Datasets, or "
            f"the path of an .npz file with arrays x and y, got {text!r}"
        )
    if limit is not None:
        check_limit(limit, len(x), name)
        kept = stratified_subset(check_labels(y, len(x)), limit, tfadv.data.LIMIT_SEED)
        x, y = x[kept], y[kept]
    notes: tuple[str, ...] = ()
    if x.dtype == np.uint8 and tuple(bounds) == (0.0, 1.0):
        x, notes = np.divide(x, 255, dtype=np.float32), (_DIVIDED,)
    try:
        x, y = as_arrays((x, y), bounds)
    except UserError as error:
        raise UserError(f"{name}: {error}") from error
    return NamedData(x, y, name, notes)


def as_arrays(data: Any, bounds: tuple[float, float] = (0.0, 1.0)) -> tuple[np.ndarray, np.ndarray]:
    """Images float32 [N, ...] and integer labels int32 [N] of a pair of arrays or of a Dataset, batched or not.

    Labels are class numbers or distributions, as in `check_labels`. In a Dataset whose labels have one axis, that axis
    is the batch's where images and labels are equally many, and otherwise the classes' of one example.

    Raises:
        UserError: neither, infinite, empty, images of several sizes, a Dataset that can be read in both ways, or images
            or labels that `check_images` and `check_labels` refuse.
    """
    if isinstance(data, tf.data.Dataset):
        x, y = _columns(data)
    elif isinstance(data, tuple | list) and len(data) == 2:
        x, y = data
    else:
        raise UserError(f"data must be arrays (x, y) or a tf.data.Dataset of (image, label), got {type(data).__name__}")
    x = check_images(x, bounds)
    if not len(x):
        raise UserError("data must hold at least one image, got none")
    return x, check_labels(y, len(x))


def _columns(dataset: tf.data.Dataset) -> tuple[np.ndarray, np.ndarray]:
    """All images and all labels of a Dataset."""
    spec = dataset.element_spec
    if not (isinstance(spec, tuple) and len(spec) == 2 and all(isinstance(each, tf.TensorSpec) for each in spec)):
        raise UserError(f"data must yield (image, label) pairs, got elements {spec}")
    if dataset.cardinality() == tf.data.INFINITE_CARDINALITY:
        raise UserError("data must be finite, got a dataset that repeats forever; use .take(count)")
    pairs = list(dataset.as_numpy_iterator())
    if not pairs:
        raise UserError("data must hold at least one image, got an empty dataset")
    images, labels = (list(map(np.asarray, column)) for column in zip(*pairs, strict=True))
    sizes = sorted({each.shape for each in images}, key=str)
    if _one_by_one(spec, images, labels):
        if len(sizes) > 1:
            raise UserError(f"data must hold images of one shape, got {sizes[0]} and {sizes[1]}; resize them")
        return np.stack(images), np.stack(labels)
    if len({size[1:] for size in sizes}) > 1:
        raise UserError(f"data must hold images of one shape, got batches {sizes[0]} and {sizes[1]}; resize them")
    return np.concatenate(images), np.concatenate(labels)


def _one_by_one(spec: Any, images: list[np.ndarray], labels: list[np.ndarray]) -> bool:
    """Whether a Dataset yields single examples and not batches.

    Raises:
        UserError: both would make sense, or neither.
    """
    if labels[0].ndim != 1:
        return labels[0].ndim == 0
    together = all(image.ndim and len(image) == len(label) for image, label in zip(images, labels, strict=True))
    distributions = all(
        len(label) > 1 and (label >= 0).all() and abs(label.sum() - 1) < _SUM_TOLERANCE for label in labels
    )
    if together and distributions and spec[1].shape.rank == 1 and spec[1].shape[0] is not None:
        raise UserError(
            f"data can be read in two ways: images {images[0].shape} with labels {labels[0].shape} are single examples "
            "with one-hot labels, or batches; yield class numbers (tf.argmax of the label) or use .batch(100)"
        )
    if not (together or distributions):
        raise UserError(
            f"data must yield a label for each image, got images {images[0].shape} with labels {labels[0].shape} that "
            "are neither as many nor a distribution over the classes (>= 0, sum 1); yield class numbers"
        )
    return not together


def _npz(path: pathlib.Path) -> tuple[np.ndarray, np.ndarray]:
    """x and y of a file; Python objects in it are never unpickled."""
    how = "write it with numpy.savez(path, x=images, y=labels)"
    if not os.path.isfile(path):  # False also for a name that no file can have
        raise UserError(f"data file {str(path)!r} does not exist")
    try:
        stored = np.load(path, allow_pickle=False)
    except (OSError, ValueError, EOFError, zipfile.BadZipFile) as error:
        raise UserError(f"data file {str(path)!r} is no .npz file, or a damaged one; {how}") from error
    if isinstance(stored, np.ndarray):
        raise UserError(f"data file {str(path)!r} holds a single array; {how}")
    with stored:
        missing = [key for key in ("x", "y") if key not in stored.files]
        if missing:
            raise UserError(
                f"data file {str(path)!r} must hold the arrays x and y, it holds {sorted(stored.files)}; {how}"
            )
        columns = {}
        for key in ("x", "y"):
            try:
                columns[key] = stored[key]
                if not isinstance(columns[key], np.ndarray):  # NumPy gives the bytes of what is no array.
                    raise ValueError("it is no array")
            except ValueError as error:
                if "allow_pickle" not in str(error):
                    raise UserError(f"{key} in data file {str(path)!r} is damaged ({error}); {how}") from error
                raise UserError(
                    f"{key} in data file {str(path)!r} holds Python objects, which are not loaded because that could "
                    "run code; make it an array of numbers, with images of one size"
                ) from error
            except (OSError, EOFError, zipfile.BadZipFile) as error:
                raise UserError(f"{key} in data file {str(path)!r} is damaged ({error}); {how}") from error
    return columns["x"], columns["y"]


def _through_tfds(name: str, split: str, data_dir: str | os.PathLike | None) -> tuple[np.ndarray, np.ndarray]:
    """Images uint8 and labels of a split of any data set of TFDS, downloaded if it is not there."""
    import tensorflow_datasets as tfds

    folder = None if data_dir is None else os.path.expanduser(os.fspath(data_dir))
    try:
        builder = tfds.builder(name, data_dir=folder)
    except (ValueError, AssertionError, OSError, ImportError) as error:
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
        raise UserError(
            f"data {_TFDS + name!r} cannot be opened by TensorFlow Datasets ({reason}); see tfds.list_builders() for "
            "the names, or save arrays in an .npz file"
        ) from error
    spec = _spec(name, builder)
    if not through_tfds.is_prepared(builder):
        _download(name, builder)
    splits = sorted(builder.info.splits)
    if split not in splits:
        raise UserError(f"split must be one of {splits} for {_TFDS + name!r}, got {split!r}")
    return through_tfds.read(spec, split, folder)


def _spec(name: str, builder: Any) -> DatasetSpec:
    """What `through_tfds.read` has to know; refuses what is no classification of 8-bit images of one size."""
    import tensorflow_datasets as tfds

    info = builder.info
    features = dict(info.features.items()) if isinstance(info.features, tfds.features.FeaturesDict) else {}
    keys = info.supervised_keys if info.supervised_keys and len(info.supervised_keys) == 2 else (None, None)
    pair: list[Any] = [features.get(key) if isinstance(key, str) else None for key in keys]
    image, label = pair
    fits = isinstance(image, tfds.features.Image) and isinstance(label, tfds.features.ClassLabel)
    if not fits or image.np_dtype != np.uint8 or None in image.shape:
        described = ", ".join(f"{key}: {type(each).__name__} {each.shape}" for key, each in features.items())
        raise UserError(
            f"data {_TFDS + name!r} must have 8-bit images of one size and a class for each, it has ({described}); "
            "save resized images and class numbers as x and y of an .npz file"
        )
    return DatasetSpec(name, tuple(image.shape), label.num_classes, splits={}, class_names=tuple(label.names))


def _download(name: str, builder: Any) -> None:
    import requests
    import tensorflow_datasets as tfds

    folder = os.fspath(builder.data_dir).removesuffix(builder.info.full_name)
    how = (
        f"prepare it where there is a network (tfds build {name}) and name the folder that holds it as data_dir, "
        f"which is {folder} now"
    )
    urls = list(builder.url_infos)
    obstacle = through_tfds.unreachable(urls[0]) if urls else None
    if obstacle is not None:
        raise UserError(f"data {_TFDS + name!r} is not there and cannot be downloaded ({obstacle}); {how}")
    manager = tfds.download.download_manager
    try:
        builder.download_and_prepare(download_config=tfds.download.DownloadConfig(try_download_gcs=False))
    except (
        tfds.download.DownloadError,
        manager.NonMatchingChecksumError,
        requests.RequestException,
        OSError,
        AssertionError,  # a data set that has to be fetched by hand
    ) as error:
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
        raise UserError(f"data {_TFDS + name!r} cannot be downloaded ({reason}); {how}") from error
