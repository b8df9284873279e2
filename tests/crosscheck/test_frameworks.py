"""One model in several frameworks: processes that answer, fail and hang, and a model with other weights in one."""

import dataclasses
import importlib
import importlib.util
import json
import subprocess
import sys

import keras
import numpy as np
import pytest

from tfadv.crosscheck import frameworks, worker
from tfadv.crosscheck.makers import MAKERS, OURS
from tfadv.validation import UserError

CLEVERHANS = ("tensorflow", "cleverhans")
NOT_INSTALLED = ("all", "JAX", "it is not installed")


def configs(**changes):
    return frameworks.suite(**{"norm": "linf", "epsilon": 0.01, "step_size": 0.004, "steps": 3, **changes})


def verify(model, examples, tmp_path, *, wanted=None, **options):
    path = tmp_path / "model.keras"
    if isinstance(model, keras.Model):
        model.save(path)
    else:
        path = model
    wanted = configs() if wanted is None else wanted
    return frameworks.verify(path, examples.x, examples.y, wanted, report=lambda _: None, **options)


@pytest.fixture
def only(monkeypatch):
    """`only(makers, *names)` leaves these makers and frameworks; the others are not installed."""

    def restrict(makers, *names):
        monkeypatch.setattr(frameworks, "MAKERS", {pair: MAKERS[pair] for pair in makers})
        absent = {*frameworks.FRAMEWORKS} - {*names}
        monkeypatch.setattr(frameworks, "missing", lambda packages: [each for each in packages if each in absent])

    return restrict


@pytest.fixture
def inline(monkeypatch):
    """Jobs of TensorFlow are done in this process."""
    jobs = []

    def run(command, *, env, **_):
        assert command[:3] == [sys.executable, "-m", "tfadv.crosscheck.worker"]
        assert (env["KERAS_BACKEND"], env["JAX_PLATFORMS"], env["CUDA_VISIBLE_DEVICES"]) == ("tensorflow", "cpu", "-1")
        with open(command[3], encoding="utf-8") as file:
            jobs.append(json.load(file))
        return subprocess.CompletedProcess(command, worker.main(command[3]), "", "")

    monkeypatch.setattr(frameworks.subprocess, "run", run)
    return jobs


def test_the_suite_is_three_attacks_in_each_norm():
    fgm, bim, pgd, *l2 = configs(l2_epsilon=0.5, seed=3)
    assert (fgm.norm, fgm.epsilon) == ("linf", 0.01)
    assert (bim.random_start, bim.steps, bim.step_size, bim.keep) == (False, 3, 0.004, "last")
    assert (pgd.random_start, pgd.seed) == (True, 3)
    assert [each.norm for each in l2] == ["l2"] * 3
    assert [each.epsilon for each in l2] == [0.5] * 3
    assert l2[1].step_size == pytest.approx(0.2)
    assert len(configs(norm="l2")) == 3


@pytest.mark.parametrize("changes", [{"norm": "l2"}, {"epsilon": 0.0, "step_size": 0.0}])
def test_a_second_radius_is_of_another_norm(changes):
    with pytest.raises(UserError, match="l2_epsilon is a second radius beside one in another norm"):
        configs(l2_epsilon=1.0, **changes)


def test_libraries_of_one_framework_agree(linear_net, examples, tmp_path, only, inline):
    pytest.importorskip("cleverhans", reason="CleverHans is an extra")
    only([OURS, CLEVERHANS, ("torch", "torchattacks")], "tensorflow")
    found = verify(linear_net, examples, tmp_path, wanted=configs(l2_epsilon=0.06))
    assert (found.verdict, found.peers) == ("verified", ["CleverHans in TensorFlow"])
    assert [row.attack for row in found.rows[::2]] == [
        "FGM linf 0.01",
        "BIM-3 linf 0.01",
        "PGD-3 linf 0.01",
        "FGM l2 0.06",
        "BIM-3 l2 0.06",
        "PGD-3 l2 0.06",
    ]
    assert [row.library for row in found.rows[:2]] == ["tfadv", "CleverHans"]
    assert all(row.equal_flags == 1.0 and row.one_step_apart < 1e-3 for row in found.rows[1::2])
    assert all(0 < row.fooled["TensorFlow"].mean() < 1 for row in found.rows)
    assert found.not_compared == (("all", "PyTorch", "it is not installed"), NOT_INSTALLED)
    assert (found.images, found.attacked) == (40, 40)
    assert {"tensorflow", "cleverhans", "tfadv"} <= {*found.versions}
    assert [job["library"] for job in inline] == ["tfadv", "cleverhans", None]


def test_a_library_that_does_something_else_is_told(linear_net, examples, tmp_path, only, inline, monkeypatch):
    """CleverHans whose steps go down instead of up."""
    pytest.importorskip("cleverhans", reason="CleverHans is an extra")
    module = importlib.import_module("cleverhans.tf2.attacks.fast_gradient_method")
    right = module.optimize_linear
    monkeypatch.setattr(module, "optimize_linear", lambda *arguments, **options: -right(*arguments, **options))
    only([OURS, CLEVERHANS], "tensorflow")
    found = verify(linear_net, examples, tmp_path)
    assert found.verdict == "DISAGREES"
    fgm = found.disagreements[0]
    assert (fgm.attack, fgm.pair) == ("FGM linf 0.01", ("tfadv in TensorFlow", "CleverHans in TensorFlow"))
    assert "already one step ends 200% of its length away" in fgm.cause
    expected = np.flatnonzero(found.rows[0].fooled["TensorFlow"] != found.rows[1].fooled["TensorFlow"])
    assert fgm.examples == tuple(expected)


def test_only_what_the_model_classifies_correctly_is_attacked(linear_net, examples, tmp_path, only, inline):
    """Numbers are those of all images given."""
    only([OURS], "tensorflow")
    y = examples.y.copy()
    y[:10] = (y[:10] + 1) % 4
    found = verify(linear_net, examples._replace(y=y), tmp_path)
    assert (found.images, found.attacked, found.clean) == (40, 30, {"TensorFlow": 1.0})
    assert found.verdict == "nothing compared"


def test_a_saved_model_is_compared_in_tensorflow_alone(linear_net, examples, tmp_path, only, inline):
    pytest.importorskip("cleverhans", reason="CleverHans is an extra")
    only([OURS, CLEVERHANS, ("torch", "torchattacks"), ("jax", "foolbox")], "tensorflow", "torch", "jax")
    linear_net.export(tmp_path / "saved", verbose=False)
    found = verify(tmp_path / "saved", examples, tmp_path)
    assert (found.verdict, found.peers) == ("verified", ["CleverHans in TensorFlow"])
    reason = "a SavedModel runs in TensorFlow alone; name the .keras file"
    assert found.not_compared == (("all", "PyTorch", reason), ("all", "JAX", reason))


def test_what_is_missing_or_broken_is_told_and_not_run(linear_net, examples, tmp_path, only, inline, monkeypatch):
    only([OURS, ("tensorflow", "art")], "tensorflow")
    art, broken = "adversarial-robustness-toolbox", MAKERS["jax", "cleverhans"]
    monkeypatch.setattr(
        frameworks, "missing", lambda packages: [each for each in packages if each in (art, "torch", "jax")]
    )
    frameworks.MAKERS["tensorflow", "broken"] = dataclasses.replace(broken, packages=("numpy",))
    found = verify(linear_net, examples, tmp_path)
    assert found.not_compared[2:] == (
        ("all", "ART in TensorFlow", f"not installed: {art}"),
        ("all", "CleverHans in TensorFlow", "broken: imports jax.experimental.stax, which JAX does not have any more"),
    )
    assert (found.verdict, len(inline)) == ("nothing compared", 2)


ENDS = {
    "echo one >&2; echo 'ValueError: last' >&2; exit 3": "failed (status 3): ValueError: last",
    "exit 1": "failed (status 1): without a word",
    "kill -9 $$": "failed (ended by signal 9): without a word",
    "exec sleep 60": "gave no answer within 0.5 s",
}


@pytest.mark.parametrize("script", ENDS)
def test_a_process_that_fails_or_hangs_is_told(script, linear_net, examples, tmp_path, only, monkeypatch):
    program = tmp_path / "python"
    program.write_text(f"#!/bin/sh\n{script}\n")
    program.chmod(0o755)
    only([OURS], "tensorflow")
    monkeypatch.setattr(sys, "executable", str(program))
    found = verify(linear_net, examples, tmp_path, timeout=0.5 if "sleep" in script else 30)
    assert found.not_compared[2:] == (
        ("all", "tfadv in TensorFlow", ENDS[script]),
        ("all", "the model in TensorFlow", ENDS[script]),
    )
    assert (found.verdict, found.rows) == ("nothing compared", ())


def test_an_attack_that_is_not_shared_is_told(linear_net, examples, tmp_path, only, inline, monkeypatch):
    only([OURS], "tensorflow")
    monkeypatch.setattr(frameworks, "MAKERS", {OURS: MAKERS[OURS]})
    monkeypatch.setitem(MAKERS[OURS].attacks, "Fgm", lambda *_: 1 / 0)
    found = verify(linear_net, examples, tmp_path)
    reason = "failed with ZeroDivisionError: division by zero"
    assert found.not_compared[2:] == (("FGM linf 0.01", "tfadv in TensorFlow", reason),)
    assert [row.attack for row in found.rows] == ["BIM-3 linf 0.01", "PGD-3 linf 0.01"]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"modules": ["no_such_module"]}, "modules must be importable, got 'no_such_module'"),
        ({"wanted": configs(step_size=0.02)}, "config must have one step_size <= epsilon"),
        ({"wanted": configs(norm="l1")}, "config must have a norm of"),
    ],
    ids=["module", "step", "norm"],
)
def test_what_cannot_be_compared_is_refused_at_once(options, message, linear_net, examples, tmp_path):
    with pytest.raises(UserError, match=message):
        verify(linear_net, examples, tmp_path, **options)


# A model whose bias is another in PyTorch, by `offset` for class 0.
SKEWED = """
import keras

@keras.saving.register_keras_serializable("mine")
class Skewed(keras.Model):
    def __init__(self, offset=0.0, **options):
        super().__init__(**options)
        self.offset = offset
        self.norm = keras.layers.BatchNormalization()
        self.dense = keras.layers.Dense(4)

    def call(self, x, training=False):
        logits = self.dense(keras.ops.reshape(self.norm(x, training=training), (-1, 64)))
        offset = self.offset if keras.backend.backend() == "torch" else 0.0
        return logits + offset * keras.ops.convert_to_tensor([1.0, 0.0, 0.0, 0.0])

    def get_config(self):
        return {**super().get_config(), "offset": self.offset}
"""


@pytest.fixture
def skewed(tmp_path, monkeypatch, linear_net, examples):
    """`skewed(offset)` is a subclassed model with batch norm and the linear net's weights, of the module `skewed`."""
    (tmp_path / "skewed.py").write_text(SKEWED)
    monkeypatch.syspath_prepend(tmp_path)

    def build(offset):
        model = importlib.import_module("skewed").Skewed(offset)
        model(examples.x)
        model.norm.moving_mean.assign([0.2])
        model.norm.moving_variance.assign([0.5])
        model.dense.kernel.assign(linear_net.get_weights()[0])
        return model

    yield build
    sys.modules.pop("skewed", None)


def absent(*modules):
    return [module for module in modules if importlib.util.find_spec(module) is None]


@pytest.mark.slow
def test_weights_that_differ_in_one_framework_are_the_models_fault(skewed, examples, tmp_path, only):
    if absent("torch", "torchattacks"):
        pytest.skip("PyTorch and torchattacks are optional: they pull gigabytes")
    only([OURS, ("torch", "torchattacks")], "tensorflow", "torch")
    model = skewed(2.0)
    found = verify(model, examples, tmp_path, modules=["skewed"])
    assert found.verdict == "DISAGREES"
    logits = found.disagreements[0]
    assert (logits.attack, logits.pair) == ("logits", ("TensorFlow", "PyTorch"))
    assert found.logits["TensorFlow", "PyTorch"] > 0.1
    flags = {(each.attack, each.pair): each for each in found.disagreements[1:]}
    pgd = flags["PGD-3 linf 0.01", ("tfadv in TensorFlow", "torchattacks in PyTorch")]
    assert pgd.examples
    assert "the model: its logits differ between TensorFlow and PyTorch" in pgd.cause


@pytest.mark.slow
def test_three_frameworks_agree_on_a_subclassed_model(skewed, examples, tmp_path, only):
    if lacking := absent("torch", "jax", "foolbox", "torchattacks"):
        pytest.skip(f"optional, and absent: {', '.join(lacking)}")
    only([OURS, ("torch", "torchattacks"), ("jax", "foolbox")], "tensorflow", "torch", "jax")
    found = verify(skewed(0.0), examples, tmp_path, modules=["skewed"])
    assert found.verdict == "verified", found
    assert found.peers == ["torchattacks in PyTorch", "Foolbox in JAX"]
    assert {*found.clean} == {"TensorFlow", "PyTorch", "JAX"}
    assert len(found.rows) == 9
    assert max(found.logits.values()) < 1e-5
    assert all(0 < flags.mean() < 1 for row in found.rows for flags in row.fooled.values())
    assert found.not_compared == ()
