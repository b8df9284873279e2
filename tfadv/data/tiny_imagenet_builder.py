"""The TensorFlow Datasets (TFDS) builders of Tiny ImageNet and of its subsets, from the archive as published.

The archive holds a folder tiny-imagenet-200 with wnids.txt (one class each line), train/<class>/images/*.JPEG,
val/images/*.JPEG and val/val_annotations.txt (file name, class and a box on each line, separated by tabs). Other
members, such as the unlabeled test images, are not read.
"""

from __future__ import annotations

import collections
import zipfile
import zlib
from collections.abc import Iterator
from typing import Any, ClassVar

import tensorflow as tf
import tensorflow_datasets as tfds

from tfadv.data.tiny_imagenet import ARCHIVE, CLASSES, SUBSET_ARCHIVE, URL
from tfadv.validation import UserError

_ROOT = "tiny-imagenet-200/"

# Label and path in the archive of every image of a split, in the order of the paths.
Images = list[tuple[str, str]]


class TinyImagenet(tfds.core.GeneratorBasedBuilder, skip_registration=True):  # type: ignore[call-arg]  # TFDS: no types
    """Tiny ImageNet as published: 500 training and 50 validation images ("test") of each of 200 classes.

    The images are stored decoded, as PNG (about 1 GB): the JPEG decoder that TFDS would use differs from the exact one,
    which other frameworks use, by one level in the mean and by up to five.
    """

    name = "tiny_imagenet"
    VERSION = tfds.core.Version("1.0.0")
    MANUAL_DOWNLOAD_INSTRUCTIONS = f"Fetch {URL} and run python -m trainers.prepare_data --dataset=tiny_imagenet."

    ARCHIVE = ARCHIVE
    # Images of each class in "train" and "test"; None where any number above 0 will do.
    PER_CLASS: tuple[int, int] | None = (500, 50)
    # Not published by its authors. Several public projects state this SHA-256 and size, others the MD5
    # 90528d7ca1a48142e341f4ef8d21d0de together with the same size.
    url_infos: ClassVar[dict[str, Any]] = {
        URL: tfds.download.checksums.UrlInfo(
            size=tfds.core.utils.Size(248_100_043),
            checksum="6198c8ae015e2b3e007c7841da39ec069199b9aa3bfa943a462022fe5e43c821",
            filename=ARCHIVE,
        )
    }

    def _info(self) -> tfds.core.DatasetInfo:
        return tfds.core.DatasetInfo(
            builder=self,
            description=f"{self.name}: from {self.ARCHIVE}",
            features=tfds.features.FeaturesDict(
                {
                    "image": tfds.features.Image(shape=(64, 64, 3), encoding_format="png"),
                    "label": tfds.features.ClassLabel(names=CLASSES),
                }
            ),
            supervised_keys=("image", "label"),
            homepage=URL,
        )

    def _split_generators(self, dl_manager: Any) -> dict[str, Iterator]:
        path = dl_manager.manual_dir / self.ARCHIVE
        with _open(path) as archive:
            train, test = images_of(archive, self.PER_CLASS)
        return {"train": self._generate_examples(path, train), "test": self._generate_examples(path, test)}

    def _generate_examples(self, path: Any, images: Images) -> Iterator:
        with _open(path) as archive:
            for label, member in images:
                yield member, {"image": _pixels(archive, member), "label": label}


class TinyImagenetSubset(TinyImagenet, skip_registration=True):  # type: ignore[call-arg]  # TFDS: no types
    """Any part of Tiny ImageNet in an archive of the same layout; every class is still there."""

    name = "tiny_imagenet_subset"
    MANUAL_DOWNLOAD_INSTRUCTIONS = f"Cut {SUBSET_ARCHIVE} out of {ARCHIVE}, of the same layout, with fewer images."

    ARCHIVE = SUBSET_ARCHIVE
    PER_CLASS = None
    url_infos: ClassVar[dict[str, Any]] = {}


def images_of(archive: zipfile.ZipFile, per_class: tuple[int, int] | None) -> tuple[Images, Images]:
    """The images of "train" and "test", each with its class, in the order of their paths.

    Args:
        archive: of the published layout.
        per_class: number of images of each class in the two splits; None asks for at least one.

    Raises:
        UserError: other classes, an image without a label or a label without its image, or another number of images.
    """
    members = set(archive.namelist())
    listed = set(_lines(archive, "wnids.txt", members))
    if listed != set(CLASSES):
        first = sorted(listed ^ set(CLASSES))[0]
        raise _fault(archive, f"wnids.txt must list the 200 classes of Tiny ImageNet, but differs in {first}")
    inside = (name.removeprefix(_ROOT) for name in members if name.startswith(_ROOT))
    pictures = sorted(name for name in inside if name.endswith(".JPEG"))
    train = [(name.split("/")[1], name) for name in pictures if name.startswith("train/")]
    found = [name for name in pictures if name.startswith("val/")]
    rows = [line.split("\t") for line in _lines(archive, "val/val_annotations.txt", members)]
    labels = {f"val/images/{row[0]}": row[1] for row in rows if len(row) > 1}
    odd = sorted(set(found) ^ set(labels))
    if odd:
        raise _fault(archive, f"val/val_annotations.txt must label every validation image, but differs in {odd[0]}")
    splits = train, [(labels[name], name) for name in found]
    for split, images, number in zip(("training", "validation"), splits, per_class or (None, None), strict=True):
        counts = collections.Counter(label for label, _ in images)
        if strangers := sorted(set(counts) - set(CLASSES)):
            raise _fault(archive, f"{split} images must belong to the 200 classes, got one of {strangers[0]}")
        for label in CLASSES:
            if counts[label] != (number or max(counts[label], 1)):
                wanted = "at least 1" if number is None else number
                raise _fault(archive, f"class {label} must have {wanted} {split} images, got {counts[label]}")
    return splits


def _open(path: Any) -> zipfile.ZipFile:
    try:
        return zipfile.ZipFile(path)
    except zipfile.BadZipFile as error:
        raise UserError(f"archives: {path} is truncated, or not a zip file ({error}); copy it again") from error


def _lines(archive: zipfile.ZipFile, name: str, members: set[str]) -> list[str]:
    if _ROOT + name not in members:
        raise _fault(archive, f"{_ROOT}{name} is missing")
    try:
        return _content(archive, name).decode().splitlines()
    except UnicodeDecodeError as error:
        raise _fault(archive, f"{name} is no text") from error


def _content(archive: zipfile.ZipFile, name: str) -> bytes:
    try:
        return archive.read(_ROOT + name)
    # Encrypted, or compressed by a method that Python does not have.
    except (zipfile.BadZipFile, zlib.error, RuntimeError, NotImplementedError) as error:
        raise _fault(archive, f"{name} is damaged, or not readable here ({error})") from error


def _pixels(archive: zipfile.ZipFile, member: str) -> Any:
    """uint8 [64, 64, 3]; gray images, of which there are some, get three equal channels."""
    content = _content(archive, member)
    try:
        pixels = tf.io.decode_jpeg(content, channels=3, dct_method="INTEGER_ACCURATE").numpy()
    except tf.errors.InvalidArgumentError as error:
        raise _fault(archive, f"{member} is not a JPEG image") from error
    if pixels.shape != (64, 64, 3):
        raise _fault(archive, f"{member} must have 64x64 pixels, got {pixels.shape[1]}x{pixels.shape[0]}")
    return pixels


def _fault(archive: zipfile.ZipFile, what: str) -> UserError:
    return UserError(f"archives: {archive.filename}: {what}; copy the archive again")
