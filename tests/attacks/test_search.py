"""The search that all attacks share: who moves, what is kept, and what `run` returns, on models worked out by hand."""

import dataclasses

import numpy as np
import pytest
import tensorflow as tf

from tfadv.attacks import search
from tfadv.attacks.pgd import Pgd
from tfadv.attacks.search import Attack
from tfadv.validation import UserError

# Two classes, four inputs: the gradient of the margin at label 0 points along column 1 - column 0.
WEIGHTS = np.array([[1.0, -1.0], [2.0, -2.0], [-3.0, 3.0], [0.5, 0.0]], np.float32)
UP = np.array([-1.0, -1.0, 1.0, -1.0])


def linear(x):
    return x @ WEIGHTS + [8.0, 0.0]


def ridge(height):
    """A model of one number v: class 1 leads by height - |v - 0.48|, so class 0 is wrong near 0.48 if height > 0."""
    return lambda v: tf.concat([tf.zeros_like(v), height - tf.abs(v - 0.48)], axis=1)


def started(attack, x, y=None):
    x = tf.constant(x, tf.float32)
    y = tf.zeros([len(x)], tf.int32) if y is None else tf.constant(y, tf.int32)
    problem = search.problem_of(attack, x, y)
    return problem, attack.begin(None, problem, x)


class TestAdvance:
    def test_an_example_waits_once_it_has_taken_its_own_number_of_moves(self):
        """`until` = 2, 0, 1 steps of 0.1 from 0.5; the batch runs until the slowest is through."""
        attack = Pgd(epsilon=1.0, step_size=0.1)
        problem, state = started(attack, np.full([3, 4], 0.5))
        state = search.advance(attack, linear, problem, state, tf.constant([2, 0, 1]))
        assert state.taken.numpy().tolist() == [2, 0, 1]
        np.testing.assert_allclose(state.x_adv, 0.5 + np.outer([0.2, 0.0, 0.1], UP), atol=1e-6)
        assert state.best_value.numpy()[1] == -np.inf  # Nobody has looked at the one that waits.

    def test_moves_in_two_portions_are_the_same_moves(self):
        attack = Pgd(epsilon=0.3, step_size=0.08, objective="margin")
        problem, begun = started(attack, [[0.31]])
        at_once = search.advance(attack, ridge(-0.01), problem, begun, tf.constant([4]))
        portions = begun
        for until in (1, 4):
            portions = search.advance(attack, ridge(-0.01), problem, portions, tf.constant([until]))
        tf.nest.map_structure(np.testing.assert_array_equal, tuple(portions), tuple(at_once))


class TestRecord:
    """Three points of value 1, 3, 2, of which a mask says which succeed."""

    def kept(self, keep, successes):
        attack = dataclasses.replace(_KEEPING[keep])
        state = search.opening(tf.constant([[0.0]]), best=tf.constant([[9.0]]))
        for point, (value, success) in enumerate(zip((1.0, 3.0, 2.0), successes, strict=True), start=1):
            state = search.record(
                attack, state, tf.constant([[float(point)]]), tf.constant([success]), tf.constant([value])
            )
        return float(state.best[0, 0]), bool(state.found[0])

    @pytest.mark.parametrize("keep", ["best", "last"])
    def test_the_first_success_wins_and_otherwise_the_highest_value(self, keep):
        assert self.kept(keep, (False, False, False)) == (2.0, False)
        assert self.kept(keep, (False, False, True)) == (3.0, True)
        assert self.kept(keep, (True, True, False)) == (1.0, True)

    def test_closest_is_the_success_of_highest_value_and_without_one_nothing(self):
        assert self.kept("closest", (False, False, False)) == (9.0, False)
        assert self.kept("closest", (True, False, True)) == (3.0, True)
        assert self.kept("closest", (True, True, True)) == (2.0, True)


@dataclasses.dataclass(frozen=True)
class Lookup(Attack):
    """Runs look at 0.1, 0.2, 0.3 in turn, and stay there."""

    keep: str = "best"

    @property
    def moves(self):
        return 2

    @property
    def runs(self):
        return 3

    def begin(self, model, problem, start):
        point = tf.cast(problem.run + 1, tf.float32)[:, None] * 0.1
        return search.opening(tf.zeros_like(problem.x) + point, best=problem.x)

    def measure(self, model, problem, state):
        return search.Measured(model(state.x_adv), state.x_adv)

    def move(self, problem, state, measured):
        return state

    def judge(self, problem, x_adv, logits):
        return search.hit(problem, logits, self.targeted), -tf.reduce_max(tf.abs(x_adv - problem.x), axis=1)


_KEEPING = {keep: Lookup(keep=keep) for keep in ("best", "last", "closest")}


class TestRun:
    X, Y = tf.constant([[0.05], [0.05]]), tf.zeros([2], tf.int32)

    def over(self, threshold):
        """Class 1 wins from `threshold` on."""
        return lambda v: tf.concat([tf.zeros_like(v), v - threshold], axis=1)

    def run(self, keep, threshold, **options):
        return search.run(Lookup(keep=keep), self.over(threshold), self.X, self.Y, **options).numpy()[0, 0]

    def test_the_first_run_alone_unless_all_are_asked_for(self):
        assert self.run("best", 0.15) == pytest.approx(0.1)
        assert self.run("best", 0.15, every_run=True) == pytest.approx(0.2)

    def test_closest_is_the_closest_of_all_runs(self):
        assert self.run("closest", 0.15, every_run=True) == pytest.approx(0.2)
        assert self.run("closest", 0.05, every_run=True) == pytest.approx(0.1)
        assert self.run("closest", 0.9, every_run=True) == pytest.approx(0.05)

    def test_last_returns_where_the_run_ends(self):
        assert self.run("last", 0.05) == pytest.approx(0.1)


@pytest.mark.parametrize("targeted", [False, True])
def test_a_hit_is_another_class_or_the_asked_one(targeted):
    problem = search.problem_of(Pgd(), tf.zeros([3, 1]), tf.constant([0, 1, 0]))
    logits = tf.constant([[1.0, 0.0], [1.0, 0.0], [0.5, 0.5]])  # A tie goes to the lower class.
    assert search.hit(problem, logits, targeted).numpy().tolist() == (
        [True, False, True] if targeted else [False, True, False]
    )


def test_a_targeted_search_descends_toward_the_class_it_is_given():
    """Label 1 is the target: the step goes where column 1 - column 0 grows."""
    attack = Pgd(epsilon=0.1, step_size=0.1, steps=1, targeted=True, random_start=False)
    x_adv = search.run(attack, linear, tf.fill([1, 4], 0.5), tf.ones([1], tf.int32))
    np.testing.assert_allclose(x_adv, [0.5 + 0.1 * UP], atol=1e-6)


def test_problem_takes_radius_and_step_of_the_attack_or_the_ones_given():
    x, y = tf.zeros([2, 1]), tf.zeros([2], tf.int32)
    assert search.problem_of(Pgd(epsilon=0.3, step_size=(0.1, 0.2)), x, y).step_size.numpy() == pytest.approx(
        [0.1, 0.2]
    )
    assert search.problem_of(Pgd(epsilon=0.3), x, y, epsilon=tf.constant(0.2)).epsilon.numpy() == pytest.approx(
        [0.2, 0.2]
    )
    without = search.problem_of(Lookup(), x, y, run=2)
    assert np.isinf(without.epsilon.numpy()).all()
    assert (without.step_size.numpy() == 0).all()
    assert without.run.numpy().tolist() == [2, 2]


def test_a_batch_of_unknown_size_and_a_radius_for_each_example_are_one_graph():
    attack = Pgd(epsilon=(0.1, 0.2), step_size=0.1, steps=2, restarts=3)
    specs = [tf.TensorSpec([None, 4]), tf.TensorSpec([None], tf.int32)]
    graph = tf.function(lambda x, y: search.run(attack, linear, x, y, every_run=True), specs, autograph=False)
    x_adv = graph(tf.fill([2, 4], 0.5), tf.zeros([2], tf.int32)).numpy()
    np.testing.assert_allclose(np.abs(x_adv - 0.5).max(axis=1), [0.1, 0.2], atol=1e-6)


@pytest.mark.parametrize(
    ("check", "message"),
    [
        (lambda: search.check_choice("norm", "l7", {"l2": 1}), r"norm must be one of \['l2'\], got 'l7'"),
        (lambda: search.check_count("steps", 0), "steps must be at least 1, got 0"),
    ],
)
def test_refusals_name_the_setting_and_what_is_allowed(check, message):
    with pytest.raises(UserError, match=message):
        check()
