"""The program as a user runs it: four stages, runs that are kept, a record, and what it refuses in one line."""

import json

import keras
import numpy as np
import pytest

from tfadv import data

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def linear(tmp_path_factory):
    """A classifier of digits whose weights are the class means."""
    x, y = data.arrays("digits", "train")
    inputs = keras.Input((28, 28, 1))
    dense = keras.layers.Dense(10)
    classifier = keras.Model(inputs, dense(keras.layers.Flatten()(inputs)), name="linear")
    means = np.stack([x[y == label].mean(axis=0).ravel() for label in range(10)], axis=1)
    dense.set_weights([means, -0.5 * (means**2).sum(axis=0)])
    path = tmp_path_factory.mktemp("autoattack") / "linear.keras"
    classifier.save(path)
    return path


def test_it_prints_the_stages_keeps_its_runs_and_writes_the_record(run_program, linear, tmp_path):
    flags = [f"--model={linear}", "--dataset=digits", "--epsilon=0.05", "--limit=20", f"--work={tmp_path / 'work'}"]
    flags += [f"--output={tmp_path / 'record' / 'digits.json'}", "--name=the linear net"]
    first, second = run_program("attacks.autoattack", flags, flags)
    assert first.status == second.status == 0
    assert "robust accuracy after each stage, % | clean | apgd-ce | apgd-t | fab-t | square |" in first.out
    assert "ours, float32, seed 0, square:" in first.out
    # The second run only reads what the first one kept.
    assert "square:" not in second.out
    assert second.out.splitlines()[-3:] == first.out.splitlines()[-3:]
    kept = {"ours-float32-0.npz", "ours-bfloat16-0.npz", "about.npz"}
    assert {path.name for path in (tmp_path / "work").iterdir()} == kept
    found = json.loads((tmp_path / "record" / "digits.json").read_text())
    robust = found["runs"]["ours, float32, seed 0"]["robust"]
    assert robust == sorted(robust, reverse=True)
    assert len(robust) == 5
    assert found["examples"] == 20
    assert "## AutoAttack by stages: the linear net, linf 0.05, 20 images" in (
        tmp_path / "record" / "README.md"
    ).read_text(encoding="utf-8")


def test_what_it_cannot_do_is_one_line_and_status_1(run_program, linear, tmp_path):
    common = ["--dataset=digits", f"--work={tmp_path}", "--limit=4"]
    missing, source = run_program(
        "attacks.autoattack",
        [f"--model={tmp_path / 'none.keras'}", "--epsilon=0.1", *common],
        [f"--model={linear}", "--epsilon=0.1", f"--published={tmp_path}", *common],
    )
    assert missing.status == source.status == 1
    assert "none.keras" in missing.err
    assert "must be a folder with autoattack/autoattack.py" in source.err
    for ended in (missing, source):
        assert "Traceback" not in ended.err


def test_runs_of_another_model_ball_or_number_of_examples_are_not_taken_for_these(run_program, linear, tmp_path):
    """And nothing is written by a call that is refused."""
    other = keras.Sequential([keras.Input((28, 28, 1)), keras.layers.Flatten(), keras.layers.Dense(10)])
    other.save(tmp_path / "other.keras")
    work, given = tmp_path / "work", [f"--model={linear}", "--dataset=digits", "--epsilon=0.05", "--limit=4"]
    changes = {
        "": [],
        "belongs to another model": [f"--model={tmp_path / 'other.keras'}"],
        "belongs to another attack: its attack is": ["--epsilon=0.06"],
        "belongs to other data": ["--limit=5"],
        "seeds must be whole numbers from 0 to 2147483647, such as 0,1,2, got '0,x'": ["--seeds=0,x"],
        "output must end in .json": ["--output=record.txt"],
    }
    ends = run_program("attacks.autoattack", *[[*given, f"--work={work}", *flags] for flags in changes.values()])
    assert [end.status for end in ends] == [0, 1, 1, 1, 1, 1]
    for message, end in zip(changes, ends, strict=True):
        assert message in end.err
        assert "Traceback" not in end.err
