"""State files by themselves: what is written is read back, and only by whom it belongs to."""

import dataclasses
import json

import numpy as np
import pytest

from tfadv.attacks import Adaptive, Pgd, saved
from tfadv.validation import UserError

LOGITS = np.array([[1.0, -2.0], [0.5, 3.0]], np.float32)
ARRAYS = {"x": np.arange(6, dtype=np.float32).reshape(2, 3), "flags": np.array([True, False])}


def loss(x_adv, x, y):
    return x_adv


DATA = (np.zeros(3), None)


def identity(config=None, arrays=DATA, **changes):
    return {**saved.identity(config or Pgd(epsilon=0.1), "float32", 500, arrays), **changes}


def test_what_is_written_is_read_back(tmp_path):
    saved.write(tmp_path / "a.npz", {**identity(), "finished": 3}, LOGITS, ARRAYS)
    about, arrays = saved.read(tmp_path / "a.npz", identity(), LOGITS)
    assert about["finished"] == 3
    assert set(arrays) == set(ARRAYS)
    for name, array in ARRAYS.items():
        np.testing.assert_array_equal(arrays[name], array)
    assert [path.name for path in tmp_path.iterdir()] == ["a.npz"]


def test_no_file_is_no_state(tmp_path):
    assert saved.read(tmp_path / "a.npz", identity(), LOGITS) is None


def test_logits_that_differ_by_rounding_are_the_same_model(tmp_path):
    saved.write(tmp_path / "a.npz", identity(), LOGITS, ARRAYS)
    assert saved.read(tmp_path / "a.npz", identity(), LOGITS + 1e-4) is not None
    with pytest.raises(UserError, match="belongs to another model"):
        saved.read(tmp_path / "a.npz", identity(), LOGITS + 0.1)
    with pytest.raises(UserError, match="belongs to another model"):
        saved.read(tmp_path / "a.npz", identity(), LOGITS[:1])


@pytest.mark.parametrize(
    ("other", "kind"),
    [
        (identity(format=0), "another version of this package"),
        (identity(Pgd(epsilon=0.2)), "another attack"),
        (identity(precision="bfloat16"), "a search in another precision"),
        (identity(arrays=(np.ones(3), None)), "other data"),
        (identity(arrays=(np.zeros(3), np.zeros(1))), "other data"),
    ],
)
def test_a_state_of_something_else_is_refused_by_name(other, kind, tmp_path):
    saved.write(tmp_path / "a.npz", other, LOGITS, ARRAYS)
    with pytest.raises(UserError, match=rf"a\.npz' belongs to {kind}: .*remove this one to begin anew"):
        saved.read(tmp_path / "a.npz", identity(), LOGITS)


def test_a_config_is_described_in_json_and_its_functions_by_name():
    values = saved.describe(Adaptive(epsilon=np.float32(0.5), loss=loss))
    assert json.loads(json.dumps(values)) == values
    assert (values["class"], values["epsilon"]) == ("Adaptive", 0.5)
    assert values["loss"].endswith("test_saved.loss")


def test_a_field_that_json_does_not_know_is_told_by_its_type_not_by_its_address():
    @dataclasses.dataclass
    class Config:
        model: object

    assert saved.describe(Config(object())) == {"class": "Config", "model": "<object>"}
