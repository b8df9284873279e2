"""Training on the images as they are, in the form of the other methods."""

from __future__ import annotations

from typing import Any

import keras
import tensorflow as tf

from tfadv.adversarial.base import AdversarialModel, Criterion, Evaluated


@keras.saving.register_keras_serializable("tfadv")
class NaturalTraining(AdversarialModel):
    """Minimizes the compiled loss at (x, y): what `fit` does with the classifier itself, driven as the methods are.

    Args:
        classifier: images -> logits; it holds the trained weights afterwards.
    """

    def __init__(self, classifier: keras.Model, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.classifier = classifier

    def craft(self, x: tf.Tensor, y: tf.Tensor, step: tf.Tensor) -> tf.Tensor:
        return x

    def objective(
        self, x: tf.Tensor, y: tf.Tensor, x_adv: tf.Tensor, step: tf.Tensor, criterion: Criterion
    ) -> Evaluated:
        logits = self.classifier(x_adv, training=True)
        return criterion.compiled(y, logits), logits

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "classifier": keras.saving.serialize_keras_object(self.classifier)}
