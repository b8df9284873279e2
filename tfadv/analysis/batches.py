"""What every analysis begins with: its inputs checked, and its programs run a batch at a time, in float32."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import tensorflow as tf

from tfadv import devices
from tfadv.attacks.engine import Programs
from tfadv.attacks.search import Predictor
from tfadv.models.predictor import predictor
from tfadv.progress import Progress
from tfadv.validation import UserError, check_images, check_logits

BATCH_SIZE = 500
_FIRST_LOOK = 32


def checked(model: Any, x: Any, bounds: tuple[float, float] = (0.0, 1.0)) -> tuple[Predictor, np.ndarray, int]:
    """The model as a function to logits, its inputs as an array [N, ...], and the number of classes.

    Raises:
        UserError: inputs that are none, or a model that gives no logits on the first of them.
    """
    predict, x = predictor(model), check_images(x, bounds)
    if not len(x):
        raise UserError("x must hold at least one image, got an empty batch")
    logits = predict(tf.constant(x[:_FIRST_LOOK]))
    check_logits(logits)
    return predict, x, int(logits.shape[-1])


def program(function: Callable[..., Any]) -> Callable[..., Any]:
    """`function` of tensors [B, ...] as one graph for every B, with products in float32 whatever the caller has set."""
    traced = Programs(tf.function(function, autograph=False), any_batch=True)

    def run(*arrays: Any) -> Any:
        with devices.matrix_products(bfloat16=False):
            return traced(*arrays)

    return run


def slices(count: int, batch_size: int, label: str) -> Iterator[slice]:
    """The rows 0..count - 1, at most `batch_size` at a time; shows its progress under `label` when it takes long.

    Raises:
        UserError: a batch size below 1.
    """
    if batch_size < 1:
        raise UserError(f"batch_size must be at least 1, got {batch_size}")
    progress = Progress(label)
    for at in range(0, count, batch_size):
        yield slice(at, min(at + batch_size, count))
        progress(min(at + batch_size, count), count)
    progress.close()


def batched(
    run: Callable[..., Any], arrays: Sequence[np.ndarray], *, batch_size: int, label: str
) -> tuple[np.ndarray, ...]:
    """All rows of what `run`, which returns a tuple of tensors [B, ...], makes of `arrays` [N, ...]."""
    parts = [
        [each.numpy() for each in run(*(array[rows] for array in arrays))]
        for rows in slices(len(arrays[0]), batch_size, label)
    ]
    return tuple(np.concatenate(column) for column in zip(*parts, strict=True))


def wrong_class(y: np.ndarray, rank: int) -> np.ndarray:
    """The wrong class number `rank` of each example, int32 [B]: counted from 0 in their order, without the true one."""
    return (rank + (rank >= y)).astype(np.int32)


def check_models(models: Mapping[str, Any]) -> None:
    """Refuses to draw a chart of no model."""
    if not models:
        raise UserError("models must hold at least one result under the name of its model, got none")
