"""What the constructors of the losses share: checks of numbers, numbers for a configuration, and names."""

from __future__ import annotations

import math
import re
from typing import Any

from tfadv.validation import UserError, as_number


def check_weight(value: Any, name: str = "weight", remark: str = "0 is plain cross-entropy") -> float:
    """Returns `value` as a Python float, or raises UserError unless it is a finite number >= 0."""
    number = as_number(value)
    if not 0.0 <= number < math.inf:
        raise UserError(f"{name} must be a finite number >= 0, got {value!r}; {remark}")
    return number


def check_at_least(value: Any, least: float, name: str, remark: str) -> float:
    """Returns `value` as a Python float >= `least`, where infinity (also as "inf") is allowed, or raises UserError."""
    number = math.inf if isinstance(value, str) and value == "inf" else as_number(value)
    if not number >= least:
        raise UserError(f"{name} must be a number >= {least:g} or 'inf', got {value!r}; {remark}")
    return number


def for_config(number: float) -> float | str:
    """`number`, or "inf": JSON has no infinity."""
    return "inf" if number == math.inf else number


def snake_case(class_name: str) -> str:
    """LogitSqueezing -> logit_squeezing. Keras would number a second loss of a class, so that configurations differ."""
    return re.sub(r"(?<!^)(?=[A-Z])", "_", class_name).lower()
