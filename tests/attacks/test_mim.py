"""The momentum iterative method: gradients of l1 size 1 accumulate, and the step goes along their sum."""

import dataclasses

import numpy as np
import pytest
import tensorflow as tf

from tfadv.attacks import search
from tfadv.attacks.mim import Mim, mim
from tfadv.attacks.pgd import Pgd, pgd
from tfadv.validation import UserError

# Two classes, four inputs: the gradient of either objective at label 0 points along column 1 - column 0.
WEIGHTS = np.array([[1.0, -1.0], [2.0, -2.0], [-3.0, 3.0], [0.5, 0.0]], np.float32)
NORMS = ["linf", "l2", "l1"]


def linear(x):
    return x @ WEIGHTS


def bowl(x):
    """Class 1 leads by 1 - (v - 0.5)^2 - 10 (w - 0.5)^2: its gradient is (1 - 2v, 10 - 20 w)."""
    lead = 1.0 - (x[:, :1] - 0.5) ** 2 - 10.0 * (x[:, 1:] - 0.5) ** 2
    return tf.concat([tf.zeros_like(lead), lead], axis=1)


def run(model, x, config, start=None, y=None):
    x = tf.constant(x, tf.float32)
    y = tf.zeros([len(x)], tf.int32) if y is None else tf.constant(y, tf.int32)
    return mim(model, x, y, x if start is None else tf.constant(start, tf.float32), config=config).numpy()


def by_hand(start, steps, step_size, decay, ascent):
    """Algorithm 1 on `bowl`, without ball and box."""
    point, accumulated = np.array(start), np.zeros(2)
    for _ in range(steps):
        gradient = np.array([1 - 2 * point[0], 10 - 20 * point[1]])
        accumulated = decay * accumulated + gradient / np.abs(gradient).sum()
        point = point + step_size * ascent(accumulated)
    return point


@pytest.mark.parametrize(("decay", "end"), [(0.0, 0.48), (0.8, 0.54), (1.0, 0.60)])
def test_linf_steps_go_along_the_sign_of_the_accumulated_gradient(decay, end):
    """w goes up from 0.42 by 0.03. Beyond 0.5 PGD turns at once, and momentum the later the larger the decay."""
    config = Mim(epsilon=1.0, step_size=0.03, steps=6, objective="margin", decay=decay, keep="last")
    expected = by_hand([0.1, 0.42], 6, 0.03, decay, np.sign)
    np.testing.assert_allclose(run(bowl, [[0.1, 0.42]], config), [expected], atol=1e-5)
    assert expected[1] == pytest.approx(end)


@pytest.mark.parametrize("decay", [0.0, 0.5, 1.0])
def test_l2_steps_go_along_the_normalized_accumulated_gradient(decay):
    config = Mim(epsilon=1.0, step_size=0.03, steps=6, norm="l2", objective="margin", decay=decay, keep="last")
    expected = by_hand([0.1, 0.42], 6, 0.03, decay, lambda g: g / np.sqrt((g**2).sum()))
    np.testing.assert_allclose(run(bowl, [[0.1, 0.42]], config), [expected], atol=1e-5)


def test_l1_steps_go_along_the_largest_entry_of_the_accumulated_gradient():
    """Of two features 2% is one."""
    config = Mim(epsilon=1.0, step_size=0.03, steps=6, norm="l1", objective="margin", keep="last")
    expected = by_hand([0.1, 0.42], 6, 0.03, 1.0, lambda g: np.sign(g) * (np.abs(g) == np.abs(g).max()))
    np.testing.assert_allclose(run(bowl, [[0.1, 0.42]], config), [expected], atol=1e-5)


@pytest.mark.parametrize("norm", NORMS)
def test_without_decay_it_is_pgd(norm):
    x = np.random.default_rng(0).random((3, 4), np.float32)
    fields = {"epsilon": 0.2, "step_size": 0.07, "steps": 5, "norm": norm, "keep": "last"}
    expected = pgd(linear, tf.constant(x), tf.zeros([3], tf.int32), tf.constant(x), config=Pgd(**fields))
    np.testing.assert_allclose(run(linear, x, Mim(**fields, decay=0.0)), expected, atol=1e-6)


@pytest.mark.parametrize("scale", [1e-30, 1e6])
def test_every_gradient_counts_the_same_whatever_its_scale(scale):
    """Also where its l1 norm or its square is beyond float32's range; and no example looks at another's."""
    config = Mim(epsilon=1.0, step_size=0.03, steps=6, objective="margin", keep="last")
    plain = run(bowl, [[0.1, 0.42]], config)
    got = run(lambda x: bowl(x) * tf.constant([[scale], [1.0]]), [[0.1, 0.42], [0.8, 0.3]], config)
    np.testing.assert_allclose(got[:1], plain, atol=1e-6)


def test_steps_stop_at_ball_and_box():
    """3 x 0.04 = 0.12 is cut to 0.1 by the ball; 0.05 - 0.1 is cut to 0 by the box."""
    x_adv = run(linear, [[0.5, 0.05, 0.95, 0.5]], Mim(epsilon=0.1, step_size=0.04, steps=3, keep="last"))
    np.testing.assert_allclose(x_adv, [[0.4, 0.0, 1.0, 0.4]], atol=1e-6)


@pytest.mark.parametrize("norm", NORMS)
def test_radius_and_step_of_each_example_are_those_of_separate_runs_and_zero_stays(norm):
    x = np.full([3, 4], 0.5, np.float32)
    together = Mim(epsilon=(0.0, 0.05, 0.2), step_size=(0.1, 0.02, 0.1), steps=4, norm=norm, keep="last")
    got = run(linear, x, together)
    np.testing.assert_array_equal(got[0], x[0])
    for row, (epsilon, step_size) in enumerate(zip(together.epsilon, together.step_size, strict=True)):
        alone = dataclasses.replace(together, epsilon=epsilon, step_size=step_size)
        np.testing.assert_allclose(got[row : row + 1], run(linear, x[:1], alone), atol=1e-7)


def test_best_returns_the_first_adversarial_iterate_and_last_the_last():
    """Class 0 leads by v - 0.35; steps of 0.1 from 0.5 pass 0.4, 0.3, 0.2, 0.1."""

    def threshold(x):
        return tf.concat([x[:, :1] - 0.35, tf.zeros_like(x[:, :1])], axis=1)

    config = Mim(epsilon=0.4, step_size=0.1, steps=4)
    np.testing.assert_allclose(run(threshold, [[0.5]], config), [[0.3]], atol=1e-6)
    np.testing.assert_allclose(run(threshold, [[0.5]], dataclasses.replace(config, keep="last")), [[0.1]], atol=1e-6)


def test_targeted_goes_to_the_class_that_is_given():
    config = Mim(epsilon=0.2, step_size=0.05, steps=4, keep="last")
    towards = run(linear, [[0.5] * 4], dataclasses.replace(config, targeted=True), y=[1])
    np.testing.assert_allclose(towards, run(linear, [[0.5] * 4], config, y=[0]), atol=1e-6)


@pytest.mark.parametrize("norm", NORMS)
def test_xla_and_inputs_of_any_rank_are_the_same_attack(norm):
    config = Mim(epsilon=0.3, step_size=0.1, steps=3, norm=norm, objective="margin")
    x = np.random.default_rng(0).random((2, 2), np.float32)
    expected = run(bowl, x, config, y=[0, 1])

    def attack(x, y):
        return mim(lambda v: bowl(tf.reshape(v, [-1, 2])), x, y, x, config=config)

    got = tf.function(attack, jit_compile=True, autograph=False)(x.reshape(2, 1, 2, 1), tf.constant([0, 1]))
    np.testing.assert_allclose(got.numpy().reshape(2, 2), expected, atol=1e-5)


def test_gradients_that_are_not_numbers_leave_the_search_where_it_is():
    x = [[0.5] * 4]
    np.testing.assert_array_equal(run(lambda v: linear(v) * np.nan, x, Mim(keep="last")), np.float32(x))


def test_restarts_begin_without_the_momentum_of_the_run_before():
    config = Mim(epsilon=0.3, random_start=True, restarts=2)
    problem = search.problem_of(config, tf.fill([2, 4], 0.5), tf.zeros([2], tf.int32), run=1)
    np.testing.assert_array_equal(config.begin(linear, problem, config.draw(problem)).memory, np.zeros([2, 4]))


def test_the_defaults_are_those_of_the_paper():
    """Decay 1, ten steps of a tenth of the radius, from the image."""
    assert Mim() == Mim(epsilon=8 / 255, step_size=8 / 255 / 10, steps=10, random_start=False, decay=1.0)


@pytest.mark.parametrize("decay", [-0.1, float("nan"), float("inf")])
def test_a_decay_that_means_nothing_is_refused(decay):
    with pytest.raises(UserError, match="decay must be a finite number >= 0, got"):
        Mim(decay=decay)


def test_settings_of_pgd_are_checked_as_there():
    with pytest.raises(UserError, match="steps must be at least 1, got 0"):
        Mim(steps=0)
