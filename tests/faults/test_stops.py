"""SIGTERM at random moments of the programs: they end soon with a status that says so, and continue to the same end.

As in test_kills.py, a program is stopped, the next one continues in the same folder and is stopped as well, until one
comes to its end; every end is compared with that of a program that was never stopped.
"""

import signal
import subprocess
import time

import numpy as np
import pytest

from tfadv import stopping

pytestmark = pytest.mark.slow

STOPS = 5
LINE = "stopped by SIGTERM; the same command continues from what is finished"


@pytest.mark.parametrize("kind", ["training", "evaluation", "reproduction"])
def test_a_program_that_is_asked_to_stop_ends_soon_and_continues(kind, programs, tmp_path, fault_counts):
    straight, start = programs.begun(kind, tmp_path / "straight"), time.monotonic()
    _, errors = straight.communicate(timeout=900)
    seconds = time.monotonic() - start
    assert straight.returncode == 0, errors
    expected = programs.result(kind, tmp_path / "straight")
    random = np.random.default_rng(0)
    stops = finished = orderly = 0
    while stops < STOPS:
        folder = tmp_path / f"run {finished}"
        process = programs.begun(kind, folder)
        try:
            _, errors = process.communicate(timeout=random.uniform(0.1, 0.9) * seconds)
        except subprocess.TimeoutExpired:
            asked = time.monotonic()
            process.terminate()
            _, errors = process.communicate(timeout=120)
            assert time.monotonic() - asked < 2 * stopping.GRACE
        if process.returncode:
            # A shell gives both the same number. The signal kills where Python has not yet, or no longer, handlers.
            assert process.returncode in (stopping.STATUS, -signal.SIGTERM), errors
            if process.returncode == stopping.STATUS:
                assert errors.splitlines().count(LINE) == 1, errors
                orderly += 1
            assert "Traceback" not in errors
            stops += 1
            continue
        # It came to its end, perhaps just before it was asked to stop.
        assert LINE not in errors
        assert programs.result(kind, folder) == expected
        finished += 1
    assert programs.finished(kind, tmp_path / f"run {finished}") == expected
    assert orderly >= STOPS / 2
    fault_counts(f"SIGTERM during {kind}", injected=STOPS, identical=STOPS)
