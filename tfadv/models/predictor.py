"""Any model as one function from images to float32 logits, in inference mode."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import keras
import tensorflow as tf

from tfadv.validation import UserError

# Signatures that a SavedModel may offer, in the order in which they are tried.
_SIGNATURES = ("serve", "serving_default")


def predictor(model: Any) -> Callable[[tf.Tensor], tf.Tensor]:
    """Wraps `model` so that `predict(x)` gives float32 logits [B, K] and changes nothing in the model.

    Args:
        model: a Keras model (called with training=False), a loaded SavedModel (its `serve` endpoint or
            serving_default signature), or any callable from images to logits.

    Raises:
        UserError: not callable and without such an endpoint, or a Keras model that ends in softmax.
    """
    if isinstance(model, keras.Model):
        activation = getattr(model.layers[-1], "activation", None) if model.layers else None
        if activation is keras.activations.softmax or isinstance(model.layers[-1:][:1] and model.layers[-1], keras.layers.Softmax):
            raise UserError(
                f"model {model.name!r} ends in softmax (layer {model.layers[-1].name!r}), but attacks and losses need logits: "
                "build it without the last activation (its weights stay valid)"
            )
        return lambda x: tf.cast(model(x, training=False), tf.float32)
    endpoint = _endpoint(model)
    if endpoint is None:
        raise UserError(
            f"model must be a Keras model, a SavedModel, or a function from images to logits, got {type(model).__name__}; "
            "a path is loaded by tfadv.models.load(path)"
        )
    return lambda x: tf.cast(_only(endpoint(x)), tf.float32)


def _endpoint(model: Any) -> Callable[[tf.Tensor], Any] | None:
    for name in _SIGNATURES[:1]:
        if callable(getattr(model, name, None)):
            return getattr(model, name)
    signatures = getattr(model, "signatures", None)
    if signatures:
        for name in _SIGNATURES:
            if name in signatures:
                signature = signatures[name]
                (argument,) = signature.structured_input_signature[1]
                return lambda x: signature(**{argument: x})
    return model if callable(model) else None


def _only(output: Any) -> tf.Tensor:
    """The logits of an endpoint that may return them under a name."""
    if isinstance(output, dict):
        if "logits" in output:
            return output["logits"]
        if len(output) == 1:
            return next(iter(output.values()))
        raise UserError(f"the model returns {sorted(output)}, none of which is called 'logits'; pass a function that picks it")
    return output
