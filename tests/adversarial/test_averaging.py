"""Averages of weights: Keras' moving average over several fits, the plain one by hand, and batch statistics anew."""

import keras
import numpy as np
import pytest

from tfadv.adversarial import (
    AdversarialTraining,
    KeepTrainingWeights,
    StochasticWeightAverage,
    refresh_batch_statistics,
    use_moving_average,
)
from tfadv.attacks import Fgm
from tfadv.validation import UserError


class Track(keras.callbacks.Callback):
    """The kernel after every step."""

    def __init__(self):
        super().__init__()
        self.kernels = []

    def on_train_batch_end(self, batch, logs=None):
        self.kernels.append(self.model.trainable_weights[0].numpy().astype(np.float64))


def moving_average(kernels, momentum):
    """Keras starts the average at the weights after the first step."""
    average = kernels[0]
    for kernel in kernels[1:]:
        average = momentum * average + (1 - momentum) * kernel
    return average


def train(linear_model, compiled, images, labels, *fits, scaled=False):
    """Two fits of two epochs with a moving average of momentum 0.8; (model, every step's kernel)."""
    optimizer = keras.optimizers.SGD(0.5, use_ema=True, ema_momentum=0.8)
    if scaled:
        optimizer = keras.optimizers.LossScaleOptimizer(optimizer, initial_scale=1.0)
    model = compiled(AdversarialTraining(linear_model, Fgm(epsilon=0.1)), optimizer=optimizer)
    track = Track()
    for callbacks in fits:
        model.fit(images, labels, batch_size=5, epochs=2, shuffle=False, verbose=0, callbacks=[track, *callbacks])
    return model, track.kernels


def test_a_second_fit_goes_on_from_the_weights_and_not_from_their_average(linear_model, compiled, images, labels):
    """What Keras does alone: the first fit ends in the average, and the second step after it is another."""
    start = linear_model.get_weights()
    model, kernels = train(linear_model, compiled, images, labels, [KeepTrainingWeights()], [KeepTrainingWeights()])
    np.testing.assert_allclose(model.get_weights()[0], kernels[-1], rtol=1e-6)
    linear_model.set_weights(start)
    _, other = train(linear_model, compiled, images, labels, [], [])
    np.testing.assert_allclose(other[3], kernels[3], rtol=1e-6)
    assert np.abs(other[4] - kernels[4]).max() > 1e-3


@pytest.mark.parametrize("scaled", [False, True])
def test_the_moving_average_runs_through_all_fits(linear_model, compiled, images, labels, scaled):
    keep = KeepTrainingWeights()
    model, kernels = train(linear_model, compiled, images, labels, [keep], [keep], scaled=scaled)
    use_moving_average(model)
    assert len(kernels) == 8
    np.testing.assert_allclose(model.get_weights()[0], moving_average(kernels, 0.8), rtol=1e-5)


def test_keras_swaps_the_average_in_for_evaluation(linear_model, compiled, images, labels):
    """`SwapEMAWeights` serves the wrapped models as it is: validation sees the average, training goes on without."""
    model = compiled(
        AdversarialTraining(linear_model, Fgm(epsilon=0.1)),
        optimizer=keras.optimizers.SGD(0.5, use_ema=True, ema_momentum=0.8),
        run_eagerly=True,
    )
    track = Track()
    history = model.fit(
        images,
        labels,
        batch_size=5,
        epochs=2,
        shuffle=False,
        verbose=0,
        validation_data=(images, labels),
        callbacks=[track, keras.callbacks.SwapEMAWeights()],
    )
    for steps, found in zip((2, 4), history.history["val_loss"], strict=True):
        p = np.exp(images.reshape(10, 4) @ moving_average(track.kernels[:steps], 0.8))
        p /= p.sum(axis=1, keepdims=True)
        assert found == pytest.approx(-np.log(p[np.arange(10), labels]).mean(), rel=1e-4)


def test_an_optimizer_without_an_average_is_refused(linear_model, compiled):
    with pytest.raises(UserError, match="model must be compiled with an optimizer of use_ema=True"):
        use_moving_average(compiled(AdversarialTraining(linear_model, Fgm())))


def test_the_plain_average_of_the_ends_of_epochs(linear_model, compiled, images, labels):
    """Epochs 1, 2 and 3 of four count: steps 4, 6 and 8."""
    model = compiled(AdversarialTraining(linear_model, Fgm(epsilon=0.1)), rate=0.5, run_eagerly=True)
    track = Track()
    model.fit(
        images,
        labels,
        batch_size=5,
        epochs=4,
        verbose=0,
        callbacks=[track, StochasticWeightAverage(start_epoch=1)],
    )
    expected = np.mean([track.kernels[step - 1] for step in (4, 6, 8)], axis=0)
    np.testing.assert_allclose(model.get_weights()[0], expected, rtol=1e-6)


def test_averaging_by_hand_and_nothing_to_average(linear_model):
    average = StochasticWeightAverage(start_epoch=9)
    with pytest.raises(UserError, match=r"add\(\) must be called before use\(\)"):
        average.use(linear_model)
    kernel = linear_model.get_weights()[0]
    for factor in (1.0, 2.0, 6.0):
        linear_model.set_weights([factor * kernel])
        average.add(linear_model)
    average.use(linear_model)
    np.testing.assert_allclose(linear_model.get_weights()[0], 3.0 * kernel, rtol=1e-6)


def test_a_run_shorter_than_the_start_keeps_its_weights(linear_model, compiled, images, labels):
    kernel = linear_model.get_weights()[0]
    model = compiled(AdversarialTraining(linear_model, Fgm(epsilon=0.1)), rate=0.0, run_eagerly=True)
    model.fit(images, labels, verbose=0, callbacks=[StochasticWeightAverage(start_epoch=5)])
    np.testing.assert_array_equal(linear_model.get_weights()[0], kernel)


def test_a_negative_start_is_refused():
    with pytest.raises(UserError, match="start_epoch must be >= 0, got -1"):
        StochasticWeightAverage(-1)


def test_batch_statistics_become_the_mean_over_the_batches(images):
    """Two layers, of which the second sees the first with the statistics of its batch."""
    first, second = (keras.layers.BatchNormalization(momentum=momentum) for momentum in (0.9, 0.5))
    layers = [keras.layers.Input((2, 2, 1)), keras.layers.Flatten(), first, keras.layers.Dense(3), second]
    classifier = keras.Sequential(layers)
    first.moving_mean.assign([9.0] * 4)
    batches = [images[:5], images[5:]]
    refresh_batch_statistics(classifier, batches)
    flat = [batch.reshape(5, 4) for batch in batches]
    np.testing.assert_allclose(first.moving_mean, np.mean([x.mean(axis=0) for x in flat], axis=0), rtol=1e-5)
    np.testing.assert_allclose(first.moving_variance, np.mean([x.var(axis=0) for x in flat], axis=0), rtol=1e-4)
    hidden = [(x - x.mean(axis=0)) / np.sqrt(x.var(axis=0) + 1e-3) @ classifier.layers[2].kernel for x in flat]
    np.testing.assert_allclose(second.moving_variance, np.mean([x.var(axis=0) for x in hidden], axis=0), rtol=1e-4)
    assert (first.momentum, second.momentum) == (0.9, 0.5)


def test_a_model_without_batch_normalization_stays_as_it_is(linear_model, images):
    kernel = linear_model.get_weights()[0]
    refresh_batch_statistics(linear_model, [images])
    np.testing.assert_array_equal(linear_model.get_weights()[0], kernel)
