"""Adaptive attacks: gradient ascent on what the caller knows to be weak about a defense, judged by its predictions."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

import numpy as np
import tensorflow as tf

from tfadv import draws
from tfadv.attacks import search
from tfadv.attacks.pgd import Pgd
from tfadv.attacks.search import Measured, Predictor, Problem, State
from tfadv.models.predictor import predictor
from tfadv.validation import UserError, check_images, check_labels

Loss = Callable[[tf.Tensor, tf.Tensor, tf.Tensor], tf.Tensor]
Features = Callable[[tf.Tensor], tf.Tensor]
Targets = Callable[[Problem], tf.Tensor]


@dataclasses.dataclass(frozen=True)
class Adaptive(Pgd):
    """Settings of `adaptive`: those of `Pgd`, and the loss to ascend.

    Attributes:
        loss: (x_adv [B, ...], x [B, ...], y [B]) -> [B], differentiable in x_adv, larger = closer to an error. It may
            call a surrogate of the model, a detector, an inner layer. No example may look at another.
    """

    # Losses of the caller may compare images, and bfloat16 would round the difference away.
    bfloat16 = False
    queries_per_move = 1

    loss: Loss | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        if not callable(self.loss):
            raise UserError(f"loss must be a function (x_adv, x, y) -> one value for each example, got {self.loss!r}")

    def measure(self, model: Predictor, problem: Problem, state: State) -> Measured:
        assert self.loss is not None
        loss = self.loss
        return Measured(model(state.x_adv), _gradient(lambda x_adv: loss(x_adv, problem.x, problem.y), state.x_adv))


@dataclasses.dataclass(frozen=True)
class FeatureAttack(Pgd):
    """Settings of `feature_attack`: those of `Pgd` with the published defaults, and where the features are.

    Attributes:
        restarts: targets, one after the other; an example is fooled if one of them fools it.
        features: inputs [B, ...] -> features [B, ...] of the model under attack, such as its penultimate layer.
        targets: made by `feature_targets` of the same features.
    """

    # Close to its target the gradient is a difference of nearly equal vectors, which bfloat16 would round away.
    bfloat16 = False
    queries_per_move = 1

    step_size: Any = 1 / 255
    steps: int = 20
    restarts: int = 100
    features: Features | None = None
    targets: Targets | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        for name, remedy in (("features", "a function from inputs to features"), ("targets", "feature_targets(...)")):
            if not callable(getattr(self, name)):
                raise UserError(f"{name} must be {remedy}, got {getattr(self, name)!r}")

    def begin(self, model: Predictor, problem: Problem, start: tf.Tensor) -> State:
        assert self.targets is not None
        return super().begin(model, problem, start)._replace(memory=self.targets(problem))

    def measure(self, model: Predictor, problem: Problem, state: State) -> Measured:
        assert self.features is not None
        features = self.features
        gradient = _gradient(lambda x_adv: _cosine(features(x_adv), state.memory), state.x_adv)
        return Measured(model(state.x_adv), gradient)


def _gradient(loss: Callable[[tf.Tensor], tf.Tensor], x_adv: tf.Tensor) -> tf.Tensor:
    with tf.GradientTape(watch_accessed_variables=False) as tape:
        tape.watch(x_adv)
        value = tf.convert_to_tensor(loss(x_adv))
        if value.shape.rank != 1:
            raise UserError(
                f"loss must give one value for each example, shape [B], got shape {tuple(value.shape)}; do not average "
                "over the batch"
            )
        total = tf.reduce_sum(value)
    gradient = tape.gradient(total, x_adv)
    if gradient is None:
        raise UserError("loss has no gradient with respect to x_adv; compute it from x_adv in TensorFlow operations")
    return gradient


def _cosine(a: tf.Tensor, b: tf.Tensor) -> tf.Tensor:
    """Cosine of the angle between the features of each example, [B]; 0 where either has length 0."""
    a, b = (tf.math.l2_normalize(tf.reshape(each, [tf.shape(each)[0], -1]), axis=1) for each in (a, b))
    return tf.reduce_sum(a * b, axis=1)


def feature_loss(features: Features) -> Loss:
    """A loss for `Adaptive` that drives the features away from those of the clean input: 1 - cosine, in [0, 2].

    At the clean input itself it is smallest and its gradient is 0, so it needs random_start=True, the default.

    Args:
        features: inputs [B, ...] -> features [B, ...], such as a layer: keras.Model(model.inputs, layer.output).
    """
    return lambda x_adv, x, y: 1.0 - _cosine(features(x_adv), features(x))


def feature_targets(features: Features, x: Any, y: Any, *, seed: int = 0, batch_size: int = 500) -> Targets:
    """Inputs whose features a `FeatureAttack` approaches: for each example and run, a random one of another class.

    Args:
        features: as of the attack; asked once for each of x.
        x, y: inputs [T, ...] in any bounds and their true classes [T], at least two classes, such as a test set.
        seed: of the choice; run r of example i gets the target (seed, i, r), drawn with replacement.
        batch_size: inputs at a time.

    Raises:
        UserError: fewer than two classes.
    """
    x = check_images(x, (-np.inf, np.inf))
    labels = check_labels(y, len(x))
    if len(np.unique(labels)) < 2:
        raise UserError(f"y must hold at least two classes, so that every example has targets, got {np.unique(labels)}")
    chunks = [features(tf.constant(x[at : at + batch_size])) for at in range(0, len(x), batch_size)]
    bank = np.concatenate([np.asarray(chunk) for chunk in chunks])

    def of(problem: Problem) -> tf.Tensor:
        other = tf.constant(labels) != problem.y[:, None]
        number = tf.cumsum(tf.cast(other, tf.int32), axis=1)
        # The third counter tells this draw from that of the run's random start.
        share = draws.uniform(seed, (problem.example, problem.run, 1), ())
        chosen = tf.cast(share * tf.cast(number[:, -1], tf.float32), tf.int32)
        return tf.gather(tf.constant(bank), tf.argmax(number > chosen[:, None], axis=1))

    return of


def expectation(model: Any, samples: int) -> Predictor:
    """A predictor whose logits are the mean of `samples` calls: for models that draw random numbers at inference.

    Any attack on it is an expectation over transformation (Athalye et al. 2018, arXiv:1707.07397; for randomized
    defenses arXiv:1802.00420, section 4.1), and success means that the mean prediction is wrong.

    Departure: EOT averages the gradients of the loss, here the logits are averaged and then the loss is taken. The two
    have the same gradient where the loss is linear in the logits (the margin, between two changes of the runner-up);
    the cross-entropy of the mean is at most the mean of the cross-entropies, which also counts how wrong single draws
    are.

    Args:
        model: a Keras model, a SavedModel or a function from inputs to logits that draws anew at each call.
        samples: calls; time grows in proportion.

    Raises:
        UserError: samples below 1.
    """
    search.check_count("samples", samples)
    predict = predictor(model)

    def mean(x: tf.Tensor) -> tf.Tensor:
        def add(number: tf.Tensor, total: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
            return number + 1, total + predict(x)

        # XLA takes the gradient of a loop only if it knows how often the loop can run.
        total = tf.while_loop(lambda n, _: n < samples, add, (1, predict(x)), maximum_iterations=samples - 1)[1]
        return total / samples

    return mean


def adaptive(
    model: Predictor, x: tf.Tensor, y: tf.Tensor, start: tf.Tensor | None = None, *, config: Adaptive
) -> tf.Tensor:
    """Ascends the caller's loss over ball and box as `pgd` does; success is judged by the logits of the model.

    The attack that Tramèr et al. 2020 (arXiv:2002.08347) ask of every evaluation: one made for the defense. A success
    is kept when the model predicts another class (or the target); without one, the point of largest `objective`.

    Args:
        model: inputs [B, ...] -> logits [B, K]; inference mode.
        x, start: float32 [B, ...] in `bounds`; None draws the start from the config's seed.
        y: int32 labels [B].

    Returns:
        x_adv, like x.

    Raises:
        UserError: the loss is not one value for each example, or has no gradient.
    """
    return search.run(config, model, x, y, start, every_run=True)


def feature_attack(
    model: Predictor, x: tf.Tensor, y: tf.Tensor, start: tf.Tensor | None = None, *, config: FeatureAttack
) -> tf.Tensor:
    """Turns the features of x_adv toward those of an input of another class, by signed gradients of their cosine.

    FeatureAttack, published as code (github.com/Line290/FeatureAttack, 2019). For the Feature Scatter net of CIFAR-10
    (Zhang and Wang 2019, arXiv:1907.10764) its authors report 36.94% accuracy after 20 steps of 1/255 toward each of
    100 targets within 8/255, where PGD left 71.1% and PGD on the margin 62.4%. The features are the input of the last
    dense layer. That net makes the classification loss flat around its data, but not the way to the features of
    another class.

    Departures: each target begins with a random start of its own, as there, but targets are tried one after the other
    until one fools, where the published program stops a batch of 100 targets at the first success in it.

    Args and returns as in `adaptive`.
    """
    return search.run(config, model, x, y, start, every_run=True)
