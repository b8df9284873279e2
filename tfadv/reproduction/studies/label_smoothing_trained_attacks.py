"""The attacks behind tables 2 to 5 of "Adversarial robustness via label-smoothing" (LSV), as its authors' program runs.

The paper names FGSM, BIM, DeepFool and Carlini-Wagner and no setting but epsilon. The program
(github.com/MGoibert/Label_smoothing), whose published result files hold printed numbers to the last digit, differs from
the published attacks where the difference decides: FGSM and BIM ascend the loss of the defense's own smoothed labels,
and DeepFool works on probabilities, adds the sum of all steps so far at every step, and meets the box only at the end.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import tensorflow as tf

from tfadv.analysis.batches import BATCH_SIZE, batched, program
from tfadv.attacks import Adaptive, CarliniWagner, Pgd, search
from tfadv.attacks.hyperplane import linearized, nearest
from tfadv.balls import BALLS, per_example
from tfadv.losses.smoothed_cross_entropy import SmoothedCrossEntropy
from tfadv.models.predictor import predictor
from tfadv.objectives import cross_entropy
from tfadv.soft_labels import smooth_toward

# The default of the program's command line, for BIM and DeepFool.
STEPS = 10
# Of the box's width: a saturated softmax puts its hyperplanes beyond all numbers, and the box cuts what lies outside.
_FARTHEST = 1e6


def bim(epsilon: float) -> Pgd:
    """BIM with the program's settings: ten steps of a tenth of epsilon from the image, the last iterate."""
    return Pgd(epsilon, epsilon / STEPS, STEPS, random_start=False, keep="last")


def against_own_labels(model: Any, loss: SmoothedCrossEntropy, *, epsilon: float, steps: int) -> Adaptive:
    """FGSM (`steps` 1) or BIM on the smoothed labels q that the defense is trained with, instead of the true ones.

    q is that of the clean image. The gradient by the logits is p - q: a net that has learnt p = q has none, and one
    that is surer of the true class than q is pushed toward it. So the attack gives up where the defense is at home.

    Args:
        model: images in [0, 1] -> logits.
        loss: of the defense; its mass and q' give q = (1 - mass) y + mass q'.
        epsilon: radius, linf; a step is epsilon / steps.
        steps: from the image itself.
    """
    predict = predictor(model)

    def smoothed(x_adv: tf.Tensor, x: tf.Tensor, y: tf.Tensor) -> tf.Tensor:
        clean = tf.cast(predict(x), tf.float32)
        truth = tf.one_hot(y, clean.shape[-1])
        labels = smooth_toward(truth, loss.target(truth, clean), loss.mass)
        return cross_entropy(tf.stop_gradient(labels), predict(x_adv))

    return Adaptive(epsilon, epsilon / steps, steps, random_start=False, keep="last", loss=smoothed)


def deep_fool(model: Any, x: np.ndarray, y: np.ndarray, *, steps: int = STEPS) -> np.ndarray:
    """Where the program's DeepFool ends, float32 like x, in [0, 1].

    x' <- x' + R, where R grows by the l2 step to the nearest hyperplane between two probabilities, until the class
    changes or `steps` are made; then clip(x'). With R in place of its last step, x' overshoots from the second step on,
    and the box may put it back on its own side: what is right after the clip counts as accurate.

    Args:
        model: images [B, ...] in [0, 1] -> logits [B, K].
        x: float32 [N, ...].
        y: int [N]; an image of another class already stays.
    """
    predict = predictor(model)

    def probabilities(images: tf.Tensor) -> tf.Tensor:
        # The program computes in float64, where 1 - p of a sure net is no zero.
        return tf.nn.softmax(tf.cast(predict(images), tf.float64))

    def run(images: tf.Tensor, labels: tf.Tensor) -> tuple[tf.Tensor]:
        classes = int(predict(images).shape[-1])
        others = tf.argsort(tf.one_hot(labels, classes), axis=1, stable=True)[:, :-1]

        def step(number: tf.Tensor, x_adv: tf.Tensor, total: tf.Tensor) -> tuple[tf.Tensor, ...]:
            measured = linearized(probabilities, x_adv, labels, others)
            over = tf.argmax(measured.logits, axis=1, output_type=tf.int32) != labels
            plane = nearest("l2", measured, labels, others)
            total += per_example(tf.minimum(plane.distance, _FARTHEST), total) * BALLS["l2"].ascent(plane.normal)
            return number + 1, search.choose(over, x_adv, x_adv + total), total

        end = tf.while_loop(lambda number, *_: number < steps, step, (0, images, tf.zeros_like(images)))
        return (tf.clip_by_value(end[1], 0.0, 1.0),)

    arrays = (np.asarray(x, np.float32), np.asarray(y, np.int32))
    return batched(program(run), arrays, batch_size=BATCH_SIZE, label="DeepFool")[0]


# Adam at 0.1, five values of c from 1 on. The command line has 10 steps each, which left 80% of a net of ALS 0.1 where
# the paper prints 4.2%; the function itself has 50, which left 5%. The program asks the last step of each c alone, this
# any of them.
CARLINI_WAGNER = CarliniWagner(steps=50, binary_searches=5, learning_rate=0.1, initial_constant=1.0, abort_early=False)
