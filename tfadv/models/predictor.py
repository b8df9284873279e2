"""Any model as one function from images to float32 logits, in inference mode."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any, NamedTuple

import keras
import tensorflow as tf

from tfadv.validation import UserError

# Signatures that a SavedModel may offer, in the order in which they are tried.
_SIGNATURES = ("serve", "serving_default")


class _Endpoint(NamedTuple):
    """What a model is called by, and the shapes of the batches that it says it takes: none if it does not say."""

    call: Callable[[tf.Tensor], Any]
    shapes: tuple[tf.TensorShape, ...] = ()


def predictor(model: Any, signature: str | None = None) -> Callable[[tf.Tensor], tf.Tensor]:
    """Wraps `model` so that `predict(x)` gives float32 logits [B, K] and changes nothing in the model.

    Args:
        model: a Keras model (called with training=False), a loaded SavedModel, or any callable from images to logits.
        signature: which signature of a SavedModel to call; None takes its `serve` endpoint, the signature
            serving_default, or the only one.

    Raises:
        UserError: not callable and without such a signature, a signature that does not take one batch of floating-point
            images, or a Keras model that ends in softmax. A softmax that cannot be seen in the layers is found by
            `tfadv.validation.check_logits` on what the model gives.
    """
    if isinstance(model, keras.Model):
        softmax = softmax_head(model)
        if softmax is not None:
            raise UserError(
                f"model {model.name!r} ends in softmax (layer {softmax!r}), but attacks and losses need logits: build "
                "it without the last activation (its weights stay valid), as tfadv.models.without_softmax(model) does"
            )
    return numbers(model, signature, "logits")


def numbers(model: Any, signature: str | None, output: str) -> Callable[[tf.Tensor], tf.Tensor]:
    """`predictor` for whatever the model gives, probabilities too; of several named outputs that called `output`."""
    if isinstance(model, keras.Model):
        if signature is not None:
            raise UserError(f"signature is for SavedModels, and the model is a {type(model).__name__}; leave it out")
        taken = getattr(model, "input_shape", None)  # A tuple if Sequential or functional, with one input.
        shapes = (tf.TensorShape(taken),) if isinstance(taken, tuple) else ()
        endpoint: _Endpoint | None = _Endpoint(functools.partial(model, training=False), shapes)
    else:
        endpoint = _endpoint(model, signature)
    if endpoint is None:
        raise UserError(
            "model must be a Keras model, a SavedModel, or a function from images to logits, got "
            f"{type(model).__name__}; a path is loaded by tfadv.models.load(path)"
        )
    return functools.partial(_call, model, endpoint, output)


def _call(owner: Any, endpoint: _Endpoint, output: str, x: tf.Tensor) -> tf.Tensor:
    """What an endpoint gives. `owner` keeps a SavedModel alive, whose functions refer to its variables only weakly."""
    try:
        answer = endpoint.call(x)
    except (TypeError, ValueError, tf.errors.InvalidArgumentError) as error:
        if not endpoint.shapes or any(shape.is_compatible_with(x.shape) for shape in endpoint.shapes):
            raise
        taken = " or ".join(sorted({str(shape) for shape in endpoint.shapes}))
        raise UserError(f"x must have the shape that the model takes, {taken}, got {x.shape}") from error
    answer = _floats(_only(answer, output), output)
    # A loop of a graph forgets shapes that one of its steps does not know, as after NumPy's functions.
    if answer.shape.rank is None or (answer.shape.rank == 2 and answer.shape[0] is None):
        answer.set_shape([x.shape[0], None])
    return answer


def softmax_head(model: keras.Model) -> str | None:
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
        return softmax_head(head)
    is_softmax = getattr(head, "activation", None) is keras.activations.softmax or type(head).__name__ == "Softmax"
    return head.name if is_softmax else None


def _endpoint(model: Any, signature: str | None) -> _Endpoint | None:
    signatures = dict(getattr(model, "signatures", None) or {})
    if signature is not None:
        if signature not in signatures:
            there = (
                f"it has {_listed(signatures)}" if signatures else f"a {type(model).__name__} has none: leave it out"
            )
            raise UserError(f"signature must be one of the model's, got {signature!r}; {there}")
        return _one_input(signature, signatures)
    if callable(getattr(model, "serve", None)):
        return _Endpoint(model.serve, _restored_shapes(model.serve))
    for name in _SIGNATURES:
        if name in signatures:
            return _one_input(name, signatures)
    if callable(model):
        return _Endpoint(model, _restored_shapes(model.__call__))
    if len(signatures) == 1:
        return _one_input(next(iter(signatures)), signatures)
    if signatures:
        raise UserError(
            f"the SavedModel has the signatures {_listed(signatures)}, none of them {' or '.join(_SIGNATURES)}; name "
            "the one that gives logits: tfadv.models.load(path, signature='...')"
        )
    return None


def _one_input(name: str, signatures: dict[str, Any]) -> _Endpoint:
    """A signature as a function of one positional argument."""
    function = signatures[name]
    inputs = function.structured_input_signature[1]
    problem = _problem(name, inputs)
    if problem is not None:
        others = {key: each for key, each in signatures.items() if key != name}
        fitting = {key: each for key, each in others.items() if not _problem(key, each.structured_input_signature[1])}
        remedy = f"load(path, signature='...') names another: {_listed(fitting)}" if fitting else problem
        raise UserError(
            f"signature {name!r} of the SavedModel must take one batch of floating-point images, it takes "
            f"({_inputs(inputs)}); {remedy}"
        )
    ((argument, spec),) = inputs.items()

    def call(x: tf.Tensor) -> Any:
        # A signature itself takes any shape, and computes what comes of it.
        return function(**{argument: tf.cast(tf.ensure_shape(x, spec.shape), spec.dtype)})

    return _Endpoint(call, (spec.shape,))


def _restored_shapes(function: Any) -> tuple[tf.TensorShape, ...]:
    """Shapes of the batches that a function of a loaded SavedModel was traced for; none of any other function."""
    inputs = [each.structured_input_signature for each in getattr(function, "concrete_functions", ())]
    return tuple(
        positional[0].shape for positional, _ in inputs if positional and isinstance(positional[0], tf.TensorSpec)
    )


def _problem(name: str, inputs: dict[str, tf.TensorSpec]) -> str | None:
    """What to do about a signature that takes no batch of floating-point images; None where it does."""
    dtypes = [spec.dtype for spec in inputs.values()]
    if len(dtypes) != 1 or not (dtypes[0].is_floating or dtypes[0].is_integer):
        return "pass a function from float images to logits instead"
    ((argument, spec),) = inputs.items()
    if spec.dtype.is_integer:
        return (
            "integers have no gradient: pass a function from float images to logits instead. Attacks that ask for "
            "logits alone (Square, Spsa, HopSkipJump) run on lambda x: "
            f"model.signatures[{name!r}]({argument}=tf.cast(tf.round(255 * x), tf.{spec.dtype.name}))['logits']; for "
            "the others give it the gradient of a stand-in: tfadv.models.bpda(that function, backward=stand_in)"
        )
    if spec.shape.rank and spec.shape[0] is not None:
        return f"it takes {spec.shape[0]} images at a time, no more and no fewer: export it with a batch axis of None"
    return None


def _listed(signatures: dict[str, Any]) -> str:
    """Names, inputs and outputs: "classify(x: float32 [None, 4]) -> classes, scores"."""

    def one(name: str, function: Any) -> str:
        outputs = function.structured_outputs
        given = ", ".join(sorted(outputs)) if isinstance(outputs, dict) else "unnamed"
        return f"{name}({_inputs(function.structured_input_signature[1])}) -> {given}"

    return "; ".join(one(name, signatures[name]) for name in sorted(signatures))


def _inputs(inputs: dict[str, tf.TensorSpec]) -> str:
    def shape(spec: tf.TensorSpec) -> str:
        return "" if spec.shape.rank is None else f" {spec.shape.as_list()}"

    return ", ".join(f"{key}: {spec.dtype.name}{shape(spec)}" for key, spec in sorted(inputs.items()))


def _floats(output: Any, wanted: str) -> tf.Tensor:
    try:
        output = tf.convert_to_tensor(output)
    except (TypeError, ValueError) as error:
        raise UserError(f"the model must give {wanted} as one tensor, got {type(output).__name__}") from error
    if not (output.dtype.is_floating or output.dtype.is_integer):
        raise UserError(f"the model must give {wanted} as real numbers, got {output.dtype.name}")
    return tf.cast(output, tf.float32)


def _only(output: Any, wanted: str) -> tf.Tensor:
    """The logits (the `wanted`) of a model that may return them under a name or in a list."""
    if isinstance(output, dict):
        if wanted in output:
            return output[wanted]
        if len(output) == 1:
            return next(iter(output.values()))
        raise UserError(
            f"the model returns {sorted(output)}, none called {wanted!r}; pass a function that picks the {wanted}"
        )
    if isinstance(output, list | tuple):
        if len(output) == 1:
            return output[0]
        raise UserError(f"the model returns {len(output)} outputs; pass a function that picks the {wanted}")
    return output
