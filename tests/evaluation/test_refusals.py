"""Models whose answer is not a function of the image are refused, at exact limits, with the remedy."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from tfadv.evaluation import evaluate
from tfadv.evaluation.refusals import refuse
from tfadv.evaluation.subject import Subject
from tfadv.validation import UserError

X = np.random.default_rng(0).uniform(size=(40, 2, 2, 1)).astype(np.float32)
WEIGHTS = np.float32([[1, -1, 0], [2, 0, -2], [-1, 3, -2], [0.5, -1.5, 1]])

RANDOM = r"must be deterministic .* use suite='rand', whose gradients are means over 20 draws, or switch its noise off"
CHANGES = r"model must not change when it classifies: .* pass a model that runs with training=False"
DEPENDS = r"model must classify every image by itself: .* pass a model that runs with training=False"


def logits(x):
    return tf.reshape(x, [-1, 4]) @ WEIGHTS


@pytest.fixture
def normalized():
    """A net with batch normalization whose averages have moved away from their beginning."""
    layers = keras.layers
    net = keras.Sequential([keras.Input((2, 2, 1)), layers.Flatten(), layers.BatchNormalization(), layers.Dense(3)])
    net.layers[1].moving_mean.assign([0.5] * 4)
    return net


def judge(model, x=X, random_allowed=False, given=None):
    """Refuses `model` as `evaluate` does: its logits come from a compiled program."""
    subject = Subject(model, x, np.zeros(len(x), np.int32), norm="linf", epsilon=0.1)
    refuse(model if given is None else given, subject.forward, x, random_allowed=random_allowed)


# What is accepted.


def test_functions_and_nets_in_inference_mode_are_accepted(normalized):
    layers = keras.layers
    dropped = keras.Sequential([keras.Input((2, 2, 1)), layers.Flatten(), layers.Dropout(0.5), layers.Dense(3)])
    for model in (logits, normalized, lambda x: normalized(x, training=False), dropped):
        judge(model)
        judge(model, X[:1])


def test_a_variable_that_stays_as_it_is_is_no_change():
    class Scaled(tf.Module):
        def __init__(self):
            self.scale = tf.Variable(2.0)
            self.name_of_it = tf.Variable("a string, which has no hash of numbers")

        def __call__(self, x):
            return self.scale * logits(x)

    judge(Scaled())


# What is refused.


def test_batch_normalization_in_training_mode_is_refused(normalized):
    """The batch's own statistics: each pass over the same batch gives the same, an image alone something else."""
    with pytest.raises(UserError, match=DEPENDS):
        judge(lambda x: normalized(x, training=True))
    with pytest.raises(UserError, match=CHANGES):
        judge(lambda x: normalized(x, training=True), given=normalized)


@pytest.mark.parametrize(
    "model",
    [
        lambda x: logits(x) + tf.random.normal([3], stddev=0.01),
        lambda x: logits(x + tf.random.uniform(tf.shape(x), -0.1, 0.1)),
        lambda x: logits(tf.nn.dropout(x, 0.1)),
    ],
    ids=["of the logits", "of the input", "dropout"],
)
def test_noise_at_inference_is_refused_and_sent_to_the_suite_that_takes_means(model):
    with pytest.raises(UserError, match=RANDOM):
        judge(model)
    judge(model, random_allowed=True)


def test_a_model_that_changes_a_variable_is_refused():
    class Counting(tf.Module):
        def __init__(self):
            self.calls = tf.Variable(0)

        def __call__(self, x):
            self.calls.assign_add(1)
            return logits(x)

    class Layer(keras.layers.Layer):
        def build(self, shape):
            self.seen = self.add_weight(shape=(), initializer="zeros", trainable=False)

        def call(self, x):
            self.seen.assign_add(1.0)
            return x

    net = keras.Sequential([keras.Input((2, 2, 1)), Layer(), keras.layers.Flatten(), keras.layers.Dense(3)])
    for model in (Counting(), net):
        for random_allowed in (False, True):
            with pytest.raises(UserError, match=CHANGES):
                judge(model, random_allowed=random_allowed)


@pytest.mark.parametrize(
    "model",
    [
        lambda x: logits(x) - tf.reduce_mean(logits(x), axis=0),
        lambda x: logits(x) + 0.1 * tf.reduce_max(x),
        lambda x: logits(x) + tf.linspace(0.0, 0.1, tf.shape(x)[0])[:, None],
    ],
    ids=["the batch's mean", "its brightest pixel", "the place in the batch"],
)
def test_a_model_that_looks_at_the_rest_of_the_batch_is_refused(model):
    with pytest.raises(UserError, match=DEPENDS):
        judge(model)


# Limits.


def passes(*changes):
    """A forward function that gives logits (2, -1), times 1 + change at each of its calls, and then as at first."""
    remaining = list(changes)
    return lambda x: np.float64([[2.0, -1.0]]) * np.ones([len(x), 1]) * (1 + (remaining.pop(0) if remaining else 0.0))


@pytest.mark.parametrize("call", [1, 2, 3, 4])
def test_any_of_five_passes_may_not_differ_by_more_than_a_ten_thousandth(call):
    def judged(change):
        refuse(None, passes(*[0.0] * call, change), X, random_allowed=False)

    judged(0.99e-4)
    judged(-0.99e-4)
    for change in (1.01e-4, -1.01e-4):
        with pytest.raises(UserError, match=r"5 passes .* differ by 1\.0e-04 of the largest"):
            judged(change)


@pytest.mark.parametrize("call", [5, 8, 9], ids=["alone, the first", "alone, the fourth", "in another order"])
def test_an_image_alone_or_in_another_order_may_not_differ_by_more_than_a_thousandth(call):
    def judged(change):
        refuse(None, passes(*[0.0] * call, change), X, random_allowed=False)

    judged(0.99e-3)
    for change in (1.01e-3, -1.01e-3):
        with pytest.raises(UserError, match=r"alone and in a batch differ by 1\.0e-03 of the largest logit"):
            judged(change)


def test_limits_are_relative_to_the_largest_logit():
    """An error of 1e-6 in each pass is much where the logits are of the order of 1e-6, and nothing where they are 1."""

    def noisy(size):
        draws = np.random.default_rng(0)
        return lambda x: size * np.float64([[1.0, -1.0]]) + draws.uniform(0, 1e-6, [len(x), 2])

    refuse(None, noisy(1.0), X, random_allowed=False)
    with pytest.raises(UserError, match="deterministic"):
        refuse(None, noisy(1e-6), X, random_allowed=False)
    refuse(None, lambda x: np.zeros([len(x), 2]), X, random_allowed=False)


def test_one_image_has_no_batch_to_depend_on():
    refuse(None, lambda x: np.float64([[len(x), 0.0]]) * np.ones([len(x), 1]), X[:1], random_allowed=False)
    with pytest.raises(UserError, match="by itself"):
        refuse(None, lambda x: np.float64([[len(x), 0.0]]) * np.ones([len(x), 1]), X[:2], random_allowed=False)


# In an evaluation.


@pytest.mark.parametrize(
    ("model", "message"),
    [
        (lambda x: logits(x) + tf.random.normal([3], stddev=0.01), RANDOM),
        (lambda x: logits(x) - tf.reduce_mean(logits(x), axis=0), DEPENDS),
    ],
    ids=["noise", "batch"],
)
def test_an_evaluation_refuses_before_it_attacks(model, message):
    with pytest.raises(UserError, match=message):
        evaluate(model, (X, np.zeros(40, np.int32)), 0.1, suite="quick")
