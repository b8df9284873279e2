"""Loading: three kinds of path give the same classifier; every other one gives one error that says what to do."""

import shutil
import zipfile

import keras
import numpy as np
import pytest
import tensorflow as tf

from tfadv import models
from tfadv.validation import UserError

LAYERS = keras.layers
IMAGES = np.random.default_rng(0).random([4, 2, 2, 1], np.float32)


def classifier(*middle):
    inputs = [LAYERS.Input((2, 2, 1)), LAYERS.Flatten()]
    return keras.Sequential([*inputs, *middle, LAYERS.Dense(3)])


class Unregistered(LAYERS.Layer):
    def call(self, x):
        return 2.0 * x


def unregistered_activation(x):
    return 2.0 * x


@keras.saving.register_keras_serializable("test_loading")
class Registered(LAYERS.Layer):
    def call(self, x):
        return 2.0 * x


def unregistered_loss(labels, logits):
    return tf.reduce_mean(logits, axis=-1)


def snapshot(folder):
    """Every path below a folder, with its time of change and content."""
    return {
        path: (path.stat().st_mtime_ns, path.read_bytes() if path.is_file() else None)
        for path in sorted(folder.rglob("*"))
    }


def test_a_keras_file_gives_the_same_logits(tmp_path):
    model = classifier(Registered())
    model.save(tmp_path / "model.keras")
    np.testing.assert_array_equal(models.load(tmp_path / "model.keras")(IMAGES), model(IMAGES))


def test_a_saved_model_folder_gives_the_same_logits(tmp_path):
    model = classifier(Unregistered())
    model.export(str(tmp_path / "exported"))
    predict = models.predictor(models.load(str(tmp_path / "exported")))
    np.testing.assert_allclose(predict(IMAGES), model(IMAGES), atol=1e-6)


def test_a_signature_of_a_saved_model_may_be_named(tmp_path):
    """Beside the usual ones a folder may hold others, which give other numbers."""
    module = tf.Module()
    spec = [tf.TensorSpec([None, 2, 2, 1], tf.float32)]
    names = {"serving_default": 1.0, "twice": 2.0}
    signatures = {
        name: tf.function(lambda x, factor=factor: {"logits": factor * tf.reshape(x, [-1, 4])}, input_signature=spec)
        for name, factor in names.items()
    }
    tf.saved_model.save(module, str(tmp_path / "exported"), signatures=signatures)
    for name, factor in names.items():
        predict = models.load(tmp_path / "exported", signature=name)
        np.testing.assert_allclose(predict(IMAGES), factor * IMAGES.reshape(4, 4), rtol=1e-6)
    with pytest.raises(
        UserError, match=r"got 'thrice'; it has serving_default\(x: float32 \[None, 2, 2, 1\]\) -> logits"
    ):
        models.load(tmp_path / "exported", signature="thrice")


def test_a_signature_of_what_is_no_saved_model_is_refused(tmp_path):
    classifier().save(tmp_path / "model.keras")
    with pytest.raises(UserError, match="signature is for SavedModel folders only"):
        models.load(tmp_path / "model.keras", signature="serve")


def test_a_run_folder_gives_its_classifier(tmp_path):
    model = classifier()
    (tmp_path / "checkpoints").mkdir()
    (tmp_path / "experiment.json").write_text("{}")
    model.save(tmp_path / "model.keras")
    np.testing.assert_array_equal(models.load(tmp_path)(IMAGES), model(IMAGES))


def test_a_model_compiled_with_a_loss_of_ones_own_loads(tmp_path):
    """An attack needs no loss, optimizer or metric, so none of them is rebuilt."""
    model = classifier()
    model.compile("adam", unregistered_loss)
    model.save(tmp_path / "model.keras")
    assert not models.load(tmp_path / "model.keras").compiled


def missing(folder):
    return (
        folder / "model.keras",
        r"does not exist; name a \.keras file, an HDF5 file, a SavedModel folder, or a run folder",
    )


def text(folder):
    (folder / "model.keras").write_text("weights")
    return folder / "model.keras", r"not a \.keras file, or a damaged one \(BadZipFile.*save the model again"


def weights(folder):
    classifier().save_weights(folder / "model.weights.h5")
    return folder / "model.weights.h5", r"weights without a model; .*architecture='wrn_28_10'.*or a built Keras model"


def other_archive(folder):
    with zipfile.ZipFile(folder / "model.keras", "w") as archive:
        archive.writestr("notes.txt", "nothing")
    return folder / "model.keras", r"not a \.keras file.*config\.json"


def truncated(folder):
    classifier().save(folder / "model.keras")
    content = (folder / "model.keras").read_bytes()
    (folder / "model.keras").write_bytes(content[: len(content) * 2 // 3])
    return folder / "model.keras", r"a damaged one"


def broken_weights(folder):
    """A sound archive with half of the weights in it."""
    classifier().save(folder / "whole.keras")
    with zipfile.ZipFile(folder / "whole.keras") as whole, zipfile.ZipFile(folder / "model.keras", "w") as broken:
        for name in whole.namelist():
            content = whole.read(name)
            broken.writestr(name, content[: len(content) // 2] if name.endswith(".h5") else content)
    return folder / "model.keras", r"cannot be rebuilt by Keras .*save it again"


def other_suffix(folder):
    classifier().save(folder / "model.keras")
    (folder / "model.keras").rename(folder / "model.zip")
    return folder / "model.zip", r"rename it so that it ends in \.keras"


def empty_folder(folder):
    (folder / "model").mkdir()
    return folder / "model", r"a folder without saved_model\.pb or model\.keras, so not a model"


def unfinished_run(folder):
    (folder / "experiment.json").write_text("{}")
    return folder, r"has not finished; continue it, or name one of the files in its models/ folder"


def saved_model_of_text(folder):
    (folder / "saved_model.pb").write_text("nothing")
    return folder, r"SavedModel .* is damaged, .*export it again"


def saved_model_without_variables(folder):
    classifier().export(str(folder / "exported"))
    shutil.rmtree(folder / "exported" / "variables")
    return folder / "exported", r"SavedModel .* is damaged, .*export it again"


def custom_layer(folder):
    classifier(Unregistered()).save(folder / "model.keras")
    return folder / "model.keras", r"not registered: Unregistered; import the module .* SavedModel.*export_classifier"


def custom_function(folder):
    classifier(LAYERS.Dense(4, activation=unregistered_activation)).save(folder / "model.keras")
    return folder / "model.keras", r"not registered: unregistered_activation; import the module"


def custom_model(folder):
    @keras.saving.register_keras_serializable("test_loading")
    class Passing(keras.Model):
        def call(self, x):
            return x

    model = Passing()
    model(IMAGES)
    model.save(folder / "model.keras")
    # What another process sees that did not import the module with the class.
    keras.saving.get_custom_objects().pop("test_loading>Passing")
    return folder / "model.keras", r"not registered: test_loading>Passing; import"


def lambda_layer(folder):
    classifier(LAYERS.Lambda(lambda x: 2 * x)).save(folder / "model.keras")
    return folder / "model.keras", r"Lambda layer, whose code is not run from a file; replace it by a registered layer"


CASES = [missing, text, weights, other_archive, truncated, broken_weights, other_suffix, empty_folder, unfinished_run]
CASES += [saved_model_of_text, saved_model_without_variables, custom_layer, custom_function, custom_model, lambda_layer]


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.__name__)
def test_what_cannot_be_loaded_gives_one_error_and_stays_as_it_is(tmp_path, case):
    path, message = case(tmp_path)
    before = snapshot(tmp_path)
    with pytest.raises(UserError, match=message) as caught:
        models.load(path)
    assert str(path) in str(caught.value)
    assert len(str(caught.value)) < 900
    assert snapshot(tmp_path) == before


def test_loading_changes_nothing_on_disk(tmp_path):
    classifier().save(tmp_path / "model.keras")
    classifier().export(str(tmp_path / "exported"))
    before = snapshot(tmp_path)
    models.load(tmp_path)
    models.load(tmp_path / "exported")
    assert snapshot(tmp_path) == before
