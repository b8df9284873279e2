"""Fooling images: noise that a model takes for one of its classes with confidence (Nguyen et al. 2015).

The two tests of "Adversarial training versus weight decay" (Galloway, Tanay and Taylor 2018, arXiv:1804.03308, section
6.1): images made by many small steps (figure 8), and how often, and how surely, one step of any size succeeds
(figure 9).
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

import numpy as np
import tensorflow as tf

from tfadv import draws
from tfadv.attacks import search
from tfadv.attacks.engine import CompiledAttack
from tfadv.attacks.pgd import check_step_size
from tfadv.attacks.search import Measured, Predictor, Problem, State
from tfadv.balls import LINF, per_example
from tfadv.models.predictor import predictor
from tfadv.objectives import cross_entropy
from tfadv.validation import UserError, as_number, check_bounds, check_logits, real_numbers

_BATCH_SIZE = 250
_EPSILONS = tuple(level / 255 for level in range(0, 256, 5))


@dataclasses.dataclass(frozen=True)
class Fooling(search.Attack):
    """Settings of `fooling_images`; the defaults are those of figure 8.

    Attributes:
        step_size: of one signed gradient step, input units.
        steps: at most; an image is done as soon as it has the confidence.
        confidence: probability of the target class from which on an image counts as fooling.
        noise: (lowest, highest) value of the uniform noise that every image starts from.
        seed: of the noise.
        bounds: (lowest, highest) input value.
    """

    objective = "cross_entropy"
    targeted = True

    step_size: Any = 5e-3
    steps: int = 50
    confidence: float = 0.9
    noise: tuple[float, float] = (0.5, 0.6)
    seed: int = 0
    bounds: tuple[float, float] = (0.0, 1.0)

    def __post_init__(self) -> None:
        check_step_size(self.step_size)
        search.check_count("steps", self.steps)
        search.check_seed(self.seed)
        _check_confidence(self.confidence)
        _check_noise(self.noise, self.bounds)

    @property
    def moves(self) -> int:
        return self.steps

    def begin(self, model: Predictor, problem: Problem, start: tf.Tensor) -> State:
        return search.opening(tf.clip_by_value(start, *self.bounds))

    def move(self, problem: Problem, state: State, measured: Measured) -> State:
        step = per_example(problem.step_size, problem.x) * LINF.ascent(measured.gradient)
        return state._replace(x_adv=tf.clip_by_value(state.x_adv + step, *self.bounds))

    def judge(self, problem: Problem, x_adv: tf.Tensor, logits: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        probability = tf.gather(tf.nn.softmax(logits), problem.y, batch_dims=1)
        return probability >= self.confidence, probability


@dataclasses.dataclass(frozen=True)
class FoolingImages:
    """What `fooling_images` made, the images of class 0 first.

    Attributes:
        images: float32 [N, ...].
        targets: int32 [N].
        confidences: float32 [N], probability of the target class.
        margins: float32 [N], largest probability minus the second largest.
        success: bool [N], the confidence that was asked for is reached.
    """

    images: np.ndarray
    targets: np.ndarray
    confidences: np.ndarray
    margins: np.ndarray
    success: np.ndarray

    @property
    def success_rate(self) -> float:
        """Share of the images that succeed."""
        return float(self.success.mean())


@dataclasses.dataclass(frozen=True)
class FoolingSweep:
    """Settings of `fooling_sweep`; the defaults are those of figure 9.

    Attributes:
        epsilons: sizes of the one signed gradient step, input units.
        samples: noise images, each of which is sent to every class.
        confidence: probability of the target class that `FoolingRates.confident_rate` asks for.
        noise, seed, bounds: as in `Fooling`.
    """

    epsilons: Sequence[float] = _EPSILONS
    samples: int = 1000
    confidence: float = 0.5
    noise: tuple[float, float] = (0.0, 1.0)
    seed: int = 0
    bounds: tuple[float, float] = (0.0, 1.0)

    def __post_init__(self) -> None:
        epsilons = real_numbers(self.epsilons)
        if epsilons.ndim != 1 or not epsilons.size or not (np.isfinite(epsilons) & (epsilons >= 0)).all():
            raise UserError(f"epsilons must be finite numbers >= 0, at least one, got {self.epsilons!r}")
        search.check_count("samples", self.samples)
        search.check_seed(self.seed)
        _check_confidence(self.confidence)
        _check_noise(self.noise, self.bounds)


@dataclasses.dataclass(frozen=True)
class FoolingRates:
    """What `fooling_sweep` found for each epsilon; means over all samples and target classes.

    Attributes:
        epsilons: [E], input units.
        success_rate: [E], share whose prediction is the target.
        confident_rate: [E], share in which the target has the probability that the config asks for.
        margin: [E], largest probability minus the second largest.
    """

    epsilons: np.ndarray
    success_rate: np.ndarray
    confident_rate: np.ndarray
    margin: np.ndarray


def _check_confidence(confidence: float) -> None:
    if not 0 < as_number(confidence) <= 1:
        raise UserError(f"confidence must be a probability above 0, at most 1, got {confidence!r}")


def _check_noise(noise: tuple[float, float], bounds: tuple[float, float]) -> None:
    (low, high), pair = check_bounds(bounds), real_numbers(noise)
    if pair.shape != (2,) or not low <= pair[0] <= pair[1] <= high:
        raise UserError(f"noise must be (lowest, highest) within bounds {bounds}, got {noise!r}")


def _noise(config: Fooling | FoolingSweep, shape: Sequence[int], numbers: np.ndarray) -> tf.Tensor:
    """Uniform noise, [len(numbers), *shape]: an image follows from the seed and its number."""
    low, high = config.noise
    return low + (high - low) * draws.uniform(config.seed, (tf.constant(numbers, tf.int32),), tuple(shape))


def _margin(probabilities: tf.Tensor) -> tf.Tensor:
    two = tf.math.top_k(probabilities, 2).values
    return two[:, 0] - two[:, 1]


def _classes(predict: Predictor, example: tf.Tensor) -> int:
    logits = predict(example)
    check_logits(logits)
    return int(logits.shape[-1])


def fooling_images(model: Any, config: Fooling, *, shape: Sequence[int], samples: int = 1) -> FoolingImages:
    """Makes noise look like each class to the model: x <- clip(x - step_size sign(gradient of the cross-entropy)).

    Figure 8 of Galloway, Tanay and Taylor 2018 (arXiv:1804.03308): 50 steps of 5e-3 from 0.5 + U(0, 0.1).

    Departures: an image ends at the first iterate of the wanted confidence, and otherwise returns the iterate of
    highest confidence, where the paper takes the last of all steps; confidence=1 comes closest to that.

    Args:
        model: a Keras model, a SavedModel or a function from inputs to logits; inference mode.
        shape: of one input.
        samples: images for each class, each from noise of its own.

    Raises:
        UserError: a model that gives no logits.
    """
    search.check_count("samples", samples)
    predict = tf.function(predictor(model), autograph=False, reduce_retracing=True)
    classes = _classes(predict, _noise(config, shape, np.zeros(1)))
    targets = np.repeat(np.arange(classes, dtype=np.int32), samples)
    start = _noise(config, shape, np.arange(len(targets))).numpy()
    attack = CompiledAttack(model, config, jit="auto", precision="float32", batch_size=None)
    images = attack.run(start, targets).x_adv
    chunks = range(0, len(images), _BATCH_SIZE)
    probabilities = tf.concat([tf.nn.softmax(predict(tf.constant(images[at : at + _BATCH_SIZE]))) for at in chunks], 0)
    confidences = tf.gather(probabilities, targets, batch_dims=1).numpy()
    return FoolingImages(images, targets, confidences, _margin(probabilities).numpy(), confidences >= config.confidence)


def fooling_sweep(model: Any, config: FoolingSweep, *, shape: Sequence[int]) -> FoolingRates:
    """Takes one signed gradient step from uniform noise toward every class, for a range of step lengths.

    Figure 9 of Galloway, Tanay and Taylor 2018 (arXiv:1804.03308), after Goodfellow: success is that the model predicts
    the target (Goodfellow's own criterion is a probability of 0.5, `confident_rate`). The paper calls this equivalent
    to a probability above 1/10 with ten classes, which it only implies. At epsilon 0 the rate is 1 / classes, because
    each image has one prediction.

    The text leaves open over which images the margin is averaged; here over all. With the weights that the authors
    published for CNN-L2, the success rates are those of the figure (0.98 at 20/255, 0.76 at 80/255, 0.30 at 1), the
    margins are not (0.58 at 20/255 against about 0.1).

    Args:
        model: a Keras model, a SavedModel or a function from inputs to logits; inference mode.
        shape: of one input.

    Raises:
        UserError: a model that gives no logits, or has no gradient.
    """
    predict = predictor(model)

    @tf.function(autograph=False, reduce_retracing=True)
    def direction(x: tf.Tensor, target: tf.Tensor) -> tf.Tensor:
        return LINF.ascent(search.first_order(predict, x, lambda logits: -cross_entropy(target, logits)).gradient)

    @tf.function(autograph=False, reduce_retracing=True)
    def tried(x: tf.Tensor, step: tf.Tensor, target: tf.Tensor) -> tuple[tf.Tensor, ...]:
        logits = predict(tf.clip_by_value(x + step, *config.bounds))
        probabilities = tf.nn.softmax(logits)
        confident = tf.gather(probabilities, target, batch_dims=1) >= config.confidence
        hit = tf.argmax(logits, axis=-1, output_type=tf.int32) == target
        counted = (hit, confident, _margin(probabilities))
        return tuple(tf.reduce_sum(tf.cast(each, tf.float32)) for each in counted)

    classes = _classes(predict, _noise(config, shape, np.zeros(1)))
    totals = np.zeros([len(config.epsilons), 3])
    for at in range(0, config.samples, _BATCH_SIZE):
        x = _noise(config, shape, np.arange(at, min(at + _BATCH_SIZE, config.samples)))
        for label in range(classes):
            target = tf.fill([len(x)], label)
            ascent = direction(x, target)
            for row, epsilon in enumerate(config.epsilons):
                totals[row] += [float(total) for total in tried(x, epsilon * ascent, target)]
    return FoolingRates(np.array(config.epsilons), *(totals / (config.samples * classes)).T)
