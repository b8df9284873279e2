"""A disk that fills up, and a folder that nobody may write to: one line that names the file, and nothing lost.

The disk is a small tmpfs, which takes the right to mount one; so does the folder, because root may write anywhere else.
"""

import contextlib
import dataclasses
import json
import subprocess
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from tfadv import data, evaluate, models, training
from tfadv.attacks import Fgm
from tfadv.training import Experiment
from tfadv.validation import UserError

pytestmark = pytest.mark.slow

EXPERIMENT = Experiment("digits", "mlp", batch_size=20, steps=60, limit=200)


def mount(folder: Path, options: str) -> None:
    done = subprocess.run(["mount", "-t", "tmpfs", "-o", options, "tmpfs", str(folder)], capture_output=True, text=True)
    if done.returncode:
        pytest.skip(f"mounting a small disk takes more rights than these tests have: {done.stderr.strip()}")


@pytest.fixture
def disk(tmp_path) -> Iterator[Path]:
    """A disk of 64 MiB."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mount(folder, "size=64m")
    try:
        yield folder
    finally:
        subprocess.run(["umount", "-l", str(folder)], check=True)


@contextlib.contextmanager
def read_only(folder: Path) -> Iterator[None]:
    subprocess.run(["mount", "-o", "remount,ro", str(folder)], check=True)
    try:
        yield
    finally:
        subprocess.run(["mount", "-o", "remount,rw", str(folder)], check=True)


@contextlib.contextmanager
def full(folder: Path) -> Iterator[None]:
    """Not one byte is left."""
    filler = folder / "filler"
    with filler.open("wb", buffering=0) as stream, contextlib.suppress(OSError):
        while True:
            stream.write(bytes(4096))
    try:
        yield
    finally:
        filler.unlink()


def trained(folder: Path, steps: int) -> list[np.ndarray]:
    training.run(dataclasses.replace(EXPERIMENT, steps=steps), folder, checkpoint_every=20, report=str)
    return models.load(folder / "model.keras").get_weights()


def content(folder: Path) -> dict[str, bytes]:
    found = (path for path in sorted(folder.rglob("*")) if path.is_file() and path.name not in (".lock", "filler"))
    return {str(path.relative_to(folder)): path.read_bytes() for path in found if "tensorboard" not in path.parts}


@pytest.mark.parametrize("broken", [full, read_only])
def test_training_stops_in_one_line_and_goes_on_to_the_same_classifier(disk, tmp_path, broken, fault_counts):
    expected = trained(tmp_path / "straight", 60)
    run = disk / "run"
    trained(run, 20)
    before = content(run)
    with broken(disk), pytest.raises(UserError, match=r"write|space") as caught:
        trained(run, 60)
    assert str(disk) in str(caught.value)
    after = content(run)
    assert {name: after.get(name) for name in before if name.startswith(("model", "checkpoints/ckpt-20."))} == {
        name: data for name, data in before.items() if name.startswith(("model", "checkpoints/ckpt-20."))
    }
    for mine, other in zip(trained(run, 60), expected, strict=True):
        np.testing.assert_array_equal(mine, other)
    fault_counts(f"training on a disk that is {broken.__name__}", injected=1, clear_error=1)


@pytest.mark.parametrize("broken", [full, read_only])
def test_a_report_is_written_whole_or_not_at_all(disk, broken, fault_counts, linear_model):
    x = np.random.default_rng(0).uniform(0.1, 0.9, [30, 2, 2, 1]).astype(np.float32)
    y = linear_model.predict(x, verbose=0).argmax(axis=1)
    report = evaluate(linear_model, (x, y), 0.1, suite=[Fgm(0.1)], check=False)
    report.save(disk / "report")
    before = content(disk / "report")
    with broken(disk), pytest.raises(UserError, match=r"write|space") as caught:
        report.save(disk / "report")
    assert str(disk) in str(caught.value)
    assert content(disk / "report") == before
    report.save(disk / "report")
    assert json.loads((disk / "report" / "report.json").read_text())["headline"]["robust_accuracy"] is not None
    fault_counts(f"report to a disk that is {broken.__name__}", injected=1, clear_error=1)


@pytest.mark.parametrize("broken", [full, read_only])
def test_an_evaluation_whose_state_cannot_be_written_says_so(disk, broken, fault_counts, linear_model):
    x, y = data.arrays("digits", "test", limit=40)
    x = x[:, :2, :2]
    state = disk / "state"
    with broken(disk), pytest.raises(UserError, match=r"write|space") as caught:
        evaluate(linear_model, (x, y % 3), 0.1, suite="quick", state=state)
    assert str(disk) in str(caught.value)
    again = evaluate(linear_model, (x, y % 3), 0.1, suite="quick", state=state)
    assert again.robust_accuracy == evaluate(linear_model, (x, y % 3), 0.1, suite="quick").robust_accuracy
    what = f"state of an evaluation on a disk that is {broken.__name__}"
    fault_counts(what, injected=1, clear_error=1)
