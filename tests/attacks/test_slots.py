"""Who is in the batch: what leaves early, what a state file continues, and what happens when memory runs out."""

import numpy as np
import pytest
import tensorflow as tf

from tfadv.attacks import Pgd, compiled, saved
from tfadv.validation import UserError

RNG = np.random.default_rng(0)
HIDDEN, OUT = RNG.normal(size=(4, 8)).astype(np.float32), RNG.normal(size=(8, 3)).astype(np.float32)
X = RNG.random((90, 2, 2, 1), np.float32)


def toy(x):
    """Images [B, 2, 2, 1] -> logits [B, 3], curved enough that a few steps decide little."""
    return tf.tanh((tf.reshape(x, [-1, 4]) - 0.5) @ HIDDEN) @ OUT


Y = toy(X).numpy().argmax(axis=1).astype(np.int32)
CONFIG = Pgd(epsilon=0.12, step_size=0.01, steps=23, restarts=3, seed=4)


def attack(model=toy, config=CONFIG, **options):
    return compiled(model, config, **{"jit": "off", "precision": "float32", "batch_size": 16, **options})


class Killed(Exception):
    """Stands for a signal that ends the process."""


def killed_after(rounds):
    """A progress callback that ends the search in its `rounds`-th round."""
    left = [rounds]

    def progress(done, total):
        left[0] -= 1
        if not left[0]:
            raise Killed

    return progress


@pytest.fixture
def every_round(monkeypatch):
    """State files are written in every round, not every half minute."""
    monkeypatch.setattr(saved, "SECONDS_BETWEEN", 0.0)


class TestStateFile:
    def test_a_killed_search_continues_to_the_identical_result(self, tmp_path, every_round):
        """Killed every 7 rounds: with a full queue, among the restarts, and while the batch shrinks."""
        search = attack()
        expected = search.run(X, Y)
        assert 0.1 < expected.adversarial.mean() < 0.9
        path, kills = tmp_path / "search.npz", 0
        while True:
            try:
                outcome = search.run(X, Y, state=path, progress=killed_after(8))
                break
            except Killed:
                kills += 1
                assert path.exists()
        assert kills >= 4
        np.testing.assert_array_equal(outcome.x_adv, expected.x_adv)
        np.testing.assert_array_equal(outcome.adversarial, expected.adversarial)
        np.testing.assert_array_equal(outcome.ever_adversarial, expected.ever_adversarial)
        assert outcome.gradient_evaluations == expected.gradient_evaluations
        assert not path.exists()

    @pytest.fixture
    def state(self, tmp_path, every_round):
        """The file of a search that was killed in its third round."""
        with pytest.raises(Killed):
            attack().run(X, Y, state=tmp_path / "search.npz", progress=killed_after(3))
        return tmp_path / "search.npz"

    @pytest.mark.parametrize(
        ("other", "data", "message"),
        [
            ({"config": Pgd(epsilon=0.1)}, X, "belongs to another attack: its attack is .*; name another file"),
            ({"batch_size": 8}, X, "belongs to a search with another batch_size: its batch_size is 16, here it is 8"),
            ({}, 1 - X, "belongs to other data"),
            ({"model": lambda x: 1.1 * toy(x)}, X, "belongs to another model: its logits on these images differ"),
        ],
        ids=["attack", "batch size", "data", "model"],
    )
    def test_a_state_of_something_else_is_refused_by_name_and_left_alone(self, state, other, data, message):
        before = state.read_bytes()
        with pytest.raises(UserError, match=rf"search\.npz' {message}"):
            attack(**other).run(data, Y, state=state)
        assert state.read_bytes() == before

    @pytest.mark.parametrize("spoil", [lambda data: data[: len(data) // 2], lambda data: b"text", lambda data: b""])
    def test_a_damaged_state_is_refused_and_left_alone(self, state, spoil):
        spoiled = spoil(state.read_bytes())
        state.write_bytes(spoiled)
        with pytest.raises(UserError, match=r"search\.npz' is no readable state file .*remove it to begin anew"):
            attack().run(X, Y, state=state)
        assert state.read_bytes() == spoiled


class TestMemory:
    def limited(self, most):
        """A model whose search runs out of memory on more than `most` images."""

        def call(x):
            if not tf.executing_eagerly() and x.shape[0] is not None and x.shape[0] > most:
                raise tf.errors.ResourceExhaustedError(None, None, f"no room for {x.shape[0]} images")
            return toy(x)

        return call

    def test_when_memory_runs_out_the_batch_halves_and_the_result_is_the_same(self):
        expected = attack(batch_size=64).run(X, Y)
        outcome = attack(self.limited(20), batch_size=64).run(X, Y)
        np.testing.assert_array_equal(outcome.adversarial, expected.adversarial)
        np.testing.assert_allclose(outcome.x_adv, expected.x_adv, atol=1e-5)

    def test_when_one_image_is_too_much_the_error_says_so(self):
        with pytest.raises(UserError, match="memory ran out with batch_size 1"):
            attack(self.limited(0)).run(X, Y)


class TestWhatIsAdversarialAlready:
    WRONG = (Y + 1) % 3

    def test_it_costs_nothing_and_stays_as_it_is(self):
        outcome = attack().run(X, self.WRONG)
        assert outcome.adversarial.all()
        assert outcome.gradient_evaluations == 0
        np.testing.assert_array_equal(outcome.x_adv, X)

    def test_with_keep_last_it_is_attacked_all_the_same(self):
        outcome = attack(config=Pgd(epsilon=0.12, step_size=0.01, steps=6, keep="last")).run(X, self.WRONG)
        assert outcome.gradient_evaluations == 6 * len(X)


def test_progress_counts_examples_up_to_all_of_them():
    seen = []
    attack().run(X, Y, progress=lambda done, total: seen.append((done, total)))
    assert {total for _, total in seen} == {len(X)}
    assert [done for done, _ in seen] == sorted(done for done, _ in seen)
    assert seen[-1] == (len(X), len(X))
