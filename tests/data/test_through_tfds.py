"""Data that is absent, damaged or incomplete ends in one clear line, and soon."""

import dataclasses
import http.server
import os
import socket
import struct
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from tfadv import data
from tfadv.data import through_tfds
from tfadv.data.prepare import prepare
from tfadv.validation import UserError

ROOT = Path(data.__file__).parents[2]

PROGRAM = """
import sys
from absl import app
from tfadv import data
from tfadv.validation import exit_cleanly
app.run(exit_cleanly(lambda argv: data.load(argv[1], "test", argv[2])))
"""


@pytest.fixture
def offline(monkeypatch):
    """Sends every request to a port where nobody listens, so that a machine with a network has none either."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        nobody = f"http://127.0.0.1:{probe.getsockname()[1]}"
    for name in ("http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY"):
        monkeypatch.setenv(name, nobody)
    for name in ("no_proxy", "NO_PROXY"):
        monkeypatch.delenv(name, raising=False)


@pytest.mark.slow
def test_a_program_without_network_and_data_ends_soon_with_one_line_and_status_1(offline, tmp_path):
    start = time.monotonic()
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, "cifar10", str(tmp_path / "tfds")],
        cwd=ROOT,
        env={**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1, done.stderr
    assert "Traceback" not in done.stderr
    lines = [line for line in done.stderr.splitlines() if line.startswith("error:")]
    assert len(lines) == 1
    assert done.stderr.rstrip().endswith(lines[0])
    assert "data set 'cifar10' is not in data_dir" in lines[0]
    assert "connect this machine to the network" in lines[0]
    assert "prepare_data --dataset=cifar10 --archives=FOLDER" in lines[0]
    assert "cifar-10-binary.tar.gz" in lines[0]
    assert not (tmp_path / "tfds").exists()
    # TFDS alone retries for more than 200 s; most of what this takes is the import of TensorFlow on a busy machine.
    assert time.monotonic() - start < 180


@pytest.mark.parametrize("name", ["mnist", "fashion_mnist", "cifar10"])
def test_absent_data_without_network_names_the_data_set_and_both_ways(offline, tmp_path, name):
    with pytest.raises(UserError) as caught:
        data.arrays(name, "test", tmp_path)
    message = str(caught.value)
    assert "\n" not in message
    assert f"data set {name!r} is not in data_dir {tmp_path}" in message
    assert "connect this machine to the network" in message
    assert f"--dataset={name} --archives=FOLDER --data_dir={tmp_path}" in message
    assert list(tmp_path.iterdir()) == []


def test_data_that_may_not_be_downloaded_unasked_is_not(tmp_path, monkeypatch):
    """ImageNet's terms of access are between its owners and the user."""
    monkeypatch.setattr(through_tfds, "unreachable", lambda url: pytest.fail(f"looked at {url}"))
    with pytest.raises(UserError) as caught:
        data.arrays("tiny_imagenet", "test", tmp_path)
    message = str(caught.value)
    assert "terms of access of ImageNet; fetch http://cs231n.stanford.edu/tiny-imagenet-200.zip yourself" in message
    assert f"--dataset=tiny_imagenet --archives=FOLDER --data_dir={tmp_path}" in message
    assert list(tmp_path.iterdir()) == []


def test_absent_data_of_unpublished_size_is_reported_the_same_way(tmp_path):
    with pytest.raises(UserError, match=r"'tiny_imagenet_subset' is not in data_dir .*tiny-imagenet-200-subset\.zip"):
        data.arrays("tiny_imagenet_subset", "validation", tmp_path)


def test_sizes_are_those_of_the_prepared_files(small, tmp_path):
    name, source = small
    prepare(name, source, tmp_path / "tfds")
    assert through_tfds.sizes(data.DATASETS[name], tmp_path / "tfds") == {"train": 60, "test": 40}


def test_the_default_folder_is_that_of_tfds(offline, tmp_path, monkeypatch):
    monkeypatch.setattr("tensorflow_datasets.core.constants.DATA_DIR", str(tmp_path / "default"))
    with pytest.raises(UserError, match=f"not in data_dir {tmp_path}/default"):
        data.arrays("mnist", "test")


def test_files_in_the_manual_folder_of_tfds_are_used_and_compared(offline, tmp_path):
    """TFDS takes files by name from there; the files of another data set, which share the names, are refused."""
    manual = tmp_path / "downloads" / "manual"
    manual.mkdir(parents=True)
    for name in data.DATASETS["mnist"].archives:
        (manual / name).write_bytes(b"something else")
    with pytest.raises(UserError, match=r"data set 'mnist' .* wrong checksum"):
        data.arrays("mnist", "test", tmp_path)
    assert not (tmp_path / "mnist" / "3.0.1").exists()


def test_originals_in_the_manual_folder_are_prepared_without_a_network(offline, tmp_path, small):
    name, source = small
    (tmp_path / "tfds" / "downloads").mkdir(parents=True)
    (tmp_path / "tfds" / "downloads" / "manual").symlink_to(source)
    assert len(data.arrays(name, "test", tmp_path / "tfds")[1]) == 40


@pytest.mark.parametrize(("status", "reason"), [(200, None), (403, None), (404, None), (503, "status 503")])
def test_a_host_that_answers_is_within_reach_unless_it_is_out_of_order(status, reason, monkeypatch):
    monkeypatch.setenv("no_proxy", "127.0.0.1")

    class Answer(http.server.BaseHTTPRequestHandler):
        def do_HEAD(self):
            self.send_response(status)
            self.end_headers()

        def log_message(self, *_):
            """Keeps the test output clean."""

    with http.server.HTTPServer(("127.0.0.1", 0), Answer) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        obstacle = through_tfds.unreachable(f"http://127.0.0.1:{server.server_port}/file")
        server.shutdown()
    assert obstacle == (reason and f"127.0.0.1 is out of reach: {reason}")


def test_a_host_that_never_answers_is_given_up(monkeypatch):
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    monkeypatch.setattr(through_tfds, "REACH_SECONDS", 0.2)
    with socket.create_server(("127.0.0.1", 0)) as mute:
        start = time.monotonic()
        obstacle = through_tfds.unreachable(f"http://127.0.0.1:{mute.getsockname()[1]}/file")
    assert obstacle is not None
    assert obstacle.startswith("127.0.0.1 is out of reach: ")
    assert time.monotonic() - start < 5


def test_a_damaged_description_is_reported(tmp_path):
    folder = tmp_path / "mnist" / "3.0.1"
    folder.mkdir(parents=True)
    (folder / "dataset_info.json").write_text("{")
    with pytest.raises(UserError, match=r"data set 'mnist' in .* cannot be opened .*prepare it again"):
        data.arrays("mnist", "test", tmp_path)


def record_end(path: Path, records: int) -> int:
    """Where that many records of a TFRecord file end: each is length (8 bytes), checksum (4), data, checksum (4)."""
    with path.open("rb") as file:
        for _ in range(records):
            (length,) = struct.unpack("<Q", file.read(8))
            file.seek(4 + length + 4, os.SEEK_CUR)
        return file.tell()


@pytest.mark.parametrize("damage", ["missing", "cut inside an example", "cut between two examples"])
def test_damaged_files_are_reported_with_the_folder_to_delete(small, tmp_path, damage):
    name, source = small
    (records,) = prepare(name, source, tmp_path / "tfds").folder.glob(f"{name}-test.tfrecord*")
    if damage == "missing":
        records.unlink()
    else:
        os.truncate(records, record_end(records, 10) + (7 if "inside" in damage else 0))
    with pytest.raises(UserError, match=f"'{name}' are missing or damaged .* delete {records.parent} and prepare"):
        data.arrays(name, "test", tmp_path / "tfds")


def test_a_data_set_of_another_size_is_refused(small, tmp_path, monkeypatch):
    """A truncated MNIST would give every later number another meaning."""
    name, source = small
    prepare(name, source, tmp_path)
    whole = dataclasses.replace(data.DATASETS[name], splits={"train": 60_000, "test": 10_000})
    monkeypatch.setitem(data.DATASETS, name, whole)
    with pytest.raises(UserError, match=f"'test' of '{name}' holds 40 instead of 10000 examples; delete .*{name}"):
        data.arrays(name, "test", tmp_path)
