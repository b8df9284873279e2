"""Averages of the weights along a run, which often resist more than the last ones.

The exponential moving average is Keras' own: `keras.optimizers.SGD(..., use_ema=True, ema_momentum=0.999)` keeps it in
the compiled step, under `tf.distribute` and in every checkpoint; 0.999 a step is the usual momentum.
At the end of each `fit` Keras overwrites the model with it; a run that trains on in a second `fit` would go on from
the average. `KeepTrainingWeights` undoes that, and `use_moving_average` takes the average when the run is over.

Averages of weights do not fit the statistics of batch normalization that were gathered on the way: call
`refresh_batch_statistics` before such a model is used.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from tfadv.validation import UserError


class KeepTrainingWeights(keras.callbacks.Callback):
    """After `fit` the model has the weights of its last step, not their moving average, so that it can train on."""

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        # Between here and on_train_end Keras puts the moving average in their place.
        self._weights = [variable.numpy() for variable in self.model.trainable_weights]

    def on_train_end(self, logs: Any = None) -> None:
        for variable, value in zip(self.model.trainable_weights, self._weights, strict=True):
            variable.assign(value)


def use_moving_average(model: keras.Model) -> None:
    """Gives `model` the moving average of its trainable weights that its optimizer has kept.

    Raises:
        UserError: the optimizer keeps none.
    """
    optimizer = getattr(model.optimizer, "inner_optimizer", model.optimizer)
    if not getattr(optimizer, "use_ema", False):
        raise UserError("model must be compiled with an optimizer of use_ema=True, got one that keeps no average")
    optimizer.finalize_variable_values(model.trainable_weights)


class StochasticWeightAverage(keras.callbacks.Callback):
    """The plain average of the weights at the ends of epochs, from `start_epoch` on (SWA, arXiv:1803.05407).

    After `fit` the model has the average. In a loop without `fit`, call `add(model)` at the points to be averaged, and
    `use(model)` at the end. What was added is kept here and in no checkpoint.

    Args:
        start_epoch: the first epoch whose end counts, from 0; averages pay where the rate has become constant.

    Raises:
        UserError: a negative start_epoch, or `use` before anything was added.
    """

    def __init__(self, start_epoch: int) -> None:
        super().__init__()
        if start_epoch < 0:
            raise UserError(f"start_epoch must be >= 0, got {start_epoch}; 0 averages over all epochs")
        self.start_epoch = start_epoch
        self.count = 0
        self._sums: list[np.ndarray] = []

    def add(self, model: keras.Model) -> None:
        """Adds the trainable weights of `model` to the average."""
        values = [variable.numpy().astype(np.float64) for variable in model.trainable_weights]
        self._sums = [total + value for total, value in zip(self._sums, values, strict=True)] if self.count else values
        self.count += 1

    def use(self, model: keras.Model) -> None:
        """Gives `model` the average."""
        if not self.count:
            raise UserError("add() must be called before use(), got no weights to average; lower start_epoch")
        for variable, total in zip(model.trainable_weights, self._sums, strict=True):
            variable.assign(total / self.count)

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        if epoch >= self.start_epoch:
            self.add(self.model)

    def on_train_end(self, logs: Any = None) -> None:
        if self.count:
            self.use(self.model)


def refresh_batch_statistics(classifier: keras.Model, batches: Iterable[Any]) -> None:
    """Sets the moving averages of batch normalization to their mean over `batches`, at the weights as they are.

    Args:
        classifier: changed in place; a model without batch normalization stays as it is.
        batches: images float32 [B, ...]; of equal size, because every batch counts alike.
    """
    layers = [layer for layer in classifier._flatten_layers() if isinstance(layer, keras.layers.BatchNormalization)]
    momenta = [layer.momentum for layer in layers]
    try:
        for count, images in enumerate(batches):
            for layer in layers:
                # moving <- momentum moving + (1 - momentum) batch: the mean of all batches so far.
                layer.momentum = count / (count + 1)
            classifier(tf.convert_to_tensor(images), training=True)
    finally:
        for layer, momentum in zip(layers, momenta, strict=True):
            layer.momentum = momentum
