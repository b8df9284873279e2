"""The program as a user runs it: what it exports, from which kinds of path, and what it refuses without writing."""

import importlib.util
import json

import keras
import numpy as np
import pytest
import tensorflow as tf

from tfadv import export, models
from tfadv.attacks import Pgd, compiled

pytestmark = pytest.mark.slow

PROGRAM = "trainers.export"
IMAGES = np.random.default_rng(0).random([20, 2, 2, 1], np.float32)


def test_a_run_folder_is_exported_with_an_attack_and_that_export_again_without(run_program, linear_model, tmp_path):
    (tmp_path / "run").mkdir()
    linear_model.save(tmp_path / "run" / "model.keras")
    first, second = tmp_path / "first", tmp_path / "second"
    attack = ["--attack=pgd", "--epsilon=0.2", "--step_size=0.05", "--steps=6", "--seed=3"]
    ends = run_program(
        PROGRAM,
        [f"--model={tmp_path / 'run'}", f"--output={first}", *attack],
        [f"--model={first}", f"--output={second}"],
    )
    assert [end.status for end in ends] == [0, 0], ends
    assert f"exported to {first}" in ends[0].out

    labels = np.argmax(linear_model(IMAGES), axis=1).astype(np.int32)
    config = Pgd(epsilon=0.2, step_size=0.05, steps=6, seed=3)
    x_adv = models.load(first).signatures["attack"](
        images=tf.constant(IMAGES), labels=tf.constant(labels), epsilon=tf.constant(0.2)
    )
    np.testing.assert_allclose(x_adv["x_adv"], compiled(linear_model, config)(IMAGES, labels), atol=1e-5)
    again = models.load(second)
    assert set(again.signatures) == {"serve", "serving_default", "serve_uint8"}
    np.testing.assert_allclose(models.predictor(again)(IMAGES), linear_model(IMAGES), atol=1e-6)


def test_weights_of_a_named_architecture_are_written_in_every_format(run_program, tmp_path):
    keras.utils.set_random_seed(0)
    model, weights = models.small_cnn(), tmp_path / "net.weights.h5"
    model.save_weights(weights)
    given = [f"--model={weights}", "--architecture=small_cnn"]
    attack = ["--attack=pgd", "--epsilon=0.1", "--step_size=0.05", "--steps=2"]
    lite = ["--format=tflite", "--dataset=digits", "--representative=50", "--limit=50", "--queries=20"]
    ends = run_program(
        PROGRAM,
        [*given, f"--output={tmp_path / 'saved'}"],
        [*given, f"--output={tmp_path / 'hlo'}", "--format=stablehlo", "--batch_size=8", *attack],
        [*given, f"--output={tmp_path / 'net.tflite'}", *lite, *attack],
        [*given, f"--output={tmp_path / 'net.onnx'}", "--format=onnx"],
    )
    converter = importlib.util.find_spec("tf2onnx") is not None
    assert [end.status for end in ends] == [0, 0, 0, int(not converter)], ends
    x = np.random.default_rng(0).random([3, 28, 28, 1], np.float32)
    np.testing.assert_allclose(models.predictor(models.load(tmp_path / "saved"))(x), model(x), atol=1e-5)
    described = json.loads((tmp_path / "hlo" / "program.json").read_text())
    assert described["batch_size"] == 8
    assert set(described["programs"]) == {"classifier", "attack"}
    np.testing.assert_allclose(export.TfliteClassifier(tmp_path / "net.tflite")(x), model(x), atol=0.05)
    assert "Accuracy on 50 images, linf radius 0.1." in ends[2].out
    assert [line.split()[0] for line in ends[2].out.splitlines()[-2:]] == ["float32", "quantized"]
    assert (tmp_path / "net.onnx").is_file() == converter
    assert converter or 'pip install "tfadv[onnx]"' in ends[3].err


BAD_FLAGS = {
    "error: model path 'no/such' does not exist": ["--model=no/such"],
    "error: --attack=pgd needs --epsilon and --step_size": ["--attack=pgd", "--epsilon=0.1"],
    "error: --epsilon needs an attack that takes it": ["--epsilon=0.1"],
    "error: epsilon must be a finite number >= 0": ["--attack=fgm", "--epsilon=-1"],
    "error: --format=onnx holds the classifier alone": ["--format=onnx", "--attack=fgm", "--epsilon=0.1"],
    "error: --format=tflite needs --dataset": ["--format=tflite"],
    "error: architecture is for HDF5 files only": ["--architecture=small_cnn"],
    "error: name must be a data set, one of": ["--format=tflite", "--dataset=mnst"],
    "unexpected arguments: ['surplus']": ["surplus"],
}


def test_bad_input_is_one_line_and_status_1_and_writes_nothing(run_program, linear_model, tmp_path):
    linear_model.save(tmp_path / "model.keras")
    good = [f"--model={tmp_path / 'model.keras'}", f"--output={tmp_path / 'exported'}"]
    for message, end in zip(
        BAD_FLAGS, run_program(PROGRAM, *[[*good, *flags] for flags in BAD_FLAGS.values()]), strict=True
    ):
        assert end.status == 1
        assert message in end.err
        assert "Traceback" not in end.err
    assert [path.name for path in tmp_path.iterdir()] == ["model.keras"]


def test_a_tflite_file_is_not_written_before_what_measures_it_is_at_hand(run_program, tmp_path):
    """Its model takes images of the data set, so that nothing but --limit is wrong."""
    layers = [keras.Input((28, 28, 1)), keras.layers.Flatten(), keras.layers.Dense(10)]
    keras.Sequential(layers).save(tmp_path / "model.keras")
    lite = ["--format=tflite", "--dataset=digits", "--attack=fgm", "--epsilon=0.1", "--limit=501"]
    given = [f"--model={tmp_path / 'model.keras'}", f"--output={tmp_path / 'net.tflite'}"]
    (end,) = run_program(PROGRAM, [*given, *lite])
    assert (end.status, "error: limit must be a whole number from 1 to 500" in end.err) == (1, True)
    assert [path.name for path in tmp_path.iterdir()] == ["model.keras"]
