"""Adversarial training (Madry et al. 2018): minimize the loss at the examples that maximize it, or at both ends."""

from __future__ import annotations

from typing import Any

import keras
import tensorflow as tf

from tfadv.adversarial import crafting
from tfadv.adversarial.base import AdversarialMethod, Criterion, Evaluated
from tfadv.attacks.search import check_choice
from tfadv.balls import BALLS
from tfadv.validation import UserError

LABELS = ("true", "predicted")


@keras.saving.register_keras_serializable("tfadv")
class AdversarialTraining(AdversarialMethod):
    """Trains a classifier on adversarial examples (arXiv:1706.06083, eq. 2.1).

    Each step crafts x_adv with `attack` against the current weights and updates the weights on (x_adv, y), both in one
    compiled train step. With clean_weight kappa > 0 the loss is kappa L(x, y) + (1 - kappa) L(x_adv, y), eq. 1 of
    "Label smoothing and logit squeezing" (Shafahi et al.). L is the compiled loss: with `tfadv.losses.LabelSmoothing`
    this is adversarial training with smoothed labels, while the attack ascends its own objective with the labels as
    they are.

    Args:
        classifier, attack, seed, ramp_steps, start_step, crafting_mode: as in `AdversarialMethod`. Without a random
            start (`Fgm`) a net may learn to resist the one step from the image and nothing else; see `fast_attack`.
        clean_weight: kappa in [0, 1]; 0 trains on adversarial examples alone, 1 on clean images alone. In between, the
            clean and the adversarial images have batch statistics of their own.
        labels: whose objective the attack ascends, of y ("true") or of the classifier's decision on the clean image
            ("predicted"). A net that is trained on steps away from true labels may read them off the step (label
            leaking, Kurakin et al. 2017, arXiv:1611.01236).

    Raises:
        UserError: as `AdversarialMethod`, or a clean_weight outside [0, 1], or unknown labels.
    """

    def __init__(
        self,
        classifier: keras.Model,
        attack: Any,
        seed: int = 0,
        ramp_steps: int = 0,
        start_step: int = 0,
        crafting_mode: str = "inference",
        clean_weight: float = 0.0,
        labels: str = "true",
        **kwargs: Any,
    ) -> None:
        super().__init__(classifier, attack, seed, ramp_steps, start_step, crafting_mode, **kwargs)
        if not 0.0 <= clean_weight <= 1.0:
            raise UserError(f"clean_weight must lie in [0, 1], got {clean_weight!r}; 0 is adversarial examples alone")
        check_choice("labels", labels, LABELS)
        self.clean_weight = float(clean_weight)
        self.labels = labels

    def perturbed(self, x: tf.Tensor, y: tf.Tensor, step: tf.Tensor, share: tf.Tensor) -> tf.Tensor:
        model, ball, strength = self.attacked(), BALLS[self.config.norm], self.strength(share)
        labels = crafting.class_numbers(y) if self.labels == "true" else tf.argmax(model(x), -1, tf.int32)
        start = x
        if getattr(self.config, "random_start", False):
            point = x + strength["epsilon"] * crafting.ball_points(self.config.norm, self.seed, step, x)
            start = ball.confine(x, point, strength["epsilon"], self.config.bounds)
        return crafting.ascend(self.config, model, x, labels, start, **strength)

    def objective(
        self, x: tf.Tensor, y: tf.Tensor, x_adv: tf.Tensor, step: tf.Tensor, criterion: Criterion
    ) -> Evaluated:
        if self.clean_weight in (0.0, 1.0):
            logits = self.classifier(x if self.clean_weight else x_adv, training=True)
            return criterion.compiled(y, logits), logits
        clean, logits = self.classifier(x, training=True), self.classifier(x_adv, training=True)
        loss = self.clean_weight * criterion.compiled(y, clean)
        return loss + (1.0 - self.clean_weight) * criterion.compiled(y, logits), logits

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "clean_weight": self.clean_weight, "labels": self.labels}
