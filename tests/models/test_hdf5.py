"""Weights from HDF5 files: both formats give the same logits; another architecture is refused by its first layer."""

import h5py
import keras
import numpy as np
import pytest

from tfadv import models
from tfadv.validation import UserError

LAYERS = keras.layers
IMAGES = np.random.default_rng(0).random([3, 8, 8, 1], np.float32)


def classifier(units=(6, 5), classes=3, layer=None):
    middle = [LAYERS.Dense(width, activation="relu", name=f"dense{n}") for n, width in enumerate(units, 1)]
    custom = [] if layer is None else [layer]
    last = LAYERS.Dense(classes, name="logits")
    return keras.Sequential([keras.Input((8, 8, 1)), LAYERS.Flatten(), *middle, *custom, last], name="classifier")


def shuffled(model):
    """The model with other weights than any seed gives, statistics of batch norm among them."""
    rng = np.random.default_rng(1)
    model.set_weights([rng.uniform(0.2, 0.4, weight.shape) for weight in model.get_weights()])
    return model


def save_keras_2(model, path):
    """The layout of Keras 2: names of the layers, and in the group of each the names and values of its weights."""
    with h5py.File(path, "w") as file:
        file.attrs["layer_names"] = [layer.name.encode() for layer in model.layers]
        file.attrs["backend"], file.attrs["keras_version"] = b"tensorflow", b"2.15.0"
        for layer in model.layers:
            weights = [*layer.trainable_weights, *layer.non_trainable_weights]
            group = file.create_group(layer.name)
            group.attrs["weight_names"] = [f"{layer.name}/{weight.name}:0".encode() for weight in weights]
            for weight in weights:
                group[f"{layer.name}/{weight.name}:0"] = np.asarray(weight)
    return path


def save_keras_3(model, path):
    model.save_weights(path)
    return path


FORMATS = pytest.mark.parametrize(
    ("save", "name"), [(save_keras_2, "model.h5"), (save_keras_3, "model.weights.h5")], ids=["keras2", "keras3"]
)


@FORMATS
def test_a_name_gives_the_architecture_of_its_default_images(tmp_path, save, name):
    trained = shuffled(models.small_cnn(seed=3))
    loaded = models.load(save(trained, tmp_path / name), architecture="small_cnn")
    x = np.random.default_rng(0).random([2, 28, 28, 1], np.float32)
    np.testing.assert_array_equal(loaded(x), trained(x))


@FORMATS
def test_batch_norm_and_branches_come_back(tmp_path, save, name):
    trained = shuffled(models.wide_resnet(10, 1, classes=4, shape=(8, 8, 1)))
    path = save(trained, tmp_path / name)
    given = models.wide_resnet(10, 1, classes=4, shape=(8, 8, 1), seed=9)
    loaded = models.load(path, architecture=given)
    assert loaded is given
    np.testing.assert_array_equal(loaded(IMAGES, training=False), trained(IMAGES, training=False))


@FORMATS
def test_a_nested_model_and_dropout_come_back(tmp_path, save, name):
    def build():
        inner = keras.Sequential([keras.Input((6,)), LAYERS.Dense(5, name="deep"), LAYERS.BatchNormalization()])
        return classifier(units=(6,), layer=keras.Sequential([keras.Input((6,)), inner, LAYERS.Dropout(0.5, seed=0)]))

    trained = shuffled(build())
    loaded = models.load(save(trained, tmp_path / name), architecture=build())
    np.testing.assert_array_equal(loaded(IMAGES, training=False), trained(IMAGES, training=False))


def test_the_optimizer_beside_the_weights_is_left_alone(tmp_path):
    trained = classifier()
    trained.compile("adam", keras.losses.SparseCategoricalCrossentropy(from_logits=True), metrics=["accuracy"])
    trained.fit(IMAGES, np.array([0, 1, 2]), verbose=0)
    path = save_keras_3(trained, tmp_path / "model.weights.h5")
    loaded = models.load(path, architecture=classifier())
    np.testing.assert_array_equal(loaded(IMAGES), trained(IMAGES))
    again = models.load(path, architecture=trained)
    np.testing.assert_array_equal(again(IMAGES), loaded(IMAGES))


@FORMATS
def test_the_name_of_the_file_does_not_matter(tmp_path, save, name):
    trained = classifier()
    path = save(trained, tmp_path / name).rename(tmp_path / "weights of june.hdf5")
    np.testing.assert_array_equal(models.load(path, architecture=classifier())(IMAGES), trained(IMAGES))


def test_a_whole_model_of_keras_2_needs_no_architecture(tmp_path):
    trained = classifier()
    trained.save(tmp_path / "model.h5")
    np.testing.assert_array_equal(models.load(tmp_path / "model.h5")(IMAGES), trained(IMAGES))


class Doubled(LAYERS.Layer):
    def call(self, x):
        return 2.0 * x


def test_an_architecture_replaces_the_description_that_cannot_be_rebuilt(tmp_path):
    trained = classifier(layer=Doubled())
    trained.save(tmp_path / "model.h5")
    with pytest.raises(UserError, match=r"'Doubled'.*or build the model and load .*architecture=model"):
        models.load(tmp_path / "model.h5")
    loaded = models.load(tmp_path / "model.h5", architecture=classifier(layer=Doubled()))
    np.testing.assert_array_equal(loaded(IMAGES), trained(IMAGES))


def test_code_inside_a_whole_model_is_not_run(tmp_path):
    classifier(layer=LAYERS.Lambda(lambda x: 2 * x)).save(tmp_path / "model.h5")
    with pytest.raises(UserError, match="Lambda layer, whose code is not run from a file"):
        models.load(tmp_path / "model.h5")


@FORMATS
@pytest.mark.parametrize(
    ("given", "message"),
    [
        (
            {"classes": 4},
            r"layer 'logits', the first .* has a variable of shape \(5, 3\) in .* shape \(5, 4\) in the arch",
        ),
        ({"units": (7, 5)}, r"layer 'dense1', .* shape \(64, 6\) in the file .* shape \(64, 7\) in the architecture"),
        ({"units": (6, 5, 3)}, r"layer 'logits', .* has none in the file .* shape \(3, 3\) in the architecture"),
        # Keras would take the first layers of the file and leave the rest.
        ({"units": (6,), "classes": 5}, r"layer 'logits', .* shape \(5, 3\) in the file and none in the architecture"),
    ],
    ids=["classes", "width", "deeper", "shallower"],
)
def test_another_architecture_is_refused_by_the_first_layer_that_differs(tmp_path, save, name, given, message):
    path = save(classifier(), tmp_path / name)
    model = classifier(**given)
    before = model.get_weights()
    with pytest.raises(UserError, match=message) as caught:
        models.load(path, architecture=model)
    assert str(path) in str(caught.value)
    assert "'classifier'" in str(caught.value)
    for old, new in zip(before, model.get_weights(), strict=True):
        np.testing.assert_array_equal(old, new)


def test_the_first_layer_is_the_one_next_to_the_images(tmp_path):
    """Layers are compared in their order, where a file lists them by the alphabet: conv2d_10 before conv2d_2."""

    def build(*widths):
        convolutions = [LAYERS.Conv2D(width, 1, name=f"conv{number}") for number, width in enumerate(widths)]
        return keras.Sequential([keras.Input((8, 8, 1)), *convolutions])

    widths = [2] * 12
    path = save_keras_3(build(*widths), tmp_path / "model.weights.h5")
    widths[2] = widths[10] = 3
    with pytest.raises(UserError, match="layer 'conv2', the first that differs"):
        models.load(path, architecture=build(*widths))


def other_contents(folder):
    with h5py.File(folder / "data.h5", "w") as file:
        file["images"] = IMAGES
    return folder / "data.h5", "linear", "holds no Keras weights; write them with model.save_weights"


def truncated(folder):
    path = save_keras_3(classifier(), folder / "model.weights.h5")
    path.write_bytes(path.read_bytes()[:2000])
    return path, "linear", "is damaged .*save the model again"


def unknown_name(folder):
    path = save_keras_3(classifier(), folder / "model.weights.h5")
    return path, "resnet", r"architecture must be one of \['lenet_cifar10', .*'wrn_34_10'\] or a built.*got 'resnet'"


def no_name(folder):
    path = save_keras_3(classifier(), folder / "model.weights.h5")
    return path, ["linear"], r"architecture must be one of .* or a built Keras model, got \['linear'\]"


def not_built(folder):
    path = save_keras_3(classifier(), folder / "model.weights.h5")
    model = keras.Sequential([LAYERS.Flatten(), LAYERS.Dense(3)], name="unbuilt")
    return path, model, "architecture 'unbuilt' has no variables yet; call it on a batch"


def another_kind_of_file(folder):
    classifier().save(folder / "model.keras")
    return folder / "model.keras", "linear", "architecture is for HDF5 files only, and model path .* is none"


@pytest.mark.parametrize("case", [other_contents, truncated, unknown_name, no_name, not_built, another_kind_of_file])
def test_what_cannot_be_loaded_gives_one_error(tmp_path, case):
    path, architecture, message = case(tmp_path)
    with pytest.raises(UserError, match=message):
        models.load(path, architecture=architecture)
