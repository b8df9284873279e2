"""The judge of all libraries: the TensorFlow model in float32, on the examples that it classifies correctly.

A result counts when it is what the attack wants, finite, in the box, and within the budget.
"""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
import tensorflow as tf

from tfadv import devices
from tfadv.attacks.engine import Programs
from tfadv.balls import BALLS
from tfadv.crosscheck.peers import batches
from tfadv.models import predictor
from tfadv.validation import UserError, check_images, check_labels, check_logits

# x + epsilon is rounded, so that the difference to x may exceed epsilon by this.
_ROUNDING = 1e-6


class Examples:
    """The examples that a model classifies correctly, and the model.

    Attributes:
        x, y: float32 [N, ...] and int32 [N].
        index: int [N], which of the examples given these are.
        classes: number of logits.
        predict: images -> logits, not compiled.
        batch_size: of everything that is done with them.
    """

    def __init__(self, model: keras.Model, x: Any, y: Any, batch_size: int) -> None:
        """Leaves out what the model misclassifies.

        Args:
            x: images [N, ...] in [0, 1].
            y: labels, int [N] or [N, K].

        Raises:
            UserError: images, labels or logits of the wrong kind, or nothing left.
        """
        x = check_images(x)
        self.batch_size = batch_size
        self.predict = predictor(model)
        self._forward = Programs(tf.function(self.predict, autograph=False), any_batch=True)
        if not len(x):
            raise UserError("x must hold at least one image, got an empty batch")
        logits = self._logits(x)
        check_logits(logits)
        self.classes = logits.shape[1]
        y = check_labels(y, len(x), self.classes)
        self.index = np.flatnonzero(logits.argmax(axis=1) == y)
        if not len(self.index):
            raise UserError("the model must classify at least one of the images correctly, got none; check the labels")
        self.x, self.y = x[self.index], y[self.index]

    def labels(self, config: Any) -> np.ndarray:
        """What an attack is given as y: a targeted one the class after the true one."""
        return (self.y + 1) % self.classes if getattr(config, "targeted", False) else self.y

    def judge(self, config: Any, x_adv: np.ndarray, rows: Any = slice(None)) -> tuple[np.ndarray, np.ndarray]:
        """(success bool [N], distance [N]) of what an attack made of these examples, or of some `rows` of them."""
        return judge(self._logits(x_adv), self.x[rows], self.labels(config)[rows], x_adv, config)

    def _logits(self, x: np.ndarray) -> np.ndarray:
        with devices.matrix_products(bfloat16=False):
            parts = [self._forward(x[rows]).numpy() for rows in batches(len(x), self.batch_size)]
        return np.concatenate(parts)


def judge(
    logits: np.ndarray, x: np.ndarray, y: np.ndarray, x_adv: np.ndarray, config: Any
) -> tuple[np.ndarray, np.ndarray]:
    """(success bool [N], distance to x [N] in the config's norm) of points with these logits.

    A point that is not finite, outside the box, or beyond the budget is no success; a budget is a radius, or JSMA's
    share of the features.
    """
    delta = (x_adv - x).reshape(len(x), -1)
    finite = np.isfinite(delta).all(axis=1)
    delta = np.where(finite[:, None], delta, 0.0)
    if type(config).__name__ == "Jsma":
        # A peer that looks at its budget only after changing a pair exceeds it by that pair.
        distance = np.count_nonzero(delta, axis=1).astype(np.float64)
        radius = config.gamma * delta.shape[1] + 2
    else:
        distance = BALLS[config.norm].size(tf.constant(delta)).numpy()
        # The l2 size is a rounded sum of rounded squares.
        radius = np.inf if config.epsilon is None else config.epsilon * (1 + 10 * _ROUNDING) + _ROUNDING
    hit = (logits.argmax(axis=1) == y) == getattr(config, "targeted", False)
    low, high = config.bounds
    flat = np.where(finite[:, None], x_adv.reshape(len(x), -1), low)
    inside = ((flat >= low - _ROUNDING) & (flat <= high + _ROUNDING)).all(axis=1)
    return hit & finite & inside & (distance <= radius), distance
