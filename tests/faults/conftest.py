"""Counting what was injected, for the record."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest

_INTRODUCTION = """# Faults injected

Written by `python -m pytest tests/faults --fault-counts=results/faults`; do not edit. Each line is one kind of fault:
how often it was injected, and how often the end was the identical result, or one clear error after which the work went
on to the identical result. "Different" would be a wrong number that nobody noticed.

| what | injected | identical result | clear error | different |
| :--- | ---: | ---: | ---: | ---: |
"""


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
            lines = [
                f"| {name} | " + " | ".join(map(str, each.values())) + " |" for name, each in sorted(known.items())
            ]
            path.with_name("README.md").write_text(_INTRODUCTION + "\n".join(lines) + "\n")
        assert different == 0

    return count
