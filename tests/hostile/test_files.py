"""Files from strangers: no code in them runs, nothing is unpickled, no archive writes or reads outside its folder."""

import io
import json
import os
import pickle
import stat
import tarfile
import zipfile

import h5py
import keras
import numpy as np
import pytest
import tensorflow as tf
from keras.src.saving.serialization_lib import SafeModeScope  # the public setting has no way back

from tfadv import data, models
from tfadv.attacks import Fgm, compiled
from tfadv.attacks import saved as states
from tfadv.data.prepare import prepare
from tfadv.data.tiny_imagenet import CLASSES
from tfadv.data.tiny_imagenet_builder import images_of
from tfadv.evaluation.finished import Finished
from tfadv.evaluation.inputs import named
from tfadv.report import compare
from tfadv.validation import UserError

LAYERS = keras.layers


class Payload:
    """Unpickled, it makes a folder."""

    def __init__(self, path):
        self.path = str(path)

    def __reduce__(self):
        return os.mkdir, (self.path,)


@pytest.fixture
def trap(tmp_path):
    """A path that must not come to exist."""
    path = tmp_path / "trapped"
    yield path
    assert not path.exists(), "code from the file was run"


def snapshot(folder):
    return {path: path.read_bytes() if path.is_file() else None for path in sorted(folder.rglob("*"))}


def test_the_payloads_work(tmp_path):
    """So that the other tests can fail."""
    pickle.loads(pickle.dumps(Payload(tmp_path / "pickled")))
    path = lambda_that_makes(tmp_path / "model.keras", tmp_path / "layer")
    keras.saving.load_model(path, safe_mode=False)(np.zeros([1, 2, 2, 1], np.float32))
    assert (tmp_path / "pickled").is_dir()
    assert (tmp_path / "layer").is_dir()


# Pickles.


def objects(trap):
    array = np.empty(2, object)
    array[:] = Payload(trap)
    return array


def npy(array):
    stream = io.BytesIO()
    np.save(stream, array, allow_pickle=True)
    return stream.getvalue()


PICKLES = {
    "npz of objects": lambda path, trap: np.savez(path, x=objects(trap), y=np.arange(2)),
    "npz of labels": lambda path, trap: np.savez(path, x=np.full([2, 1], 0.5), y=objects(trap)),
    "npy": lambda path, trap: path.write_bytes(npy(objects(trap))),
    "bare pickle": lambda path, trap: path.write_bytes(pickle.dumps(Payload(trap))),
    "pickle among arrays": lambda path, trap: zipped(
        path, {"x.npy": pickle.dumps(Payload(trap)), "y.npy": npy(np.arange(2))}
    ),
}


def zipped(path, members):
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in members.items():
            archive.writestr(name, content)


@pytest.mark.parametrize("make", PICKLES.values(), ids=PICKLES)
def test_no_reader_of_arrays_unpickles(make, tmp_path, trap):
    path = tmp_path / "images.npz"
    make(path, trap)
    with pytest.raises(UserError):
        named(path)
    with pytest.raises(UserError):
        models.load(path)
    with pytest.raises(UserError):
        states.read(path, {}, np.zeros(1))
    with pytest.raises(UserError):
        compare.load([path])
    attack = compiled(lambda x: tf.concat([x, -x], axis=1), Fgm(0.1), jit="off")
    with pytest.raises(UserError):
        attack.run(np.full([2, 1], 0.5), [0, 0], state=path)
    assert Finished(tmp_path).read(path) is None  # Another's remains are not taken, and the attack is made again.


@pytest.mark.parametrize("name", ["x", "about", "logits"])
def test_a_state_whose_arrays_are_objects_is_refused(name, tmp_path, trap):
    arrays = {"about": np.array("{}"), "logits": np.zeros([1, 2]), "x": np.zeros(1)}
    members = {f"{key}.npy": npy(array) for key, array in arrays.items()}
    for content in (npy(objects(trap)), b"no array", b"", npy(np.array("[]"))[:-4]):
        zipped(tmp_path / "state.npz", {**members, f"{name}.npy": content})
        with pytest.raises(UserError, match="is no readable state file"):
            states.read(tmp_path / "state.npz", {}, np.zeros([1, 2]))


# Models.


def classifier(*middle):
    return keras.Sequential([LAYERS.Input((2, 2, 1)), LAYERS.Flatten(), *middle, LAYERS.Dense(3)])


def edited(path, change, drop=(), add=None):
    """A `.keras` file of a small net with a `change`d description, without the members `drop`, with those of `add`."""
    classifier(LAYERS.Dense(4)).save(path.with_name("sound.keras"))
    with zipfile.ZipFile(path.with_name("sound.keras")) as sound:
        members = {name: sound.read(name) for name in sound.namelist() if name not in drop}
    path.with_name("sound.keras").unlink()
    config = json.loads(members["config.json"])
    change(config["config"]["layers"][2])
    zipped(path, {**members, "config.json": json.dumps(config), **(add or {})})
    return path


def calling(trap, module, name, arguments):
    """A change that puts a function of any module where the layer has its activation."""

    def change(layer):
        function = {"module": module, "class_name": "function", "config": name, "registered_name": name}
        layer["config"]["activation"] = function
        layer["build_config"] = {"input_shape": [None, 4], "arguments": arguments, "path": str(trap)}

    return change


def as_class(module, name, config):
    """A change that puts an object of any class in the place of the layer."""

    def change(layer):
        layer.clear()
        layer.update({"module": module, "class_name": name, "config": config, "registered_name": None})

    return change


def lambda_that_makes(path, trap):
    target = str(trap)
    makes = LAYERS.Lambda(lambda x: (__import__("os").makedirs(target, exist_ok=True), x)[1], output_shape=(4,))
    classifier(makes).save(path)
    return path


HOSTILE_MODELS = {
    "a Lambda layer": lambda_that_makes,
    "a Lambda layer of a whole HDF5 model": lambda path, trap: lambda_that_makes(path.with_suffix(".h5"), trap),
    "os.mkdir for an activation": lambda path, trap: edited(path, calling(trap, "os", "mkdir", [str(trap)])),
    "exec for an activation": lambda path, trap: edited(path, calling(trap, "builtins", "exec", ["pass"])),
    "os.mkdir for a layer": lambda path, trap: edited(path, as_class("os", "mkdir", {"path": str(trap)})),
    "Popen for a layer": lambda path, trap: edited(
        path, as_class("subprocess", "Popen", {"args": ["mkdir", str(trap)]})
    ),
    "safe mode switched off": lambda path, trap: edited(
        path, as_class("keras.config", "enable_unsafe_deserialization", {})
    ),
    "a download": lambda path, trap: edited(
        path,
        as_class(
            "keras.utils", "get_file", {"fname": "trapped", "origin": "file:///etc/hostname", "cache_dir": str(trap)}
        ),
    ),
    "pickled weights": lambda path, trap: edited(
        path, lambda layer: None, ["model.weights.h5"], {"model.weights.npz": pickle.dumps(Payload(trap))}
    ),
    "weights of objects": lambda path, trap: edited(
        path,
        lambda layer: None,
        ["model.weights.h5"],
        {"model.weights.npz": npz_bytes(**{"layers/dense/vars": objects(trap)})},
    ),
}


def npz_bytes(**arrays):
    stream = io.BytesIO()
    np.savez(stream, **arrays)
    return stream.getvalue()


@pytest.mark.parametrize("make", HOSTILE_MODELS.values(), ids=HOSTILE_MODELS)
def test_a_model_file_runs_no_code(make, tmp_path, trap):
    path = make(tmp_path / "model.keras", trap)
    before = snapshot(tmp_path)
    with pytest.raises(UserError, match="model") as caught:
        models.load(path)
    assert str(path) in str(caught.value)
    assert snapshot(tmp_path) == before
    # Safe mode still holds for what comes after it.
    with pytest.raises(UserError, match="Lambda layer, whose code is not run from a file"):
        models.load(lambda_that_makes(tmp_path / "after.keras", trap))


def test_a_lambda_layer_is_refused_also_where_the_process_allows_code(tmp_path, trap):
    """Safe mode is asked for by the call, not left to what a notebook set."""
    path = lambda_that_makes(tmp_path / "model.keras", trap)
    with SafeModeScope(False), pytest.raises(UserError, match="Lambda layer, whose code is not run from a file"):
        models.load(path)


@pytest.mark.filterwarnings("ignore:Skipping invalid path during archive extraction")
def test_members_of_a_model_file_that_lead_outside_are_not_written(tmp_path, trap):
    """They are no part of the classifier, which loads without them."""
    inside = tmp_path / "models" / "deep"
    inside.mkdir(parents=True)
    names = ("../trapped", "../../trapped", str(trap), "assets/../../../trapped", "assets/layers/../../../trapped")
    path = edited(inside / "model.keras", lambda layer: None, add=dict.fromkeys(names, b"outside"))
    before = snapshot(tmp_path)
    assert models.load(path)(np.zeros([1, 2, 2, 1], np.float32)).shape == (1, 3)
    assert snapshot(tmp_path) == before


@pytest.mark.parametrize("kind", ["external link", "external storage"])
def test_weights_that_point_to_another_file_are_not_read_from_there(kind, tmp_path):
    """An HDF5 file may say that its numbers lie in any file of this machine."""
    secret = tmp_path / "secret.h5"
    with h5py.File(secret, "w") as file:
        file["numbers"] = np.full(3, 7.0, np.float32)
    raw = tmp_path / "secret.bin"
    raw.write_bytes(np.full(3, 7.0, np.float32).tobytes())
    net = classifier()
    net.save_weights(tmp_path / "net.weights.h5")
    with h5py.File(tmp_path / "net.weights.h5", "a") as file:
        (bias,) = (f"layers/{name}/vars/1" for name in file["layers"] if "1" in file[f"layers/{name}/vars"])
        del file[bias]
        if kind == "external link":
            file[bias] = h5py.ExternalLink(str(secret), "numbers")
        else:
            file.create_dataset(bias, (3,), np.float32, external=[(str(raw), 0, 12)])
    before = snapshot(tmp_path)
    with pytest.raises(UserError):
        models.load(tmp_path / "net.weights.h5", architecture=net)
    assert not (net.layers[-1].bias.numpy() == 7.0).any()
    assert snapshot(tmp_path) == before


# Archives of data sets.


ROOT = "tiny-imagenet-200/"
OUTSIDE = [
    "../trapped",
    "/trapped",
    "..\\trapped",
    "tiny-imagenet-200/../../trapped",
    "tiny-imagenet-200/train/../../../x",
]


@pytest.fixture(scope="module")
def tiny():
    """Members of a subset of Tiny ImageNet with one training and one validation image of each class."""
    picture = tf.io.encode_jpeg(np.zeros((64, 64, 3), np.uint8)).numpy()
    content = {"wnids.txt": "\n".join(CLASSES).encode()}
    for k, name in enumerate(CLASSES):
        content[f"train/{name}/images/{name}_0.JPEG"] = picture
        content[f"val/images/val_{k}.JPEG"] = picture
    rows = "".join(f"val_{k}.JPEG\t{name}\n" for k, name in enumerate(CLASSES))
    return {ROOT + name: value for name, value in {**content, "val/val_annotations.txt": rows.encode()}.items()}


def link(name, target):
    info = zipfile.ZipInfo(name)
    info.create_system, info.external_attr = 3, (stat.S_IFLNK | 0o777) << 16
    return info, target


@pytest.mark.slow
def test_a_zip_of_tiny_imagenet_writes_nothing_outside(tiny, tmp_path):
    """It is read member by member and never unpacked; names that lead outside are passed over."""
    source = tmp_path / "archives"
    source.mkdir()
    with zipfile.ZipFile(source / "tiny-imagenet-200-subset.zip", "w") as archive:
        for name, content in {**tiny, **dict.fromkeys(OUTSIDE, b"outside")}.items():
            archive.writestr(name, content)
        archive.writestr(*link(ROOT + "test", str(tmp_path)))
        archive.writestr(ROOT + "test/trapped", b"through a link")
    result = prepare("tiny_imagenet_subset", source, tmp_path / "tfds", lambda line: None)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["archives", "tfds"]
    assert [path.name for path in source.iterdir()] == ["tiny-imagenet-200-subset.zip"]
    assert [path for path in (tmp_path / "tfds").rglob("*") if path.is_symlink() or "trapped" in path.name] == []
    assert result.folder.is_relative_to(tmp_path / "tfds")
    assert data.arrays("tiny_imagenet_subset", "test", tmp_path / "tfds")[0].shape == (200, 64, 64, 3)


ODD_MEMBERS = {
    "images outside the folder": (lambda m: {**m, f"train/{CLASSES[0]}/images/a.JPEG": b"x"}, None),
    "images above it": (lambda m: {**m, "../train/x/images/a.JPEG": b"x"}, None),
    "no text": (lambda m: {**m, ROOT + "wnids.txt": b"\xff\xfe\0"}, []),
    "rows that are no text": (lambda m: {**m, ROOT + "val/val_annotations.txt": b"\xff\xfe\0"}, []),
    "rows that lead outside": (
        lambda m: {**m, ROOT + "val/val_annotations.txt": b"../../etc/passwd\tn01443537\n"},
        [],
    ),
    "empty": (lambda m: {}, []),
}


@pytest.mark.parametrize(("change", "refused"), ODD_MEMBERS.values(), ids=ODD_MEMBERS)
def test_odd_members_of_a_zip_are_passed_over_or_refused(change, refused, tiny, tmp_path):
    zipped(tmp_path / "made_up.zip", change(tiny))
    with zipfile.ZipFile(tmp_path / "made_up.zip") as archive:
        if refused is None:
            train, test = images_of(archive, (1, 1))
            assert all(name.startswith(("train/", "val/")) and ".." not in name for _, name in [*train, *test])
            return
        with pytest.raises(UserError, match=r"archives: .*made_up\.zip: "):
            images_of(archive, None)


@pytest.mark.parametrize("name", ["mnist", "fashion_mnist", "cifar10", "cifar100", "svhn_cropped"])
def test_an_archive_that_is_not_the_original_is_not_even_opened(name, tmp_path):
    """Tar files with absolute names, ".." and links under the right file names: SHA-256 comes first."""
    name = name if name in data.DATASETS else next(each for each in data.DATASETS if each.startswith("svhn"))
    source = tmp_path / "archives"
    source.mkdir()
    for file in data.DATASETS[name].archives:
        with tarfile.open(source / file, "w:gz") as archive:
            for member in (*OUTSIDE, str(tmp_path / "trapped")):
                info = tarfile.TarInfo(member)
                info.size = 7
                archive.addfile(info, io.BytesIO(b"outside"))
            info = tarfile.TarInfo("link")
            info.type, info.linkname = tarfile.SYMTYPE, str(tmp_path)
            archive.addfile(info)
    before = snapshot(tmp_path)
    with pytest.raises(UserError, match=r"is truncated at|is not the original file"):
        prepare(name, source, tmp_path / "tfds", lambda line: None)
    assert snapshot(tmp_path) == before


def test_what_unpacks_the_tar_files_passes_over_names_that_lead_outside(tmp_path):
    """The second lock: TensorFlow Datasets, should the checksums themselves ever be wrong."""
    from tensorflow_datasets.core.download import extractor

    for number, member in enumerate(("../trapped", str(tmp_path / "trapped"), "a/../../trapped")):
        path = tmp_path / f"{number}.tar.gz"
        with tarfile.open(path, "w:gz") as archive:
            info = tarfile.TarInfo(member)
            info.size = 7
            archive.addfile(info, io.BytesIO(b"outside"))
        assert list(extractor.iter_tar(path)) == []
