"""Square Attack: its schedule, start and windows, l2 proposals worked by hand, and what is kept of a proposal."""

import dataclasses

import numpy as np
import pytest
import tensorflow as tf

from tfadv.attacks import search
from tfadv.attacks.square import Square, bump, bumps, moved_mass, square, window_sizes
from tfadv.validation import UserError

# Column 1 - column 0 = (-2, -4, 6, -0.5): what a unit of each pixel adds to the margin at label 0.
WEIGHTS = np.array([[1.0, -1.0], [2.0, -2.0], [-3.0, 3.0], [0.5, 0.0]], np.float32)
UP = np.array([-1.0, -1.0, 1.0, -1.0]).reshape(2, 2, 1)
both_norms = pytest.mark.parametrize("norm", ["linf", "l2"])


def linear(x):
    """Logits of label 0 stay 20 ahead: nothing in the box [-1, 1]^4 is misclassified."""
    return tf.reshape(x, [-1, 4]) @ WEIGHTS + [20.0, 0.0]


def run(model, x, config, y=None, jit=False, start=None):
    """The attack from its own start, as one graph."""
    x = tf.constant(x, tf.float32)
    y = tf.zeros([len(x)], tf.int32) if y is None else tf.constant(y, tf.int32)
    start = config.draw(search.problem_of(config, x, y)) if start is None else tf.constant(start, tf.float32)
    attack = tf.function(lambda *batch: square(model, *batch, config=config), autograph=False, jit_compile=jit)
    return attack(x, y, start).numpy()


def started(config, x):
    x = tf.constant(x, tf.float32)
    return config.draw(search.problem_of(config, x, tf.zeros([len(x)], tf.int32))).numpy()


def proposed(config, x, best, taken):
    """What the search looks at after `taken` queries, with `best` accepted so far; one number for all examples."""
    x, best = tf.constant(x, tf.float32), tf.constant(best, tf.float32)
    problem = search.problem_of(config, x, tf.zeros([len(x)], tf.int32))
    state = search.opening(x, best=best)._replace(taken=tf.fill([len(x)], taken))
    return config.move(problem, state, None).x_adv.numpy()


def extents(changed):
    """Rows and columns that the changed pixels of each image [B, H, W] span, after a check that they fill them."""
    found = []
    for image in changed:
        rows, columns = np.flatnonzero(image.any(axis=1)), np.flatnonzero(image.any(axis=0))
        span = (np.ptp(rows) + 1, np.ptp(columns) + 1)
        assert image.sum() == span[0] * span[1]
        found.append(span)
    return found


class TestSchedule:
    """p = 0.8 of 784 pixels is a square of 25.04; then p halves."""

    def test_sides_of_the_windows_of_an_image_of_28_by_28(self):
        sides = window_sizes("linf", 0.8, 28, 28)
        assert sides[:, 0].tolist() == sides[:, 1].tolist() == [25, 18, 13, 9, 6, 4, 3, 2, 2, 1]

    def test_for_l2_they_are_odd_and_at_least_3(self):
        assert window_sizes("l2", 0.8, 28, 28)[:, 0].tolist() == [25, 19, 13, 9, 7, 5, 3, 3, 3, 3]

    def test_where_a_square_does_not_fit_the_window_is_as_much_longer(self):
        """0.8 x 40 x 4 = 128 pixels are 32 rows of 4; a column of 10 features has windows of 8, of 4 and then of 1."""
        assert window_sizes("linf", 0.8, 40, 4)[0].tolist() == [32, 4]
        assert window_sizes("linf", 0.8, 4, 40)[0].tolist() == [4, 32]
        assert window_sizes("linf", 0.8, 10, 1)[:4].tolist() == [[8, 1], [4, 1], [1, 1], [1, 1]]

    def test_no_window_is_larger_than_its_image(self):
        """sqrt(0.8 x 16) = 3.6 rounds to 4, and for l2 to 5."""
        assert window_sizes("l2", 0.8, 4, 4)[0].tolist() == [4, 4]

    @pytest.mark.parametrize(
        ("taken", "side"),
        [(1, 25), (11, 25), (12, 18), (51, 18), (52, 13), (201, 13), (202, 9), (2001, 4), (2002, 3), (8002, 1)],
    )
    def test_p_halves_after_the_published_numbers_of_proposals(self, taken, side):
        """The first proposal follows the first query, of the start; the eleventh is the first after 10 are done."""
        x = np.full([4, 28, 28, 1], 0.5, np.float32)
        assert set(extents((proposed(Square(), x, x, taken) != x)[..., 0])) == {(side, side)}


class TestLinf:
    def test_the_start_is_vertical_stripes_at_the_radius(self):
        x = np.full([3, 6, 5, 2], 0.5, np.float32)
        change = started(Square(epsilon=0.1), x) - x
        np.testing.assert_allclose(np.abs(change), 0.1, atol=1e-6)
        np.testing.assert_array_equal(change, np.broadcast_to(change[:, :1], change.shape))
        assert len({row.tobytes() for row in np.moveaxis(change[:, 0], 2, 1).reshape(6, 5)}) > 3

    def test_a_proposal_puts_each_channel_of_one_window_at_the_radius_and_leaves_the_rest(self):
        rng = np.random.default_rng(0)
        x = np.full([40, 8, 8, 3], 0.5, np.float32)
        best = x + rng.uniform(-0.05, 0.05, x.shape).astype(np.float32)
        x_adv = proposed(Square(epsilon=0.1), x, best, 300)  # p = 0.1: 6.4 pixels, a side of 3.
        changed = x_adv != best
        assert set(extents(changed.all(axis=3))) == {(3, 3)}
        signs = set()
        for image, mask in zip(x_adv - x, changed.all(axis=3), strict=True):
            window = image[mask]
            np.testing.assert_array_equal(window, np.broadcast_to(window[0], window.shape))
            np.testing.assert_allclose(np.abs(window), 0.1, atol=1e-6)
            signs.add(tuple(np.sign(window[0])))
        assert len(signs) == 8
        np.testing.assert_array_equal(changed.any(axis=3), changed.all(axis=3))

    def test_windows_are_anywhere_also_at_the_last_row_and_column(self):
        """16 pixels, 2,000 windows of one: 125 each, with a standard deviation of 11."""
        x = np.full([2000, 4, 4, 1], 0.5, np.float32)
        counts = (proposed(Square(epsilon=0.1), x, x, 9000) != x).sum(axis=0)
        assert counts.sum() == 2000
        assert counts.min() > 75
        assert counts.max() < 175

    def test_on_a_linear_model_it_ends_in_the_optimal_corner(self):
        x = np.full([3, 2, 2, 1], 0.5, np.float32)
        x_adv = run(linear, x, Square(epsilon=0.1, queries=60))
        np.testing.assert_allclose(x_adv, x + 0.1 * UP, atol=1e-6)

    def test_features_without_axes_of_an_image_are_one_column(self):
        x = np.full([3, 4], 0.5, np.float32)
        x_adv = run(linear, x, Square(epsilon=0.1, queries=60))
        np.testing.assert_allclose(x_adv, x + 0.1 * UP.ravel(), atol=1e-6)


class TestL2:
    def test_a_bump_of_three_by_three(self):
        """Pyramids of 1 row and of 2: 1 + 1/4 in the middle (row 0 of 1, row 1 of 2), 1/4 one away; both of length 1.

        The squares add up to (1.25^2 + 2 x 0.25^2) = 1.6875 and to (1.25^2 + 5 x 0.25^2) = 1.875, together to 2.
        """
        top = np.array([[1, 5, 1]]) / 4 / np.sqrt(1.6875)
        bottom = -np.array([[1, 1, 1], [1, 5, 1]]) / 4 / np.sqrt(1.875)
        np.testing.assert_allclose(bump(3, 3), np.concatenate([top, bottom]) / np.sqrt(2), atol=1e-7)

    def test_bumps_of_every_level_are_halved_either_way(self):
        contents = bumps(0.8, 28, 28)
        assert contents.shape == (20, 25, 25)
        for level, side in enumerate([25, 19, 13, 9, 7, 5, 3, 3, 3, 3]):
            upright, lying = contents[2 * level], contents[2 * level + 1]
            np.testing.assert_allclose(upright[:side, :side], bump(side, side), atol=1e-7)
            assert np.count_nonzero(upright) == side**2
            np.testing.assert_array_equal(lying, upright.T)

    def test_the_start_fills_the_radius_with_bumps_of_random_signs_and_directions(self):
        """28 pixels hold five tiles of 5 behind a margin of 1; 25 tiles share the length: each has 1/5 of it."""
        x = np.full([4, 28, 28, 1], 0.5, np.float32)
        change = (started(Square(epsilon=0.5, norm="l2"), x) - x)[..., 0]
        np.testing.assert_allclose(np.linalg.norm(change, axis=(1, 2)), 0.5, rtol=1e-5)
        assert not change[:, [0, 26, 27]].any()
        assert not change[:, :, [0, 26, 27]].any()
        allowed = [sign * each for sign in (1, -1) for each in (bump(5, 5), bump(5, 5).T)]
        seen = set()
        for image in change:
            for tile in image[1:26, 1:26].reshape(5, 5, 5, 5).swapaxes(1, 2).reshape(25, 5, 5):
                kinds = [kind for kind, each in enumerate(allowed) if np.allclose(tile, 0.1 * each, atol=1e-6)]
                assert len(kinds) == 1
                seen.update(kinds)
        assert seen == {0, 1, 2, 3}

    def moved(self, delta, bump, epsilon):
        """Pixels 0, 1 and 2 of a row: the first window, the second one, and neither."""
        delta, bump = (np.float32(each).reshape(1, 1, 3, -1) for each in (delta, bump))
        first, second = ([[[[place == at] for place in range(3)]]] for at in (0, 1))
        return moved_mass(delta, bump, tf.constant(first), tf.constant(second), tf.fill([1, 1, 1, 1], epsilon)).numpy()

    def test_the_first_window_gets_the_length_of_the_second(self):
        """(3, 4, 12) of length 13 = epsilon becomes (5, 0, 12): sqrt(9 + 16) = 5, toward the bump and its old sign."""
        np.testing.assert_allclose(self.moved([3, 4, 12], [1, 0, 0], 13.0).ravel(), [5, 0, 12], rtol=1e-5)

    def test_and_the_length_that_the_box_has_cut(self):
        """|(3, 4, 0)|^2 = 25 of 36: sqrt(9 + 16 + 11) = 6."""
        np.testing.assert_allclose(self.moved([-3, 4, 0], [-1, 0, 0], 6.0).ravel(), [-6, 0, 0], rtol=1e-5)

    def test_which_channels_share_alike(self):
        """Squares (9, 16) and (16, 0) leave 82 - 41 - 9 = 32 for two channels: 25 + 16 = 41 and 16 + 16 = 32."""
        got = self.moved([[3, 4], [4, 0], [3, 0]], [[1, 1], [0, 0], [0, 0]], 82.0**0.5)
        expected = [[np.sqrt(9 + 16 + 16), np.sqrt(16 + 16)], [0, 0], [3, 0]]
        np.testing.assert_allclose(got[0, 0], expected, rtol=1e-5)

    def test_a_window_turns_half_way_to_its_bump(self):
        """Two pixels: (1, 0) plus the bump (0, 1) is turned by 45 degrees and keeps its length 2."""
        delta, bump = np.float32([2, 0]).reshape(1, 1, 2, 1), np.float32([0, 1]).reshape(1, 1, 2, 1)
        mask = tf.ones([1, 1, 2, 1], tf.bool)
        got = moved_mass(delta, bump, mask, mask, tf.fill([1, 1, 1, 1], 2.0)).numpy().ravel()
        np.testing.assert_allclose(got, [np.sqrt(2), np.sqrt(2)], rtol=1e-5)

    def test_a_proposal_has_the_length_of_the_radius_and_changes_two_windows(self):
        x = np.full([20, 12, 12, 2], 0.5, np.float32)
        config = Square(epsilon=0.5, norm="l2")
        best = started(config, x)
        x_adv = proposed(config, x, best, 1000)  # A side of 3.
        np.testing.assert_allclose(np.linalg.norm((x_adv - x).reshape(20, -1), axis=1), 0.5, rtol=1e-5)
        changed = (np.abs(x_adv - best) > 1e-6).any(axis=3).sum(axis=(1, 2))
        assert changed.min() >= 9
        assert changed.max() <= 18

    def test_on_a_linear_model_it_comes_close_to_the_optimum(self):
        """The optimum turns all of the radius to the gradient; windows of a whole image of 2 x 2 find a part of it."""
        x = np.full([5, 2, 2, 1], 0.5, np.float32)
        x_adv = run(linear, x, Square(epsilon=0.3, norm="l2", queries=300))
        gain = (linear(x_adv)[:, 1] - linear(x_adv)[:, 0]).numpy() - (linear(x)[:, 1] - linear(x)[:, 0]).numpy()
        assert (gain > 0.8 * 0.3 * np.linalg.norm([2, 4, 6, 0.5])).all()


class TestWhatIsKept:
    def margins(self, model, x, config, queries):
        """The margin of the best point after each number of queries."""
        x = tf.constant(x, tf.float32)
        problem = search.problem_of(config, x, tf.zeros([len(x)], tf.int32))
        state = config.begin(model, problem, config.draw(problem))
        advance = tf.function(
            lambda state, until: search.advance(config, model, problem, state, until), autograph=False
        )
        values, points = [], []
        for query in range(1, queries + 1):
            state = advance(state, tf.fill([len(x)], query))
            values.append(state.best_value.numpy())
            points.append(state.best.numpy())
        return np.array(values), np.array(points)

    @both_norms
    def test_a_proposal_is_accepted_exactly_if_it_raises_the_margin(self, norm):
        x = np.full([3, 2, 2, 1], 0.5, np.float32)
        values, points = self.margins(linear, x, Square(epsilon=0.1, norm=norm), 30)
        rises = np.diff(values, axis=0) > 0
        moves = np.diff(points, axis=0).any(axis=(2, 3, 4))
        np.testing.assert_array_equal(rises, moves)
        assert rises.any()
        assert not rises.all()
        assert (np.diff(values, axis=0) >= 0).all()

    def test_the_first_success_is_returned(self):
        """From -0.75 the margin gains 0.1 x 12.5 at most, and 0.85 with the first pixel at the wrong end."""

        def model(v):
            return tf.reshape(v, [-1, 4]) @ WEIGHTS + [0.5, 0.0]

        x_adv = run(model, np.full([20, 2, 2, 1], 0.5, np.float32), Square(epsilon=0.1, queries=40))
        assert (np.argmax(model(x_adv), axis=1) == 1).all()
        assert 0 < (x_adv[:, 0, 0, 0] > 0.5).sum() < 20

    def test_a_targeted_search_raises_the_margin_of_its_class(self):
        """Toward class 0, whose margin the other corner raises most; the model must not be there already."""

        def model(v):
            return tf.reshape(v, [-1, 4]) @ WEIGHTS - [20.0, 0.0]

        x = np.full([2, 2, 2, 1], 0.5, np.float32)
        x_adv = run(model, x, Square(epsilon=0.1, queries=60, targeted=True))
        np.testing.assert_allclose(x_adv, x - 0.1 * UP, atol=1e-6)

    def test_one_query_is_the_start_and_one_proposal(self):
        config, asked = Square(epsilon=0.1, queries=1), []

        def model(v):
            asked.append(v.numpy())
            return linear(v)

        x = np.full([1, 2, 2, 1], 0.5, np.float32)
        problem = search.problem_of(config, tf.constant(x), tf.zeros([1], tf.int32))
        square(model, problem.x, problem.y, config.draw(problem), config=config)
        start, proposal, clean = asked
        np.testing.assert_array_equal(start, started(config, x))
        np.testing.assert_allclose(np.abs(proposal - x), 0.1, atol=1e-6)
        np.testing.assert_array_equal(clean, x)
        assert config.queries_per_move == 1
        assert config.gradients_per_move == 0

    def test_a_start_of_the_callers_is_projected_and_looked_at_first(self):
        x = np.full([1, 2, 2, 1], 0.5, np.float32)
        problem = search.problem_of(Square(epsilon=0.1), tf.constant(x), tf.zeros([1], tf.int32))
        state = Square(epsilon=0.1).begin(linear, problem, tf.constant(x + 0.3))
        np.testing.assert_allclose(state.x_adv, x + 0.1, atol=1e-6)

    def test_a_second_run_draws_other_numbers(self):
        x = tf.fill([1, 28, 28, 1], 0.5)
        config = Square(restarts=2)
        first, second = (config.draw(search.problem_of(config, x, tf.zeros([1], tf.int32), run=run)) for run in (0, 1))
        assert config.runs == 2
        assert (first.numpy() != second.numpy()).any()


class TestInvariants:
    X = np.random.default_rng(3).uniform(-1.0, 1.0, [4, 6, 5, 2]).astype(np.float32)

    def model(self, v):
        """Nothing is misclassified, and every feature counts differently."""
        weights = np.random.default_rng(4).normal(size=(60, 3)).astype(np.float32)
        return tf.reshape(v, [-1, 60]) @ weights + [300.0, 0.0, 0.0]

    def config(self, norm, **fields):
        return Square(**{"epsilon": 0.3, "queries": 15, "norm": norm, "bounds": (-1.0, 1.0), **fields})

    @both_norms
    def test_ball_and_box(self, norm):
        x_adv = run(self.model, self.X, self.config(norm))
        change = (x_adv - self.X).reshape(4, -1)
        size = np.abs(change).max(axis=1) if norm == "linf" else np.linalg.norm(change, axis=1)
        assert (size <= 0.3 + 1e-6).all()
        assert (size > 0.2).all()
        assert np.abs(x_adv).max() <= 1.0

    @both_norms
    def test_a_radius_of_each_example_is_that_of_separate_runs_and_0_gives_x(self, norm):
        config = self.config(norm, epsilon=(0.0, 0.1, 0.3, 0.6))
        got = run(self.model, self.X, config)
        np.testing.assert_array_equal(got[0], self.X[0])
        whole = run(self.model, self.X, dataclasses.replace(config, epsilon=0.3))
        np.testing.assert_allclose(got[2], whole[2], atol=1e-6)
        assert np.abs(got[3] - self.X[3]).max() > np.abs(got[1] - self.X[1]).max()

    @both_norms
    def test_an_example_draws_the_same_alone_and_at_its_own_step(self, norm):
        """One batch of examples at different steps is the proposals of four batches at one step each."""
        config = self.config(norm)
        x, taken = tf.constant(self.X), [1, 30, 700, 9000]
        problem = search.problem_of(config, x, tf.zeros([4], tf.int32))
        state = search.opening(config.draw(problem))._replace(taken=tf.constant(taken))
        together = config.move(problem, state, None).x_adv
        for row in range(4):
            one = tf.nest.map_structure(lambda leaf, row=row: leaf[row : row + 1], (problem, state))
            np.testing.assert_allclose(config.move(*one, None).x_adv, together[row : row + 1], atol=1e-6)

    @both_norms
    def test_xla_gives_the_same(self, norm):
        config = self.config(norm, queries=6)
        np.testing.assert_allclose(
            run(self.model, self.X, config, jit=True), run(self.model, self.X, config), atol=1e-5
        )

    @both_norms
    def test_a_model_that_gives_nan_ends_in_ball_and_box(self, norm):
        x_adv = run(lambda v: self.model(v) * float("nan"), self.X, self.config(norm, queries=3))
        assert np.isfinite(x_adv).all()
        assert np.abs(x_adv).max() <= 1.0
        assert np.linalg.norm((x_adv - self.X).reshape(4, -1), axis=1).max() <= 0.3 * (60**0.5) + 1e-6


REFUSED = {
    "norm": ({"norm": "l1"}, r"norm must be one of \['l2', 'linf'\], got 'l1'"),
    "queries": ({"queries": 0}, "queries must be at least 1, got 0"),
    "restarts": ({"restarts": 0}, "restarts must be at least 1, got 0"),
    "epsilon": ({"epsilon": -0.1}, "epsilon must be a finite number >= 0 .* got -0.1"),
    "no share": ({"p_init": 0.0}, r"p_init is a share of the pixels and must be in \(0, 1\], got 0.0"),
    "too large a share": ({"p_init": 1.5}, r"must be in \(0, 1\], got 1.5"),
}


@pytest.mark.parametrize(("fields", "message"), REFUSED.values(), ids=REFUSED)
def test_settings_that_mean_nothing_are_refused(fields, message):
    with pytest.raises(UserError, match=message):
        Square(**fields)


def test_the_defaults_are_those_of_autoattack():
    assert Square() == Square(epsilon=8 / 255, queries=5000, norm="linf", p_init=0.8, restarts=1)
    assert Square().moves == 5000
