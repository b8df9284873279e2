"""Weights and perturbations as pictures.

"Adversarial training versus weight decay" (Galloway, Tanay and Taylor, WD): weights of linear models (figures 1 and 6)
and the filters of a first convolution (figure 13).
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import keras
import numpy as np

from tfadv.report.charts import Pictures
from tfadv.validation import UserError, check_images


def first_weights(model: keras.Model, *, shape: tuple[int, int, int] | None = None, limit: int = 64) -> Pictures:
    """What the units of the first layer with weights look for: filters of a convolution, or weights of a dense layer.

    All pictures have one scale with 0 in mid-gray, so filters that weight decay has taken to 0 show as gray (WD figure
    13), and the weights of a linear or logistic model are its gradients (WD figures 1 and 6; LSV figure 4b). Of a
    convolution over other than 1 or 3 channels the mean over the channels is shown.

    Args:
        model: a Keras model whose layers are known, functional or Sequential.
        shape: (height, width, channels) of an input, for a dense layer over flattened images; None takes it from the
            model.
        limit: units shown at most, the first of the layer.

    Raises:
        UserError: no layer with weights, one that is neither a convolution nor dense, weights that are not one for each
            pixel of an input, or a limit below 1.
    """
    if limit < 1:
        raise UserError(f"limit must be at least 1, got {limit}")
    layer = _first_with_kernel(model)
    kernel = np.asarray(layer.kernel, np.float32)
    if kernel.ndim == 4:
        images, what = np.moveaxis(kernel, -1, 0), "Filters"
    else:
        side = tuple(shape or model.input_shape[1:])
        if kernel.ndim != 2 or len(side) != 3 or math.prod(side) != len(kernel):
            raise UserError(
                f"shape must be (height, width, channels) of an image with as many values as layer {layer.name!r} has "
                f"inputs, {len(kernel)}, got {side}; pass shape=, or a model whose first layer looks at images"
            )
        images, what = kernel.T.reshape(-1, *side), "Weights"
    images = _shown(images[:limit])
    title = f"{what} of layer {layer.name!r} of {model.name!r}; {_scale(images)}."
    return Pictures(title, images, tuple(map(str, range(len(images)))))


def perturbations(x: Any, x_adv: Any, labels: Any = None, *, bounds: tuple[float, float] = (0.0, 1.0)) -> Pictures:
    """x_adv - x for every image, at one scale with 0 in mid-gray.

    Args:
        x, x_adv: images [m, H, W, C] in `bounds`; a few.
        labels: m texts or classes; None numbers the pictures.

    Raises:
        UserError: no images, or of different shapes, or not one label for each.
    """
    x, x_adv = check_images(x, bounds), check_images(x_adv, bounds, name="x_adv")
    if x.ndim != 4 or not len(x) or x.shape != x_adv.shape:
        raise UserError(f"x and x_adv must be images of one shape [m, H, W, C], got {x.shape} and {x_adv.shape}")
    texts = tuple(map(str, range(len(x)) if labels is None else labels))
    if len(texts) != len(x):
        raise UserError(f"labels must be one for each of the {len(x)} images, got {len(texts)}")
    images = _shown(x_adv - x)
    return Pictures(f"Adversarial perturbations; {_scale(images)}.", images, texts)


def _first_with_kernel(model: keras.Model) -> keras.layers.Layer:
    for layer in _layers(model):
        if isinstance(layer, keras.layers.Conv2D | keras.layers.Dense):
            return layer
    raise UserError(
        f"model must be a built Keras model with a Conv2D or Dense layer, got {type(model).__name__} without one"
    )


def _layers(model: Any) -> Iterator[keras.layers.Layer]:
    """In their order, nested models opened."""
    for layer in getattr(model, "layers", ()):
        yield from _layers(layer) if isinstance(layer, keras.Model) else (layer,)


def _shown(images: np.ndarray) -> np.ndarray:
    """[m, H, W, C] with 1 or 3 channels."""
    return images if images.shape[-1] in (1, 3) else images.mean(axis=-1, keepdims=True)


def _scale(images: np.ndarray) -> str:
    largest = float(np.abs(images).max())
    return f"gray is 0, black and white are -{largest:.3g} and {largest:.3g}"
