"""Feature scattering (Zhang and Wang 2019): perturb a batch as a whole, away from its own features, without labels."""

from __future__ import annotations

from typing import Any

import keras
import tensorflow as tf

from tfadv import soft_labels
from tfadv.adversarial import crafting
from tfadv.adversarial.base import AdversarialMethod, Criterion, Evaluated
from tfadv.adversarial.trades import check_default_objective
from tfadv.adversarial.transport import transport_cost
from tfadv.validation import UserError


@keras.saving.register_keras_serializable("tfadv")
class FeatureScatter(AdversarialMethod):
    """Trains on examples that ascend the transport cost between the clean and the perturbed logits (arXiv:1907.10764).

    From a uniform start in the linf ball, the gradient runs through the transport plan, so every example moves with
    regard to all others; the loss is the compiled one on x', with smoothed labels. As in the authors' program
    (Haichao-Zhang/FeatureScatter): one step of epsilon (`Pgd(epsilon=8 / 255, step_size=8 / 255, steps=1)`), inference
    mode, mass 0.5 (`ls_factor`), batches of 60, rate 0.1, divided by 10 at epochs 60 and 90 of 200. Theirs has inputs
    in [-1, 1], so that its epsilon reads 16/255. Under `tf.distribute` each replica scatters its share of the batch.

    Its robustness is overstated by the attacks of the paper: of 60.6% claimed at 8/255 on CIFAR-10, AutoAttack leaves
    36.64% (Croce and Hein 2020, table of fra31/auto-attack) and FeatureAttack 36.94% (Line290/FeatureAttack). Evaluate
    it with `tfadv.attacks.FeatureAttack` and the suite "standard".

    Args:
        classifier, attack, seed, ramp_steps, start_step, crafting_mode: as in `AdversarialMethod`. The attack's
            objective and its random start are not used.
        mass: probability taken from the true class, in [0, 1].

    Raises:
        UserError: as `AdversarialMethod`, or an attack of another norm than linf or whose objective was set, or a mass
            outside [0, 1]; at the first step, if the compiled loss takes class numbers alone.
    """

    def __init__(
        self,
        classifier: keras.Model,
        attack: Any,
        seed: int = 0,
        ramp_steps: int = 0,
        start_step: int = 0,
        crafting_mode: str = "inference",
        mass: float = 0.5,
        **kwargs: Any,
    ) -> None:
        super().__init__(classifier, attack, seed, ramp_steps, start_step, crafting_mode, **kwargs)
        check_default_objective(self.config, "the transport cost between clean and perturbed logits")
        if self.config.norm != "linf":
            raise UserError(f"attack must have norm='linf', the ball of feature scattering, got {self.config.norm!r}")
        self.mass = soft_labels.check_mass(mass)

    def perturbed(self, x: tf.Tensor, y: tf.Tensor, step: tf.Tensor, share: tf.Tensor) -> tf.Tensor:
        model, strength = self.attacked(), self.strength(share)
        clean = model(x)
        # Not clipped to the box: a start outside takes the first gradient there, and the step leaves from there.
        noise = 2.0 * crafting.uniform(self.seed, crafting.START, step, x, x.shape[1:]) - 1.0
        return crafting.ascend(
            self.config,
            model,
            x,
            crafting.class_numbers(y),
            x + strength["epsilon"] * noise,
            objective=lambda logits: transport_cost(clean, logits),
            **strength,
        )

    def objective(
        self, x: tf.Tensor, y: tf.Tensor, x_adv: tf.Tensor, step: tf.Tensor, criterion: Criterion
    ) -> Evaluated:
        logits = self.classifier(x_adv, training=True)
        return criterion.compiled(soft_labels.smooth(y, logits.shape[-1], self.mass), logits), logits

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "mass": self.mass}
