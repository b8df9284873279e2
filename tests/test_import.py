"""`import tfadv` costs little beside TensorFlow, loads nothing that it may never need, and writes no file."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.slow

ROOT = Path(__file__).resolve().parents[1]
SECONDS = 0.3
REPEATS = 5
# Drawing, tables of files, data sets and test data: a function that needs one of them imports it.
LATE = ("matplotlib", "pyarrow", "sklearn", "tensorflow_datasets", "pandas", "torch", "jax", "cleverhans", "ray")


def run(*arguments: str, **variables: str) -> subprocess.CompletedProcess:
    environment = {**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3", **variables}
    return subprocess.run([sys.executable, *arguments], env=environment, capture_output=True, text=True, cwd=ROOT)


def test_it_costs_little_beside_tensorflow():
    """What Python itself counts for tfadv and all that it loads, once TensorFlow and Keras are there.

    The least of several processes: a busy machine makes an import longer, and never shorter.
    """
    costs = []
    for _ in range(REPEATS):
        done = run("-X", "importtime", "-c", "import tensorflow, keras; import tfadv")
        (line,) = re.findall(r"^import time: +\d+ \| +(\d+) \| tfadv$", done.stderr, re.MULTILINE)
        costs.append(int(line) / 1e6)
    assert min(costs) < SECONDS, costs


def test_it_does_not_load_what_it_may_never_need():
    code = "import tensorflow, keras, sys; before = set(sys.modules); import tfadv; print(*set(sys.modules) - before)"
    done = run("-c", code)
    assert done.returncode == 0, done.stderr
    loaded = {name.split(".")[0] for name in done.stdout.split()}
    assert "tfadv" in loaded
    assert loaded & set(LATE) == set()


@pytest.mark.parametrize("bytecode", [True, False], ids=["with bytecode", "without"])
def test_it_writes_no_file(bytecode, tmp_path):
    """Neither beside itself nor at home, where it stands, or among temporary files; Python's bytecode apart.

    Keras loads Matplotlib, which keeps a list of fonts at home; what they write is there before.
    """
    home, here, temporary, place = (tmp_path / name for name in ("home", "here", "temporary", "place"))
    for folder in (home, here, temporary):
        folder.mkdir()
    shutil.copytree(ROOT / "tfadv", place / "tfadv", ignore=shutil.ignore_patterns("__pycache__"))
    variables = {name: value for name, value in os.environ.items() if not name.startswith(("XDG_", "PYTHON", "MPL"))}
    variables |= {"HOME": str(home), "TMPDIR": str(temporary), "PYTHONPATH": str(place)}
    if not bytecode:
        variables["PYTHONDONTWRITEBYTECODE"] = "1"

    def imported(name: str) -> str:
        code = f"import {name}; print({name}.__file__)"
        return subprocess.run(
            [sys.executable, "-c", code], cwd=here, env=variables, capture_output=True, text=True
        ).stdout

    imported("keras")
    before = content(tmp_path)
    assert imported("tfadv") == f"{place}/tfadv/__init__.py\n"
    after = content(tmp_path)
    assert {path: data for path, data in after.items() if not (bytecode and "__pycache__" in path.parts)} == before


def content(folder: Path) -> dict[Path, bytes | None]:
    """Every file below `folder` with its bytes, and every folder."""
    found = sorted(folder.rglob("*"))
    return {path: path.read_bytes() if path.is_file() else None for path in found}
