"""The builder on made-up archives: the published layout and nothing else, and nothing left behind."""

import zipfile

import numpy as np
import pytest
import tensorflow as tf

from tfadv import data
from tfadv.data import through_tfds
from tfadv.data.prepare import prepare
from tfadv.data.tiny_imagenet import CLASSES
from tfadv.data.tiny_imagenet_builder import TinyImagenet, images_of
from tfadv.validation import UserError

ROOT = "tiny-imagenet-200/"


def jpeg(brightness: int, size: int = 64) -> bytes:
    """A JPEG image of one brightness, gray, so that decoding has to add the channels."""
    return tf.io.encode_jpeg(np.full((size, size, 1), brightness, np.uint8)).numpy()


@pytest.fixture(scope="module")
def members() -> dict[str, bytes]:
    """Two training images and one validation image of each class, as bright as the label is high; last class first."""
    pictures = [jpeg(k) for k in range(200)]
    content, rows = {"wnids.txt": "\n".join(reversed(CLASSES)).encode(), "words.txt": b"ignored"}, []
    for k, name in enumerate(CLASSES):
        for i in range(2):
            content[f"train/{name}/images/{name}_{i}.JPEG"] = pictures[k]
        content[f"train/{name}/{name}_boxes.txt"] = b"ignored"
        content[f"val/images/val_{199 - k}.JPEG"] = pictures[k]
        rows.append(f"val_{199 - k}.JPEG\t{name}\t0\t0\t63\t63\n")
        content[f"test/images/test_{k}.JPEG"] = b"ignored"
    return {**content, "val/val_annotations.txt": "".join(rows).encode()}


def write(path, members):
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in members.items():
            archive.writestr(ROOT + name, content)


def refusal(tmp_path, members, per_class=None):
    """The message with which the layout is refused."""
    write(tmp_path / "made_up.zip", members)
    with zipfile.ZipFile(tmp_path / "made_up.zip") as archive, pytest.raises(UserError) as caught:
        images_of(archive, per_class)
    assert f"archives: {tmp_path}/made_up.zip: " in str(caught.value)
    assert "copy the archive again" in str(caught.value)
    return str(caught.value)


def test_a_verified_archive_of_the_published_layout_is_prepared_and_read(members, tmp_path, register, monkeypatch):
    source = tmp_path / "archives"
    source.mkdir()
    write(source / "tiny-imagenet-200.zip", members)
    register("tiny_imagenet", source, {"train": 400, "test": 200})
    monkeypatch.setattr(TinyImagenet, "PER_CLASS", (2, 1))
    lines = []
    prepare("tiny_imagenet", source, tmp_path / "tfds", lines.append)
    assert lines[0].startswith("verified tiny-imagenet-200.zip: sha256 ")
    for split, each in (("train", 2), ("test", 1)):
        x, y = data.arrays("tiny_imagenet", split, tmp_path / "tfds")
        assert np.bincount(y).tolist() == [each] * 200
        np.testing.assert_allclose(x * 255, np.broadcast_to(y[:, None, None, None], x.shape), atol=1e-4)
        assert y.tolist() != sorted(y)
    names = through_tfds.builder(data.DATASETS["tiny_imagenet"], tmp_path / "tfds").info.features["label"].names
    assert tuple(names) == CLASSES


def test_the_layout_gives_every_image_its_class_in_the_order_of_the_paths(members, tmp_path):
    write(tmp_path / "made_up.zip", members)
    with zipfile.ZipFile(tmp_path / "made_up.zip") as archive:
        train, test = images_of(archive, (2, 1))
    assert train[:2] == [(CLASSES[0], f"train/{CLASSES[0]}/images/{CLASSES[0]}_{i}.JPEG") for i in range(2)]
    assert test[0] == (CLASSES[199], "val/images/val_0.JPEG")
    assert (len(train), len(test)) == (400, 200)


def test_the_published_number_of_images_is_required_of_the_whole_data_set(members, tmp_path):
    message = refusal(tmp_path, members, TinyImagenet.PER_CLASS)
    assert f"class {CLASSES[0]} must have 500 training images, got 2" in message


@pytest.mark.parametrize("name", ["wnids.txt", "val/val_annotations.txt"])
def test_a_missing_list_is_named(members, tmp_path, name):
    left = {key: content for key, content in members.items() if key != name}
    assert f"tiny-imagenet-200/{name} is missing" in refusal(tmp_path, left)


def test_other_classes_are_refused(members, tmp_path):
    changed = {**members, "wnids.txt": members["wnids.txt"].replace(CLASSES[3].encode(), b"n00000000")}
    assert "wnids.txt must list the 200 classes of Tiny ImageNet, but differs in n00000000" in refusal(
        tmp_path, changed
    )


def test_a_validation_image_without_a_label_and_a_label_without_an_image_are_named(members, tmp_path):
    message = "val/val_annotations.txt must label every validation image, but differs in val/images/"
    assert message + "val_7000.JPEG" in refusal(tmp_path, {**members, "val/images/val_7000.JPEG": b""})
    left = {key: content for key, content in members.items() if key != "val/images/val_3.JPEG"}
    assert message + "val_3.JPEG" in refusal(tmp_path, left)


def test_images_of_no_known_class_and_classes_without_images_are_named(members, tmp_path):
    stranger = {**members, "train/n00000000/images/n00000000_0.JPEG": b""}
    assert "training images must belong to the 200 classes, got one of n00000000" in refusal(tmp_path, stranger)
    left = {key: content for key, content in members.items() if not key.startswith(f"train/{CLASSES[5]}/images")}
    assert f"class {CLASSES[5]} must have at least 1 training images, got 0" in refusal(tmp_path, left)


@pytest.mark.parametrize(
    ("make", "message"),
    [(lambda: b"no image", "is not a JPEG image"), (lambda: jpeg(5, size=32), "must have 64x64 pixels, got 32x32")],
    ids=["damaged", "small"],
)
def test_a_wrong_image_is_named_and_nothing_is_left_behind(members, tmp_path, make, message):
    name = f"train/{CLASSES[9]}/images/{CLASSES[9]}_1.JPEG"
    source = tmp_path / "archives"
    source.mkdir()
    write(source / "tiny-imagenet-200-subset.zip", {**members, name: make()})
    with pytest.raises(UserError, match=f"{name} {message}"):
        prepare("tiny_imagenet_subset", source, tmp_path / "tfds", print)
    assert not (tmp_path / "tfds").exists()


def test_a_truncated_and_a_corrupted_subset_are_refused_and_leave_nothing(members, tmp_path):
    source = tmp_path / "archives"
    source.mkdir()
    path = source / "tiny-imagenet-200-subset.zip"
    write(path, members)
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(UserError, match=r"subset\.zip is truncated, or not a zip file"):
        prepare("tiny_imagenet_subset", source, tmp_path / "tfds", print)
    # One bit of a stored member, so that its checksum inside the archive no longer fits.
    start = whole.index(b"ignored")
    listing = whole.index(CLASSES[0].encode())
    assert listing < start
    path.write_bytes(whole[:listing] + bytes([whole[listing] ^ 1]) + whole[listing + 1 :])
    with pytest.raises(UserError, match=r"wnids\.txt is damaged"):
        prepare("tiny_imagenet_subset", source, tmp_path / "tfds", print)
    assert not (tmp_path / "tfds").exists()
