"""Adversarial weight perturbation (Wu et al. 2020): minimize the loss where the weights near by make it largest."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import keras
import tensorflow as tf

from tfadv.adversarial.base import AdversarialWrapper, Differentiated, Evaluated
from tfadv.adversarial.crafting import replicas
from tfadv.losses.parameters import check_weight
from tfadv.validation import UserError


def weight_perturbation(weights: Sequence[tf.Tensor], gradients: Sequence[tf.Tensor], gamma: Any) -> list[tf.Tensor]:
    """gamma ||w||_2 g / ||g||_2 for each weight tensor of two axes or more; 0 for biases and normalization.

    A gradient that is 0 or not finite (an overflow under loss scaling) moves nothing.
    """

    def one(weight: tf.Tensor, gradient: tf.Tensor) -> tf.Tensor:
        if weight.shape.rank < 2:
            return tf.zeros_like(weight)
        # Scaling by the largest entry first keeps the squares of tiny or huge gradients in range.
        direction = tf.math.divide_no_nan(gradient, tf.reduce_max(tf.abs(gradient)))
        step = gamma * tf.norm(weight) * tf.math.divide_no_nan(direction, tf.norm(direction))
        return tf.where(tf.reduce_all(tf.math.is_finite(step)), step, tf.zeros_like(step))

    return [one(weight, gradient) for weight, gradient in zip(weights, gradients, strict=True)]


@keras.saving.register_keras_serializable("tfadv")
class WeightPerturbation(AdversarialWrapper):
    """Trains the inner method with weights that its own loss has pushed uphill (AWP, arXiv:2004.05884).

    Of the inner method's loss L at its crafted examples, the gradient that updates the weights w is taken at w + v,
    with v = gamma ||w|| g / ||g|| for each kernel w, g the gradient of L at w: one more pass forward and back.
    `WeightPerturbation(Trades(...), gamma=0.005)` is TRADES-AWP and `WeightPerturbation(AdversarialTraining(...),
    gamma=0.01)` is AT-AWP, with the defaults of the authors' program (csdongxian/AWP); as there, biases and
    normalization are not perturbed, the examples are crafted at w, and the batch statistics of the first pass are
    dropped. The variables never hold w + v, so there is nothing to restore. Under `tf.distribute` v follows from the
    whole batch. The loss that is logged is that at w + v.

    Departure: penalties of the layers are part of the loss, and of v; the authors' weight decay is the optimizer's.

    Args:
        inner: the method to be trained.
        gamma: >= 0, relative size of the perturbation; 0 is the inner method.
        start_step: before this step the weights are not perturbed (the authors' TRADES-AWP waits 10 epochs).

    Raises:
        UserError: a gamma that is negative or not finite, or no method inside.
    """

    def __init__(self, inner: Any, gamma: float = 0.005, start_step: int = 0, **kwargs: Any) -> None:
        super().__init__(inner, **kwargs)
        self.gamma = check_weight(gamma, "gamma", "0 is the inner method")
        if start_step < 0:
            raise UserError(f"start_step must be >= 0, got {start_step}; 0 perturbs from the first step")
        self.start_step = start_step

    def differentiate(
        self, evaluate: Callable[[], Evaluated], scale: Callable[[tf.Tensor], tf.Tensor], step: tf.Tensor
    ) -> Differentiated:
        if self.gamma == 0.0:
            return super().differentiate(evaluate, scale, step)
        gamma = tf.where(step < self.start_step, 0.0, self.gamma)
        variables = self.classifier.trainable_weights
        values = [tf.convert_to_tensor(variable.value) for variable in variables]

        def at(points: list[tf.Tensor]) -> tuple[tf.Tensor, tf.Tensor, list[tf.Tensor], keras.StatelessScope]:
            with tf.GradientTape(watch_accessed_variables=False) as tape:
                tape.watch(points)
                scope = keras.StatelessScope(
                    zip(variables, points, strict=True), collect_losses=True, initialize_variables=False
                )
                with scope:
                    loss, logits = evaluate()
                    scaled = scale(loss)
            return loss, logits, tape.gradient(scaled, points), scope

        uphill = at(values)[2]
        if replicas() > 1:
            uphill = tf.distribute.get_replica_context().all_reduce(tf.distribute.ReduceOp.SUM, uphill)
        perturbation = weight_perturbation(values, uphill, gamma)
        loss, logits, gradients, scope = at([value + each for value, each in zip(values, perturbation, strict=True)])
        for variable in self.classifier.non_trainable_variables:
            update = scope.get_current_value(variable)
            if update is not None:
                variable.assign(update)
        return loss, logits, gradients

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "gamma": self.gamma, "start_step": self.start_step}
