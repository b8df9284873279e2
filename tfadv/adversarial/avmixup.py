"""Adversarial vertex mixup (Lee et al. 2020): train between the image and a point beyond its adversarial example."""

from __future__ import annotations

from typing import Any

import keras
import tensorflow as tf

from tfadv import soft_labels
from tfadv.adversarial import crafting
from tfadv.adversarial.base import AdversarialMethod, AdversarialWrapper, Criterion, Evaluated
from tfadv.balls import per_example
from tfadv.validation import UserError


def mixed_images(
    x: tf.Tensor, x_adv: tf.Tensor, alpha: tf.Tensor, *, gamma: float, bounds: tuple[float, float] | None
) -> tf.Tensor:
    """x^ = alpha x + (1 - alpha) x_av with the vertex x_av = x + gamma (x_adv - x) (arXiv:2003.02484, eq. 12 and 13).

    Args:
        x, x_adv: float32 [B, ...].
        alpha: [B], the weight of the clean end.
        gamma: how far the vertex lies along the perturbation; 1 is the adversarial example itself.
        bounds: the box that the vertex is clipped to, or None.
    """
    vertex = x + gamma * (x_adv - x)
    if bounds is not None:
        vertex = tf.clip_by_value(vertex, *bounds)
    return x + per_example(1.0 - alpha, x) * (vertex - x)


def mixed_labels(
    y: tf.Tensor, classes: int, alpha: tf.Tensor, *, clean_probability: float, vertex_probability: float
) -> tf.Tensor:
    """y^ = alpha phi(y, lambda1) + (1 - alpha) phi(y, lambda2) (eq. 13), float32 [B, K].

    phi(y, lambda) leaves lambda on the true class and spreads the rest evenly over the others.

    Args:
        y: int [B] or [B, 1], or distributions [B, K].
        alpha: [B], the same as for the images.
        clean_probability, vertex_probability: lambda1 and lambda2.
    """
    clean, vertex = (
        soft_labels.smooth(y, classes, soft_labels.mass_from_true_class_probability(probability))
        for probability in (clean_probability, vertex_probability)
    )
    return alpha[:, None] * clean + (1.0 - alpha[:, None]) * vertex


@keras.saving.register_keras_serializable("tfadv")
class AVmixup(AdversarialWrapper):
    """Trains on one point between each image and its adversarial vertex, with labels between two smoothings.

    "Adversarial vertex mixup" (arXiv:2003.02484), algorithm 1. The inner method gives the adversarial examples, and
    nothing else of it is used: `AVmixup(AdversarialTraining(classifier, attack))` is the paper's AVmixup on PGD, and
    `Trades` or `FeatureScatter` in its place are AVmixup on those. The loss is the compiled one, on (x^, y^) alone.
    The paper's settings: gamma 2, lambda 1.0 / 0.1 on PGD (0.1 is the uniform label of ten classes); on feature
    scattering gamma 1, 0.5 / 0.7, for CIFAR-100 gamma 1.5, 0.3 / 0.42. Its metrics compare the true labels with the
    logits at x^. Before the inner method's start_step it trains at the clean end.

    x^ may leave the epsilon ball, by a factor of gamma. The paper does not say whether the vertex is clipped to the
    box; the authors' program clips it (Saehyung-Lee/cifar10_challenge, pgd_attack.py), and crafts with
    crafting_mode="training".

    The paper's figures overstate the robustness: against PGD-20 and CW-20 its table 1 differs by 4.6 points already,
    and the best row of its table 6 (0.5 / 0.7) asks for more confidence at the vertex than at the image, a sign of
    gradient masking; feature scattering under it is known to fall (see `FeatureScatter`). Judge it by the suite
    "standard".

    Args:
        inner: the method that crafts.
        gamma: >= 1.
        clean_probability, vertex_probability: lambda1 and lambda2, what the true class keeps at the image and at the
            vertex, in [0, 1].
        clip: whether the vertex is clipped to the attack's bounds.

    Raises:
        UserError: gamma below 1, a probability outside [0, 1], or no method inside; at the first step, if the compiled
            loss takes class numbers alone.
    """

    def __init__(
        self,
        inner: Any,
        gamma: float = 2.0,
        clean_probability: float = 1.0,
        vertex_probability: float = 0.1,
        clip: bool = True,
        **kwargs: Any,
    ) -> None:
        super().__init__(inner, **kwargs)
        if not isinstance(self.method, AdversarialMethod):
            raise UserError(
                f"inner must craft by an attack, as AdversarialTraining and Trades do, got {type(inner).__name__}"
            )
        if not 1.0 <= gamma < float("inf"):
            raise UserError(f"gamma must be a finite number >= 1, got {gamma!r}; 1 mixes with the adversarial example")
        for probability in (clean_probability, vertex_probability):
            soft_labels.mass_from_true_class_probability(probability)
        self.gamma = gamma
        self.clean_probability = clean_probability
        self.vertex_probability = vertex_probability
        self.clip = clip

    def clean_share(self, x: tf.Tensor, step: tf.Tensor) -> tf.Tensor:
        """alpha of training step `step`, [B], uniform in [0, 1), one for each example."""
        alpha = crafting.uniform(self.method.seed, crafting.MIXTURE, step, x, ())
        return tf.where(step < self.method.start_step, tf.ones_like(alpha), alpha)

    def objective(
        self, x: tf.Tensor, y: tf.Tensor, x_adv: tf.Tensor, step: tf.Tensor, criterion: Criterion
    ) -> Evaluated:
        alpha = self.clean_share(x, step)
        bounds = self.method.attack.bounds if self.clip else None
        logits = self.classifier(mixed_images(x, x_adv, alpha, gamma=self.gamma, bounds=bounds), training=True)
        labels = mixed_labels(
            y,
            logits.shape[-1],
            alpha,
            clean_probability=self.clean_probability,
            vertex_probability=self.vertex_probability,
        )
        return criterion.compiled(labels, logits), logits

    def get_config(self) -> dict[str, Any]:
        return {
            **super().get_config(),
            "gamma": self.gamma,
            "clean_probability": self.clean_probability,
            "vertex_probability": self.vertex_probability,
            "clip": self.clip,
        }
