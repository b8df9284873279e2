"""Two at once in one folder: the second says who is there and what to do, or waits; the dead keep nobody out."""

import contextlib
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tfadv import evaluate, export, files, models, quickstart

pytestmark = pytest.mark.slow

ROOT = Path(__file__).resolve().parents[2]
HOLDER = r"process {} on \S+ since [-\d]+ [:\d]+ \(.+\)"
REMEDY = "; wait until it has ended, or name another folder"


@contextlib.contextmanager
def paused_at_work(programs, kind: str, folder: Path) -> Iterator[subprocess.Popen]:
    """A program that holds a lock below `folder` and stands still; killed at the end."""
    process = programs.begun(kind, folder)
    try:
        while not any(path.stat().st_size for path in folder.rglob(".lock")):
            assert process.poll() is None, process.stderr.read()
            time.sleep(0.01)
        process.send_signal(signal.SIGSTOP)
        yield process
    finally:
        process.kill()
        process.communicate()


@pytest.mark.parametrize("kind", ["training", "evaluation"])
def test_a_second_program_is_refused_until_the_first_is_dead(kind, programs, tmp_path, fault_counts):
    expected, folder = programs.finished(kind, tmp_path / "straight"), tmp_path / "run"
    with paused_at_work(programs, kind, folder) as first:
        second = programs.begun(kind, folder)
        _, errors = second.communicate(timeout=300)
        assert second.returncode == 1
        (line,) = (line for line in errors.splitlines() if line.startswith("error:"))
        assert re.fullmatch(rf"error: {folder} is in use by {HOLDER.format(first.pid)}{REMEDY}", line)
    assert programs.finished(kind, folder) == expected
    fault_counts(f"two at once, {kind}", injected=1, clear_error=1)


def test_a_second_reproduction_waits_and_goes_on_alone_when_the_first_dies(programs, tmp_path, fault_counts):
    expected, folder = programs.finished("reproduction", tmp_path / "straight"), tmp_path / "run"
    with paused_at_work(programs, "reproduction", folder) as first:
        second = programs.begun("reproduction", folder)
        line = next(line for line in second.stderr if "waits for" in line)
        assert re.search(rf": waits for {HOLDER.format(first.pid)}$", line)
    _, errors = second.communicate(timeout=900)
    assert second.returncode == 0, errors
    assert programs.result("reproduction", folder) == expected
    fault_counts("two at once, reproduction", injected=1, identical=1)


@contextlib.contextmanager
def held(lock: Path) -> Iterator[int]:
    """Another process holds this lock file; its number. Killed at the end, so that the file stays."""
    code = "import sys, time; from pathlib import Path; from tfadv import files\n"
    code += "with files.locked(Path(sys.argv[1]), 'it'):\n    print('held', flush=True)\n    time.sleep(600)"
    process = subprocess.Popen([sys.executable, "-c", code, lock], cwd=ROOT, stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout.readline() == "held\n"
        yield process.pid
    finally:
        process.kill()
        process.communicate()
    assert lock.exists()


def test_a_second_export_is_refused_until_the_first_is_dead(tmp_path, fault_counts):
    net, folder = models.linear(), tmp_path / "exported"
    with held(tmp_path / ".exported.lock") as number:
        with pytest.raises(files.InUse, match=rf"{folder} is in use by {HOLDER.format(number)}{REMEDY}"):
            export.export_classifier(net, folder)
        assert not folder.exists()
    assert callable(models.predictor(models.load(export.export_classifier(net, folder))))
    fault_counts("two at once, export", injected=1, clear_error=1)


def test_a_second_evaluation_from_python_is_refused_until_the_first_is_dead(digits, tmp_path, fault_counts):
    net, state = models.linear(), tmp_path / "state"
    options = {"suite": "quick", "check": False, "limit": 20}
    with (
        held(state / ".lock") as number,
        pytest.raises(files.InUse, match=rf"{state} is in use by {HOLDER.format(number)}{REMEDY}"),
    ):
        evaluate(net, digits, 0.1, state=state, **options)
    found = evaluate(net, digits, 0.1, state=state, **options)
    assert found.robust_accuracy == evaluate(net, digits, 0.1, **options).robust_accuracy
    assert not state.exists()
    fault_counts("two at once, evaluation from Python", injected=1, clear_error=1)


def test_a_second_quickstart_is_refused(tmp_path, fault_counts):
    with (
        held(tmp_path / ".lock") as number,
        pytest.raises(files.InUse, match=rf"{tmp_path} is in use by {HOLDER.format(number)}{REMEDY}"),
    ):
        quickstart.run("digits", tmp_path)
    fault_counts("two at once, quickstart", injected=1, clear_error=1)
