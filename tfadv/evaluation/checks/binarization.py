"""The binarization test: the attack must find adversarial examples where some certainly exist."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import keras
import numpy as np
import tensorflow as tf

from tfadv.attacks import search
from tfadv.attacks.engine import Programs
from tfadv.attacks.pgd import Pgd
from tfadv.balls import BALLS, normalized
from tfadv.evaluation.checks.rule import Effort, Finding, probe, rule
from tfadv.evaluation.subject import Subject
from tfadv.progress import Progress
from tfadv.report.charts import Chart, Series

ENOUGH, TELLING = 0.95, 0.5
_INNER, _OUTER, _SHRUNK = 100, 8, 0.95
# In mean squared distances of the inner points' features from their mean. On a PGD-trained MNIST net at epsilon 0.3,
# PGD-20 found 71% of 100 with 0.001 of it, 97% with 0.1, all of 250 with 10; random points none with the last.
_RIDGE = 10.0
# Of `Subject.near`: points that no other check draws.
_FITTED, _SURFACE, _RANDOM, _STARTS = 901, 902, 903, 904
_BATCH = 100

Features = Callable[[tf.Tensor], tf.Tensor]


class Readout(NamedTuple):
    """A binary classifier of features f: the logit of class 1 is <weights, f> + bias, that of class 0 is 0.

    Attributes:
        weights: float32 [d].
        bias: float32.
        point: which of the outer points it puts into class 1.
    """

    weights: np.ndarray
    bias: np.float32
    point: int


class Task(NamedTuple):
    """The binary problem of one image.

    Attributes:
        row: number of the example.
        readout: puts the image into class 0.
        point: like the image, in ball and box, and in class 1.
        luck: whether one of as many random points of the ball as the readout was fitted to is in class 1.
    """

    row: int
    readout: Readout
    point: np.ndarray
    luck: bool


def penultimate(model: Any) -> Features | None:
    """Images -> the input of the Dense layer that gives a Keras model's logits; None for any other model."""
    try:
        (output,) = model.outputs
    except (AttributeError, TypeError, ValueError):
        return None  # No Keras model, a subclassed or unbuilt one, or one with several outputs.
    operation, node, _ = output._keras_history
    before = operation._inbound_nodes[node].input_tensors[0]
    head: Features | None
    if isinstance(operation, keras.Model):
        head = penultimate(operation)
    else:
        head = (lambda features: features) if isinstance(operation, keras.layers.Dense) else None
    if head is None:
        return None
    part = keras.Model(model.inputs[0] if len(model.inputs) == 1 else model.inputs, before)
    return lambda x: head(part(x, training=False))


def fit(inner: np.ndarray, outer: np.ndarray) -> Readout | None:
    """The ridge readout that separates one of the outer points from all inner ones; None if there is none.

    F [n, d] are the features of the inner points less their mean, g those of an outer point less that mean; the weights
    are (F'F + r I)^-1 g up to scale, which by Woodbury's identity is g - F'(FF' + r I)^-1 F g. Of the outer points that
    one is taken whose score <weights, g> exceeds all inner scores by most, relative to itself. The threshold lies
    halfway between, and scores are divided by that of the outer point, so the logit is of the order of 1 in the ball.

    Args:
        inner: features [n, d], n >= 1.
        outer: features [c, d].
    """
    if not (np.isfinite(inner).all() and np.isfinite(outer).all()):
        return None
    tiny = np.finfo(np.float64).tiny
    mean = inner.mean(axis=0, dtype=np.float64)
    f, g = inner - mean, outer - mean
    products = f @ f.T
    ridge = max(_RIDGE * float(np.trace(products)) / len(f), tiny)
    weights = g - np.linalg.solve(products + ridge * np.eye(len(f)), f @ g.T).T @ f
    scores, highest = np.sum(weights * g, axis=1), (f @ weights.T).max(axis=0)
    lead = np.where(scores > 0, scores - highest, -np.inf) / np.maximum(scores, tiny)
    point = int(lead.argmax())
    if not lead[point] > 0:
        return None
    unit = weights[point] / scores[point]
    threshold = 1.0 - 0.5 * lead[point]
    return Readout(unit.astype(np.float32), np.float32(-unit @ mean - threshold), point)


def set_up(subject: Subject, encode: Callable[[Any], tf.Tensor], row: int) -> Task | None:
    """The binary problem of one image; None where no readout separates it.

    Inner points are the image and points uniform in 0.95 of the ball. Outer points are random ones pushed out to its
    surface, for linf into its corners. All are cut to the box.
    """
    x = subject.x[row]
    inner = np.concatenate([x[None], subject.near(row, _INNER, _FITTED, _SHRUNK)])
    push = subject.near(row, _OUTER, _SURFACE) - x
    push = normalized(tf.constant(np.sign(push) if subject.norm == "linf" else push), BALLS[subject.norm].size).numpy()
    outer = np.clip(x + subject.epsilon * push, *subject.bounds).astype(np.float32)
    readout = fit(encode(inner).numpy(), encode(outer).numpy())
    if readout is None:
        return None
    scores = encode(subject.near(row, _INNER, _RANDOM)).numpy() @ readout.weights + readout.bias
    return Task(row, readout, outer[readout.point], bool((scores > 0).any()))


def attacked(subject: Subject, encode: Features, config: Pgd, tasks: list[Task]) -> tuple[np.ndarray, np.ndarray]:
    """(certain bool [m], found bool [m]): the point of a task is in class 1 and its image is not; the attack succeeds.

    One program for all readouts: what differs between the examples of a batch are its arguments.
    """

    def classifier(weights: tf.Tensor, bias: tf.Tensor) -> search.Predictor:
        def logits(x: tf.Tensor) -> tf.Tensor:
            score = tf.reduce_sum(encode(x) * weights, axis=1) + bias
            return tf.stack([tf.zeros_like(score), score], axis=1)

        return logits

    def run(x, point, start, weights, bias):  # type: ignore[no-untyped-def]
        model = classifier(weights, bias)
        x_adv = search.run(config, model, x, tf.zeros(tf.shape(x)[:1], tf.int32), start)
        wrong = [model(each)[:, 1] > 0 for each in (x, point, x_adv)]
        return x_adv, ~wrong[0] & wrong[1], wrong[2]

    program = Programs(tf.function(run, autograph=False), any_batch=True)
    certain, found = [], []
    for at in range(0, len(tasks), _BATCH):
        some = tasks[at : at + _BATCH]
        rows = np.array([task.row for task in some])
        starts = np.concatenate([subject.near(row, 1, _STARTS) for row in rows])
        x_adv, exists, wrong = program(
            subject.x[rows],
            np.stack([task.point for task in some]),
            starts,
            np.stack([task.readout.weights for task in some]),
            np.array([task.readout.bias for task in some]),
        )
        certain.append(exists.numpy())
        found.append(wrong.numpy() & subject.inside(x_adv.numpy(), rows))
    return np.concatenate(certain), np.concatenate(found)


@rule(
    "planted adversarial examples are found",
    f"PGD finds one for at least {ENOUGH:.0%} of the images whose binary readout certainly has one; not applicable "
    f"where random search finds more than {TELLING:.0%} too, or fewer than half of the images could be set up",
    "the binarization test, Zimmermann et al. 2022, arXiv:2206.13991",
)
def planted(subject: Subject, effort: Effort) -> Finding:
    """For each image a linear readout of the model's features tells points inside the ball from one on its surface.

    So an adversarial example exists for certain, and an attack that misses it is hindered by the features' gradients or
    by its own settings. The features are the input of a Keras model's last Dense layer, and the logits of other models.
    What lies behind the features is not seen: logits that saturate cross-entropy, say.

    Departures from the authors' program (google-research/active-adversarial-tests): ridge readouts in closed form in
    place of logistic regression without penalty; 100 inner points in place of 999; the best of eight outer points in
    place of one; the attack is the checks' PGD from one start in place of the suite's own.
    """
    rows = subject.attacked(effort.binarized)
    if not subject.has_gradient:
        return Finding("not applicable", "the model has no gradient")
    if not len(rows):
        return Finding("not applicable", "no example is classified correctly")
    features = penultimate(subject.model)
    extract = features or subject.plain

    def encode(x: tf.Tensor) -> tf.Tensor:
        return tf.reshape(tf.cast(extract(x), tf.float32), [tf.shape(x)[0], -1])

    progress, program = Progress("binarization test"), Programs(tf.function(encode, autograph=False), any_batch=True)
    tasks = []
    for number, row in enumerate(rows, start=1):
        task = set_up(subject, program, int(row))
        tasks += [] if task is None else [task]
        progress(number, len(rows))
    progress.close()
    config = probe(subject, effort)
    certain, found = attacked(subject, encode, config, tasks) if tasks else (np.zeros(0, bool), np.zeros(0, bool))
    count, where = int(certain.sum()), "features" if features else "logits"
    ready = f"{count} of {len(rows)} images could be set up on the {where}"
    if count < 0.5 * len(rows):
        return Finding("not applicable", f"only {ready}", count / len(rows))
    share = float(found[certain].mean())
    luck = float(np.mean([task.luck for task in tasks], where=certain))
    names = f"PGD-{config.steps}", f"{_INNER} random points"
    evidence = f"{names[0]} finds {share:.1%}, {names[1]} find {luck:.1%}; {ready}"
    chart = Chart(
        f"Images for which an adversarial example that certainly exists was found, of {count}.",
        "search",
        "found",
        {"found": Series((0.0, 1.0), (share, luck))},
        "bars",
        {"limit": ENOUGH},
        percent=True,
        x_names=names,
    )
    if share < ENOUGH:
        return Finding("failed", evidence, share, 0, chart)
    if luck > TELLING:
        return Finding("not applicable", f"random search does nearly as well: {evidence}", share, 0, chart)
    return Finding("passed", evidence, share, 0, chart)
