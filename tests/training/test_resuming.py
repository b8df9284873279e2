"""A run that was killed, grown, damaged or given the wrong folder: the same classifier, or one clear refusal."""

import dataclasses
import json
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import keras
import numpy as np
import pytest
import tensorflow as tf

from tfadv import files, models, training
from tfadv.attacks import Fgm, Pgd
from tfadv.augment import GaussianNoise
from tfadv.losses import LogitSqueezing
from tfadv.training import Experiment, Validation, loop, pipeline, record
from tfadv.training import experiment as experiments
from tfadv.validation import UserError

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def forty(small_net):
    """Forty steps; noise is drawn at each of them."""
    return Experiment("digits", small_net, augment=(GaussianNoise(0.3),), batch_size=10, steps=40, limit=60)


@pytest.fixture(scope="module")
def finished(forty, tmp_path_factory):
    """The folder of `forty`, never interrupted, with a checkpoint at every tenth step; read only."""
    folder = tmp_path_factory.mktemp("finished") / "run"
    resume(forty, folder)
    return folder


@pytest.fixture
def copy(finished, tmp_path):
    """The same folder, free to be changed."""
    return Path(shutil.copytree(finished, tmp_path / "copy"))


def resume(experiment, folder):
    """The lines of progress of a run with a checkpoint at every tenth step."""
    lines = []
    training.run(experiment, folder, checkpoint_every=10, report=lines.append)
    return lines


def rows_of(folder):
    return [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]


def content(folder):
    """Every file below `folder` with its bytes, but for the lock, which names the last process."""
    found = [path for path in folder.rglob("*") if path.is_file() and path.name != ".lock"]
    return {path.relative_to(folder): path.read_bytes() for path in found}


def assert_same_run(folder, other):
    """Bit-equal weights and, but for the speed, equal metrics and log."""

    def numbers(each):
        rows = [json.loads((each / "metrics.json").read_text()), *rows_of(each)]
        return [{key: value for key, value in row.items() if key != "images_per_second"} for row in rows]

    assert numbers(folder) == numbers(other)
    for one, two in zip(models.load(folder).get_weights(), models.load(other).get_weights(), strict=True):
        np.testing.assert_array_equal(one, two)


KILLED = """
import os, signal, sys
import tensorflow as tf
from tfadv import training
from tfadv.training import pipeline
from tests_of_resuming import EXPERIMENT
batches = pipeline.batches

def killing_at_step_27(experiment, x, y, start, stop):
    def kill(step):
        if step == 27:
            os.kill(os.getpid(), signal.SIGKILL)

    def guarded(step, pair):
        with tf.control_dependencies([tf.py_function(kill, [step], [])]):
            return tuple(map(tf.identity, pair))

    return batches(experiment, x, y, start, stop).enumerate(start).map(guarded)

pipeline.batches = killing_at_step_27
training.run(EXPERIMENT, sys.argv[1], checkpoint_every=10)
"""
# The module that both processes take the experiment from: a real network, and every part that draws numbers.
SHARED = """
from tfadv.attacks import Pgd
from tfadv.augment import FeatureSmoothing, GaussianNoise
from tfadv.losses import LogitSqueezing
from tfadv.training import Experiment
EXPERIMENT = Experiment(
    "digits", "small_cnn", LogitSqueezing(weight=0.2), (FeatureSmoothing(new_points=2), GaussianNoise(stddev=0.3)),
    Pgd(0.1, 0.05, 2, keep="last"), learning_rate=1e-3, batch_size=8, steps=40, limit=60,
)
"""


@pytest.mark.slow
def test_a_run_killed_in_the_middle_ends_as_one_that_was_not(tmp_path):
    """SIGKILL while step 27 is being fed; the checkpoint of step 20 is what is left."""
    (tmp_path / "tests_of_resuming.py").write_text(SHARED)
    variables = {}
    exec(SHARED, variables)
    experiment = variables["EXPERIMENT"]
    killed, straight = tmp_path / "killed", tmp_path / "straight"
    process = subprocess.run(
        [sys.executable, "-c", KILLED, str(killed)],
        env={**os.environ, "PYTHONPATH": f"{ROOT}:{tmp_path}"},
        capture_output=True,
        text=True,
        timeout=600,
    )
    assert process.returncode == -signal.SIGKILL, process.stderr
    assert not (killed / "metrics.json").exists()
    assert resume(experiment, killed)[0] == "resumed at step 20 of 40"
    resume(experiment, straight)
    assert_same_run(killed, straight)


def test_a_finished_run_grows_to_the_run_that_was_long_from_the_start(forty, finished, tmp_path):
    resume(dataclasses.replace(forty, steps=20), tmp_path)
    assert resume(forty, tmp_path)[0] == "resumed at step 20 of 40"
    assert_same_run(tmp_path, finished)
    assert json.loads((tmp_path / "experiment.json").read_text())["experiment"]["steps"] == 40


@pytest.mark.slow
def test_a_run_grows_with_everything_that_has_a_state(forty, small_net, tmp_path, monkeypatch):
    """Momentum, averages, decay, the draws of dropout and of the method, the best classifier of before and after."""

    def build(**options):
        *layers, logits = models.MODELS[small_net](**options).layers
        middle = [keras.layers.BatchNormalization(), keras.layers.Dropout(0.3, seed=1)]
        return keras.Sequential([keras.Input(options["shape"]), *layers, *middle, logits])

    monkeypatch.setitem(models.MODELS, "drops", build)
    experiment = dataclasses.replace(
        forty,
        model="drops",
        method=(("trades", {"attack": Pgd(0.1, 0.1, 1), "ramp_steps": 30}), ("awp", {})),
        optimizer="sgd",
        learning_rate=0.5,
        momentum=0.5,
        decay=((15, 0.5), (35, 0.1)),
        average=0.8,
        validation=Validation(Fgm(0.05), every=5, limit=40),
    )
    grown, straight = tmp_path / "grown", tmp_path / "straight"
    resume(dataclasses.replace(experiment, steps=20), grown)
    resume(experiment, grown)
    resume(experiment, straight)
    assert_same_run(grown, straight)
    assert len(rows_of(grown)) == 8
    for one, two in zip(*(models.load(each / "best.keras").get_weights() for each in (grown, straight)), strict=True):
        np.testing.assert_array_equal(one, two)


def test_a_finished_run_is_not_trained_again_nor_cut_down_when_asked_for_fewer_steps(
    forty, copy, finished, monkeypatch
):
    monkeypatch.setattr(loop.Loop, "run", None)  # any training would call it
    for steps in (40, 30):
        assert resume(dataclasses.replace(forty, steps=steps), copy) == [f"resumed at step 40 of {steps}"]
        assert_same_run(copy, finished)
    assert json.loads((copy / "experiment.json").read_text())["experiment"]["steps"] == 40


@pytest.mark.parametrize("where", ["the row", "the checkpoint"])
def test_a_kill_between_the_last_row_and_the_last_checkpoint_changes_nothing(
    forty, finished, tmp_path, monkeypatch, where
):
    """Whichever of the two is written first: killed at that point of the last span, the run ends as it should."""
    owner, name = {
        "the row": (record.Log, "append"),
        "the checkpoint": (tf.train.CheckpointManager, "save"),
    }[where]
    original, calls = getattr(owner, name), []

    def dying(self, *args, **kwargs):
        calls.append(name)
        if len(calls) == 4:
            raise KeyboardInterrupt
        return original(self, *args, **kwargs)

    with monkeypatch.context() as patch:
        patch.setattr(owner, name, dying)
        with pytest.raises(KeyboardInterrupt):
            resume(forty, tmp_path)
    resume(forty, tmp_path)
    assert_same_run(tmp_path, finished)


def test_rows_after_the_checkpoint_and_a_half_written_row_are_dropped(forty, copy, finished):
    """Back to the checkpoint of step 30, with a row of step 40 that was never checkpointed and half of another."""
    for file in (copy / "checkpoints").glob("ckpt-40.*"):
        file.unlink()
    with (copy / "metrics.jsonl").open("a") as stream:
        stream.write('{"step": 50, "train_lo')
    assert resume(forty, copy)[0] == "resumed at step 30 of 40"
    assert [row["step"] for row in rows_of(copy)] == [10, 20, 30, 40]
    assert_same_run(copy, finished)


@pytest.mark.parametrize("damage", ["truncated", "overwritten", "data missing"])
def test_a_checkpoint_that_cannot_be_read_is_named_and_removing_it_goes_back_one(forty, copy, finished, damage):
    (data,) = (copy / "checkpoints").glob("ckpt-40.data*")
    size = data.stat().st_size
    if damage == "data missing":
        data.unlink()
    else:
        data.write_bytes(data.read_bytes()[: size // 2] if damage == "truncated" else b"x" * size)
    before = content(copy)
    with pytest.raises(UserError, match=r"ckpt-40 cannot be read \(.+\); remove .*ckpt-40\.\* to go back") as error:
        resume(forty, copy)
    assert "\n" not in str(error.value)
    assert content(copy) == before
    for file in (copy / "checkpoints").glob("ckpt-40.*"):
        file.unlink()
    resume(forty, copy)
    assert_same_run(copy, finished)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"seed": 1}, r"\(seed: 0 there, 1 now\)"),
        ({"batch_size": 5, "l2": 0.1}, r"\(batch_size: 10 there, 5 now, l2: 0.0 there, 0.1 now\)"),
        ({"augment": (GaussianNoise(0.4),)}, r"\(augment: .*'stddev': 0.3.* there, .*'stddev': 0.4.* now\)"),
        ({"loss": LogitSqueezing(weight=0.2)}, r"\(loss: .*LabelSmoothing.* there, .*LogitSqueezing.* now\)"),
        ({"train_attack": Pgd(0.1, 0.1, 1)}, r"\(train_attack: None there, .*'class': 'Pgd'.* now\)"),
    ],
    ids=["seed", "two", "augment", "loss", "attack"],
)
def test_the_folder_of_another_experiment_is_refused_by_field_and_left_as_it_is(forty, finished, changes, message):
    before = content(finished)
    with pytest.raises(UserError, match=message + "; name another workdir"):
        resume(dataclasses.replace(forty, **changes), finished)
    assert content(finished) == before


def test_a_folder_in_which_a_run_is_at_work_is_refused(forty, copy):
    before = content(copy)
    with files.holding(copy), pytest.raises(UserError, match=r"is in use by process \d+ .*; wait until it has ended"):
        resume(forty, copy)
    assert content(copy) == before


def test_a_folder_written_before_a_field_existed_has_the_default_of_that_field(forty, copy):
    written = json.loads((copy / "experiment.json").read_text())
    for field in ("average", "decay", "method", "momentum", "nesterov", "validation"):
        del written["experiment"][field]
    (copy / "experiment.json").write_text(json.dumps(written))
    assert resume(forty, copy) == ["resumed at step 40 of 40"]
    with pytest.raises(UserError, match=r"\(average: None there, 0.9 now, decay: \[\] there, \[\[5, 0.1\]\] now\)"):
        resume(dataclasses.replace(forty, average=0.9, decay=((5, 0.1),)), copy)


@pytest.mark.parametrize("text", ["{half", "[]", "{}", '{"experiment": []}'])
def test_a_folder_whose_description_is_damaged_is_refused(forty, tmp_path, text):
    (tmp_path / "experiment.json").write_text(text)
    with pytest.raises(UserError, match=r"experiment\.json is not an experiment's description"):
        resume(forty, tmp_path)
    assert content(tmp_path) == {Path("experiment.json"): text.encode()}


def test_a_loss_that_is_no_number_ends_the_run_with_step_and_remedy_and_keeps_the_checkpoint(forty, tmp_path):
    wild = dataclasses.replace(forty, optimizer="sgd", learning_rate=1e30)
    with pytest.raises(
        UserError, match=r"the loss on the examples is (nan|inf) at step 2: lower learning_rate=1e\+30 or use"
    ) as error:
        resume(wild, tmp_path / "wild")
    assert "is kept" not in str(error.value)
    assert not (tmp_path / "wild" / "metrics.json").exists()

    resume(dataclasses.replace(forty, steps=10), tmp_path / "sane")
    (tmp_path / "sane" / "metrics.json").unlink()
    poisoned = dataclasses.replace(forty, steps=20)
    original = pipeline.batches
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(pipeline, "batches", lambda *args: original(*args).map(lambda x, y: (x * 3e38, y)))
        with pytest.raises(UserError, match=r"at step 11: .*; the checkpoint of step 10 is kept in "):
            resume(poisoned, tmp_path / "sane")
    assert [row["step"] for row in rows_of(tmp_path / "sane")] == [10]
    assert resume(poisoned, tmp_path / "sane")[0] == "resumed at step 10 of 20"


@pytest.mark.slow
def test_a_run_whose_loss_scaling_skipped_updates_resumes_at_its_step_and_not_at_their_number(small_net, tmp_path):
    """A loss scale of 2^40 overflows float16 until it was halved a few dozen times; those steps update nothing."""
    experiment = Experiment("digits", small_net, batch_size=10, steps=60, limit=60, precision="mixed_float16")
    build, trainees = experiments.build, []

    def overflowing(trained):
        trainees.append(build(trained))
        trainees[-1].optimizer.dynamic_scale.assign(2.0**40)
        return trainees[-1]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(experiments, "build", overflowing)
        resume(dataclasses.replace(experiment, steps=50), tmp_path / "grown")
        resume(experiment, tmp_path / "straight")
    assert 0 < int(trainees[-1].optimizer.iterations) < 60
    assert resume(experiment, tmp_path / "grown")[0] == "resumed at step 50 of 60"
    assert_same_run(tmp_path / "grown", tmp_path / "straight")
