"""The same weights in PyTorch: the same logits and the same gradient, for every layer that is translated."""

import sys

import keras
import numpy as np
import pytest
import tensorflow as tf

from tfadv.crosscheck import torch_models
from tfadv.crosscheck.torch_models import array, chain, check_began, images, labels, starting_at, to_torch
from tfadv.models import madry_mnist, small_cnn
from tfadv.validation import UserError

layers = keras.layers
RNG = np.random.default_rng(0)


@pytest.fixture
def torch():
    return pytest.importorskip("torch", reason="PyTorch is optional: it pulls gigabytes")


def classifier(*between, shape=(7, 6, 2), classes=3):
    """A Sequential model of `shape`d images with random weights and statistics, ending in Dense."""
    keras.utils.set_random_seed(0)
    model = keras.Sequential([keras.Input(shape), *between, layers.Flatten(), layers.Dense(classes)])
    for weight in model.weights:
        weight.assign(
            RNG.uniform(0.1, 1.0, weight.shape) * RNG.choice([-1.0, 1.0] if "var" not in weight.name else [1.0])
        )
    return model


MODELS = {
    "dense": lambda: classifier(layers.Flatten(), layers.Dense(5, activation="tanh")),
    "vector": lambda: classifier(layers.Dense(5, activation="elu"), layers.BatchNormalization(), shape=(4,)),
    "valid": lambda: classifier(layers.Conv2D(3, (3, 2), activation="relu")),
    "same": lambda: classifier(layers.Conv2D(3, 3, padding="same", use_bias=False, activation="leaky_relu")),
    "even window": lambda: classifier(layers.Conv2D(3, (4, 2), padding="same", activation="softplus")),
    "strides": lambda: classifier(layers.Conv2D(3, 5, (2, 3), "same"), layers.LeakyReLU(0.3)),
    "dilated": lambda: classifier(layers.Conv2D(4, 3, padding="same", dilation_rate=2, groups=2), layers.ReLU()),
    "pooled": lambda: classifier(layers.MaxPooling2D(2), layers.Activation("sigmoid"), layers.Dropout(0.5)),
    "pooled, same": lambda: classifier(layers.Rescaling(1.0, -2.0), layers.MaxPooling2D(3, 2, "same")),
    "averaged": lambda: classifier(layers.Conv2D(4, 3, activation="gelu"), layers.GlobalAveragePooling2D()),
    "rescaled": lambda: classifier(layers.Rescaling(2.0, [-1.0, 0.5]), layers.Conv2D(3, 3, activation="silu")),
    "normalized": lambda: classifier(layers.Normalization(mean=[0.2, 0.7], variance=[0.3, 4.0]), layers.Conv2D(2, 2)),
    "batch norm": lambda: classifier(layers.Conv2D(3, 3), layers.BatchNormalization(), layers.Activation("relu")),
    "one pixel": lambda: classifier(shape=(1, 1, 4)),
    "nested": lambda: classifier(keras.Sequential([keras.Input((7, 6, 2)), layers.Conv2D(3, 3)]), layers.ReLU()),
    "madry_mnist": madry_mnist,
    "small_cnn": small_cnn,
}


@pytest.mark.parametrize("name", MODELS)
def test_logits_and_gradient_are_those_of_keras(torch, name):
    model = MODELS[name]()
    module = to_torch(model)
    x = RNG.random((5, *model.input_shape[1:]), np.float32)
    weights = np.arange(1.0, 6.0, dtype=np.float32)
    with tf.GradientTape() as tape:
        tape.watch(inputs := tf.constant(x))
        logits = model(inputs, training=False)
        total = tf.reduce_sum(logits[:, 1] * weights)
    ours = images(x).requires_grad_()
    found = module(ours)
    (found[:, 1] * torch.tensor(weights)).sum().backward()
    expected = tape.gradient(total, inputs).numpy()
    np.testing.assert_allclose(found.detach().numpy(), logits, rtol=1e-5, atol=1e-5)
    np.testing.assert_allclose(array(ours.grad), expected, atol=1e-5 * np.abs(expected).max())
    assert all(parameter.grad is None for parameter in module.parameters())


def test_images_turn_their_axes_and_come_back(torch):
    x = RNG.random((2, 3, 4, 5), np.float32)
    assert tuple(images(x).shape) == (2, 5, 3, 4)
    assert images(x)[1, 4, 2, 3] == x[1, 2, 3, 4]
    np.testing.assert_array_equal(array(images(x)), x)
    np.testing.assert_array_equal(array(images(x[:, 0, 0])), x[:, 0, 0])
    images(x).zero_()
    assert x.any()
    assert labels(np.array([1, 2], np.int32)).dtype == torch.int64


def test_inside_the_block_random_numbers_are_the_given_start(torch):
    """A uniform or normal draw in the shape of the images is start - x; one number for each image is its length / 2."""
    x = np.zeros([3, 2, 2, 1], np.float32)
    start = np.random.default_rng(0).random(x.shape, np.float32)
    inside = images(x)
    with starting_at(x, start, 2.0):
        for drawn in (torch.empty_like(inside).uniform_(-1, 1), torch.zeros_like(inside).normal_()):
            np.testing.assert_array_equal(array(drawn), start)
            drawn *= 0  # What is drawn next is not the same memory.
        lengths = torch.zeros(3, 1, 1, 1).uniform_(0, 1)
    np.testing.assert_allclose(lengths.ravel(), np.linalg.norm(start.reshape(3, -1), axis=1) / 2, rtol=1e-6)
    assert (array(torch.zeros_like(inside).uniform_(2, 3)) >= 2).all()


def test_an_attack_that_begins_elsewhere_is_noticed():
    start = np.zeros([3, 2], np.float32)
    check_began("Other", start + 5e-7, start)
    for first in (start + 1e-5, start + np.nan):
        with pytest.raises(RuntimeError, match="Other did not begin at the given start"):
            check_began("Other", first, start)


def test_other_logits_are_noticed(torch, monkeypatch):
    right = torch_models._TRANSLATIONS[layers.Rescaling]
    monkeypatch.setitem(
        torch_models._TRANSLATIONS,
        layers.Rescaling,
        lambda nn, layer, built: right(nn, layers.Rescaling(1.001 * layer.scale), built),
    )
    with pytest.raises(RuntimeError, match="PyTorch gives other logits than Keras"):
        to_torch(classifier(layers.Rescaling(2.0)))


def branching():
    inputs = keras.Input((4,))
    return keras.Model(inputs, layers.Dense(3)(inputs) + layers.Dense(3)(inputs), name="twins")


def two_outputs():
    inputs = keras.Input((4,))
    return keras.Model(inputs, [layers.Dense(3)(inputs), layers.Dense(3)(inputs)], name="pair")


def half():
    return keras.Sequential([keras.Input((4,)), layers.Dense(3, dtype="mixed_bfloat16", name="half")])


@pytest.mark.parametrize(
    ("model", "message"),
    [
        (branching, "'twins' branches at "),
        (two_outputs, "'pair' must be .* one input and one output"),
        (lambda: keras.Sequential([layers.Dense(3)], name="unbuilt"), "'unbuilt' must be .* built"),
        (lambda: classifier(layers.SpatialDropout2D(0.1, name="odd")), "layer 'odd' is a SpatialDropout2D.*Conv2D, De"),
        (half, "layer 'half' computes in bfloat16"),
    ],
)
def test_a_model_that_cannot_be_repeated_is_refused(model, message):
    """Before PyTorch is asked for: the message is the same where it is not installed."""
    with pytest.raises(UserError, match=message):
        to_torch(model())


@pytest.mark.parametrize(
    ("model", "message"),
    [
        (
            lambda: classifier(layers.Conv2D(3, 1, activation="softmax", name="head")),
            "'head' has the activation 'softmax'",
        ),
        (lambda: classifier(layers.Dense(3, name="head")), "'head' is applied to images"),
        (lambda: classifier(layers.Flatten(), layers.Rescaling(2.0, name="late")), "'late' stands between Flatten"),
        (lambda: classifier(layers.Normalization(axis=(1, 2), mean=[[0.0]], variance=[[1.0]])), "something else than"),
        (lambda: classifier(layers.BatchNormalization(axis=1)), "has axis=1"),
        (lambda: classifier(layers.ReLU(max_value=6.0)), "has max_value=6.0"),
        (lambda: classifier(layers.GlobalAveragePooling2D(keepdims=True)), "has keepdims"),
        (lambda: keras.Sequential([keras.Input((2, 2, 3)), layers.Flatten()]), "ends in Flatten"),
    ],
)
def test_a_setting_that_cannot_be_repeated_is_refused(torch, model, message):
    with pytest.raises(UserError, match=message):
        to_torch(model())


def test_a_chain_is_read_from_input_to_output():
    inner = keras.Sequential([keras.Input((4,)), layers.Dense(4, name="b"), layers.ReLU(name="c")])
    inputs = keras.Input((4,))
    model = keras.Model(inputs, layers.Dense(3, name="d")(inner(layers.Dense(4, name="a")(inputs))))
    assert [layer.name for layer in chain(model)] == ["a", "b", "c", "d"]


@pytest.mark.parametrize(
    ("length", "window", "stride", "sides"),
    [(7, 3, 1, (1, 1)), (7, 4, 1, (1, 2)), (7, 5, 2, (2, 2)), (6, 5, 2, (1, 2)), (6, 2, 3, (0, 0)), (5, 3, 2, (1, 1))],
)
def test_padding_is_tensorflows_same(length, window, stride, sides):
    """n = ceil(length / stride) windows cover (n - 1) stride + window pixels; an odd missing one comes last."""
    layer = layers.Conv2D(1, (window, 1), (stride, 1), "same")
    left, right, top, bottom = torch_models._windows(layer, layer.kernel_size, layer.strides, (length, 3, 1))
    assert (left, right) == (0, 0)
    assert (top, bottom) == sides


def test_without_pytorch_the_error_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "torch", None)
    with pytest.raises(UserError, match=r'pip install "tfadv\[torch\]"'):
        to_torch(classifier())
