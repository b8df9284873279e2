"""What a run leaves beside the classifier, unit by unit; test_resuming.py has what becomes of it."""

import json
import platform

import numpy as np
import pytest
import tensorflow as tf

import tfadv
from tfadv.attacks import Pgd
from tfadv.training import Experiment, describe
from tfadv.training.record import Log, claim, environment, restore
from tfadv.validation import UserError

EXPERIMENT = Experiment("digits", "linear", steps=40)


def test_the_environment_names_versions_and_hardware_as_text():
    found = environment()
    assert found["tfadv"] == tfadv.__version__
    assert (found["tensorflow"], found["numpy"]) == (tf.__version__, np.__version__)
    assert found["python"] == platform.python_version()
    assert int(found["processor_cores"]) >= 1
    assert {"keras", "platform"} <= set(found)
    assert all(isinstance(value, str) and value for value in found.values())


# Whose folder it is.


def description_in(folder):
    return json.loads((folder / "experiment.json").read_text())["experiment"]


def test_a_claimed_folder_is_kept_for_fewer_steps_and_rewritten_for_more(tmp_path):
    claim(EXPERIMENT, tmp_path)
    assert description_in(tmp_path) == json.loads(json.dumps(describe(EXPERIMENT)))
    for steps, written in ((30, 40), (40, 40), (50, 50)):
        claim(Experiment("digits", "linear", steps=steps), tmp_path)
        assert description_in(tmp_path)["steps"] == written


def test_methods_with_their_settings_are_compared(tmp_path):
    def trades(beta):
        return Experiment("digits", "linear", method=(("trades", {"attack": Pgd(0.1, 0.05, 2), "beta": beta}),))

    claim(trades(1.0), tmp_path)
    claim(trades(1.0), tmp_path)
    with pytest.raises(UserError, match=r"holds another experiment \(method: .*'beta': 1.0.* there, .*'beta': 2.0"):
        claim(trades(2.0), tmp_path)


# Checkpoints.


def saved(folder, *steps):
    """Checkpoints of these steps, at each of a variable that is equal to the step; the last two are kept."""
    variable = tf.Variable(0.0)
    manager = tf.train.CheckpointManager(tf.train.Checkpoint(value=variable), folder, max_to_keep=2)
    for step in steps:
        variable.assign(step)
        manager.save(checkpoint_number=step)


def test_a_folder_without_a_checkpoint_starts_at_step_0(tmp_path):
    assert restore(tf.train.Checkpoint(value=tf.Variable(0.0)), tmp_path / "absent") == 0


def test_the_newest_checkpoint_that_is_there_is_loaded_and_its_name_is_the_step(tmp_path):
    saved(tmp_path, 10, 20, 30)
    variable = tf.Variable(0.0)
    assert restore(tf.train.Checkpoint(value=variable), tmp_path) == 30
    assert float(variable) == 30
    for file in tmp_path.glob("ckpt-30.*"):
        file.unlink()
    assert restore(tf.train.Checkpoint(value=variable), tmp_path) == 20
    assert float(variable) == 20
    for file in tmp_path.glob("ckpt-20.*"):
        file.unlink()
    assert restore(tf.train.Checkpoint(value=variable), tmp_path) == 0


def test_a_checkpoint_of_something_else_is_refused_by_name(tmp_path):
    saved(tmp_path, 10)
    with pytest.raises(UserError, match=r"ckpt-10 cannot be read \(.+\); remove .*ckpt-10\.\* to go back to the one"):
        restore(tf.train.Checkpoint(other=tf.Variable([0.0, 0.0])), tmp_path)


# The log.


def test_a_row_is_on_disk_at_once(tmp_path):
    log = Log(tmp_path / "metrics.jsonl", 0)
    assert (tmp_path / "metrics.jsonl").read_text() == ""
    log.append({"step": 10, "train_loss": 2.5})
    log.append({"step": 20, "train_loss": 1.5})
    assert (
        tmp_path / "metrics.jsonl"
    ).read_text() == '{"step": 10, "train_loss": 2.5}\n{"step": 20, "train_loss": 1.5}\n'


def test_rows_up_to_the_step_are_kept_also_on_disk(tmp_path):
    path = tmp_path / "metrics.jsonl"
    rows = [{"step": step, "train_loss": step / 10} for step in (10, 20, 30)]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows) + '{"step": 40, "tr')
    assert Log(path, 20).rows == rows[:2]
    assert [json.loads(line) for line in path.read_text().splitlines()] == rows[:2]


def test_the_best_is_the_largest_value_of_its_name_over_all_rows(tmp_path):
    path = tmp_path / "metrics.jsonl"
    log = Log(path, 0)
    assert log.best("accuracy") == float("-inf")
    for row in (
        {"step": 10, "accuracy": 0.25},
        {"step": 20},
        {"step": 30, "accuracy": 0.5},
        {"step": 40, "accuracy": 0.0},
    ):
        log.append(row)
    assert (log.best("accuracy"), log.best("step"), log.best("loss")) == (0.5, 40, float("-inf"))
    assert Log(path, 20).best("accuracy") == 0.25
