"""Progress: silent for short work, one line rewritten on a terminal, a line every 15 s elsewhere."""

import io
import types

import pytest

from tfadv import progress as module
from tfadv.progress import Progress


class Screen(io.StringIO):
    """Standard error that is a terminal or a file."""

    def __init__(self, terminal):
        super().__init__()
        self._terminal = terminal

    def isatty(self):
        return self._terminal


@pytest.fixture
def clock(monkeypatch):
    """A clock that stands still until a test sets it: clock.now, in seconds."""

    class Clock:
        now = 100.0

        def monotonic(self):
            return self.now

    clock = Clock()
    monkeypatch.setattr(module, "time", clock)
    return clock


@pytest.fixture
def screen(request, monkeypatch):
    screen = Screen(terminal=getattr(request, "param", False))
    monkeypatch.setattr(module, "sys", types.SimpleNamespace(stderr=screen))
    return screen


terminal = pytest.mark.parametrize("screen", [True], indirect=True)
anywhere = pytest.mark.parametrize("screen", [True, False], indirect=True, ids=["terminal", "file"])


@anywhere
def test_work_of_less_than_three_seconds_says_nothing(clock, screen):
    progress = Progress("attack")
    for second in range(3):
        clock.now = 100.0 + second
        progress(second + 1, 10)
    progress.close()
    assert screen.getvalue() == ""


@anywhere
def test_the_line_gives_count_rate_and_time_left(clock, screen):
    """1,500 of 4,500 in 10 s are 150/s, so the other 3,000 take 20 s."""
    progress = Progress("PGD", unit="rows")
    clock.now += 10
    progress(1500, 4500)
    assert screen.getvalue().strip("\r\n ") == "PGD: 1,500/4,500 rows, 150/s, 20 s left"


@anywhere
def test_nothing_done_yet_is_no_rate_and_no_division_by_zero(clock, screen):
    progress = Progress("attack", quiet_seconds=0.0)
    clock.now += 5
    progress(0, 10)
    assert screen.getvalue() == ""


def test_a_file_gets_one_whole_line_every_fifteen_seconds(clock, screen):
    progress = Progress("attack")
    for second in range(1, 41):
        clock.now = 100.0 + second
        progress(second, 40)
    progress.close()
    lines = screen.getvalue().splitlines()
    assert [line.split()[1] for line in lines] == ["3/40", "18/40", "33/40"]
    assert "\r" not in screen.getvalue()
    assert screen.getvalue().endswith("\n")


@terminal
def test_a_terminal_sees_one_line_rewritten_and_ended_once(clock, screen):
    """At most twice a second; a shorter text covers the longer one before it."""
    progress = Progress("attack", quiet_seconds=1.0)
    for tenth in range(1, 31):
        clock.now = 100.0 + tenth / 10
        progress(tenth, 30)
    progress.close()
    first, *lines = screen.getvalue().removesuffix("\n").split("\r")
    assert first == ""
    assert 3 <= len(lines) <= 5
    assert {len(line) for line in lines} == {78}
    assert screen.getvalue().count("\n") == 1
