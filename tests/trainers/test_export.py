"""The program as a user runs it: what it exports, from which kinds of path, and what it refuses without writing."""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf

from tfadv import models
from tfadv.attacks import Pgd, compiled

ROOT = Path(__file__).resolve().parents[2]

pytestmark = pytest.mark.slow

# Runs the program once for each list of flags, in one process, because importing TensorFlow takes seconds.
ONE_BY_ONE = """
import json, sys
from absl import flags
from trainers import export
for arguments in json.loads(sys.argv[1]):
    for name in flags.FLAGS:
        flags.FLAGS[name].unparse()
    sys.argv = ["export", *arguments]
    try:
        export.run()
    except SystemExit as end:
        print("status", end.code, file=sys.stderr)
"""

IMAGES = np.random.default_rng(0).random([20, 2, 2, 1], np.float32)


def run(*flags, code=None):
    """(status, stdout, stderr) of the program from the root of the clone."""
    program = ["-m", "trainers.export"] if code is None else ["-c", code]
    done = subprocess.run(
        [sys.executable, *program, *flags],
        cwd=ROOT,
        env={**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3"},
        capture_output=True,
        text=True,
        timeout=600,
    )
    return done.returncode, done.stdout, done.stderr


def test_a_run_folder_is_exported_with_an_attack_and_that_export_again_without(linear_model, tmp_path):
    (tmp_path / "run").mkdir()
    linear_model.save(tmp_path / "run" / "model.keras")
    first, second = tmp_path / "first", tmp_path / "second"

    attack = ("--attack=pgd", "--epsilon=0.2", "--step_size=0.05", "--steps=6", "--seed=3")
    status, out, err = run(f"--model={tmp_path / 'run'}", f"--output={first}", *attack)
    assert status == 0, err
    assert f"exported to {first}" in out
    labels = np.argmax(linear_model(IMAGES), axis=1).astype(np.int32)
    config = Pgd(epsilon=0.2, step_size=0.05, steps=6, seed=3)
    exported = models.load(first)
    x_adv = exported.signatures["attack"](
        images=tf.constant(IMAGES), labels=tf.constant(labels), epsilon=tf.constant(0.2)
    )
    np.testing.assert_allclose(x_adv["x_adv"], compiled(linear_model, config)(IMAGES, labels), atol=1e-5)

    status, _, err = run(f"--model={first}", f"--output={second}")
    assert status == 0, err
    again = models.load(second)
    assert set(again.signatures) == {"serve", "serving_default", "serve_uint8"}
    np.testing.assert_allclose(models.predictor(again)(IMAGES), linear_model(IMAGES), atol=1e-6)


BAD_FLAGS = {
    "error: model path 'no/such' does not exist": ["--model=no/such"],
    "error: --attack=pgd needs --epsilon and --step_size": ["--attack=pgd", "--epsilon=0.1"],
    "error: --epsilon needs an attack that takes it": ["--epsilon=0.1"],
    "error: epsilon must be a finite number >= 0": ["--attack=fgm", "--epsilon=-1"],
    "unexpected arguments: ['surplus']": ["surplus"],
}


def test_bad_input_is_one_line_and_status_1_and_writes_nothing(linear_model, tmp_path):
    linear_model.save(tmp_path / "model.keras")
    good = [f"--model={tmp_path / 'model.keras'}", f"--output={tmp_path / 'exported'}"]
    _, _, err = run(json.dumps([[*good, *flags] for flags in BAD_FLAGS.values()]), code=ONE_BY_ONE)
    assert err.count("status 1\n") == len(BAD_FLAGS)
    assert [message for message in BAD_FLAGS if message not in err] == []
    assert "Traceback" not in err
    assert [path.name for path in tmp_path.iterdir()] == ["model.keras"]
