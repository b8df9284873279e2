"""Adversarial training by PGD (Madry et al. 2018): minimize the loss at the examples that maximize it."""

from __future__ import annotations

from typing import Any

import keras
import tensorflow as tf

from tfadv import attacks
from tfadv.balls import BALLS
from tfadv.validation import UserError


@keras.saving.register_keras_serializable("tfadv")
class AdversarialTraining(keras.Model):
    """Wraps a classifier so that `compile` and `fit` train it on adversarial examples (arXiv:1706.06083, eq. 2.1).

    Each step crafts x_adv with `attack` against the current weights, in inference mode, and updates the weights on
    (x_adv, y) alone; both happen in the one compiled train step. Calling, evaluating and predicting are the
    classifier's own, on clean images.

    Args:
        classifier: images in [0, 1] -> logits; `classifier` afterwards holds the trained weights.
        attack: a `Pgd` (its `keep` is taken as "last": the training objective is the loss, not success) or `Fgm`.
        seed: of the random starts; step t starts from (seed, t), so a resumed run repeats them.
        ramp_steps: over the first this many steps, epsilon and step_size grow linearly to their full values. Where
            epsilon is large for the data, full strength from the first step leaves the net at the uniform prediction.

    Raises:
        UserError: an attack that is not first-order, or a negative ramp_steps.
    """

    def __init__(self, classifier: keras.Model, attack: Any, seed: int = 0, ramp_steps: int = 0, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        if ramp_steps < 0:
            raise UserError(f"ramp_steps must be >= 0, got {ramp_steps}; 0 trains at full strength from the first step")
        self.classifier = classifier
        self.attack = attack
        self.seed = seed
        self.ramp_steps = ramp_steps
        self._pgd = attacks.training_form(attack)

    def call(self, x: tf.Tensor, training: bool | None = None) -> tf.Tensor:
        return self.classifier(x, training=training)

    def build(self, input_shape: Any) -> None:
        if not self.classifier.built:
            self.classifier.build(input_shape)
        self.built = True

    def craft(self, x: tf.Tensor, y: tf.Tensor, step: tf.Tensor) -> tf.Tensor:
        """The adversarial examples of training step `step`: x float32 [B, ...], y int [B] or [B, K] -> like x."""
        labels = tf.argmax(y, -1, tf.int32) if y.shape.rank == 2 and y.shape[1] > 1 else tf.reshape(y, [-1])
        # Step 0 already attacks a little: (0 + 1) / ramp_steps of the full strength.
        share = tf.minimum(tf.cast(step + 1, tf.float32) / max(self.ramp_steps, 1), 1.0)
        epsilon, step_size = share * self._pgd.epsilon, share * self._pgd.step_size
        start = x
        if self._pgd.random_start:
            seed = tf.random.experimental.stateless_fold_in(tf.constant([self.seed, 0], tf.int32), step)
            start = x + epsilon * BALLS[self._pgd.norm].sample(tf.shape(x), seed)

        def logits(images: tf.Tensor) -> tf.Tensor:
            return self.classifier(images, training=False)

        labels = tf.cast(labels, tf.int32)
        x_adv = attacks.pgd(logits, x, labels, start, config=self._pgd, epsilon=epsilon, step_size=step_size)
        return tf.stop_gradient(x_adv)

    def train_step(self, data: Any) -> dict[str, tf.Tensor]:
        x, y, sample_weight = keras.utils.unpack_x_y_sample_weight(data)
        x_adv = self.craft(x, y, tf.cast(self.optimizer.iterations, tf.int32))
        with tf.GradientTape() as tape:
            logits = self.classifier(x_adv, training=True)
            loss = self.compute_loss(x=x_adv, y=y, y_pred=logits, sample_weight=sample_weight)
            scaled = self.optimizer.scale_loss(loss)
        # Nothing here calls the wrapper itself, so Keras would take it for unbuilt and warn when it is saved.
        self.built = True
        self._loss_tracker.update_state(loss, sample_weight=tf.shape(x)[0])
        self.optimizer.apply_gradients(
            zip(tape.gradient(scaled, self.trainable_weights), self.trainable_weights, strict=True)
        )
        return self.compute_metrics(x_adv, y, logits, sample_weight=sample_weight)

    def get_config(self) -> dict[str, Any]:
        return {
            **super().get_config(),
            "classifier": keras.saving.serialize_keras_object(self.classifier),
            "attack": attacks.to_dict(self.attack),
            "seed": self.seed,
            "ramp_steps": self.ramp_steps,
        }

    @classmethod
    def from_config(cls, config: dict[str, Any], custom_objects: Any = None) -> AdversarialTraining:
        config = dict(config)
        config["classifier"] = keras.saving.deserialize_keras_object(
            config["classifier"], custom_objects=custom_objects
        )
        config["attack"] = attacks.from_dict(config["attack"])
        return cls(**config)
