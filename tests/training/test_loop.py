"""The compiled loop against gradient steps by hand, on a linear model."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from tfadv.adversarial import AdversarialTraining, NaturalTraining
from tfadv.attacks import Fgm
from tfadv.losses import LabelSmoothing, add_weight_decay
from tfadv.training.loop import Loop
from tfadv.validation import UserError

RATE = 0.5
RNG = np.random.default_rng(0)
X = RNG.random([7, 4, 2, 2, 1], np.float32)  # seven batches of four
Y = RNG.integers(0, 3, [7, 4]).astype(np.int32)


@pytest.fixture
def trainee(linear_model):
    """method -> the linear model in that method, compiled with plain gradient descent on cross-entropy."""

    def make(method=NaturalTraining, rate=RATE, l2=0.0):
        if l2:
            add_weight_decay(linear_model, l2=l2)
        made = method(linear_model)
        made.compile(keras.optimizers.SGD(rate), LabelSmoothing(mass=0.0))
        made.optimizer.build(made.trainable_variables)
        return made

    return make


def loop_of(made):
    return Loop(made, tf.distribute.get_strategy())


def dataset_of(x=X, y=Y):
    return tf.data.Dataset.from_tensor_slices((x, y))


def by_hand(kernel, x, y, l2=0.0, epsilon=0.0):
    """One step: (kernel afterwards, loss, penalty, accuracy) of logits = flat(x) @ kernel, in double precision.

    The gradient of the mean cross-entropy is x' (p - y) / B with p = softmax(logits), that of l2 sum w^2 is 2 l2 w, and
    that of one example's cross-entropy to its input is (p - y) kernel', whose signs are the step of the attack.
    """

    def probabilities(flat):
        powers = np.exp(flat @ kernel)
        return powers / powers.sum(axis=1, keepdims=True)

    flat, one_hot = x.reshape(len(x), -1).astype(float), np.eye(3)[y]
    if epsilon:
        ascent = (probabilities(flat) - one_hot) @ kernel.T
        flat = np.clip(flat + epsilon * np.sign(ascent), 0.0, 1.0)
    p = probabilities(flat)
    penalty = l2 * (kernel**2).sum()
    loss = -np.log(p[np.arange(len(y)), y]).mean() + penalty
    gradient = flat.T @ (p - one_hot) / len(x) + 2 * l2 * kernel
    return kernel - RATE * gradient, loss, penalty, (p.argmax(axis=1) == y).mean()


@pytest.mark.parametrize(("l2", "epsilon"), [(0.0, 0.0), (0.1, 0.0), (0.1, 0.05)], ids=["plain", "decay", "attack"])
def test_steps_and_means_are_those_by_hand(trainee, l2, epsilon):
    """Penalty and loss are those at the weights that the step begins with, accuracy that on what it trains on."""
    made = trainee(
        (lambda net: AdversarialTraining(net, Fgm(epsilon, bounds=(0.0, 1.0)))) if epsilon else NaturalTraining, l2=l2
    )
    kernel, found = made.classifier.get_weights()[0].astype(float), []
    for x, y in zip(X, Y, strict=True):
        kernel, *values = by_hand(kernel, x, y, l2, epsilon)
        found.append(values)
    means = loop_of(made).run(iter(dataset_of()), 0, 7)
    np.testing.assert_allclose(made.classifier.get_weights()[0], kernel, atol=1e-5)
    loss, penalty, accuracy = np.mean(found, axis=0)
    assert means == pytest.approx({"loss": loss, "penalty": penalty, "accuracy": accuracy}, abs=1e-5)
    assert 0 < accuracy < 1
    assert (penalty > 0) == (l2 > 0)


@pytest.mark.parametrize("form", ["column", "distribution"])
def test_accuracy_takes_labels_of_every_form(trainee, form):
    labels = {"column": Y[..., None], "distribution": 0.6 * np.eye(3, dtype=np.float32)[Y] + 0.4 / 3}[form]
    means = loop_of(trainee(rate=1e-12)).run(iter(dataset_of(y=labels)), 0, 7)
    kernel = np.array([[1.0, -1.0, 0.0], [2.0, 0.0, -2.0], [-1.0, 3.0, -2.0], [0.5, -1.5, 1.0]])
    assert means["accuracy"] == pytest.approx(((X.reshape(7, 4, 4) @ kernel).argmax(-1) == Y).mean())


def test_one_call_many_calls_and_single_steps_are_the_same_steps(trainee):
    """120 steps are three calls of the compiled loop, of 50, 50 and 20."""
    made = trainee(rate=0.05)
    start, loop, dataset = made.classifier.get_weights(), loop_of(made), dataset_of().repeat()

    def trained(*counts):
        made.classifier.set_weights(start)
        iterator, sums = iter(dataset), np.zeros(3)
        for count in counts:
            sums += count * np.array(list(loop.run(iterator, 0, count).values()))
        return made.classifier.get_weights()[0], sums / sum(counts)

    kernel, means = trained(120)
    assert np.abs(kernel - start[0]).max() > 0.1
    for counts in ((1,) * 120, (49, 51, 20), (7, 113)):
        found, found_means = trained(*counts)
        np.testing.assert_array_equal(found, kernel)
        np.testing.assert_allclose(found_means, means, rtol=1e-5)


def test_it_takes_as_many_steps_as_asked_for_and_no_more_of_the_data(trainee):
    made = trainee()
    iterator = iter(dataset_of())
    loop_of(made).run(iterator, 0, 5)
    assert int(made.optimizer.iterations) == 5
    np.testing.assert_array_equal(next(iterator)[0], X[5])


@pytest.mark.parametrize("value", [np.inf, np.nan])
@pytest.mark.parametrize("l2", [0.0, 0.1])
def test_it_stops_at_the_step_whose_loss_is_no_number(trainee, value, l2):
    """Also with weight decay it is the loss on the examples, although the weights are spoiled by the same step."""
    x = X.copy()
    x[3, 2, 0, 1, 0] = value
    made = trainee(l2=l2)
    iterator = iter(dataset_of(x))
    with pytest.raises(UserError, match=r"^the loss on the examples is (nan|inf) at step 1,004$"):
        loop_of(made).run(iterator, 1_000, 7)
    assert int(made.optimizer.iterations) == 4
    np.testing.assert_array_equal(next(iterator)[0], X[4])


def test_in_a_later_call_the_step_is_counted_on(trainee):
    x = np.tile(X, [10, 1, 1, 1, 1])
    x[60] = np.nan
    with pytest.raises(UserError, match=r"at step 61$"):
        loop_of(trainee()).run(iter(dataset_of(x, np.tile(Y, [10, 1]))), 0, 70)


def test_a_weight_penalty_that_is_no_number_is_named(trainee):
    """One step of rate 1e20 takes the weights to about 1e20: their squares overflow, the loss on the examples not."""
    with pytest.raises(UserError, match=r"^the weight penalty is inf at step 2$"):
        loop_of(trainee(rate=1e20, l2=1e-3)).run(iter(dataset_of()), 0, 7)
