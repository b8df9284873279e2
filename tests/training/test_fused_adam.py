"""Adam in one kernel: Keras' numbers, wherever Keras' own runs."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from tfadv.training.fused_adam import FusedAdam

SETTINGS = {
    "default": {},
    "moments": {"beta_1": 0.5, "beta_2": 0.9, "epsilon": 1e-3},
    "schedule": {"learning_rate": keras.optimizers.schedules.PiecewiseConstantDecay([5], [0.1, 0.01])},
    "average": {"use_ema": True, "ema_momentum": 0.9},
    "decoupled decay": {"weight_decay": 0.1},
    "clipped": {"global_clipnorm": 0.5},
    "amsgrad": {"amsgrad": True},
}


def descend(kind, settings, *, jit=False, steps=20):
    """Weights after some steps on c w^2 / 2 - w, with another curvature c in each, and the optimizer's variables."""
    weights = [keras.Variable(np.linspace(-1.0, 2.0, 6, dtype=np.float32).reshape(2, 3)), keras.Variable([3.0])]
    optimizer = kind(**{"learning_rate": 0.1, **settings})
    optimizer.build(weights)

    @tf.function(jit_compile=jit)
    def step(scale):
        optimizer.apply([scale * each.value - 1.0 for each in weights], weights)

    for number in range(steps):
        step(tf.constant(1.0 + 0.3 * np.sin(number), tf.float32))
    return [each.numpy() for each in (*weights, *optimizer.variables)]


@pytest.mark.parametrize("settings", SETTINGS.values(), ids=SETTINGS)
def test_the_weights_and_moments_are_those_of_keras(settings):
    """As far as 1 - 0.999 is: 5e-5 more in float32 than in Python's numbers, which Keras takes."""
    ours, theirs = descend(FusedAdam, settings), descend(keras.optimizers.Adam, settings)
    assert len(ours) == len(theirs)
    for one, other in zip(ours, theirs, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-4, atol=1e-5)


def test_the_first_step_is_the_learning_rate_against_the_sign():
    """m / (1 - b1) = g and v / (1 - b2) = g^2, so w moves by lr g / (|g| + eps')."""
    weight, optimizer = keras.Variable([1.0, -2.0, 5.0]), FusedAdam(learning_rate=0.25, epsilon=1e-12)
    optimizer.apply([tf.constant([3.0, -0.01, 0.0])], [weight])
    np.testing.assert_allclose(weight.numpy(), [0.75, -1.75, 5.0], rtol=1e-6)


def test_it_compiles_with_xla():
    for one, other in zip(descend(FusedAdam, {}, jit=True), descend(FusedAdam, {}), strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-5, atol=1e-6)


def test_loss_scaling_of_float16_leaves_out_a_step_that_overflows():
    weight = keras.Variable([1.0])
    optimizer = keras.optimizers.LossScaleOptimizer(FusedAdam(learning_rate=0.1), initial_scale=4.0)
    optimizer.apply([tf.constant([np.inf])], [weight])
    assert weight.numpy() == [1.0]
    optimizer.apply([tf.constant([2.0])], [weight])
    np.testing.assert_allclose(weight.numpy(), [0.9], rtol=1e-5)


def test_a_checkpoint_of_keras_continues(tmp_path):
    """The same variables under the same names."""
    weight = keras.Variable([1.0, 2.0])
    theirs, ours = keras.optimizers.Adam(0.1), FusedAdam(0.1)
    theirs.apply([tf.constant([1.0, -1.0])], [weight])
    path = tf.train.Checkpoint(optimizer=theirs).write(str(tmp_path / "state"))
    ours.build([weight])
    tf.train.Checkpoint(optimizer=ours).read(path).assert_consumed()
    for one, other in zip(ours.variables, theirs.variables, strict=True):
        np.testing.assert_array_equal(one.numpy(), other.numpy())


def test_a_compiled_model_keeps_it_through_a_file(tmp_path):
    model = keras.Sequential([keras.layers.Input([2]), keras.layers.Dense(2)])
    model.compile(FusedAdam(0.1, beta_1=0.8), "mse")
    model.optimizer.build(model.trainable_variables)
    model.save(tmp_path / "model.keras")
    optimizer = keras.models.load_model(tmp_path / "model.keras").optimizer
    assert isinstance(optimizer, FusedAdam)
    assert optimizer.beta_1 == 0.8
