"""HopSkipJump: closed forms on a linear model, its three phases one by one, starts, and the count of queries."""

import numpy as np
import pytest
import tensorflow as tf

from tfadv.attacks import search
from tfadv.attacks.hop_skip_jump import HopSkipJump, hop_skip_jump
from tfadv.validation import UserError

# z_1 - z_0 = <NORMAL, x> - 3: class 1 begins at a distance of 3 / 7.5 = 0.4 from 0, in linf at 3 / 12.5 = 0.24.
NORMAL = np.array([-2.0, -4.0, 6.0, -0.5], np.float32)
NEAREST = {"l2": 0.4 * NORMAL / 7.5, "linf": 0.24 * np.sign(NORMAL)}
DISTANCE = {"l2": 0.4, "linf": 0.24}
BOX = (-1.0, 1.0)
CENTER = np.zeros([3, 4], np.float32)
both_norms = pytest.mark.parametrize("norm", ["linf", "l2"])


def linear(x):
    lead = tf.linalg.matvec(tf.reshape(x, [-1, 4]), NORMAL) - 3.0
    return tf.stack([tf.zeros_like(lead), lead], axis=1)


def never(x):
    return tf.one_hot(tf.zeros([tf.shape(x)[0]], tf.int32), 2)


def size(change, norm):
    change = np.reshape(change, [len(change), -1])
    return np.abs(change).max(axis=1) if norm == "linf" else np.linalg.norm(change, axis=1)


def config_of(norm, **fields):
    return HopSkipJump(**{"norm": norm, "queries": 600, "directions": 30, "bounds": BOX, **fields})


def run(model, x, config, start=None, y=None, jit=False):
    x = tf.constant(x, tf.float32)
    y = tf.zeros([len(x)], tf.int32) if y is None else tf.constant(y, tf.int32)
    attack = tf.function(lambda *batch: hop_skip_jump(model, *batch, config=config), autograph=False, jit_compile=jit)
    return attack(x, y, x if start is None else tf.constant(start, tf.float32)).numpy()


def begun(model, config, x=CENTER, start=None):
    problem = search.problem_of(config, tf.constant(x), tf.zeros([len(x)], tf.int32))
    return problem, config.begin(model, problem, config.draw(problem) if start is None else tf.constant(start))


@both_norms
def test_on_a_linear_model_it_finds_the_nearest_point_of_the_boundary(norm):
    x_adv = run(linear, CENTER, config_of(norm, queries=2000, directions=100))
    assert (np.argmax(linear(x_adv), axis=1) == 1).all()
    distance = size(x_adv, norm)
    assert (distance >= DISTANCE[norm] * (1 - 1e-5)).all()
    assert (distance <= DISTANCE[norm] * 1.02).all()
    np.testing.assert_allclose(x_adv, np.tile(NEAREST[norm], [3, 1]), atol=0.08)


def test_only_the_decision_is_used():
    """Logits of the same classes, but of another size and shape, give the same points."""
    config = config_of("l2", queries=300)

    def decisions(x):
        return 7.0 * tf.one_hot(tf.argmax(linear(x), axis=1), 2) - 3.0

    np.testing.assert_array_equal(run(linear, CENTER, config), run(decisions, CENTER, config))


class TestPhases:
    @pytest.mark.parametrize(
        ("norm", "expected"),
        [("l2", [0, -0.72, 0.02, 0]), ("linf", [0, -0.3, 0.3, 0])],
    )
    def test_the_first_point_is_where_the_way_from_the_start_to_x_crosses_the_boundary(self, norm, expected):
        """l2: at 0.8 of the way to (0, -0.9, 0.025, 0), where 4 x 0.72 + 6 x 0.02 = 3.

        linf: the point of a ball of radius r nearest to (0, -0.9, 0.9, 0) is (0, -r, r, 0), and 4 r + 6 r = 3.
        """
        start = [[0, -0.9, 0.025 if norm == "l2" else 0.9, 0]] * 3
        _, state = begun(linear, config_of(norm), start=np.float32(start))
        assert (np.argmax(linear(state.x_adv), axis=1) == 1).all()
        np.testing.assert_allclose(state.x_adv, [expected] * 3, atol=2e-3)
        np.testing.assert_allclose(state.memory.reach, size(start, norm), rtol=1e-6)

    @both_norms
    def test_the_estimated_normal_is_that_of_the_boundary(self, norm):
        config = config_of(norm)
        problem, state = begun(linear, config)
        normal = config._normal(linear, problem, state, tf.constant([2000, 2000, 0])).numpy()
        cosine = normal[:2] @ NORMAL / np.linalg.norm(normal[:2], axis=1) / 7.5
        assert (cosine > 0.97).all()
        assert not normal[2].any()

    def test_where_all_decisions_agree_it_is_their_mean_direction(self):
        """No baseline is subtracted then: the sum of directions, forth or back."""
        config = config_of("l2")
        problem, state = begun(linear, config)
        count = tf.constant([5, 5, 5])
        toward = config._normal(lambda x: -never(x), problem, state, count).numpy()
        back = config._normal(never, problem, state, count).numpy()
        np.testing.assert_allclose(toward, -back, atol=1e-6)
        assert (np.linalg.norm(toward, axis=1) > 0.1).all()

    @pytest.mark.parametrize(("taken", "radius"), [(0, 0.2), (1, 2 * 0.001 * 0.8)])
    def test_the_radius_of_the_estimate(self, taken, radius):
        """First a tenth of the box; then sqrt(d) x threshold x reach, here for 4 features and a reach of 0.8."""
        config = config_of("l2")
        problem, state = begun(linear, config, start=np.float32([[0, -0.8, 0, 0]] * 3))
        points = []
        later = state._replace(taken=tf.fill([3], taken), x_adv=tf.zeros([3, 4]))
        config._normal(lambda x: points.append(x.numpy()) or never(x), problem, later, tf.fill([3], 10))
        np.testing.assert_allclose(np.linalg.norm(points[0], axis=1), radius, rtol=1e-5)

    def test_a_step_is_halved_until_it_is_adversarial(self):
        """Between 0.5 and 0.6 lies class 1: steps of 0.5, 0.25, 0.125 from 0.5 lead beyond it, and 0.0625 into it.

        Then the search looks at where it stood, and goes back, first half of the way from 0.5625 to 0.
        """

        def shell(x):
            inside = tf.cast((x > 0.5) & (x < 0.6), tf.float32)
            return tf.concat([0.5 - inside, inside - 0.5], axis=1)

        config = config_of("l2")
        problem, state = begun(shell, config, x=np.zeros([1, 1], np.float32), start=np.full([1, 1], 0.55, np.float32))
        asked = []
        jump = config.measure(lambda x: asked.append(x.numpy().ravel()) or shell(x), problem, state)
        steps = [float(each[0]) for each in asked if len(each) == 1]
        np.testing.assert_allclose(steps[:6], [1, 0.75, 0.625, 0.5625, 0.5, 0.5625 / 2], atol=2e-3)
        np.testing.assert_allclose(jump.memory.reach, [0.5625], atol=2e-3)
        np.testing.assert_allclose(jump.x_adv, [[0.5]], atol=2e-3)


class TestStarts:
    def test_fine_noise_is_uniform_in_the_box_and_the_next_try_repeats_it_in_blocks(self):
        """Four blocks along each axis of an image: of 2 rows and 3 columns here."""
        config = HopSkipJump(bounds=BOX)
        problem = search.problem_of(config, tf.zeros([50, 8, 12, 2]), tf.zeros([50], tf.int32))
        fine, coarse = config._noise(problem, 0).numpy(), config._noise(problem, 1).numpy()
        assert len(np.unique(fine)) > 0.98 * fine.size
        for noise in (fine, coarse):
            assert -1 <= noise.min() < -0.99
            assert 0.99 < noise.max() <= 1
            assert abs(noise.mean()) < 0.05
        np.testing.assert_array_equal(coarse, coarse[:, ::2, ::3].repeat(2, axis=1).repeat(3, axis=2))

    def test_a_model_that_sees_one_class_in_all_fine_noise_is_begun_in_blocks(self):
        """Class 1 is where the first two pixels are equal."""

        def pairs(x):
            equal = tf.cast(x[:, 0, 0, 0] == x[:, 0, 1, 0], tf.float32)
            return tf.stack([tf.fill([len(x)], 0.5), equal], axis=1)

        x = np.random.default_rng(0).random((3, 8, 8, 1)).astype(np.float32)
        _, state = begun(pairs, HopSkipJump(), x=x)
        assert not state.taken.numpy().any()
        # Two looks for a start and ceil(log2(64^1.5)) = 9, or as many as it takes to 1/1000: 10.
        assert state.memory.queries.numpy().tolist() == [12, 12, 12]

    def test_a_start_that_is_not_adversarial_is_replaced(self):
        _, state = begun(linear, config_of("l2"), start=CENTER)
        assert (np.argmax(linear(state.x_adv), axis=1) == 1).all()
        assert (state.memory.queries.numpy() > 11).all()

    def test_where_nothing_is_adversarial_x_is_returned_after_all_tries(self):
        _, state = begun(never, config_of("l2"))
        assert state.taken.numpy().tolist() == [config_of("l2").moves] * 3
        np.testing.assert_array_equal(state.x_adv, CENTER)
        np.testing.assert_array_equal(run(never, CENTER, config_of("l2")), CENTER)

    def test_a_targeted_search_ends_at_the_boundary_of_its_class(self):
        """The start lies in a strip of class 2, which is none of class 1: noise is looked at for the last example."""

        def three(x):
            far = tf.reshape(x, [-1, 4])[:, 0]
            return tf.stack([0.5 - far, far - 0.5, 10.0 * (far - 0.9)], axis=1)

        start = np.float32([[0.999, 0, 0, 0]] * 3)
        y = [2, 2, 1]
        x_adv = run(three, CENTER, config_of("l2", targeted=True), start=start, y=y)
        assert np.argmax(three(x_adv), axis=1).tolist() == y
        # 10 (v - 0.9) > v - 0.5 from v = 0.9444 on; class 1 begins at 0.5.
        np.testing.assert_allclose(size(x_adv[:2], "l2"), 8.5 / 9, rtol=1e-2)
        np.testing.assert_allclose(size(x_adv[2:], "l2"), 0.5, rtol=2e-2)


class TestTheRadius:
    @both_norms
    def test_only_what_lies_within_it_is_a_success(self, norm):
        """The boundary is at 0.4 (l2) and 0.24 (linf); what fails is returned as it was, inside of the ball."""
        distance = DISTANCE[norm]
        config = config_of(norm, epsilon=(0.0, 0.9 * distance, 1.2 * distance), queries=1500)
        x_adv = run(linear, CENTER, config)
        np.testing.assert_array_equal(x_adv[:2], CENTER[:2])
        assert np.argmax(linear(x_adv[2:]), axis=1) == 1
        assert distance * (1 - 1e-5) <= size(x_adv, norm)[2] <= 1.2 * distance

    def test_the_first_success_ends_the_search(self):
        config = config_of("l2", epsilon=0.8)
        problem, state = begun(linear, config)
        state = search.advance(config, linear, problem, state, tf.fill([3], config.moves))
        assert state.found.numpy().all()
        assert (state.memory.queries.numpy() < 300).all()
        assert config.keep == "best"
        assert config_of("l2").keep == "closest"


class TestQueries:
    def test_they_are_counted_and_never_exceed_their_number(self):
        """One look is left for where the search ends, and no iteration begins that could not be finished."""
        config = config_of("l2", queries=500)
        problem, state = begun(linear, config)
        ends, distances = [state.memory.queries.numpy()], []
        for move in range(1, config.moves + 1):
            state = search.advance(config, linear, problem, state, tf.fill([3], move))
            ends.append(state.memory.queries.numpy())
            distances.append(-state.best_value.numpy())
        # The first iteration: one look, 30 directions, 1 to 12 steps, 10 bisections.
        assert ((ends[1] - ends[0] >= 42) & (ends[1] - ends[0] <= 53)).all()
        assert (ends[-1] <= 499).all()
        assert (ends[-1] > 499 - 24).all()  # What one more iteration needs, and steps that were not taken.
        assert (state.taken.numpy() == config.moves).all()
        # What is kept is the closest of the points seen.
        assert (np.diff(distances, axis=0) <= 0).all()
        assert (distances[-1] < distances[0]).all()

    def test_iterations_take_more_and_more_directions(self):
        """30 sqrt(1, 2, 3, ...) = 30, 42, 51, 60, 67: after five of them 250 queries are gone."""
        config = config_of("l2", queries=250)
        assert config._counts() == [30, 42, 51, 60, 67]
        assert config.moves == 5
        assert config.queries_per_move == 50


def test_an_example_finds_the_same_alone():
    config = config_of("l2", queries=300)
    problem = search.problem_of(config, tf.constant(CENTER), tf.zeros([3], tf.int32))

    def attacked(problem):
        state = config.begin(linear, problem, config.draw(problem))
        return search.advance(config, linear, problem, state, tf.fill(tf.shape(problem.y), config.moves)).best

    attack = tf.function(attacked, autograph=False, reduce_retracing=True)
    alone = attack(tf.nest.map_structure(lambda leaf: leaf[1:2], problem))
    np.testing.assert_allclose(alone, attack(problem)[1:2], atol=1e-5)


def test_xla_gives_the_same():
    config = config_of("l2", queries=250)
    np.testing.assert_allclose(run(linear, CENTER, config, jit=True), run(linear, CENTER, config), atol=1e-3)


def test_images_are_searched_as_their_features_and_stay_in_the_box():
    x = np.full([2, 2, 2, 1], 0.9, np.float32)
    x_adv = run(linear, x, config_of("linf"))
    assert (np.argmax(linear(x_adv), axis=1) == 1).all()
    assert np.abs(x_adv).max() <= 1.0


def test_a_model_that_gives_nan_is_survived():
    x_adv = run(lambda x: linear(x) * float("nan"), CENTER, config_of("l2", queries=200))
    assert np.isfinite(x_adv).all()
    assert np.abs(x_adv).max() <= 1.0


REFUSED = {
    "norm": ({"norm": "l1"}, r"norm must be one of \['l2', 'linf'\], got 'l1'"),
    "queries": ({"queries": 199}, "queries must be at least 200, got 199"),
    "directions": ({"directions": 0}, "directions must be at least 1, got 0"),
    "epsilon": ({"epsilon": -0.1}, "epsilon must be a finite number >= 0 .* got -0.1"),
}


@pytest.mark.parametrize(("fields", "message"), REFUSED.values(), ids=REFUSED)
def test_settings_that_mean_nothing_are_refused(fields, message):
    with pytest.raises(UserError, match=message):
        HopSkipJump(**fields)


def test_the_defaults_are_the_published_ones():
    assert HopSkipJump() == HopSkipJump(epsilon=None, queries=5000, norm="l2", directions=100)
    assert not HopSkipJump.bfloat16
    assert HopSkipJump.gradients_per_move == 0
