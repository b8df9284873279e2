"""Any model as one function from images to float32 logits, in inference mode."""

from __future__ import annotations

import functools
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
        UserError: not callable and without such an endpoint, an endpoint that does not take one batch of floating-point
            images, or a Keras model that ends in softmax. A softmax that cannot be seen in the layers is found by
            `tfadv.validation.check_logits` on what the model gives.
    """
    if isinstance(model, keras.Model):
        softmax = _softmax_head(model)
        if softmax is not None:
            raise UserError(
                f"model {model.name!r} ends in softmax (layer {softmax!r}), but attacks and losses need logits: build "
                "it without the last activation (its weights stay valid)"
            )
        return lambda x: tf.cast(_only(model(x, training=False)), tf.float32)
    endpoint = _endpoint(model)
    if endpoint is None:
        raise UserError(
            "model must be a Keras model, a SavedModel, or a function from images to logits, got "
            f"{type(model).__name__}; a path is loaded by tfadv.models.load(path)"
        )

    return functools.partial(_call, model, endpoint)


def _call(owner: Any, endpoint: Callable[[tf.Tensor], Any], x: tf.Tensor) -> tf.Tensor:
    """Logits of an endpoint. `owner` keeps a SavedModel alive, whose functions refer to its variables only weakly."""
    return tf.cast(_only(endpoint(x)), tf.float32)


def _softmax_head(model: keras.Model) -> str | None:
    """Name of the softmax that gives the only output of a Sequential or functional model; None without one.

    The layers of a subclassed model do not say in which order they are called, so nothing is concluded from them.
    """
    try:
        outputs = model.outputs
    except (AttributeError, ValueError):  # A subclassed model; an unbuilt Sequential.
        outputs = None
    if outputs is None and isinstance(model, keras.Sequential) and model.layers:
        head: Any = model.layers[-1]
    elif outputs is not None and len(outputs) == 1:
        head = outputs[0]._keras_history.operation
    else:
        return None
    if isinstance(head, keras.Model):
        return _softmax_head(head)
    is_softmax = getattr(head, "activation", None) is keras.activations.softmax or type(head).__name__ == "Softmax"
    return head.name if is_softmax else None


def _endpoint(model: Any) -> Callable[[tf.Tensor], Any] | None:
    if callable(getattr(model, "serve", None)):
        return model.serve
    signatures = getattr(model, "signatures", None) or {}
    for name in _SIGNATURES:
        if name in signatures:
            return _one_input(signatures[name], name)
    if signatures and not callable(model):
        raise UserError(
            f"the SavedModel has the signatures {sorted(signatures)}, none of them {' or '.join(_SIGNATURES)}; pass "
            "the right one as a function of images: lambda x: model.signatures[name](x)['logits']"
        )
    return model if callable(model) else None


def _one_input(signature: Any, name: str) -> Callable[[tf.Tensor], Any]:
    """A signature as a function of one positional argument."""
    inputs = signature.structured_input_signature[1]
    if len(inputs) != 1 or not next(iter(inputs.values())).dtype.is_floating:
        received = ", ".join(f"{key}: {value.dtype.name}" for key, value in sorted(inputs.items()))
        raise UserError(
            f"signature {name!r} of the SavedModel must take one batch of floating-point images, it takes "
            f"({received}); pass a function from float images to logits instead"
        )
    (argument,) = inputs
    return lambda x: signature(**{argument: x})


def _only(output: Any) -> tf.Tensor:
    """The logits of a model that may return them under a name or in a list."""
    if isinstance(output, dict):
        if "logits" in output:
            return output["logits"]
        if len(output) == 1:
            return next(iter(output.values()))
        raise UserError(
            f"the model returns {sorted(output)}, none called 'logits'; pass a function that picks the logits"
        )
    if isinstance(output, list | tuple):
        if len(output) == 1:
            return output[0]
        raise UserError(f"the model returns {len(output)} outputs; pass a function that picks the logits")
    return output
