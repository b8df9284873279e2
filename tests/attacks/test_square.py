"""The Square Attack: its start, its windows, what it accepts, and that it needs no gradient."""

import numpy as np
import pytest
import tensorflow as tf

from tfadv.attacks import Square, compiled, search
from tfadv.attacks.square import image_shape, window_sizes
from tfadv.balls import BALLS
from tfadv.validation import UserError

RNG = np.random.default_rng(0)
X = (0.3 + 0.4 * RNG.random((16, 8, 8, 3))).astype(np.float32)
WEIGHTS = RNG.normal(size=(192, 3)).astype(np.float32)


def linear(x):
    return (tf.reshape(x, [-1, 192]) - 0.5) @ WEIGHTS


def never(x):
    """Class 0 by far: nothing is ever accepted as a success, and the margin grows along the first pixel."""
    first = tf.reshape(x, [-1, 192])[:, :1]
    return tf.concat([tf.ones_like(first) * 9.0, first], axis=1)


Y = linear(X).numpy().argmax(axis=1).astype(np.int32)


def problem_of(attack, x=X):
    return search.problem_of(attack, tf.constant(x), tf.zeros([len(x)], tf.int32))


class TestStart:
    def test_linf_starts_with_vertical_stripes_of_plus_and_minus_epsilon_for_each_channel(self):
        attack = Square(0.1)
        delta = attack.draw(problem_of(attack)).numpy() - X
        np.testing.assert_allclose(np.abs(delta), 0.1, atol=1e-6)
        np.testing.assert_allclose(delta, np.broadcast_to(delta[:, :1], delta.shape), atol=1e-6)
        assert (delta[:, 0] > 0).mean() == pytest.approx(0.5, abs=0.1)
        assert len(np.unique(np.sign(delta[:, 0]).reshape(16, -1), axis=0)) == 16  # Each example has its own.

    def test_l2_starts_on_the_sphere(self):
        attack = Square(0.5, norm="l2")
        delta = attack.draw(problem_of(attack)).numpy() - X
        np.testing.assert_allclose(np.linalg.norm(delta.reshape(16, -1), axis=1), 0.5, rtol=1e-4)


class TestWindows:
    def test_the_side_is_the_root_of_the_share_which_halves_at_the_published_queries(self):
        """28 x 28 pixels: sqrt(0.8 * 784) = 25.04, sqrt(0.4 * 784) = 17.7, ..."""
        sides = window_sizes("linf", 0.8, 28, 28)[:, 0]
        assert sides[:5].tolist() == [25, 18, 13, 9, 6]
        assert (sides >= 1).all()

    def test_l2_windows_have_odd_sides_of_three_at_least(self):
        sides = window_sizes("l2", 0.8, 28, 28)[:, 0]
        assert (sides % 2 == 1).all()
        assert sides.min() == 3

    def test_a_proposal_changes_one_square_to_plus_or_minus_epsilon_and_leaves_the_rest(self):
        attack = Square(0.1, p_init=0.1)
        problem = problem_of(attack)
        state = attack.begin(never, problem, attack.draw(problem))
        moved = attack.move(
            problem, state._replace(best=problem.x, taken=state.taken + 1), attack.measure(never, problem, state)
        )
        delta = moved.x_adv.numpy() - X
        changed = np.abs(delta).max(axis=3) > 1e-6
        side = window_sizes("linf", 0.1, 8, 8)[0, 0]
        for row in range(16):
            rows, columns = np.flatnonzero(changed[row].any(axis=1)), np.flatnonzero(changed[row].any(axis=0))
            assert (len(rows), len(columns)) == (side, side)
            assert rows[-1] - rows[0] == columns[-1] - columns[0] == side - 1
            window = delta[row][changed[row]]
            np.testing.assert_allclose(np.abs(window), 0.1, atol=1e-6)
            assert len(np.unique(np.sign(window), axis=0)) == 1  # One sign for each channel of the window.


@pytest.mark.parametrize("norm", ["linf", "l2"])
def test_only_what_raises_the_margin_is_accepted(norm):
    """The margin at the best point never falls, query by query."""
    attack = Square(0.2 if norm == "linf" else 1.0, queries=30, norm=norm)
    problem = problem_of(attack)
    state, margins = attack.begin(never, problem, attack.draw(problem)), []
    for until in range(1, 31):
        state = search.advance(attack, never, problem, state, tf.fill([16], until))
        margins.append(state.best_value.numpy())
        size = BALLS[norm].size(state.x_adv - problem.x).numpy()
        assert (size <= attack.epsilon * (1 + 1e-5)).all()
    assert (np.diff(margins, axis=0) >= 0).all()
    assert (margins[-1] > margins[0]).any()


def test_it_needs_no_gradient():
    outcome = compiled(lambda x: linear(tf.round(x * 50) / 50), Square(0.2, queries=300), precision="float32").run(X, Y)
    assert outcome.adversarial.mean() > 0.5
    assert outcome.gradient_evaluations == 0
    assert 0 < outcome.queries <= 16 * 300


def test_more_queries_fool_more():
    few, many = (compiled(linear, Square(0.02, queries=count), precision="float32").run(X, Y) for count in (5, 500))
    assert (many.adversarial >= few.adversarial).all()
    assert many.adversarial.sum() > few.adversarial.sum()


def test_inputs_that_are_no_images_are_searched_as_one_column():
    assert image_shape(tf.zeros([2, 7])) == (7, 1, 1)
    flat, shaped = X.reshape(16, 192), Square(0.1, queries=60)
    outcome = compiled(lambda x: linear(tf.reshape(x, [-1, 8, 8, 3])), shaped, precision="float32").run(flat, Y)
    assert np.abs(outcome.x_adv - flat).max() <= 0.1 + 1e-6


def test_a_targeted_search_reaches_its_class():
    wanted = ((Y + 1) % 3).astype(np.int32)
    outcome = compiled(linear, Square(0.3, queries=400, targeted=True), precision="float32").run(X, wanted)
    np.testing.assert_array_equal(linear(outcome.x_adv).numpy().argmax(axis=1) == wanted, outcome.adversarial)
    assert outcome.adversarial.mean() > 0.5


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"norm": "l1"}, r"norm must be one of \['l2', 'linf'\], got 'l1'"),
        ({"queries": 0}, "queries must be at least 1, got 0"),
        ({"p_init": 0.0}, r"p_init .* must be in \(0, 1\], got 0.0"),
        ({"epsilon": -1.0}, "epsilon must be a finite number >= 0"),
    ],
)
def test_refused(fields, message):
    with pytest.raises(UserError, match=message):
        Square(**fields)
