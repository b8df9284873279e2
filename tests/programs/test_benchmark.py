"""The program as a user runs it: two processes timed in pairs, the table, the JSON, and what bad flags say."""

import json

import keras
import numpy as np
import pytest

pytestmark = pytest.mark.slow

# One process less: without bfloat16 there is one search of ours.
WITHOUT_BFLOAT16 = "from tfadv import devices; devices.cpu_has_bfloat16 = lambda: False\n"


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


def test_a_run_prints_one_table_and_writes_json(model, tmp_path, run_program):
    flags = [f"--model={model}", "--limit=60", "--images=20", "--batch_size=10", "--epsilon=0.05", "--steps=3"]
    flags += ["--peers=cleverhans", "--repeats=2", f"--output={tmp_path / 'out' / 'speed.json'}"]
    bad = {
        "error: model must be a .keras file": ["--model=somewhere", "--epsilon=0.1"],
        "error: peers must be among": [f"--model={model}", "--epsilon=0.1", "--peers=nobody"],
        "needs the folder of its source": [f"--model={model}", "--epsilon=0.1", "--kind=autoattack"],
        "unexpected arguments: ['surplus']": [f"--model={model}", "--epsilon=0.1", "surplus"],
    }
    good, *ends = run_program("attacks.benchmark", flags, *bad.values(), prepare=WITHOUT_BFLOAT16)
    assert good.status == 0, good.err
    lines = good.out.strip().splitlines()
    assert lines[0].startswith("PGD-3 linf 0.05, batch size 10")
    assert lines[1].split()[:3] == ["examples", "N", "peer"]
    assert any(line.startswith("threads: CleverHans") for line in lines)
    found = json.loads((tmp_path / "out" / "speed.json").read_text())
    assert {pairing["peer"]["side"] for pairing in found["pairings"]} == {"CleverHans"}
    for pairing in found["pairings"]:
        assert len(pairing["peer"]["seconds"]) == len(pairing["ours"]["float32"]["seconds"]) == 2
        assert pairing["ours"]["float32"]["survivors"] == {"fooled": 0.0, "robust": 1.0}[pairing["regime"]]
    for message, end in zip(bad, ends, strict=True):
        assert (end.status, message in end.err, "Traceback" in end.err) == (1, True, False), end.err
