"""Strategies by name: what each refuses, and which process writes. Real clusters train in test_scale_out.py."""

import json
import os
import sys
from types import SimpleNamespace

import pytest
import tensorflow as tf

from tfadv.devices import is_chief
from tfadv.training import STRATEGIES, WorkerLost, make_strategy, start_again
from tfadv.validation import UserError


def test_default_is_the_strategy_of_a_process_that_asks_for_none():
    assert make_strategy("default") is tf.distribute.get_strategy()


def test_mirrored_takes_every_device_of_this_machine():
    strategy = make_strategy("mirrored")
    kind = "GPU" if tf.config.list_logical_devices("GPU") else "CPU"
    assert isinstance(strategy, tf.distribute.MirroredStrategy)
    assert strategy.num_replicas_in_sync == len(tf.config.list_logical_devices(kind))
    assert is_chief(strategy)


def test_an_unknown_name_is_refused():
    message = r"strategy must be one of \['default', 'mirrored', 'multiworker', 'tpu'\], got 'horovod'"
    with pytest.raises(UserError, match=message):
        make_strategy("horovod")
    assert STRATEGIES == ("default", "mirrored", "multiworker", "tpu")


CLUSTER = {"worker": ["a:1", "b:1"]}


@pytest.mark.parametrize(
    "config",
    [
        None,
        "",
        "{half",
        "[]",
        "null",
        "{}",
        {"cluster": CLUSTER},
        {"task": {"type": "worker", "index": 0}},
        {"cluster": {}, "task": {"type": "worker", "index": 0}},
        {"cluster": CLUSTER, "task": {"type": "worker"}},
        {"cluster": CLUSTER, "task": {"index": 0}},
        {"cluster": CLUSTER, "task": {"type": "chief", "index": 0}},
        {"cluster": CLUSTER, "task": {"type": "worker", "index": 2}},
        {"cluster": CLUSTER, "task": {"type": "worker", "index": -1}},
        {"cluster": CLUSTER, "task": {"type": "worker", "index": "0"}},
        {"cluster": CLUSTER, "task": {"type": ["worker"], "index": 0}},
        {"cluster": {"worker": "a:1"}, "task": {"type": "worker", "index": 0}},
        {"cluster": ["a:1"], "task": {"type": "worker", "index": 0}},
    ],
    ids=str,
)
def test_a_cluster_that_is_missing_or_damaged_is_refused_with_an_example(monkeypatch, config):
    text = config if isinstance(config, str | None) else json.dumps(config)
    monkeypatch.delenv("TF_CONFIG", raising=False)
    if text is not None:
        monkeypatch.setenv("TF_CONFIG", text)
    with pytest.raises(UserError) as error:
        make_strategy("multiworker")
    assert f"TF_CONFIG, got {text or ''!r}; for two machines: {{" in str(error.value)


def test_the_example_in_the_refusal_is_one_that_is_taken(monkeypatch):
    monkeypatch.delenv("TF_CONFIG", raising=False)
    with pytest.raises(UserError) as error:
        make_strategy("multiworker")
    example = str(error.value).partition("for two machines: ")[2].partition(" on the first")[0]
    monkeypatch.setenv("TF_CONFIG", example)
    monkeypatch.setattr(tf.distribute, "MultiWorkerMirroredStrategy", lambda: "made")
    assert make_strategy("multiworker") == "made"


def test_without_a_tpu_it_says_so_in_one_line(monkeypatch):
    for name in ("TPU_NAME", "KUBE_GOOGLE_CLOUD_TPU_ENDPOINTS", "COLAB_TPU_ADDR"):
        monkeypatch.delenv(name, raising=False)
    message = r"strategy 'tpu' found no TPU at 'this machine' \(.+\); run on a TPU machine .* choose 'default' or 'mirr"
    with pytest.raises(UserError, match=message) as error:
        make_strategy("tpu")
    assert "\n" not in str(error.value)


def test_a_tpu_whose_name_is_given_is_named_in_the_refusal(monkeypatch):
    def refuse(address):
        raise ValueError(f"no {address}\nand a second line")

    monkeypatch.setattr(tf.distribute.cluster_resolver.TPUClusterResolver, "connect", refuse)
    with pytest.raises(UserError, match=r"found no TPU at 'v5e-8' \(no v5e-8\); run on a TPU machine"):
        make_strategy("tpu", tpu="v5e-8")


# A process that starts again.


def test_a_process_starts_again_with_its_own_command_and_nothing_left_in_its_buffers(monkeypatch):
    events = []
    monkeypatch.setattr(sys, "orig_argv", ["python3", "-m", "trainers.train", "--steps=5"])
    monkeypatch.setattr(os, "execv", lambda path, arguments: events.append((path, arguments)))
    for name in ("stdout", "stderr"):
        monkeypatch.setattr(sys, name, SimpleNamespace(flush=lambda name=name: events.append(name)))
    start_again()
    again = (sys.executable, [sys.executable, "-m", "trainers.train", "--steps=5"])
    assert sorted(events[:2]) == ["stderr", "stdout"]
    assert events[2:] == [again]


def test_a_lost_worker_is_an_error_that_a_program_may_print():
    assert issubclass(WorkerLost, UserError)
