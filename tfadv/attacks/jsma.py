"""The Jacobian-based saliency map attack (Papernot et al. 2016): few features, each changed as far as it goes.

Beside the attack stands what tables about it report: `every_target`, `perturbed_rate` and `summarize`.
"""

from __future__ import annotations

import dataclasses
import math
from typing import Any, NamedTuple

import numpy as np
import tensorflow as tf

from tfadv.attacks import search
from tfadv.attacks.search import Predictor, Problem, State
from tfadv.validation import UserError, as_number, check_labels

OUTPUTS = ("probabilities", "logits")


class Measured(NamedTuple):
    """Logits [B, K], and the gradients, like x, of the target's output and of the sum of all others.

    Those of probabilities are divided by the target's probability: no choice of features changes, and none vanishes.
    """

    logits: tf.Tensor
    target: tf.Tensor
    others: tf.Tensor


@dataclasses.dataclass(frozen=True)
class Jsma(search.Attack):
    """Settings of `jsma`; its y is always the class to reach.

    Attributes:
        theta: what a change adds to a feature, in input units: 1 takes features of images in [0, 1] to 1, whatever
            they were, and -1 takes them to 0.
        gamma: share of the features that may be changed, above 0 and at most 1 (0.05 for 5%); the paper's is 0.145.
        outputs: "probabilities" or "logits", the outputs whose gradients make the saliency; see `jsma`.
        pairs: changes two features at a time, as published; False changes one.
        bounds: (lowest, highest) input value.
    """

    theta: float = 1.0
    gamma: float = 0.145
    outputs: str = "probabilities"
    pairs: bool = True
    bounds: tuple[float, float] = (0.0, 1.0)

    # The search ends at its first success, and without one it returns all its changes, which published rates count.
    keep = "last"
    targeted = True
    # A success that only rounded logits show would end the search.
    bfloat16 = False

    def __post_init__(self) -> None:
        if not (math.isfinite(as_number(self.theta)) and self.theta != 0):
            raise UserError(
                f"theta must be a finite number other than 0, got {self.theta!r}; for images in [0, 1] write 1 or -1"
            )
        if not 0 < as_number(self.gamma) <= 1:
            raise UserError(
                f"gamma must be a share of the features, above 0 and at most 1, got {self.gamma!r}; write 0.05 for 5%"
            )
        search.check_choice("outputs", self.outputs, OUTPUTS)

    @property
    def gradients_per_move(self) -> int:  # type: ignore[override]
        """Probabilities sum to 1, so that one gradient gives the other."""
        return 2 if self.outputs == "logits" else 1

    @property
    def moves(self) -> int:
        """More than any search takes: each ends after `changes`, which depends on the input's size."""
        return 1 << 24

    def changes(self, features: int) -> int:
        """How often an input of so many features is changed: gamma x features, halved for pairs, rounded down."""
        # Floating point has 0.57 x 100 = 56.99999999999999.
        return math.floor(self.gamma * features / (2 if self.pairs else 1) + 1e-9)

    def begin(self, model: Predictor, problem: Problem, start: tf.Tensor) -> State:
        return search.opening(tf.clip_by_value(start, *self.bounds))

    def measure(self, model: Predictor, problem: Problem, state: State) -> Measured:
        def totals(logits: tf.Tensor) -> list[tf.Tensor]:
            wanted = tf.one_hot(problem.y, logits.shape[-1], dtype=logits.dtype)
            if self.outputs == "logits":
                return [tf.reduce_sum(wanted * logits), tf.reduce_sum((1 - wanted) * logits)]
            # The gradient of log p_y with respect to the logits; p_y itself would underflow.
            return [tf.reduce_sum(tf.stop_gradient(wanted - tf.nn.softmax(logits)) * logits)]

        logits, gradients = search.input_gradients(model, state.x_adv, totals)
        target = gradients[0]
        return Measured(logits, target, gradients[1] if self.outputs == "logits" else -target)

    def move(self, problem: Problem, state: State, measured: Measured) -> State:
        features = state.x_adv.shape[1:].num_elements()
        pixels = tf.reshape(state.x_adv, [-1, features])
        up = math.copysign(1.0, self.theta)
        gain, drop = (_finite(gradient, features) for gradient in (up * measured.target, -up * measured.others))
        free = pixels < self.bounds[1] if self.theta > 0 else pixels > self.bounds[0]
        first, second, saliency = (best_pair if self.pairs else _best_single)(gain, drop, free)

        changes = self.changes(features)
        goes = (saliency > 0) & (state.taken <= changes) & ~search.hit(problem, measured.logits, targeted=True)
        chosen = (_at(first, features) | _at(second, features)) & goes[:, tf.newaxis]
        pixels = tf.where(chosen, tf.clip_by_value(pixels + self.theta, *self.bounds), pixels)
        return state._replace(
            x_adv=tf.reshape(pixels, tf.shape(state.x_adv)),
            taken=tf.where(goes & (state.taken < changes), state.taken, self.moves),
        )


def _finite(gradient: tf.Tensor, features: int) -> tf.Tensor:
    gradient = tf.reshape(gradient, [-1, features])
    return tf.where(tf.math.is_finite(gradient), gradient, 0.0)


def _at(place: tf.Tensor, features: int) -> tf.Tensor:
    """Bool [B, features], true at `place` [B] alone."""
    return tf.range(features) == place[:, tf.newaxis]


def _best_single(gain: tf.Tensor, drop: tf.Tensor, free: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
    saliency = tf.where(free & (gain > 0) & (drop > 0), gain * drop, 0.0)
    place = tf.argmax(saliency, axis=1, output_type=tf.int32)
    return place, place, tf.reduce_max(saliency, axis=1)


def best_pair(gain: tf.Tensor, drop: tf.Tensor, free: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
    """The pair i != j of free features that has the largest (gain_i + gain_j) (drop_i + drop_j), both sums positive.

    Not all pairs need a look. Where a feature other than j has at least i's gain and i's drop, it can take i's place;
    so some best pair has a member on the staircase of features that none exceeds in both, and only those, about a
    dozen of 784, are tried with all partners. The staircase is walked down in gain and up in drop.

    Args:
        gain, drop: [B, D], how far a change raises the target's logit and lowers the sum of the others.
        free: bool [B, D], may still be changed.

    Returns:
        (i, j, saliency), int32 [B], int32 [B] and float32 [B]; the saliency is 0 where no pair has positive sums.
    """
    features = gain.shape[1]
    count = tf.shape(gain)[0]

    def try_next(
        climbs: tf.Tensor, height: tf.Tensor, first: tf.Tensor, second: tf.Tensor, best: tf.Tensor
    ) -> tuple[tf.Tensor, ...]:
        higher = free & (drop > height[:, tf.newaxis])
        climbs = tf.reduce_any(higher, axis=1)
        step = tf.argmax(tf.where(higher, gain, float("-inf")), axis=1, output_type=tf.int32)
        own_gain, own_drop = (tf.gather(value, step, batch_dims=1) for value in (gain, drop))
        gains, drops = gain + own_gain[:, tf.newaxis], drop + own_drop[:, tf.newaxis]
        partner = free & ~_at(step, features) & (gains > 0) & (drops > 0) & climbs[:, tf.newaxis]
        saliency = tf.where(partner, gains * drops, 0.0)
        top = tf.reduce_max(saliency, axis=1)
        better = top > best
        return (
            climbs,
            tf.where(climbs, own_drop, height),
            tf.where(better, step, first),
            tf.where(better, tf.argmax(saliency, axis=1, output_type=tf.int32), second),
            tf.where(better, top, best),
        )

    none = tf.zeros([count], tf.int32)
    start = (tf.ones([count], tf.bool), tf.fill([count], float("-inf")), none, none, tf.zeros([count], tf.float32))
    _, _, first, second, best = tf.while_loop(lambda climbs, *_: tf.reduce_any(climbs), try_next, start)
    return first, second, best


def jsma(model: Predictor, x: tf.Tensor, y: tf.Tensor, start: tf.Tensor, *, config: Jsma) -> tf.Tensor:
    """Changes the most salient features until x' is classified as y (arXiv:1511.07528, algorithms 2 and 3).

    A pair of features that theta raises has the saliency alpha |beta| if alpha > 0 > beta, where alpha is its summed
    gradient of the target's output, and beta that of the sum of all other outputs; for a negative theta if
    alpha < 0 < beta. The most salient pair is changed by theta and clipped to `bounds`, until the target is the
    prediction, gamma x features changes are made, or no pair with a saliency is left. A feature that has reached its
    bound is not changed again. Color channels are features of their own.

    Which outputs: the paper differentiates logits (JSMA-Z in Carlini and Wagner 2017), CleverHans before 3.1, and so
    "Adversarial training versus weight decay", probabilities (JSMA-F). With these beta is -alpha, and the pair of the
    steepest target is chosen; with logits, the pressure on the sum of all others prefers features that lower classes
    which do not lead.

    Args:
        model: inputs [B, ...] -> logits [B, K]; inference mode.
        x: float32 [B, ...] in `bounds`.
        y: int32 [B], the classes to reach.
        start: like x, where the changes begin; usually x.

    Returns:
        x_adv, like x: the first point classified as y, or else the last one reached.

    Raises:
        UserError: the model has no gradient with respect to its input.

    Departures: where no pair has a saliency, which the published algorithm leaves open, the search ends (CleverHans
    changes the first feature then). Equal saliencies are not decided by the order of the features. Every change counts
    against gamma, as in algorithm 3, also a second one of the same feature, which a theta below the range allows
    (CleverHans changes each feature once). pairs=False is the paper's map of single features (equation 8).
    """
    return search.run(config, model, x, y, start, every_run=True)


def every_target(x: Any, y: Any, classes: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Each example once for every class other than its own: (x, y, targets), classes - 1 rows for each example."""
    x, y = np.asarray(x), check_labels(y, len(np.asarray(x)), classes)
    targets = np.broadcast_to(np.arange(classes, dtype=np.int32), [len(y), classes])
    repeats = classes - 1
    return np.repeat(x, repeats, axis=0), np.repeat(y, repeats), targets[targets != y[:, np.newaxis]]


def perturbed_rate(x: Any, x_adv: Any) -> np.ndarray:
    """Share of the features of each example that differ between `x` and `x_adv` [B, ...], float64 [B] in [0, 1]."""
    changed = np.asarray(x) != np.asarray(x_adv)
    return changed.reshape(len(changed), -1).mean(axis=1)


class Summary(NamedTuple):
    """Success and size of targeted attacks, all shares in [0, 1].

    Attributes:
        success_rate: of all attacks.
        perturbed_rate: mean over all attacks.
        perturbed_rate_of_successes: mean over the successful ones; NaN if there is none.
        printed_perturbed_rate: "Pert. Rte." as Galloway, Tanay and Taylor 2018 print it in their table 2.
        printed_rate_of_successes: their "S Pert. Rte.".
    """

    success_rate: float
    perturbed_rate: float
    perturbed_rate_of_successes: float
    printed_perturbed_rate: float
    printed_rate_of_successes: float


def summarize(rate: Any, success: Any, *, classes: int) -> Summary:
    """What "Adversarial training versus weight decay" prints of attacks on every wrong class, and the plain means.

    Their code averages over a table of images x all classes, which holds 0 for the true class, and for their
    "S Pert. Rte." 0 for every failure too: so it is no mean over successes, but the share of successes times that mean.

    Args:
        rate: [N], by `perturbed_rate`, of one attack for each image and wrong class.
        success: bool [N].
        classes: K; of the K columns of their table, K - 1 are attacks.
    """
    rate, success = np.asarray(rate, np.float64), np.asarray(success, bool)
    if rate.ndim != 1 or rate.shape != success.shape or not len(rate):
        raise UserError(
            f"rate and success must hold one value for each attack, at least one, got shapes {rate.shape} and "
            f"{success.shape}"
        )
    attacked = (classes - 1) / classes
    return Summary(
        success_rate=float(success.mean()),
        perturbed_rate=float(rate.mean()),
        perturbed_rate_of_successes=float(rate[success].mean()) if success.any() else math.nan,
        printed_perturbed_rate=float(rate.mean() * attacked),
        printed_rate_of_successes=float((rate * success).mean() * attacked),
    )
