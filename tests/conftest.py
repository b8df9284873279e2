"""Fixtures that more than one room uses: real data where it is at hand, and models small enough to work out by hand."""

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

import keras
import numpy as np
import pytest

ROOT = Path(__file__).resolve().parents[1]


def pytest_addoption(parser: pytest.Parser) -> None:
    """Of tests/faults; here, because pytest asks the top folder alone."""
    parser.addoption("--fault-counts", metavar="FOLDER", help="keeps what tests/faults injected and found")


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The folder of real data beside the clone, or a skip that says what is missing."""
    folder = (ROOT / "../shared/data").resolve()
    if not folder.is_dir():
        pytest.skip(f"real data is optional, and {folder} is absent")
    return folder


@pytest.fixture(scope="session")
def digits() -> tuple[np.ndarray, np.ndarray]:
    """The first 64 test images of the embedded digits: (float32 [64, 28, 28, 1], int32 [64])."""
    from tfadv import data

    return data.arrays("digits", "test", limit=64)


@pytest.fixture(scope="session")
def mnist_dir(shared_data, tmp_path_factory) -> Path:
    """A TensorFlow Datasets folder that holds real MNIST, prepared once from the original files (about 15 s)."""
    from tfadv.data.prepare import prepare

    folder = tmp_path_factory.mktemp("tensorflow_datasets")
    prepare("mnist", shared_data / "mnist", folder)
    return folder


LINEAR_WEIGHTS = np.array([[1.0, -1.0, 0.0], [2.0, 0.0, -2.0], [-1.0, 3.0, -2.0], [0.5, -1.5, 1.0]], np.float32)


@pytest.fixture
def linear_model() -> keras.Model:
    """Images [B, 2, 2, 1] -> logits [B, 3] = flat(image) @ LINEAR_WEIGHTS: every attack on it has a closed form."""
    inputs = keras.Input((2, 2, 1))
    dense = keras.layers.Dense(3, use_bias=False)
    model = keras.Model(inputs, dense(keras.layers.Flatten()(inputs)))
    dense.kernel.assign(LINEAR_WEIGHTS)
    return model


@pytest.fixture(scope="module")
def small_net():
    """Name of a classifier of 28x28x1 images that is a hundred times cheaper to train than the smallest real one.

    It stands in `tfadv.models.MODELS` while the tests of one file run.
    """
    from tfadv import models

    def build(classes: int = 10, seed: int = 0, shape: tuple[int, ...] = (28, 28, 1)) -> keras.Model:
        glorot = [keras.initializers.GlorotUniform(seed=2 * seed + number) for number in range(2)]
        layers = [
            keras.Input(shape),
            keras.layers.Conv2D(4, 4, strides=4, activation="leaky_relu", kernel_initializer=glorot[0]),
            keras.layers.Flatten(),
            keras.layers.Dense(classes, dtype="float32", kernel_initializer=glorot[1]),
        ]
        return keras.Sequential(layers, name="small_net")

    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(models.MODELS, "small_net", build)
        yield "small_net"


# Runs a program once for each list of flags, all in one process, because importing TensorFlow takes seconds.
_ONE_BY_ONE = """
import contextlib, importlib, io, json, sys, traceback
from absl import flags

module, lists = sys.argv[1:]
program = importlib.import_module(module)
ends = []
for arguments in json.loads(lists):
    for name in flags.FLAGS:
        flags.FLAGS[name].unparse()
    sys.argv = [program.__file__, *arguments]
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        try:
            status = program.run()
        except SystemExit as end:
            status = end.code
        except BaseException:
            traceback.print_exc()
            status = 1
    ends.append([status or 0, out.getvalue(), err.getvalue()])
print(json.dumps(ends))
"""


class Ended(NamedTuple):
    """How a program ended: its exit status and what it printed."""

    status: int
    out: str
    err: str


@pytest.fixture(scope="session")
def run_program() -> Callable[..., list[Ended]]:
    """`run_program("trainers.train", flags, more_flags)` runs the program once for each list of flags.

    The runs are in one fresh process, one after the other, from the root of the clone. `prepare` is code to execute
    in that process before.
    """

    def run(module: str, *lists: list[str], prepare: str = "") -> list[Ended]:
        done = subprocess.run(
            [sys.executable, "-c", prepare + _ONE_BY_ONE, module, json.dumps(lists)],
            cwd=ROOT,
            env={**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3"},
            capture_output=True,
            text=True,
            timeout=900,
        )
        assert done.returncode == 0, done.stderr
        return [Ended(*each) for each in json.loads(done.stdout.splitlines()[-1])]

    return run
