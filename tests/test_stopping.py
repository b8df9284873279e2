"""SIGTERM: what is half-done is cleaned up, the status says what happened, and no long call can hold it off."""

import signal
import subprocess
import sys
import time

import pytest

from tfadv import stopping

# The module is loaded alone, because TensorFlow takes seconds.
PROGRAM = """
import ctypes, importlib.util, sys, time
spec = importlib.util.spec_from_file_location("stopping", sys.argv[1])
stopping = importlib.util.module_from_spec(spec)
spec.loader.exec_module(stopping)
stopping.GRACE = 1.0
stopping.end_on_sigterm()
try:
    print("ready", flush=True)
    {work}
finally:
    time.sleep(0.2)
    print("cleaned up", flush=True)
"""
SLEEP = "time.sleep(60)"
# A lock that is taken twice: no signal wakes the second call, and Python runs no handler before it returns.
HANG = "mutex = ctypes.create_string_buffer(64); [ctypes.CDLL(None).pthread_mutex_lock(mutex) for _ in range(2)]"


def begun(work: str) -> subprocess.Popen:
    command = [sys.executable, "-c", PROGRAM.format(work=work), stopping.__file__]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert process.stdout.readline() == "ready\n"
    return process


def test_the_status_is_the_one_that_a_shell_gives_a_killed_process():
    assert stopping.STATUS == 143


@pytest.mark.parametrize("times", [1, 2])
def test_what_is_half_done_is_cleaned_up_and_a_line_says_why(times):
    process = begun(SLEEP)
    for _ in range(times):
        process.send_signal(signal.SIGTERM)
        time.sleep(0.1)
    out, err = process.communicate(timeout=60)
    assert process.returncode == stopping.STATUS
    assert out == "cleaned up\n"
    assert err == "stopped by SIGTERM; the same command continues from what is finished\n"


# Python drops an exception of these two, and so a first attempt to end.
DROPS = {
    "callback of the garbage collector": """
    import gc
    gc.callbacks.append(lambda phase, info: time.sleep(0.5))
    gc.collect()
    time.sleep(60)
""",
    "__del__": """
    class Slow:
        def __del__(self):
            time.sleep(0.5)
    Slow()
    time.sleep(60)
""",
}


@pytest.mark.parametrize("work", DROPS.values(), ids=DROPS)
def test_it_ends_also_where_python_drops_what_is_raised(work):
    process = begun(work.strip())
    time.sleep(0.1)
    process.send_signal(signal.SIGTERM)
    out, err = process.communicate(timeout=60)
    assert process.returncode == stopping.STATUS
    assert out == "cleaned up\n"
    assert err == "stopped by SIGTERM; the same command continues from what is finished\n"


def test_a_call_that_does_not_return_ends_after_the_grace():
    process = begun(HANG)
    time.sleep(1)  # it says that it is ready before it hangs
    began = time.monotonic()
    process.send_signal(signal.SIGTERM)
    out, _ = process.communicate(timeout=60)
    assert process.returncode == stopping.STATUS
    assert out == ""
    assert time.monotonic() - began >= 1.0
