"""Normalization as the first layer of a classifier, so that images, attacks and epsilon stay in [0, 1]."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import keras

from tfadv.validation import UserError


@keras.saving.register_keras_serializable("tfadv")
class PerImageStandardization(keras.layers.Layer):
    """(p - mean) / max(std, 1 / sqrt(N)) over the N values p = scale x of each image, all channels together.

    The input layer of Madry et al. 2018 (cifar10_challenge: `tf.image.per_image_standardization` of pixels from 0 to
    255), in keras.ops, so that it runs on every Keras backend. `scale` matters to the floor alone: images of a contrast
    below 1 / (scale sqrt(N)) are not blown up to full contrast. A constant image gives zeros and finite gradients.

    Args:
        scale: the highest pixel value of the source's images; ours are in [0, 1].
        dtype: what the layer computes in, also under a mixed policy.
    """

    def __init__(self, scale: float = 255.0, dtype: Any = "float32", **kwargs: Any) -> None:
        super().__init__(dtype=dtype, **kwargs)
        self.scale = scale

    def call(self, inputs: Any) -> Any:
        features = tuple(range(1, len(inputs.shape)))
        pixels = self.scale * inputs
        centered = pixels - keras.ops.mean(pixels, features, keepdims=True)
        variance = keras.ops.mean(keras.ops.square(centered), features, keepdims=True)
        # The floor is on the variance and not on its root, whose slope at 0 is infinite.
        return centered * keras.ops.rsqrt(keras.ops.maximum(variance, 1 / math.prod(inputs.shape[1:])))

    def compute_output_shape(self, input_shape: Any) -> Any:
        return input_shape

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "scale": self.scale}


def _rescaled(scale: float, offset: float) -> list[keras.layers.Layer]:
    return [keras.layers.Rescaling(scale, offset, name="normalization", dtype="float32")]


# float32 whatever the policy: bfloat16 images would lose perturbations of less than half of 1/255.
NORMALIZATIONS: dict[str, Callable[[], list[keras.layers.Layer]]] = {
    "none": list,
    "centered": lambda: _rescaled(1.0, -0.5),
    "signed": lambda: _rescaled(2.0, -1.0),
    "per_image": lambda: [PerImageStandardization(name="normalization")],
}


def normalization(kind: str) -> list[keras.layers.Layer]:
    """The layers, none or one, that prepare images in [0, 1].

    Args:
        kind: "none"; "centered", x - 1/2; "signed", 2 x - 1; "per_image", `PerImageStandardization`.

    Raises:
        UserError: another kind.
    """
    if kind not in NORMALIZATIONS:
        raise UserError(f"normalization must be one of {sorted(NORMALIZATIONS)}, got {kind!r}")
    return NORMALIZATIONS[kind]()
