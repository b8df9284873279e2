"""Inputs: every form of the same data gives the same arrays; what cannot be read is refused with what is there."""

import socket
import zipfile
from typing import ClassVar

import numpy as np
import pytest
import tensorflow as tf
import tensorflow_datasets as tfds

from tfadv import data
from tfadv.evaluation.inputs import as_arrays, named
from tfadv.validation import UserError

X = np.random.default_rng(0).random([50, 6, 5, 1], np.float32)
Y = np.random.default_rng(1).integers(0, 3, 50).astype(np.int32)
ONE_HOT = np.eye(3, dtype=np.float32)[Y]


def dataset(x=X, y=Y):
    return tf.data.Dataset.from_tensor_slices((x, y))


# Arrays and Datasets.


FORMS = {
    "arrays": (X, Y),
    "lists": [X.astype(np.float64), Y.tolist()],
    "one-hot": (X, ONE_HOT),
    "soft": (X, 0.7 * ONE_HOT + 0.1),
    "single": dataset(),
    "batches": dataset().batch(16),
    "whole batches": dataset().batch(10, drop_remainder=True),
    "columns": dataset(y=Y[:, None]).batch(16),
    "float labels": dataset(y=Y.astype(np.float32)).batch(10, drop_remainder=True),
    "single one-hot": dataset(y=ONE_HOT),
    "single one-hot integers": dataset(y=ONE_HOT.astype(np.int64)),
    "single soft": dataset(y=0.7 * ONE_HOT + 0.1),
    "batched one-hot": dataset(y=ONE_HOT).batch(16),
    "generator": tf.data.Dataset.from_generator(
        lambda: zip(X, ONE_HOT, strict=True), output_signature=(tf.TensorSpec(None), tf.TensorSpec(None))
    ),
    "batch generator": tf.data.Dataset.from_generator(
        lambda: [(X[:20], Y[:20]), (X[20:], Y[20:])],
        output_signature=(tf.TensorSpec(None), tf.TensorSpec(None, tf.int32)),
    ),
}


@pytest.mark.parametrize("form", FORMS.values(), ids=FORMS)
def test_every_form_of_the_data_gives_the_same_arrays(form):
    x, y = as_arrays(form)
    np.testing.assert_array_equal(x, X)
    np.testing.assert_array_equal(y, Y)
    assert (x.dtype, y.dtype) == (np.float32, np.int32)


def test_batches_of_two_labels_that_look_like_distributions_are_batches_where_the_dataset_says_so():
    """Labels (0, 1) and (1, 0) of two images each, and images two pixels high: only .batch tells."""
    x, y = X[:4, :2], np.array([0, 1, 1, 0])
    for read in (as_arrays(dataset(x, y).batch(2)), as_arrays(dataset(x, y))):
        np.testing.assert_array_equal(read[0], x)
        np.testing.assert_array_equal(read[1], y)
    with pytest.raises(
        UserError, match=r"read in two ways: images \(2, 5, 1\) with labels \(2,\).* or use .batch\(100"
    ):
        as_arrays(dataset(x, np.eye(2)[y]))
    with pytest.raises(UserError, match="read in two ways"):
        as_arrays(dataset(x, y).batch(2, drop_remainder=True))


UNREADABLE = {
    "x alone": (X, r"data must be arrays \(x, y\) or a tf\.data\.Dataset of \(image, label\), got ndarray"),
    "triple": ((X, Y, Y), r"data must be arrays \(x, y\)"),
    "none": ((X[:0], Y[:0]), "at least one image, got none"),
    "8 bits": ((np.uint8(255 * X), Y), "divide 8-bit images by 255 first"),
    "fewer labels": ((X, Y[:9]), r"one integer label for each of the 50 images .* got shape \(9,\)"),
    "infinite": (dataset().repeat(), "data must be finite, got a dataset that repeats forever"),
    "empty": (dataset().take(0), "at least one image, got an empty dataset"),
    "dictionaries": (dataset().map(lambda x, y: {"x": x, "y": y}), r"data must yield \(image, label\) pairs"),
    "triples": (dataset().map(lambda x, y: (x, y, y)), r"data must yield \(image, label\) pairs"),
    "nested": (dataset().map(lambda x, y: ({"x": x}, y)), r"data must yield \(image, label\) pairs"),
    "no distribution": (
        dataset(y=3 * ONE_HOT),
        r"images \(6, 5, 1\) with labels \(3,\) that are neither as many nor a distribution",
    ),
    "sizes": (
        tf.data.Dataset.range(1, 3).map(lambda side: (tf.zeros([side, side, 1]), side)),
        r"images of one shape, got \(1, 1, 1\) and \(2, 2, 1\); resize them",
    ),
    "batch sizes": (
        tf.data.Dataset.range(1, 3).map(lambda side: (tf.zeros([4, side, side, 1]), tf.zeros([4], tf.int32))),
        r"images of one shape, got batches \(4, 1, 1, 1\) and \(4, 2, 2, 1\); resize them",
    ),
}


@pytest.mark.parametrize(("form", "message"), UNREADABLE.values(), ids=UNREADABLE)
def test_what_cannot_be_read_is_refused(form, message):
    with pytest.raises(UserError, match=message):
        as_arrays(form)


# Names.


def test_a_data_set_of_the_library_is_its_test_split():
    found = named("digits", limit=100)
    x, y = data.arrays("digits", "test", limit=100)
    np.testing.assert_array_equal(found.x, x)
    np.testing.assert_array_equal(found.y, y)
    assert (found.name, found.notes) == ("digits test", ())
    assert len(named("digits", "train").x) == 1297


@pytest.mark.slow
def test_mnist_is_the_same_through_the_library_and_through_tfds(mnist_dir):
    ours, theirs = (named(name, data_dir=mnist_dir, limit=200) for name in ("mnist", "tfds:mnist"))
    np.testing.assert_array_equal(ours.x, theirs.x)
    np.testing.assert_array_equal(ours.y, theirs.y)
    assert theirs.notes == ("the images are 8-bit numbers and were divided by 255",)


class _Tiny(tfds.core.GeneratorBasedBuilder):
    """A data set that TFDS knows and the library does not: image i has the brightness i everywhere and class i % 3."""

    VERSION = tfds.core.Version("1.0.0")
    url_infos: ClassVar = {}
    features: ClassVar = {
        "image": tfds.features.Image(shape=(4, 4, 1)),
        "label": tfds.features.ClassLabel(num_classes=3),
    }
    keys: ClassVar = ("image", "label")

    def _info(self):
        features = tfds.features.FeaturesDict(dict(self.features))
        return tfds.core.DatasetInfo(builder=self, features=features, supervised_keys=self.keys)

    def _split_generators(self, dl_manager):
        del dl_manager
        return {"test": self._generate_examples(30), "train": self._generate_examples(12)}

    def _generate_examples(self, count):
        for number in range(count):
            yield number, {"image": np.full((4, 4, 1), number, np.uint8), "label": number % 3}


class TfadvTinyShapes(_Tiny):
    pass


class TfadvTinySizes(_Tiny):
    features: ClassVar = {**_Tiny.features, "image": tfds.features.Image(shape=(None, None, 1))}


class TfadvTinyUnlabeled(_Tiny):
    features: ClassVar = {"image": _Tiny.features["image"]}
    keys = None


def test_any_classification_set_of_tfds_can_be_named(tmp_path):
    tfds.builder("tfadv_tiny_shapes", data_dir=tmp_path).download_and_prepare()
    found = named("tfds:tfadv_tiny_shapes", data_dir=tmp_path)
    np.testing.assert_array_equal(np.unique(found.x), np.arange(30, dtype=np.float32) / np.float32(255))
    np.testing.assert_array_equal(np.round(found.x[:, 0, 0, 0] * 255).astype(int) % 3, found.y)
    assert (found.x.shape, found.x.dtype, found.name) == ((30, 4, 4, 1), np.float32, "tfadv_tiny_shapes test")
    assert np.bincount(named("tfds:tfadv_tiny_shapes", "train", data_dir=tmp_path, limit=6).y).tolist() == [2, 2, 2]
    with pytest.raises(UserError, match=r"split must be one of \['test', 'train'\] for 'tfds:tfadv_tiny_shapes', got"):
        named("tfds:tfadv_tiny_shapes", "validation", data_dir=tmp_path)
    with pytest.raises(UserError, match=r"limit must be a whole number from 1 to 30 \(the size of tfadv_tiny_shapes"):
        named("tfds:tfadv_tiny_shapes", data_dir=tmp_path, limit=31)


def test_what_tfds_needs_is_downloaded_or_explained(tmp_path, monkeypatch):
    """Nothing to fetch: it is prepared at once. An address that nobody answers: where to put the folder."""
    assert len(named("tfds:tfadv_tiny_shapes", data_dir=tmp_path).x) == 30
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{probe.getsockname()[1]}/images.zip"
    for name in ("http_proxy", "HTTP_PROXY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(TfadvTinyShapes, "url_infos", {url: None})
    with pytest.raises(UserError, match=r"'tfds:tfadv_tiny_shapes' is not there and cannot be downloaded") as caught:
        named("tfds:tfadv_tiny_shapes", data_dir=tmp_path / "elsewhere")
    assert f"tfds build tfadv_tiny_shapes) and name the folder that holds it as data_dir, which is {tmp_path}" in str(
        caught.value
    )


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("tfds:tfadv_no_such_set", r"cannot be opened by TensorFlow Datasets .*tfds.list_builders\(\)"),
        ("tfds:", "cannot be opened by TensorFlow Datasets"),
        ("tfds:tfadv_tiny_sizes", r"images of one size .* it has \(image: Image \(None, None, 1\), label: ClassLabel"),
        ("tfds:tfadv_tiny_unlabeled", r"a class for each, it has \(image: Image \(4, 4, 1\)\); save resized images"),
        ("digit", r"data must be one of \[.*'digits'.*\], 'tfds:NAME' .* path of an .npz .* got 'digit'"),
    ],
)
def test_a_name_of_nothing_usable_is_refused(tmp_path, name, message):
    with pytest.raises(UserError, match=message):
        named(name, data_dir=tmp_path)


# Files.


def test_a_file_holds_images_as_floats_or_as_8_bit_numbers(tmp_path):
    path = tmp_path / "images.npz"
    for x, notes in ((X, ()), (np.uint8([[[3], [255]], [[0], [51]], [[1], [2]]]), ("the images are 8-bit",))):
        np.savez(path, x=x, y=Y[: len(x)])
        for text in (path, str(path)):
            found = named(text)
            np.testing.assert_array_equal(found.x, x / np.float32(255) if notes else x)
            np.testing.assert_array_equal(found.y, Y[: len(x)])
            assert found.name == "images.npz"
            assert [note.startswith(start) for note, start in zip(found.notes, notes, strict=True)] == [True] * len(
                notes
            )
    np.savez(path, x=2 * X - 1, y=ONE_HOT)
    np.testing.assert_array_equal(named(path, bounds=(-1.0, 1.0)).x, 2 * X - 1)
    assert named(path, bounds=(-1.0, 1.0), limit=7).y.shape == (7,)


def write(path, **arrays):
    np.savez(path, **arrays)
    return path


def truncated(path):
    content = write(path, x=X, y=Y).read_bytes()
    path.write_bytes(content[: len(content) // 2])
    return path


def damaged(path):
    """A sound archive whose array x has lost its end."""
    with zipfile.ZipFile(write(path, x=X, y=Y)) as whole, zipfile.ZipFile(path.with_name("damaged.npz"), "w") as half:
        for name in whole.namelist():
            half.writestr(name, whole.read(name)[:-100])
    return path.with_name("damaged.npz")


def single(path):
    np.save(path.with_name("single.npy"), X)
    return path.with_name("single.npy")


def pickled(path):
    np.save(path.with_name("pickled.npy"), np.array([{}, None]), allow_pickle=True)
    return path.with_name("pickled.npy")


UNUSABLE = {
    "absent": (lambda path: path, "does not exist"),
    "other keys": (
        lambda path: write(path, x_test=X, y_test=Y),
        r"must hold the arrays x and y, it holds \['x_test', 'y_test'\]",
    ),
    "no labels": (
        lambda path: write(path, x=X),
        r"must hold the arrays x and y, it holds \['x'\]; write it with numpy.savez",
    ),
    "objects": (
        lambda path: write(path, x=np.array([X[0], None], object), y=Y),
        "x in .* holds Python objects, which are not",
    ),
    "object labels": (lambda path: write(path, x=X, y=np.array([{}], object)), "y in .* holds Python objects"),
    "truncated": (truncated, r"is no .npz file, or a damaged one; write it"),
    "damaged": (damaged, r"x in data file .* is damaged"),
    "npy": (single, "holds a single array; write it with"),
    "pickle": (pickled, "is no .npz file"),
    "fewer labels": (
        lambda path: write(path, x=X, y=Y[:9]),
        r"images.npz: y must be one integer label for each of the 50 images",
    ),
    "no features": (
        lambda path: write(path, x=X[:, 0, 0, 0], y=Y),
        r"images.npz: x must have a batch axis .* got shape \(50,\)",
    ),
    "range": (lambda path: write(path, x=255 * X, y=Y), r"images.npz: x must lie in \[0, 1\].* divide by 255"),
    "integers": (lambda path: write(path, x=np.int64(255 * X), y=Y), "images.npz: x must be floating-point images"),
    "names": (lambda path: write(path, x=X, y=np.array(["a"] * 50)), "images.npz: y must be integers"),
}


@pytest.mark.parametrize(("make", "message"), UNUSABLE.values(), ids=UNUSABLE)
def test_an_unusable_file_is_refused_with_what_it_holds(tmp_path, make, message):
    with pytest.raises(UserError, match=message):
        named(make(tmp_path / "images.npz"))


def test_a_file_has_no_other_splits(tmp_path):
    with pytest.raises(UserError, match=r"split must be 'test' for a file, .* got 'train'"):
        named(write(tmp_path / "images.npz", x=X, y=Y), "train")
