"""Exports: the numbers of the live model, also in a process without tfadv; a folder is replaced whole or not at all."""

import json
import os
import subprocess
import sys
from pathlib import Path

import keras
import numpy as np
import pytest
import tensorflow as tf

from tfadv import export
from tfadv.attacks import Fgm, Pgd, compiled
from tfadv.balls import BALLS
from tfadv.models import load, predictor
from tfadv.validation import UserError

LAYERS = keras.layers


@pytest.fixture(scope="module")
def trained():
    """A small network that knows the first 400 training digits, with a layer that only training uses."""
    from tfadv import data

    keras.utils.set_random_seed(0)
    model = keras.Sequential(
        [
            LAYERS.Input((28, 28, 1)),
            LAYERS.Conv2D(8, 5, strides=3, activation="relu"),
            LAYERS.BatchNormalization(),
            LAYERS.Flatten(),
            LAYERS.Dropout(0.2),
            LAYERS.Dense(10),
        ]
    )
    model.compile(keras.optimizers.Adam(0.01), keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    x, y = data.arrays("digits", "train", limit=400)
    model.fit(x, y, batch_size=20, epochs=5, verbose=0)
    return model


@pytest.fixture(scope="module")
def exported(trained, tmp_path_factory):
    """The trained network exported with an attack: (config, folder)."""
    config = Pgd(epsilon=0.1, step_size=0.02, steps=8, restarts=3, seed=5)
    return config, export.export_attack(trained, config, tmp_path_factory.mktemp("export") / "model")


def far_apart(x_adv, other):
    """Share of images with a pixel that differs by more than 1e-5."""
    return (np.abs(np.asarray(x_adv) - np.asarray(other)).reshape(len(x_adv), -1).max(axis=1) > 1e-5).mean()


def test_the_export_gives_the_logits_of_the_live_model(trained, exported, digits):
    np.testing.assert_allclose(predictor(load(exported[1]))(digits[0]), trained(digits[0]), atol=1e-6)


@pytest.mark.parametrize("precision", ["float32", "auto"])
def test_the_export_has_the_robust_accuracy_of_the_live_model(trained, exported, digits, precision):
    config, folder = exported
    live, saved = (compiled(model, config, precision=precision).run(*digits) for model in (trained, load(folder)))
    assert 0.2 < live.adversarial.mean() < 1
    np.testing.assert_array_equal(saved.adversarial, live.adversarial)


def test_serve_gives_logits_probabilities_and_class(exported, digits):
    answer = load(exported[1]).signatures["serve"](images=tf.constant(digits[0]))
    assert {name: value.dtype for name, value in answer.items()} == {
        "logits": tf.float32,
        "probabilities": tf.float32,
        "class": tf.int32,
    }
    np.testing.assert_allclose(answer["probabilities"], tf.nn.softmax(answer["logits"]), atol=1e-6)
    np.testing.assert_array_equal(answer["class"], np.argmax(answer["logits"], axis=1))
    assert (answer["class"] == digits[1]).numpy().mean() > 0.8


def test_serve_uint8_divides_by_255(exported, digits):
    module = load(exported[1])
    bytes_in = np.round(digits[0] * 255).astype(np.uint8)
    expected = module.serve(tf.constant(bytes_in.astype(np.float32) / 255))
    np.testing.assert_allclose(module.serve_uint8(tf.constant(bytes_in))["logits"], expected["logits"], atol=1e-5)


CONFIGS = [
    Fgm(epsilon=0.1),
    Pgd(epsilon=1.0, step_size=0.3, steps=5, norm="l2", objective="margin", seed=2),
    Pgd(epsilon=0.1, step_size=0.05, steps=3, random_start=False, keep="last"),
]


@pytest.mark.parametrize("config", CONFIGS, ids=repr)
def test_the_attack_signature_finds_what_the_engine_finds(trained, tmp_path, digits, config):
    """Also example by example: both start from (seed, restart, number of the example)."""
    folder = export.export_attack(trained, config, tmp_path / "model")
    x, y = digits
    attack = load(folder).signatures["attack"]
    x_adv = attack(images=tf.constant(x), labels=tf.constant(y), epsilon=tf.constant(config.epsilon))["x_adv"].numpy()
    assert far_apart(x_adv, compiled(trained, config, precision="float32")(x, y)) <= 0.05
    assert BALLS[config.norm].size(tf.constant(x_adv - x)).numpy().max() <= config.epsilon + 1e-5
    assert x_adv.min() >= 0
    assert x_adv.max() <= 1


def test_restarts_of_the_signature_keep_every_success(trained, exported, digits):
    config, folder = exported
    x, y = digits
    attack = load(folder).signatures["attack"]
    x_adv = attack(images=tf.constant(x), labels=tf.constant(y), epsilon=tf.constant(0.1))["x_adv"]
    fooled = np.argmax(trained(x_adv), axis=1) != y
    np.testing.assert_array_equal(fooled, compiled(trained, config, precision="float32").run(x, y).adversarial)


def test_epsilon_is_an_input_that_scales_the_step(trained, exported, digits):
    x, y = digits
    attack = load(exported[1]).signatures["attack"]
    none = attack(images=tf.constant(x), labels=tf.constant(y), epsilon=tf.constant(0.0))["x_adv"]
    np.testing.assert_array_equal(none, x)
    half = attack(images=tf.constant(x), labels=tf.constant(y), epsilon=tf.constant(0.05))["x_adv"].numpy()
    assert np.abs(half - x).max() == pytest.approx(0.05, abs=1e-6)
    halved = Pgd(epsilon=0.05, step_size=0.01, steps=8, restarts=3, seed=5)
    assert far_apart(half, compiled(trained, halved, precision="float32")(x, y)) <= 0.05


@pytest.mark.parametrize("epsilon", [0.0, (0.1, 0.2)])
def test_an_attack_without_one_radius_is_refused(linear_model, tmp_path, epsilon):
    with pytest.raises(UserError, match="one epsilon > 0 and one step_size"):
        export.export_attack(linear_model, Pgd(epsilon=epsilon, step_size=0.1), tmp_path / "model")
    assert list(tmp_path.iterdir()) == []


def test_a_loaded_export_can_be_exported_again_with_an_attack(linear_model, tmp_path):
    first = export.export_classifier(linear_model, tmp_path / "first")
    second = export.export_attack(load(first), Fgm(epsilon=0.1), tmp_path / "second")
    x = tf.constant(np.random.default_rng(0).random([5, 2, 2, 1], np.float32))
    np.testing.assert_allclose(predictor(load(second))(x), linear_model(x), atol=1e-6)
    assert "attack" in load(second).signatures


def test_a_model_that_does_not_state_its_shape_needs_image_shape(tmp_path):
    class Flat(tf.Module):
        def __init__(self):
            self.kernel = tf.Variable(tf.eye(4))

        def __call__(self, x):
            return tf.reshape(x, [-1, 4]) @ self.kernel

    with pytest.raises(UserError, match=r"pass image_shape=\(H, W, C\)"):
        export.export_classifier(Flat(), tmp_path / "model")
    folder = export.export_classifier(Flat(), tmp_path / "model", image_shape=(2, 2, 1))
    x = tf.constant(np.random.default_rng(0).random([5, 2, 2, 1], np.float32))
    np.testing.assert_allclose(predictor(load(folder))(x), tf.reshape(x, [5, 4]), atol=1e-6)


def softmax_function():
    return lambda x: tf.nn.softmax(tf.reshape(x, [-1, 4]))


def function_of_a_hidden_variable():
    kernel = tf.Variable(tf.eye(4))
    return lambda x: tf.reshape(x, [-1, 4]) @ kernel


@pytest.mark.parametrize(
    ("model", "message"),
    [(softmax_function, "gives probabilities"), (function_of_a_hidden_variable, "variables that it does not own")],
)
def test_a_model_that_cannot_be_exported_is_refused_and_nothing_is_written(tmp_path, model, message):
    with pytest.raises(UserError, match=message):
        export.export_classifier(model(), tmp_path / "model", image_shape=(2, 2, 1))
    assert list(tmp_path.iterdir()) == []


def content(folder):
    return {path.relative_to(folder): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


def test_an_export_replaces_an_export_and_leaves_nothing_else(linear_model, tmp_path):
    folder = export.export_attack(linear_model, Fgm(epsilon=0.1), tmp_path / "model")
    (folder / "assets" / "old.txt").write_text("of the old export")
    linear_model.layers[-1].kernel.assign_add(tf.ones([4, 3]))
    assert export.export_classifier(linear_model, folder) == folder
    x = tf.ones([1, 2, 2, 1])
    np.testing.assert_allclose(predictor(load(folder))(x), linear_model(x), atol=1e-6)
    assert "attack" not in load(folder).signatures
    assert not (folder / "assets" / "old.txt").exists()
    assert [path.name for path in tmp_path.iterdir()] == ["model"]


def test_an_export_that_fails_leaves_the_old_one_whole(linear_model, tmp_path, monkeypatch):
    folder = export.export_classifier(linear_model, tmp_path / "model")
    before = content(folder)

    def half(module, path, signatures):
        (Path(path) / "saved_model.pb").write_text("half")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(tf.saved_model, "save", half)
    with pytest.raises(UserError, match=r"cannot write .*No space left on device"):
        export.export_classifier(linear_model, folder)
    assert content(folder) == before
    assert [path.name for path in tmp_path.iterdir()] == ["model"]


def test_the_old_export_comes_back_when_the_new_one_cannot_take_its_place(linear_model, tmp_path, monkeypatch):
    folder = export.export_classifier(linear_model, tmp_path / "model")
    before, rename = content(folder), Path.rename

    def refuse(self, target):
        if self.name == "new":
            raise OSError(5, "Input/output error")
        return rename(self, target)

    monkeypatch.setattr(Path, "rename", refuse)
    with pytest.raises(UserError, match="Input/output error"):
        export.export_classifier(linear_model, folder)
    assert content(folder) == before


def test_a_folder_of_something_else_and_a_file_are_refused_and_kept(linear_model, tmp_path):
    (tmp_path / "thesis").mkdir()
    (tmp_path / "thesis" / "chapter1.txt").write_text("years of work")
    (tmp_path / "file").write_text("a file")
    before = content(tmp_path)
    for name, kind in (("thesis", "a folder with other content"), ("file", "a file")):
        with pytest.raises(UserError, match=f"{name}' is {kind}, not a SavedModel, and is left as it is"):
            export.export_classifier(linear_model, tmp_path / name)
    assert content(tmp_path) == before


def test_an_empty_folder_and_missing_parents_are_fine_and_permissions_are_those_of_new_folders(linear_model, tmp_path):
    for folder in (tmp_path / "empty", tmp_path / "a" / "b"):
        if folder.name == "empty":
            folder.mkdir()
        export.export_classifier(linear_model, folder)
        assert "serve" in load(folder).signatures
    (tmp_path / "plain").mkdir()
    assert (tmp_path / "a" / "b").stat().st_mode == (tmp_path / "plain").stat().st_mode


ALONE = """
import json, sys
sys.modules["tfadv"] = None  # any import of tfadv now fails
sys.modules["keras"] = None
from tensorflow.python.tools import saved_model_cli

folder = sys.argv[1]
for signature, inputs in json.loads(sys.argv[2]).items():
    sys.argv = ["saved_model_cli", "run", f"--dir={folder}", "--tag_set=serve", f"--signature_def={signature}",
                f"--inputs={inputs}", f"--outdir={signature}", "--overwrite"]
    try:
        saved_model_cli.main()
    except SystemExit as end:
        if end.code:
            raise
"""


@pytest.mark.slow
def test_saved_model_cli_runs_every_signature_in_a_process_without_tfadv(trained, exported, digits, tmp_path):
    config, folder = exported
    x, y = digits
    np.savez(tmp_path / "in.npz", x=x, u=np.round(x * 255).astype(np.uint8), y=y, epsilon=np.float32(config.epsilon))
    signatures = {
        "serve": "images=in.npz[x]",
        "serve_uint8": "images=in.npz[u]",
        "attack": "images=in.npz[x];labels=in.npz[y];epsilon=in.npz[epsilon]",
    }
    environment = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}
    done = subprocess.run(
        [sys.executable, "-c", ALONE, str(folder), json.dumps(signatures)],
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
        timeout=600,
    )
    assert done.returncode == 0, done.stderr
    logits = trained(x)
    np.testing.assert_allclose(np.load(tmp_path / "serve" / "logits.npy"), logits, atol=1e-4)
    np.testing.assert_array_equal(np.load(tmp_path / "serve" / "class.npy"), np.argmax(logits, axis=1))
    assert np.load(tmp_path / "serve_uint8" / "probabilities.npy").shape == (len(x), 10)
    x_adv = np.load(tmp_path / "attack" / "x_adv.npy")
    assert np.abs(x_adv - x).max() <= config.epsilon + 1e-6
    expected = compiled(trained, config, precision="float32").run(x, y).adversarial
    assert ((np.argmax(trained(x_adv), axis=1) != y) == expected).mean() >= 0.995
