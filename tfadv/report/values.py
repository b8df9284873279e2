"""Arrays and numbers as JSON values, and back."""

from __future__ import annotations

import base64
import math
import zlib
from collections.abc import Mapping
from typing import Any

import numpy as np


def plain(value: Any, where: str) -> Any:
    """`value` with tuples as lists and NumPy scalars as numbers: exactly what comes back from JSON."""
    if isinstance(value, np.generic | np.ndarray):
        value = value.tolist()
    if value is None or isinstance(value, bool | int | str) or (isinstance(value, float) and math.isfinite(value)):
        return value
    if isinstance(value, Mapping) and all(isinstance(key, str) for key in value):
        return {key: plain(item, f"{where}[{key!r}]") for key, item in value.items()}
    if isinstance(value, tuple | list):
        return [plain(item, f"{where}[{index}]") for index, item in enumerate(value)]
    raise ValueError(f"{where} must be a JSON value (finite numbers, text, lists, dicts with text keys), got {value!r}")


def freeze(record: Any, dtypes: Mapping[str, Any]) -> None:
    """Replaces the named fields of a frozen dataclass by read-only NumPy copies of the given types."""
    for field, dtype in dtypes.items():
        array = np.array(getattr(record, field), dtype=dtype)
        array.setflags(write=False)
        object.__setattr__(record, field, array)


def pack(array: np.ndarray) -> dict[str, Any]:
    """An array as JSON: base64 of the zlib-compressed little-endian float32 values in C order, and the shape."""
    data = zlib.compress(np.ascontiguousarray(array, dtype="<f4").tobytes(), 9)
    return {"shape": list(array.shape), "float32_zlib_base64": base64.b64encode(data).decode("ascii")}


def unpack(data: Mapping[str, Any]) -> np.ndarray:
    """The inverse of `pack`."""
    raw = zlib.decompress(base64.b64decode(data["float32_zlib_base64"], validate=True))
    return np.frombuffer(raw, dtype="<f4").reshape(data["shape"])
