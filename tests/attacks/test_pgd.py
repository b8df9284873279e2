"""Projected gradient descent, the pure function: steps worked by hand, the iterate that is kept, refused settings."""

import dataclasses

import numpy as np
import pytest
import tensorflow as tf

from tfadv.attacks import pgd
from tfadv.attacks.pgd import Pgd, unit_points
from tfadv.validation import UserError

# Two classes, four inputs: the gradient of either objective at label 0 points along column 1 - column 0.
WEIGHTS = np.array([[1.0, -1.0], [2.0, -2.0], [-3.0, 3.0], [0.5, 0.0]], np.float32)
UP = np.array([-1.0, -1.0, 1.0, -1.0])


def linear(x):
    """Logits of label 0 stay 8 ahead: nothing in the box [0, 1]^4 is misclassified."""
    return x @ WEIGHTS + [8.0, 0.0]


def ridge(height):
    """A model of one number v: class 1 leads by height - |v - 0.48|, so class 0 is wrong near 0.48 if height > 0."""
    return lambda v: tf.concat([tf.zeros_like(v), height - tf.abs(v - 0.48)], axis=1)


def run(model, x, config, start=None, y=None):
    x = tf.constant(x, tf.float32)
    y = tf.zeros([len(x)], tf.int32) if y is None else tf.constant(y, tf.int32)
    return pgd(model, x, y, x if start is None else tf.constant(start, tf.float32), config=config).numpy()


def test_one_step_is_the_sign_of_the_gradient_times_the_step_size():
    x_adv = run(linear, [[0.5, 0.5, 0.5, 0.5]], Pgd(epsilon=0.3, step_size=0.1, steps=1))
    np.testing.assert_allclose(x_adv, [0.5 + 0.1 * UP], atol=1e-6)


def test_one_l2_step_is_the_normalized_gradient_times_the_step_size():
    """Column 1 - column 0 = (-2, -4, 6, -0.5)."""
    direction = np.array([-2.0, -4.0, 6.0, -0.5]) / np.sqrt(4 + 16 + 36 + 0.25)
    x_adv = run(linear, [[0.5, 0.5, 0.5, 0.5]], Pgd(epsilon=0.3, step_size=0.1, steps=1, norm="l2", objective="margin"))
    np.testing.assert_allclose(x_adv, [0.5 + 0.1 * direction], atol=1e-6)


def test_steps_add_up_until_the_ball_and_the_box_stop_them():
    """3 x 0.04 = 0.12 is cut to 0.1 by the ball; 0.05 - 0.1 is cut to 0 by the box."""
    x_adv = run(linear, [[0.5, 0.05, 0.95, 0.5]], Pgd(epsilon=0.1, step_size=0.04, steps=3))
    np.testing.assert_allclose(x_adv, [[0.4, 0.0, 1.0, 0.4]], atol=1e-6)


def test_the_box_is_the_configs():
    x_adv = run(linear, [[-0.95, 0.0, 0.95, 0.0]], Pgd(epsilon=0.1, step_size=0.1, steps=1, bounds=(-1.0, 1.0)))
    np.testing.assert_allclose(x_adv, [[-1.0, -0.1, 1.0, -0.1]], atol=1e-6)


def test_a_start_outside_of_ball_or_box_is_projected_before_the_first_step():
    """The step of 0.01 goes down in the first coordinate: 0.5 + 0.1 - 0.01; the box alone would give 0.99."""
    config = Pgd(epsilon=0.1, step_size=0.01, steps=1, keep="last")
    x_adv = run(linear, [[0.5, 0.95, 0.5, 0.5]], config, start=[[9.0, 9.0, -9.0, 0.5]])
    np.testing.assert_allclose(x_adv, [[0.59, 0.99, 0.41, 0.49]], atol=1e-6)


@pytest.mark.parametrize("norm", ["linf", "l2"])
def test_a_zero_gradient_leaves_the_search_where_it_starts(norm):
    config = Pgd(epsilon=0.1, norm=norm, keep="last")
    start = [[0.52, 0.5, 0.47, 0.5]]
    np.testing.assert_array_equal(run(lambda x: 0 * x @ WEIGHTS, [[0.5] * 4], config, start), np.float32(start))


class TestTheIterateThatIsKept:
    """Ascending `ridge` from 0.31 by 0.08 passes 0.31, 0.39, 0.47, 0.55: over the ridge and down the other side."""

    def kept(self, height, steps, keep):
        config = Pgd(epsilon=0.3, step_size=0.08, steps=steps, keep=keep, objective="margin")
        return float(run(ridge(height), [[0.31]], config)[0, 0])

    def test_best_finds_the_success_that_the_path_leaves_again_and_last_loses_it(self):
        """Height 0.03 makes (0.45, 0.51) adversarial: only 0.47 is."""
        assert self.kept(0.03, steps=3, keep="best") == pytest.approx(0.47)
        assert self.kept(0.03, steps=3, keep="last") == pytest.approx(0.55)

    def test_the_point_that_the_last_step_reaches_counts(self):
        assert self.kept(0.03, steps=2, keep="best") == pytest.approx(0.47)

    def test_the_start_counts(self):
        """Height 0.18 makes (0.30, 0.66) adversarial: the start already is, and is the first."""
        assert self.kept(0.18, steps=3, keep="best") == pytest.approx(0.31)

    def test_the_first_success_is_kept_also_if_a_later_one_scores_higher(self):
        """Height 0.10 makes (0.38, 0.58) adversarial: 0.39 is the first, 0.47 the highest."""
        assert self.kept(0.10, steps=3, keep="best") == pytest.approx(0.39)

    def test_without_a_success_the_highest_objective_is_kept(self):
        assert self.kept(-0.01, steps=3, keep="best") == pytest.approx(0.47)
        assert self.kept(-0.01, steps=3, keep="last") == pytest.approx(0.55)


@pytest.mark.parametrize("shape", [(2, 4), (2, 2, 2, 1), (2, 1, 4)], ids=str)
def test_inputs_of_any_rank_are_the_same_attack(shape):
    x = np.random.default_rng(0).random((2, 4), np.float32)
    for norm in ("linf", "l2"):
        config = Pgd(epsilon=0.1, step_size=0.04, steps=3, norm=norm)
        expected = run(linear, x, config)
        got = run(lambda v: linear(tf.reshape(v, [-1, 4])), x.reshape(shape), config)
        np.testing.assert_array_equal(got.reshape(2, 4), expected)


@pytest.mark.parametrize("norm", ["linf", "l2"])
def test_radius_and_step_of_each_example_are_those_of_separate_runs(norm):
    x = np.full([3, 4], 0.5, np.float32)
    together = Pgd(epsilon=(0.0, 0.05, 0.2), step_size=(0.1, 0.02, 0.1), steps=4, norm=norm)
    got = run(linear, x, together)
    for row, (epsilon, step_size) in enumerate(zip(together.epsilon, together.step_size, strict=True)):
        alone = dataclasses.replace(together, epsilon=epsilon, step_size=step_size)
        np.testing.assert_allclose(got[row : row + 1], run(linear, x[:1], alone), atol=1e-7)


@pytest.mark.parametrize("norm", ["linf", "l2"])
def test_tensors_in_place_of_the_configs_radius_and_step_are_the_same_attack(norm):
    """So one program serves a schedule; whether they are one number or one for each example."""
    x, y = tf.fill([2, 4], 0.5), tf.zeros([2], tf.int32)
    expected = run(linear, x, Pgd(epsilon=0.2, step_size=0.1, steps=4, norm=norm))
    config = Pgd(epsilon=0.01, step_size=0.01, steps=4, norm=norm)
    for shape in ([], [2]):
        epsilon, step_size = tf.fill(shape, 0.2), tf.fill(shape, 0.1)
        got = pgd(linear, x, y, x, config=config, epsilon=epsilon, step_size=step_size)
        np.testing.assert_allclose(got, expected, atol=1e-7)


class TestUnitPoints:
    """Starts for radius 1 follow from (seed, restart, number of the example) and from nothing else."""

    def drawn(self, examples, restarts, norm="linf", seed=0):
        return unit_points(norm, seed, tf.constant(examples), tf.constant(restarts), (2, 2, 1)).numpy()

    @pytest.mark.parametrize("norm", ["linf", "l2"])
    def test_they_lie_in_the_unit_ball_and_differ(self, norm):
        starts = self.drawn(list(range(30)), [0] * 30, norm=norm)
        size = np.abs(starts).max(axis=(1, 2, 3)) if norm == "linf" else np.sqrt((starts**2).sum(axis=(1, 2, 3)))
        assert (size <= 1 + 1e-6).all()
        assert size.max() > 0.8
        assert len(np.unique(starts)) == starts.size

    def test_their_l2_lengths_are_uniform_and_not_crowded_at_the_surface(self):
        starts = self.drawn(list(range(200)), [0] * 200, norm="l2")
        deciles = np.quantile(np.sqrt((starts**2).sum(axis=(1, 2, 3))), [0.1, 0.5, 0.9])
        # Four standard errors of a quantile of 200 numbers: 4 sqrt(q (1 - q) / 200).
        np.testing.assert_allclose(deciles, [0.1, 0.5, 0.9], atol=0.15)

    def test_an_example_has_the_same_start_in_every_company(self):
        whole = self.drawn([0, 1, 2, 3], [0, 0, 1, 0])
        np.testing.assert_array_equal(self.drawn([3, 2], [0, 1]), whole[[3, 2]])

    def test_restart_seed_and_example_each_change_it(self):
        """(1, 2) and (2, 1) differ too: the two numbers do not stand in for each other."""
        starts = self.drawn([1, 1, 2, 2], [1, 2, 1, 2])
        assert len(np.unique(np.concatenate([starts, self.drawn([1, 1, 2, 2], [1, 2, 1, 2], seed=1)]))) == 8 * 4


@pytest.mark.parametrize("blocked", [tf.round, tf.stop_gradient], ids=["round", "stop_gradient"])
def test_a_model_without_a_gradient_is_refused_with_the_remedy(blocked):
    with pytest.raises(UserError, match=r"no gradient with respect to its input .*by transfer"):
        run(lambda x: linear(blocked(x)), [[0.5] * 4], Pgd())


REFUSED = {
    "norm": ({"norm": "l7"}, r"norm must be one of \[.*'l2', 'linf'\], got 'l7'"),
    "objective": (
        {"objective": "loss"},
        r"objective must be one of \['cross_entropy', 'dlr', 'lifted_.*\], got 'loss'",
    ),
    "keep": ({"keep": "first"}, r"keep must be one of \['best', 'last'\], got 'first'"),
    "steps": ({"steps": 0}, "steps must be at least 1, got 0"),
    "restarts": ({"restarts": 0}, "restarts must be at least 1, got 0"),
    "restarts of the last": ({"restarts": 2, "keep": "last"}, "restarts > 1 needs keep='best'"),
    "restarts at the image": ({"restarts": 2, "random_start": False}, "restarts > 1 needs random_start=True"),
    "negative epsilon": ({"epsilon": -0.1}, "epsilon must be a finite number >= 0 .* got -0.1"),
    "NaN epsilon": ({"epsilon": float("nan")}, "epsilon must be a finite number >= 0 .* got nan"),
    "negative step": ({"step_size": -0.1}, "step_size must be a finite number >= 0 .* got -0.1"),
    "NaN step": ({"step_size": float("nan")}, "step_size must be a finite number >= 0 .* got nan"),
}


@pytest.mark.parametrize(("fields", "message"), REFUSED.values(), ids=REFUSED)
def test_settings_that_mean_nothing_are_refused(fields, message):
    with pytest.raises(UserError, match=message):
        Pgd(**fields)


def test_pixels_of_0_to_255_in_epsilon_are_a_warning_that_points_at_the_line_which_wrote_them():
    with pytest.warns(UserWarning, match="write 8/255, not 8") as caught:
        Pgd(epsilon=8)
    assert caught[0].filename == __file__


def test_a_config_is_a_value():
    """Frozen, equal by content, usable as a key; its defaults are those of the CIFAR-10 attack, in units of [0, 1]."""
    assert Pgd() == Pgd(epsilon=8 / 255, step_size=2 / 255, steps=10, keep="best")
    assert len({Pgd(), Pgd(seed=0), Pgd(seed=1)}) == 2
    with pytest.raises(dataclasses.FrozenInstanceError):
        Pgd().steps = 3
