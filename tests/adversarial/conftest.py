"""Small data, small nets, and one method of each kind, shared by the tests of this room."""

import keras
import numpy as np
import pytest

from tfadv import adversarial
from tfadv.attacks import Mim, Pgd
from tfadv.losses import LabelSmoothing

RNG = np.random.default_rng(0)
IMAGES = RNG.random((10, 2, 2, 1), np.float32)
LABELS = RNG.integers(0, 3, 10).astype(np.int32)

# From the image itself: XLA draws other starts than graphs do from the seeds of the uniform ball.
STEPS = Pgd(epsilon=0.1, step_size=0.05, steps=2, random_start=False)
METHODS = {
    "madry": lambda net: adversarial.AdversarialTraining(net, STEPS, seed=3),
    "mixture": lambda net: adversarial.AdversarialTraining(
        net, Mim(epsilon=0.1, step_size=0.05, steps=2, norm="l2"), clean_weight=0.5, labels="predicted"
    ),
    "trades": lambda net: adversarial.Trades(net, STEPS, seed=3),
    "mart": lambda net: adversarial.Mart(net, STEPS, seed=3),
    "scatter": lambda net: adversarial.FeatureScatter(net, Pgd(epsilon=0.1, step_size=0.1, steps=1), seed=3),
    "pairing": lambda net: adversarial.AdversarialLogitPairing(net, STEPS, seed=3),
    "avmixup": lambda net: adversarial.AVmixup(
        adversarial.Trades(net, STEPS, seed=3), gamma=2.0, vertex_probability=0.5
    ),
    "awp": lambda net: adversarial.WeightPerturbation(adversarial.Trades(net, STEPS, seed=3), gamma=0.05),
}


@pytest.fixture(params=METHODS)
def method(request):
    """classifier -> one method of each kind."""
    return METHODS[request.param]  # a test may ask for one by its name


@pytest.fixture
def images():
    """float32 [10, 2, 2, 1] in [0, 1]."""
    return IMAGES


@pytest.fixture
def labels():
    """int32 [10], three classes."""
    return LABELS


@pytest.fixture
def net():
    """seed -> a classifier of the images with a hidden layer."""

    def build(seed=0, extra=()):
        glorot = [keras.initializers.GlorotUniform(seed=2 * seed + number) for number in range(2)]
        return keras.Sequential(
            [
                keras.layers.Input((2, 2, 1)),
                keras.layers.Flatten(),
                keras.layers.Dense(5, activation="tanh", kernel_initializer=glorot[0]),
                *extra,
                keras.layers.Dense(3, kernel_initializer=glorot[1]),
            ]
        )

    return build


@pytest.fixture
def compiled():
    """model -> the model, compiled with plain SGD and cross-entropy for every form of labels."""

    def compile_(model, *, rate=0.1, loss=None, optimizer=None, **options):
        options = {"metrics": ["sparse_categorical_accuracy"], "jit_compile": False, **options}
        model.compile(optimizer or keras.optimizers.SGD(rate), loss or LabelSmoothing(mass=0.0), **options)
        return model

    return compile_
