"""What the peers are tried on: a linear model, on which the closest adversarial example is known."""

from typing import NamedTuple

import keras
import numpy as np
import pytest

PIXELS, CLASSES = 64, 4


@pytest.fixture
def linear_net() -> keras.Model:
    """Images [B, 8, 8, 1] -> logits [B, 4] without bias; four classes, because targeted DLR needs as many."""
    inputs = keras.Input((8, 8, 1))
    dense = keras.layers.Dense(CLASSES, use_bias=False)
    model = keras.Model(inputs, dense(keras.layers.Flatten()(inputs)))
    weights = np.random.default_rng(0).normal(size=[PIXELS, CLASSES])
    dense.kernel.assign(weights - weights.mean(axis=0))  # Brightness says nothing, so that every class is predicted.
    return model


class Examples(NamedTuple):
    """Images [40, 8, 8, 1] far from the box, their predicted classes, and how far the nearest other class is."""

    x: np.ndarray
    y: np.ndarray
    linf: np.ndarray
    l2: np.ndarray


@pytest.fixture
def examples(linear_net) -> Examples:
    """The distance to class k is (z_y - z_k) / ||w_y - w_k||, in the dual norm: l1 for linf, l2 for l2."""
    x = (0.35 + 0.3 * np.random.default_rng(1).random([80, 8, 8, 1])).astype(np.float32)
    (weights,) = linear_net.get_weights()
    logits = x.reshape(80, PIXELS) @ weights
    # Two libraries round differently, and so disagree about what lies on a boundary.
    clear = np.flatnonzero(np.diff(np.sort(logits, axis=1))[:, -1] > 0.1)[:40]
    x, logits = x[clear], logits[clear]
    y = logits.argmax(axis=1)
    gaps = logits.max(axis=1, keepdims=True) - logits
    normals = weights.T[y][:, None] - weights.T[None]
    gaps[np.arange(40), y] = np.inf
    normals[np.arange(40), y] = 1.0
    linf, l2 = ((gaps / np.linalg.norm(normals, order, axis=2)).min(axis=1) for order in (1, 2))
    return Examples(x, y.astype(np.int32), linf, l2)
