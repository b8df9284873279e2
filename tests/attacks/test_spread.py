"""Attacks under `tf.distribute`: two virtual devices, and two processes, find what one device finds."""

import json
import os
import socket
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf

from tfadv.attacks.spread import gathered, place_of, replicas_here, spread

ROOT = Path(__file__).resolve().parents[2]


def test_one_device_is_left_as_it_is():
    strategy = tf.distribute.get_strategy()
    assert replicas_here(strategy) == 1
    assert place_of(strategy) == (0, 1)
    assert spread(abs, strategy) is abs
    alone = tf.distribute.OneDeviceStrategy("CPU:0")
    np.testing.assert_array_equal(gathered(alone, np.array([[1.5], [2.5]])), [[1.5], [2.5]])
    assert gathered(alone, np.array([True, False])).tolist() == [True, False]


# Both scripts print one JSON object: for each attack whether flags, images and counts equal those without a strategy.
_COMPARE = """
import json, sys
import numpy as np
import tensorflow as tf

def compare(strategy):
    import keras
    from tfadv import attacks, data, evaluation

    def model():
        keras.utils.set_random_seed(0)
        net = keras.Sequential([keras.Input((28, 28, 1)), keras.layers.Flatten(), keras.layers.Dense(10)])
        return net

    x, _ = data.arrays("digits", "test", limit=21)
    y = model()(x).numpy().argmax(axis=1).astype(np.int32)
    # Radii at which the attacks fool some of the images, and not all.
    configs = [
        attacks.Pgd(0.004, 0.001, 6, restarts=2),
        attacks.Apgd(0.004, 12, objective="targeted_dlr", targets=2),
        attacks.Square(0.004, 60),
    ]
    # One image is fewer than two processes: there each of them attacks it.
    found = {"replicas": strategy.num_replicas_in_sync}
    for config in configs:
        options = {"precision": "float32", "batch_size": 9}
        one = attacks.compiled(model(), config, **options).run(x, y)
        with strategy.scope():
            many = attacks.compiled(model(), config, **options).run(x, y)
        found[type(config).__name__] = {
            "fooled": float(one.adversarial.mean()),
            "flags": bool((one.adversarial == many.adversarial).all()),
            "pixels": float(np.abs(one.x_adv - many.x_adv).max()),
            "gradients": one.gradient_evaluations == many.gradient_evaluations,
        }
    with strategy.scope():
        many = evaluation.evaluate(model(), (x[:1], y[:1]), 0.002, suite="quick")
    one = evaluation.evaluate(model(), (x[:1], y[:1]), 0.002, suite="quick")
    found["evaluate"] = many.robust_accuracy == one.robust_accuracy
    print("FOUND", json.dumps(found))
"""
MIRRORED = (
    _COMPARE
    + """
device = tf.config.list_physical_devices("CPU")[0]
tf.config.set_logical_device_configuration(device, [tf.config.LogicalDeviceConfiguration()] * 2)
compare(tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"]))
"""
)
WORKERS = _COMPARE + "compare(tf.distribute.MultiWorkerMirroredStrategy())\n"


def free_ports(count):
    holders = [socket.socket() for _ in range(count)]
    for holder in holders:
        holder.bind(("127.0.0.1", 0))
    ports = [holder.getsockname()[1] for holder in holders]
    for holder in holders:
        holder.close()
    return ports


def started(script, **environment):
    return subprocess.Popen(
        [sys.executable, "-c", script],
        cwd=ROOT,
        env={**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3", "TF_NUM_INTRAOP_THREADS": "1", **environment},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def results(processes):
    try:
        ended = [process.communicate(timeout=300) for process in processes]
    finally:
        for process in processes:
            process.kill()
    assert [process.returncode for process in processes] == [0] * len(processes), ended[0][1][-3000:]
    return [json.loads(out.split("FOUND ")[1]) for out, _ in ended]


def assert_as_on_one_device(found):
    assert found.pop("replicas") == 2
    assert found.pop("evaluate")
    assert set(found) == {"Pgd", "Apgd", "Square"}
    for name, each in found.items():
        assert each["flags"], name
        assert each["pixels"] <= 1e-6, name
        assert each["gradients"], name
    # Something was fooled and something was not, or the flags would say little.
    assert any(0 < each["fooled"] < 1 for each in found.values())


@pytest.mark.slow
def test_two_virtual_devices_find_what_one_finds():
    (found,) = results([started(MIRRORED)])
    assert_as_on_one_device(found)


@pytest.mark.slow
def test_two_processes_share_the_examples_and_both_end_with_all_results():
    cluster = {"worker": [f"127.0.0.1:{port}" for port in free_ports(2)]}
    tasks = [json.dumps({"cluster": cluster, "task": {"type": "worker", "index": index}}) for index in (0, 1)]
    first, second = results([started(WORKERS, TF_CONFIG=task) for task in tasks])
    assert first == second
    assert_as_on_one_device(first)
