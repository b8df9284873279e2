"""Installs the wheel into empty virtual environments with the oldest and the newest packages, and tries it in each.

    python -m tools.packaging.matrix [--python=python3.10] [--which=oldest] [WHEEL]

The oldest are the minima of setup.py, each as a constraint "name==minimum"; what only other packages ask for is the
newest that these allow. Tried from an empty folder: import, training, resuming, `tfadv-evaluate --suite=quick` with its
checks, export, the export loaded again. Needs a package index that pip is configured for; exit status 77 says that
there is none. Without a WHEEL one is built from this checkout, which takes the package "build".
"""

from __future__ import annotations

import argparse
import os
import pathlib
import re
import shutil
import subprocess
import sys
import tempfile
import zipfile

ROOT = pathlib.Path(__file__).resolve().parents[2]
WHICH = ("oldest", "newest")
NO_INDEX = 77  # the status by which test programs say that they were skipped
_LIMIT = 1200  # seconds for one command

# What a stranger does first. Each is a line of the log; "{python}" and "{bin}" are the environment's.
_TRAIN = ("{bin}/tfadv-train", "--experiment=quickstart_digits/cheap", "--workdir=run", "--limit=200")
_EVALUATE = ("{bin}/tfadv-evaluate", "--model=run", "--epsilon=0.1", "--suite=quick", "--limit=20", "--output=report")
STEPS = (
    ("import", "{python}", "-c", "import tfadv; print(tfadv.__version__, tfadv.__file__)"),
    ("train", *_TRAIN, "--steps=4"),
    ("resume", *_TRAIN, "--steps=8"),
    ("evaluate", *_EVALUATE),
    ("export", "{bin}/tfadv-export", "--model=run", "--output=exported"),
    ("reload", "{python}", "-c", "{reload}"),
)
RELOAD = """
import numpy as np
from tfadv import data, models
x, _ = data.arrays("digits", "test", limit=10)
live, exported = (np.asarray(models.predictor(models.load(path))(x)) for path in ("run", "exported"))
assert live.shape == (10, 10) and np.abs(live - exported).max() < 1e-4, np.abs(live - exported).max()
"""
VERSIONS = """
import importlib.metadata, platform, sys
print("python", platform.python_version(), *(f"{name} {importlib.metadata.version(name)}" for name in sys.argv[1:]))
"""


class Failed(Exception):
    """A command that ended badly; the message holds what it printed."""


def minima(wheel: pathlib.Path) -> dict[str, str]:
    """Name -> the oldest version that the wheel asks for, without extras."""
    with zipfile.ZipFile(wheel) as archive:
        (name,) = (name for name in archive.namelist() if name.endswith(".dist-info/METADATA"))
        lines = archive.read(name).decode().splitlines()
    found = [line.removeprefix("Requires-Dist: ") for line in lines if line.startswith("Requires-Dist: ")]
    pairs = [re.fullmatch(r"([\w-]+)>=([\w.]+)", line) for line in found if "extra ==" not in line]
    if not pairs or None in pairs:
        raise Failed(f"setup.py must ask for packages in the form name>=version; the wheel says {found}")
    return {pair[1]: pair[2] for pair in pairs if pair}


def copied(folder: pathlib.Path) -> pathlib.Path:
    """`folder` with the files that a build reads, so that none leaves its own files in the checkout."""
    for name in ("setup.py", "pyproject.toml", "MANIFEST.in", "README.md", "CHANGELOG.md", "CITATION.cff", "LICENSE"):
        shutil.copy(ROOT / name, folder)
    for name in ("tfadv", "trainers", "attacks", "tests"):
        shutil.copytree(ROOT / name, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
    return folder


def built(folder: pathlib.Path) -> pathlib.Path:
    """A wheel of this checkout, built in `folder`, with the packages that are installed here."""
    source, output = folder / "source", folder / "dist"
    source.mkdir()
    _call([sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", output, copied(source)], folder)
    (wheel,) = output.glob("*.whl")
    return wheel


def has_index(folder: pathlib.Path) -> bool:
    """Whether pip finds and fetches a small package."""
    probe = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--no-cache-dir", "absl-py", "-d", folder]
    return subprocess.run([str(word) for word in probe], capture_output=True, timeout=_LIMIT).returncode == 0


def tried(wheel: pathlib.Path, which: str, python: str, folder: pathlib.Path) -> list[str]:
    """Makes the environment in `folder`, an empty one, and goes through the steps; a line for each.

    Raises:
        Failed: the packages cannot be installed together, or a step ended badly.
    """
    environment, work = folder / "environment", folder / "work"
    work.mkdir()
    _call([python, "-m", "venv", environment], folder)
    inside = {"python": str(environment / "bin" / "python"), "bin": str(environment / "bin"), "reload": RELOAD}
    pip = [inside["python"], "-m", "pip", "--disable-pip-version-check", "install", "--quiet", "--no-cache-dir"]
    _call([*pip, "--upgrade", "pip"], folder)  # the one of an old Python resolves for hours
    oldest, constraints = minima(wheel), folder / "constraints.txt"
    constraints.write_text("".join(f"{name}=={version}\n" for name, version in oldest.items()), encoding="utf-8")
    _call([*pip, *(["--constraint", constraints] if which == "oldest" else []), wheel], folder)
    lines = [_call([inside["python"], "-c", VERSIONS, *oldest], work).strip()]
    for name, *command in STEPS:
        printed = _call([word.format_map(inside) for word in command], work).strip()
        lines.append(f"{name}: {printed.splitlines()[-1] if printed else 'done'}")
    return lines


def _call(command: list, folder: pathlib.Path) -> str:
    """Runs a command in `folder`, away from this checkout and its caches; what it printed."""
    variables = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    variables |= {"TF_CPP_MIN_LOG_LEVEL": "3", "TMPDIR": str(folder)}
    words = [str(word) for word in command]
    done = subprocess.run(words, cwd=folder, env=variables, capture_output=True, text=True, timeout=_LIMIT)
    if done.returncode:
        raise Failed(f"{' '.join(words)[:300]}: status {done.returncode}\n{done.stdout[-3000:]}\n{done.stderr[-6000:]}")
    return done.stdout


def main(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("wheel", nargs="?", type=pathlib.Path, help="Default: built from this checkout.")
    parser.add_argument("--which", choices=WHICH, help="Default: both.")
    parser.add_argument("--python", default=sys.executable, help="The interpreter; default: this one.")
    options = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory() as name:
        folder = pathlib.Path(name)
        if not has_index(folder):
            print("skipped: pip finds no package index", file=sys.stderr)
            return NO_INDEX
        try:
            wheel = options.wheel.resolve() if options.wheel else built(folder)
            for which in [options.which] if options.which else WHICH:
                with tempfile.TemporaryDirectory() as place:
                    print(f"{which}:\n  " + "\n  ".join(tried(wheel, which, options.python, pathlib.Path(place))))
        except Failed as error:
            print(error, file=sys.stderr)
            return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
