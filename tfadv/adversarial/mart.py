"""MART (Wang et al. 2020): boosted cross-entropy, and a divergence that counts where the clean image is mistaken."""

from __future__ import annotations

from typing import Any

import keras
import tensorflow as tf

from tfadv.adversarial import crafting
from tfadv.adversarial.base import AdversarialMethod, Criterion, Evaluated
from tfadv.adversarial.trades import kullback_leibler, near
from tfadv.losses.parameters import check_weight

# In the logarithm of the authors' program, so that a runner-up of probability 1 costs 9.2 nats and not infinity.
_NO_LOG_OF_ZERO = 1.0001


def runner_up_penalty(labels: tf.Tensor, logits: tf.Tensor) -> tf.Tensor:
    """-log(1.0001 - max_{k != y} p_k): int32 [B] and logits [B, K] -> [B], nats, at most 9.2."""
    p = tf.nn.softmax(tf.cast(logits, tf.float32))
    runner_up = tf.reduce_max(p * (1.0 - tf.one_hot(labels, p.shape[-1])), axis=-1)
    return -tf.math.log(_NO_LOG_OF_ZERO - runner_up)


def weighted_divergence(labels: tf.Tensor, clean: tf.Tensor, logits: tf.Tensor) -> tf.Tensor:
    """KL(p(x) || p(x')) (1 - p_y(x)): int32 [B] and clean and adversarial logits [B, K] -> [B], nats."""
    p = tf.nn.softmax(tf.cast(clean, tf.float32))
    return kullback_leibler(clean, logits) * (1.0 - tf.gather(p, labels, batch_dims=1))


@keras.saving.register_keras_serializable("tfadv")
class Mart(AdversarialMethod):
    """Minimizes BCE(x', y) + beta * mean KL(p(x) || p(x')) (1 - p_y(x)) (ICLR 2020).

    BCE is L(x', y) - mean log(1.0001 - max_{k != y} p_k(x')), with the compiled loss as L (the paper's is
    cross-entropy). x' ascends the attack's objective from x + 0.001 N(0, 1), in inference mode. Everything in the
    update is differentiated, the weight 1 - p_y(x) too. All as in the authors' program (YisenWang/MART, mart.py), whose
    settings for CIFAR-10 are beta 5, epsilon 0.031, 10 steps of 0.007; of its guards against log 0 and 0 weights
    (1e-12, 1.0000001) only 1.0001 is kept, because the others change nothing here.

    Args:
        classifier, attack, seed, ramp_steps, start_step, crafting_mode: as in `AdversarialMethod`. The attack's random
            start is not used.
        beta: lambda of the paper, >= 0.

    Raises:
        UserError: as `AdversarialMethod`, or a beta that is negative or not finite.
    """

    def __init__(
        self,
        classifier: keras.Model,
        attack: Any,
        seed: int = 0,
        ramp_steps: int = 0,
        start_step: int = 0,
        crafting_mode: str = "inference",
        beta: float = 5.0,
        **kwargs: Any,
    ) -> None:
        super().__init__(classifier, attack, seed, ramp_steps, start_step, crafting_mode, **kwargs)
        self.beta = check_weight(beta, "beta", "0 leaves the divergence out")

    def perturbed(self, x: tf.Tensor, y: tf.Tensor, step: tf.Tensor, share: tf.Tensor) -> tf.Tensor:
        start = near(x, self.seed, step)
        labels = crafting.class_numbers(y)
        return crafting.ascend(self.config, self.attacked(), x, labels, start, **self.strength(share))

    def objective(
        self, x: tf.Tensor, y: tf.Tensor, x_adv: tf.Tensor, step: tf.Tensor, criterion: Criterion
    ) -> Evaluated:
        labels = crafting.class_numbers(y)
        clean, logits = self.classifier(x, training=True), self.classifier(x_adv, training=True)
        boosted = criterion.compiled(y, logits) + criterion.mean(runner_up_penalty(labels, logits))
        return boosted + self.beta * criterion.mean(weighted_divergence(labels, clean, logits)), logits

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "beta": self.beta}
