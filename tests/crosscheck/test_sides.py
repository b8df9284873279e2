"""A library in a process of its own: what it answers, what it says when it cannot, and how it ends."""

import os

import numpy as np
import pytest

from tfadv.attacks import Fgm, Pgd
from tfadv.attacks.square import Square
from tfadv.crosscheck import PEERS, sides
from tfadv.crosscheck.sides import Process, Side, _prepared, _serve
from tfadv.validation import UserError

ROWS = np.arange(40)


@pytest.fixture
def saved(linear_net, tmp_path):
    path = tmp_path / "linear.keras"
    linear_net.save(path)
    return path


class Pipe:
    """One end of a pipe whose other end asked these questions and then left."""

    def __init__(self, questions):
        self.questions, self.answers, self.closed = list(questions), [], False

    def recv(self):
        if not self.questions:
            raise EOFError
        return self.questions.pop(0)

    def send(self, answer):
        self.answers.append(answer)

    def close(self):
        self.closed = True


def served(side, path, *questions):
    """What a side answers, in this process."""
    pipe = Pipe(questions)
    _serve(pipe, side, os.fspath(path), 16)
    assert pipe.closed
    return pipe.answers


def test_a_side_answers_with_images_seconds_and_memory(saved, examples):
    config = Fgm(epsilon=0.05, objective="margin")
    (good, (versions, threads)), *answers = served(
        Side("tfadv"), saved, (config, examples.x, examples.y, ROWS), (config, examples.x[:3], examples.y[:3], ROWS[:3])
    )
    assert good
    assert "tensorflow" in versions
    assert threads >= 1
    (good, (x_adv, seconds, idle, memory)), (_, (few, *_)) = answers
    assert good
    assert np.abs(x_adv - examples.x).max() == pytest.approx(0.05, abs=1e-6)
    np.testing.assert_allclose(few, x_adv[:3], atol=1e-6)
    assert seconds > 0
    assert idle == 0.0
    assert 50 < memory.loaded <= memory.peak


def test_what_goes_wrong_is_told_and_ends_it(saved, examples, tmp_path):
    ((good, text),) = served(Side("tfadv"), tmp_path / "missing.keras")
    assert not good
    assert "UserError: model path" in text
    *_, (good, text) = served(
        Side("cleverhans"), saved, (Square(), examples.x, examples.y, ROWS), ("never", "asked", "for")
    )
    assert not good
    assert text == "NotShared: CleverHans has no Square"


def test_our_search_has_the_precision_of_the_side(saved, examples, monkeypatch):
    seen = []
    real = sides.ours.bound
    monkeypatch.setattr(sides.ours, "bound", lambda *args, **options: seen.append(options) or real(*args, **options))
    attack, _, _ = _prepared(Side("tfadv", "bfloat16"), saved, 16)
    for _ in range(2):
        attack(Fgm(epsilon=0.05), examples.x, examples.y, ROWS)
    attack(Fgm(epsilon=0.06), examples.x, examples.y, ROWS)
    assert seen == [{"precision": "bfloat16", "batch_size": 16}] * 2


def test_names_and_peers():
    assert [Side("tfadv").name, Side("tfadv", "bfloat16").name] == ["tfadv float32", "tfadv bfloat16 search"]
    assert Side("art").name == "ART"
    assert Side("published").name == "AutoAttack (published)"
    assert Side("foolbox").peer() is PEERS["foolbox"]
    with pytest.raises(UserError, match=r"peers must be among .*'published'.*, got 'foolsbox'"):
        Side("foolsbox").peer()
    with pytest.raises(UserError, match="needs the folder of its source"):
        Side("published").peer()


@pytest.mark.slow
def test_a_process_attacks_waits_and_ends(saved, examples):
    config = Pgd(epsilon=0.05, step_size=0.05, steps=2, random_start=False)
    with Process(Side("cleverhans"), saved, 16) as process:
        child = process._process
        assert child.pid != os.getpid()
        assert "cleverhans" in process.versions
        first, seconds = process.run(config, examples.x, examples.y, ROWS)
        again, _ = process.run(config, examples.x, examples.y, ROWS)
        np.testing.assert_array_equal(first, again)
        assert np.abs(first - examples.x).max() == pytest.approx(0.05, abs=1e-6)
        assert seconds > 0
        assert 0 < process.idle_share < 1
        assert 50 < process.memory.loaded <= process.memory.peak
        with pytest.raises(UserError, match="CleverHans: NotShared: CleverHans has no Square"):
            process.run(Square(), examples.x, examples.y, ROWS)
    assert not child.is_alive()


@pytest.mark.slow
def test_a_process_that_dies_says_so(saved, examples):
    with Process(Side("tfadv"), saved, 16) as process:
        process._process.kill()
        with pytest.raises(UserError, match=r"tfadv float32 ended without an answer \(status -9\)"):
            process.run(Fgm(), examples.x, examples.y, ROWS)
