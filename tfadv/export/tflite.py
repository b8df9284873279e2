"""A classifier as a TensorFlow Lite file in whole numbers of 8 bits, and such a file as a model to attack."""

from __future__ import annotations

import contextlib
import os
import pathlib
import re
import threading
import warnings
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import tensorflow as tf

from tfadv import files
from tfadv.export.classifier import classifier, explaining_lost_variables
from tfadv.validation import UserError, check_images


def export_tflite(
    model: Any, path: str | os.PathLike, representative: Any, *, image_shape: Sequence[int] | None = None
) -> pathlib.Path:
    """Writes `model` with int8 weights, activations, input (images) and output (logits): full-integer quantization.

    Real numbers are scale * (q - zero_point); the file says which, for `TfliteClassifier` or another reader.

    Args:
        model, image_shape: as in `export_classifier`.
        path: the file; one that is there is replaced once the new one is complete.
        representative: images float32 [N, H, W, C] in [0, 1] from which the ranges of all activations are taken; a
            hundred or more, as the model will meet them. What is outside of those ranges is cut off.

    Returns:
        `path`.

    Raises:
        UserError: a model that gives probabilities or does not say its shape, representative images of another shape,
            an operation that TensorFlow Lite cannot compute in whole numbers, or a path that cannot be written.
    """
    served = classifier(model, image_shape)
    images = check_images(representative, name="representative")
    if images.shape[1:] != served.image_shape or not len(images):
        expected = ", ".join(map(str, ("N", *served.image_shape)))
        raise UserError(f"representative must be images of the model's shape [{expected}], got {list(images.shape)}")
    logits = tf.function(
        lambda images: {"logits": served.predict(images)}, autograph=False, input_signature=[served.images()]
    )
    module = tf.Module()
    module.owned, module.serve = served.owned, logits
    with _explaining_what_is_lacking(), explaining_lost_variables():
        converter = tf.lite.TFLiteConverter.from_concrete_functions([logits.get_concrete_function()], module)
        converter.experimental_enable_resource_variables = False  # Variables become constants, which can be quantized.
        converter.optimizations = [tf.lite.Optimize.DEFAULT]
        converter.representative_dataset = lambda: ([image[None]] for image in images)
        converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS_INT8]
        converter.inference_input_type = converter.inference_output_type = tf.int8
        content = converter.convert()
        # Operations without a form in whole numbers stay as they were, between conversions.
        tensors = _interpreter(model_content=content).get_tensor_details()
        if any(tensor["dtype"] == np.float32 for tensor in tensors):
            raise UserError("an operation of the model has no form in whole numbers; export it in another format")
    with files.replacing(path) as temporary:
        temporary.write_bytes(content)
    return pathlib.Path(path)


@contextlib.contextmanager
def _explaining_what_is_lacking() -> Iterator[None]:
    try:
        yield
    except UserError:
        raise
    except Exception as error:  # Conversion and calibration raise every type; that of the converter is not public.
        found = re.search(r"'tf\.(\w+)' op", str(error))
        reason = f"operation {found[1]}" if found else " ".join(str(error).split())[:200]
        raise UserError(
            f"TensorFlow Lite cannot convert the model ({reason}); export a SavedModel, or replace that layer"
        ) from error


class TfliteClassifier:
    """A TensorFlow Lite file as a model: for attacks that ask for logits alone, and as the target of `transfer`.

    A call takes and gives what the float model does: images float32 [B, H, W, C] in [0, 1] -> logits float32 [B, K].
    The images are first rounded to the numbers of the input, and the logits are those that the numbers of the output
    stand for. Rounding has no gradient, so none is offered; and XLA cannot compile it: `compiled(..., jit="off")`.

    Args:
        path: a file with one input, images, and one output, logits; whole numbers or real ones.

    Raises:
        UserError: no such file, or not one of a classifier.
    """

    def __init__(self, path: str | os.PathLike) -> None:
        try:
            self._interpreter = _interpreter(model_content=pathlib.Path(path).read_bytes())
        except (OSError, ValueError) as error:
            raise UserError(f"{str(path)!r} is not a TensorFlow Lite file ({error}); name one, or export it") from error
        inputs, outputs = self._interpreter.get_input_details(), self._interpreter.get_output_details()
        if len(inputs) != 1 or len(outputs) != 1 or len(outputs[0]["shape"]) != 2:
            raise UserError(
                f"{str(path)!r} must have one input and one output [batch, classes] to be a classifier, it has "
                f"{len(inputs)} and {len(outputs)}"
            )
        self._input, self._output = inputs[0], outputs[0]
        # A file may be made for a fixed number of images, most often one.
        self._fixed = int(self._input["shape_signature"][0])
        self._lock = threading.Lock()  # An interpreter holds one batch at a time.

    def __call__(self, images: Any) -> tf.Tensor:
        logits = tf.numpy_function(self.logits, [images], tf.float32, stateful=False)
        logits.set_shape([images.shape[0], int(self._output["shape"][1])])
        return logits

    def logits(self, images: np.ndarray) -> np.ndarray:
        """What `__call__` gives, from array to array."""
        size = len(images) if self._fixed < 0 else self._fixed
        rounded = _to_stored(images, self._input)
        with self._lock:
            pieces = [self._batch(rounded[at : at + size]) for at in range(0, len(images), size)]
        return _from_stored(np.concatenate(pieces), self._output)

    def _batch(self, images: np.ndarray) -> np.ndarray:
        count = len(images)
        if self._fixed > count:
            images = np.concatenate([images, np.repeat(images[-1:], self._fixed - count, axis=0)])
        if tuple(self._interpreter.get_input_details()[0]["shape"]) != images.shape:
            self._interpreter.resize_tensor_input(self._input["index"], images.shape)
        self._interpreter.allocate_tensors()
        self._interpreter.set_tensor(self._input["index"], images)
        self._interpreter.invoke()
        return self._interpreter.get_tensor(self._output["index"])[:count]


def _to_stored(values: np.ndarray, tensor: dict[str, Any]) -> np.ndarray:
    """Real numbers as a file stores them."""
    scale, zero = tensor["quantization"]
    if not scale:
        return values.astype(tensor["dtype"])
    limits = np.iinfo(tensor["dtype"])
    return np.clip(np.round(values / scale + zero), limits.min, limits.max).astype(tensor["dtype"])


def _from_stored(stored: np.ndarray, tensor: dict[str, Any]) -> np.ndarray:
    scale, zero = tensor["quantization"]
    values = stored.astype(np.float32)
    return (values - np.float32(zero)) * np.float32(scale) if scale else values


def _interpreter(**content: Any) -> Any:
    """An interpreter of LiteRT where that is installed, or else TensorFlow's own, which is on its way out."""
    try:
        from ai_edge_litert.interpreter import Interpreter
    except ImportError:
        Interpreter = tf.lite.Interpreter
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "(?s).*tf.lite.Interpreter is deprecated")
        return Interpreter(**content)
