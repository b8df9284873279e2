"""Which class a model sees at every point of a plane through the inputs.

Planes beside an image, spanned by an adversarial direction and a random one, and the whole plane of inputs that have
two features ("Adversarial robustness via label-smoothing", Goibert and Dohmatob, LSV, figure 4a).
"""

from __future__ import annotations

import colorsys
import dataclasses
from collections.abc import Sequence
from typing import Any

import numpy as np
import tensorflow as tf

from tfadv import draws
from tfadv.analysis.batches import BATCH_SIZE, batched, checked, program, slices
from tfadv.attacks.search import Predictor
from tfadv.report.charts import Pictures
from tfadv.report.values import freeze
from tfadv.validation import UserError, check_images, check_labels

# Okabe and Ito's colors without black and yellow (jfly.uni-koeln.de/color, 2008): apart for color-blind readers.
_PALETTE = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9")
_SWATCH = 8
_SMALLEST_DIRECTION = 1e-6


@dataclasses.dataclass(frozen=True, eq=False)
class Decisions:
    """Predictions over planes of inputs, as grids: row 0 is the upper edge, column 0 the left one.

    Attributes:
        title: what the planes are.
        classes: int32 [m, R, R], the class predicted at every point.
        confidence: float32 [m, R, R], its probability.
        labels: m texts, one for each plane.
        marks: for each plane the points to be marked, as (row, column, class); a class of -1 marks in black.
        class_names: K names.
    """

    title: str
    classes: np.ndarray
    confidence: np.ndarray
    labels: tuple[str, ...]
    marks: tuple[tuple[tuple[int, int, int], ...], ...]
    class_names: tuple[str, ...]

    def __post_init__(self) -> None:
        freeze(self, {"classes": np.int32, "confidence": np.float32})

    def charts(self) -> tuple[Pictures, Pictures]:
        """The planes, a color for each class, paler where the model is less sure; and the key of the colors."""
        colors = _colors(len(self.class_names))
        # A probability of 1 / K, the least that a prediction can have, keeps a quarter of the color.
        least = 1 / len(self.class_names)
        strength = 0.25 + 0.75 * np.clip((self.confidence - least) / (1 - least), 0, 1)[..., None]
        images = 1 - strength * (1 - colors[self.classes])
        wide = self.classes.shape[1] // 100  # A dot of one point would be lost in a large grid.
        for image, points in zip(images, self.marks, strict=True):
            for row, column, label in points:
                top, left = max(row - wide, 0), max(column - wide, 0)
                image[top : row + wide + 1, left : column + wide + 1] = 0.5 * colors[label] if label >= 0 else 0.0
        key = np.broadcast_to(colors[:, None, None], (len(colors), _SWATCH, _SWATCH, 3))
        return (
            Pictures(self.title, images, self.labels, columns=4, bounds=(0.0, 1.0)),
            Pictures("Colors of the classes.", key, self.class_names, columns=10, bounds=(0.0, 1.0)),
        )


def decision_slices(
    model: Any,
    x: Any,
    y: Any,
    x_adv: Any,
    *,
    reach: float = 2.0,
    resolution: int = 101,
    seed: int = 0,
    bounds: tuple[float, float] = (0.0, 1.0),
    class_names: Sequence[str] | None = None,
    batch_size: int = BATCH_SIZE,
) -> Decisions:
    """The class at x + a (x_adv - x) + b v for a and b in [-reach, reach], for every image.

    v is a random direction, orthogonal to x_adv - x and of the same 2-norm. The image is marked in the middle, the
    adversarial example at a = 1, to the right of it. Points outside of `bounds` are asked too.

    Args:
        model: a Keras model, a SavedModel or a function from inputs to logits; inference mode.
        x, y: inputs [m, ...] in `bounds`, labels [m] or [m, K]; a few, because each costs resolution^2 predictions.
        x_adv: like x, and different from it in every example.
        reach: how far to go, in lengths of x_adv - x.
        resolution: points along each side, odd so that the image is one of them.
        seed: of v; image i draws from (seed, i).
        class_names: for the pictures; None numbers them.
        batch_size: points at a time.

    Raises:
        UserError: unusable inputs or model, x_adv equal to x or of another shape, fewer than 2 features, or a reach or
            resolution that is none.
    """
    predict, x, classes = checked(model, x, bounds)
    y, x_adv = check_labels(y, len(x), classes), check_images(x_adv, bounds, name="x_adv")
    if x_adv.shape != x.shape or x[0].size < 2:
        raise UserError(
            f"x_adv must have the shape of x, with 2 features or more, got {x_adv.shape} for x of shape {x.shape}"
        )
    if resolution < 3 or resolution % 2 == 0:
        raise UserError(f"resolution must be an odd number >= 3, got {resolution}")
    if not 1 <= reach < np.inf:
        raise UserError(f"reach must be a finite number >= 1, to show the adversarial example, got {reach!r}")
    ahead = x_adv - x
    lengths = np.linalg.norm(ahead.reshape(len(x), -1), axis=1)
    equal = np.flatnonzero(lengths < _SMALLEST_DIRECTION)
    if len(equal):
        raise UserError(
            f"x_adv must differ from x in every row, equal in {equal.tolist()}; "
            "leave out images that are misclassified as they are, or that the attack returns unchanged"
        )
    aside = _orthogonal(ahead, lengths, draws.normal(seed, (np.arange(len(x), dtype=np.int32),), x.shape[1:]).numpy())
    line = np.linspace(-reach, reach, resolution, dtype=np.float32)
    right, up = (each.reshape([-1] + [1] * (x.ndim - 1)) for each in np.meshgrid(line, line[::-1]))
    run = program(_looking(predict))
    parts = [
        [each.numpy() for each in run(image + right[rows] * first + up[rows] * second)]
        for image, first, second in zip(x, ahead, aside, strict=True)
        for rows in slices(resolution**2, batch_size, "decision plane")
    ]
    found, confidence = (
        np.concatenate(column).reshape(-1, resolution, resolution) for column in zip(*parts, strict=True)
    )
    middle = resolution // 2
    adversarial = int(np.abs(line - 1).argmin())
    names = _names(class_names, classes)
    return Decisions(
        "Predictions around images (dot in the middle): to the right the adversarial example (second dot), upwards a "
        "random orthogonal direction of the same length; pale: unsure.",
        found,
        confidence,
        tuple(f"{names[label]} → {names[plane[middle, adversarial]]}" for label, plane in zip(y, found, strict=True)),
        (((middle, middle, -1), (middle, adversarial, -1)),) * len(x),
        names,
    )


def decision_map(
    model: Any,
    x: Any,
    y: Any,
    *,
    resolution: int = 201,
    bounds: tuple[float, float] = (0.0, 1.0),
    class_names: Sequence[str] | None = None,
    batch_size: int = BATCH_SIZE,
) -> Decisions:
    """The class everywhere in the square of inputs with two features, with the examples as dots in their own colors.

    LSV figure 4a: two moons. The first feature runs to the right, the second upwards.

    Args:
        model: a Keras model, a SavedModel or a function from inputs to logits; inference mode.
        x, y: inputs [N, 2] in `bounds`, labels [N] or [N, K].
        resolution: points along each side.
        bounds: (lowest, highest) value of both features.
        class_names: for the pictures; None numbers them.
        batch_size: points at a time.

    Raises:
        UserError: unusable inputs or model, inputs of another shape, or a resolution below 2.
    """
    predict, x, classes = checked(model, x, bounds)
    y = check_labels(y, len(x), classes)
    if x.shape[1:] != (2,):
        raise UserError(f"x must have two features, shape [N, 2], got {x.shape}; use decision_slices for images")
    if resolution < 2:
        raise UserError(f"resolution must be at least 2, got {resolution}")
    line = np.linspace(*bounds, resolution, dtype=np.float32)
    points = np.stack(np.meshgrid(line, line[::-1]), axis=-1).reshape(-1, 2)
    found = batched(program(_looking(predict)), (points,), batch_size=batch_size, label="decision map")
    grid, confidence = (each.reshape(1, resolution, resolution) for each in found)
    places = np.round((x - bounds[0]) / (bounds[1] - bounds[0]) * (resolution - 1)).astype(int)
    marks = tuple(
        (resolution - 1 - int(up), int(right), int(label)) for (right, up), label in zip(places, y, strict=True)
    )
    return Decisions(
        "Predictions over the plane of the inputs; dots: examples in the color of their class; pale: unsure.",
        grid,
        confidence,
        ("",),
        (marks,),
        _names(class_names, classes),
    )


def _looking(predict: Predictor) -> Predictor:
    """points [B, ...] -> (class predicted, its probability), each [B]."""

    def looked(points: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        logits = predict(points)
        return tf.argmax(logits, axis=-1, output_type=tf.int32), tf.reduce_max(tf.nn.softmax(logits), axis=-1)

    return looked


def _orthogonal(ahead: np.ndarray, lengths: np.ndarray, random: np.ndarray) -> np.ndarray:
    """`random` without its part along `ahead`, of the same 2-norm; all [m, ...]."""
    along, free = (each.reshape(len(each), -1).astype(np.float64) for each in (ahead, random))
    along /= np.linalg.norm(along, axis=1, keepdims=True)
    free -= (along * free).sum(axis=1, keepdims=True) * along
    free *= lengths[:, None] / np.linalg.norm(free, axis=1, keepdims=True)
    return free.reshape(ahead.shape).astype(np.float32)


def _names(class_names: Sequence[str] | None, classes: int) -> tuple[str, ...]:
    names = tuple(map(str, range(classes))) if class_names is None else tuple(class_names)
    if len(names) != classes:
        raise UserError(f"class_names must hold one name for each of the {classes} classes, got {len(names)}")
    return names


def _colors(count: int) -> np.ndarray:
    """[count, 3]: the palette, or beyond it evenly spaced hues, every other one darker."""
    if count <= len(_PALETTE):
        return np.array([[int(text[at : at + 2], 16) / 255 for at in (1, 3, 5)] for text in _PALETTE[:count]])
    return np.array([colorsys.hsv_to_rgb(i / count, 0.8, 0.95 if i % 2 else 0.6) for i in range(count)])
