"""The training step of a compiled Keras model as StableHLO: TensorFlow says what to train, another XLA trains it."""

from __future__ import annotations

import os
import pathlib
from collections.abc import Sequence

import keras
import tensorflow as tf

from tfadv.attacks.search import check_count
from tfadv.export.classifier import classifier
from tfadv.export.stablehlo import lowered, write
from tfadv.validation import UserError


def export_training_step(
    model: keras.Model, directory: str | os.PathLike, *, batch_size: int, image_shape: Sequence[int] | None = None
) -> pathlib.Path:
    """Writes the program `training_step`, and `classifier` as `export_stablehlo` does; both read the same weights.

    The step is the model's own `train_step`, so that an adversarial method of `tfadv.adversarial` crafts inside of it.
    It takes images float32 [B, H, W, C] in [0, 1] and labels int32 [B], and gives Keras' metrics: means over all steps
    since their variables were zero. The variables of model, optimizer and metrics are arguments, and their new values
    are further results, under their names in weights.npz (Keras' paths); program.json lists those as "updates". The
    model itself is not changed. Random numbers of a step are XLA's: not those of a step without `jit_compile=True`.

    Args:
        model: compiled with an optimizer and a loss.
        directory, image_shape: as in `export_stablehlo`.
        batch_size: images of one step.

    Returns:
        `directory`.

    Raises:
        UserError: a model that is not compiled; and as `export_stablehlo`.
    """
    check_count("batch_size", batch_size)
    if getattr(model, "optimizer", None) is None or getattr(model, "loss", None) is None:
        raise UserError("model must be a Keras model that was compiled with an optimizer and a loss; call compile")
    served = classifier(model, image_shape)
    images, labels = served.images(batch_size), tf.TensorSpec([batch_size], tf.int32)
    # Here, because a function that is compiled cannot make variables.
    model.optimizer.build(model.trainable_variables)
    programs = {
        "classifier": lowered(served.answers, {"images": images}),
        "training_step": lowered(lambda x, y: model.train_step((x, y)), {"images": images, "labels": labels}),
    }
    return write(programs, directory, batch_size)
