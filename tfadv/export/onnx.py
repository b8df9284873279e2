"""A classifier as an ONNX file, for ONNX Runtime and whatever else reads the format; tf2onnx converts it."""

from __future__ import annotations

import contextlib
import logging
import os
import pathlib
from collections.abc import Iterator, Sequence
from typing import Any

import tensorflow as tf

from tfadv import files
from tfadv.export.classifier import classifier
from tfadv.validation import UserError

# The newest set of operations that tf2onnx 1.17 writes.
_OPSET = 18


def export_onnx(model: Any, path: str | os.PathLike, *, image_shape: Sequence[int] | None = None) -> pathlib.Path:
    """Writes `model` as one ONNX file: images float32 [B, H, W, C] in [0, 1] -> logits, probabilities, class.

    These are the outputs of `serve` (`tfadv.export.export_classifier`). The weights are constants in the file.

    Args:
        model, image_shape: as in `export_classifier`.
        path: the file; one that is there is replaced once the new one is complete.

    Returns:
        `path`.

    Raises:
        UserError: tf2onnx is not installed, or has nothing for an operation of the model; a model that gives
            probabilities or does not say its shape; or a path that cannot be written.
    """
    try:
        import onnx
        import tf2onnx
    except ImportError as error:
        raise UserError(f'ONNX needs the package tf2onnx ({error}); pip install "tfadv[onnx]"') from error
    served = classifier(model, image_shape)
    serve = tf.function(served.answers, autograph=False, input_signature=[served.images()])
    with _quiet_converter():
        converted, _ = tf2onnx.convert.from_function(serve, input_signature=[served.images()], opset=_OPSET)
    content = converted.SerializeToString()
    try:
        # The converter leaves in the file, as it is, what it has nothing for.
        onnx.checker.check_model(content)
    except onnx.checker.ValidationError as error:
        reason = " ".join(str(error).split())[:200]
        raise UserError(
            f"the model has an operation that ONNX lacks ({reason}); export a SavedModel, or replace that layer"
        ) from error
    with files.replacing(path) as temporary:
        temporary.write_bytes(content)
    return pathlib.Path(path)


@contextlib.contextmanager
def _quiet_converter() -> Iterator[None]:
    """Inside the block tf2onnx reports nothing: the check of its result does."""
    logger = logging.getLogger("tf2onnx")
    before = logger.level
    logger.setLevel(logging.CRITICAL + 1)
    try:
        yield
    finally:
        logger.setLevel(before)
