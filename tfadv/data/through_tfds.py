"""Reading a data set through TensorFlow Datasets (TFDS), and saying in one line what to do where that cannot work."""

from __future__ import annotations

import os
import pathlib
import threading
import urllib.error
import urllib.request
from typing import Any
from urllib.parse import urlsplit

import numpy as np

from tfadv.data.spec import Arrays, DatasetSpec
from tfadv.validation import UserError

# TFDS itself retries an unreachable host ten times with growing pauses, for minutes. One short look decides.
REACH_SECONDS = 10.0
_READ_BATCH = 1_000


def builder(spec: DatasetSpec, data_dir: str | os.PathLike | None) -> Any:
    """The TFDS builder of `spec` over `data_dir`; None is the TFDS default (TFDS_DATA_DIR, else ~/tensorflow_datasets).

    Raises:
        UserError: TFDS cannot read the description of the data set in that folder.
    """
    import tensorflow_datasets as tfds
    from google.protobuf import json_format

    folder = None if data_dir is None else os.path.expanduser(os.fspath(data_dir))
    try:
        return spec.builder(folder) if spec.builder else tfds.builder(spec.name, data_dir=folder)
    except (OSError, ValueError, AssertionError, json_format.Error) as error:
        raise UserError(
            f"data_dir: the data set {spec.name!r} in {folder} cannot be opened ({error}); delete its folder and "
            "prepare it again"
        ) from error


def is_prepared(tfds_builder: Any) -> bool:
    """Whether the data set is complete in its folder: TFDS writes dataset_info.json last, then renames the folder."""
    import tensorflow as tf

    return tf.io.gfile.exists(os.path.join(os.fspath(tfds_builder.data_dir), "dataset_info.json"))


def root(tfds_builder: Any) -> str:
    """The folder that a user gives as `data_dir`: <root>/<name>/<version> is the folder of the data set."""
    return os.path.dirname(os.path.dirname(os.fspath(tfds_builder.data_dir)))


def sizes(spec: DatasetSpec, data_dir: str | os.PathLike | None) -> dict[str, int]:
    """Number of examples by split name of what lies prepared in `data_dir`.

    Raises:
        UserError: the data set is not there.
    """
    return {name: int(split.num_examples) for name, split in _prepared(spec, data_dir).info.splits.items()}


def read(spec: DatasetSpec, split: str, data_dir: str | os.PathLike | None) -> Arrays:
    """The images uint8 [N, H, W, C] and labels int32 [N] of a split, in the order of the prepared files.

    Raises:
        UserError: the data set is neither in `data_dir` nor to be downloaded, or its files are damaged or incomplete.
    """
    import tensorflow as tf
    import tensorflow_datasets as tfds

    tfds_builder = _prepared(spec, data_dir)
    remedy = f"delete {tfds_builder.data_dir} and prepare the data set again"
    count = int(tfds_builder.info.splits[split].num_examples)
    published = spec.splits.get(split, count)
    if count != published:
        raise UserError(f"data_dir: {split!r} of {spec.name!r} holds {count} instead of {published} examples; {remedy}")
    # One file after the other, each from its start: the same order on every machine, however many readers there are.
    order = tfds.ReadConfig(interleave_cycle_length=1, try_autocache=False)
    dataset = tfds_builder.as_dataset(split=split, as_supervised=True, shuffle_files=False, read_config=order)
    x, y = np.empty((count, *spec.shape), np.uint8), np.empty((count,), np.int32)
    filled = 0
    # Missing, cut inside an example, cut between two examples, not an image.
    errors = tf.errors
    damage = (errors.NotFoundError, errors.DataLossError, errors.FailedPreconditionError, errors.InvalidArgumentError)
    try:
        for images, labels in dataset.batch(_READ_BATCH).as_numpy_iterator():
            x[filled : filled + len(labels)] = images
            y[filled : filled + len(labels)] = labels
            filled += len(labels)
    except damage as error:
        cause = error.message.split("}} ")[-1]  # TensorFlow puts the node between braces in front
        raise UserError(f"data_dir: files of {spec.name!r} are missing or damaged ({cause}); {remedy}") from error
    return x, y


def _prepared(spec: DatasetSpec, data_dir: str | os.PathLike | None) -> Any:
    """The TFDS builder over `data_dir`, after whatever it takes to get the data there."""
    tfds_builder = builder(spec, data_dir)
    if not is_prepared(tfds_builder):
        _download(spec, tfds_builder)
    return tfds_builder


def _download(spec: DatasetSpec, tfds_builder: Any) -> None:
    """Lets TFDS download and prepare the data set, or says in one line how to supply it."""
    import requests
    import tensorflow_datasets as tfds

    if spec.by_hand:
        raise UserError(_how_to_supply(spec, tfds_builder, None))
    manual = pathlib.Path(root(tfds_builder), "downloads", "manual")  # where TFDS itself looks before it downloads
    urls = [url for url, info in tfds_builder.url_infos.items() if not (manual / str(info.filename)).exists()]
    obstacle = unreachable(urls[0]) if urls else None
    if obstacle is not None:
        raise UserError(_how_to_supply(spec, tfds_builder, obstacle))
    config = tfds.download.DownloadConfig(try_download_gcs=False)
    try:
        tfds_builder.download_and_prepare(download_config=config)
    except (tfds.download.DownloadError, tfds.download.download_manager.NonMatchingChecksumError) as error:
        raise UserError(_how_to_supply(spec, tfds_builder, str(error))) from error
    except requests.RequestException as error:
        raise UserError(_how_to_supply(spec, tfds_builder, f"the download broke off: {error}")) from error
    except OSError as error:
        raise UserError(f"cannot prepare {spec.name!r} in {tfds_builder.data_dir}: {error}") from error


def unreachable(url: str) -> str | None:
    """Why the host of `url` does not serve within `REACH_SECONDS`, or None if it answers with a status below 500.

    TFDS reports the statuses from 400 on at once, but keeps retrying those from 500 on. The usual variables
    (HTTPS_PROXY, NO_PROXY, ...) are honored.
    """
    failure: list[str | None] = ["no answer"]

    def look() -> None:
        try:
            with urllib.request.urlopen(urllib.request.Request(url, method="HEAD"), timeout=REACH_SECONDS):
                failure[0] = None
        except urllib.error.HTTPError as error:
            failure[0] = f"status {error.code}" if error.code >= 500 else None
        except (OSError, ValueError) as error:
            failure[0] = str(getattr(error, "reason", error))

    # In a thread, because the time limit of a request does not cover the search for the address of the host.
    thread = threading.Thread(target=look, daemon=True)
    thread.start()
    thread.join(REACH_SECONDS)
    return None if failure[0] is None else f"{urlsplit(url).hostname} is out of reach: {failure[0]}"


def _how_to_supply(spec: DatasetSpec, tfds_builder: Any, obstacle: str | None) -> str:
    """The message for absent data; `obstacle` is why a download failed, None where none may be tried."""
    folder = root(tfds_builder)
    if obstacle is None:
        reason = f"is not downloaded for you ({spec.by_hand});"
    else:
        reason = (
            f"cannot be downloaded ({obstacle}); either connect this machine to the network, so that TensorFlow "
            "Datasets downloads it, or"
        )
    return (
        f"data set {spec.name!r} is not in data_dir {folder} and {reason} prepare it from the original files "
        f"({', '.join(spec.archives)}): python -m trainers.prepare_data --dataset={spec.name} --archives=FOLDER "
        f"--data_dir={folder} (tfadv-prepare-data once installed)"
    )
