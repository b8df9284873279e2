"""SPSA: the estimate, Adam's first step, and that outputs alone suffice."""

import numpy as np
import pytest
import tensorflow as tf

from tfadv.attacks import Spsa, compiled, search
from tfadv.validation import UserError

RNG = np.random.default_rng(0)
X = (0.3 + 0.4 * RNG.random((10, 4, 4, 1))).astype(np.float32)
WEIGHTS = RNG.normal(size=(16, 3)).astype(np.float32)


def linear(x):
    return (tf.reshape(x, [-1, 16]) - 0.5) @ WEIGHTS


Y = linear(X).numpy().argmax(axis=1).astype(np.int32)


def measured(model, config, y=Y):
    problem = search.problem_of(config, tf.constant(X), tf.constant(y))
    return config.measure(model, problem, config.begin(model, problem, tf.constant(X)))


def two(x):
    """Two classes; the margin of label 0 is linear, so that slopes along directions are exact."""
    return (tf.reshape(x, [-1, 16]) - 0.5) @ WEIGHTS[:, :2]


def test_the_estimate_is_the_gradient_plus_noise_that_falls_with_the_samples():
    """E[v (v . w)] = w; of n directions the error of an entry has variance (|w|^2 - w_i^2) / n."""
    gradient = WEIGHTS[:, 1] - WEIGHTS[:, 0]
    errors = {}
    for samples in (8, 2048):
        estimate = measured(two, Spsa(samples=samples), np.zeros(10, np.int32)).gradient.numpy().reshape(10, 16)
        errors[samples] = np.sqrt(np.square(estimate - gradient).mean())
    expected = np.sqrt((np.square(gradient).sum() - np.square(gradient)).mean() / (2048 / 2))
    assert errors[2048] == pytest.approx(expected, rel=0.25)
    assert errors[8] > 8 * errors[2048]


def test_logits_are_those_of_the_iterate_itself():
    np.testing.assert_allclose(measured(linear, Spsa()).logits, linear(X), atol=1e-5)


def test_adams_first_step_is_the_learning_rate_along_the_sign():
    config = Spsa(epsilon=0.5, steps=1, learning_rate=0.03)
    problem = search.problem_of(config, tf.constant(X), tf.constant(Y))
    state = config.begin(linear, problem, tf.constant(X))._replace(taken=tf.ones([10], tf.int32))
    answer = config.measure(linear, problem, state)
    moved = config.move(problem, state, answer).x_adv.numpy()
    np.testing.assert_allclose(moved - X, 0.03 * np.sign(answer.gradient.numpy()), atol=1e-5)


def test_a_model_without_a_gradient_is_fooled_and_the_queries_are_counted():
    config = Spsa(epsilon=0.3, steps=30, samples=32, delta=0.05, learning_rate=0.05)
    outcome = compiled(lambda x: linear(tf.round(x * 40) / 40), config, precision="float32").run(X, Y)
    assert outcome.adversarial.mean() > 0.5
    assert outcome.gradient_evaluations == 0
    assert outcome.queries % 33 == 0
    assert 0 < outcome.queries <= 10 * 30 * 33


def test_another_seed_looks_along_other_directions():
    first, second = (measured(linear, Spsa(samples=8, seed=seed)).gradient.numpy() for seed in (0, 1))
    assert not np.allclose(first, second)
    np.testing.assert_array_equal(first, measured(linear, Spsa(samples=8)).gradient)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"samples": 7}, "samples must be even and at least 2, got 7"),
        ({"delta": 0.0}, "delta must be a finite number > 0, got 0.0"),
        ({"learning_rate": -1.0}, "learning_rate must be a finite number > 0, got -1.0"),
        ({"steps": 0}, "steps must be at least 1, got 0"),
    ],
)
def test_refused(fields, message):
    with pytest.raises(UserError, match=message):
        Spsa(**fields)
