"""Time is read, work is cut into stratified portions, and what is done in time is a fair sample."""

import time

import numpy as np
import pytest

from tfadv.evaluation.budget import PILOT, in_portions, seconds_of
from tfadv.validation import UserError

Y = np.repeat(np.arange(4), [400, 300, 200, 100])


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("90 s", 90), ("10 min", 600), ("1.5h", 5400), ("2 hours", 7200), ("1 minute", 60), (45, 45), ("30 secs", 30)],
)
def test_times_are_read(text, seconds):
    assert seconds_of(text) == seconds


@pytest.mark.parametrize("text", ["soon", "0 min", "-3 s", "10 parsecs", "", "1.2.3 s", "inf"])
def test_no_time_is_refused(text):
    with pytest.raises(UserError, match="budget must be a time"):
        seconds_of(text)


def portions(**changes):
    seen = []
    settings = {"seed": 0, "what": "test", "budget": None, "pilot": True, **changes}
    done = in_portions(seen.append, Y, **settings)
    return seen, done


def test_without_a_budget_everything_is_done_in_one_portion_or_after_a_first_look():
    seen, done = portions(pilot=False)
    assert [len(rows) for rows in seen] == [1000]
    assert done.all()
    seen, done = portions()
    assert [len(rows) for rows in seen] == [PILOT, 1000 - PILOT]
    assert done.all()
    assert sorted(np.concatenate(seen)) == list(range(1000))


def test_a_long_rest_is_announced(capsys, monkeypatch):
    now = iter([0, 0, 62, 100, 200])
    monkeypatch.setattr(time, "monotonic", lambda: next(now))
    portions()
    assert "test: about 15 min 38 s for the other 938 images" in capsys.readouterr().err


def test_a_budget_ends_the_work_with_a_stratified_sample(monkeypatch, capsys):
    """A clock on which every example takes a second: of 300 s, 210 are for the suite, and nothing exceeds them."""
    clock = [0.0]
    monkeypatch.setattr(time, "monotonic", lambda: clock[0])
    sizes = []

    def work(rows):
        clock[0] += len(rows)
        sizes.append(len(rows))

    done = in_portions(work, Y, seed=0, what="test", budget=300.0, pilot=True)
    assert sum(sizes) == int(done.sum())
    assert 150 <= done.sum() <= 210
    shares = np.bincount(Y[done]) / done.sum()
    np.testing.assert_allclose(shares, [0.4, 0.3, 0.2, 0.1], atol=0.02)
    assert "time is up" in capsys.readouterr().err


def test_some_examples_are_done_however_short_the_time():
    seen, done = portions(budget=1e-9)
    assert [len(rows) for rows in seen] == [PILOT]
    assert done.sum() == PILOT


def test_the_portions_follow_from_the_seed():
    first, _ = portions()
    again, _ = portions()
    other, _ = portions(seed=1)
    np.testing.assert_array_equal(first[0], again[0])
    assert (first[0] != other[0]).any()
