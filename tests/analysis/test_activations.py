"""Sizes of logits and activations, of networks small enough to compute them by hand."""

import keras
import numpy as np
import pytest

from tfadv.analysis.activations import activation_chart, activations, logit_chart, logits
from tfadv.validation import UserError

X = np.array([[0.0, 1.0], [1.0, 0.0], [0.5, 0.5]], np.float32)


@pytest.fixture(scope="module")
def net():
    """Units relu(x1), relu(-x1 - x2), relu(x2 - x1), relu(-x1): the second and the last are never active in [0, 1]."""
    hidden = keras.layers.Dense(4, activation="relu", use_bias=False, name="hidden")
    head = keras.layers.Dense(2, use_bias=False, name="head")
    model = keras.Sequential([keras.Input((2,)), hidden, head], name="net")
    hidden.kernel.assign([[1, -1, -1, -1], [0, -1, 1, 0]])
    head.kernel.assign([[1, 0], [1, 1], [0, -2], [5, 5]])
    return model


def test_means_of_the_penultimate_layer_by_hand(net):
    """relu(x1) is 0, 1, 0.5 and relu(x2 - x1) is 1, 0, 0."""
    found = activations(net, X)
    np.testing.assert_allclose(found.mean, [0.5, 0, 1 / 3, 0], rtol=1e-6)
    np.testing.assert_allclose(found.largest, [1, 0, 1, 0])
    assert found.inactive == 2
    np.testing.assert_allclose(found.cumulative, [0.5, 5 / 6, 5 / 6, 5 / 6], rtol=1e-6)


def test_logits_count_by_their_size(net):
    """Logits (0, -2), (1, 0), (0.5, 0)."""
    np.testing.assert_allclose(logits(net, X), [[0, -2], [1, 0], [0.5, 0]], atol=1e-6)
    for model in (net, lambda x: net(x)):
        np.testing.assert_allclose(activations(model, X, "logits").mean, [0.5, 2 / 3], rtol=1e-6)


def test_a_layer_by_its_name_and_any_batch_size(net):
    whole = activations(net, X)
    for found in (activations(net, X, "hidden"), activations(net, X, batch_size=2)):
        np.testing.assert_allclose(found.mean, whole.mean, rtol=1e-6)
        np.testing.assert_array_equal(found.largest, whole.largest)
    np.testing.assert_allclose(activations(net, X, "head").mean, [0.5, 2 / 3], rtol=1e-6)


def test_every_entry_of_a_convolution_is_a_unit():
    model = keras.Sequential([keras.Input((4, 4, 1)), keras.layers.Conv2D(3, 3, name="conv"), keras.layers.Flatten()])
    assert activations(model, np.ones((2, 4, 4, 1), np.float32), "conv").mean.shape == (2 * 2 * 3,)


def test_dropout_is_off(net):
    layers = [keras.layers.Dense(4, activation="relu", use_bias=False), keras.layers.Dense(2, use_bias=False)]
    dropped = keras.Sequential([keras.Input((2,)), keras.layers.Dropout(0.9), *layers])
    dropped.set_weights(net.get_weights())
    np.testing.assert_allclose(activations(dropped, X).mean, activations(net, X).mean)


def test_charts(net):
    found = activations(net, X)
    chart = activation_chart({"net": found})
    assert chart.title.endswith("Inactive units: net 2 of 4.")
    assert chart.series["net"].x == (1, 2, 3, 4)
    assert chart.series["net"].y == pytest.approx(found.cumulative)
    shown = logit_chart({"net": logits(net, X)}).series["net"]
    assert shown.x[0] == 0
    assert shown.y[0] == pytest.approx(3 / 6)  # Three logits of six are 0.


def test_what_does_not_fit_is_refused(net):
    with pytest.raises(UserError, match=r"layer must be .*'hidden', 'head'.*got 'middle'"):
        activations(net, X, "middle")
    with pytest.raises(UserError, match="needs a Keras model, got function"):
        activations(lambda x: net(x), X)
    flat = keras.Sequential([keras.Input((2, 1)), keras.layers.Flatten()])
    with pytest.raises(UserError, match=r"'penultimate' \(of a model with a Dense layer\)"):
        activations(flat, X[:, ::-1, None] / 2)
    with pytest.raises(UserError, match="one layer"):
        activation_chart({"a": activations(net, X), "b": activations(net, X, "logits")})
