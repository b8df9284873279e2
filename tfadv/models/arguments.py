"""What every architecture asks of its arguments, checked before Keras meets them."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from tfadv.validation import UserError


def check(shape: Sequence[int], classes: int, smallest: int | None = None, multiple: int = 1) -> None:
    """Refuses a shape or a number of classes that an architecture cannot be built for.

    Args:
        shape: of one input, without the batch axis.
        classes: number of logits.
        smallest: least height and width of an image (height, width, channels); None allows inputs of any rank.
        multiple: what height and width must be a multiple of.

    Raises:
        UserError: says what is allowed.
    """
    sides = shape if isinstance(shape, Sequence) else ()
    whole = bool(sides) and all(isinstance(side, int | np.integer) and side >= 1 for side in sides)
    if smallest is None:
        if not whole:
            raise UserError(f"shape must be a tuple of one or more lengths >= 1, such as (28, 28, 1), got {shape!r}")
    elif not whole or len(sides) != 3 or min(sides[:2]) < smallest or any(side % multiple for side in sides[:2]):
        multiples = f" and multiples of {multiple}" if multiple > 1 else ""
        raise UserError(
            f"shape must be (height, width, channels) with sides >= {smallest}{multiples} for this architecture, "
            f"got {shape!r}; resize the images or take another architecture"
        )
    if classes < 2:
        raise UserError(f"classes must be at least 2, one logit for each, got {classes}")
