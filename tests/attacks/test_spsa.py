"""SPSA: the estimate of a gradient and the steps of Adam worked out in NumPy, and models that have no gradient."""

import dataclasses

import numpy as np
import pytest
import tensorflow as tf

from tfadv import draws
from tfadv.attacks import search
from tfadv.attacks.spsa import Spsa, spsa
from tfadv.validation import UserError

# Column 1 - column 0: what a unit of each pixel adds to the margin at label 0.
WEIGHTS = np.array([[1.0, -1.0], [2.0, -2.0], [-3.0, 3.0], [0.5, 0.0]], np.float32)
SLOPE = np.array([-2.0, -4.0, 6.0, -0.5], np.float32)
BOX = (-1.0, 1.0)
both_norms = pytest.mark.parametrize("norm", ["linf", "l2"])


def linear(x):
    """Logits of label 0 stay 20 ahead: nothing in the box [-1, 1]^4 is misclassified."""
    return tf.reshape(x, [-1, 4]) @ WEIGHTS + [20.0, 0.0]


def run(model, x, config, y=None, jit=False):
    x = tf.constant(x, tf.float32)
    y = tf.zeros([len(x)], tf.int32) if y is None else tf.constant(y, tf.int32)
    attack = tf.function(lambda *batch: spsa(model, *batch, config=config), autograph=False, jit_compile=jit)
    return attack(x, y, x).numpy()


def started(config, x):
    x = tf.constant(x, tf.float32)
    problem = search.problem_of(config, x, tf.zeros([len(x)], tf.int32))
    return problem, config.begin(linear, problem, x)


def directions(config, example, step, count):
    """The signs that an example draws at a step, four at a time; [count, 4]."""
    turns = [draws.signs(config.seed, ([example], [0], [step], [turn]), (4, 4))[0] for turn in range(count // 4)]
    return np.concatenate(turns)


class TestTheEstimate:
    def test_on_a_linear_model_it_is_the_mean_of_v_times_its_slope(self):
        """(f(x + delta v) - f(x - delta v)) / (2 delta) is <SLOPE, v> for every delta."""
        config = Spsa(samples=16, delta=0.05)
        problem, state = started(config, np.full([3, 4], 0.5))
        measured = config.measure(linear, problem, state._replace(taken=tf.constant([0, 7, 7])))
        for row, step in enumerate((0, 7, 7)):
            signs = directions(config, row, step, 8)
            np.testing.assert_allclose(measured.gradient[row], np.mean(signs * (signs @ SLOPE)[:, None], 0), rtol=1e-3)
        np.testing.assert_allclose(measured.logits, linear(state.x_adv))

    def test_over_many_samples_it_is_the_gradient(self):
        """An entry has the variance (|SLOPE|^2 - its square) / directions, below 0.24^2 for 1,024 of them."""
        config = Spsa(samples=2048)
        measured = config.measure(linear, *started(config, np.full([2, 4], 0.5)))
        np.testing.assert_allclose(measured.gradient, [SLOPE, SLOPE], atol=0.7)

    def test_of_a_curved_model_it_takes_the_chord_of_2_delta(self):
        """f(v) = v^3 in one dimension: ((x + d)^3 - (x - d)^3) / (2 d) = 3 x^2 + d^2."""
        config = Spsa(samples=2, delta=0.1)
        problem, state = started(config, [[0.5]])
        measured = config.measure(lambda v: tf.concat([tf.zeros_like(v), v**3], 1), problem, state)
        np.testing.assert_allclose(measured.gradient, [[3 * 0.25 + 0.01]], rtol=1e-4)

    def test_it_looks_at_samples_points_in_pairs_around_the_iterate_and_at_the_iterate(self):
        config, asked = Spsa(samples=8, delta=0.05), []
        problem, state = started(config, np.full([2, 4], 0.5))
        config.measure(lambda x: asked.append(x.numpy()) or linear(x), problem, state)
        points = np.concatenate([each.reshape(2, -1, 4) for each in asked], axis=1) - 0.5
        assert points.shape == (2, 9, 4)
        np.testing.assert_allclose(np.abs(points[:, :8]), 0.05, atol=1e-6)
        np.testing.assert_allclose(points[:, :8].sum(axis=1), 0, atol=1e-6)
        assert not points[:, 8].any()
        assert config.queries_per_move == 9
        assert config.gradients_per_move == 0

    def test_a_number_of_pairs_that_is_no_multiple_of_four_is_looked_at_too(self):
        config, asked = Spsa(samples=6), []
        problem, state = started(config, np.full([1, 4], 0.5))
        config.measure(lambda x: asked.append(len(x)) or linear(x), problem, state)
        assert sum(asked) == 7


@both_norms
def test_steps_are_those_of_adam_projected(norm):
    """The same in NumPy: moments with 0.9 and 0.999, without their bias; then box and ball."""
    config = Spsa(epsilon=0.05, steps=4, samples=8, learning_rate=0.02, norm=norm, bounds=BOX)
    x = np.float32([[0.5, 0.5, 0.99, -0.99]])
    point, mean, square = x.copy(), np.zeros(4), np.zeros(4)
    for step in range(4):
        signs = directions(config, 0, step, 4)
        gradient = np.mean(signs * (signs @ SLOPE)[:, None], axis=0)
        mean, square = 0.9 * mean + 0.1 * gradient, 0.999 * square + 0.001 * gradient**2
        unbiased, scale = mean / (1 - 0.9 ** (step + 1)), np.sqrt(square / (1 - 0.999 ** (step + 1)))
        change = np.clip(point + 0.02 * unbiased / (scale + 1e-8), -1.0, 1.0) - x
        length = np.linalg.norm(change)
        change = np.clip(change, -0.05, 0.05) if norm == "linf" else change * min(1.0, 0.05 / length)
        point = x + change
        problem, state = started(dataclasses.replace(config, steps=step + 1), x)
        state = search.advance(config, linear, problem, state, tf.constant([step + 1]))
        np.testing.assert_allclose(state.x_adv, point, atol=2e-4)


@pytest.mark.parametrize("blocked", [tf.round, tf.stop_gradient], ids=["round", "stop_gradient"])
def test_a_model_without_a_gradient_is_attacked_all_the_same(blocked):
    """It comes to the corner of the ball; rounded to tenths, as soon as delta crosses half a tenth."""

    def model(x):
        return linear(blocked(10.0 * x) / 10.0)

    config = Spsa(epsilon=0.2, steps=25, samples=32, delta=0.06, learning_rate=0.02)
    x_adv = run(model, np.full([2, 4], 0.5), config)
    np.testing.assert_allclose(np.round(x_adv[:, :3], 1), [[0.3, 0.3, 0.7]] * 2, atol=1e-6)


def test_the_first_adversarial_iterate_ends_the_search():
    """From a margin of -1.25 the ball reaches +1.25, so the search stops in its middle."""

    def model(x):
        return x @ WEIGHTS + [1.0, 0.0]

    config = Spsa(epsilon=0.2, steps=30, samples=32)
    x_adv = run(model, np.full([2, 4], 0.5), config)
    margin = np.diff(model(x_adv))[:, 0]
    assert (margin > 0).all()
    assert (margin < 0.2).all()


def test_a_targeted_search_descends_toward_its_class():
    x_adv = run(lambda x: linear(x) - [40.0, 0.0], np.full([1, 4], 0.5), Spsa(epsilon=0.1, steps=20, targeted=True))
    np.testing.assert_allclose(x_adv[:, :3], [[0.6, 0.6, 0.4]], atol=1e-6)


@both_norms
def test_a_radius_of_each_example_is_kept_and_0_gives_x(norm):
    x = np.random.default_rng(0).uniform(-1.0, 1.0, [3, 4]).astype(np.float32)
    config = Spsa(epsilon=(0.0, 0.05, 0.1), steps=8, samples=8, learning_rate=0.05, norm=norm, bounds=BOX)
    got = run(linear, x, config)
    np.testing.assert_array_equal(got[0], x[0])
    sizes = np.abs(got - x).max(axis=1) if norm == "linf" else np.linalg.norm(got - x, axis=1)
    assert (sizes <= np.float32([0, 0.05, 0.1]) + 1e-6).all()
    assert (sizes[1:] > [0.04, 0.08]).all()
    assert np.abs(got).max() <= 1.0
    whole = run(linear, x, dataclasses.replace(config, epsilon=0.05))
    np.testing.assert_allclose(got[1], whole[1], atol=1e-6)


def test_an_example_draws_the_same_alone_and_as_an_image():
    x = np.random.default_rng(0).random((3, 4)).astype(np.float32)
    config = Spsa(epsilon=0.1, steps=3, samples=8)
    together = run(linear, x, config)
    np.testing.assert_allclose(run(linear, x[:1], config), together[:1], atol=1e-6)
    np.testing.assert_allclose(run(linear, x.reshape(3, 2, 2, 1), config).reshape(3, 4), together, atol=1e-6)
    assert (run(linear, x, dataclasses.replace(config, seed=1)) != together).any()


def test_xla_gives_the_same():
    """But for the rounding of small differences, which Adam divides by their own size."""
    x = np.random.default_rng(0).random((3, 4)).astype(np.float32)
    config = Spsa(epsilon=0.1, steps=3, samples=8)
    np.testing.assert_allclose(run(linear, x, config, jit=True), run(linear, x, config), atol=1e-3)


def test_a_model_that_gives_nan_leaves_the_search_where_it_is():
    x = np.full([2, 4], 0.5, np.float32)
    np.testing.assert_array_equal(run(lambda v: linear(v) * float("nan"), x, Spsa(steps=2, samples=8)), x)


REFUSED = {
    "norm": ({"norm": "l7"}, r"norm must be one of \[.*'l2', 'linf'\], got 'l7'"),
    "objective": ({"objective": "loss"}, r"objective must be one of \[.*'margin'.*\], got 'loss'"),
    "steps": ({"steps": 0}, "steps must be at least 1, got 0"),
    "odd samples": ({"samples": 7}, "samples must be even, got 7"),
    "no samples": ({"samples": 0}, "samples must be at least 2, got 0"),
    "delta": ({"delta": 0.0}, "delta must be a finite number > 0, got 0.0"),
    "learning rate": ({"learning_rate": float("nan")}, "learning_rate must be a finite number > 0, got nan"),
    "epsilon": ({"epsilon": -0.1}, "epsilon must be a finite number >= 0 .* got -0.1"),
}


@pytest.mark.parametrize(("fields", "message"), REFUSED.values(), ids=REFUSED)
def test_settings_that_mean_nothing_are_refused(fields, message):
    with pytest.raises(UserError, match=message):
        Spsa(**fields)


def test_the_defaults_are_the_published_ones():
    assert Spsa() == Spsa(epsilon=8 / 255, steps=100, samples=128, delta=0.01, learning_rate=0.01, objective="margin")
    assert Spsa().moves == 100
    assert not Spsa.bfloat16
