"""The program as a user runs it: a table, a report on disk, a black-box source, and what it refuses in one line."""

import json

import keras
import numpy as np
import pytest

from tfadv import data
from tfadv.evaluation import evaluate
from tfadv.report.records import OUTCOMES

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Holds linear.keras, a classifier of digits whose weights are the class means, and what is no model or data."""
    folder = tmp_path_factory.mktemp("evaluate")
    x, y = data.arrays("digits", "train")
    inputs = keras.Input((28, 28, 1))
    dense = keras.layers.Dense(10)
    classifier = keras.Model(inputs, dense(keras.layers.Flatten()(inputs)), name="linear")
    means = np.stack([x[y == label].mean(axis=0).ravel() for label in range(10)], axis=1)
    dense.set_weights([means, -0.5 * (means**2).sum(axis=0)])
    classifier.save(folder / "linear.keras")
    keras.Sequential([classifier, keras.layers.Softmax()]).save(folder / "softmax.keras")
    (folder / "text.keras").write_text("no model")
    x, y = data.arrays("digits", "test", limit=30)
    np.savez(folder / "data.npz", x=x, y=y)
    np.savez(folder / "bytes.npz", x=(x * 255).astype(np.float32), y=y)
    np.savez(folder / "labels.npz", labels=y)
    return folder


def test_it_prints_the_table_and_the_checks_and_writes_the_report(run_program, folder, tmp_path):
    flags = [f"--model={folder / 'linear.keras'}", "--epsilon=0.05", "--suite=quick"]
    named, stored = run_program(
        "attacks.evaluate",
        [*flags, "--limit=60", "--seed=1", f"--source={folder / 'linear.keras'}", f"--output={tmp_path / 'report'}"],
        [*flags, f"--dataset={folder / 'data.npz'}", "--norm=l2"],
    )
    assert named.status == 0, named.err
    assert stored.status == 0, stored.err
    report = json.loads((tmp_path / "report" / "report.json").read_text())
    assert (tmp_path / "report" / "report.html").stat().st_size > 10_000
    model = keras.models.load_model(folder / "linear.keras")
    expected = evaluate(model, data.arrays("digits", "test"), 0.05, suite="quick", limit=60, seed=1)
    assert report["headline"]["robust_accuracy"] == expected.robust_accuracy
    assert report["headline"]["clean_accuracy"] == expected.clean_accuracy
    assert 0 < expected.robust_accuracy < expected.clean_accuracy
    source = f"transfer from {folder / 'linear.keras'}, PGD-20 lifted cross-entropy"
    assert [row["name"] for row in report["rows"]] == ["FGSM", "PGD-20 lifted cross-entropy", source]
    assert report["settings"]["limit"] == 60
    assert f"{100 * expected.robust_accuracy:.1f}%" in named.out
    assert "upper bound under this threat model" in named.out
    assert f"verdict: {report['verdict']['word']}" in named.out
    outcomes = [line.partition(":")[0] for line in named.out.splitlines() if line.startswith(OUTCOMES)]
    assert len(outcomes) == len(report["checks"]) >= 20
    assert outcomes.count("failed") == outcomes.count("not run") == 0
    assert not (tmp_path / "report" / ".unfinished").exists()
    assert f"report in {tmp_path / 'report'}" in named.out
    assert "30 images" in stored.out
    assert "FGM l2" in stored.out
    assert "not applicable: a differentiable stand-in opens no hole" in stored.out


def test_several_threats_and_a_budget(run_program, folder, tmp_path):
    flags = [f"--model={folder / 'linear.keras'}", "--limit=20"]
    several, short = run_program(
        "attacks.evaluate",
        [*flags, "--threat=brightness:0.1", "--threat=l0:3", f"--output={tmp_path / 'threats'}"],
        [*flags, "--epsilon=0.05", "--suite=quick", "--budget=1 s", f"--output={tmp_path / 'short'}", "--examples"],
    )
    assert several.status == 0, several.err
    assert "union" in several.out
    assert json.loads((tmp_path / "threats" / "report.json").read_text())["schema"] == "tfadv.collection"
    assert short.status == 0, short.err
    # The second is spent by the attacks, so checks are left, and nothing is called trusted.
    assert "verdict: unverified" in short.out
    with np.load(tmp_path / "short" / "adversarial.npz") as stored:
        assert {array.shape for array in map(stored.get, stored.files) if array.ndim == 4} == {(20, 28, 28, 1)}


def test_what_it_cannot_do_is_one_line_and_status_1_and_leaves_no_file(run_program, folder, tmp_path):
    good = [f"--model={folder / 'linear.keras'}", f"--output={tmp_path / 'report'}", "--suite=quick"]

    def dataset(name):
        return [f"--dataset={folder / name}"]

    bad = {
        "error: model path 'no/such.keras' does not exist; name a .keras file": ["--model=no/such.keras"],
        "is not a .keras file, or a damaged one": [f"--model={folder / 'text.keras'}"],
        "ends in softmax": [f"--model={folder / 'softmax.keras'}"],
        f"error: model path '{folder}' is a folder without saved_model.pb": [f"--model={folder}"],
        "error: epsilon 8 is wider than the whole range [0, 1]": ["--epsilon=8"],
        "error: epsilon must be a finite number >= 0": ["--epsilon=-0.1"],
        "error: data must be one of ['cifar10', 'cifar100', 'digits'": ["--dataset=digit"],
        "missing.npz": dataset("missing.npz"),
        "labels.npz": dataset("labels.npz"),
        "error: the threat model is given twice: pass --epsilon and --norm, or --threat": ["--threat=linf:0.1"],
        'error: budget must be a time such as "90 s"': ["--budget=soon"],
        "error: claimed must be a robust accuracy from 0 to 1": ["--claimed=45"],
        "x must lie in [0, 1], got values from 0 to 255; divide by 255": dataset("bytes.npz"),
        "error: limit must be a whole number from 1 to 500": ["--limit=501"],
        "unexpected arguments: ['surplus']": ["surplus"],
    }
    lists = [[*good, "--epsilon=0.1", *flags] for flags in bad.values()]
    messages = [*bad, "error: a threat must be written as norm:epsilon"]
    ends = run_program("attacks.evaluate", *lists, [*good, "--threat=linf"])
    for message, end in zip(messages, ends, strict=True):
        assert end.status == 1, message
        assert message in end.err + end.out
        assert "Traceback" not in end.err, end.err
        if message.startswith("error"):
            assert len(end.err.splitlines()) == 1
    assert list(tmp_path.iterdir()) == []
