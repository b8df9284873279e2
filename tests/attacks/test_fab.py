"""FAB: steps worked by hand, closed forms on linear models with and without the box, targets, radius, restarts."""

import dataclasses

import numpy as np
import pytest
import tensorflow as tf

from tfadv.attacks import compiled, search
from tfadv.attacks.fab import Fab, fab
from tfadv.balls import BALLS
from tfadv.validation import UserError

NORMS = ("linf", "l2", "l1")
DUAL = {"linf": 1, "l2": 2, "l1": np.inf}
WEIGHTS = np.array([[1.0, -1.0, 0.0], [2.0, 0.0, -2.0], [-1.0, 3.0, -2.0], [0.5, -1.5, 1.0]], np.float32)
BIAS = np.array([0.0, 0.3, 1.2], np.float32)
RNG = np.random.default_rng(0)
HIDDEN, OUT = RNG.normal(size=(4, 6)).astype(np.float32), RNG.normal(size=(6, 4)).astype(np.float32)
IMAGES = RNG.random((6, 2, 2, 1), np.float32)


def linear(x):
    """At the gray image the logits are (1.25, 0.55, -0.3): label 0, then 1, then 2."""
    return tf.reshape(x, [-1, 4]) @ WEIGHTS + BIAS


def toy(x):
    """Images [B, 2, 2, 1] -> logits [B, 4], curved."""
    return 3.0 * tf.tanh((tf.reshape(x, [-1, 4]) - 0.5) @ HIDDEN) @ OUT


LABELS = toy(IMAGES).numpy().argmax(axis=1).astype(np.int32)
GRAY = np.full([1, 4], 0.5, np.float32)


def run(config, x=GRAY, y=None, model=linear, start=None):
    x = tf.constant(x, tf.float32)
    y = tf.zeros([len(x)], tf.int32) if y is None else tf.constant(y, tf.int32)
    return fab(model, x, y, x if start is None else tf.constant(start, tf.float32), config=config).numpy()


def size(norm, x_adv, x):
    return BALLS[norm].size(tf.constant(x_adv, tf.float32) - x).numpy()


def opened(config, x=GRAY, y=0, model=linear, number=0):
    x = tf.constant(x, tf.float32)
    problem = search.problem_of(config, x, tf.fill([len(x)], y), run=number)
    return problem, config.begin(model, problem, config.draw(problem))


def moved(config, model, problem, state, steps=1):
    return search.advance(config, model, problem, state, state.taken + steps)


def to_boundary(norm, k):
    """At the gray image, away from the box: |f| / |w| in the dual norm, of class k against 0."""
    lead = (GRAY @ WEIGHTS + BIAS)[0]
    return (lead[0] - lead[k]) / np.linalg.norm(WEIGHTS[:, k] - WEIGHTS[:, 0], ord=DUAL[norm])


class TestStepsByHand:
    """On a linear model all points lie on the line from x to its projection x + d, here in units of d."""

    @pytest.mark.parametrize("norm", ["linf", "l2"])
    @pytest.mark.parametrize("targets", [None, 1])
    def test_the_first_step_overshoots_the_nearest_hyperplane_by_eta(self, norm, targets):
        x_adv = run(Fab(steps=1, norm=norm, targets=targets))
        assert size(norm, x_adv, GRAY) == pytest.approx([1.05 * to_boundary(norm, 1)], rel=1e-5)
        assert linear(x_adv).numpy().argmax() == 1

    @pytest.mark.parametrize("norm", ["linf", "l2"])
    def test_an_adversarial_point_is_recorded_and_the_next_step_starts_where_it_returns_to(self, norm):
        """It returns to 0.9 x 1.05 = 0.945. From there 0.055 are missing, from x 1: x weighs 0.055 / 1.055."""
        config = Fab(steps=2, norm=norm)
        problem, state = opened(config)
        state = moved(config, linear, problem, state)
        assert not state.found.numpy()[0]
        state = moved(config, linear, problem, state)
        unit = to_boundary(norm, 1)
        assert size(norm, state.best, GRAY) == pytest.approx([1.05 * unit], rel=1e-5)
        share = 0.055 / 1.055
        expected = (0.945 + 1.05 * 0.055) * (1 - share) + 1.05 * share
        assert size(norm, state.x_adv, GRAY) == pytest.approx([expected * unit], rel=1e-5)

    def test_a_point_that_is_not_adversarial_is_stepped_from_as_it_is(self):
        """The lead of class 1 is log(v / 0.8): the tangent at 0.2 meets 0 at 0.2 + 0.2 log 4 = 0.477, too early."""
        config = Fab(steps=2)
        x = 0.2

        def model(v):
            return tf.concat([tf.zeros_like(v), tf.math.log(v / 0.8)], axis=1)

        first = x + 1.05 * x * np.log(0.8 / x)
        meets = first + first * np.log(0.8 / first)
        share = min((meets - first) / (meets - first + meets - x), 0.1)
        second = (first + 1.05 * (meets - first)) * (1 - share) + (x + 1.05 * (meets - x)) * share
        problem, state = opened(config, [[x]], model=model)
        state = moved(config, model, problem, state)
        assert state.x_adv.numpy() == pytest.approx(np.array([[first]]), rel=1e-5)
        state = moved(config, model, problem, state)
        assert state.x_adv.numpy() == pytest.approx(np.array([[second]]), rel=1e-5)

    def test_the_weight_of_x_is_at_most_alpha_max(self):
        """With beta 0.2 the search returns to 0.21: 0.79 are missing, 0.79 / 1.79 is cut to alpha_max."""
        for alpha_max in (0.1, 0.3):
            config = Fab(steps=2, alpha_max=alpha_max, beta=0.2)
            problem, state = opened(config)
            state = moved(config, linear, problem, state, steps=2)
            expected = (0.21 + 1.05 * 0.79) * (1 - alpha_max) + 1.05 * alpha_max
            assert size("linf", state.x_adv, GRAY) == pytest.approx([expected * to_boundary("linf", 1)], rel=1e-5)


@pytest.mark.parametrize("norm", NORMS)
def test_on_a_linear_model_the_closest_point_is_the_closed_form(norm):
    expected = min(to_boundary(norm, k) for k in (1, 2))
    x_adv = run(Fab(steps=10, norm=norm))
    assert linear(x_adv).numpy().argmax() != 0
    distance = size(norm, x_adv, GRAY)
    assert expected < distance < expected * 1.006


def closest_in_the_box(norm, x, low, high):
    """Of the classes 1 and 2 against 0: bisection of the level that features move by until the box stops them."""
    best = np.inf
    for k in (1, 2):
        normal, lead = WEIGHTS[:, k] - WEIGHTS[:, 0], (x @ WEIGHTS + BIAS)
        room = np.where(normal > 0, high - x, x - low)
        direction = np.sign(normal) if norm == "linf" else normal
        below, above = 0.0, 1e3
        for _ in range(60):
            level = (below + above) / 2
            step = np.clip(level * direction, -room, room)
            below, above = (level, above) if step @ normal < lead[0] - lead[k] else (below, level)
        if step @ normal > (lead[0] - lead[k]) * 0.9999:
            best = min(best, np.abs(step).max() if norm == "linf" else np.linalg.norm(step))
    return best


@pytest.mark.parametrize("norm", ["linf", "l2"])
def test_where_the_box_stops_some_features_the_closest_point_is_still_found(norm):
    """The third feature is to go up, and has almost no room; the box adds 40% to a distance."""
    x = np.array([[0.98, 0.98, 0.98, 0.98], [0.7, 0.98, 0.98, 0.7], [0.95, 0.7, 0.98, 0.5]], np.float32)
    y = np.zeros(3, np.int32)
    expected = np.array([closest_in_the_box(norm, each, 0.0, 1.0) for each in x])
    free = np.array([closest_in_the_box(norm, each, -50.0, 50.0) for each in x])
    assert (expected / free).max() > 1.4
    x_adv = run(Fab(steps=10, norm=norm), x, y)
    assert (linear(x_adv).numpy().argmax(axis=1) != 0).all()
    assert x_adv.min() >= 0
    assert x_adv.max() <= 1
    np.testing.assert_array_less(expected * (1 - 1e-5), size(norm, x_adv, x))
    np.testing.assert_array_less(size(norm, x_adv, x), expected * 1.006)


class TestTargets:
    def test_the_runs_aim_at_the_highest_wrong_logits_in_turn(self):
        """Run 1 of the gray image goes to class 2, though 1 is nearer."""
        config = Fab(targets=2, steps=4)
        for number, k in enumerate((1, 2)):
            problem, state = opened(config, number=number)
            assert state.memory.classes.numpy().tolist() == [[k]]
            state = moved(config, linear, problem, state)
            distance = size("linf", state.x_adv, GRAY)
            assert distance == pytest.approx([1.05 * to_boundary("linf", k)], rel=1e-5)

    def test_the_closest_of_all_runs_is_kept(self):
        """The highest wrong logit is not the nearest class here: 1 is at 0.1 / 0.1 = 1, 2 at 1 / 2 = 0.5."""

        def model(v):
            return tf.concat([tf.zeros_like(v), 0.1 * v - 0.1, 2.0 * v - 1.0], axis=1)

        one, two = (run(Fab(targets=targets, steps=4, bounds=(0.0, 2.0)), [[0.0]], model=model) for targets in (1, 2))
        assert one[0, 0] == pytest.approx(1.0, rel=0.01)
        assert two[0, 0] == pytest.approx(0.5, rel=0.01)

    def test_runs_beyond_the_wrong_classes_end_at_once(self):
        config = Fab(targets=9, restarts=2)
        assert config.runs == 18
        for number, over in ((0, False), (3, False), (4, True), (17, True)):
            _, state = opened(config, number=number)
            assert state.taken.numpy().tolist() == [config.moves if over else 0]

    def test_two_classes_have_one_target(self):
        def model(x):
            return linear(x)[:, :2]

        nine, one, every = (run(Fab(targets=targets, steps=4), model=model) for targets in (9, 1, None))
        np.testing.assert_array_equal(nine, one)
        np.testing.assert_allclose(every, one, atol=1e-6)


class TestRadius:
    @pytest.mark.parametrize("norm", NORMS)
    @pytest.mark.parametrize("targets", [None, 2])
    def test_only_what_lies_within_it_is_a_success_and_otherwise_x_comes_back(self, norm, targets):
        nearest = min(to_boundary(norm, k) for k in (1, 2))
        outside, inside = (
            run(Fab(epsilon=factor * nearest, norm=norm, targets=targets, steps=3)) for factor in (0.99, 1.02)
        )
        np.testing.assert_array_equal(outside, GRAY)
        assert linear(inside).numpy().argmax() != 0
        assert size(norm, inside, GRAY)[0] <= np.float32(1.02 * nearest)

    def test_zero_gives_the_images_back(self):
        np.testing.assert_array_equal(run(Fab(epsilon=0.0, steps=3), IMAGES, LABELS, toy), IMAGES)

    def test_each_example_has_its_own(self):
        epsilons = (0.02, 0.1, 0.3, 0.02, 0.1, 0.3)
        together = run(Fab(epsilon=epsilons, steps=3), IMAGES, LABELS, toy)
        assert 0 < (together != IMAGES).any(axis=(1, 2, 3)).sum() < 6
        for row in range(6):
            alone = run(Fab(epsilon=epsilons[row], steps=3), IMAGES[row : row + 1], LABELS[row : row + 1], toy)
            np.testing.assert_allclose(together[row : row + 1], alone, atol=1e-5)

    def test_the_first_success_is_kept_and_without_a_radius_the_closest(self):
        first, closest = run(Fab(epsilon=1.0, steps=4)), run(Fab(steps=4))
        assert size("linf", first, GRAY) == pytest.approx([1.05 * to_boundary("linf", 1)], rel=1e-5)
        assert size("linf", closest, GRAY)[0] < 1.01 * to_boundary("linf", 1)


def test_an_image_that_is_wrong_already_comes_back():
    np.testing.assert_array_equal(run(Fab(steps=2), GRAY, [1]), GRAY)


class TestRestarts:
    def drawn(self, norm, number, example=0, **settings):
        config = Fab(norm=norm, restarts=3, targets=2, **settings)
        problem = search.problem_of(
            config, tf.fill([1, 2, 5, 1], 0.5), tf.constant([0]), example=tf.constant([example]), run=number
        )
        return config.draw(problem).numpy()

    @pytest.mark.parametrize("norm", NORMS)
    def test_the_first_run_of_a_target_starts_at_x_and_the_others_at_half_the_radius(self, norm):
        for number in range(6):
            distance = size(norm, self.drawn(norm, number, epsilon=0.2), np.float32(0.5))
            assert distance == pytest.approx([0.0 if number in (0, 3) else 0.1], abs=1e-6)

    @pytest.mark.parametrize(("norm", "radius"), [("linf", 0.3), ("l2", 1.0), ("l1", 5.0)])
    def test_without_a_radius_they_start_at_half_the_published_one_times_the_width_of_the_box(self, norm, radius):
        distance = size(norm, self.drawn(norm, 1, bounds=(-1.0, 1.0)), np.float32(0.5))
        assert distance == pytest.approx([radius], rel=1e-5)

    def test_run_example_and_seed_each_change_the_start(self):
        starts = [
            self.drawn("linf", number, example, seed=seed)
            for number, example, seed in [(1, 0, 0), (2, 0, 0), (4, 0, 0), (1, 1, 0), (1, 0, 1)]
        ]
        assert len(np.unique(np.concatenate(starts), axis=0)) == 5

    def test_the_search_begins_in_the_box_and_in_the_ball(self):
        config = Fab(epsilon=0.1)
        problem, _ = opened(config, [[0.95, 0.5, 0.0, 0.5]])
        state = config.begin(linear, problem, tf.constant([[2.0, 0.9, -0.05, 0.5]]))
        np.testing.assert_allclose(state.x_adv, [[1.0, 0.6, 0.0, 0.5]], atol=1e-6)

    def test_a_restart_can_find_what_the_first_run_does_not(self):
        """At x the model is flat, so the first run has nowhere to go; class 1 leads where |v - x| > 0.1."""

        def model(v):
            return tf.concat([tf.zeros_like(v), tf.nn.relu(tf.abs(v - 0.5) - 0.05) - 0.05], axis=1)

        assert run(Fab(steps=3), [[0.5]], model=model)[0, 0] == 0.5
        assert abs(run(Fab(steps=3, restarts=3), [[0.5]], model=model)[0, 0] - 0.5) == pytest.approx(0.1, rel=0.1)


class TestInvariants:
    @pytest.mark.parametrize("norm", NORMS)
    def test_another_box_is_the_same_attack(self, norm):
        expected = run(Fab(steps=4, norm=norm), IMAGES, LABELS, toy)
        got = run(Fab(steps=4, norm=norm, bounds=(-1.0, 1.0)), 2 * IMAGES - 1, LABELS, lambda x: toy((x + 1.0) / 2.0))
        np.testing.assert_allclose((got + 1) / 2, expected, atol=2e-5)

    @pytest.mark.parametrize("shape", [(6, 4), (6, 1, 4)], ids=str)
    def test_inputs_of_any_rank_are_the_same_attack(self, shape):
        expected = run(Fab(steps=4), IMAGES, LABELS, toy)
        np.testing.assert_allclose(
            run(Fab(steps=4), IMAGES.reshape(shape), LABELS, toy).reshape(IMAGES.shape), expected, atol=1e-6
        )

    @pytest.mark.parametrize("scale", [1e-20, 1e20])
    def test_the_scale_of_the_logits_does_not_matter(self, scale):
        """In l2 the squares of such gradients are beyond float32."""
        expected = run(Fab(steps=4, norm="l2"), IMAGES, LABELS, toy)
        got = run(Fab(steps=4, norm="l2"), IMAGES, LABELS, lambda x: scale * toy(x))
        np.testing.assert_allclose(got, expected, atol=2e-5)

    @pytest.mark.parametrize("spoil", [np.nan, np.inf])
    def test_a_model_that_gives_no_numbers_does_no_harm(self, spoil):
        x_adv = run(Fab(steps=2, targets=2), IMAGES, LABELS, lambda x: spoil * toy(x))
        assert np.isfinite(x_adv).all()
        assert x_adv.min() >= 0
        assert x_adv.max() <= 1

    @pytest.mark.parametrize(("targets", "epsilon"), [(None, None), (9, 0.2)])
    def test_the_compiled_attack_is_the_pure_function_and_searches_in_float32(self, targets, epsilon):
        """Also that a run which ends at once does not hold up the others: of 9 targets there are 3."""
        config = Fab(targets=targets, epsilon=epsilon, steps=8)
        outcome = compiled(toy, config, jit="off", precision="bfloat16").run(IMAGES, LABELS)
        expected = run(config, IMAGES, LABELS, toy)
        np.testing.assert_allclose(outcome.x_adv, expected, atol=1e-5)
        np.testing.assert_array_equal(outcome.adversarial, toy(expected).numpy().argmax(axis=1) != LABELS)
        assert outcome.adversarial.any()
        assert outcome.precision == "float32"

    def test_xla_and_the_graph_agree(self):
        config = Fab(targets=1, steps=4)
        xla, graph = (
            tf.function(
                lambda x, y: search.run(config, toy, x, y, every_run=True), autograph=False, jit_compile=compile_it
            )(IMAGES, LABELS)
            for compile_it in (True, False)
        )
        np.testing.assert_allclose(xla, graph, atol=1e-5)


REFUSED = {
    "norm": ({"norm": "l7"}, r"norm must be one of \['l1', 'l2', 'linf'\], got 'l7'"),
    "steps": ({"steps": 0}, "steps must be at least 1, got 0"),
    "targets": ({"targets": 0}, "targets must be at least 1, got 0"),
    "restarts": ({"restarts": 0}, "restarts must be at least 1, got 0"),
    "alpha_max": ({"alpha_max": 1.1}, r"alpha_max is a share and must be in \[0, 1\], got 1.1"),
    "beta": ({"beta": float("nan")}, r"beta is a share and must be in \[0, 1\], got nan"),
    "eta": ({"eta": 0.9}, r"eta must be in \[1, 2\), got 0.9"),
    "epsilon": ({"epsilon": -0.1}, "epsilon must be a finite number >= 0 .* got -0.1"),
}


@pytest.mark.parametrize(("fields", "message"), REFUSED.values(), ids=REFUSED)
def test_settings_that_mean_nothing_are_refused(fields, message):
    with pytest.raises(UserError, match=message):
        Fab(**fields)


def test_a_config_is_a_value_with_the_published_settings():
    config = Fab()
    assert (config.steps, config.alpha_max, config.eta, config.beta) == (100, 0.1, 1.05, 0.9)
    assert (config.moves, config.runs, config.keep) == (100, 1, "closest")
    assert dataclasses.replace(config, targets=9, restarts=5).runs == 45
    assert len({Fab(), Fab(seed=0), Fab(seed=1)}) == 2
