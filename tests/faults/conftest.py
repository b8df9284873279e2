"""Counting what was injected, for the record."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest


@pytest.fixture
def fault_counts(pytestconfig) -> Callable[..., None]:
    """`fault_counts(what, **counts)` adds a line to the file of --fault-counts, if there is one."""

    def count(what: str, **counts: int) -> None:
        place = pytestconfig.getoption("--fault-counts")
        if place:
            path = Path(place)
            known = json.loads(path.read_text()) if path.exists() else {}
            path.write_text(json.dumps({**known, what: counts}, indent=2, sort_keys=True) + "\n")

    return count
