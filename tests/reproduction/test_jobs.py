"""A classifier is trained once for all who ask, measured as asked, and the result is read back after a kill."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from tfadv.attacks import Fgm, Pgd
from tfadv.experiments import EXPERIMENTS
from tfadv.reproduction import jobs
from tfadv.reproduction.study import Context
from tfadv.training import Experiment
from tfadv.validation import UserError

ROOT = Path(__file__).resolve().parents[2]
SETTINGS = {
    "experiment": "tests/digits",
    "changes": {"steps": 30},
    "attacks": {},
    "limit": 60,
    "precision": "float32",
}


@pytest.fixture
def context(tmp_path, monkeypatch):
    monkeypatch.setitem(EXPERIMENTS, "tests/digits", Experiment("digits", "linear", batch_size=50, steps=10))
    (tmp_path / "work").mkdir()
    lines = []
    return Context(tmp_path / "work", tmp_path / "runs", None, lines.append), lines


def test_changes_are_made_to_a_known_experiment(context):
    assert jobs.experiment_of(SETTINGS).steps == 30
    with pytest.raises(UserError, match="experiment must be one of"):
        jobs.experiment_of({"experiment": "tests/none"})


def test_shares_come_with_their_interval():
    found = jobs.share(np.array([True, True, False, True]))
    assert found["accuracy"] == 0.75
    assert found["interval"][0] < 0.75 < found["interval"][1]


def test_a_job_holds_its_attacks_as_json():
    job = jobs.measured("a", "tests/digits", 3.0, attacks={"FGSM": Fgm(0.2)}, limit=10)
    assert json.loads(json.dumps(job.settings)) == job.settings
    assert job.settings["attacks"]["FGSM"]["class"] == "Fgm"


@pytest.mark.slow
def test_a_classifier_is_trained_once_and_measured(context):
    context, lines = context
    attacks = jobs.measured("a", "", 1.0, attacks={"PGD": Pgd(0.2, 0.05, 5)}).settings["attacks"]
    first = jobs.measure({**SETTINGS, "attacks": attacks}, context)
    assert first["step"] == 30
    assert first["count"] == 60
    assert 0.3 < first["clean"]["accuracy"] <= 1
    assert first["attacks"]["PGD"]["accuracy"] < first["clean"]["accuracy"]
    assert sum("training to 30" in line for line in lines) == 1
    again = jobs.measure({**SETTINGS, "attacks": attacks}, context)
    assert again == first
    assert sum("training to 30" in line for line in lines) == 1
    assert sum("PGD on 60 images" in line for line in lines) == 1


@pytest.mark.slow
def test_the_strong_evaluation_has_a_verdict(context):
    context, _ = context
    found = jobs.measure({**SETTINGS, "standard": 40, "epsilon": 0.1}, context)["standard"]
    assert found["count"] == 40
    assert found["verdict"] in ("trusted", "overestimated", "unverified")
    assert found["accuracy"] <= found["clean"]
    assert next(iter(found["rows"])) == "APGD-CE"
    assert not (context.folder / "standard").exists()


FOLDER = """
import pathlib, sys
from tfadv.experiments import EXPERIMENTS
from tfadv.reproduction import jobs
from tfadv.reproduction.study import Context
from tfadv.training import Experiment
EXPERIMENTS["tests/digits"] = Experiment("digits", "linear", batch_size=50, steps=10)
folder = pathlib.Path(sys.argv[1])
for steps in map(int, sys.argv[2:]):
    settings = {"experiment": "tests/digits", "changes": {"steps": steps}}
    print(jobs.trained_run(settings, Context(folder, folder, None, print)).name)
"""


@pytest.mark.slow
def test_another_process_finds_the_run_and_trains_it_further(tmp_path):
    """An experiment holds a loss, whose address in memory must not name the folder."""

    def names(*steps):
        command = [sys.executable, "-c", FOLDER, str(tmp_path), *map(str, steps)]
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=300, check=True)
        return done.stdout.splitlines()

    first = names(20)
    assert first[0] == "tests/digits: training to 20 steps"
    again = names(20, 40)
    assert again[0] == first[-1]
    assert again[1:3] == ["tests/digits: training to 40 steps", "resumed at step 20 of 40"]
    assert again[-1].rpartition("-")[0] == first[-1].rpartition("-")[0]
    assert sorted(path.name for path in tmp_path.iterdir()) == [first[-1], again[-1]]
