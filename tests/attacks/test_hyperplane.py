"""Hyperplanes between classes, and exact projections onto them in the box, worked by hand and against bisection."""

import numpy as np
import pytest
import tensorflow as tf

from tfadv.attacks import search
from tfadv.attacks.hyperplane import NORMS, Linearized, MinimumNorm, linearized, nearest, rivals, step_onto
from tfadv.validation import UserError

BOX = (0.0, 1.0)


def step(norm, point, normal, gap, bounds=BOX):
    point, normal, gap = (tf.constant(each, tf.float32) for each in (point, normal, gap))
    return step_onto(norm, point, normal, gap, bounds).numpy()


class TestRivals:
    def test_they_are_the_other_classes_by_falling_logit_and_ties_go_to_the_lower(self):
        logits = tf.constant([[1.0, 4.0, 3.0, 2.0], [1.0, 4.0, 3.0, 2.0], [0.0, 5.0, 0.0, 5.0]])
        assert rivals(logits, tf.constant([1, 0, 2])).numpy().tolist() == [[2, 3, 0], [1, 2, 3], [1, 3, 0]]

    def test_two_classes_have_one_rival(self):
        assert rivals(tf.constant([[1.0, 4.0]]), tf.constant([1])).numpy().tolist() == [[0]]

    def test_logits_without_a_number_are_last_but_not_the_true_class(self):
        logits = tf.constant([[np.nan, 9.0, -np.inf, 1.0]], tf.float32)
        assert rivals(logits, tf.constant([1])).numpy().tolist() == [[3, 0, 2]]


class TestLinearized:
    WEIGHTS = np.array([[1.0, 2.0, -1.0], [0.0, 1.0, 4.0]], np.float32)

    def test_gradients_are_those_of_each_classs_lead_over_the_true_one(self):
        """Columns (1, 0), (2, 1), (-1, 4): column 2 - column 0 = (-2, 4), and so on."""

        def model(x):
            return tf.reshape(x, [-1, 2]) @ self.WEIGHTS

        x = tf.constant([[[0.5], [1.0]], [[0.5], [1.0]]])
        got = linearized(model, x, tf.constant([0, 1]), tf.constant([[2, 1], [0, 2]]))
        np.testing.assert_allclose(got.logits, [[0.5, 2.0, 3.5]] * 2)
        expected = [[[-2.0, 4.0], [1.0, 1.0]], [[-1.0, -1.0], [-3.0, 3.0]]]
        np.testing.assert_allclose(got.gradients, np.reshape(expected, [2, 2, 2, 1]))

    def test_a_model_without_a_gradient_is_refused_with_the_remedy(self):
        with pytest.raises(UserError, match=r"no gradient with respect to its input .*by transfer"):
            linearized(lambda x: tf.round(x) @ self.WEIGHTS, tf.zeros([1, 2]), tf.constant([0]), tf.constant([[1]]))


class TestNearest:
    """Label 0 at logit 5; class 1 at 0 with gradient (3, 4), class 2 at 3.5 with gradient (0, 2)."""

    def plane(self, norm, scale=1.0, logits=(5.0, 0.0, 3.5), gradients=((3.0, 4.0), (0.0, 2.0))):
        measured = Linearized(tf.constant([logits]) * scale, tf.constant([gradients]) * scale)
        return nearest(norm, measured, tf.constant([0]), tf.constant([[1, 2]]))

    @pytest.mark.parametrize("scale", [1.0, 1e-25, 1e25])
    @pytest.mark.parametrize(
        ("norm", "distance", "chosen"),
        # |f| = 5 and 1.5; |w| = 7, 5, 4 and 2, 2, 2 in l1, l2, linf.
        [("linf", 5 / 7, 1), ("l2", 0.75, 2), ("l1", 0.75, 2)],
    )
    def test_distance_is_in_the_dual_norm_at_any_scale(self, norm, distance, chosen, scale):
        plane = self.plane(norm, scale)
        assert plane.distance.numpy() == pytest.approx([distance], rel=1e-5)
        # Scaled to a largest entry of 1.
        normal, value = {1: ([0.75, 1.0], -1.25), 2: ([0.0, 1.0], -0.75)}[chosen]
        np.testing.assert_allclose(plane.normal, [normal], rtol=1e-5)
        np.testing.assert_allclose(plane.value, [value], rtol=1e-5)

    def test_an_impossible_class_and_one_without_a_gradient_come_last(self):
        assert self.plane("l2", logits=(5.0, 0.0, -np.inf)).distance.numpy() == pytest.approx([1.0])
        flat = self.plane("l2", gradients=((3.0, 4.0), (0.0, 0.0)))
        np.testing.assert_allclose(flat.normal, [[0.75, 1.0]])

    def test_what_is_not_a_number_becomes_a_hyperplane_that_asks_for_no_step(self):
        plane = self.plane("linf", logits=(np.nan, 0.0, 0.0), gradients=((np.nan, np.inf), (-np.inf, np.nan)))
        np.testing.assert_array_equal(plane.normal, [[0.0, 0.0]])
        np.testing.assert_array_equal(plane.value, [0.0])


def smallest_step(norm, point, normal, gap, low, high):
    """By bisection of the level in float64, or greedily (l1), as far as possible where the gap is out of reach."""
    sign = np.sign(normal) * np.sign(gap)
    weight, room = np.abs(normal), np.where(sign > 0, high - point, point - low)
    if norm == "l1":
        size, left = np.zeros_like(point), abs(gap)
        for feature in np.argsort(-weight):
            if weight[feature]:
                size[feature] = min(room[feature], left / weight[feature])
                left -= size[feature] * weight[feature]
        return sign * size

    def at(level):
        return np.minimum(room, level * (weight > 0) if norm == "linf" else level * weight)

    below, above = 0.0, 1e6
    for _ in range(100):
        middle = (below + above) / 2
        below, above = (middle, above) if weight @ at(middle) < abs(gap) else (below, middle)
    return sign * at(above)


class TestStepOnto:
    @pytest.mark.parametrize(
        ("norm", "expected"),
        # 0.6 / (4 + 2 + 1); 0.6 (4, -2, 1) / 21; 0.6 / 4 on the heaviest.
        [
            ("linf", 0.6 / 7 * np.array([1, -1, 1])),
            ("l2", 0.6 / 21 * np.array([4, -2, 1])),
            ("l1", np.array([0.15, 0, 0])),
        ],
    )
    @pytest.mark.parametrize("sign", [1.0, -1.0])
    def test_away_from_the_box_it_is_the_closed_form(self, norm, expected, sign):
        got = step(norm, [[0.5, 0.5, 0.5]], [[4.0, -2.0, 1.0]], [sign * 0.6])
        np.testing.assert_allclose(got, [sign * expected], atol=1e-6)

    @pytest.mark.parametrize(
        ("norm", "expected"),
        # The first feature stops at 1 after 0.1, which gives 0.4 of the 1.0; the others give the 0.6 that are left:
        # 0.6 / (2 + 1) each; 0.6 (-2, 1) / 5; 0.6 / 2 on the heavier.
        [("linf", [0.1, -0.2, 0.2]), ("l2", [0.1, -0.24, 0.12]), ("l1", [0.1, -0.3, 0.0])],
    )
    def test_what_the_box_stops_the_other_features_make_up_for(self, norm, expected):
        np.testing.assert_allclose(step(norm, [[0.9, 0.5, 0.5]], [[4.0, -2.0, 1.0]], [1.0]), [expected], atol=1e-6)

    @pytest.mark.parametrize("norm", NORMS)
    def test_out_of_reach_it_goes_to_the_corner_that_comes_closest(self, norm):
        """At most 4 x 0.1 + 2 x 0.5 + 1 x 0.5 = 1.9 can be gained; a feature without weight stays."""
        point, normal = [[0.9, 0.5, 0.5, 0.3]], [[4.0, -2.0, 1.0, 0.0]]
        for gap in (1.91, 1e30, np.inf):
            np.testing.assert_allclose(step(norm, point, normal, [gap]), [[0.1, -0.5, 0.5, 0.0]], atol=1e-6)

    @pytest.mark.parametrize("norm", NORMS)
    def test_without_a_normal_or_a_gap_it_stays(self, norm):
        got = step(norm, [[0.5, 1.0]] * 2, [[0.0, 0.0], [1.0, 2.0]], [1.0, 0.0])
        np.testing.assert_array_equal(got, np.zeros([2, 2]))

    @pytest.mark.parametrize("norm", NORMS)
    @pytest.mark.parametrize("bounds", [BOX, (-3.0, 2.0)])
    def test_it_is_the_smallest_step_that_bisection_finds(self, norm, bounds):
        """200 problems of 12 features, a third of them in a corner of the box, gaps up to beyond reach, both signs."""
        rng = np.random.default_rng(0)
        low, high = bounds
        point = rng.uniform(low, high, (200, 12))
        point[:, :4] = np.where(rng.random((200, 4)) < 0.5, low, high)
        normal = rng.normal(size=point.shape) * (rng.random(point.shape) < 0.9)
        reach = np.maximum(normal * (high - point), normal * (low - point)).sum(axis=1)
        gap = rng.choice([-1.0, 1.0], 200) * rng.choice([0.01, 0.3, 0.9, 1.1], 200) * reach
        expected = [smallest_step(norm, *each, low, high) for each in zip(point, normal, gap, strict=True)]
        got = step(norm, point, normal, gap, bounds)
        np.testing.assert_allclose(got, expected, atol=2e-5 * (high - low))
        assert (np.float32(point) + got).min() >= low - 1e-6
        assert (np.float32(point) + got).max() <= high + 1e-6

    def test_xla_computes_the_same(self):
        rng = np.random.default_rng(1)
        point, normal, gap = rng.random((5, 3, 2)), rng.normal(size=(5, 3, 2)), rng.normal(size=5)
        arguments = [tf.constant(each, tf.float32) for each in (point, normal, gap)]

        @tf.function(jit_compile=True, autograph=False)
        def compiled(point, normal, gap):
            return [step_onto(norm, point, normal, gap, BOX) for norm in NORMS]

        for norm, got in zip(NORMS, compiled(*arguments), strict=True):
            np.testing.assert_allclose(got, step_onto(norm, *arguments, BOX), atol=1e-6)


class TestMinimumNorm:
    class Within(MinimumNorm):
        epsilon = 0.3

    @pytest.mark.parametrize(("attack", "keep"), [(MinimumNorm(), "closest"), (Within(), "best")])
    def test_a_radius_decides_what_is_kept(self, attack, keep):
        assert attack.keep == keep

    def test_a_success_is_within_the_radius_and_worth_its_distance(self):
        problem = search.problem_of(self.Within(), tf.zeros([3, 2]), tf.constant([0, 0, 1]), epsilon=0.3)
        x_adv = tf.constant([[0.1, -0.3], [0.31, 0.0], [0.1, 0.1]])
        success, value = self.Within().judge(problem, x_adv, tf.constant([[1.0, 2.0]] * 3))
        assert success.numpy().tolist() == [True, False, False]
        assert value.numpy() == pytest.approx([-0.3, -0.31, -0.1])

    @pytest.mark.parametrize(("lead", "counts"), [(-1.0, False), (0.0, False), (5e-6, False), (5e-5, True)])
    def test_the_closest_must_lead_by_more_than_rounding_of_its_logits(self, lead, counts):
        """A millionth of the largest size, 16, is 1.6e-5. Within a radius a tie goes to the lower class, here wrong."""
        problem = search.problem_of(MinimumNorm(), tf.zeros([1, 2]), tf.constant([1]))
        logits = tf.constant([[1.0 + lead, 1.0, -16.0]])
        assert MinimumNorm().judge(problem, problem.x, logits)[0].numpy().tolist() == [counts]
        assert self.Within().judge(problem, problem.x, logits)[0].numpy().tolist() == [lead >= 0]
