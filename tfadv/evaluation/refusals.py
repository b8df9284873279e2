"""What no suite can evaluate, found before an attack is run: a model whose answer is not a function of the image."""

from __future__ import annotations

import hashlib
from typing import Any

import numpy as np
import tensorflow as tf

from tfadv.validation import UserError

_PASSES, _IMAGES, _ALONE = 5, 32, 4
# Relative to the largest logit. Two passes add up in the same order; an image alone and in a batch may not.
RANDOM, DEPENDENT = 1e-4, 1e-3


def refuse(model: Any, forward: Any, x: np.ndarray, *, random_allowed: bool) -> None:
    """Raises for a model whose logits are random, depend on the other images of the batch, or change the model.

    Args:
        model: as the user gave it.
        forward: images [N, ...] -> logits [N, K], as arrays.
        x: clean images.
        random_allowed: whether the suite takes means over random numbers ("rand").

    Raises:
        UserError: logits of two passes differ by more than 1e-4 of the largest logit; logits of an image alone and in a
            batch differ by more than 1e-3 of it (batch normalisation in training mode, which a comparison at epsilon 0
            cannot see); a forward pass changes the model's variables.
    """
    x = x[:_IMAGES]
    before = _fingerprint(model)
    first = forward(x)
    scale = max(float(np.abs(first).max()), 1e-12)
    others = [forward(x) for _ in range(_PASSES - 1)]
    spread = max(float(np.abs(first - other).max()) for other in others) / scale
    if _fingerprint(model) != before:
        raise UserError(
            "model must not change when it classifies: a forward pass changed its variables, as batch normalisation in "
            "training mode does; pass a model that runs with training=False"
        )
    if spread > RANDOM and not random_allowed:
        raise UserError(
            f"model must be deterministic for this suite: logits of {_PASSES} passes over the same images differ by "
            f"{spread:.1e} of the largest; for a model that draws random numbers use suite='rand', whose gradients are "
            "means over 20 draws, or switch its noise off at inference (training=False)"
        )
    if spread <= RANDOM and len(x) > 1:
        alone = np.concatenate([forward(x[at : at + 1]) for at in range(min(_ALONE, len(x)))])
        order = np.random.RandomState(0).permutation(len(x))
        shuffled = np.empty_like(first)
        shuffled[order] = forward(x[order])
        apart = max(float(np.abs(alone - first[: len(alone)]).max()), float(np.abs(shuffled - first).max())) / scale
        if apart > DEPENDENT:
            raise UserError(
                "model must classify every image by itself: logits of an image alone and in a batch differ by "
                f"{apart:.1e} of the largest logit, as with batch normalisation in training mode; pass a model that "
                "runs with training=False"
            )


def _fingerprint(model: Any) -> str:
    """A hash of the values of the model's variables; empty for a function, whose variables cannot be found."""
    digest = hashlib.sha256()
    # Those of Keras hold TensorFlow's; a loaded SavedModel lists none under its own name.
    # `weights` leaves out the states of Keras' random seeds, which noise at inference changes: that is told below.
    variables = getattr(model, "weights", None) or getattr(model, "variables", None)
    for variable in list(variables) if isinstance(variables, list | tuple) else []:
        value = getattr(variable, "value", variable)
        array = tf.convert_to_tensor(value() if callable(value) else value)
        if array.dtype.is_floating or array.dtype.is_integer:
            digest.update(np.ascontiguousarray(tf.cast(array, tf.float32).numpy()).tobytes())
    return digest.hexdigest()
