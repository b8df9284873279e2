"""The oldest and the newest packages that setup.py allows: installed into empty environments, and tried there."""

import importlib.util
import os
import re
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]


def load():
    """tools/packaging/matrix.py, which is in no package."""
    spec = importlib.util.spec_from_file_location("matrix", ROOT / "tools/packaging/matrix.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


matrix = load()


def wheel_asking(folder: Path, *requirements: str) -> Path:
    """A file like a wheel of a package that asks for these."""
    path = folder / "some-1-py3-none-any.whl"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("some-1.dist-info/METADATA", "".join(f"Requires-Dist: {each}\n" for each in requirements))
    return path


def test_the_constraints_are_the_minima_without_the_extras(tmp_path):
    wheel = wheel_asking(tmp_path, "numpy>=1.26", "absl-py>=2.0", "torch>=2.2; extra == 'torch'")
    assert matrix.minima(wheel) == {"numpy": "1.26", "absl-py": "2.0"}


@pytest.mark.parametrize("requirement", ["numpy", "numpy<3", "numpy>=1.26,<3"])
def test_a_package_without_a_plain_minimum_is_refused(requirement, tmp_path):
    with pytest.raises(matrix.Failed, match="name>=version"):
        matrix.minima(wheel_asking(tmp_path, "absl-py>=2.0", requirement))


@pytest.mark.slow
def test_without_an_index_it_ends_with_the_status_of_what_was_skipped(tmp_path):
    environment = {**os.environ, "PIP_NO_INDEX": "1", "PIP_FIND_LINKS": str(tmp_path), "PIP_CONFIG_FILE": os.devnull}
    command = [sys.executable, ROOT / "tools/packaging/matrix.py", tmp_path / "unused.whl"]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=120)
    assert done.returncode == matrix.NO_INDEX
    assert done.stderr == "skipped: pip finds no package index\n"


def test_a_command_that_fails_is_told_with_what_it_printed(tmp_path):
    with pytest.raises(matrix.Failed, match=r"(?s)status 3.*out of luck"):
        matrix._call([sys.executable, "-c", "print('out of luck'); raise SystemExit(3)"], tmp_path)


def short(version: str) -> str:
    """14.0.0 is 14."""
    return re.sub(r"(\.0)+$", "", version)


def interpreter(name: str) -> str:
    """The path of an interpreter that can make environments; the one that runs this where there is none of that name.

    A shim of a version manager is found whether or not its interpreter is chosen.
    """
    found = shutil.which(name)
    if found is None or subprocess.run([found, "-c", "import ensurepip, venv"], capture_output=True).returncode:
        return sys.executable
    return found


@pytest.fixture(scope="module")
def wheel(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("wheel")
    if not matrix.has_index(folder):
        pytest.skip("pip finds no package index")
    return matrix.built(folder)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("which", "python"), [("oldest", "python3.10"), ("newest", sys.executable)], ids=["oldest", "newest"]
)
def test_it_trains_evaluates_exports_and_loads_again_with_these_packages(which, python, wheel, tmp_path):
    """About two gigabytes and some minutes each; the versions are in the log (pytest -rP)."""
    lines = matrix.tried(wheel, which, interpreter(python), tmp_path)
    shutil.rmtree(tmp_path / "environment")
    print(*lines, sep="\n")
    assert [line.split(":")[0] for line in lines[1:]] == [name for name, *_ in matrix.STEPS]
    if which == "oldest":
        words = lines[0].split()
        found = dict(zip(words[::2], words[1::2], strict=True))
        assert {name: short(found[name]) for name in found if name != "python"} == {
            name: short(oldest) for name, oldest in matrix.minima(wheel).items()
        }
