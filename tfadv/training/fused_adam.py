"""Adam whose update is one kernel of TensorFlow for each weight."""

from __future__ import annotations

from typing import Any

import keras
import tensorflow as tf


@keras.saving.register_keras_serializable("tfadv")
class FusedAdam(keras.optimizers.Adam):
    """Adam (Kingma and Ba 2015, section 2, with the bias corrections in the step size), as `keras.optimizers.Adam`.

    Same settings, same variables and so the same checkpoints; results differ by rounding (1 - beta_2 is taken in
    float32). Keras' update reads and writes each weight in nine operations; this one does once, with its gradient and
    moments. With `amsgrad` it is Keras' update.
    """

    def update_step(self, gradient: Any, variable: Any, learning_rate: Any) -> None:
        if self.amsgrad:
            super().update_step(gradient, variable, learning_rate)
            return
        index, dtype = self._get_variable_index(variable), variable.dtype
        step = tf.cast(self.iterations + 1, dtype)
        beta_1, beta_2 = tf.constant(self.beta_1, dtype), tf.constant(self.beta_2, dtype)
        weight, moment, square = (
            each.value if isinstance(each, keras.Variable) else each
            for each in (variable, self._momentums[index], self._velocities[index])
        )
        tf.raw_ops.ResourceApplyAdam(
            var=weight.handle,
            m=moment.handle,
            v=square.handle,
            beta1_power=beta_1**step,
            beta2_power=beta_2**step,
            lr=tf.cast(learning_rate, dtype),
            beta1=beta_1,
            beta2=beta_2,
            epsilon=tf.constant(self.epsilon, dtype),
            grad=tf.cast(tf.convert_to_tensor(gradient), dtype),
        )
