"""DeepFool: closed forms on linear models with and without the box, which classes are looked at, where it ends."""

import numpy as np
import pytest
import tensorflow as tf

from tfadv.attacks import compiled, search
from tfadv.attacks.deep_fool import NORMS, DeepFool, deep_fool
from tfadv.balls import BALLS
from tfadv.validation import UserError

DUAL = {"linf": 1, "l2": 2}
WEIGHTS = np.array([[1.0, -1.0, 0.0], [2.0, 0.0, -2.0], [-1.0, 3.0, -2.0], [0.5, -1.5, 1.0]], np.float32)
BIAS = np.array([0.0, 0.3, 1.2], np.float32)
RNG = np.random.default_rng(0)
HIDDEN, OUT = RNG.normal(size=(4, 6)).astype(np.float32), RNG.normal(size=(6, 4)).astype(np.float32)
IMAGES = RNG.random((6, 2, 2, 1), np.float32)
GRAY = np.full([1, 4], 0.5, np.float32)


def linear(x):
    """At the gray image the logits are (1.25, 0.55, -0.3): label 0, then 1, then 2."""
    return tf.reshape(x, [-1, 4]) @ WEIGHTS + BIAS


def toy(x):
    """Images [B, 2, 2, 1] -> logits [B, 4], curved."""
    return 3.0 * tf.tanh((tf.reshape(x, [-1, 4]) - 0.5) @ HIDDEN) @ OUT


LABELS = toy(IMAGES).numpy().argmax(axis=1).astype(np.int32)


def lines(v):
    """Of one number: class 1 leads from 1 on, where it is at -0.1; class 2 from 0.5 on, where it is at -1."""
    return tf.concat([tf.zeros_like(v), 0.1 * v - 0.1, 2.0 * v - 1.0], axis=1)


def run(config, x=GRAY, y=None, model=linear):
    x = tf.constant(x, tf.float32)
    y = tf.zeros([len(x)], tf.int32) if y is None else tf.constant(y, tf.int32)
    return deep_fool(model, x, y, x, config=config).numpy()


def size(norm, x_adv, x):
    return BALLS[norm].size(tf.constant(x_adv, tf.float32) - x).numpy()


def to_boundary(norm, k):
    """At the gray image, away from the box: |f| / |w| in the dual norm, of class k against 0."""
    lead = (GRAY @ WEIGHTS + BIAS)[0]
    return (lead[0] - lead[k]) / np.linalg.norm(WEIGHTS[:, k] - WEIGHTS[:, 0], ord=DUAL[norm])


@pytest.mark.parametrize("norm", NORMS)
@pytest.mark.parametrize("overshoot", [0.02, 0.5])
def test_on_a_linear_model_it_is_the_closed_form_overshot(norm, overshoot):
    """(1 + overshoot) (|f| / |w| + 1e-4), along w (l2) or its signs (linf); class 1 is the nearest."""
    x_adv = run(DeepFool(norm=norm, overshoot=overshoot))
    normal = WEIGHTS[:, 1] - WEIGHTS[:, 0]
    direction = np.sign(normal) if norm == "linf" else normal / np.linalg.norm(normal)
    expected = GRAY + (1 + overshoot) * (to_boundary(norm, 1) + 1e-4) * direction
    np.testing.assert_allclose(x_adv, expected, atol=1e-6)


@pytest.mark.parametrize("norm", NORMS)
def test_where_the_box_stops_some_features_the_others_make_up_for_it(norm):
    """Lead 1.9 at (0.5, 0.5, 0.98, 0.5); w = (-2, -2, 4, -2), and the third feature has room for 0.02 alone.

    It gives 0.08; the other 1.82 need (1.82 / 6) of each other feature, which is the same in linf and l2.
    """

    def model(x):
        return tf.concat([tf.zeros_like(x[:, :1]), x @ [[-2.0], [-2.0], [4.0], [-2.0]] - 2.82], axis=1)

    x = np.array([[0.5, 0.5, 0.98, 0.5]], np.float32)
    assert model(x).numpy().tolist() == [[0.0, pytest.approx(-1.9)]]
    each = 1.82 / 6
    expected = each if norm == "linf" else np.hypot(0.02, each * np.sqrt(3))
    x_adv = run(DeepFool(norm=norm), x, model=model)
    assert x_adv[0, 2] == 1.0
    assert model(x_adv).numpy().argmax() == 1
    assert expected < size(norm, x_adv, x)[0] < 1.021 * expected


class TestCandidates:
    """At 0 class 1 has the higher logit, class 2 the nearer boundary."""

    def test_the_nearest_of_them_is_taken_not_the_one_of_highest_logit(self):
        x_adv = run(DeepFool(bounds=(0.0, 2.0)), [[0.0]], model=lines)
        assert x_adv[0, 0] == pytest.approx(1.02 * (0.5 + 2e-4), rel=1e-5)

    def test_two_are_the_true_class_and_the_highest_other_at_x(self):
        """On its way to class 1 the search crosses into class 2, which ends it as well."""
        x_adv = run(DeepFool(candidates=2, bounds=(0.0, 2.0)), [[0.0]], model=lines)
        assert x_adv[0, 0] == pytest.approx(1.02 * (1.0 + 2e-4), rel=1e-5)

    def test_a_step_costs_a_gradient_for_each_but_the_true_one(self):
        assert DeepFool().gradients_per_move == 9
        assert DeepFool(candidates=3).gradients_per_move == 2

    def test_two_classes_are_enough(self):
        x_adv = run(DeepFool(), model=lambda x: linear(x)[:, :2])
        assert size("l2", x_adv, GRAY) == pytest.approx([1.02 * (to_boundary("l2", 1) + 1e-4)], rel=1e-5)


class TestCourse:
    @staticmethod
    def curved(v):
        """Class 1 leads by log(v / 0.8): the tangent at v meets 0 at v + v log(0.8 / v), too early."""
        return tf.concat([tf.zeros_like(v), tf.math.log(v / 0.8)], axis=1)

    def test_each_step_begins_where_the_last_one_ended_until_the_class_changes(self):
        v, path = 0.2, []
        while np.log(v / 0.8) <= 0:
            v += 1.02 * (v * np.log(0.8 / v) + 1e-4)
            path.append(v)
        assert len(path) == 4
        config = DeepFool()
        problem = search.problem_of(config, tf.constant([[0.2]]), tf.constant([0]))
        state = config.begin(self.curved, problem, problem.x)
        for expected in path:
            state = search.advance(config, self.curved, problem, state, state.taken + 1)
            assert float(state.x_adv[0, 0]) == pytest.approx(expected, rel=1e-5)
        assert state.taken.numpy().tolist() == [4]
        state = search.advance(config, self.curved, problem, state, state.taken + 1)
        assert state.taken.numpy().tolist() == [50]
        assert float(state.x_adv[0, 0]) == pytest.approx(path[-1], rel=1e-5)
        assert bool(state.found[0])

    def test_too_few_steps_leave_x(self):
        assert run(DeepFool(steps=3), [[0.2]], model=self.curved)[0, 0] == np.float32(0.2)
        assert run(DeepFool(steps=4), [[0.2]], model=self.curved)[0, 0] > 0.8

    def test_an_image_that_is_wrong_already_comes_back(self):
        np.testing.assert_array_equal(run(DeepFool(), GRAY, [1]), GRAY)

    def test_steps_add_up_beyond_the_box(self):
        """The first step is 0.6 in both features, of which the box cuts the first at 1: it has gone 0.6, not 0.1."""
        config = DeepFool(norm="linf", overshoot=0.0)

        def model(x):
            return tf.concat([tf.zeros_like(x[:, :1]), tf.reduce_sum(x, axis=1, keepdims=True) - 2.5998], axis=1)

        problem = search.problem_of(config, tf.constant([[0.9, 0.5]]), tf.constant([0]))
        state = config.begin(model, problem, problem.x)
        state = search.advance(config, model, problem, state, state.taken + 1)
        np.testing.assert_allclose(state.memory.way, [[0.6, 0.6]], atol=1e-5)
        np.testing.assert_allclose(state.x_adv, [[1.0, 1.0]])

    def test_a_start_elsewhere_is_where_it_begins(self):
        config = DeepFool()
        problem = search.problem_of(config, tf.constant(GRAY), tf.constant([0]))
        state = config.begin(linear, problem, problem.x + 0.1)
        state = search.advance(config, linear, problem, state, state.taken + 1)
        lead = linear(GRAY + np.float32(0.1)).numpy()[0]
        normal = WEIGHTS[:, 1] - WEIGHTS[:, 0]
        step = ((lead[0] - lead[1]) / np.linalg.norm(normal) + 1e-4) * normal / np.linalg.norm(normal)
        np.testing.assert_allclose(state.x_adv, GRAY + 0.1 + 1.02 * step, atol=1e-6)


class TestRadius:
    @pytest.mark.parametrize("norm", NORMS)
    def test_only_what_lies_within_it_is_a_success_and_otherwise_x_comes_back(self, norm):
        length = 1.02 * (to_boundary(norm, 1) + 1e-4)
        outside, inside = (run(DeepFool(epsilon=factor * length, norm=norm)) for factor in (0.999, 1.001))
        np.testing.assert_array_equal(outside, GRAY)
        assert size(norm, inside, GRAY) == pytest.approx([length], rel=1e-5)

    def test_zero_gives_the_images_back(self):
        np.testing.assert_array_equal(run(DeepFool(epsilon=0.0), IMAGES, LABELS, toy), IMAGES)

    def test_each_example_has_its_own(self):
        distance = size("l2", run(DeepFool(), IMAGES, LABELS, toy), IMAGES)
        epsilon = tuple(float(each) for each in distance * ([1.01, 0.99] * 3))
        moved = (run(DeepFool(epsilon=epsilon), IMAGES, LABELS, toy) != IMAGES).any(axis=(1, 2, 3))
        assert moved.tolist() == [True, False] * 3

    def test_it_decides_what_is_kept(self):
        assert (DeepFool().keep, DeepFool(epsilon=0.1).keep) == ("closest", "best")


class TestInvariants:
    @pytest.mark.parametrize("norm", NORMS)
    def test_another_box_is_the_same_attack(self, norm):
        expected = run(DeepFool(norm=norm), IMAGES, LABELS, toy)
        config = DeepFool(norm=norm, bounds=(-1.0, 1.0))
        got = run(config, 2 * IMAGES - 1, LABELS, lambda x: toy((x + 1.0) / 2.0))
        np.testing.assert_allclose((got + 1) / 2, expected, atol=2e-5)

    @pytest.mark.parametrize("shape", [(6, 4), (6, 1, 4)], ids=str)
    def test_inputs_of_any_rank_are_the_same_attack(self, shape):
        got = run(DeepFool(), IMAGES.reshape(shape), LABELS, toy)
        np.testing.assert_allclose(got.reshape(IMAGES.shape), run(DeepFool(), IMAGES, LABELS, toy), atol=1e-6)

    def test_an_example_alone_is_attacked_as_in_a_batch(self):
        together = run(DeepFool(), IMAGES, LABELS, toy)
        assert (toy(together).numpy().argmax(axis=1) != LABELS).all()
        for row in range(3):
            alone = run(DeepFool(), IMAGES[row : row + 1], LABELS[row : row + 1], toy)
            np.testing.assert_allclose(alone, together[row : row + 1], atol=1e-6)

    @pytest.mark.parametrize("norm", NORMS)
    @pytest.mark.parametrize("spoil", [np.nan, np.inf, 0.0])
    def test_a_model_that_gives_no_numbers_or_no_gradient_does_no_harm(self, norm, spoil):
        x_adv = run(DeepFool(norm=norm, steps=3), IMAGES, LABELS, lambda x: spoil * toy(x))
        assert np.isfinite(x_adv).all()
        assert x_adv.min() >= 0
        assert x_adv.max() <= 1

    def test_a_gradient_that_is_nothing_but_rounding_does_no_harm(self):
        x_adv = run(DeepFool(steps=3), model=lambda x: linear(x) * 1e-30 + [1.0, 0.0, 0.0])
        np.testing.assert_array_equal(x_adv, GRAY)

    @pytest.mark.parametrize("epsilon", [None, 0.3])
    def test_the_compiled_attack_is_the_pure_function(self, epsilon):
        config = DeepFool(epsilon=epsilon)
        outcome = compiled(toy, config, jit="off", precision="bfloat16").run(IMAGES, LABELS)
        expected = run(config, IMAGES, LABELS, toy)
        np.testing.assert_allclose(outcome.x_adv, expected, atol=1e-5)
        np.testing.assert_array_equal(outcome.adversarial, toy(expected).numpy().argmax(axis=1) != LABELS)
        assert outcome.precision == "float32"

    def test_xla_and_the_graph_agree(self):
        xla, graph = (
            tf.function(lambda x, y: search.run(DeepFool(), toy, x, y), autograph=False, jit_compile=compile_it)(
                IMAGES, LABELS
            )
            for compile_it in (True, False)
        )
        np.testing.assert_allclose(xla, graph, atol=1e-5)


REFUSED = {
    "norm": ({"norm": "l1"}, r"norm must be one of \['l2', 'linf'\], got 'l1'"),
    "steps": ({"steps": 0}, "steps must be at least 1, got 0"),
    "candidates": ({"candidates": 1}, "candidates must be at least 2, got 1"),
    "overshoot": ({"overshoot": -0.1}, "overshoot must be a finite share >= 0, got -0.1"),
    "epsilon": ({"epsilon": float("nan")}, "epsilon must be a finite number >= 0 .* got nan"),
}


@pytest.mark.parametrize(("fields", "message"), REFUSED.values(), ids=REFUSED)
def test_settings_that_mean_nothing_are_refused(fields, message):
    with pytest.raises(UserError, match=message):
        DeepFool(**fields)


def test_a_config_is_a_value_with_the_published_settings():
    assert DeepFool() == DeepFool(steps=50, overshoot=0.02, candidates=10, norm="l2")
    assert (DeepFool().moves, DeepFool().runs) == (50, 1)
