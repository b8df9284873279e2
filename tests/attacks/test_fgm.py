"""The fast gradient method: one step of the full radius, from the image, returned whether it fools or not."""

import numpy as np
import pytest
import tensorflow as tf

from tfadv.attacks import Pgd, compiled, fgm
from tfadv.attacks.fgm import Fgm
from tfadv.validation import UserError

WEIGHTS = np.array([[1.0, -1.0], [2.0, -2.0], [-3.0, 3.0], [0.5, 0.0]], np.float32)
X = np.array([[0.5, 0.05, 0.95, 0.5], [0.2, 0.4, 0.6, 0.8]], np.float32)
LABELS = np.array([0, 1], np.int32)


def linear(x):
    return x @ WEIGHTS


def run(config, start=X):
    return fgm(linear, tf.constant(X), tf.constant(LABELS), tf.constant(start), config=config).numpy()


def gradient():
    """Direction of either objective: the other column minus the label's; (-2, -4, 6, -0.5) for label 0."""
    towards_one = WEIGHTS[:, 1] - WEIGHTS[:, 0]
    return np.stack([towards_one, -towards_one])


@pytest.mark.parametrize("objective", ["cross_entropy", "margin"])
def test_linf_adds_epsilon_times_the_sign_of_the_gradient(objective):
    expected = np.clip(X + 0.1 * np.sign(gradient()), 0, 1)
    assert (expected != X + 0.1 * np.sign(gradient())).any()  # The box cuts some of it.
    np.testing.assert_allclose(run(Fgm(epsilon=0.1, objective=objective)), expected, atol=1e-6)


def test_l2_adds_epsilon_times_the_normalized_gradient():
    expected = X + 0.04 * gradient() / np.sqrt(4 + 16 + 36 + 0.25)
    np.testing.assert_allclose(run(Fgm(epsilon=0.04, norm="l2")), expected, atol=1e-6)


def test_each_example_may_have_its_own_epsilon():
    expected = np.clip(X + np.array([[0.0], [0.1]]) * np.sign(gradient()), 0, 1)
    np.testing.assert_allclose(run(Fgm(epsilon=(0.0, 0.1))), expected, atol=1e-6)


def test_the_box_is_the_configs():
    expected = np.clip(X + 0.1 * np.sign(gradient()), -1, 0.97)
    np.testing.assert_allclose(run(Fgm(epsilon=0.1, bounds=(-1.0, 0.97))), expected, atol=1e-6)


def test_the_step_leaves_from_the_image_whatever_start_is_given():
    expected = run(Fgm(epsilon=0.1))
    np.testing.assert_array_equal(run(Fgm(epsilon=0.1), start=np.zeros_like(X)), expected)
    attack = compiled(linear, Fgm(epsilon=0.1), jit="off", precision="float32")
    np.testing.assert_allclose(attack(X, LABELS, np.zeros_like(X)), expected, atol=1e-6)


def test_the_step_is_returned_also_where_the_image_itself_was_the_better_attack():
    """Class 1 leads by 0.02 - |v - 0.5|: at 0.5 the example is misclassified, a step of 0.1 away it is not."""

    def ridge(v):
        return tf.concat([tf.zeros_like(v), 0.02 - tf.abs(v - 0.49)], axis=1)

    x, y = np.array([[0.5]], np.float32), np.array([0], np.int32)
    config = Fgm(epsilon=0.1, objective="margin")
    np.testing.assert_allclose(fgm(ridge, tf.constant(x), y, tf.constant(x), config=config), [[0.4]], atol=1e-6)
    outcome = compiled(ridge, config, jit="off", precision="float32").run(x, y)
    np.testing.assert_allclose(outcome.x_adv, [[0.4]], atol=1e-6)
    assert outcome.adversarial.tolist() == [False]
    assert outcome.ever_adversarial.tolist() == [True]
    assert outcome.gradient_evaluations == 1


def test_it_is_one_step_of_pgd_without_a_random_start():
    config = Fgm(epsilon=0.1, norm="l2", objective="margin", bounds=(-1.0, 1.0))
    assert config.as_pgd() == Pgd(
        epsilon=0.1,
        step_size=0.1,
        steps=1,
        norm="l2",
        objective="margin",
        random_start=False,
        keep="last",
        bounds=(-1.0, 1.0),
    )


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"norm": "l7"}, r"norm must be one of \['l2', 'linf'\], got 'l7'"),
        ({"objective": "loss"}, "objective must be one of .* got 'loss'"),
        ({"epsilon": -1}, "epsilon must be a finite number >= 0 .* got -1"),
    ],
    ids=["norm", "objective", "epsilon"],
)
def test_settings_that_mean_nothing_are_refused(fields, message):
    with pytest.raises(UserError, match=message):
        Fgm(**fields)
