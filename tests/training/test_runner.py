"""A run: what it leaves, what its defenses and its validation do, and what it refuses before it writes."""

import dataclasses
import json
import math
import sys
from pathlib import Path
from types import SimpleNamespace

import keras
import numpy as np
import pytest
import tensorflow as tf

from tfadv import data, models, training
from tfadv.attacks import Fgm, Pgd, compiled
from tfadv.augment import FeatureSmoothing, GaussianNoise, Mixup
from tfadv.training import Experiment, Validation
from tfadv.training import experiment as experiments
from tfadv.training.runner import ROBUST
from tfadv.validation import UserError


@pytest.fixture(scope="module")
def finished(small_net, tmp_path_factory):
    """(metrics, folder, lines) of forty steps with a checkpoint at every tenth, never interrupted; read only."""
    folder, lines = tmp_path_factory.mktemp("finished") / "run", []
    experiment = Experiment("digits", small_net, augment=(GaussianNoise(0.3),), batch_size=10, steps=40, limit=60)
    return training.run(experiment, folder, checkpoint_every=10, report=lines.append), folder, lines


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
    metrics, folder, _ = finished
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
    metrics, folder, _ = finished
    x, y = data.arrays("digits", "test")
    logits = models.predictor(models.load(folder))(x).numpy()
    assert metrics["test_accuracy"] == (logits.argmax(axis=1) == y).mean()
    assert len(y) == 500


def test_the_tensorboard_file_holds_every_logged_number(finished):
    _, folder, _ = finished
    (path,) = (folder / "tensorboard").glob("events.*")
    events = [event for event in tf.compat.v1.train.summary_iterator(str(path)) if event.summary.value]
    found = {
        (event.step, value.tag): float(tf.make_ndarray(value.tensor))
        for event in events
        for value in event.summary.value
    }
    expected = {(row["step"], name): value for row in rows_of(folder) for name, value in row.items()}
    assert found == pytest.approx(expected, rel=1e-6)


def test_progress_says_step_loss_and_time_left(finished):
    *_, lines = finished
    assert [line.split("  ")[0] for line in lines] == ["step 10/40", "step 20/40", "step 30/40", "step 40/40"]
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


@pytest.mark.slow
def test_mixup_with_its_dense_labels_trains(forty, tmp_path):
    experiment = dataclasses.replace(
        forty, augment=(Mixup(new_points=5), GaussianNoise(0.1)), learning_rate=1e-2, steps=60
    )
    silent(experiment, tmp_path, every=20)
    losses, accuracies = ([row[name] for row in rows_of(tmp_path)] for name in ("train_loss", "train_accuracy"))
    assert losses[-1] < losses[0]
    assert accuracies[-1] > 0.5


def test_weight_decay_enters_the_loss(forty, tmp_path):
    """One step of learning rate ~ 0: the loss grows by l2 * sum w^2 over the kernels."""
    still = dataclasses.replace(forty, augment=(), learning_rate=1e-12, steps=1)
    kernels = [w for w in models.MODELS[forty.model]().get_weights() if w.ndim > 1]
    losses = [silent(dataclasses.replace(still, l2=l2), tmp_path / str(l2))["train_loss"] for l2 in (0.0, 0.5)]
    assert losses[1] - losses[0] == pytest.approx(0.5 * sum((w**2).sum() for w in kernels), rel=1e-4)


# Validation.


@pytest.fixture(scope="module")
def validated(small_net, tmp_path_factory):
    """(experiment, metrics, folder, lines): thirty steps, the last ten at a rate that spoils what was learnt."""
    folder = tmp_path_factory.mktemp("validated") / "run"
    validation = Validation(Fgm(0.05), every=10, limit=60)
    experiment = Experiment(
        "digits", small_net, learning_rate=3e-2, decay=((20, 1e4),), batch_size=20, steps=30, validation=validation
    )
    lines = []
    metrics = training.run(experiment, folder, checkpoint_every=15, report=lines.append)
    return experiment, metrics, folder, lines


def accuracies_of(path):
    """(clean, under the attack of `validated`) of a saved classifier on its held-out examples."""
    x, y = data.arrays("digits", "validation", limit=60)
    model = models.predictor(models.load(path))
    x_adv = compiled(model, Fgm(0.05))(x, y)
    return [float((np.argmax(model(images), axis=1) == y).mean()) for images in (x, x_adv)]


def test_the_classifier_of_the_highest_robust_accuracy_is_kept_beside_the_last(validated):
    _, metrics, folder, _ = validated
    rows = {row["step"]: row for row in rows_of(folder)}
    assert list(rows) == [10, 15, 20, 30]
    looks = {step: row[ROBUST] for step, row in rows.items() if ROBUST in row}
    assert list(looks) == [10, 20, 30]
    assert max(looks, key=looks.get) == 20
    for name, step in (("best.keras", 20), ("model.keras", 30)):
        logged = [rows[step]["validation_accuracy"], looks[step]]
        assert logged == pytest.approx(accuracies_of(folder / name), abs=1e-6)
    assert metrics["best_validation_robust_accuracy"] == looks[20]
    assert 0 < looks[20] < rows[20]["validation_accuracy"] < 1
    assert json.loads((folder / "metrics.json").read_text()) == metrics


def test_progress_says_the_robust_accuracy_where_it_was_looked_at(validated):
    _, _, folder, lines = validated
    for row, line in zip(rows_of(folder), lines, strict=True):
        assert line.startswith(f"step {row['step']}/30")
        assert (f"  robust {row[ROBUST]:.1%} of held-out  " in line) if ROBUST in row else ("robust" not in line)


def test_a_run_that_ends_before_its_first_look_has_no_best_classifier(validated, tmp_path):
    metrics = silent(dataclasses.replace(validated[0], steps=9), tmp_path)
    assert set(metrics) == {"step", "test_accuracy", "train_loss", "images_per_second"}
    assert json.loads((tmp_path / "metrics.json").read_text()) == metrics
    assert not (tmp_path / "best.keras").exists()


def test_held_out_examples_are_not_trained_on(validated, tmp_path, monkeypatch):
    """`run` asks for the rest of the training split, and for all of it where nothing is held out."""
    experiment, arrays, asked = validated[0], data.arrays, []

    def recorded(name, split, **options):
        asked.append((split, options.get("limit")))
        return arrays(name, split, **options)

    monkeypatch.setattr(data, "arrays", recorded)
    silent(dataclasses.replace(experiment, steps=1, limit=200), tmp_path / "held")
    assert asked == [("train_fit", 200), ("validation", 60), ("test", None)]
    asked.clear()
    silent(dataclasses.replace(experiment, steps=1, limit=200, validation=None), tmp_path / "whole")
    assert asked == [("train", 200), ("test", None)]


def test_what_is_validated_and_saved_is_the_moving_average(validated, tmp_path, monkeypatch):
    experiment = dataclasses.replace(validated[0], steps=20, average=0.9, decay=())
    build, trainees = experiments.build, []
    monkeypatch.setattr(experiments, "build", lambda each: trainees.append(build(each)) or trainees[-1])
    silent(experiment, tmp_path, every=20)
    saved = models.load(tmp_path).get_weights()
    averaged = training.classifier_of(experiment, trainees[0]).get_weights()
    for found, expected, last in zip(saved, averaged, trainees[0].classifier.get_weights(), strict=True):
        np.testing.assert_array_equal(found, expected)
        assert np.abs(found - last).max() > 1e-4
    row = rows_of(tmp_path)[-1]
    assert [row["validation_accuracy"], row[ROBUST]] == pytest.approx(accuracies_of(tmp_path / "model.keras"), abs=1e-6)


# What is refused.


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


def test_a_batch_that_the_replicas_cannot_share_leaves_no_file(forty, tmp_path):
    two = SimpleNamespace(num_replicas_in_sync=2)
    uneven = dataclasses.replace(forty, augment=(FeatureSmoothing(new_points=3),))
    with pytest.raises(UserError, match="must be a multiple of the 2 replicas, got 13 points"):
        silent(uneven, tmp_path / "run", strategy=two)
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("failure", [tf.errors.ResourceExhaustedError(None, None, "No space left"), OSError("full")])
def test_a_checkpoint_that_cannot_be_written_is_one_clear_error_and_leaves_nothing_half_written(
    forty, tmp_path, monkeypatch, failure
):
    silent(dataclasses.replace(forty, steps=10), tmp_path)
    before = {path.name for path in (tmp_path / "checkpoints").iterdir()}

    def full(manager, checkpoint_number):
        folder = Path(manager.directory)
        (folder / f"ckpt-{checkpoint_number}_temp").mkdir()
        (folder / f"ckpt-{checkpoint_number}.index").write_text("half")
        raise failure

    with monkeypatch.context() as patch:
        patch.setattr(tf.train.CheckpointManager, "save", full)
        with pytest.raises(UserError, match=r"checkpoint of step 20 cannot be written to .*; free space there"):
            silent(forty, tmp_path)
    assert {path.name for path in (tmp_path / "checkpoints").iterdir()} == before
    assert silent(forty, tmp_path)["step"] == 40
