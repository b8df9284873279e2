"""Logistic regression: two logits that give sigmoid cross-entropy, one weight vector, and the expert start."""

import keras
import numpy as np
import pytest

from tfadv import data
from tfadv.losses import add_weight_decay
from tfadv.models import MODELS, expert_weights, logistic_regression
from tfadv.validation import UserError

RNG = np.random.default_rng(0)
X, Y = RNG.random([8, 4, 4, 1], np.float32), np.array([0, 1, 1, 0, 1, 0, 0, 1], np.int32)


def test_it_has_one_weight_vector_without_bias_unless_asked():
    assert MODELS["logistic_regression"] is logistic_regression
    assert logistic_regression().count_params() == 784
    assert logistic_regression(use_bias=True).count_params() == 785


def test_its_logits_are_zero_and_w_x_plus_b():
    model = logistic_regression(shape=(4, 4, 1), use_bias=True)
    w = model.get_weights()[0]
    model.set_weights([w, np.array([0.7], np.float32)])
    logits = np.asarray(model(X))
    np.testing.assert_array_equal(logits[:, 0], 0)
    np.testing.assert_allclose(logits[:, 1], X.reshape(8, -1) @ w[:, 0] + 0.7, atol=1e-6)


def test_softmax_cross_entropy_of_it_is_the_papers_loss():
    """eq. 1: log(1 + exp(-y w'x)) with y = -1 for class 0 and +1 for class 1."""
    model = logistic_regression(shape=(4, 4, 1))
    margin = np.where(Y == 1, 1, -1) * (X.reshape(8, -1) @ model.get_weights()[0][:, 0])
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)(Y, model(X))
    assert float(loss) == pytest.approx(np.log1p(np.exp(-margin)).mean(), abs=1e-6)


def test_weight_decay_acts_on_w_once():
    model = logistic_regression(shape=(4, 4, 1))
    w = model.get_weights()[0]
    add_weight_decay(model, l2=0.5)
    assert float(sum(model.losses)) == pytest.approx(0.5 * np.square(w).sum(), rel=1e-6)


def test_it_starts_from_a_truncated_normal_of_the_published_program():
    """A normal of standard deviation 0.1 cut at two of them has standard deviation 0.0880."""
    w = logistic_regression(shape=(10_000,)).get_weights()[0]
    assert np.abs(w).max() <= 0.2 + 1e-6
    assert w.std() == pytest.approx(0.0880, abs=2e-3)


def test_expert_weights_by_hand():
    """Class 1 has mean (2, 3), class 0 mean (1, -1)."""
    x = np.array([[1.0, 2.0], [3.0, 4.0], [1.0, -1.0]], np.float32)
    np.testing.assert_array_equal(expert_weights(x, np.array([1, 1, 0])), [1.0, 4.0])


def test_it_starts_from_given_weights():
    w = expert_weights(X, Y)
    assert w.shape == (4, 4, 1)
    assert w.dtype == np.float32
    model = logistic_regression(shape=(4, 4, 1), weights=w)
    np.testing.assert_allclose(model(X)[:, 1], np.sum(X * w, axis=(1, 2, 3)), atol=1e-6)


def test_the_expert_start_separates_real_threes_from_sevens():
    """The embedded digits: a nearest-mean direction without an offset is right for more than nine in ten."""

    def pairs(split):
        x, y = data.arrays("digits", split)
        kept = (y == 3) | (y == 7)
        return x[kept], (y[kept] == 3).astype(np.int32)

    model = logistic_regression(weights=expert_weights(*pairs("train")))
    x, y = pairs("test")
    assert (np.argmax(model(x), axis=1) == y).mean() > 0.9


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda: logistic_regression(classes=3), "classes must be 2 for logistic regression, got 3; .*linear takes"),
        (lambda: logistic_regression(weights=np.zeros([784])), r"shape of an input, \(28, 28, 1\), got \(784,\)"),
        (lambda: expert_weights(X, np.full(8, 3)), r"labels 0 and 1.*got 8 labels out of \[3\]"),
        (lambda: expert_weights(X, np.ones(8)), r"got 8 labels out of \[1.0\]"),
        (lambda: expert_weights(X, Y[:5]), "one for each of the 8 inputs, got 5 labels"),
    ],
)
def test_what_cannot_be_logistic_regression_is_refused(build, message):
    with pytest.raises(UserError, match=message):
        build()
