"""Several replicas and several processes end where one device does, also when processes are killed on the way.

Replicas are logical devices of one CPU, processes a cluster on the loopback address: real `tf.distribute` all along.
"""

import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from tfadv import models, training
from tfadv.experiments import EXPERIMENTS

ROOT = Path(__file__).resolve().parents[2]

pytestmark = pytest.mark.slow

ENVIRONMENT = {
    **os.environ,
    "TF_CPP_MIN_LOG_LEVEL": "3",
    "TF_NUM_INTRAOP_THREADS": "1",
    "CUDA_VISIBLE_DEVICES": "-1",  # so that every machine has the same devices
}


def numbers(row):
    """A row of metrics without the speed."""
    return {name: value for name, value in row.items() if name != "images_per_second"}


def rows_of(folder):
    return [numbers(json.loads(line)) for line in (folder / "metrics.jsonl").read_text().splitlines()]


def assert_close(found, expected, rel):
    """Losses and penalties up to `rel` of their size, accuracies up to one example of a hundred."""
    assert [row.keys() for row in found] == [row.keys() for row in expected]
    for row, other in zip(found, expected, strict=True):
        for name, value in row.items():
            tolerance = {"abs": 0.01} if "accuracy" in name else {"rel": rel}
            assert value == pytest.approx(other[name], **tolerance), (name, row["step"])


# Two replicas in one process.

TWO_REPLICAS = """
import dataclasses, json, pathlib, sys, traceback
import keras
import numpy as np
import tensorflow as tf

cpu, = tf.config.list_physical_devices("CPU")
tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * 2)

from tfadv import data, models, training
from tfadv.attacks import Fgm, Pgd
from tfadv.augment import GaussianNoise, Mixup
from tfadv.training import Experiment, Validation, pipeline
from tfadv.training import experiment as experiments

folder, mirrored = pathlib.Path(sys.argv[1]), training.make_strategy("mirrored")
plain = Experiment("digits", "linear", learning_rate=1e-3, batch_size=20, steps=20, limit=200)
augment, attack = (Mixup(new_points=4), GaussianNoise(0.3)), Pgd(0.1, 0.05, 2)


def train(name, kind, experiment, strategy):
    try:
        return training.run(experiment, folder / name / kind, checkpoint_every=10, strategy=strategy, report=str)
    except Exception:
        (folder / name / kind / "error").write_text(traceback.format_exc())


for name, fields in {
    "natural": dict(
        model="small_cnn", augment=augment, optimizer="sgd", learning_rate=0.05, momentum=0.9, nesterov=True,
        decay=((15, 0.1),), average=0.9, validation=Validation(Fgm(0.05), every=10, limit=50),
    ),
    "attack": dict(train_attack=dataclasses.replace(attack, random_start=False), l2=0.01),
    "random start": dict(train_attack=attack, ramp_steps=10),
    "wrappers": dict(method=(("madry", {"attack": attack}), ("avmixup", {"gamma": 1.5}), ("awp", {"gamma": 0.01}))),
}.items():
    for kind, strategy in (("single", None), ("mirrored", mirrored)):
        train(name, kind, dataclasses.replace(plain, **fields), strategy)


# One step of batch normalization, and the parts of its batch.
def normalized(classes, seed, shape):
    layers = [keras.layers.Flatten(), keras.layers.BatchNormalization(momentum=0.75), keras.layers.Dense(classes)]
    return keras.Sequential([keras.Input(shape), *layers])


models.MODELS["normalized"] = normalized
experiment = dataclasses.replace(plain, model="normalized", augment=augment, steps=1)
train("normalized", "mirrored", experiment, mirrored)
batch = pipeline.batches(experiment, *data.arrays("digits", "train", limit=200), 0, 1)
(whole,), (parts,) = batch, pipeline.shared(batch, mirrored)
parts = [np.stack(mirrored.experimental_local_results(each)) for each in parts]
np.savez(folder / "batch.npz", images=whole[0], labels=whole[1], image_parts=parts[0], label_parts=parts[1])

# Gradients overflow float16 until the loss scale was halved many times, on the second replica longer than on the first.
batches, build, trainees = pipeline.batches, experiments.build, []
bright = np.where(np.arange(20) < 10, 1.0, 30.0).astype(np.float32)[:, None, None, None]
pipeline.batches = lambda *args: batches(*args).map(lambda x, y: (x * bright, y))


def overflowing(experiment):
    trainees.append(build(experiment))
    trainees[-1].optimizer.dynamic_scale.assign(2.0**26)
    return trainees[-1]


experiments.build = overflowing
train("float16", "mirrored", dataclasses.replace(plain, model="small_cnn", precision="mixed_float16"), mirrored)
(folder / "updates").write_text(str(int(tf.convert_to_tensor(trainees[0].optimizer.iterations.value))))
"""


@pytest.fixture(scope="module")
def two_replicas(tmp_path_factory):
    """The folder in which each case was trained, by one device and by two replicas."""
    folder = tmp_path_factory.mktemp("replicas")
    command = [sys.executable, "-c", TWO_REPLICAS, str(folder)]
    done = subprocess.run(command, cwd=ROOT, env=ENVIRONMENT, capture_output=True, text=True, timeout=900)
    assert done.returncode == 0, done.stderr
    return folder


def error_of(folder):
    """The traceback of a run that failed; empty where it ended well."""
    return (folder / "error").read_text() if (folder / "error").exists() else ""


@pytest.mark.parametrize("case", ["natural", "attack", "random start", "wrappers"])
def test_two_replicas_train_what_one_device_trains(two_replicas, case):
    """Data, augmentation, random starts, penalties, perturbed weights and averages are those of the whole batch."""
    single, mirrored = (two_replicas / case / kind for kind in ("single", "mirrored"))
    assert error_of(single) + error_of(mirrored) == ""
    assert [row["step"] for row in rows_of(single)] == [10, 20]
    assert_close(rows_of(mirrored), rows_of(single), rel=1e-4)  # measured: 2e-7
    for one, two in zip(*(models.load(each).get_weights() for each in (single, mirrored)), strict=True):
        np.testing.assert_allclose(two, one, atol=1e-4)


def test_the_parts_of_real_replicas_in_order_are_the_batch(two_replicas):
    found = np.load(two_replicas / "batch.npz")
    assert found["image_parts"].shape == (2, 12, 28, 28, 1)  # 20 images and 4 mixed points
    np.testing.assert_array_equal(np.concatenate(found["image_parts"]), found["images"])
    np.testing.assert_array_equal(np.concatenate(found["label_parts"]), found["labels"])


def test_batch_normalization_gathers_the_mean_of_what_each_replica_sees(two_replicas):
    """Each replica normalizes by its own part, as Keras does without `synchronized`; the moving averages are shared.

    From 0 and 1 with momentum 0.75: mean 0.25 mu and variance 0.75 + 0.25 (v_1 + v_2) / 2, v_k of the parts.
    """
    assert error_of(two_replicas / "normalized" / "mirrored") == ""
    parts = np.load(two_replicas / "batch.npz")["image_parts"].reshape(2, 12, -1)
    *_, mean, variance, _, _ = models.load(two_replicas / "normalized" / "mirrored").get_weights()
    np.testing.assert_allclose(mean, 0.25 * parts.mean(axis=(0, 1)), atol=1e-5)
    np.testing.assert_allclose(variance, 0.75 + 0.25 * parts.var(axis=1).mean(axis=0), atol=1e-5)


def test_an_overflow_on_one_replica_skips_the_update_of_all(two_replicas):
    assert error_of(two_replicas / "float16" / "mirrored") == ""
    assert 0 < int((two_replicas / "updates").read_text()) < 20
    assert np.isfinite([row["train_loss"] for row in rows_of(two_replicas / "float16" / "mirrored")]).all()


# Two processes.

STEPS, EVERY = 60, 20
FLAGS = ("--experiment=quickstart_digits/natural", "--limit=300", f"--steps={STEPS}", f"--checkpoint_every={EVERY}")


class Cluster:
    """Worker processes on this machine that train in one folder; each can be killed and started again."""

    def __init__(self, folder, size=2):
        self.folder, self.logs = folder, [folder.with_suffix(f".{index}.log") for index in range(size)]
        sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(size)]
        self.hosts = [f"127.0.0.1:{each.getsockname()[1]}" for each in sockets]
        for each in sockets:
            each.close()
        self.processes = {}

    def __enter__(self):
        for index in range(len(self.hosts)):
            self.start(index)
        return self

    def __exit__(self, *_):
        for process in self.processes.values():
            process.kill()  # nothing where it has ended
            process.wait()

    def start(self, index):
        task = {"cluster": {"worker": self.hosts}, "task": {"type": "worker", "index": index}}
        with self.logs[index].open("a") as log:
            self.processes[index] = subprocess.Popen(
                [sys.executable, "-m", "trainers.train", *FLAGS, f"--workdir={self.folder}", "--strategy=multiworker"],
                cwd=ROOT,
                env={**ENVIRONMENT, "TF_CONFIG": json.dumps(task)},
                stdout=log,
                stderr=subprocess.STDOUT,
            )

    def said(self, index):
        return self.logs[index].read_text()

    def wait_until_said(self, index, text, seconds=300):
        end = time.monotonic() + seconds
        while text not in self.said(index):
            assert time.monotonic() < end, self.said(index)
            assert self.processes[index].poll() is None, self.said(index)
            time.sleep(0.02)

    def kill(self, index):
        self.processes[index].send_signal(signal.SIGKILL)
        assert self.processes[index].wait() == -signal.SIGKILL

    def wait(self, seconds=300):
        """Waits until every process has ended well."""
        for index, process in self.processes.items():
            assert process.wait(seconds) == 0, self.said(index)


@pytest.fixture(scope="module")
def uninterrupted(tmp_path_factory):
    """(folder, what each of two workers said) of a run that nothing disturbed."""
    with Cluster(tmp_path_factory.mktemp("cluster") / "run") as cluster:
        cluster.wait()
        return cluster.folder, [cluster.said(index) for index in range(2)]


def files_of(folder):
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())


def test_two_workers_train_what_one_process_trains_and_the_chief_alone_writes(uninterrupted, tmp_path):
    folder, (chief, worker) = uninterrupted
    experiment = EXPERIMENTS["quickstart_digits/natural"]
    experiment = training.Experiment(**{**vars(experiment), "steps": STEPS, "limit": 300})
    metrics = training.run(experiment, tmp_path / "single", checkpoint_every=EVERY, report=str)
    rows = rows_of(folder)
    assert [row["step"] for row in rows] == [20, 40, 60]
    assert_close(rows, rows_of(tmp_path / "single"), rel=5e-3)  # measured: 1e-6 after 20 steps of Adam, 9e-4 after 60
    found = json.loads((folder / "metrics.json").read_text())
    assert_close([numbers(found)], [numbers(metrics)], rel=5e-3)

    progress = [line for line in chief.splitlines() if line.startswith(("step ", "{"))]
    assert [line.split("  ")[0] for line in progress[:-1]] == ["step 20/60", "step 40/60", "step 60/60"]
    assert json.loads(progress[-1]) == found
    said = [line for line in worker.splitlines() if line.startswith(("step ", "{"))]
    assert [json.loads(line) for line in said] == [{"step": 60, "test_accuracy": found["test_accuracy"]}]

    here, alone = ([name for name in files_of(each) if "events." not in name] for each in (folder, tmp_path / "single"))
    assert here == alone
    assert len(list((folder / "tensorboard").iterdir())) == 1


def test_when_each_process_was_killed_once_the_run_ends_as_if_none_had_been(uninterrupted, tmp_path):
    """The worker dies after step 20, the chief after step 40; whoever is left notices, starts again and waits."""
    with Cluster(tmp_path / "run") as cluster:
        for step, victim in ((20, 1), (40, 0)):
            cluster.wait_until_said(0, f"step {step}/60")
            cluster.kill(victim)
            cluster.start(victim)
        cluster.wait()
        for index, step in ((0, 20), (1, 40)):
            lost = f"another process of the cluster was lost after step {step}; .*this process starts again by itself"
            assert re.search(lost, cluster.said(index))
            assert f"resumed at step {step} of 60" in cluster.said(0)
    folder, _ = uninterrupted
    for name in ("metrics.json", "metrics.jsonl"):
        found, expected = (
            [numbers(json.loads(text)) for text in re.findall(r"\{[^}]*\}", (each / name).read_text())]
            for each in (cluster.folder, folder)
        )
        assert found == expected
    for one, two in zip(*(models.load(each).get_weights() for each in (cluster.folder, folder)), strict=True):
        np.testing.assert_array_equal(one, two)
