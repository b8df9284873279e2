"""What the process of one library answers, tried in this process, and as a process where it fails."""

import json
import math
import os
import subprocess
import sys

import keras
import numpy as np
import pytest

from tfadv.attacks import Fgm, Pgd, compiled
from tfadv.crosscheck import makers, worker
from tfadv.crosscheck.peers import NotShared, Peer

CONFIGS = [
    Fgm(epsilon=0.05),
    Pgd(epsilon=0.05, step_size=0.02, steps=4, keep="last"),
    Pgd(epsilon=0.2, step_size=0.1, steps=1, norm="l2", keep="last", random_start=False, bounds=(-math.inf, 1.0)),
]


@pytest.fixture
def work(tmp_path, linear_net, examples):
    """`work(**changes)` does a job on the linear net and gives (arrays, JSON) of the answer."""
    model = tmp_path / "linear.keras"
    linear_net.save(model)
    start = np.clip(examples.x + 0.04, 0, 1)

    def do(arrays=None, **changes):
        np.savez(
            tmp_path / "images.npz",
            **({"x": examples.x, "y": examples.y, "start1": start} if arrays is None else arrays),
        )
        job = {
            "framework": "tensorflow",
            "library": "tfadv",
            "model": str(model),
            "modules": [],
            "shape": [8, 8, 1],
            "classes": 4,
            "batch_size": 16,
            "attacks": [worker.packed(config) for config in CONFIGS[:2]],
            "images": "images.npz",
            **changes,
        }
        path = tmp_path / "job.json"
        path.write_text(json.dumps(job))
        worker.serve(path)
        with np.load(tmp_path / f"job{worker.ARRAYS}", allow_pickle=False) as stored:
            return dict(stored), json.loads((tmp_path / f"job{worker.ANSWER}").read_text())

    return do


@pytest.mark.parametrize("config", CONFIGS, ids=repr)
def test_a_config_survives_json(config):
    assert worker.unpacked(json.loads(json.dumps(worker.packed(config)))) == config


def test_attacks_are_answered_with_images_and_one_step_of_each(work, linear_net, examples):
    arrays, answer = work()
    assert sorted(arrays) == ["one_step1", "x_adv0", "x_adv1"]
    start = np.clip(examples.x + 0.04, 0, 1)
    expected = compiled(linear_net, CONFIGS[1], precision="float32")(examples.x, examples.y, start)
    np.testing.assert_allclose(arrays["x_adv1"], expected, atol=1e-6)
    step = compiled(linear_net, Pgd(epsilon=0.05, step_size=0.02, steps=1, keep="last"), precision="float32")
    np.testing.assert_allclose(arrays["one_step1"], step(examples.x, examples.y, start), atol=1e-6)
    assert np.abs(arrays["x_adv0"] - examples.x).max() == pytest.approx(0.05, abs=1e-6)
    assert answer["reasons"] == {}
    assert {"tfadv", "tensorflow", "keras", "numpy"} <= {*answer["versions"]}


def test_classifying_is_answered_with_logits_of_each_array(work, linear_net, examples):
    arrays, answer = work({"x": examples.x, "other": examples.x[:3] / 2}, library=None)
    assert sorted(arrays) == ["other", "x"]
    for name, x in (("x", examples.x), ("other", examples.x[:3] / 2)):
        np.testing.assert_allclose(arrays[name], linear_net(x), atol=1e-5)
    assert answer["reasons"] == {}


def test_an_attack_that_fails_does_not_stop_the_others(work, monkeypatch):
    def refuses(*_):
        raise NotShared("it has no such norm")

    def fails(*_):
        raise ValueError("first line\nsecond line")

    def attacks(model, x, y, config, start, batch_size):
        return x + model

    def loses_a_row(model, x, *_):
        return x[1:]

    reasons = {
        refuses: "it has no such norm",
        fails: "failed with ValueError: first line",
        loses_a_row: "failed with ValueError: it returned shape (39, 8, 8, 1) for images (40, 8, 8, 1)",
    }
    for first, reason in reasons.items():
        peer = Peer("Other", ("numpy",), lambda network: network.classes / 100, {"Fgm": first, "Pgd": attacks})
        monkeypatch.setitem(makers.MAKERS, ("tensorflow", "other"), peer)
        arrays, answer = work(library="other")
        assert answer["reasons"] == {"0": reason}
        assert answer["versions"]["numpy"] == np.__version__
        assert sorted(arrays) == ["one_step1", "x_adv1"]


def test_modules_are_imported_before_the_model_is_loaded(work, tmp_path, monkeypatch):
    """A subclassed model whose class is registered by the module alone."""
    (tmp_path / "my_models.py").write_text(
        "import keras\n"
        "@keras.saving.register_keras_serializable('mine')\n"
        "class Twice(keras.Model):\n"
        "    def __init__(self, **options):\n"
        "        super().__init__(**options)\n"
        "        self.dense = keras.layers.Dense(4)\n"
        "    def call(self, x):\n"
        "        return 2 * self.dense(keras.ops.reshape(x, [-1, 64]))\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    import my_models

    model = my_models.Twice()
    x = np.random.default_rng(0).random((5, 8, 8, 1), np.float32)
    expected = np.asarray(model(x))
    model.save(tmp_path / "twice.keras")
    for name in list(keras.saving.get_custom_objects()):
        if name.startswith("mine>"):
            keras.saving.get_custom_objects().pop(name)
    sys.modules.pop("my_models")
    arrays, _ = work({"x": x}, library=None, model=str(tmp_path / "twice.keras"), modules=["my_models"])
    np.testing.assert_allclose(arrays["x"], expected, atol=1e-5)


def test_another_backend_than_the_asked_one_is_refused(work):
    with pytest.raises(RuntimeError, match="Keras runs on tensorflow, not on torch"):
        work(framework="torch")


def test_an_error_ends_in_one_line(tmp_path, capsys, monkeypatch):
    def fails(_):
        raise ValueError("what is wrong\nand some explanation\n")

    monkeypatch.setattr(worker, "serve", fails)
    assert worker.main("job.json") == 1
    assert capsys.readouterr().err.splitlines()[-1] == "ValueError: what is wrong"
    monkeypatch.setattr(worker, "serve", lambda path: None)
    assert worker.main("job.json") == 0


@pytest.mark.slow
def test_the_process_ends_in_one_line(tmp_path):
    done = subprocess.run(
        [sys.executable, "-m", "tfadv.crosscheck.worker", str(tmp_path / "missing.json")],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 1
    assert done.stderr.splitlines()[-1].startswith("FileNotFoundError: ")
