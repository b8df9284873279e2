"""A model as every format exports it: one function of images, their shape, and the variables behind it."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

import keras
import numpy as np
import tensorflow as tf

from tfadv.attacks.search import Attack
from tfadv.models import predictor
from tfadv.validation import UserError, check_logits


class Classifier(NamedTuple):
    """A model that can be exported.

    Attributes:
        predict: images float32 [B, H, W, C] in [0, 1] -> logits float32 [B, K], in inference mode.
        image_shape: (H, W, C).
        owned: what holds the model's variables, to be tracked by what is saved.
    """

    predict: Callable[[tf.Tensor], tf.Tensor]
    image_shape: tuple[int, ...]
    owned: Any

    def images(self, batch_size: int | None = None, dtype: Any = tf.float32) -> tf.TensorSpec:
        """A batch of its images; None leaves the number of images open."""
        return tf.TensorSpec([batch_size, *self.image_shape], dtype, name="images")

    def answers(self, images: tf.Tensor) -> dict[str, tf.Tensor]:
        """Logits and probabilities float32 [B, K], and the class int32 [B]."""
        logits = self.predict(images)
        return {
            "logits": logits,
            "probabilities": tf.nn.softmax(logits),
            "class": tf.argmax(logits, axis=-1, output_type=tf.int32),
        }


def classifier(model: Any, image_shape: Sequence[int] | None = None) -> Classifier:
    """`model` as a `Classifier`, asked once to see that it gives logits.

    Args:
        model: a Keras model that gives logits, a loaded SavedModel, or a callable from images to logits.
        image_shape: (H, W, C); None asks the model.

    Raises:
        UserError: a model that gives probabilities, or that does not say its shape where none is given.
    """
    predict = predictor(model)
    sides = _image_shape(model) if image_shape is None else tuple(image_shape)
    check_logits(predict(tf.constant(np.random.default_rng(0).random((2, *sides), np.float32))))
    # Of a Keras model only the variables: its layers would add graphs and metadata that only Keras could use. And those
    # of TensorFlow: what loads into a session (TensorFlow Serving, saved_model_cli) does not restore Keras' wrappers.
    owned = [variable.value for variable in model.variables] if isinstance(model, keras.Model) else model
    return Classifier(predict, sides, owned)


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


def radius_and_step(config: Attack) -> tuple[float, float]:
    """(epsilon, step_size) of an attack that takes its epsilon with each call; step_size is 0 where it has none.

    Raises:
        UserError: no attack, or one without exactly one epsilon > 0 and one step size for all examples.
    """
    if not isinstance(config, Attack):
        raise UserError(f"config must be an attack of tfadv.attacks, such as Pgd(...), got {type(config).__name__}")
    radius, step = getattr(config, "epsilon", None), getattr(config, "step_size", 0.0)
    if radius is None or np.ndim(radius) or np.ndim(step) or not radius > 0:
        raise UserError(
            "config must have one epsilon > 0 and one step_size for all examples, because the exported attack takes "
            f"epsilon with each call and scales its step with it; got epsilon={radius!r}, step_size={step!r}"
        )
    return float(radius), float(step)


@contextlib.contextmanager
def explaining_lost_variables() -> Iterator[None]:
    """Turns TensorFlow's complaint of a variable that nothing holds into a `UserError`."""
    try:
        yield
    except (AssertionError, ValueError) as error:
        if "untracked" not in str(error):
            raise
        raise UserError(
            "model uses variables that it does not own, so they cannot be exported; pass a Keras model, a loaded "
            "SavedModel, or a tf.Module that holds them as attributes"
        ) from error
