"""StableHLO folders: what is in them, and what is refused. What they compute is compared in tests/crosscheck."""

import json

import keras
import numpy as np
import pytest
import tensorflow as tf

from tfadv import export
from tfadv.attacks import Apgd, Fgm, Pgd, Square
from tfadv.export.stablehlo import Program, lowered, write
from tfadv.models import load
from tfadv.validation import UserError

PGD = Pgd(epsilon=0.1, step_size=0.02, steps=3)


def described(folder):
    return json.loads((folder / "program.json").read_text())


def weights(folder):
    with np.load(folder / "weights.npz") as stored:
        return dict(stored)


def test_the_folder_says_what_the_programs_take_and_give(linear_model, tmp_path):
    folder = export.export_stablehlo(linear_model, PGD, tmp_path / "hlo", batch_size=5)
    assert {path.name for path in folder.iterdir()} == {
        "program.json",
        "weights.npz",
        "classifier.mlirbc",
        "attack.mlirbc",
    }
    (name,) = weights(folder)
    images = {"name": "images", "shape": [5, 2, 2, 1], "dtype": "float32"}
    answers = [("class", [5], "int32"), ("logits", [5, 3], "float32"), ("probabilities", [5, 3], "float32")]
    assert described(folder) == {
        "batch_size": 5,
        "programs": {
            "classifier": {
                "inputs": [images],
                "weights": [name],
                "outputs": [dict(zip(("name", "shape", "dtype"), each, strict=True)) for each in answers],
                "updates": [],
            },
            "attack": {
                "inputs": [
                    images,
                    {"name": "labels", "shape": [5], "dtype": "int32"},
                    {**images, "name": "start", "default": "random"},
                    {"name": "epsilon", "shape": [], "dtype": "float32", "default": 0.1},
                ],
                "weights": [name],
                "outputs": [{**images, "name": "x_adv"}],
                "updates": [],
            },
        },
    }
    np.testing.assert_array_equal(weights(folder)[name], linear_model.layers[-1].kernel)


def test_the_programs_are_portable_artifacts_without_calls_of_one_platform(trained, tmp_path):
    """An MLIR bytecode file begins with ML\\xefR; kernels of one platform are custom calls."""
    for config in (PGD, Apgd(epsilon=0.1, steps=3, objective="dlr"), Square(epsilon=0.1, queries=3)):
        folder = export.export_stablehlo(trained, config, tmp_path / type(config).__name__, batch_size=4)
        for path in folder.glob("*.mlirbc"):
            code = path.read_bytes()
            assert code.startswith(b"ML\xefR")
            assert b"custom_call" not in code


def test_weights_are_stored_once_and_under_the_paths_of_keras(trained, tmp_path):
    folder = export.export_stablehlo(trained, PGD, tmp_path / "hlo", batch_size=4)
    stored, used = weights(folder), [v for v in trained.variables if "seed_generator" not in v.path]
    assert set(stored) == {variable.path for variable in used}
    for variable in used:
        np.testing.assert_array_equal(stored[variable.path], variable)
    assert set(described(folder)["programs"]["attack"]["weights"]) == set(stored)


def test_a_saved_model_and_a_constant_of_the_model_are_weights_too(tmp_path):
    """Keras' Normalization holds its mean as a constant; large ones are arguments of a graph."""
    shape = (20, 20, 1)
    mean, variance = np.random.default_rng(0).random((2, *shape), np.float32)
    layers = [keras.Input(shape), keras.layers.Normalization((1, 2, 3), mean, variance), keras.layers.Flatten()]
    model = keras.Sequential([*layers, keras.layers.Dense(3)])
    saved = load(export.export_classifier(model, tmp_path / "saved"))
    for each in (model, saved):
        stored = weights(export.export_stablehlo(each, None, tmp_path / "hlo", batch_size=2))
        assert {(name.split("/")[-1], value.shape) for name, value in stored.items()} == {
            ("constant", (1, *shape)),
            ("constant_2", (1, *shape)),
            ("kernel", (400, 3)),
            ("bias", (3,)),
        }
        np.testing.assert_array_equal(stored["constant"][0], mean)


@pytest.mark.parametrize(
    ("config", "start"),
    [
        (PGD, "random"),
        (Pgd(epsilon=0.1, step_size=0.1, random_start=False), "images"),
        (Fgm(epsilon=0.1), "images"),
        (Apgd(epsilon=0.1, steps=3), "random"),
    ],
    ids=["pgd", "bim", "fgm", "apgd"],
)
def test_an_attack_starts_where_its_config_does_if_the_caller_does_not_say(linear_model, tmp_path, config, start):
    folder = export.export_stablehlo(linear_model, config, tmp_path / "hlo", batch_size=2)
    assert described(folder)["programs"]["attack"]["inputs"][2]["default"] == start


def test_weights_of_one_name_and_different_values_are_kept_apart(tmp_path):
    one, two = np.ones(3), np.full(3, 2.0)

    def program(*values):
        return Program(b"", (), tuple(("w", value) for value in values), (), (len(values) - 1,))

    folder = write({"a": program(one), "b": program(two, one), "c": program(one, one)}, tmp_path / "hlo", 1)
    programs = described(folder)["programs"]
    assert [programs[name]["weights"] for name in "abc"] == [["w"], ["w_2", "w"], ["w", "w_3"]]
    assert [programs[name]["updates"] for name in "abc"] == [["w"], ["w"], ["w_3"]]
    assert {name: value[0] for name, value in weights(folder).items()} == {"w": 1, "w_2": 2, "w_3": 1}


def test_a_function_that_assigns_names_the_variables_that_it_updates():
    count, factor = tf.Variable(1.0, name="count"), tf.Variable(2.0, name="factor")

    def function(x):
        count.assign_add(1.0)
        return {"y": factor * x * count}

    program = lowered(function, {"x": tf.TensorSpec([2], tf.float32)})
    assert [program.weights[at][0] for at in program.updates] == ["count"]
    assert dict(program.weights) == {"count": 1.0, "factor": 2.0}
    assert count.numpy() == 1.0


@pytest.mark.parametrize("before", [True, False])
def test_the_option_for_tensor_float_32_is_as_it_was(linear_model, tmp_path, before):
    tf.config.experimental.enable_tensor_float_32_execution(before)
    try:
        export.export_stablehlo(linear_model, None, tmp_path / "hlo", batch_size=2)
        assert tf.config.experimental.tensor_float_32_execution_enabled() is before
    finally:
        tf.config.experimental.enable_tensor_float_32_execution(True)


def numpy_inside(x):
    return tf.ensure_shape(tf.numpy_function(lambda a: a.reshape(len(a), 4), [x], tf.float32), [None, 4])


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"batch_size": 0}, "batch_size must be at least 1, got 0"),
        ({"config": Pgd(epsilon=0.1, step_size=0.1, restarts=2)}, r"one run \(restarts, targets\) .*got 2; export it"),
        ({"config": Pgd(epsilon=0.0)}, "one epsilon > 0"),
        (
            {"model": numpy_inside, "image_shape": (2, 2, 1)},
            r"XLA cannot compile .*\(operation PyFunc\); export",
        ),
    ],
    ids=["no batch", "restarts", "no radius", "numpy"],
)
def test_what_cannot_be_exported_is_refused_and_nothing_is_written(linear_model, tmp_path, settings, message):
    given = {"model": linear_model, "config": None, "directory": tmp_path / "hlo", "batch_size": 2, **settings}
    with pytest.raises(UserError, match=message):
        export.export_stablehlo(**given)
    assert list(tmp_path.iterdir()) == []


def test_only_an_export_of_this_kind_is_replaced(linear_model, tmp_path):
    saved = export.export_classifier(linear_model, tmp_path / "saved")
    with pytest.raises(UserError, match="a folder with other content, not a StableHLO export"):
        export.export_stablehlo(linear_model, None, saved, batch_size=2)
    export.export_stablehlo(linear_model, PGD, tmp_path / "hlo", batch_size=2)
    folder = export.export_stablehlo(linear_model, None, tmp_path / "hlo", batch_size=2)
    assert not (folder / "attack.mlirbc").exists()
