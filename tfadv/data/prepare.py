"""Preparing a data set for machines without a network, from the original files that its authors published.

Each file is first compared with the SHA-256 that is registered for it, by TensorFlow Datasets (TFDS) or by a builder of
this package; only what is a subset by its name has none, and is taken as far as its layout is right. The work happens
in a temporary folder inside `data_dir`; the finished data set appears there by one rename, so that a reader never sees
half of one, whatever happens on the way.
"""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import os
import pathlib
import shutil
from collections.abc import Callable, Iterator
from typing import Any

from tfadv import data, files
from tfadv.data import through_tfds
from tfadv.data.spec import DatasetSpec
from tfadv.validation import UserError

_CHUNK = 1 << 20


@dataclasses.dataclass(frozen=True)
class Prepared:
    """Where a data set lies.

    Attributes:
        folder: <data_dir>/<name>/<version>.
        already: whether it lay there before.
    """

    folder: pathlib.Path
    already: bool


def prepare(
    name: str,
    archives: str | os.PathLike,
    data_dir: str | os.PathLike | None = None,
    report: Callable[[str], None] = print,
) -> Prepared:
    """Prepares data set `name` under `data_dir` from the original files in folder `archives`, without a network.

    Args:
        name: a key of `tfadv.data.DATASETS` whose `archives` names the files that are needed.
        archives: folder that holds them under those names; it is only read.
        data_dir: TFDS folder that receives <name>/<version>/; None is the TFDS default (see `tfadv.data.arrays`).
        report: receives one line of progress for each file and stage.

    Raises:
        UserError: unknown data set, or one that needs no preparation; a file is missing, truncated or another one than
            registered; the folder cannot be written; another process is preparing the same data set there. `data_dir`
            is then as it was.
    """
    spec = data.find(name)
    if spec.embedded:
        raise UserError(
            f"name: {name!r} ships inside an installed package, or is computed, and needs no preparation; load it "
            "directly"
        )
    if spec.view:
        raise UserError(f"name: {name!r} consists of classes of {spec.view.of!r}; prepare that")
    builder = through_tfds.builder(spec, data_dir)
    final = pathlib.Path(os.fspath(builder.data_dir))
    if through_tfds.is_prepared(builder):
        return Prepared(final, already=True)
    source = pathlib.Path(archives).expanduser()
    verify(spec, source, builder.url_infos.values(), report)
    with _workspace(pathlib.Path(through_tfds.root(builder)), name) as work:
        if final.exists():
            if (final / "dataset_info.json").exists():  # another process finished while this one compared the files
                return Prepared(final, already=True)
            raise UserError(f"data_dir: {final} exists but holds no prepared data set; move or delete it first")
        report(f"preparing {name} in {final}")
        _build(spec, source, work).rename(_made(final.parent) / final.name)
    return Prepared(final, already=False)


def verify(spec: DatasetSpec, source: pathlib.Path, registered: Any, report: Callable[[str], None]) -> None:
    """Compares every file with the registered SHA-256; one error names all files at fault with both hashes.

    Where nothing at all is registered, for a subset, the SHA-256 of the file is only reported.
    """
    if not source.is_dir():
        raise UserError(f"archives must be a folder that holds {', '.join(spec.archives)}, got {source}")
    expected = {info.filename: info for info in registered}
    faults = []
    for name in spec.archives:
        path, info = source / name, expected[name] if expected else None
        if not path.is_file():
            wanted = f"expected sha256 {info.checksum}, got no file" if info else "any archive of the layout"
            faults.append(f"{name} is missing ({wanted})")
            continue
        found, size = sha256(path), path.stat().st_size
        if info is None:
            report(f"not verified, because no checksum is registered for it: {name}: sha256 {found}")
            continue
        if found == info.checksum:
            report(f"verified {name}: sha256 {found}")
            continue
        kind = f"is truncated at {size} of {int(info.size)} bytes" if size < info.size else "is not the original file"
        faults.append(f"{name} {kind} (expected sha256 {info.checksum}, got {found})")
    if faults:
        raise UserError(f"archives {source} of {spec.name!r}: {'; '.join(faults)}; fetch each named file again")


def sha256(path: pathlib.Path) -> str:
    """The SHA-256 of a file, 64 hexadecimal digits."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while chunk := file.read(_CHUNK):
            digest.update(chunk)
    return digest.hexdigest()


def _build(spec: DatasetSpec, source: pathlib.Path, work: pathlib.Path) -> pathlib.Path:
    """Lets TFDS prepare the data set inside `work`; returns the finished folder."""
    import tensorflow_datasets as tfds

    # A folder of links for this data set alone: two data sets may share file names, and the sources stay untouched.
    manual = _made(work / "manual")
    for name in spec.archives:
        (manual / name).symlink_to((source / name).resolve())
    config = tfds.download.DownloadConfig(
        manual_dir=manual, extract_dir=work / "extracted", try_download_gcs=False, force_checksums_validation=True
    )
    builder = through_tfds.builder(spec, work / "prepared")
    try:
        builder.download_and_prepare(download_dir=work / "downloads", download_config=config)
    except OSError as error:
        raise UserError(f"cannot prepare {spec.name!r} in {work}: {error}; is the disk full?") from error
    return pathlib.Path(os.fspath(builder.data_dir))


@contextlib.contextmanager
def _workspace(root: pathlib.Path, name: str) -> Iterator[pathlib.Path]:
    """An empty temporary folder in `root`, held by this process alone and removed at the end."""
    created = [folder for folder in (root, *root.parents) if not folder.exists()]
    work = root / f".preparing-{name}"
    try:
        with files.locked(root / f".preparing-{name}.lock", f"{name!r} in {root}"):
            shutil.rmtree(work, ignore_errors=True)  # what a process left that was killed
            try:
                yield _made(work)
            finally:
                shutil.rmtree(work, ignore_errors=True)
    finally:
        for folder in created:  # innermost first; one that received the data set is not empty and stays
            with contextlib.suppress(OSError):
                folder.rmdir()


def _made(folder: pathlib.Path) -> pathlib.Path:
    folder.mkdir(parents=True, exist_ok=True)
    return folder
