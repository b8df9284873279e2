"""StableHLO run by JAX: logits, adversarial examples and training as in TensorFlow, also where there is none."""

import os
import shutil
import subprocess
import sys

import keras
import numpy as np
import pytest
import tensorflow as tf

from tfadv import adversarial, data, export
from tfadv.attacks import Apgd, Pgd, compiled, search
from tfadv.crosscheck import stablehlo
from tfadv.crosscheck.stablehlo import Program
from tfadv.validation import UserError


@pytest.fixture(scope="module")
def jax():
    return pytest.importorskip("jax", minversion="0.6", reason="JAX is optional")


@pytest.fixture(scope="module")
def images():
    """All 500 test digits."""
    return data.arrays("digits", "test")


def network():
    keras.utils.set_random_seed(0)
    layers = keras.layers
    model = keras.Sequential(
        [
            layers.Input((28, 28, 1)),
            layers.Conv2D(8, 5, strides=3, activation="relu"),
            layers.BatchNormalization(),
            layers.Flatten(),
            layers.Dropout(0.2),
            layers.Dense(10),
        ]
    )
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(keras.optimizers.Adam(0.01), loss, metrics=["accuracy"])
    return model


@pytest.fixture(scope="module")
def trained():
    model = network()
    model.fit(*data.arrays("digits", "train", limit=400), batch_size=20, epochs=5, verbose=0)
    return model


def far_apart(x_adv, other):
    """Share of images with a pixel that differs by more than 1e-5."""
    return (np.abs(x_adv - other).reshape(len(x_adv), -1).max(axis=1) > 1e-5).mean()


CONFIGS = {
    "pgd": Pgd(epsilon=0.1, step_size=0.02, steps=10, seed=3),
    "l2": Pgd(epsilon=1.0, step_size=0.3, steps=5, norm="l2", objective="margin"),
    "apgd": Apgd(epsilon=0.1, steps=10, objective="dlr"),
}


SLOW = ("l2", "apgd")


@pytest.mark.parametrize("name", [pytest.param(name, marks=[pytest.mark.slow] * (name in SLOW)) for name in CONFIGS])
def test_the_attack_finds_in_jax_what_the_engine_finds_from_the_same_start(jax, trained, images, tmp_path, name):
    config, (x, y) = CONFIGS[name], images
    folder = export.export_stablehlo(trained, config, tmp_path / "hlo", batch_size=64)
    engine = compiled(trained, config, precision="float32", jit="off")
    start = engine.draw(search.problem_of(config, tf.constant(x), tf.constant(y)))
    expected = engine.run(x, y, start)
    x_adv = Program(folder)(images=x, labels=y, start=start)["x_adv"]
    judged = Program(folder, "classifier")
    fooled = judged(images=x_adv)["class"] != y
    assert 0.1 < expected.adversarial.mean() < 1
    assert (fooled == expected.adversarial).mean() >= 0.995
    assert far_apart(x_adv, expected.x_adv) <= 0.005
    np.testing.assert_allclose(judged(images=x)["logits"], trained(x), atol=1e-4)


def test_products_ask_for_full_precision(jax, trained, tmp_path):
    """A GPU would otherwise round factors to TensorFloat-32, which has 10 bits after the point."""
    from jax.extend.mlir.dialects import stablehlo as dialect
    from jax.interpreters import mlir

    folder = export.export_stablehlo(trained, CONFIGS["pgd"], tmp_path / "hlo", batch_size=2)
    for path in folder.glob("*.mlirbc"):
        text = str(dialect.deserialize_portable_artifact(mlir.make_ir_context(), path.read_bytes()))
        products = [line for line in text.splitlines() if "stablehlo.dot" in line or "stablehlo.convolution(" in line]
        assert len(products) >= 2
        assert all("HIGHEST" in line and "DEFAULT" not in line for line in products)


@pytest.fixture
def folder(linear_model, tmp_path):
    """An attack whose one step leads to a corner of the ball, from wherever it starts."""
    config = Pgd(epsilon=0.1, step_size=0.25, steps=1, keep="last")
    return export.export_stablehlo(linear_model, config, tmp_path / "hlo", batch_size=4)


X = np.random.default_rng(0).uniform(0.3, 0.7, [10, 2, 2, 1]).astype(np.float32)
Y = np.arange(10) % 3


def test_one_step_on_a_linear_model_reaches_the_same_corner(jax, folder, linear_model):
    config = Pgd(epsilon=0.1, step_size=0.25, steps=1, keep="last")
    x_adv = Program(folder)(images=X, labels=Y, start=X)["x_adv"]
    np.testing.assert_allclose(x_adv, compiled(linear_model, config, precision="float32")(X, Y, X), atol=1e-5)


def test_any_number_of_rows_is_given_in_pieces(jax, folder, linear_model):
    for count in (1, 4, 10):
        answers = Program(folder, "classifier")(images=X[:count])
        np.testing.assert_allclose(answers["logits"], linear_model(X[:count]), atol=1e-6)
        assert answers["class"].shape == (count,)


def test_start_and_epsilon_have_the_defaults_of_the_attack(jax, folder, linear_model, tmp_path):
    attack = Program(folder)
    assert (attack.inputs, attack.outputs, attack.batch_size) == (
        ["images", "labels", "start", "epsilon"],
        ["x_adv"],
        4,
    )
    whole, half = attack(images=X, labels=Y), attack(images=X, labels=Y, epsilon=0.05)
    np.testing.assert_allclose(np.abs(whole["x_adv"] - X), 0.1, atol=1e-6)
    np.testing.assert_allclose(np.abs(half["x_adv"] - X), 0.05, atol=1e-6)
    # Without a step, x_adv is the start in the ball.
    still = export.export_stablehlo(
        linear_model, Pgd(epsilon=0.1, step_size=0.0, steps=1, keep="last"), tmp_path / "still", batch_size=4
    )
    one, same, other = (Program(still)(images=X, labels=Y, seed=seed)["x_adv"] for seed in (0, 0, 1))
    np.testing.assert_array_equal(one, same)
    assert 0.09 < np.abs(one - X).max() <= 0.1 + 1e-6
    assert np.abs(one - other).max() > 0.01


def test_other_weights_may_take_the_place_of_the_exported_ones(jax, folder, linear_model):
    program = Program(folder, "classifier")
    (name,) = program.weights
    program.weights[name] = 2 * np.asarray(program.weights[name])
    np.testing.assert_allclose(program(images=X)["logits"], 2 * linear_model(X).numpy(), atol=1e-5)


@pytest.mark.slow
@pytest.mark.parametrize("method", ["plain", "adversarial"])
def test_the_training_step_trains_in_jax_as_in_tensorflow(jax, tmp_path, method):
    """Three steps of Adam with dropout, batch statistics and metrics; the XLA of both draws the same numbers."""
    x, y = data.arrays("digits", "train", limit=96)
    model = classifier = network()
    if method == "adversarial":
        model = adversarial.AdversarialTraining(classifier, Pgd(epsilon=0.1, step_size=0.04, steps=3), seed=1)
        model.compile(classifier.optimizer, classifier.loss, metrics=["accuracy"])
    folder = export.export_training_step(model, tmp_path / "step", batch_size=32, image_shape=(28, 28, 1))
    program = Program(folder, "training_step")
    step = tf.function(lambda x, y: model.train_step((x, y)), jit_compile=True, autograph=False)
    for rows in (slice(0, 32), slice(32, 64), slice(64, 96)):
        expected, metrics = step(tf.constant(x[rows]), tf.constant(y[rows])), program(images=x[rows], labels=y[rows])
        assert set(metrics) == {"accuracy", "loss"}
        for key, value in metrics.items():
            np.testing.assert_allclose(value, expected[key], rtol=1e-4)
    for variable in classifier.variables:
        np.testing.assert_allclose(program.weights[variable.path], variable, atol=1e-4)
    assert np.abs(program.weights[classifier.layers[-1].kernel.path]).max() > 0.1
    with pytest.raises(UserError, match="a training step takes 32 rows, got 31"):
        program(images=x[:31], labels=y[:31])


BAD_INPUTS = {
    "labels is missing; the program takes": {"images": X},
    "target is no input of this program; it takes": {"images": X, "labels": Y, "target": Y},
    r"images must have the shape \[any number, 2, 2, 1\], got \[10, 4\]": {"images": X.reshape(10, 4), "labels": Y},
    r"epsilon must have the shape \[\], got \[2\]": {"images": X, "labels": Y, "epsilon": [0.1, 0.2]},
    "images must be float32, got uint8; divide 8-bit images by 255": {"images": X.astype(np.uint8), "labels": Y},
    "labels must be int32, got float64": {"images": X, "labels": Y / 2},
    "the same number of rows, got .*'labels': 9": {"images": X, "labels": Y[:9]},
    "any number, 2, 2, 1": {"images": X[:0], "labels": Y[:0]},
}


@pytest.mark.parametrize("message", BAD_INPUTS)
def test_wrong_inputs_are_refused(folder, message):
    with pytest.raises(UserError, match=message):
        Program(folder)(**BAD_INPUTS[message])


def test_what_is_no_export_is_refused(folder, tmp_path):
    with pytest.raises(UserError, match=r"program must be one of \['attack', 'classifier'\] of .*hlo', got 'atack'"):
        Program(folder, "atack")
    with pytest.raises(UserError, match=r"is no StableHLO export, or a damaged one .*export it again"):
        Program(tmp_path)
    (folder / "weights.npz").write_bytes((folder / "weights.npz").read_bytes()[:-30])
    with pytest.raises(UserError, match=r"is no StableHLO export, or a damaged one .*export it again"):
        Program(folder)


def test_a_missing_and_an_old_jax_are_named(folder, monkeypatch):
    monkeypatch.setitem(sys.modules, "jax", None)
    with pytest.raises(UserError, match=r"needs JAX .*; pip install jax"):
        Program(folder)(images=X, labels=Y)
    old = type(sys)("jax")
    old.__version__, old.__version_info__, old.__path__ = "0.5.3", (0, 5, 3), []
    monkeypatch.setitem(sys.modules, "jax", old)
    monkeypatch.setitem(sys.modules, "jax.experimental", type(sys)("jax.experimental"))
    with pytest.raises(UserError, match=r"needs JAX 0\.6 or later, got 0\.5\.3"):
        Program(folder)(images=X, labels=Y)


@pytest.mark.slow
def test_the_file_alone_runs_an_export_where_neither_tfadv_nor_tensorflow_is(jax, folder, tmp_path):
    blocked = tmp_path / "blocked"
    blocked.mkdir()
    for name in ("tfadv", "tensorflow", "keras"):
        (blocked / f"{name}.py").write_text(f"raise ImportError('there is no {name} here')\n")
    shutil.copy(stablehlo.__file__, tmp_path / "run.py")
    np.savez(tmp_path / "in.npz", images=X, labels=Y, start=X)
    environment = {**os.environ, "PYTHONPATH": str(blocked)}

    def run(*arguments):
        command = [sys.executable, *arguments]
        return subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=300)

    assert "there is no tensorflow here" in run("-c", "import tensorflow").stderr
    assert "there is no tfadv here" in run("-c", "import tfadv").stderr
    done = run("run.py", "hlo", "attack", "in.npz", "out.npz")
    assert done.returncode == 0, done.stderr
    expected = Program(folder)(images=X, labels=Y, start=X)["x_adv"]
    np.testing.assert_array_equal(np.load(tmp_path / "out.npz")["x_adv"], expected)
    for arguments, message in (
        (["hlo", "attack", "no.npz", "out.npz"], "error: no.npz must be an .npz file with the program's inputs"),
        (["hlo", "attack"], "error: four arguments are needed: FOLDER PROGRAM INPUTS.npz OUTPUTS.npz, got 2"),
        (["hlo", "atack", "in.npz", "out.npz"], "error: program must be one of ['attack', 'classifier']"),
    ):
        done = run("run.py", *arguments)
        assert done.returncode == 1
        assert done.stderr.startswith(message)
