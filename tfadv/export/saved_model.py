"""A classifier, and an attack on it, as a SavedModel that runs where `tfadv` is not installed.

Signatures of an exported folder (H, W, C are the model's own):

    serve, serving_default    images float32 [B, H, W, C] in [0, 1]
                              -> logits float32 [B, K], probabilities float32 [B, K], class int32 [B]
    serve_uint8               images uint8 [B, H, W, C] in 0..255 -> the same
    attack (`export_attack`)  images as in serve, labels int32 [B], epsilon float32 [] -> x_adv like images

A signature has one dtype, so there are two of them. In Python, `tf.saved_model.load(DIR).serve(images)` takes both.
"""

from __future__ import annotations

import os
import pathlib
from collections.abc import Callable, Sequence
from typing import Any

import tensorflow as tf

from tfadv.attacks import search
from tfadv.attacks.input_gradient import plain_gradients
from tfadv.export.classifier import Classifier, classifier, explaining_lost_variables, radius_and_step
from tfadv.export.folder import replacing_folder


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
    return _write(classifier(model, image_shape), directory)


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
    radius, step = radius_and_step(config)
    served = classifier(model, image_shape)
    labels, epsilon = tf.TensorSpec([None], tf.int32, name="labels"), tf.TensorSpec([], tf.float32, name="epsilon")

    @tf.function(input_signature=[served.images(), labels, epsilon])
    def attack(images, labels, epsilon):  # type: ignore[no-untyped-def]
        step_size = step * (epsilon / radius)
        with plain_gradients():
            x_adv = search.run(
                config, served.predict, images, labels, epsilon=epsilon, step_size=step_size, every_run=True
            )
        return {"x_adv": x_adv}

    return _write(served, directory, attack)


def _write(served: Classifier, directory: str | os.PathLike, attack: Callable[..., Any] | None = None) -> pathlib.Path:
    """Writes the signatures of a classifier, and `attack` beside them if there is one, to `directory`."""

    @tf.function
    def serve(images):  # type: ignore[no-untyped-def]
        return served.answers(tf.cast(images, tf.float32) / 255.0 if images.dtype == tf.uint8 else images)

    of_floats = serve.get_concrete_function(served.images())
    of_bytes = serve.get_concrete_function(served.images(dtype=tf.uint8))
    signatures = {"serve": of_floats, "serving_default": of_floats, "serve_uint8": of_bytes}
    directory, module = pathlib.Path(directory), tf.Module()
    module.owned, module.serve = served.owned, serve
    if attack is not None:
        module.attack = signatures["attack"] = attack
    with replacing_folder(directory, "saved_model.pb", "a SavedModel") as temporary, explaining_lost_variables():
        tf.saved_model.save(module, str(temporary), signatures=signatures)
    return directory
