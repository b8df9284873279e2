"""What is finished is found again under its own identity and no other; a damaged file counts as none."""

import numpy as np
import pytest

from tfadv.attacks import Pgd
from tfadv.evaluation.finished import Crafted, Finished
from tfadv.validation import UserError

X = np.arange(8, dtype=np.float32).reshape(2, 4) / 8
CRAFTED = Crafted(X, np.array([True, False]), np.array([False, True]), 1.5, 40, 2, "float32")


def test_a_result_comes_back(tmp_path):
    finished = Finished(tmp_path / "state", X, [0.3])
    path = finished.path(Pgd(0.3), np.arange(2))
    assert finished.read(path) is None
    finished.write(path, CRAFTED)
    back = Finished(tmp_path / "state", X, [0.3]).read(path)
    np.testing.assert_array_equal(back.x_adv, X)
    assert back.fooled.tolist() == [True, False]
    assert back.discarded.tolist() == [False, True]
    assert (back.seconds, back.gradients, back.queries, back.precision) == (1.5, 40, 2, "float32")


def test_no_folder_is_made_before_the_first_attack(tmp_path):
    Finished(tmp_path / "state", X)
    assert not (tmp_path / "state").exists()


def test_every_part_of_the_identity_changes_the_place(tmp_path):
    rows = np.arange(2)
    places = {
        Finished(tmp_path, X, [0.3]).path(Pgd(0.3), rows),
        Finished(tmp_path, X, [0.2]).path(Pgd(0.3), rows),
        Finished(tmp_path, X + 1, [0.3]).path(Pgd(0.3), rows),
        Finished(tmp_path, X, [0.3]).path(Pgd(0.3, seed=1), rows),
        Finished(tmp_path, X, [0.3]).path(Pgd(0.3), rows + 1),
        Finished(tmp_path, X, [0.3]).path(Pgd(0.3), rows.astype(np.int8)),
    }
    assert len(places) == 6


@pytest.mark.parametrize("damage", [b"", b"PK\x03\x04 not a zip", b"\x93NUMPY"])
def test_a_damaged_file_counts_as_none(tmp_path, damage):
    finished = Finished(tmp_path, X)
    path = finished.path(Pgd(0.3))
    path.write_bytes(damage)
    assert finished.read(path) is None


def test_a_truncated_file_counts_as_none(tmp_path):
    finished = Finished(tmp_path, X)
    path = finished.path(Pgd(0.3))
    finished.write(path, CRAFTED)
    path.write_bytes(path.read_bytes()[:-40])
    assert finished.read(path) is None


def test_another_attacks_file_counts_as_none(tmp_path):
    """Somebody copied or renamed it."""
    finished = Finished(tmp_path, X)
    path = finished.path(Pgd(0.3))
    finished.write(path, CRAFTED)
    assert finished.read(path) is not None
    assert finished.read(path.rename(finished.path(Pgd(0.2)))) is None


def test_a_folder_that_cannot_be_made_is_an_error_that_says_so(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match="cannot make"):
        Finished(tmp_path / "file" / "state", X).path(Pgd(0.3))
