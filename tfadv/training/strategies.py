"""Where a training step runs: one device, all devices of a machine, several machines, a TPU; `tf.distribute` alone."""

from __future__ import annotations

import json
import os
import sys
from typing import Any, NoReturn

import tensorflow as tf

from tfadv.validation import UserError

# What the others see when a process of the cluster dies.
LOST = (tf.errors.UnavailableError, tf.errors.AbortedError, tf.errors.CancelledError, tf.errors.DeadlineExceededError)
# What a training step can be spread over: names that `make_strategy` takes.
STRATEGIES = ("default", "mirrored", "multiworker", "tpu")
_EXAMPLE = '{"cluster": {"worker": ["host0:2222", "host1:2222"]}, "task": {"type": "worker", "index": 0}}'


class WorkerLost(UserError):
    """Another process of the cluster ended; the run continues from its checkpoint when all processes start again."""


def make_strategy(name: str, tpu: str = "") -> tf.distribute.Strategy:
    """The strategy of this name; call it before anything else of TensorFlow runs in the process.

    Args:
        name: "default" is one device, the first GPU if there is one; "mirrored" all GPUs of this machine, or without
            one its logical CPU devices; "multiworker" one process for each entry of the cluster in TF_CONFIG, started
            with the same command and an index of its own; "tpu" all cores of a TPU.
        tpu: name or address of the TPU; "" is the one of this machine.

    Raises:
        UserError: no strategy of that name; TF_CONFIG missing or damaged; no TPU found.
    """
    if name == "default":
        return tf.distribute.get_strategy()
    if name == "mirrored":
        kind = "GPU" if tf.config.list_logical_devices("GPU") else "CPU"
        return tf.distribute.MirroredStrategy([device.name for device in tf.config.list_logical_devices(kind)])
    if name == "multiworker":
        _check_cluster(os.environ.get("TF_CONFIG", ""))
        return tf.distribute.MultiWorkerMirroredStrategy()
    if name == "tpu":
        return _tpu(tpu)
    raise UserError(f"strategy must be one of {list(STRATEGIES)}, got {name!r}")


def start_again() -> NoReturn:
    """Replaces this process by a new one of the same command: a cluster does not take back a process that was lost.

    The new one waits for the others. What the old one had not written is gone.
    """
    sys.stdout.flush()
    sys.stderr.flush()
    os.execv(sys.executable, [sys.executable, *sys.orig_argv[1:]])


def _check_cluster(text: str) -> None:
    try:
        cluster: Any = json.loads(text)
        hosts = cluster["cluster"][cluster["task"]["type"]]
        complete = isinstance(hosts, list) and cluster["task"]["index"] in range(len(hosts))
    except (ValueError, KeyError, TypeError):
        complete = False
    if not complete:
        raise UserError(
            f"strategy 'multiworker' needs the cluster and this process's place in it as the environment variable "
            f"TF_CONFIG, got {text!r}; for two machines: {_EXAMPLE} on the first, index 1 on the second"
        )


def _tpu(address: str) -> tf.distribute.Strategy:
    try:
        resolver = tf.distribute.cluster_resolver.TPUClusterResolver.connect(address)
    except (ValueError, RuntimeError, tf.errors.OpError, OSError) as error:
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise UserError(
            f"strategy 'tpu' found no TPU at {address or 'this machine'!r} ({reason}); run on a TPU machine with a "
            "TensorFlow that drives it, name its address, or choose 'default' or 'mirrored'"
        ) from error
    return tf.distribute.TPUStrategy(resolver)
