"""The program as a user runs it: status, lines, and what a kill leaves behind."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]

pytestmark = pytest.mark.slow


def start(*flags: str) -> subprocess.Popen:
    return subprocess.Popen(
        [sys.executable, "-m", "trainers.prepare_data", *flags],
        cwd=ROOT,
        env={**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3"},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def finish(process: subprocess.Popen) -> tuple[int, str, str]:
    out, err = process.communicate(timeout=300)
    return process.returncode, out, err


def wait(process: subprocess.Popen, reached: Callable[[], bool]) -> None:
    """Returns as soon as `reached()`; a program that ended before, or takes minutes, is ended and fails the test."""
    deadline = time.monotonic() + 300  # a busy machine may need a minute to import TensorFlow
    while not reached():
        if process.poll() is not None or time.monotonic() > deadline:
            process.kill()
            raise AssertionError(f"the program did not get there: {process.communicate()}")
        time.sleep(0.05)


def test_a_killed_run_leaves_no_data_set_and_the_next_run_cleans_up(shared_data, tmp_path):
    flags = ("--dataset=mnist", f"--archives={shared_data / 'mnist'}", f"--data_dir={tmp_path}")

    def half_way() -> bool:
        """TFDS has begun to write examples."""
        return any(tmp_path.glob(".preparing-mnist/prepared/mnist/*incomplete*/*"))

    process = start(*flags)
    wait(process, half_way)
    process.kill()
    finish(process)
    assert sorted(path.name for path in tmp_path.iterdir()) == [".preparing-mnist", ".preparing-mnist.lock"]
    (remains,) = tmp_path.glob(".preparing-mnist/prepared/mnist/*incomplete*")

    process = start(*flags)
    wait(process, lambda: not remains.exists() and half_way())
    process.send_signal(signal.SIGTERM)
    status, out, err = finish(process)
    assert status == 128 + signal.SIGTERM
    assert out.count("verified ") == 4
    assert "Traceback" not in err
    assert list(tmp_path.iterdir()) == []


def test_a_data_set_that_is_already_prepared_is_a_success(shared_data, tmp_path):
    status, out, err = finish(
        start("--dataset=cifar10", f"--archives={tmp_path}", f"--data_dir={shared_data / 'tfds'}")
    )
    assert status == 0, err
    assert out.startswith("cifar10 was already prepared in ")


def test_a_truncated_archive_ends_with_one_line_and_status_1(shared_data, tmp_path):
    for path in (shared_data / "mnist").iterdir():
        (tmp_path / path.name).symlink_to(path)
    name = "t10k-images-idx3-ubyte.gz"
    whole = (tmp_path / name).read_bytes()
    (tmp_path / name).unlink()
    (tmp_path / name).write_bytes(whole[:1_000_000])
    status, out, err = finish(
        start("--dataset=mnist", f"--archives={tmp_path}", f"--data_dir={tmp_path / 'tfds'}")
    )  # fmt: skip
    assert status == 1
    (line,) = (line for line in err.splitlines() if line.startswith("error:"))
    assert f"{name} is truncated at 1000000 of {len(whole)} bytes (expected sha256 8d422c7b" in line
    assert "train-images" not in line
    assert "Traceback" not in err
    assert "prepared in" not in out
    assert not (tmp_path / "tfds").exists()


def test_a_subset_is_prepared_by_its_own_name_and_announced_as_not_verified(shared_data, tmp_path):
    status, out, err = finish(
        start("--dataset=tiny_imagenet_subset", f"--archives={shared_data}", f"--data_dir={tmp_path}")
    )
    assert status == 0, err
    assert "not verified, because no checksum is registered for it: tiny-imagenet-200-subset.zip: sha256 " in out
    assert f"tiny_imagenet_subset is prepared in {tmp_path / 'tiny_imagenet_subset' / '1.0.0'}" in out
    assert [path.name for path in tmp_path.iterdir()] == ["tiny_imagenet_subset"]


@pytest.mark.parametrize("flags", [("--dataset=digits", "--archives=x"), ("--dataset=mnist",)])
def test_wrong_or_missing_flags_are_refused_by_name(flags):
    status, _, err = finish(start(*flags))
    assert status == 1
    assert "flag" in err.lower()
    assert "Traceback" not in err
