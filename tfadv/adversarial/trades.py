"""TRADES (Zhang et al. 2019): be right on the clean image, and answer alike all around it."""

from __future__ import annotations

from typing import Any

import keras
import tensorflow as tf

from tfadv.adversarial import crafting
from tfadv.adversarial.base import AdversarialMethod, Criterion, Evaluated
from tfadv.losses.parameters import check_weight
from tfadv.validation import UserError

# Standard deviation of the start, in input units: at the image itself the divergence has no gradient.
START_STDDEV = 0.001


def kullback_leibler(logits: tf.Tensor, other: tf.Tensor) -> tf.Tensor:
    """KL(p || q) of p = softmax(logits) and q = softmax(other), [B, K] each -> [B], nats, >= 0 up to rounding."""
    log_p = tf.nn.log_softmax(tf.cast(logits, tf.float32))
    log_q = tf.nn.log_softmax(tf.cast(other, tf.float32))
    return tf.reduce_sum(tf.exp(log_p) * (log_p - log_q), axis=-1)


def near(x: tf.Tensor, seed: int, step: tf.Tensor) -> tf.Tensor:
    """x + 0.001 N(0, 1): where TRADES and MART start; neither in the box nor in the ball on purpose."""
    return x + START_STDDEV * crafting.normal(seed, crafting.START, step, x)


@keras.saving.register_keras_serializable("tfadv")
class Trades(AdversarialMethod):
    """Minimizes L(x, y) + beta * mean KL(p(x) || p(x')) (arXiv:1901.08573).

    x' ascends that divergence, not cross-entropy, from x + 0.001 N(0, 1), in inference mode. L is the compiled loss on
    the clean images. In the update both ends of the divergence are differentiated, the clean one too, as in the
    authors' program (yaodongyu/TRADES, trades.py); while crafting, p(x) is constant. The authors' settings: MNIST beta
    1, epsilon 0.3, 40 steps of 0.01; CIFAR-10 beta 6, epsilon 0.031, 10 steps of 0.007.

    Departure: for norm "l2" the steps are those of `Pgd`; theirs has another step and clips to the box before it
    projects onto the ball.

    Args:
        classifier, attack, seed, ramp_steps, start_step, crafting_mode: as in `AdversarialMethod`. The attack's
            objective and its random start are not used.
        beta: >= 0, the price of answering differently; 0 is natural training.

    Raises:
        UserError: as `AdversarialMethod`, or a beta that is negative or not finite, or an attack whose objective was
            set.
    """

    def __init__(
        self,
        classifier: keras.Model,
        attack: Any,
        seed: int = 0,
        ramp_steps: int = 0,
        start_step: int = 0,
        crafting_mode: str = "inference",
        beta: float = 6.0,
        **kwargs: Any,
    ) -> None:
        super().__init__(classifier, attack, seed, ramp_steps, start_step, crafting_mode, **kwargs)
        check_default_objective(self.config, "the divergence from the clean prediction")
        self.beta = check_weight(beta, "beta", "0 is natural training")

    def perturbed(self, x: tf.Tensor, y: tf.Tensor, step: tf.Tensor, share: tf.Tensor) -> tf.Tensor:
        model = self.attacked()
        clean = model(x)
        return crafting.ascend(
            self.config,
            model,
            x,
            crafting.class_numbers(y),
            near(x, self.seed, step),
            objective=lambda logits: kullback_leibler(clean, logits),
            **self.strength(share),
        )

    def objective(
        self, x: tf.Tensor, y: tf.Tensor, x_adv: tf.Tensor, step: tf.Tensor, criterion: Criterion
    ) -> Evaluated:
        clean = self.classifier(x, training=True)
        if self.beta == 0.0:
            return criterion.compiled(y, clean), clean
        logits = self.classifier(x_adv, training=True)
        divergence = criterion.mean(kullback_leibler(clean, logits))
        return criterion.compiled(y, clean) + self.beta * divergence, logits

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "beta": self.beta}


def check_default_objective(attack: Any, instead: str) -> None:
    """Refuses an attack whose objective was chosen, where a method ascends another."""
    if attack.objective != "cross_entropy" or getattr(attack, "label", "true") != "true":
        raise UserError(
            f"attack must leave objective and label as they are, because this method ascends {instead}, got "
            f"objective={attack.objective!r}"
        )
