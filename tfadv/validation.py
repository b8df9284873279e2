"""Checks of what a user passes in; every message names the argument, what is allowed, what came, and the remedy."""

from __future__ import annotations

import sys
import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
from absl import flags, logging

from tfadv.stopping import end_on_sigterm

# Float rounding of a resized or normalized image may leave the box by a few units in the last place.
_RANGE_TOLERANCE = 1e-5


class UserError(ValueError):
    """An error that the caller can mend; programs print it as one line and end with status 1."""


def exit_cleanly(main: Callable[[list[str]], Any]) -> Callable[[list[str]], int]:
    """Wraps a program's `main(argv)`: a `UserError` becomes one line on standard error and exit status 1.

    Use as `app.run(exit_cleanly(main))`; every other exception keeps its traceback, because it is ours to mend. SIGTERM
    ends the program as `tfadv.stopping` says.
    """

    # TensorFlow logs a line for each checkpoint; a program shows its own progress. --verbosity still wins.
    logging.set_verbosity(logging.WARNING)
    # Absl looks for a program's own flags and help under the main module, which is a stub in an installed command.
    program = sys.modules[main.__module__]
    if program.__name__ != "__main__":
        sys.modules["__main__"].__doc__ = program.__doc__
        for flag in flags.FLAGS.flags_by_module_dict().get(program.__name__, ()):
            flags.FLAGS.register_key_flag_for_module(sys.argv[0], flag)

    def guarded(argv: list[str]) -> int:
        end_on_sigterm()
        try:
            main(argv)
        except UserError as error:
            print(f"error: {' '.join(str(error).split())}", file=sys.stderr)
            return 1
        return 0

    return guarded


def check_images(x: Any, bounds: tuple[float, float] = (0.0, 1.0), name: str = "x") -> np.ndarray:
    """Returns `x` as a float32 array [B, ...] inside `bounds`, or says what is wrong with it.

    Args:
        x: images or any other inputs, [B, ...] with at least one feature axis; floating point, in input units.
        bounds: (lowest, highest) value that an input may have.
        name: how the caller knows the argument, for the message.

    Raises:
        UserError: not floating point, no batch axis, NaN or infinite, or outside `bounds`.
    """
    array = np.asarray(x)
    low, high = bounds
    if array.dtype.kind not in "fV":  # bfloat16 has NumPy kind "V"
        raise UserError(
            f"{name} must be floating-point images in [{low:g}, {high:g}], got dtype {array.dtype}; "
            "divide 8-bit images by 255 first"
        )
    array = array.astype(np.float32, copy=False)
    if array.ndim < 2:
        raise UserError(
            f"{name} must have a batch axis and at least one feature axis, got shape {array.shape}; "
            "pass one image as image[None]"
        )
    if array.size and not np.isfinite(array).all():
        bad = int((~np.isfinite(array.reshape(len(array), -1))).any(axis=1).sum())
        raise UserError(
            f"{name} must be finite, got NaN or infinity in {bad} of {len(array)} images; drop or repair them"
        )
    if array.size:
        smallest, largest = float(array.min()), float(array.max())
        if smallest < low - _RANGE_TOLERANCE or largest > high + _RANGE_TOLERANCE:
            hint = "divide by 255" if largest > 1.5 and high == 1.0 else "rescale it, or pass bounds=(low, high)"
            raise UserError(
                f"{name} must lie in [{low:g}, {high:g}], got values from {smallest:g} to {largest:g}; {hint}"
            )
    return array


def check_labels(y: Any, count: int, classes: int | None = None, name: str = "y") -> np.ndarray:
    """Returns integer labels int32 [B]; dense labels [B, K] become the class of largest weight.

    Args:
        y: integer labels [B] or [B, 1], or float distributions [B, K].
        count: B, the number of images they belong to.
        classes: K, when the number of logits is known.

    Raises:
        UserError: wrong rank, wrong length, not whole numbers, or outside 0..K-1.
    """
    array = np.asarray(y)
    if array.ndim == 2 and array.shape[1] == 1:
        array = array[:, 0]
    if array.ndim not in (1, 2) or len(array) != count:
        raise UserError(
            f"{name} must be one integer label for each of the {count} images (shape [{count}]) or one distribution "
            f"(shape [{count}, classes]), got shape {array.shape}"
        )
    if array.ndim == 2:
        if classes is not None and array.shape[1] != classes:
            raise UserError(f"{name} must have {classes} columns, one for each logit, got {array.shape[1]}")
        array = array.argmax(axis=1)
    if array.dtype.kind == "f":
        if not (np.isfinite(array).all() and (array == np.round(array)).all()):
            raise UserError(
                f"{name} must be whole numbers when its shape is [{count}], got {array.dtype} with fractions or NaN; "
                f"distributions have the shape [{count}, classes]"
            )
    elif array.dtype.kind not in "iu":
        raise UserError(f"{name} must be integers, got dtype {array.dtype}; number the classes from 0")
    array = array.astype(np.int32)
    if array.size and (array.min() < 0 or (classes is not None and array.max() >= classes)):
        top = "the number of classes - 1" if classes is None else str(classes - 1)
        raise UserError(
            f"{name} must lie in 0..{top}, got labels from {array.min()} to {array.max()}; "
            "number the classes from 0, one for each logit"
        )
    return array


def check_epsilon(epsilon: Any, bounds: tuple[float, float], norm: str, *, strict: bool) -> None:
    """Refuses a negative, NaN or infinite `epsilon`; an linf ball wider than the box is an error or a warning.

    Args:
        epsilon: radius in the image's own units: a number, or one for each example [B].
        strict: True refuses a radius that covers the whole box (as a headline it is always a slip, 8 for 8/255);
            False warns, because an unbounded attack is a legitimate check of an attack.

    Raises:
        UserError: as above.
    """
    values = np.asarray(epsilon, dtype=np.float64)
    if values.ndim > 1 or not np.isfinite(values).all() or (values < 0).any():
        raise UserError(
            f"epsilon must be a finite number >= 0 (or one for each example), got {epsilon!r}; write 8/255 for images "
            "in [0, 1]"
        )
    low, high = bounds
    if norm == "linf" and values.size and values.max() > high - low:
        text = (
            f"epsilon {float(values.max()):g} is wider than the whole range [{low:g}, {high:g}] of an image; it is "
            "in the image's own units: write 8/255, not 8"
        )
        if strict:
            raise UserError(text)
        # From here over __post_init__ and __init__ of the config to the line that made it.
        warnings.warn(text, stacklevel=4)


def check_logits(logits: Any) -> None:
    """Refuses outputs that are not [B, K] finite numbers, or that are probabilities.

    Args:
        logits: what a model gave for at least one image.

    Raises:
        UserError: wrong rank, one class, NaN, or rows in [0, 1] that sum to 1 (within 1e-5).
    """
    array = np.asarray(logits, dtype=np.float32)
    if array.ndim != 2 or array.shape[1] < 2:
        raise UserError(
            f"the model must give logits of shape [batch, classes >= 2], got {array.shape}; end it in "
            "Dense(classes) without activation, with two outputs for a binary problem"
        )
    if not np.isfinite(array).all():
        raise UserError("the model gives NaN or infinite logits on these images; check its weights and its input range")
    if (array >= 0).all() and (array <= 1).all() and np.allclose(array.sum(axis=1), 1, atol=1e-5):
        raise UserError(
            "the model gives probabilities (each row lies in [0, 1] and sums to 1), but logits are needed: remove the "
            "final softmax, or wrap the model: tfadv.models.from_probabilities(model)"
        )
