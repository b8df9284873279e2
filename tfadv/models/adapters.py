"""Models as attacks need them: a gradient where there is none, logits where a model gives probabilities."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from tfadv.models.predictor import numbers, softmax_head
from tfadv.validation import UserError

# The smallest normal float32: below it processors round a probability to 0.
SMALLEST = float(np.finfo(np.float32).tiny)
# Softmax in bfloat16, rounded to eight binary digits, may miss a sum of 1 by so much.
_SUM_TOLERANCE = 1e-2


def bpda(
    forward: Callable[[Any], Any], backward: Callable[[tf.Tensor], tf.Tensor] | None = None, *, numpy: bool = False
) -> Callable[[tf.Tensor], tf.Tensor]:
    """A function with the value of `forward` and the gradient of `backward`.

    Backward pass differentiable approximation (Athalye, Carlini and Wagner 2018, arXiv:1802.00420, section 4.1): a
    defense g without a useful gradient is run as it is on the way forward and replaced by a differentiable stand-in on
    the way back; the identity serves where g(x) is close to x (quantization, JPEG, denoising). With it
    `lambda x: model(bpda(quantize)(x))` is a model like any other, and what fools it fools `model(quantize(x))`. Where
    it is the model itself that has no gradient, `bpda(model, backward=stand_in)` gives its logits with the gradient of
    another model.

    Args:
        forward: images [B, ...] -> what the model gets, of any type of number; it may draw random numbers.
        backward: images [B, ...] -> floating point of the same shape as what `forward` gives; None is the identity.
        numpy: `forward` takes and gives NumPy arrays, and is called from graphs as it is. XLA cannot do that: attack
            such a model with jit="off" (the default on a CPU), and not as an export.

    Returns:
        images -> like `backward(images)`. The value is that of `forward` to the last bit (what is added to it is
        b - b for the finite b of `backward`), eagerly, in graphs, under XLA and in a SavedModel.

    Raises:
        UserError: not functions; when called, two shapes or types that do not fit.
    """
    for name, function in (("forward", forward), ("backward", backward)):
        if not callable(function) and not (name == "backward" and function is None):
            raise UserError(f"{name} must be a function of images, got {type(function).__name__}")

    def wrapped(x: tf.Tensor) -> tf.Tensor:
        x = tf.convert_to_tensor(x)
        stand_in = x if backward is None else tf.convert_to_tensor(backward(x))
        if numpy:
            value = tf.numpy_function(lambda images: _array(forward(images), stand_in.dtype), [x], stand_in.dtype)
            value = tf.ensure_shape(value, stand_in.shape)
        else:
            try:
                value = forward(x)
            except (NotImplementedError, AttributeError) as error:  # What NumPy's functions and methods raise.
                reason = str(error).splitlines()[0]
                raise UserError(f"forward cannot take a tensor ({reason}); if it is NumPy, say numpy=True") from error
        return _with_gradient_of(stand_in, value)

    return wrapped


def _array(value: Any, dtype: tf.DType) -> np.ndarray:
    return np.asarray(value).astype(dtype.as_numpy_dtype)


def _with_gradient_of(stand_in: Any, value: Any) -> Any:
    """`value` in the type of `stand_in`, with its gradient; both in terms of Keras, so symbolic tensors will do."""
    if not keras.backend.is_float_dtype(keras.backend.standardize_dtype(stand_in.dtype)):
        raise UserError(
            f"backward must give floating point, which alone has gradients, got {stand_in.dtype}; pass float images, "
            "and let forward make integers of them"
        )
    ops = keras.ops
    value = ops.stop_gradient(ops.cast(value, stand_in.dtype))
    if not _alike(tuple(value.shape), tuple(stand_in.shape)):
        raise UserError(
            f"forward and backward must give the same shape, got {tuple(value.shape)} and {tuple(stand_in.shape)}; "
            "without a backward, forward must keep the shape of the images"
        )
    return value + (stand_in - ops.stop_gradient(stand_in))


def _alike(one: tuple[int | None, ...], other: tuple[int | None, ...]) -> bool:
    return len(one) == len(other) and all(None in pair or pair[0] == pair[1] for pair in zip(one, other, strict=True))


@keras.saving.register_keras_serializable("tfadv")
class Bpda(keras.layers.Layer):
    """`bpda` as a layer: in front of a model, or inside it in place of a layer without gradient.

    Args:
        forward, backward: as in `bpda`, in keras.ops or TensorFlow. Registered functions
            (`keras.saving.register_keras_serializable`) are saved with the model; a lambda is refused when it is
            loaded.
        dtype: what the images are computed in, also under a mixed policy.
    """

    def __init__(self, forward: Any, backward: Any = None, dtype: Any = "float32", **kwargs: Any) -> None:
        super().__init__(dtype=dtype, **kwargs)
        self.forward, self.backward = forward, backward

    def call(self, inputs: Any) -> Any:
        return _with_gradient_of(inputs if self.backward is None else self.backward(inputs), self.forward(inputs))

    def get_config(self) -> dict[str, Any]:
        functions = {"forward": self.forward, "backward": self.backward}
        return {
            **super().get_config(),
            **{key: keras.saving.serialize_keras_object(function) for key, function in functions.items()},
        }

    @classmethod
    def from_config(cls, config: dict[str, Any], custom_objects: Any = None) -> Bpda:
        functions = {
            key: keras.saving.deserialize_keras_object(config[key], custom_objects=custom_objects)
            for key in ("forward", "backward")
        }
        return cls(**{**config, **functions})


def without_softmax(model: keras.Model) -> keras.Model:
    """The Keras model without the softmax at its end: the same layers, so exactly the logits that it normalizes.

    Nothing of what saturation took is missing, which makes it the better remedy wherever it is possible.

    Args:
        model: Sequential or functional, with one output that a softmax gives: an activation of the last layer, a layer
            or an operation of its own, or the end of a model inside.

    Returns:
        A functional model from the same inputs. Its layers are those of `model`, weights included; only a last layer
        with the softmax as its activation is a copy without it.

    Raises:
        UserError: no such model, one without weights yet, or one that ends otherwise.
    """
    head = softmax_head(model) if isinstance(model, keras.Model) else None
    if head is None:
        raise UserError(
            f"model must be a Sequential or functional Keras model that ends in softmax, got {_described(model)}; one "
            "that gives logits needs no change, any other that gives probabilities is for "
            "tfadv.models.from_probabilities"
        )
    outputs = _outputs(model)
    if outputs is None:
        raise UserError(f"model {model.name!r} has no weights yet; load them, or call it on images, before")
    operation, node, _ = outputs[0]._keras_history
    before = operation._inbound_nodes[node].input_tensors[0]
    if isinstance(operation, keras.Model):
        logits = without_softmax(operation)(before)
    elif type(operation).__name__ == "Softmax" or isinstance(operation, keras.layers.Activation):
        logits = before
    else:
        last = type(operation).from_config({**operation.get_config(), "activation": "linear"})
        logits = last(before)
        last.set_weights(operation.get_weights())
    inputs = model.inputs[0] if len(model.inputs) == 1 else model.inputs
    return keras.Model(inputs, logits, name=model.name)


def _outputs(model: keras.Model) -> Any:
    try:
        return model.outputs
    except (AttributeError, ValueError):  # An unbuilt Sequential.
        return None


def _described(model: Any) -> str:
    return f"the model {model.name!r}" if isinstance(model, keras.Model) else type(model).__name__


def from_probabilities(model: Any, minimum: float = SMALLEST, *, signature: str | None = None) -> Any:
    """A model that ends in softmax, or in one sigmoid, as one that gives logits.

    A Keras model whose softmax can be seen is rebuilt without it (`without_softmax`, exact, and nothing below applies).
    Of any other the logits are log p, which is z minus a constant for the z before the softmax: cross-entropy, margin,
    DLR and the prediction are those of z. Of one column p = P(class 1) they are (log(1 - p), log p).

    What is lost is what the softmax lost: in float32 a p below 1.2e-38 is 0, and its class has no gradient any more; a
    leading p within 3e-8 of 1 is exactly 1. Where one class leads all others by more than 87 in z, no class has a
    gradient left, the margin's included, and the example looks robust to every attack by gradients, though it need not
    be; in float16, and for class 1 of one column, that begins at a lead of 17. An evaluation then warns of vanishing
    gradients: believe what asks for predictions alone (HopSkipJump), transfer, or a model rebuilt from its weights.

    Args:
        model: a Keras model, a loaded SavedModel, or a function from images to probabilities [B, K] or [B, 1]. Of
            several named outputs that of the name "probabilities" is taken.
        minimum: p is raised to it, in (0, 1), so that no logarithm is infinite.
        signature: as in `predictor`.

    Returns:
        A Keras model, or else a `tf.Module` to be called on images: both are models for everything here. Rows that are
        no probabilities (outside [0, 1], or of another sum than 1) are refused, or, inside a graph, become NaN, which
        attacks refuse.

    Raises:
        UserError: as in `predictor`; a minimum outside (0, 1); when called, outputs that are no probabilities.
    """
    if not 0 < minimum < 1:
        raise UserError(
            f"minimum must be a probability in (0, 1), got {minimum!r}; leave it out for the smallest float32"
        )
    if isinstance(model, keras.Model) and softmax_head(model) is not None and _outputs(model) is not None:
        return without_softmax(model)
    return LogProbabilities(model, minimum, signature)


class LogProbabilities(tf.Module):
    """log p of a model that gives probabilities; see `from_probabilities`, which makes it."""

    def __init__(self, model: Any, minimum: float, signature: str | None) -> None:
        super().__init__(name="log_probabilities")
        # Kept as an attribute, so that an export of this module finds the variables.
        self.model, self.minimum = model, max(minimum, SMALLEST)
        self._probabilities = numbers(model, signature, "probabilities")

    def __call__(self, x: tf.Tensor) -> tf.Tensor:
        p = self._probabilities(tf.convert_to_tensor(x))
        if p.shape.rank == 2 and p.shape[1] == 1:
            p = tf.concat([1 - p, p], axis=1)
        sums_to_1 = tf.abs(tf.reduce_sum(p, axis=-1, keepdims=True) - 1) <= _SUM_TOLERANCE
        sound = sums_to_1 & tf.reduce_all((p >= 0) & (p <= 1), axis=-1, keepdims=True)
        if tf.executing_eagerly() and not bool(tf.reduce_all(sound)):
            raise UserError(
                "the model gives no probabilities (rows in [0, 1] that sum to 1): if these are logits, use the model "
                "as it is"
            )
        return tf.where(sound, tf.math.log(tf.maximum(p, self.minimum)), float("nan"))
