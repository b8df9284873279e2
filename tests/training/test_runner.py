"""Training: the batches are functions of the step, and what a run leaves is complete."""

import dataclasses
import json
import math
import subprocess
import sys
from pathlib import Path

import keras
import numpy as np
import pytest
import tensorflow as tf

from tfadv import models, training
from tfadv.attacks import Fgm, Pgd
from tfadv.augment import GaussianNoise, Mixup
from tfadv.losses import LabelSmoothing
from tfadv.training import Experiment
from tfadv.validation import UserError

ROOT = Path(__file__).resolve().parents[1]

X = np.random.default_rng(0).random([40, 4, 4, 1], np.float32)
Y = np.arange(40, dtype=np.int32)


@pytest.fixture(scope="module")
def finished(small_net, tmp_path_factory):
    """(metrics, folder) of a run of forty steps with a checkpoint at every tenth, never interrupted; read only."""
    folder = tmp_path_factory.mktemp("finished") / "run"
    experiment = Experiment("digits", small_net, augment=(GaussianNoise(0.3),), batch_size=10, steps=40, limit=60)
    return training.run(experiment, folder, checkpoint_every=10, report=lambda line: None), folder


@pytest.fixture
def forty(small_net):
    """The experiment of `finished`."""
    return Experiment("digits", small_net, augment=(GaussianNoise(0.3),), batch_size=10, steps=40, limit=60)


def silent(experiment, folder, every=10, **options):
    return training.run(experiment, folder, checkpoint_every=every, report=lambda line: None, **options)


def rows_of(folder):
    return [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]


# What a run leaves.


def test_a_run_leaves_every_file_that_its_docstring_names(finished, forty):
    metrics, folder = finished
    assert json.loads((folder / "metrics.json").read_text()) == metrics
    assert metrics["step"] == 40
    assert math.isfinite(metrics["train_loss"])
    assert metrics["images_per_second"] > 0
    assert [row["step"] for row in rows_of(folder)] == [10, 20, 30, 40]
    assert metrics["train_loss"] == rows_of(folder)[-1]["train_loss"]
    written = json.loads((folder / "experiment.json").read_text())
    assert written["experiment"] == training.describe(forty)
    assert written["seed"] == 0
    assert {"tfadv", "tensorflow", "keras", "numpy", "python"} <= set(written["versions"])
    assert written["command"] == " ".join(sys.argv)
    assert sorted(path.name for path in (folder / "checkpoints").glob("*.index")) == ["ckpt-30.index", "ckpt-40.index"]


def test_the_accuracy_is_that_of_the_saved_classifier_on_the_whole_test_set(finished):
    from tfadv import data

    metrics, folder = finished
    x, y = data.arrays("digits", "test")
    logits = models.predictor(models.load(folder))(x).numpy()
    assert metrics["test_accuracy"] == (logits.argmax(axis=1) == y).mean()
    assert len(y) == 500


def test_the_tensorboard_file_holds_every_logged_number(finished):
    _, folder = finished
    (path,) = (folder / "tensorboard").glob("events.*")
    events = [event for event in tf.compat.v1.train.summary_iterator(str(path)) if event.summary.value]
    found = {
        (event.step, value.tag): float(tf.make_ndarray(value.tensor))
        for event in events
        for value in event.summary.value
    }
    expected = {(row["step"], name): value for row in rows_of(folder) for name, value in row.items()}
    assert found == pytest.approx(expected, rel=1e-6)


def test_progress_says_step_loss_and_time_left(forty, tmp_path):
    lines = []
    training.run(dataclasses.replace(forty, steps=20), tmp_path, checkpoint_every=10, report=lines.append)
    assert [line.split("  ")[0] for line in lines] == ["step 10/20", "step 20/20"]
    assert all("loss " in line and " images/s" in line and " min left" in line for line in lines)


@pytest.mark.parametrize("precision", ["mixed_bfloat16", "mixed_float16"])
def test_the_saved_classifier_computes_in_float32_whatever_the_training_did(forty, tmp_path, precision):
    experiment = dataclasses.replace(forty, precision=precision, steps=4)
    assert training.build(experiment).layers[0].compute_dtype == precision.removeprefix("mixed_")
    silent(experiment, tmp_path)
    saved = models.load(tmp_path / "model.keras")
    assert {layer.dtype_policy.name for layer in saved.layers} == {"float32"}
    assert {weight.dtype for weight in saved.weights} == {"float32"}
    assert keras.config.dtype_policy().name == "float32"


def test_kept_classifiers_are_those_of_their_step_and_come_with_a_checkpoint(forty, finished, tmp_path):
    silent(forty, tmp_path, every=15, keep_every=20)
    assert [row["step"] for row in rows_of(tmp_path)] == [15, 20, 30, 40]
    assert ["test_accuracy" in row for row in rows_of(tmp_path)] == [False, True, False, True]
    kept = {path.name: models.load(path).get_weights() for path in (tmp_path / "models").iterdir()}
    assert sorted(kept) == ["step-0000020.keras", "step-0000040.keras"]
    np.testing.assert_array_equal(kept["step-0000040.keras"][0], models.load(finished[1]).get_weights()[0])
    assert np.abs(kept["step-0000040.keras"][0] - kept["step-0000020.keras"][0]).max() > 0


# Defenses.


def test_adversarial_training_trains_on_what_its_attack_makes(forty, tmp_path):
    """At epsilon 0 it is natural training; at 0.3 the loss that it pays on the same images is higher."""
    plain = dataclasses.replace(forty, augment=(), steps=10)
    natural, zero, strong = (
        silent(dataclasses.replace(plain, train_attack=attack), tmp_path / name)["train_loss"]
        for name, attack in {"natural": None, "zero": Fgm(0.0), "strong": Pgd(0.3, 0.1, 3, keep="last")}.items()
    )
    assert zero == pytest.approx(natural, rel=1e-5)
    assert strong > natural + 0.05
    saved = models.load(tmp_path / "strong" / "model.keras")
    assert [type(layer).__name__ for layer in saved.layers] == ["Conv2D", "Flatten", "Dense"]


def test_mixup_with_its_dense_labels_trains(forty, tmp_path):
    experiment = dataclasses.replace(
        forty, augment=(Mixup(new_points=5), GaussianNoise(0.1)), learning_rate=1e-2, steps=60
    )
    silent(experiment, tmp_path, every=20)
    losses, accuracies = (
        [row[name] for row in rows_of(tmp_path)] for name in ("train_loss", "train_accuracy")
    )
    assert losses[-1] < losses[0]
    assert accuracies[-1] > 0.5


def test_weight_decay_enters_the_loss(forty, tmp_path):
    """One step of learning rate ~ 0: the loss grows by l2 * sum w^2 over the kernels."""
    still = dataclasses.replace(forty, augment=(), learning_rate=1e-12, steps=1)
    kernels = [w for w in models.MODELS[forty.model]().get_weights() if w.ndim > 1]
    losses = [silent(dataclasses.replace(still, l2=l2), tmp_path / str(l2))["train_loss"] for l2 in (0.0, 0.5)]
    assert losses[1] - losses[0] == pytest.approx(0.5 * sum((w**2).sum() for w in kernels), rel=1e-4)


# Descriptions and bad fields.


def test_a_description_is_json_and_tells_experiments_apart():
    experiment = Experiment(loss=LabelSmoothing(0.1), augment=(GaussianNoise(0.5),), train_attack=Pgd(0.3, 0.1, 2))
    described = training.describe(experiment)
    assert json.loads(json.dumps(described)) == described
    assert described["loss"]["class"] == "LabelSmoothing"
    assert described["loss"]["mass"] == 0.1
    assert described["augment"] == [{"class": "GaussianNoise", "stddev": 0.5, "seed": 0, "bounds": [0.0, 1.0]}]
    assert described["train_attack"]["epsilon"] == 0.3
    for change in ({"loss": LabelSmoothing(0.2)}, {"augment": ()}, {"train_attack": None}, {"l2": 0.1}):
        assert training.describe(dataclasses.replace(experiment, **change)) != described


@pytest.mark.parametrize(
    ("field", "value", "message"),
    [
        ("dataset", "mnst", r"dataset must be one of \['cifar10', 'digits', .* got 'mnst'"),
        ("model", "resnet", r"model must be one of \['madry_mnist'.*\], got 'resnet'"),
        ("optimizer", "lion", r"optimizer must be one of \['adam', 'sgd'\], got 'lion'"),
        ("precision", "float16", r"precision must be one of \['float32', .*\], got 'float16'"),
        ("steps", 0, "steps must be at least 1, got 0"),
        ("batch_size", -1, "batch_size must be at least 1, got -1"),
        ("learning_rate", -1e-3, "learning_rate must be > 0, got -0.001"),
        ("learning_rate", math.nan, "learning_rate must be > 0, got nan"),
    ],
)
def test_a_bad_field_is_refused_by_name(field, value, message):
    with pytest.raises(UserError, match=message):
        Experiment(**{field: value})


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"batch_size": 61}, "batch_size must be at most the 60 training images, got 61"),
        ({"limit": 1_298}, "limit must be a whole number from 1 to 1297"),
        ({"l2": -1.0}, "l2 must be"),
        ({"train_attack": "pgd"}, "attack must be one of"),
    ],
    ids=["batch_size", "limit", "l2", "attack"],
)
def test_what_training_refuses_leaves_no_file(forty, tmp_path, changes, message):
    with pytest.raises(UserError, match=message):
        silent(dataclasses.replace(forty, **changes), tmp_path / "run")
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("name", ["checkpoint_every", "keep_every"])
def test_a_period_below_one_step_is_refused(forty, tmp_path, name):
    with pytest.raises(UserError, match=f"{name} must be at least 1 step, got 0"):
        training.run(forty, tmp_path / "run", **{name: 0})
    assert not (tmp_path / "run").exists()
