"""Checks of what a user passes in; every message names the argument, what is allowed, what came, and the remedy."""

from __future__ import annotations

import math
import numbers
import sys
import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
from absl import flags, logging

from tfadv.stopping import end_on_sigterm

# Float rounding of a resized or normalized image may leave the box by a few units in the last place.
_RANGE_TOLERANCE = 1e-5
# Attacks compute in float32, which must hold the square of a radius.
_LARGEST_RADIUS = 1e18
# Flags that say where a program writes; an empty one, as from an unset variable, would be the current folder.
_WRITTEN = ("output", "publish", "work", "workdir")


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
            for name in _WRITTEN:
                if name in flags.FLAGS and flags.FLAGS[name].value == "":
                    raise UserError(f"{name} must name a file or folder, got nothing; write . for the current folder")
            main(argv)
        except UserError as error:
            print(f"error: {' '.join(str(error).split())}", file=sys.stderr)
            return 1
        return 0

    return guarded


def check_bounds(bounds: Any) -> tuple[float, float]:
    """Returns `bounds` as two floats (lowest, highest); either may be infinite, as for an input without limits.

    Raises:
        UserError: not two numbers, NaN, or the lowest is not below the highest.
    """
    pair = real_numbers(bounds)
    if pair.shape != (2,) or not pair[0] < pair[1]:
        raise UserError(f"bounds must be two numbers (lowest, highest), such as (0.0, 1.0), got {bounds!r}")
    return float(pair[0]), float(pair[1])


def as_number(value: Any) -> float:
    """`value` as a float; NaN, which lies in no range, for what is no real number."""
    if isinstance(value, bool) or not isinstance(value, numbers.Real):
        return math.nan
    try:
        return float(value)
    except OverflowError:  # a whole number beyond all floats
        return math.nan


def real_numbers(value: Any) -> np.ndarray:
    """`value` as a float64 array; a single NaN, which lies in no range, for what is no array of real numbers."""
    try:
        array = np.asarray(value)
    except (TypeError, ValueError, OverflowError):
        return np.array(math.nan)
    return array.astype(np.float64) if array.dtype.kind in "fiu" else np.array(math.nan)


def _as_array(name: str, value: Any) -> np.ndarray:
    try:
        return np.asarray(value)
    except (TypeError, ValueError, OverflowError) as error:
        raise UserError(f"{name} must be one array of numbers, got a {type(value).__name__}: {error}") from error


def check_images(x: Any, bounds: tuple[float, float] = (0.0, 1.0), name: str = "x") -> np.ndarray:
    """Returns `x` as a float32 array [B, ...] inside `bounds`, or says what is wrong with it.

    Args:
        x: images or any other inputs, [B, ...] with at least one feature axis; floating point, in input units.
        bounds: (lowest, highest) value that an input may have.
        name: how the caller knows the argument, for the message.

    Raises:
        UserError: not floating point, no batch axis or no features, NaN or infinite, or outside `bounds`; or bounds
            that `check_bounds` refuses.
    """
    array = _as_array(name, x)
    low, high = check_bounds(bounds)
    # bfloat16 has NumPy kind "V", as have records and raw bytes, which are no numbers.
    if array.dtype.kind not in "fV" or not np.can_cast(array.dtype, np.float32, "same_kind"):
        raise UserError(
            f"{name} must be floating-point images in [{low:g}, {high:g}], got dtype {array.dtype}; "
            "divide 8-bit images by 255 first"
        )
    with np.errstate(over="ignore"):  # beyond float32 is infinite, which is refused below
        array = array.astype(np.float32, copy=False)
    if array.ndim < 2 or 0 in array.shape[1:]:
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
        UserError: wrong rank, wrong length, not whole numbers, outside 0..K-1, or weights that choose no class.
    """
    array = _as_array(name, y)
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
        real = array.dtype.kind in "fiub"
        if not real or not (np.isfinite(array) & (array >= 0)).all() or not array.any(axis=1).all():
            values = f"values from {array.min()} to {array.max()}" if real and array.size else f"dtype {array.dtype}"
            raise UserError(
                f"{name} of shape {array.shape} must hold a distribution over the classes in each row (finite, >= 0, "
                f"not all 0), got {values}; or pass class numbers of shape [{count}]"
            )
        array = array.argmax(axis=1)
    if array.dtype.kind == "f":
        if not (np.isfinite(array).all() and (array == np.round(array)).all()):
            raise UserError(
                f"{name} must be whole numbers when its shape is [{count}], got {array.dtype} with fractions or NaN; "
                f"distributions have the shape [{count}, classes]"
            )
    elif array.dtype.kind not in "iu":
        raise UserError(f"{name} must be integers, got dtype {array.dtype}; number the classes from 0")
    # Before the conversion, which would wrap 2**32 to class 0.
    if array.size and (array.min() < 0 or array.max() >= (2**31 if classes is None else classes)):
        top = "the number of classes - 1" if classes is None else str(classes - 1)
        raise UserError(
            f"{name} must lie in 0..{top}, got labels from {array.min()} to {array.max()}; "
            "number the classes from 0, one for each logit"
        )
    return array.astype(np.int32)


def check_epsilon(epsilon: Any, bounds: tuple[float, float], norm: str, *, strict: bool) -> None:
    """Refuses an `epsilon` that is no radius; an linf ball wider than the box is an error or a warning.

    Args:
        epsilon: radius in the image's own units: a number, or one for each example [B].
        strict: True refuses a radius that covers the whole box (as a headline it is always a slip, 8 for 8/255);
            False warns, because an unbounded attack is a legitimate check of an attack.

    Raises:
        UserError: no number, negative, above 1e18 or NaN; with `strict` also wider than the box.
    """
    low, high = check_bounds(bounds)
    values = real_numbers(epsilon)
    if values.ndim > 1 or not ((values >= 0) & (values <= _LARGEST_RADIUS)).all():
        raise UserError(
            f"epsilon must be a finite number >= 0 (or one for each example), at most {_LARGEST_RADIUS:g}, got "
            f"{epsilon!r}; write 8/255 for images in [0, 1]"
        )
    if norm == "linf" and values.size and values.max() > high - low:
        text = (
            f"epsilon {float(values.max()):g} is wider than the whole range [{low:g}, {high:g}] of an image; it is "
            "in the image's own units: write 8/255, not 8"
        )
        if strict:
            raise UserError(text)
        # From here over __post_init__ and __init__ of the config to the line that made it.
        warnings.warn(text, stacklevel=4)


def check_logits(logits: Any, count: int | None = None) -> None:
    """Refuses outputs that are not [B, K] finite numbers, or that are probabilities.

    Args:
        logits: what a model gave for at least one image.
        count: B, where the caller knows how many images there were.

    Raises:
        UserError: wrong rank, one class, another number of rows, NaN, or rows in [0, 1] that sum to 1 (within 1e-5).
    """
    array = np.asarray(logits, dtype=np.float32)
    if array.ndim != 2 or array.shape[1] < 2:
        raise UserError(
            f"the model must give logits of shape [batch, classes >= 2], got {array.shape}; end it in "
            "Dense(classes) without activation, with two outputs for a binary problem"
        )
    if count is not None and len(array) != count:
        raise UserError(f"the model must give one row of logits for each image, got {len(array)} for {count} images")
    if not np.isfinite(array).all():
        raise UserError("the model gives NaN or infinite logits on these images; check its weights and its input range")
    if (array >= 0).all() and (array <= 1).all() and np.allclose(array.sum(axis=1), 1, atol=1e-5):
        raise UserError(
            "the model gives probabilities (each row lies in [0, 1] and sums to 1), but logits are needed: remove the "
            "final softmax, or wrap the model: tfadv.models.from_probabilities(model)"
        )
