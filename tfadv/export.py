"""A classifier, and an attack on it, as a SavedModel that runs where `tfadv` is not installed.

Signatures of an exported folder (H, W, C are the model's own):

    serve, serving_default    images float32 [B, H, W, C] in [0, 1]
                              -> logits float32 [B, K], probabilities float32 [B, K], class int32 [B]
    serve_uint8               images uint8 [B, H, W, C] in 0..255 -> the same
    attack (`export_attack`)  images as in serve, labels int32 [B], epsilon float32 [] -> x_adv like images
"""

from __future__ import annotations

import contextlib
import os
import pathlib
import shutil
import tempfile
from collections.abc import Iterator, Sequence
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from tfadv.attacks import search
from tfadv.attacks.input_gradient import plain_gradients
from tfadv.models import predictor
from tfadv.validation import UserError, check_logits

_MARK = "saved_model.pb"


def export_classifier(
    model: Any, directory: str | os.PathLike, *, image_shape: Sequence[int] | None = None
) -> pathlib.Path:
    """Writes `model` as a SavedModel with the signatures serve, serving_default and serve_uint8.

    Args:
        model: a Keras model that gives logits, a loaded SavedModel, or a `tf.Module` that is called with images. The
            export holds its variables and its graph in inference mode, not its Python code.
        directory: receives the SavedModel, all of it or nothing. An export that is already there is replaced once
            the new one is complete; any other file or folder with content is refused.
        image_shape: (H, W, C); needed only where the model does not say.

    Returns:
        `directory`, for `tfadv.models.load`.

    Raises:
        UserError: a model that gives probabilities or whose shape or variables cannot be found, or a folder that
            belongs to something else or cannot be written.
    """
    module, signatures = _served(model, image_shape)
    return _write(module, signatures, directory)


def export_attack(
    model: Any, config: search.Attack, directory: str | os.PathLike, *, image_shape: Sequence[int] | None = None
) -> pathlib.Path:
    """Writes what `export_classifier` writes, and the signature attack: (images, labels, epsilon) -> {"x_adv"}.

    Example i of a call starts from (config.seed, restart, i), as in the engine. `epsilon` is given with each call;
    the step keeps its ratio to it, step_size * epsilon / config.epsilon, so that config.epsilon gives the config's own
    attack.

    Args:
        model, directory, image_shape: as in `export_classifier`.
        config: an attack with one epsilon > 0 and, if it has one, one step size for all examples.

    Raises:
        UserError: as in `export_classifier`, or an epsilon of 0 or one for each example.
    """
    module, signatures = _served(model, image_shape)
    radius, step = getattr(config, "epsilon", None), getattr(config, "step_size", 0.0)
    if radius is None or np.ndim(radius) or np.ndim(step) or not radius > 0:
        raise UserError(
            "config must have one epsilon > 0 and one step_size for all examples, because the exported attack takes "
            f"epsilon with each call and scales its step with it; got epsilon={radius!r}, step_size={step!r}"
        )
    images = signatures["serve"].input_signature[0]
    specs = [images, tf.TensorSpec([None], tf.int32, name="labels"), tf.TensorSpec([], tf.float32, name="epsilon")]
    predict = predictor(model)

    @tf.function(input_signature=specs)
    def attack(images, labels, epsilon):  # type: ignore[no-untyped-def]
        step_size = step * (epsilon / radius)
        with plain_gradients():
            x_adv = search.run(config, predict, images, labels, epsilon=epsilon, step_size=step_size, every_run=True)
        return {"x_adv": x_adv}

    module.attack = attack
    return _write(module, {**signatures, "attack": attack}, directory)


def _served(model: Any, image_shape: Sequence[int] | None) -> tuple[tf.Module, dict[str, Any]]:
    """A trackable module that owns the model's variables, and its classifier signatures."""
    predict = predictor(model)
    sides = _image_shape(model) if image_shape is None else tuple(image_shape)
    check_logits(predict(tf.constant(np.random.default_rng(0).random((2, *sides), np.float32))))
    shape = (None, *sides)

    def answers(images: tf.Tensor) -> dict[str, tf.Tensor]:
        logits = predict(images)
        return {
            "logits": logits,
            "probabilities": tf.nn.softmax(logits),
            "class": tf.argmax(logits, axis=-1, output_type=tf.int32),
        }

    @tf.function(input_signature=[tf.TensorSpec(shape, tf.float32, name="images")])
    def serve(images):  # type: ignore[no-untyped-def]
        return answers(images)

    @tf.function(input_signature=[tf.TensorSpec(shape, tf.uint8, name="images")])
    def serve_uint8(images):  # type: ignore[no-untyped-def]
        return answers(tf.cast(images, tf.float32) / 255.0)

    module = tf.Module()
    # Of a Keras model only the variables: its layers would add graphs and metadata that only Keras could use. And those
    # of TensorFlow: what loads into a session (TensorFlow Serving, saved_model_cli) does not restore Keras' wrappers.
    module.owned = [variable.value for variable in model.variables] if isinstance(model, keras.Model) else model
    module.serve, module.serve_uint8 = serve, serve_uint8
    return module, {"serve": serve, "serving_default": serve, "serve_uint8": serve_uint8}


def _image_shape(model: Any) -> tuple[int, ...]:
    """(H, W, C) as the model states it."""
    shape = None
    if isinstance(model, keras.Model):
        with contextlib.suppress(AttributeError, ValueError):  # A subclassed or unbuilt model states none.
            shape = model.input_shape[1:]
    for signature in dict(getattr(model, "signatures", None) or {}).values():
        inputs = list(signature.structured_input_signature[1].values())
        if shape is None and len(inputs) == 1 and inputs[0].dtype.is_floating and inputs[0].shape.rank:
            shape = tuple(inputs[0].shape[1:])
    if shape is None or not all(isinstance(side, int) for side in shape):
        raise UserError(f"the model does not state the shape of its images (found {shape}); pass image_shape=(H, W, C)")
    return tuple(shape)


def _write(module: tf.Module, signatures: dict[str, Any], directory: str | os.PathLike) -> pathlib.Path:
    directory = pathlib.Path(directory)
    with _replacing_folder(directory) as temporary:
        try:
            tf.saved_model.save(module, str(temporary), signatures=signatures)
        except (AssertionError, ValueError) as error:
            if "untracked" not in str(error):
                raise
            raise UserError(
                "model uses variables that it does not own, so they cannot be exported; pass a Keras model, a loaded "
                "SavedModel, or a tf.Module that holds them as attributes"
            ) from error
    return directory


@contextlib.contextmanager
def _replacing_folder(directory: pathlib.Path) -> Iterator[pathlib.Path]:
    """Yields a temporary folder beside `directory`, and puts it in its place if the block ends well.

    Raises:
        UserError: `directory` is a file or another kind of folder, or cannot be written.
    """
    try:
        content = [entry.name for entry in directory.iterdir()] if directory.is_dir() else []
        if (content and _MARK not in content) or directory.is_file():
            kind = "a file" if directory.is_file() else "a folder with other content"
            raise UserError(
                f"directory {str(directory)!r} is {kind}, not a SavedModel, and is left as it is; name a new folder, "
                "or an export to replace"
            )
        directory.parent.mkdir(parents=True, exist_ok=True)
        work = pathlib.Path(tempfile.mkdtemp(prefix=f".{directory.name}-", dir=directory.parent))
        try:
            new, old = work / "new", work / "old"
            new.mkdir()  # Unlike `work`, with the permissions of any other new folder.
            yield new
            if directory.exists():
                directory.rename(old)
            try:
                new.rename(directory)
            except OSError:
                if old.exists():
                    old.rename(directory)
                raise
        finally:
            shutil.rmtree(work, ignore_errors=True)
    except OSError as error:
        reason = error.strerror or error
        raise UserError(f"cannot write {str(directory)!r}: {reason}; name a folder that you may write to") from error
