"""Files that were cut off, had a bit flipped, or are another run's: the result of whole ones, or a clear refusal."""

import contextlib
import dataclasses
import json
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf

from tfadv import evaluate, models, training
from tfadv.data import DATASETS
from tfadv.data.prepare import prepare
from tfadv.evaluation import subject
from tfadv.report import compare
from tfadv.reproduction import run
from tfadv.reproduction.runs import digest
from tfadv.training import Experiment
from tfadv.validation import UserError

pytestmark = pytest.mark.slow

TIMES = 20  # for each kind of damage
EXPERIMENT = Experiment("digits", "mlp", batch_size=20, steps=40, limit=100)


def flip(path: Path, random: np.random.Generator, other: Path) -> None:
    content = bytearray(path.read_bytes())
    content[random.integers(len(content))] ^= 1 << int(random.integers(8))
    path.write_bytes(bytes(content))


def cut(path: Path, random: np.random.Generator, other: Path) -> None:
    content = path.read_bytes()
    path.write_bytes(content[: random.integers(len(content))])


def swap(path: Path, random: np.random.Generator, other: Path) -> None:
    shutil.copyfile(other, path)


Work = Callable[[Path], str]


def assert_refused_or_equal(work: Work, whole: Path, foreign: Path, tmp_path: Path, damage, count, names=None) -> None:
    """Damages one file of a copy of `whole` at a time and does the work on it, `TIMES` times."""
    expected = work(Path(shutil.copytree(whole, tmp_path / "whole")))
    random = np.random.default_rng(0)
    files = [
        path.relative_to(whole)
        for path in sorted(whole.rglob("*"))
        if path.is_file() and path.stat().st_size and (names is None or any(part in str(path) for part in names))
    ]
    assert files
    refused = equal = 0
    for number in range(TIMES):
        folder = Path(shutil.copytree(whole, tmp_path / str(number)))
        name = files[number % len(files)]
        others = sorted(path for path in foreign.rglob(f"*{name.suffix}") if path.is_file())
        damage(folder / name, random, others[number % len(others)])
        try:
            found = work(folder)
        except UserError:
            refused += 1
            continue
        assert found == expected, f"{name} {damage.__name__} goes unnoticed"
        equal += 1
    count(injected=TIMES, clear_error=refused, identical=equal)


every_damage = pytest.mark.parametrize("damage", [flip, cut, swap])


@every_damage
def test_a_run_goes_on_to_the_same_classifier_or_says_what_is_damaged(damage, tmp_path, fault_counts):
    """The run stood at half of its steps, with two checkpoints."""
    for name, seed in (("whole", 0), ("foreign", 1)):
        half = dataclasses.replace(EXPERIMENT, steps=20, seed=seed)
        training.run(half, tmp_path / "made" / name, checkpoint_every=10, report=str)

    def work(folder: Path) -> str:
        training.run(EXPERIMENT, folder, checkpoint_every=10, report=str)
        return digest(models.load(folder / "model.keras"))

    assert_refused_or_equal(
        work,
        tmp_path / "made" / "whole",
        tmp_path / "made" / "foreign",
        tmp_path,
        damage,
        lambda **counts: fault_counts(f"run folder, {damage.__name__}", **counts),
        names=["checkpoints/", "experiment.json", "model.keras", "metrics.json"],
    )


def linear(x):
    score = tf.linalg.matvec(tf.reshape(x, [-1, 4]) - 0.5, [1.0, -2.0, 0.5, 0.25])
    return tf.stack([tf.zeros_like(score), score], axis=1)


def examples(seed: int) -> tuple[np.ndarray, np.ndarray]:
    x = np.random.default_rng(seed).uniform(0.2, 0.8, [20, 2, 2, 1]).astype(np.float32)
    return x, np.argmax(linear(x), axis=1)


@every_damage
def test_an_evaluation_goes_on_to_the_same_report(damage, tmp_path, fault_counts, monkeypatch):
    craft, done = subject.Subject._craft, []

    def interrupted(self, *arguments):
        done.append(1)
        if len(done) > 2:
            raise KeyboardInterrupt
        return craft(self, *arguments)

    for name, seed in (("whole", 0), ("foreign", 1)):
        done.clear()
        monkeypatch.setattr(subject.Subject, "_craft", interrupted)
        with contextlib.suppress(KeyboardInterrupt):
            evaluate(linear, examples(seed), 0.1, suite="gradient", check=False, state=tmp_path / "made" / name)
    monkeypatch.setattr(subject.Subject, "_craft", craft)

    def work(folder: Path) -> str:
        values = evaluate(linear, examples(0), 0.1, suite="gradient", check=False, state=folder).to_json()
        for row in values["rows"]:
            del row["seconds"]
        return json.dumps(values)

    assert_refused_or_equal(
        work,
        tmp_path / "made" / "whole",
        tmp_path / "made" / "foreign",
        tmp_path,
        damage,
        lambda **counts: fault_counts(f"state of an evaluation, {damage.__name__}", **counts),
    )


@every_damage
def test_a_damaged_archive_is_refused_before_anything_is_written(damage, shared_data, tmp_path, fault_counts):
    """Of MNIST: every file has a hash, so that nothing else passes for it."""
    source, names = shared_data / "mnist", DATASETS["mnist"].archives
    random, refused = np.random.default_rng(0), 0
    for number in range(TIMES):
        folder = tmp_path / str(number)
        folder.mkdir()
        for name in names:
            shutil.copyfile(source / name, folder / name)
        name, other = names[number % len(names)], names[(number + 1) % len(names)]
        damage(folder / name, random, source / other)
        with pytest.raises(UserError, match=name):
            prepare("mnist", folder, tmp_path / "tfds", str)
        refused += not (tmp_path / "tfds").exists()
    fault_counts(f"archives of a data set, {damage.__name__}", injected=TIMES, clear_error=refused)


@pytest.mark.parametrize("damage", [flip, cut])
def test_a_report_is_read_whole_or_not_at_all(damage, tmp_path, fault_counts):
    evaluate(linear, examples(0), 0.1, suite="quick", check=False).save(tmp_path / "made")

    def work(folder: Path) -> str:
        return json.dumps([report.to_json() for report in compare.load([folder])])

    assert_refused_or_equal(
        work,
        tmp_path / "made",
        tmp_path / "made",
        tmp_path,
        damage,
        lambda **counts: fault_counts(f"report.json, {damage.__name__}", **counts),
        names=["report.json"],
    )


@every_damage
def test_a_reproduction_shows_the_same_numbers(damage, tmp_path, fault_counts):
    targets = ["avmixup/theorem2", "weight_decay/fig4", "label_smoothing_variants/fig1"]
    for name, key in (("whole", targets), ("foreign", ["feature_smoothing/fig3"])):
        run(key, tmp_path / "made" / name, scale="smoke", report=str)

    def work(folder: Path) -> str:
        run(targets, folder, scale="smoke", report=str)
        found = [json.loads(path.read_text()) for path in sorted(folder.glob("*/study.json"))]
        return json.dumps([[study[part] for part in ("study", "compared", "findings", "results")] for study in found])

    assert_refused_or_equal(
        work,
        tmp_path / "made" / "whole",
        tmp_path / "made" / "foreign",
        tmp_path,
        damage,
        lambda **counts: fault_counts(f"jobs of a reproduction, {damage.__name__}", **counts),
        names=["jobs/"],
    )
