"""The program as a user runs it: the table, the JSON, and the exit status of agreement, disagreement and bad flags."""

import json
import os
import subprocess
import sys
from pathlib import Path

import keras
import numpy as np
import pytest

ROOT = Path(__file__).resolve().parents[2]

pytestmark = pytest.mark.slow

# CleverHans whose single step goes down instead of up, so that the libraries must disagree.
DOWNHILL = """
import runpy, sys
import cleverhans.tf2.attacks.fast_gradient_method
fgm = sys.modules["cleverhans.tf2.attacks.fast_gradient_method"]
right = fgm.optimize_linear
fgm.optimize_linear = lambda grad, eps, norm: -right(grad, eps, norm)
runpy.run_module("attacks.crosscheck", run_name="__main__", alter_sys=True)
"""

# TensorFlow and CleverHans alone, which are there wherever these tests run; each process takes seconds.
TWO_LIBRARIES = """
import runpy
from tfadv.crosscheck import makers
for pair in list(makers.MAKERS):
    if pair not in (("tensorflow", "tfadv"), ("tensorflow", "cleverhans")):
        del makers.MAKERS[pair]
for name in ("torch", "jax"):
    del makers.FRAMEWORKS[name]
runpy.run_module("attacks.crosscheck", run_name="__main__", alter_sys=True)
"""

# A module that every process imports, and that changes CleverHans there.
DOWNHILL_MODULE = DOWNHILL[: DOWNHILL.index("runpy.run")].replace("import runpy, sys", "import sys")

# Runs the program once for each list of flags, in one process, because importing TensorFlow takes seconds.
ONE_BY_ONE = """
import json, sys
from absl import flags
from attacks import crosscheck
for arguments in json.loads(sys.argv[1]):
    for name in flags.FLAGS:
        flags.FLAGS[name].unparse()
    sys.argv = ["crosscheck", *arguments]
    try:
        crosscheck.run()
    except SystemExit as end:
        print("status", end.code, file=sys.stderr)
"""


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    """A linear classifier of digits whose weights are the class means, as a .keras file."""
    from tfadv import data

    x, y = data.arrays("digits", "train")
    inputs = keras.Input((28, 28, 1))
    dense = keras.layers.Dense(10)
    classifier = keras.Model(inputs, dense(keras.layers.Flatten()(inputs)))
    means = np.stack([x[y == label].mean(axis=0).ravel() for label in range(10)], axis=1)
    dense.set_weights([means, -0.5 * (means**2).sum(axis=0)])
    path = tmp_path_factory.mktemp("model") / "linear.keras"
    classifier.save(path)
    return path


def run(*flags, code=None):
    """(status, stdout, stderr) of the program from the root of the clone."""
    program = ["-m", "attacks.crosscheck"] if code is None else ["-c", code]
    done = subprocess.run(
        [sys.executable, *program, *flags],
        cwd=ROOT,
        env={**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3"},
        capture_output=True,
        text=True,
        timeout=600,
    )
    return done.returncode, done.stdout, done.stderr


def test_agreement_prints_one_table_writes_json_and_ends_with_0(model, tmp_path):
    output = tmp_path / "out" / "crosscheck.json"
    flags = (f"--model={model}", "--limit=50", "--epsilon=0.5", "--step_size=0.1", "--steps=8", f"--output={output}")
    status, out, err = run(*flags, "--norm=l2")
    assert status == 0, err
    lines = out.strip().splitlines()
    assert lines[0].split()[:4] == ["attack", "N", "robust", "CleverHans"]
    assert [line.split()[0] for line in lines[1:5]] == ["FGM", "BIM-8", "PGD-8", "PGD-8"]
    assert all(line.endswith("agrees") for line in lines[1:5])
    rows = json.loads(output.read_text())
    assert [row["agreed"] for row in rows] == [True] * 4
    assert [row["examples"] for row in rows] == [50] * 4
    assert all(0 < row["robust_accuracy"] < 1 for row in rows)


def test_disagreement_ends_with_1_and_still_writes_the_numbers(model, tmp_path):
    flags = (f"--model={model}", "--limit=50", "--epsilon=0.05", "--step_size=0.05", "--steps=1")
    status, out, err = run(*flags, f"--output={tmp_path / 'crosscheck.json'}", code=DOWNHILL)
    assert status == 1
    assert "DISAGREES" in out
    assert "tfadv and CleverHans disagree on: FGM linf 0.05" in err
    assert not json.loads((tmp_path / "crosscheck.json").read_text())[0]["agreed"]


def test_strength_is_one_table_of_all_attacks_and_peers(model, tmp_path):
    output = tmp_path / "strength.json"
    flags = (f"--model={model}", "--limit=50", "--epsilon=0.1", "--step_size=0.02", "--steps=8", f"--output={output}")
    status, out, err = run(*flags, "--peers=cleverhans", "--attacks=fgm,bim,pgd")
    assert status == 0, err
    lines = out.strip().splitlines()
    assert [line.split()[:3] for line in lines[1:4]] == [
        ["FGM", "linf", "0.1"],
        ["BIM-8", "linf", "0.1"],
        ["PGD-8", "linf", "0.1"],
    ]
    assert all(line.endswith("passes") for line in lines[1:4])
    assert "cleverhans" in lines[-1]
    found = json.loads(output.read_text())
    assert [row["verdict"] for row in found["rows"]] == ["passes"] * 3
    assert found["versions"]["cleverhans"]


def test_a_comparison_of_strength_that_fails_ends_with_1(model, tmp_path):
    flags = (f"--model={model}", "--limit=50", "--epsilon=0.1", "--step_size=0.05", "--peers=cleverhans")
    output = tmp_path / "strength.json"
    status, out, err = run(*flags, "--attacks=fgm", f"--output={output}", code=DOWNHILL)
    assert status == 1
    assert "DISAGREES" in out
    assert "the comparison fails: FGM linf 0.1 with CleverHans: DISAGREES" in err
    assert json.loads(output.read_text())["rows"][0]["verdict"] == "DISAGREES"


def test_frameworks_are_one_table_and_a_verdict(model, tmp_path):
    output = tmp_path / "out" / "frameworks.json"
    flags = (f"--model={model}", "--limit=50", "--epsilon=0.05", "--step_size=0.02", "--steps=3", f"--output={output}")
    status, out, err = run(*flags, "--frameworks", "--l2_epsilon=0.5", code=TWO_LIBRARIES)
    assert status == 0, err
    lines = out.strip().splitlines()
    assert lines[1].split()[:5] == ["attack", "by", "in", "TensorFlow", "flags"]
    assert [line.split()[:2] for line in lines[3:15:2]] == [
        [name, norm] for norm in ("linf", "l2") for name in ("FGM", "BIM-3", "PGD-3")
    ]
    assert [line.split()[-1] for line in lines[3:15]] == ["reference", "agrees"] * 6
    assert lines[-1] == "verified with CleverHans in TensorFlow: >= 99.5% of flags equal"
    found = json.loads(output.read_text())
    assert (found["verdict"], found["images"], len(found["rows"])) == ("verified", 50, 12)
    assert 0 < found["rows"][0]["right"]["TensorFlow"] < 1


def test_frameworks_that_disagree_end_with_1_and_the_cause(model, tmp_path, monkeypatch):
    (tmp_path / "downhill.py").write_text(DOWNHILL_MODULE)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    flags = (f"--model={model}", "--limit=50", "--epsilon=0.05", "--step_size=0.05", "--steps=1")
    flags = (*flags, "--frameworks", "--modules=downhill", f"--output={tmp_path / 'frameworks.json'}")
    status, out, err = run(*flags, code=TWO_LIBRARIES)
    assert status == 1
    assert "not verified: DISAGREES" in err
    assert "tfadv in TensorFlow and CleverHans in TensorFlow disagree (FGM linf 0.05" in out
    assert "Cause: another algorithm, other settings, or a gradient that vanishes" in out
    found = json.loads((tmp_path / "frameworks.json").read_text())
    assert found["verdict"] == "DISAGREES"
    assert found["disagreements"][0]["examples"]


BAD_FLAGS = {
    "error: model path 'no/such.keras' does not exist; name a .keras file": ["--model=no/such.keras"],
    "error: config must have one step_size <= epsilon": ["--step_size=0.2"],
    "unexpected arguments: ['surplus']": ["surplus"],
    "error: peers must be among ['art', 'cleverhans', 'foolbox', 'torchattacks'], got 'foolsbox'": ["--peers=foolsbox"],
    "got 'pdg'": ["--peers=cleverhans", "--attacks=pdg"],
    "error: the published AutoAttack must be a folder with": ["--autoattack_source=."],
    "error: frameworks compares all libraries that it finds": ["--frameworks", "--peers=cleverhans"],
    "error: modules must be importable, got 'no_such_module'": ["--frameworks", "--modules=no_such_module"],
    "error: l2_epsilon is a second radius": ["--frameworks", "--norm=l2", "--l2_epsilon=1"],
}


def test_bad_input_is_one_line_and_status_1(model, tmp_path):
    good = [f"--model={model}", "--epsilon=0.1", "--step_size=0.05", "--limit=10", f"--output={tmp_path / 'o.json'}"]
    _, _, err = run(json.dumps([[*good, *flags] for flags in BAD_FLAGS.values()]), code=ONE_BY_ONE)
    assert err.count("status 1\n") == len(BAD_FLAGS)
    assert [message for message in BAD_FLAGS if message not in err] == []
    assert "Traceback" not in err
    assert list(tmp_path.iterdir()) == []
