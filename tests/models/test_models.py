"""What every architecture owes: one way to build it, float32 logits, seeds, `.keras` files, one result everywhere."""

import functools
import importlib.util
import inspect
import os
import pathlib
import subprocess
import sys

import keras
import numpy as np
import pytest
import tensorflow as tf

from tfadv import models
from tfadv.models import MODELS, predictor

# Every builder once, in a size that costs little; the published sizes are counted in the files of each.
SMALL = {
    "lenet_cifar10": models.lenet_cifar10,
    "lenet_mnist": models.lenet_mnist,
    "linear": models.linear,
    "logistic_regression": functools.partial(models.logistic_regression, use_bias=True),
    "madry_cifar10": functools.partial(models.madry_cifar10, shape=(8, 8, 3), width=1, units=1),
    "madry_mnist": functools.partial(models.madry_mnist, shape=(8, 8, 1)),
    "mlp": functools.partial(models.mlp, widths=(20, 10)),
    "preact_resnet18": functools.partial(models.preact_resnet18, shape=(8, 8, 3)),
    "resnet18": functools.partial(models.resnet18, shape=(8, 8, 3)),
    "small_cnn": models.small_cnn,
    "wd_cnn": models.wd_cnn,
    "wide_resnet": functools.partial(models.wide_resnet, 10, 1, shape=(8, 8, 3)),
}


@functools.cache
def built(name, policy="float32"):
    """One model for all tests that leave it as it is."""
    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy(policy)
    try:
        return SMALL[name](seed=1)
    finally:
        keras.config.set_dtype_policy(before)


def images(model, count=4):
    return np.random.default_rng(0).random([count, *model.input_shape[1:]], np.float32)


def function_of(builder):
    return builder.func if isinstance(builder, functools.partial) else builder


def test_every_architecture_of_the_index_is_tested_here():
    assert {function_of(builder) for builder in MODELS.values()} == {function_of(b) for b in SMALL.values()}


@pytest.mark.parametrize("name", MODELS)
def test_every_architecture_is_built_in_the_same_way(name):
    """`MODELS[name](classes=..., seed=..., shape=...)`, each with a default."""
    parameters = inspect.signature(MODELS[name]).parameters
    assert parameters["seed"].default == 0
    assert parameters["classes"].default == (2 if name == "logistic_regression" else 10)
    # inspect makes what comes after a partial's keyword keyword-only, so the order is the function's own.
    order = [name for name in inspect.signature(function_of(MODELS[name])).parameters if name in parameters]
    assert [name for name in order if name in ("classes", "seed", "shape")] == ["classes", "seed", "shape"]
    side, channels = (28, 1) if parameters["shape"].default[-1] == 1 else (32, 3)
    assert parameters["shape"].default == (side, side, channels)


@pytest.mark.parametrize("policy", ["float32", "mixed_bfloat16", "mixed_float16"])
@pytest.mark.parametrize("name", SMALL)
def test_images_in_the_unit_box_give_float32_logits(name, policy):
    model = built(name, policy)
    x = images(model)
    x[0], x[1] = 0.0, 1.0
    logits = model(x, training=False)
    assert logits.shape == (4, 2 if name == "logistic_regression" else 10)
    assert logits.dtype == "float32"
    assert np.isfinite(logits).all()
    assert all(variable.dtype == "float32" for variable in model.trainable_variables)
    assert {layer.compute_dtype for layer in model.layers if isinstance(layer, keras.layers.Conv2D)} <= {
        policy.removeprefix("mixed_")
    }


@pytest.mark.parametrize("name", SMALL)
def test_the_logits_of_a_lower_precision_are_close(name):
    """bfloat16 has 8 bits: errors of some percent of the largest logit, not another network."""
    x = images(built(name))
    expected = np.asarray(built(name)(x, training=False))
    found = built(name, "mixed_bfloat16")(x, training=False)
    np.testing.assert_allclose(found, expected, atol=0.05 * np.abs(expected).max())


@pytest.mark.parametrize("name", SMALL)
def test_the_number_of_classes_is_the_number_of_logits(name):
    classes = 2 if name == "logistic_regression" else 7
    assert SMALL[name](classes=classes).output_shape == (None, classes)


@pytest.mark.parametrize("name", SMALL)
def test_the_seed_decides_the_initial_weights(name):
    one, same, other = (model.trainable_variables for model in (built(name), SMALL[name](seed=1), SMALL[name](seed=2)))
    for a, b, c in zip(one, same, other, strict=True):
        np.testing.assert_array_equal(a, b)
        # Offsets and scales of batch norm, and biases of some networks, start at a constant.
        assert len(a.shape) == 1 or not np.array_equal(a, c)


@pytest.mark.parametrize("name", SMALL)
def test_no_two_kernels_of_one_network_start_alike(name):
    kernels = [np.asarray(variable).ravel() for variable in built(name).trainable_variables if len(variable.shape) > 1]
    starts = {kernel[:8].tobytes() for kernel in kernels}
    assert len(starts) == len(kernels)


@pytest.mark.parametrize("name", SMALL)
def test_inference_changes_no_variable_and_does_not_depend_on_the_batch(name):
    model = built(name)
    x = images(model)
    before = [np.array(variable) for variable in model.variables]
    predict = predictor(model)
    together, alone = predict(x), predict(x[:1])
    np.testing.assert_allclose(together[:1], alone, atol=1e-5)
    for old, new in zip(before, model.variables, strict=True):
        np.testing.assert_array_equal(old, new)


@pytest.mark.parametrize("name", ["madry_cifar10", "preact_resnet18", "resnet18", "wide_resnet"])
def test_training_mode_moves_the_statistics_of_batch_norm(name):
    model = SMALL[name]()
    before = [np.array(variable) for variable in model.non_trainable_variables]
    model(images(model), training=True)
    moved = [not np.array_equal(old, new) for old, new in zip(before, model.non_trainable_variables, strict=True)]
    assert len(moved) > 0
    assert all(moved)


@pytest.mark.parametrize("name", SMALL)
def test_gradients_reach_the_images(name):
    """And are finite for a black one, where a standard deviation is 0."""
    model = built(name)
    x = images(model)
    x[0] = 0.0
    with tf.GradientTape() as tape:
        tape.watch(inputs := tf.constant(x))
        total = tf.reduce_sum(model(inputs, training=False)[:, 1])
    gradient = tape.gradient(total, inputs).numpy()
    assert np.isfinite(gradient).all()
    assert np.abs(gradient[1:]).reshape(3, -1).max(axis=1).min() > 0


@pytest.mark.parametrize("name", SMALL)
def test_a_keras_file_gives_the_same_logits_in_safe_mode(name, tmp_path):
    model = built(name)
    model.save(tmp_path / "model.keras")
    restored = models.load(tmp_path / "model.keras")
    x = images(model)
    np.testing.assert_array_equal(restored(x, training=False), model(x, training=False))


BACKEND = """
import pathlib, sys
import keras, numpy as np
import tfadv.models  # registers the layer that standardizes images
assert keras.backend.backend() == sys.argv[2]
for path in sorted(pathlib.Path(sys.argv[1]).glob("*.keras")):
    model = keras.saving.load_model(path, compile=False, safe_mode=True)
    x = np.load(path.with_suffix(".npy"))
    logits = model(x, training=False)
    np.save(path.with_suffix(".logits.npy"), keras.ops.convert_to_numpy(logits))
"""


@pytest.mark.slow
@pytest.mark.parametrize("backend", ["torch", "jax"])
def test_one_keras_file_gives_the_same_logits_under_every_backend(backend, tmp_path):
    if importlib.util.find_spec(backend) is None:
        pytest.skip(f"{backend} is optional, and not installed here")
    expected = {}
    for name in SMALL:
        model = built(name)
        x = images(model)
        model.save(tmp_path / f"{name}.keras")
        np.save(tmp_path / f"{name}.npy", x)
        expected[name] = np.asarray(model(x, training=False))
    root = pathlib.Path(models.__file__).resolve().parents[2]
    environment = {**os.environ, "KERAS_BACKEND": backend, "PYTHONPATH": str(root), "PYTHONDONTWRITEBYTECODE": "1"}
    command = [sys.executable, "-c", BACKEND, str(tmp_path), backend]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=280)
    assert done.returncode == 0, done.stderr[-2000:]
    for name, logits in expected.items():
        found = np.load(tmp_path / f"{name}.logits.npy")
        np.testing.assert_allclose(found, logits, atol=1e-5 * max(1.0, np.abs(logits).max()), err_msg=name)
