"""An evaluation that was killed continues from its folder to the report that an undisturbed one gives."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf

from tfadv.evaluation import evaluate, subject

DIRECTION = np.array([1.0, -2.0, 0.5, 0.25], np.float32)
X = (0.5 + np.outer(np.linspace(-1, 1, 30), DIRECTION) * 0.15).astype(np.float32).reshape(-1, 2, 2, 1)
DATA = X, (np.linspace(-1, 1, 30) > 0).astype(np.int32)


def linear(x):
    score = tf.linalg.matvec(tf.reshape(x, [-1, 4]) - 0.5, DIRECTION)
    return tf.stack([tf.zeros_like(score), score], axis=1)


def numbers(report):
    """What must not depend on an interruption: everything but the seconds."""
    values = report.to_json()
    for row in values["rows"]:
        del row["seconds"]
    return json.dumps(values)


def test_what_is_finished_is_not_done_again(tmp_path, monkeypatch):
    run, done = subject.Subject._craft, []

    def counted(self, config, rows, on, *rest):
        if len(done) == limit:
            raise KeyboardInterrupt
        done.append((config, tuple(rows), on is None))
        return run(self, config, rows, on, *rest)

    monkeypatch.setattr(subject.Subject, "_craft", counted)
    limit = 3
    with pytest.raises(KeyboardInterrupt):
        evaluate(linear, DATA, 0.1, suite="quick", state=tmp_path / "state")
    first, limit = list(done), 1_000
    resumed = evaluate(linear, DATA, 0.1, suite="quick", state=tmp_path / "state")
    again = done[len(first) :]
    assert again
    assert not set(first) & set(again)
    assert not (tmp_path / "state").exists()
    assert numbers(resumed) == numbers(evaluate(linear, DATA, 0.1, suite="quick"))


@pytest.mark.slow
def test_a_killed_process_continues_to_the_same_report(tmp_path):
    """kill -9 while the first attacks of AutoAttack run, and once more, then to the end."""
    program = [
        sys.executable, "-c",
        "import sys, json; sys.path.insert(0, sys.argv[1]); import test_resumed as t; from tfadv import evaluate;"
        "print('begun', flush=True);"
        "print(t.numbers(evaluate(t.linear, t.DATA, 0.1, suite='standard', state=sys.argv[2])))",
        str(Path(__file__).parent), str(tmp_path / "state"),
    ]  # fmt: skip
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2]), "TF_CPP_MIN_LOG_LEVEL": "3"}
    for finished in (1, 3):
        process = subprocess.Popen(program, env=environment, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
        until = time.monotonic() + 120
        while len(list((tmp_path / "state").glob("*.npz"))) < finished:
            assert process.poll() is None, "it ended before it could be killed"
            assert time.monotonic() < until
            time.sleep(0.01)
        process.send_signal(signal.SIGKILL)
        process.wait()
        process.stdout.close()
    ended = subprocess.run(program, env=environment, capture_output=True, text=True, timeout=300)
    assert ended.returncode == 0, ended.stderr[-2000:]
    assert ended.stdout.splitlines()[-1] == numbers(evaluate(linear, DATA, 0.1, suite="standard"))
    assert not (tmp_path / "state").exists()
