"""A network in the framework that Keras runs on in this process (KERAS_BACKEND), as the libraries of it take it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import keras
import numpy as np
import tensorflow as tf

from tfadv.crosscheck.peers import require
from tfadv.crosscheck.torch_models import Classifier, array, images
from tfadv.models import predictor
from tfadv.validation import UserError

# Libraries of PyTorch average the loss over the batch and floor the length of its gradient at 1e-6 to 1e-10, so that
# confident models are attacked with shorter l2 steps. The factor moves that floor out of the way; a power of two
# changes no digit of a gradient, and neither its sign nor its direction see it.
_GRADIENT_FACTOR = 2.0**40


class Network(NamedTuple):
    """What is attacked.

    Attributes:
        model: a Keras model of this process' backend or, with TensorFlow, also a SavedModel.
        shape: of one input, as Keras has it: (H, W, C) or (features,).
        classes: number of logits.
    """

    model: Any
    shape: tuple[int, ...]
    classes: int


def logits(model: Any) -> Callable[[np.ndarray], np.ndarray]:
    """Images [B, ...] -> float32 logits [B, K], both as NumPy arrays, in the framework that Keras runs on."""
    backend = keras.backend.backend()
    if backend == "tensorflow":
        predict = tf.function(predictor(model), autograph=False, reduce_retracing=True)
        return lambda x: predict(tf.constant(x)).numpy()
    if backend == "torch":
        module = torch_module(model)
        with_gradient_off = require("torch", "torch").no_grad()
        return with_gradient_off(lambda x: array(module(images(x))))
    forward = jax_function(model)
    return lambda x: np.asarray(forward(x))


def torch_classifier(network: Network) -> Classifier:
    """The network as the libraries of PyTorch take it: [B, C, H, W] -> logits [B, K]."""
    *sides, channels = network.shape
    return Classifier(torch_module(network.model), (channels, *sides), network.classes)


def torch_module(model: Any) -> Any:
    """A Keras model of the PyTorch backend as a module [B, C, H, W] (or [B, features]) -> float32 logits [B, K].

    It is in inference mode, its parameters take no gradient, and gradients to the images are 2^40 times as long as
    they are.
    """
    torch = require("torch", "torch")

    def forward(x: Any) -> Any:
        x = x.movedim(1, -1) if x.ndim == 4 else x
        if x.requires_grad:
            # Of a view, which is another at each call: hooks of one tensor add up.
            x = x.view_as(x)
            x.register_hook(lambda gradient: _GRADIENT_FACTOR * gradient)
        return _only(model(x, training=False)).float()

    module = torch.nn.Module()
    module.model, module.forward = model, forward
    return module.eval().requires_grad_(False)


def jax_function(model: Any) -> Any:
    """A Keras model of the JAX backend as a compiled function [B, ...] -> float32 logits [B, K]."""
    jax = require("jax", "jax")
    return jax.jit(lambda x: _only(model(x, training=False)).astype("float32"))


def _only(output: Any) -> Any:
    if isinstance(output, dict | list | tuple):
        raise UserError(
            f"the model returns a {type(output).__name__}; outside TensorFlow it must return its logits alone: save "
            "a model of that output"
        )
    return output
