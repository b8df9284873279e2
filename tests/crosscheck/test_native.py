"""A Keras model in the framework that Keras runs on: the same logits in all of them."""

import importlib.util
import json
import os
import subprocess
import sys
from pathlib import Path

import keras
import numpy as np
import pytest

from tfadv.crosscheck import native
from tfadv.validation import UserError

ROOT = Path(__file__).resolve().parents[2]
X = np.random.default_rng(0).random((6, 8, 8, 3), np.float32)

SUBCLASSED = """
import keras

@keras.saving.register_keras_serializable("mine")
class Subclassed(keras.Model):
    def __init__(self, **options):
        super().__init__(**options)
        self.convolution = keras.layers.Conv2D(4, 3, padding="same")
        self.norm = keras.layers.BatchNormalization()
        self.dense = keras.layers.Dense(4)

    def call(self, x, training=False):
        x = keras.ops.relu(self.norm(self.convolution(x), training=training))
        return self.dense(keras.ops.mean(x, axis=(1, 2)))
"""

# Prints the logits of each model as JSON; of PyTorch also gradients to the images, and what its libraries are given.
PROGRAM = """
import json, sys
import keras, numpy as np
import subclassed
from tfadv.crosscheck import native
from tfadv.models import load

x, found = np.load("x.npy"), {}
for name in ("sequential", "functional", "subclassed", "flat"):
    model = load(name + ".keras")
    inputs = x.reshape(len(x), -1)[:, :5] if name == "flat" else x
    found[name] = native.logits(model)(inputs).tolist()
    if keras.backend.backend() == "torch":
        import torch
        classifier = native.torch_classifier(native.Network(model, inputs.shape[1:], 4))
        images = torch.tensor(np.moveaxis(inputs, -1, 1) if inputs.ndim == 4 else inputs, requires_grad=True)
        for _ in range(2):
            (gradient,) = torch.autograd.grad(classifier.module(images)[:, 0].sum(), images)
        plain = keras.ops.convert_to_tensor(inputs).detach().requires_grad_()
        (expected,) = torch.autograd.grad(model(plain, training=False)[:, 0].sum(), plain)
        expected = expected.movedim(-1, 1) if inputs.ndim == 4 else expected
        torch.testing.assert_close(gradient, 2.0**40 * expected)
        assert classifier.shape == tuple(images.shape[1:]) and classifier.classes == 4
        assert not any(each.requires_grad for each in classifier.module.parameters())
        assert not classifier.module.training
print(json.dumps(found))
"""


def randomized(model):
    """The model with weights, and batch statistics, that none of its layers begins with."""
    random = np.random.default_rng(1)
    model.set_weights([random.uniform(0.5, 1.5, weight.shape) / np.sqrt(weight.size) for weight in model.get_weights()])
    return model


def sequential():
    layers = keras.layers
    return keras.Sequential(
        [
            keras.Input((8, 8, 3)),
            layers.Rescaling(2.0, -1.0),
            layers.Conv2D(4, 3, strides=2, padding="same", use_bias=False),
            layers.BatchNormalization(),
            layers.LeakyReLU(0.1),
            layers.MaxPooling2D(2, padding="same"),
            layers.Flatten(),
            layers.Dropout(0.5),
            layers.Dense(4),
        ]
    )


def functional():
    """With a branch, which a chain of layers has not."""
    inputs = keras.Input((8, 8, 3))
    first = keras.layers.Conv2D(4, 3, padding="same", activation="relu")(inputs)
    second = keras.layers.BatchNormalization()(keras.layers.Conv2D(4, 3, padding="same")(first))
    outputs = keras.layers.Dense(4)(keras.layers.GlobalAveragePooling2D()(first + second))
    return keras.Model(inputs, outputs)


def test_tensorflow_gives_the_logits_of_the_model():
    model = randomized(sequential())
    logits = native.logits(model)
    for count in (6, 2):
        np.testing.assert_allclose(logits(X[:count]), model(X[:count], training=False), atol=1e-5)


@pytest.mark.parametrize("output", [{"logits": 1.0}, [1.0]])
def test_a_model_must_return_its_logits_alone(output):
    with pytest.raises(UserError, match="outside TensorFlow it must return its logits alone"):
        native._only(output)


@pytest.mark.slow
@pytest.mark.parametrize("backend", ["torch", "jax"])
def test_another_framework_gives_the_same_logits(backend, tmp_path, monkeypatch):
    if importlib.util.find_spec(backend) is None:
        pytest.skip(f"{backend} is optional: it is another framework")
    (tmp_path / "subclassed.py").write_text(SUBCLASSED)
    monkeypatch.syspath_prepend(tmp_path)
    import subclassed

    models = {"sequential": sequential(), "functional": functional(), "subclassed": subclassed.Subclassed()}
    models["flat"] = keras.Sequential(
        [keras.Input((5,)), keras.layers.Dense(3, activation="tanh"), keras.layers.Dense(4)]
    )
    models["subclassed"](X)
    expected = {}
    for name, model in models.items():
        randomized(model).save(tmp_path / f"{name}.keras")
        inputs = X.reshape(len(X), -1)[:, :5] if name == "flat" else X
        expected[name] = np.asarray(model(inputs, training=False))
    np.save(tmp_path / "x.npy", X)
    sys.modules.pop("subclassed")
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM],
        cwd=tmp_path,
        env={
            **os.environ,
            "KERAS_BACKEND": backend,
            "CUDA_VISIBLE_DEVICES": "-1",
            "JAX_PLATFORMS": "cpu",
            "PYTHONPATH": str(ROOT),
        },
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout.splitlines()[-1])
    assert {*found} == {*expected}
    for name, logits in expected.items():
        assert np.ptp(logits) > 1e-3
        np.testing.assert_allclose(found[name], logits, atol=1e-5 * max(1.0, np.abs(logits).max()))
