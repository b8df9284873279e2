"""Adversarial logit pairing (Kannan et al. 2018): a mixed batch, and a price on logits that an attack moved."""

from __future__ import annotations

from typing import Any

import keras
import tensorflow as tf

from tfadv.adversarial.base import Criterion, Evaluated
from tfadv.adversarial.madry import AdversarialTraining
from tfadv.losses.logit_pairing import logit_pairing
from tfadv.losses.parameters import check_weight


@keras.saving.register_keras_serializable("tfadv")
class AdversarialLogitPairing(AdversarialTraining):
    """Minimizes kappa L(x, y) + (1 - kappa) L(x', y) + weight * mean ||z(x) - z(x')||^2 / K (arXiv:1803.06373).

    x' is that of `AdversarialTraining`, L the compiled loss and z the logits of the K classes, differentiated at both
    ends. As in the authors' program (tensorflow/models, research/adversarial_logit_pairing): clean and adversarial
    images count alike (kappa 0.5), weight 0.5, and a mean over the classes (`tfadv.losses.logit_pairing`). Departure:
    theirs attacks towards the least likely class, and gives both halves one batch statistic.

    The published robustness did not hold: on ImageNet a longer PGD leaves 0.6% (Engstrom et al. 2018,
    arXiv:1807.10272), and random restarts find what single runs miss ("Logit pairing methods can fool gradient-based
    attacks", Mosbach et al. 2018, arXiv:1810.12042). Judge it by the suite "standard".

    Args:
        classifier, attack, seed, ramp_steps, start_step, crafting_mode, labels: as in `AdversarialTraining`.
        clean_weight: kappa, in [0, 1].
        weight: >= 0, of the pairing; 0 is `AdversarialTraining`.

    Raises:
        UserError: as `AdversarialTraining`, or a weight that is negative or not finite.
    """

    def __init__(
        self,
        classifier: keras.Model,
        attack: Any,
        seed: int = 0,
        ramp_steps: int = 0,
        start_step: int = 0,
        crafting_mode: str = "inference",
        clean_weight: float = 0.5,
        labels: str = "true",
        weight: float = 0.5,
        **kwargs: Any,
    ) -> None:
        super().__init__(
            classifier, attack, seed, ramp_steps, start_step, crafting_mode, clean_weight, labels, **kwargs
        )
        self.weight = check_weight(weight, remark="0 leaves the pairing out")

    def objective(
        self, x: tf.Tensor, y: tf.Tensor, x_adv: tf.Tensor, step: tf.Tensor, criterion: Criterion
    ) -> Evaluated:
        clean, logits = self.classifier(x, training=True), self.classifier(x_adv, training=True)
        loss = self.clean_weight * criterion.compiled(y, clean)
        loss += (1.0 - self.clean_weight) * criterion.compiled(y, logits)
        return loss + self.weight * criterion.mean(logit_pairing(clean, logits)), logits

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "weight": self.weight}
