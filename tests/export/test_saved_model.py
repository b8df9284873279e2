"""SavedModels: the numbers of the live model and attack, also in a process without tfadv."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf

from tfadv import export
from tfadv.attacks import Fgm, Pgd, compiled
from tfadv.balls import BALLS
from tfadv.models import load, predictor
from tfadv.validation import UserError


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


def test_serve_takes_floats_and_bytes(exported, digits):
    """In Python one function takes both; a signature has one dtype, so there are two of those."""
    module = load(exported[1])
    bytes_in = np.round(digits[0] * 255).astype(np.uint8)
    expected = module.serve(tf.constant(bytes_in.astype(np.float32) / 255))["logits"]
    by_signature = module.signatures["serve_uint8"](images=tf.constant(bytes_in))["logits"]
    for logits in (module.serve(tf.constant(bytes_in))["logits"], by_signature):
        np.testing.assert_allclose(logits, expected, atol=1e-5)


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


def test_a_loaded_export_can_be_exported_again_with_an_attack(linear_model, tmp_path):
    first = export.export_classifier(linear_model, tmp_path / "first")
    second = export.export_attack(load(first), Fgm(epsilon=0.1), tmp_path / "second")
    x = tf.constant(np.random.default_rng(0).random([5, 2, 2, 1], np.float32))
    np.testing.assert_allclose(predictor(load(second))(x), linear_model(x), atol=1e-6)
    assert "attack" in load(second).signatures


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


def test_an_attack_without_a_radius_is_refused_and_nothing_is_written(linear_model, tmp_path):
    with pytest.raises(UserError, match="one epsilon > 0 and one step_size"):
        export.export_attack(linear_model, Pgd(epsilon=0.0, step_size=0.1), tmp_path / "model")
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


def test_a_folder_of_something_else_is_refused_and_kept(linear_model, tmp_path):
    (tmp_path / "chapter1.txt").write_text("years of work")
    with pytest.raises(UserError, match="a folder with other content, not a SavedModel, and is left as it is"):
        export.export_classifier(linear_model, tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["chapter1.txt"]


@pytest.fixture(scope="module")
def without_tfadv(tmp_path_factory):
    """An environment of processes in which tfadv and Keras cannot be imported: what is found first refuses."""
    blocked = tmp_path_factory.mktemp("blocked")
    for name in ("tfadv", "keras"):
        (blocked / f"{name}.py").write_text(f"raise ImportError('there is no {name} here')\n")
    return {**os.environ, "PYTHONPATH": str(blocked), "TF_CPP_MIN_LOG_LEVEL": "3"}


def run(command, folder, environment):
    return subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, timeout=300)


def test_the_process_without_tfadv_cannot_import_it(without_tfadv, tmp_path):
    for name in ("tfadv", "keras"):
        done = run([sys.executable, "-c", f"import {name}"], tmp_path, without_tfadv)
        assert done.returncode == 1
        assert f"ImportError: there is no {name} here" in done.stderr


@pytest.mark.slow
@pytest.mark.parametrize("signature", ["serve", "serve_uint8", "attack"])
def test_saved_model_cli_without_tfadv_gives_the_numbers_of_the_live_model_and_attack(
    trained, exported, digits, without_tfadv, tmp_path, signature
):
    config, folder = exported
    x, y = digits
    inputs = {
        "serve": {"images": x},
        "serve_uint8": {"images": np.round(x * 255).astype(np.uint8)},
        "attack": {"images": x, "labels": y, "epsilon": np.float32(config.epsilon)},
    }[signature]
    for name, value in inputs.items():
        np.save(tmp_path / f"{name}.npy", value)
    cli = Path(sys.executable).with_name("saved_model_cli")
    files = ";".join(f"{name}={name}.npy" for name in inputs)
    arguments = [f"--dir={folder}", "--tag_set=serve", f"--signature_def={signature}", f"--inputs={files}"]
    done = run([cli, "run", *arguments, "--outdir=."], tmp_path, without_tfadv)
    assert done.returncode == 0, done.stderr
    if signature == "attack":
        x_adv, live = np.load(tmp_path / "x_adv.npy"), compiled(trained, config, precision="float32").run(x, y)
        assert np.abs(x_adv - x).max() <= config.epsilon + 1e-6
        assert ((np.argmax(trained(x_adv), axis=1) != y) == live.adversarial).mean() >= 0.995
        assert far_apart(x_adv, live.x_adv) <= 0.05
    else:
        logits = trained(np.asarray(inputs["images"], np.float32) / (255 if signature == "serve_uint8" else 1))
        np.testing.assert_allclose(np.load(tmp_path / "logits.npy"), logits, atol=1e-4)
        np.testing.assert_allclose(np.load(tmp_path / "probabilities.npy"), tf.nn.softmax(logits), atol=1e-5)
        np.testing.assert_array_equal(np.load(tmp_path / "class.npy"), np.argmax(logits, axis=1))
