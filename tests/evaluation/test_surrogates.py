"""Surrogates: what a twin keeps and what it leaves out, that it learns, transfers, repeats itself, or is refused."""

import random

import keras
import numpy as np
import pytest
import tensorflow as tf

from tfadv import attacks, data, models
from tfadv.evaluation.surrogates import Surrogate, adversarial_surrogate, fresh, undefended_twin
from tfadv.models import predictor
from tfadv.models.adapters import Bpda
from tfadv.validation import UserError

LAYERS = keras.layers
EPSILON = 0.2


class Unregistered(LAYERS.Layer):
    def call(self, x):
        return keras.ops.relu(x)


class Unbuildable(LAYERS.Layer):
    """A layer whose config does not make it again."""

    def __init__(self, function):
        super().__init__()
        self.function = function

    def call(self, x):
        return self.function(x)

    def get_config(self):
        return {}


class Subclassed(keras.Model):
    def __init__(self):
        super().__init__()
        self.flatten, self.head = LAYERS.Flatten(), LAYERS.Dense(10)

    def call(self, x):
        return self.head(self.flatten(x))


def net(*extra, seed=0):
    """A small net whose initial weights follow from a seed, as those of the library do."""
    glorot = [keras.initializers.GlorotUniform(seed=2 * seed + number) for number in range(2)]
    return keras.Sequential(
        [
            LAYERS.Input((28, 28, 1)),
            LAYERS.Conv2D(8, 4, 4, activation="leaky_relu", kernel_initializer=glorot[0], kernel_regularizer="l2"),
            *extra,
            LAYERS.Flatten(),
            LAYERS.Dense(10, kernel_initializer=glorot[1]),
        ],
        name="net",
    )


@pytest.fixture(scope="module")
def digits():
    return data.arrays("digits", "train"), data.arrays("digits", "test", limit=200)


@pytest.fixture(scope="module")
def defended(digits):
    """A net with a quantizer in front: its gradient is 0 everywhere, what transfers breaks it."""
    train, test = digits
    model = undefended_twin(net(seed=5), train, test, steps=200, learning_rate=5e-3).model

    def levels(x):
        return keras.ops.round(3 * x) / 3

    quantized = keras.Sequential([LAYERS.Input((28, 28, 1)), Bpda(levels, lambda x: 0 * x), model])
    assert np.mean(quantized(test[0]).numpy().argmax(axis=1) == test[1]) > 0.85
    return quantized


# The network.


@pytest.mark.parametrize(
    "build",
    [
        net,
        lambda: net(LAYERS.BatchNormalization(), LAYERS.Dropout(0.5, seed=3), Unregistered()),
        lambda: keras.Sequential([LAYERS.Input((28, 28, 1)), LAYERS.Rescaling(2.0), net()]),
        lambda: models.logistic_regression(),
        lambda: models.madry_cifar10(width=1, units=1, shape=(8, 8, 3)),
        lambda: models.mlp(3, shape=(7,), normalization="none"),
    ],
    ids=["sequential", "layers", "nested", "operations", "residual", "vectors"],
)
def test_a_fresh_model_has_the_shapes_of_the_old_one_and_weights_by_its_own_seed(build):
    model = build()
    before, state = model.get_weights(), random.getstate()
    one, same, other = fresh(model, 1), fresh(model, 1), fresh(model, 2)
    assert random.getstate() == state
    x = np.random.default_rng(0).random((2, *model.inputs[0].shape[1:]), np.float32)
    assert one(x).shape == model(x).shape
    for old, still, new, again, another in zip(
        before, *(each.get_weights() for each in (model, one, same, other)), strict=True
    ):
        np.testing.assert_array_equal(still, old)
        np.testing.assert_array_equal(new, again)
        assert new.shape == old.shape
        if new.std() > 0:  # not biases and batch statistics
            assert not np.allclose(new, old, atol=1e-3)
            assert not np.allclose(new, another, atol=1e-3)


def test_a_fresh_model_has_neither_penalties_nor_frozen_layers_nor_the_loss_of_the_old_one():
    model = net(keras.Sequential([LAYERS.Conv2D(4, 1)]))
    assert model.losses
    model.layers[0].trainable = model.layers[1].trainable = False
    model.compile("adam", lambda labels, logits: keras.ops.mean(logits, axis=-1))
    twin = fresh(model, 0)
    assert twin.losses == []
    assert len(twin.trainable_weights) == 6
    assert not twin.compiled


# Training.


def test_a_twin_learns_and_fools_what_hides_its_gradient(digits, defended):
    train, test = digits
    twin = undefended_twin(defended, train, test, architecture=net(), steps=200, learning_rate=5e-3, batch_size=60)
    assert isinstance(twin, Surrogate)
    assert (twin.name, twin.steps, twin.architecture) == ("undefended twin", 200, "the architecture of 'net'")
    assert twin.clean_accuracy == np.mean(twin.model(test[0]).numpy().argmax(axis=1) == test[1])
    original = np.mean(defended(test[0]).numpy().argmax(axis=1) == test[1])
    guessing = np.bincount(test[1]).max() / 200
    assert twin.least_accuracy == pytest.approx((guessing + original) / 2)
    assert twin.clean_accuracy > 0.85 > twin.least_accuracy
    config = attacks.Pgd(EPSILON, EPSILON / 4, 10, keep="last")
    direct = attacks.compiled(defended, config, precision="float32").run(*test)
    found = attacks.transfer(twin.model, defended, config, *test, precision="float32")
    assert found.adversarial.mean() > direct.adversarial.mean() + 0.3


@pytest.mark.slow
def test_an_adversarial_surrogate_resists_what_a_natural_twin_does_not(digits):
    train, test = digits
    settings = {"steps": 240, "learning_rate": 5e-3, "batch_size": 50}
    natural = undefended_twin(net(), train, test, **settings)
    robust = adversarial_surrogate(net(), train, test, 0.1, **settings)
    assert robust.name == "adversarially trained twin (linf 0.1)"
    config = attacks.Pgd(0.1, 0.025, 10)
    left = [1 - attacks.compiled(each.model, config).run(*test).adversarial.mean() for each in (natural, robust)]
    assert left[1] > left[0] + 0.2
    assert robust.clean_accuracy > robust.least_accuracy


@pytest.mark.parametrize("norm", ["l2", "l1"])
def test_other_norms_and_other_bounds_train_as_well(digits, norm):
    """Five steps with images in [-1, 1]: the weights move, and all that is crafted is legal input."""
    (x, y), test = digits
    wide = [(2 * part[0] - 1, part[1]) for part in ((x, y), test)]
    options = {"steps": 5, "bounds": (-1.0, 1.0), "least_accuracy": 0.0}
    surrogate = adversarial_surrogate(net(), *wide, 0.5, norm, **options)
    start = fresh(net(), 2).get_weights()
    assert any(not np.allclose(one, other) for one, other in zip(start, surrogate.model.get_weights(), strict=True))
    assert np.isfinite(surrogate.model(wide[1][0])).all()


@pytest.mark.parametrize("kind", ["natural", "adversarial"])
def test_the_same_seed_gives_the_same_surrogate_whatever_was_drawn_before(digits, kind):
    def trained(seed):
        model = net(LAYERS.Dropout(0.2))
        options = {"steps": 10, "seed": seed, "least_accuracy": 0.0}
        if kind == "natural":
            return undefended_twin(model, *digits, **options).model.get_weights()
        return adversarial_surrogate(model, *digits, EPSILON, **options).model.get_weights()

    one = trained(3)
    random.random()
    tf.random.uniform([1])
    for first, second in zip(one, trained(3), strict=True):
        np.testing.assert_array_equal(first, second)
    assert any(not np.array_equal(first, second) for first, second in zip(one, trained(4), strict=True))


@pytest.mark.parametrize(
    ("model", "architecture", "expected"),
    [
        (Subclassed, None, "small_cnn, because the model does not show its layers"),
        (lambda: lambda x: tf.reshape(x, [-1, 784])[:, :10], None, "small_cnn, because the model does not show"),
        (
            lambda: net(Unbuildable(keras.ops.relu)),
            None,
            "small_cnn, because the layers of 'net' cannot be made again (TypeError",
        ),
        (net, "linear", "linear"),
        (lambda: lambda x: tf.reshape(x, [-1, 784])[:, :10], net(), "the architecture of 'net'"),
    ],
    ids=["subclassed", "function", "layers", "name", "model"],
)
def test_the_architecture_is_the_models_or_what_the_caller_says_or_a_small_net(digits, model, architecture, expected):
    options = {"architecture": architecture, "steps": 2, "least_accuracy": 0.0, "batch_size": 10}
    twin = undefended_twin(model(), *digits, **options)
    assert twin.architecture.startswith(expected)
    assert predictor(twin.model)(digits[1][0]).shape == (200, 10)


def test_vectors_have_an_mlp():
    x, y = data.arrays("moons", "test", limit=100)
    twin = undefended_twin(lambda x: 3 * x, (x, y), (x, y), steps=2, least_accuracy=0.0)
    assert twin.architecture.startswith("mlp, because")


def test_what_did_not_learn_is_refused_with_the_numbers(digits):
    """After one step a net knows next to nothing, and behind a layer without gradient it never will."""
    with pytest.raises(UserError) as caught:
        undefended_twin(net(), *digits, steps=1, least_accuracy=0.9)
    for part in (
        "undefended twin (the architecture of 'net') did not learn: accuracy",
        "after 1 steps on 1,297 images",
    ):
        assert part in str(caught.value)
    assert "needs 90.0%" in str(caught.value)
    with pytest.raises(UserError, match=r"adversarially trained twin .* did not learn"):
        adversarial_surrogate(net(), *digits, EPSILON, steps=1, least_accuracy=0.9)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"steps": 0}, "steps must be at least 1, got 0"),
        ({"batch_size": 0}, "batch_size must be at least 1, got 0"),
        ({"batch_size": 2000}, "batch_size must be at most the 1297 training images, got 2000"),
        ({"learning_rate": 0.0}, "learning_rate must be a number > 0, got 0.0"),
        ({"least_accuracy": 90}, r"least_accuracy must lie in \[0, 1\], got 90; write 0.9"),
        ({"architecture": "vgg"}, r"architecture must be one of .* got 'vgg'"),
        ({"architecture": 3}, r"architecture must be one of .* or a Keras model, got 3"),
        ({"architecture": models.mlp(4)}, "architecture must give 10 logits for inputs of shape"),
        ({"train": (np.zeros([5, 8, 8, 1], np.float32), [0] * 5)}, r"train must have images like those of test, \(28"),
        ({"train": (np.zeros([5, 28, 28, 1], np.float32), [10] * 5)}, r"labels of train must lie in 0\.\.9"),
        ({"model": keras.Sequential([net(), LAYERS.Softmax()])}, "ends in softmax"),
    ],
    ids=lambda value: next(iter(value)) if isinstance(value, dict) else "",
)
def test_unusable_settings_are_refused_before_training(digits, options, message):
    arguments = {"model": net(), "train": digits[0], "test": digits[1], "steps": 5, **options}
    with pytest.raises(UserError, match=message):
        undefended_twin(arguments.pop("model"), arguments.pop("train"), arguments.pop("test"), **arguments)


@pytest.mark.parametrize(
    ("epsilon", "norm", "message"),
    [
        (8.0, "linf", "epsilon 8 is wider than the whole range"),
        (0.3, "l0", r"norm must be one of \['l1', 'l2', 'linf'"),
    ],
)
def test_a_threat_that_cannot_be_trained_against_is_refused(digits, epsilon, norm, message):
    with pytest.raises(UserError, match=message):
        adversarial_surrogate(net(), *digits, epsilon, norm)
