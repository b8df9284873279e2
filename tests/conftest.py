"""Fixtures that more than one room uses: real data where it is at hand, and models small enough to work out by hand."""

import os
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

import keras
import numpy as np
import pytest

ROOT = Path(__file__).resolve().parents[1]


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The folder of real data beside the clone, or a skip that says what is missing."""
    folder = (ROOT / "../shared/data").resolve()
    if not folder.is_dir():
        pytest.skip(f"real data is optional, and {folder} is absent")
    return folder


@pytest.fixture(scope="session")
def digits() -> tuple[np.ndarray, np.ndarray]:
    """The first 64 test images of the embedded digits: (float32 [64, 28, 28, 1], int32 [64])."""
    from tfadv import data

    return data.arrays("digits", "test", limit=64)


@pytest.fixture(scope="session")
def mnist_dir(shared_data, tmp_path_factory) -> Path:
    """A TensorFlow Datasets folder that holds real MNIST, prepared once from the original files (about 15 s)."""
    from tfadv.data.prepare import prepare

    folder = tmp_path_factory.mktemp("tensorflow_datasets")
    prepare("mnist", shared_data / "mnist", folder)
    return folder


LINEAR_WEIGHTS = np.array([[1.0, -1.0, 0.0], [2.0, 0.0, -2.0], [-1.0, 3.0, -2.0], [0.5, -1.5, 1.0]], np.float32)


@pytest.fixture
def linear_model() -> keras.Model:
    """Images [B, 2, 2, 1] -> logits [B, 3] = flat(image) @ LINEAR_WEIGHTS: every attack on it has a closed form."""
    inputs = keras.Input((2, 2, 1))
    dense = keras.layers.Dense(3, use_bias=False)
    model = keras.Model(inputs, dense(keras.layers.Flatten()(inputs)))
    dense.kernel.assign(LINEAR_WEIGHTS)
    return model


@pytest.fixture(scope="module")
def small_net():
    """Name of a classifier of 28x28x1 images that is a hundred times cheaper to train than the smallest real one.

    It stands in `tfadv.models.MODELS` while the tests of one file run.
    """
    from tfadv import models

    def build(classes: int = 10, seed: int = 0) -> keras.Model:
        glorot = [keras.initializers.GlorotUniform(seed=2 * seed + number) for number in range(2)]
        layers = [
            keras.Input((28, 28, 1)),
            keras.layers.Conv2D(4, 4, strides=4, activation="relu", kernel_initializer=glorot[0]),
            keras.layers.Flatten(),
            keras.layers.Dense(classes, dtype="float32", kernel_initializer=glorot[1]),
        ]
        return keras.Sequential(layers, name="small_net")

    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(models.MODELS, "small_net", build)
        yield "small_net"
