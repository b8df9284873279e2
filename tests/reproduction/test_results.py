"""The committed record: what publish copies, what RESULTS.md says, and that it is made from the JSON alone."""

import json

import pytest

from tfadv.reproduction import results
from tfadv.validation import UserError

TABLE = {
    "target": "A paper, table 9",
    "count": 200,
    "paper_steps": 1_000,
    "attacks": {},
    "readings": ["Noise comes last."],
    "cells": [
        {
            "row": "Clean",
            "column": "PGD",
            "paper": 12.5,
            "ours": 10.0,
            "difference": -2.5,
            "interval": [6.2, 15.0],
            "ours_best_iterate": 9.5,
            "step": 80,
            "status": "not comparable: 8% of the schedule",
        }
    ],
    "runs": [
        {
            "row": "Clean",
            "step": 80,
            "seconds_of_training": 90.0,
            "precision": "bfloat16",
            "environment": {"tensorflow": "2.21.0", "processor_cores": "2", "platform": "Linux"},
        }
    ],
    "curve": [
        {"row": "Clean", "step": 80, "count": 200, "accuracy": 0.1, "low": 0.06, "high": 0.15},
        {"row": "Clean", "step": 40, "count": 200, "accuracy": 0.2, "low": 0.15, "high": 0.26},
    ],
}


@pytest.fixture
def output(tmp_path):
    folder = tmp_path / "output"
    folder.mkdir()
    (folder / "table.json").write_text(json.dumps(TABLE), encoding="utf-8")
    (folder / "table.md").write_text("the table", encoding="utf-8")
    return folder


def test_publish_copies_the_table_draws_the_curve_and_writes_the_index(output, tmp_path):
    place = results.publish(output, "paper/table9", tmp_path / "results")
    assert place == tmp_path / "results/paper_table9"
    assert json.loads((place / "table.json").read_text(encoding="utf-8")) == TABLE
    assert (place / "curve.png").read_bytes().startswith(b"\x89PNG")
    assert "<svg" in (place / "curve.svg").read_text(encoding="utf-8")
    index = (tmp_path / "results/RESULTS.md").read_text(encoding="utf-8")
    assert "| Clean | 80 | 12.50 \\| 10.00 (any iterate 9.50) \\| -2.50 |" in index
    assert "not comparable: 8% of the schedule" in index
    assert "- Noise comes last." in index
    assert "| Clean | 80 | 1.5 | bfloat16, successes verified in float32 |" in index


def test_the_index_begins_with_a_list_of_everything_published(output, tmp_path):
    """Tables by the name of their folder, then folders that have a page of their own."""
    record = tmp_path / "results"
    (record / "attacks").mkdir(parents=True)
    (record / "attacks" / "README.md").write_text("# Attacks, measured\n\ntext", encoding="utf-8")
    results.publish(output, "paper/table9", record)
    results.publish(output, "paper/table8", record)
    index = (record / "RESULTS.md").read_text(encoding="utf-8")
    assert [line for line in index.splitlines() if line.startswith("- ") and "](" in line] == [
        "- A paper, table 9: [paper_table8/table.md](paper_table8/table.md)",
        "- A paper, table 9: [paper_table9/table.md](paper_table9/table.md)",
        "- Attacks, measured: [attacks/README.md](attacks/README.md)",
    ]
    assert index.index("- A paper, table 9: ") < index.index('## A paper, table 9\n\nHere "ours" is the paper\'s own')


def test_rows_of_separate_trainings_of_the_source_are_told_apart():
    runs = [{**TABLE["runs"][0], "row": row, "source": source} for row, source in (("A", "x"), ("B", "y"), ("C", "x"))]
    assert "equal settings, for A, C and for B." in results._runs({"runs": runs})
    assert "separate trainings" not in results._runs({"runs": runs[:1]})


def test_the_curve_is_drawn_in_the_order_of_the_steps():
    (curve,) = results.curves(TABLE["curve"]).values()
    assert curve.x == (40, 80)
    assert curve.accuracy == (0.2, 0.1)


def test_a_cell_without_a_printed_number_claims_no_difference():
    cell = {**TABLE["cells"][0], "paper": None, "difference": None, "ours_best_iterate": None}
    assert results._cell(cell) == "– \\| 10.00 \\| –"


def test_nothing_is_published_where_nothing_was_reproduced(tmp_path):
    with pytest.raises(UserError, match="holds no readable table"):
        results.publish(tmp_path, "paper/table9", tmp_path / "results")
    assert not (tmp_path / "results").exists()
