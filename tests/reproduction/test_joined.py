"""Which evaluation of a row counts, and that evaluations of something else do not."""

import json

import pytest

from tfadv.reproduction import TARGETS
from tfadv.reproduction.joined import newest_evaluations, newest_strong, read_json, settings_of, write_table

TARGET = TARGETS["feature_smoothing/table1"]
COLUMNS = {column.name: {"accuracy": 0.5} for column in TARGET.columns}


def evaluation(key, step, **changes):
    return {
        "row": "Clean",
        "key": key,
        "step": step,
        "count": 100,
        "settings": settings_of(TARGET),
        "columns": COLUMNS,
        "seconds_of_training": 1.0,
        "precision": "float32",
        "source": "s",
        "environment": {},
        **changes,
    }


@pytest.fixture
def folder(tmp_path):
    def write(name, values):
        (tmp_path / name).write_text(json.dumps(values))
        return tmp_path

    return write


def test_the_evaluation_of_most_steps_counts(folder):
    folder("a.json", evaluation("clean", 20))
    folder("b.json", evaluation("clean", 30))
    where = folder("c.json", evaluation("noise", 10))
    found = newest_evaluations(TARGET, [where], 100)
    assert {key: each["step"] for key, each in found.items()} == {"clean": 30, "noise": 10}


@pytest.mark.parametrize("changes", [{"count": 99}, {"settings": []}])
def test_evaluations_of_other_images_or_attacks_are_passed_over(folder, changes):
    assert newest_evaluations(TARGET, [folder("a.json", evaluation("clean", 20, **changes))], 100) == {}


def test_a_damaged_file_is_passed_over(folder):
    where = folder("a.json", evaluation("clean", 20))
    (where / "b.json").write_text("{half")
    assert read_json(where / "b.json") is None
    assert read_json(where / "none.json") is None
    assert list(newest_evaluations(TARGET, [where], 100)) == ["clean"]


def test_a_record_fills_the_rows_that_the_output_lacks(tmp_path):
    for place, key, row in (("record", "noise", "Gaussian random noise"), ("output", "clean", "Clean")):
        (tmp_path / place / "evaluations").mkdir(parents=True)
        path = tmp_path / place / "evaluations" / "a.json"
        path.write_text(json.dumps(evaluation(key, 240_000, row=row)))
    cells = write_table(TARGET, tmp_path / "output", 100, tmp_path / "record")["cells"]
    assert {cell["row"] for cell in cells} == {"Clean", "Gaussian random noise"}
    assert {cell["status"] for cell in cells} == {"the paper's schedule"}
    assert {cell["row"] for cell in write_table(TARGET, tmp_path / "output", 100)["cells"]} == {"Clean"}


STANDARD = {"accuracy": 0.01, "interval": [0.0, 0.05], "count": 100, "verdict": "trusted"}


def test_the_strong_evaluation_of_most_steps_counts(folder):
    folder("standard-clean-b.json", {"key": "clean", "step": 20, "standard": STANDARD})
    where = folder("standard-clean-a.json", {"key": "clean", "step": 30, "standard": STANDARD})
    assert {key: each["step"] for key, each in newest_strong([where]).items()} == {"clean": 30}


@pytest.mark.parametrize(("step", "count"), [(24_000, 1), (12_000, 0)])
def test_a_row_is_shown_beside_its_strong_evaluation_at_the_same_step(tmp_path, step, count):
    where = tmp_path / "evaluations"
    where.mkdir()
    (where / "a.json").write_text(json.dumps(evaluation("clean", 24_000)))
    (where / "standard-clean.json").write_text(json.dumps({"key": "clean", "step": step, "standard": STANDARD}))
    found = write_table(TARGET, tmp_path, 100)["beside"]
    assert len(found) == count
    for line in found:
        assert (line["defense"], line["attack"], line["claimed"], line["ours"]) == ("Clean", "PGD", 0.0, 50.0)
        assert (line["strong"], line["interval"], line["schedule"]) == (1.0, (0.0, 5.0), "10%")
