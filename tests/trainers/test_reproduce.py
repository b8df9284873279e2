"""The program as a user runs it: a row of a table at a schedule of seconds, on real MNIST, and what it refuses."""

import json

import pytest

pytestmark = pytest.mark.slow


def test_a_row_is_trained_attacked_and_published(run_program, mnist_dir, tmp_path):
    output, record = tmp_path / "out", tmp_path / "results"
    flags = [
        "--target=feature_smoothing/table1",
        "--scale=smoke",
        "--steps=5",
        "--rows=clean",
        "--limit=50",
        f"--data_dir={mnist_dir}",
        f"--output={output}",
        f"--publish={record}",
    ]
    (end,) = run_program("trainers.reproduce", flags)
    assert end.status == 0, end.err
    assert "independently trained copy: training to 5 steps" in end.out
    assert "Clean: training to 5 steps" in end.out
    assert f"published in {record / 'feature_smoothing_table1'}" in end.out
    table = json.loads((output / "table.json").read_text())
    assert [(cell["row"], cell["column"], cell["paper"]) for cell in table["cells"]] == [
        ("Clean", "PGD", 0.0),
        ("Clean", "PGD-cw", 0.0),
        ("Clean", "black-box PGD", 83.04),
        ("Clean", "black-box PGD-cw", 83.95),
        ("Clean", "Clean", 99.17),
    ]
    assert {(cell["step"], cell["status"]) for cell in table["cells"]} == {(5, "not comparable: 0% of the schedule")}
    assert table["count"] == 50
    assert "| Clean |" in (record / "RESULTS.md").read_text()


def test_what_it_cannot_do_is_one_line_and_status_1_and_leaves_no_file(run_program, tmp_path):
    output = f"--output={tmp_path / 'out'}"
    bad = {
        "error: target must be one of feature_smoothing/table1, ": ["--target=fs/table9", output],
        "error: rows must be among clean, noise, ": ["--target=feature_smoothing/table1", output, "--rows=clean,nois"],
        "unexpected arguments: ['surplus']": ["--target=feature_smoothing/table1", output, "surplus"],
    }
    for message, end in zip(bad, run_program("trainers.reproduce", *bad.values()), strict=True):
        assert end.status == 1, message
        assert message in end.err + end.out
        assert "Traceback" not in end.err
    assert list(tmp_path.iterdir()) == []
