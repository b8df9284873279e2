"""The compiled loop: crafts, differentiates and updates, on every replica, many steps in one call."""

from __future__ import annotations

import math
from typing import Any

import keras
import tensorflow as tf

from tfadv import devices
from tfadv.adversarial import AdversarialModel
from tfadv.validation import UserError

# Steps in one call of the compiled loop: enough to hide the cost of a call, few enough for Ctrl-C to be heard soon.
_AT_ONCE = 50


class Loop:
    """Steps of `trainee` under `strategy`, which was in scope when it was built.

    One function for all strategies: `Model.fit` does not run under MultiWorkerMirroredStrategy with Keras 3.
    """

    def __init__(self, trainee: AdversarialModel, strategy: tf.distribute.Strategy) -> None:
        # XLA refuses a step whose variables lie on several devices; a TPU strategy compiles by itself.
        alone = strategy.num_replicas_in_sync == 1 and not isinstance(strategy, tf.distribute.TPUStrategy)
        statistics = [] if strategy.num_replicas_in_sync == 1 else _statistics(trainee.classifier)

        def update(x: tf.Tensor, y: tf.Tensor) -> dict[str, tf.Tensor]:
            # Before the update, as in the loss: an update by a loss that is no number spoils the weights as well.
            penalties = trainee.classifier.losses
            penalty = tf.add_n(penalties) if penalties else tf.zeros([])
            updated = trainee.update(x, y)
            if statistics:
                # Keras leaves them to each replica, and to the checkpoint those of the first.
                context = tf.distribute.get_replica_context()
                means = context.all_reduce(tf.distribute.ReduceOp.MEAN, [each.value for each in statistics])
                for variable, mean in zip(statistics, means, strict=True):
                    variable.assign(mean)
            labels = tf.argmax(y, 1) if y.shape.rank == 2 and y.shape[1] > 1 else tf.reshape(y, [-1])
            correct = tf.argmax(updated.logits, 1) == tf.cast(labels, tf.int64)
            return {
                "loss": updated.loss,
                "penalty": penalty,
                "accuracy": tf.reduce_mean(tf.cast(correct, tf.float32)),
            }

        if alone and devices.wants_xla("auto"):
            update = tf.function(update, jit_compile=True, autograph=False)

        @tf.function(autograph=False)
        def steps(iterator, count):  # type: ignore[no-untyped-def]  # tf.function hides its types
            def one(done: tf.Tensor, sums: dict[str, tf.Tensor]) -> tuple[tf.Tensor, dict[str, tf.Tensor]]:
                values = strategy.run(update, args=next(iterator))
                means = {key: strategy.reduce("MEAN", value, axis=None) for key, value in values.items()}
                return done + 1, {key: sums[key] + tf.cast(means[key], tf.float32) for key in sums}

            def goes_on(done: tf.Tensor, sums: dict[str, tf.Tensor]) -> tf.Tensor:
                return (done < count) & tf.math.is_finite(sums["loss"])

            nothing = {key: tf.zeros([]) for key in ("loss", "penalty", "accuracy")}
            return tf.while_loop(goes_on, one, (tf.constant(0), nothing))

        self._steps = steps

    def run(self, iterator: Any, step: int, count: int) -> dict[str, float]:
        """Takes steps step..step+count-1; the means of loss, weight penalty and accuracy on the training batches.

        Raises:
            UserError: the loss is no longer finite; the weights are not to be used.
        """
        sums, taken = {"loss": 0.0, "penalty": 0.0, "accuracy": 0.0}, 0
        while taken < count:
            done, found = self._steps(iterator, tf.constant(min(_AT_ONCE, count - taken)))
            taken += int(done)
            sums = {key: total + float(found[key]) for key, total in sums.items()}
            if not math.isfinite(sums["loss"]):
                term = "weight penalty" if not math.isfinite(sums["penalty"]) else "loss on the examples"
                raise UserError(f"the {term} is {sums['loss']} at step {step + taken:,}")
        return {key: total / count for key, total in sums.items()}


def _statistics(classifier: keras.Model) -> list[keras.Variable]:
    """The moving averages of batch normalization."""
    layers = [each for each in classifier._flatten_layers() if isinstance(each, keras.layers.BatchNormalization)]
    return [variable for layer in layers for variable in layer.non_trainable_variables]
