"""The program as a user runs it: it trains, continues where it stopped, and says in one line what it cannot do."""

import json

import pytest

from tfadv import models

pytestmark = pytest.mark.slow

SMALL = ["--experiment=quickstart_digits/cheap", "--limit=60", "--checkpoint_every=2"]


@pytest.fixture(scope="module")
def trained(run_program, tmp_path_factory):
    """(folder, runs): four steps, then six in the same folder, with a kept classifier."""
    folder = tmp_path_factory.mktemp("train") / "run"
    flags = [*SMALL, f"--workdir={folder}"]
    return folder, run_program("trainers.train", [*flags, "--steps=4"], [*flags, "--steps=6", "--keep_every=6"])


def test_a_run_shows_its_progress_and_ends_with_its_metrics(trained):
    folder, (first, _) = trained
    assert first.status == 0, first.err
    *lines, last = first.out.splitlines()
    assert [line.split("  ")[0] for line in lines] == ["step 2/4", "step 4/4"]
    metrics = json.loads(last)
    assert metrics["step"] == 4
    assert 0 <= metrics["test_accuracy"] <= 1
    written = json.loads((folder / "experiment.json").read_text())
    assert written["experiment"]["limit"] == 60
    assert written["command"].split(maxsplit=1)[1].startswith("--experiment=quickstart_digits/cheap --limit=60")


def test_asked_for_more_steps_it_continues(trained):
    folder, (_, second) = trained
    assert second.status == 0, second.err
    assert [line.split("  ")[0] for line in second.out.splitlines()[:-1]] == ["resumed at step 4 of 6", "step 6/6"]
    assert json.loads(second.out.splitlines()[-1]) == json.loads((folder / "metrics.json").read_text())
    assert [path.name for path in (folder / "models").iterdir()] == ["step-0000006.keras"]
    assert models.load(folder).count_params() == 857_738  # a run folder is a model path


def test_what_it_cannot_do_is_one_line_and_status_1_and_leaves_files_as_they_were(trained, run_program, tmp_path):
    folder, _ = trained
    before = {path: path.read_bytes() for path in folder.rglob("*") if path.is_file() and path.name != ".lock"}
    new = f"--workdir={tmp_path / 'new'}"
    bad = {
        "error: experiment must be one of attack_strength/natural_small, ": ["--experiment=mnist_trads", new],
        "error: steps must be at least 1, got 0": [*SMALL, new, "--steps=0"],
        "error: batch_size must be at most the 20 training images, got 50": [*SMALL, new, "--limit=20"],
        "error: limit must be a whole number from 1 to 1297": [*SMALL, new, "--limit=99999"],
        f"error: workdir {folder} holds another experiment (seed: 0 there, 3 now)": [
            *SMALL,
            f"--workdir={folder}",
            "--seed=3",
        ],
        "unexpected arguments: ['surplus']": [*SMALL, new, "surplus"],
    }
    ends = run_program("trainers.train", *bad.values())
    assert "; got 'mnist_trads'" in ends[0].err
    for message, end in zip(bad, ends, strict=True):
        assert end.status == 1, message
        assert message in end.err + end.out
        assert "Traceback" not in end.err
        if message.startswith("error"):
            assert len(end.err.splitlines()) == 1
    assert list(tmp_path.iterdir()) == []
    assert {path: path.read_bytes() for path in before} == before
