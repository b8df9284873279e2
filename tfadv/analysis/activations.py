"""How large the logits and the units of a layer are, and how many units do anything at all.

"Label smoothing and logit squeezing" (Shafahi et al., LSQ), figures 2, 8 and 9.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from tfadv.analysis.batches import BATCH_SIZE, batched, check_models, checked, program, slices
from tfadv.analysis.histograms import histogram
from tfadv.attacks.search import Predictor
from tfadv.report.charts import Chart, Series
from tfadv.report.values import freeze
from tfadv.validation import UserError

PENULTIMATE, LOGITS = "penultimate", "logits"


def logits(model: Any, x: Any, *, bounds: tuple[float, float] = (0.0, 1.0), batch_size: int = BATCH_SIZE) -> np.ndarray:
    """Logits of all inputs, float32 [N, K].

    Args:
        model: a Keras model, a SavedModel or a function from inputs to logits; inference mode.
        x: inputs [N, ...] in `bounds`.
        batch_size: images at a time.

    Raises:
        UserError: unusable inputs or model.
    """
    predict, x, _ = checked(model, x, bounds)
    return batched(program(lambda x: (predict(x),)), (x,), batch_size=batch_size, label="logits")[0]


def logit_chart(models: Mapping[str, np.ndarray]) -> Chart:
    """Histogram of |z_k| over all images and classes, as in LSQ figure 2.

    Args:
        models: name of the model -> its logits [N, K].

    Raises:
        UserError: no model.
    """
    values = {name: np.abs(each) for name, each in models.items()}
    return histogram("Size of the logits.", "|z_k|", values, of="pairs of image and class")


@dataclasses.dataclass(frozen=True, eq=False)
class Activations:
    """How active the units of one layer are on a data set.

    Attributes:
        layer: which one, "penultimate", "logits", or its name in the model.
        mean: float64 [units], mean over the images of |activation|.
        largest: float32 [units], the largest |activation| on any image.
    """

    layer: str
    mean: np.ndarray
    largest: np.ndarray

    def __post_init__(self) -> None:
        freeze(self, {"mean": np.float64, "largest": np.float32})

    @property
    def inactive(self) -> int:
        """Units that are 0 on every image."""
        return int((self.largest == 0).sum())

    @property
    def cumulative(self) -> np.ndarray:
        """Sums of the means of the 1, 2, ... most active units, [units]: flat from where the rest does nothing."""
        return np.cumsum(np.sort(self.mean)[::-1])


def activations(
    model: Any,
    x: Any,
    layer: str = PENULTIMATE,
    *,
    bounds: tuple[float, float] = (0.0, 1.0),
    batch_size: int = BATCH_SIZE,
) -> Activations:
    """Mean absolute activation of every unit of a layer; every entry of its output counts as a unit.

    LSQ figures 8 and 9 show their cumulative sums. Departures: means in place of sums over the images, so that numbers
    of images do not matter; and units in falling order, where the paper does not say which it takes.

    Args:
        model: a Keras model; for "logits" also a SavedModel or a function.
        x: inputs [N, ...] in `bounds`.
        layer: "penultimate", the input of the model's last Dense layer; "logits", what the model gives; or the name of
            a layer, whose output it is.
        batch_size: images at a time.

    Raises:
        UserError: unusable inputs or model, or no such layer.
    """
    predict, x, _ = checked(model, x, bounds)
    run = program(_sums(predict if layer == LOGITS else _up_to(model, layer)))
    total, largest = np.zeros(()), np.zeros(())
    for rows in slices(len(x), batch_size, f"activations of {layer}"):
        sums, maxima = (each.numpy() for each in run(x[rows]))
        # float64 across batches: a float32 sum over ten thousand images would depend on their order.
        total, largest = total + sums.astype(np.float64), np.maximum(largest, maxima)
    return Activations(layer, total / len(x), largest)


def _sums(output: Predictor) -> Predictor:
    def sums(x: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        found = tf.abs(tf.cast(output(x), tf.float32))
        found = tf.reshape(found, [tf.shape(found)[0], -1])
        return tf.reduce_sum(found, axis=0), tf.reduce_max(found, axis=0)

    return sums


def _up_to(model: Any, name: str) -> Predictor:
    """The Keras model up to the layer, as a function."""
    if not isinstance(model, keras.Model):
        raise UserError(
            f"layer {name!r} needs a Keras model, got {type(model).__name__}; of other models only layer='logits' is "
            "known"
        )
    try:
        if name == PENULTIMATE:
            dense = [layer for layer in model.layers if isinstance(layer, keras.layers.Dense)]
            output = dense[-1].input
        else:
            output = model.get_layer(name).output
        part = keras.Model(model.inputs, output)
    except (AttributeError, IndexError, ValueError) as error:
        # A subclassed model has no graph of layers; a layer may be used twice, or be missing.
        names = [layer.name for layer in model.layers]
        raise UserError(
            f"layer must be 'penultimate' (of a model with a Dense layer), 'logits', or one of {names} in a functional "
            f"or Sequential model that shares no layer with another model, got {name!r}"
        ) from error
    return lambda x: part(x, training=False)


def activation_chart(models: Mapping[str, Activations]) -> Chart:
    """Cumulative sums as in LSQ figures 8 and 9, one series for each model; the title says how many units are inactive.

    Raises:
        UserError: no model, or different layers.
    """
    check_models(models)
    layers = {each.layer for each in models.values()}
    if len(layers) > 1:
        raise UserError(f"models must show one layer to share an axis, got {sorted(layers)}; draw a chart for each")
    inactive = ", ".join(f"{name} {each.inactive} of {len(each.mean)}" for name, each in models.items())
    return Chart(
        f"Cumulative sum of the mean absolute activations of layer {layers.pop()!r}. Inactive units: {inactive}.",
        "units, the most active first",
        "sum of mean |activation|",
        {name: Series(tuple(range(1, len(each.mean) + 1)), tuple(each.cumulative)) for name, each in models.items()},
    )
