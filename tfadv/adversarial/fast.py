"""Fast adversarial training (Wong et al. 2020): one step from a random start, watched for its sudden collapse."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import keras
import numpy as np

from tfadv import attacks
from tfadv.attacks import Pgd
from tfadv.validation import UserError, check_images, check_labels

# Step of FGSM-RS in units of epsilon.
STEP = 1.25


def fast_attack(epsilon: float = 8 / 255, bounds: tuple[float, float] = (0.0, 1.0)) -> Pgd:
    """FGSM-RS (arXiv:2001.03994): a uniform start in the linf ball, and one step of 1.25 epsilon.

    `AdversarialTraining(classifier, fast_attack(8 / 255), crafting_mode="training")` is fast adversarial training as in
    the authors' program (locuslab/fast_adversarial, train_fgsm.py), which clips the start to the box and crafts with
    batch statistics. Watch it with `StopOnCatastrophicOverfitting`: within a few hundred steps it may come to resist
    this one step and nothing else.

    Args:
        epsilon: radius in input units (8/255, never 8).
        bounds: (lowest, highest) input value.
    """
    return Pgd(epsilon=epsilon, step_size=STEP * epsilon, steps=1, keep="last", bounds=bounds)


class StopOnCatastrophicOverfitting(keras.callbacks.Callback):
    """Ends training when the accuracy under PGD falls by more than `drop` from one epoch's end to the next.

    Single-step training may lose all its robustness within an epoch while its own loss goes on falling ("catastrophic
    overfitting", Wong et al. 2020). Each epoch's accuracy under `attack` on (x, y) is logged as `robust_accuracy`. When
    it falls, training stops, and the classifier has the weights of the epoch where that accuracy was highest; the state
    of the optimizer stays that of the collapse. The authors watch PGD-5 on a training batch and keep the weights of the
    epoch before.

    Args:
        x, y: held-out images and labels, a few hundred; never the test set.
        attack: an attack with an epsilon; for example `Pgd(epsilon, step_size=epsilon / 4, steps=10)`.
        drop: of the accuracy in [0, 1].
        report: receives the one line that says what happened.

    Raises:
        UserError: `x` or `y` are no images and labels, or `drop` lies outside [0, 1].
    """

    def __init__(
        self, x: Any, y: Any, attack: attacks.Attack, drop: float = 0.2, report: Callable[[str], None] = print
    ) -> None:
        super().__init__()
        self.x = check_images(x, attack.bounds)
        self.y = check_labels(y, len(self.x))
        if not 0.0 <= drop <= 1.0:
            raise UserError(f"drop must lie in [0, 1], got {drop!r}; 0.2 is 20 points of accuracy")
        self.attack, self.drop, self.report = attack, drop, report
        self.accuracies: list[float] = []
        self._classifier: Any = None
        self._search: Any = None
        self._best: list[np.ndarray] = []

    def on_train_begin(self, logs: Any = None) -> None:
        classifier = getattr(self.model, "classifier", self.model)
        if classifier is not self._classifier:
            self._classifier, self._search = classifier, attacks.compiled(classifier, self.attack)
        self.accuracies = []

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        accuracy = float(1.0 - self._search.run(self.x, self.y).adversarial.mean())
        if logs is not None:
            logs["robust_accuracy"] = accuracy
        before = self.accuracies
        if before and before[-1] - accuracy > self.drop:
            best = int(np.argmax(before))
            self._classifier.set_weights(self._best)
            self.model.stop_training = True
            self.report(
                f"epoch {epoch + 1}: accuracy under {type(self.attack).__name__} fell from {before[-1]:.1%} to "
                f"{accuracy:.1%}, by more than {self.drop:.0%}: catastrophic overfitting. Training stops with the "
                f"weights of the epoch that had {before[best]:.1%}; go on with a smaller step, more steps of the "
                "attack, or a smaller epsilon"
            )
            return
        if not before or accuracy > max(before):
            self._best = self._classifier.get_weights()
        self.accuracies = [*before, accuracy]
