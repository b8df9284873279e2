"""Arrays and numbers survive JSON exactly, and what JSON cannot hold is refused by its place."""

import dataclasses
import json

import numpy as np
import pytest

from tfadv.report.values import freeze, pack, plain, unpack


def test_plain_values_are_exactly_what_comes_back_from_json():
    value = {"a": (1, np.float32(0.5)), "b": np.arange(3), "c": {"d": None, "e": True}, "f": np.array([[1.5]])}
    made = plain(value, "x")
    assert made == {"a": [1, 0.5], "b": [0, 1, 2], "c": {"d": None, "e": True}, "f": [[1.5]]}
    assert json.loads(json.dumps(made)) == made


@pytest.mark.parametrize(
    ("value", "place"),
    [
        ({"a": [1, np.nan]}, r"x\['a'\]\[1\]"),
        ({"a": np.array([np.inf])}, r"x\['a'\]\[0\]"),
        ({"a": {1: 2}}, r"x\['a'\]"),
        ((1, object()), r"x\[1\]"),
        ({"a": b"bytes"}, r"x\['a'\]"),
    ],
)
def test_what_json_cannot_hold_is_refused_by_its_place(value, place):
    with pytest.raises(ValueError, match=f"^{place} must be a JSON value"):
        plain(value, "x")


@pytest.mark.parametrize("shape", [(2, 3, 5, 1), (0, 4, 4, 3), (1, 1)])
def test_an_array_comes_back_bit_for_bit(shape):
    array = np.random.default_rng(0).normal(size=shape).astype(np.float32)
    again = unpack(json.loads(json.dumps(pack(array))))
    assert again.dtype == np.float32
    np.testing.assert_array_equal(again, array)


def test_an_array_is_packed_in_its_logical_order():
    """A transposed view is stored as it reads, not as it lies in memory."""
    array = np.arange(6, dtype=np.float32).reshape(2, 3).T
    np.testing.assert_array_equal(unpack(pack(array)), [[0, 3], [1, 4], [2, 5]])


def test_characters_that_are_no_base64_are_refused():
    with pytest.raises(ValueError):
        unpack({"shape": [1], "float32_zlib_base64": "!!!!"})


def test_frozen_fields_are_copies_that_nobody_can_write():
    @dataclasses.dataclass(frozen=True)
    class Record:
        values: np.ndarray

    given = np.array([1, 2])
    record = Record(given)
    freeze(record, {"values": np.float32})
    given[:] = 0
    assert record.values.dtype == np.float32
    np.testing.assert_array_equal(record.values, [1, 2])
    with pytest.raises(ValueError, match="read-only"):
        record.values[0] = 5
