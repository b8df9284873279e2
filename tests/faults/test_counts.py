"""The record of what was injected: every count under its own head, also beside those of an earlier run."""

import json


def test_later_counts_are_joined_to_earlier_ones_column_by_column(fault_counts, pytestconfig, tmp_path, monkeypatch):
    monkeypatch.setattr(pytestconfig.option, "fault_counts", str(tmp_path))
    fault_counts("b", injected=7, identical=4, clear_error=3)
    fault_counts("a", injected=2, identical=2)
    fault_counts("c", injected=1, clear_error=1)
    rows = [line for line in (tmp_path / "README.md").read_text().splitlines() if line.startswith("| ")][2:]
    assert rows == ["| a | 2 | 2 | 0 | 0 |", "| b | 7 | 4 | 3 | 0 |", "| c | 1 | 0 | 1 | 0 |"]
    assert json.loads((tmp_path / "counts.json").read_text())["b"]["clear_error"] == 3
