"""kill -9 at twenty random moments of training, of an evaluation and of a reproduction: the result of none.

A process is killed, the next one continues in the same folder and is killed as well, until one comes to its end; then
the next begins in a new folder, until there were twenty kills. Every end is compared with that of a process that was
never killed. `--fault-counts=FOLDER` keeps what happened.
"""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

pytestmark = pytest.mark.slow

ROOT = Path(__file__).resolve().parents[2]
KILLS = 20

# Each is given a folder to work in, says "begun" when it has imported everything, and prints its result last.
WORK = {
    "training": """
from tfadv import models, training
from tfadv.attacks import Fgm
from tfadv.augment import GaussianNoise
from tfadv.training import Experiment, Validation
from tfadv.reproduction.runs import digest
experiment = Experiment(
    "digits", "mlp", augment=(GaussianNoise(0.3),), train_attack=Fgm(0.1), batch_size=20, steps=240, limit=400,
    validation=Validation(Fgm(0.1), every=60, limit=50),
)
print("begun", flush=True)
training.run(experiment, folder, checkpoint_every=20, report=lambda line: None)
rows = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
for row in rows:
    row.pop("images_per_second", None)
print(json.dumps([digest(models.load(folder / name)) for name in ("model.keras", "best.keras")] + rows))
""",
    "evaluation": """
import numpy as np, tensorflow as tf
from tfadv import evaluate
weights = tf.random.stateless_normal([16, 4], [3, 4])
x = np.random.default_rng(0).uniform(0.1, 0.9, [60, 4, 4, 1]).astype(np.float32)
def model(images):
    return tf.reshape(images - 0.5, [-1, 16]) @ weights
print("begun", flush=True)
report = evaluate(model, (x, tf.argmax(model(x), axis=1).numpy()), 0.05, suite="quick", state=folder / "state")
values = report.to_json()
for row in values["rows"]:
    del row["seconds"]
print(json.dumps(values))
""",
    "reproduction": """
from tfadv.reproduction import gallery, run
targets = ["avmixup/theorem2", "feature_smoothing/fig3", "weight_decay/fig4", "label_smoothing_variants/fig1"]
print("begun", flush=True)
run(targets, folder, scale="smoke", report=lambda line: None)
found = [json.loads(path.read_text()) for path in sorted(folder.glob("*/study.json"))]
for study in found:
    for job in study["jobs"].values():
        job.pop("seconds"), job.pop("environment")
print(json.dumps(found, sort_keys=True))
""",
}
PRELUDE = "import json, pathlib, sys\nfolder = pathlib.Path(sys.argv[1])\n"


def begun(kind: str, folder: Path) -> subprocess.Popen:
    """A process that has just begun to work in `folder`."""
    process = subprocess.Popen(
        [sys.executable, "-c", PRELUDE + WORK[kind], str(folder)],
        env={**os.environ, "PYTHONPATH": str(ROOT), "TF_CPP_MIN_LOG_LEVEL": "3", "TF_NUM_INTRAOP_THREADS": "1"},
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    assert process.stdout.readline() == "begun\n"
    return process


@pytest.mark.parametrize("kind", WORK)
def test_whatever_the_moment_of_the_kill_the_result_is_the_same(kind, tmp_path, fault_counts):
    straight = begun(kind, tmp_path / "straight")
    start = time.monotonic()
    expected, _ = straight.communicate(timeout=600)
    seconds = time.monotonic() - start
    assert straight.returncode == 0
    random = np.random.default_rng(0)
    kills = finished = 0
    while kills < KILLS:
        process = begun(kind, tmp_path / f"run {finished}")
        try:
            out, _ = process.communicate(timeout=random.uniform(0, seconds))
        except subprocess.TimeoutExpired:
            process.send_signal(signal.SIGKILL)
            process.communicate()
            kills += 1
            continue
        assert process.returncode == 0
        assert out == expected
        finished += 1
    last, _ = begun(kind, tmp_path / f"run {finished}").communicate(timeout=600)
    assert last == expected
    fault_counts(f"kill -9 during {kind}", injected=KILLS, identical=KILLS)
