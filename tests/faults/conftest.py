"""Counting what was injected, for the record; and the programs that work for hours, at a size of seconds."""

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tfadv import models
from tfadv.reproduction.runs import digest

ROOT = Path(__file__).resolve().parents[2]

_INTRODUCTION = """# Faults injected

Written by `python -m pytest tests/faults --fault-counts=results/faults`; do not edit. Each line is one kind of fault:
how often it was injected, and how often the end was the identical result, or one clear error after which the work went
on to the identical result. "Different" would be a wrong number that nobody noticed.

| what | injected | identical result | clear error | different |
| :--- | ---: | ---: | ---: | ---: |
"""
_COLUMNS = ("injected", "identical", "clear_error", "different")


@pytest.fixture
def fault_counts(pytestconfig) -> Callable[..., None]:
    """`fault_counts(what, injected=, identical=, clear_error=)` adds a line to the folder of --fault-counts, if any."""

    def count(what: str, *, injected: int, identical: int = 0, clear_error: int = 0) -> None:
        different = injected - identical - clear_error
        place = pytestconfig.getoption("--fault-counts")
        if place:
            path = Path(place) / "counts.json"
            path.parent.mkdir(parents=True, exist_ok=True)
            known = json.loads(path.read_text()) if path.exists() else {}
            known[what] = {"injected": injected, "identical": identical, "clear_error": clear_error}
            known[what]["different"] = different
            path.write_text(json.dumps(known, indent=2, sort_keys=True) + "\n")
            # By name: what was read back is in the order of the alphabet.
            lines = [
                f"| {name} | " + " | ".join(str(each[column]) for column in _COLUMNS) + " |"
                for name, each in sorted(known.items())
            ]
            path.with_name("README.md").write_text(_INTRODUCTION + "\n".join(lines) + "\n")
        assert different == 0

    return count


_TARGETS = "avmixup/theorem2,feature_smoothing/fig3,weight_decay/fig4,label_smoothing_variants/fig1"
# A module and its flags, {folder} being the folder to work in.
_PROGRAMS = {
    "training": ("trainers.train", "--experiment=quickstart_digits/cheap", "--limit=200", "--steps=60",
                 "--checkpoint_every=10", "--workdir={folder}"),
    "evaluation": ("attacks.evaluate", "--model={model}", "--suite=quick", "--epsilon=0.1", "--limit=40",
                   "--output={folder}"),
    "reproduction": ("trainers.reproduce", f"--target={_TARGETS}", "--scale=smoke", "--output={folder}"),
}  # fmt: skip


class Programs:
    """Begins the programs and reads what they found."""

    def __init__(self, folder: Path) -> None:
        """Of a folder that receives the classifier to evaluate."""
        self.folder = folder
        models.small_cnn().save(folder / "model.keras")

    def begun(self, kind: str, folder: Path) -> subprocess.Popen:
        """A program that has imported everything and now begins to work in `folder`."""
        module, *flags = (word.format(folder=folder, model=self.folder / "model.keras") for word in _PROGRAMS[kind])
        code = f"import sys; from {module} import run; print('begun', flush=True); run()"
        process = subprocess.Popen(
            [sys.executable, "-c", code, *flags],
            env={**os.environ, "PYTHONPATH": str(ROOT), "TF_CPP_MIN_LOG_LEVEL": "3", "TF_NUM_INTRAOP_THREADS": "1"},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        assert process.stdout.readline() == "begun\n"
        return process

    def result(self, kind: str, folder: Path) -> str:
        """What the work found, without the times that it took."""
        if kind == "training":
            rows = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
            for row in rows:
                del row["images_per_second"]
            return json.dumps([digest(models.load(folder / "model.keras")), rows])
        if kind == "evaluation":
            report = json.loads((folder / "report.json").read_text())
            del report["sha256"]
            for row in report["rows"]:
                del row["seconds"]
            return json.dumps(report)
        found = [json.loads(path.read_text()) for path in sorted(folder.glob("*/study.json"))]
        return json.dumps([[study[part] for part in ("study", "compared", "findings", "results")] for study in found])

    def finished(self, kind: str, folder: Path) -> str:
        """Lets the program come to its end in `folder`; `result`."""
        process = self.begun(kind, folder)
        _, errors = process.communicate(timeout=900)
        assert process.returncode == 0, errors
        return self.result(kind, folder)


@pytest.fixture(scope="module")
def programs(tmp_path_factory) -> Programs:
    return Programs(tmp_path_factory.mktemp("programs"))
