"""Run folders: one that has its steps is left alone, one that has fewer continues, one of something else is refused."""

import dataclasses
import json

import numpy as np
import pytest

from tfadv import models, training
from tfadv.reproduction import runs
from tfadv.validation import UserError


@pytest.fixture(scope="module")
def experiment(small_net):
    return training.Experiment("digits", small_net, learning_rate=1e-2, batch_size=20, steps=4, limit=40)


@pytest.fixture(scope="module")
def run(experiment, tmp_path_factory):
    """(folder, lines of progress) of a run that was asked for 4 steps, then for 3, then for 6."""
    folder, lines = tmp_path_factory.mktemp("runs") / "run", []
    for steps in (4, 3, 6):
        asked = dataclasses.replace(experiment, steps=steps)
        assert runs.trained(asked, folder, label="net", report=lines.append) == folder
    return folder, lines


def test_a_run_is_trained_to_the_steps_that_it_lacks_and_not_again(run):
    folder, lines = run
    assert [line.split("  ")[0] for line in lines] == [
        "net: training to 4 steps",
        "step 4/4",
        "net: training to 6 steps",
        "resumed at step 4 of 6",
        "step 6/6",
    ]
    assert runs.read_json(folder / "metrics.json")["step"] == 6


def test_a_finished_run_of_another_experiment_is_not_taken_for_this_one(experiment, run):
    other = dataclasses.replace(experiment, learning_rate=1e-3, steps=1)
    with pytest.raises(UserError, match=r"holds another experiment \(learning_rate: 0.01 there, 0.001 now\)"):
        runs.trained(other, run[0], label="net", report=print)


def test_seconds_of_training_add_up_over_the_sessions(tmp_path):
    """Batches of 50: 10 steps at 100 images/s are 5 s, the next 30 at 500 images/s are 3 s."""
    rows = [{"step": 10, "images_per_second": 100.0}, {"step": 40, "images_per_second": 500.0}]
    (tmp_path / "metrics.jsonl").write_text("".join(f"{json.dumps(row)}\n" for row in rows))
    (tmp_path / "experiment.json").write_text(json.dumps({"experiment": {"batch_size": 50}}))
    assert runs.seconds_of_training(tmp_path) == pytest.approx(8.0)


def test_a_digest_knows_weights_and_not_files(linear_model, tmp_path):
    before = runs.digest(linear_model)
    linear_model.save(tmp_path / "model.keras")
    assert runs.digest(models.load(tmp_path / "model.keras")) == before
    (kernel,) = linear_model.get_weights()
    linear_model.set_weights([np.nextafter(kernel, 9, dtype=np.float32)])
    assert runs.digest(linear_model) != before


def test_a_short_hash_follows_from_the_values_and_not_from_their_order():
    first, same, other = ({"a": 1, "b": [2]}, {"b": [2], "a": 1}, {"a": 1, "b": [3]})
    assert runs.short_hash(first) == runs.short_hash(same) != runs.short_hash(other)
    assert len(runs.short_hash(first)) == 12


def test_what_cannot_be_read_is_none(tmp_path):
    (tmp_path / "half.json").write_text("{half")
    assert runs.read_json(tmp_path / "half.json") is None
    assert runs.read_json(tmp_path / "none.json") is None
