"""The binarization test: attacks must find adversarial examples where some certainly exist."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import keras
import numpy as np
import tensorflow as tf

from tfadv.attacks.engine import Programs
from tfadv.balls import BALLS
from tfadv.evaluation.subject import Subject

_INNER, _OUTER = 200, 8
_SHRUNK = 0.95
# Where the threshold lies between the highest score of an inner point (0) and that of the boundary point (1).
_CLOSE = 0.9
# Of the mean squared distance of the inner points' features from their mean.
_RIDGE = 1e-3
_LIMIT, _TELLING = 0.95, 0.5
_BATCH = 100

Features = Callable[[tf.Tensor], tf.Tensor]


class Readout(NamedTuple):
    """A binary classifier of features f: class 1 where <weights, f> + bias > 0.

    Attributes:
        weights: float32 [d].
        bias: float32.
        point: which of the candidates it puts into class 1.
    """

    weights: np.ndarray
    bias: np.float32
    point: int


def penultimate(model: Any) -> Features | None:
    """Images -> the input of the Dense layer that gives a Keras model's logits; None for any other model."""
    try:
        operation, node, _ = model.outputs[0]._keras_history
    except (AttributeError, IndexError, KeyError, TypeError, ValueError):
        return None  # No Keras model; a subclassed or unbuilt one; one with named outputs.
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
    """The ridge readout that separates one of the points `outer` from all of `inner`; None if there is none.

    With F the features of the inner points less their mean m, and g those of an outer point less m, the weights are
    (F'F + r I)^-1 g up to scale, which by Woodbury's identity is g - F'(FF' + r I)^-1 F g. The outer point whose score
    stands out farthest is taken, and scores are divided by its score, so the logit is of the order of 1 in the ball.

    Args:
        inner: features [n, d].
        outer: features [c, d].
    """
    if not (np.isfinite(inner).all() and np.isfinite(outer).all()):
        return None
    mean = inner.mean(axis=0, dtype=np.float64)
    f, g = inner - mean, outer - mean
    products = f @ f.T
    ridge = max(_RIDGE * float(np.trace(products)) / len(f), np.finfo(np.float64).tiny)
    weights = g - np.linalg.solve(products + ridge * np.eye(len(f)), f @ g.T).T @ f
    scores, highest = np.sum(weights * g, axis=1), (f @ weights.T).max(axis=0)
    lead = np.where(scores > 0, scores - highest, -np.inf) / np.maximum(scores, np.finfo(np.float64).tiny)
    point = int(lead.argmax())
    if not lead[point] > 0:
        return None
    unit = weights[point] / scores[point]
    threshold = highest[point] / scores[point] + _CLOSE * lead[point]
    return Readout(unit.astype(np.float32), np.float32(-unit @ mean - threshold), point)


def _drawn(subject: Subject, row: int, stream: int, count: int) -> np.ndarray:
    """`count` points uniform in the unit ball, by (seed, stream, example)."""
    key = tf.random.experimental.stateless_fold_in(tf.constant([subject.seed, stream], tf.int32), subject.index[row])
    return BALLS[subject.norm].sample((count, *subject.x.shape[1:]), key).numpy()


def _moved(subject: Subject, row: int, points: np.ndarray) -> np.ndarray:
    return np.clip(subject.x[row] + subject.epsilon * points, *subject.bounds).astype(np.float32)


def set_up(subject: Subject, encode: Programs, row: int) -> tuple[Readout, np.ndarray, bool] | None:
    """(readout, its boundary point, whether random points of the ball fool it) for one image; None without a readout.

    The inner points are the image and points uniform in the ball of 0.95 epsilon; the boundary points lie as far away
    as the ball allows, corners of it for linf. All are cut to the box.
    """
    inner = np.concatenate([np.zeros_like(subject.x[:1]), _SHRUNK * _drawn(subject, row, 1, _INNER)])
    outer = BALLS[subject.norm].ascent(tf.constant(_drawn(subject, row, 2, _OUTER))).numpy()
    points = _moved(subject, row, np.concatenate([inner, outer]))
    features = encode(points).numpy()
    readout = fit(features[: len(inner)], features[len(inner) :])
    if readout is None:
        return None
    tried = encode(_moved(subject, row, _drawn(subject, row, 3, _INNER))).numpy()
    luck = bool((tried @ readout.weights + readout.bias > 0).any())
    return readout, points[len(inner) + readout.point], luck
