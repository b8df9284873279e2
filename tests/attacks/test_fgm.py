"""The fast gradient method: one step of the full radius, from the image, returned whether it fools or not."""

import dataclasses

import numpy as np
import pytest
import tensorflow as tf

from tfadv.attacks import search
from tfadv.attacks.fgm import Fgm, fgm
from tfadv.attacks.pgd import Pgd, pgd
from tfadv.validation import UserError

WEIGHTS = np.array([[1.0, -1.0], [2.0, -2.0], [-3.0, 3.0], [0.5, 0.0]], np.float32)
X = np.array([[0.5, 0.05, 0.95, 0.5], [0.2, 0.4, 0.6, 0.8]], np.float32)
LABELS = np.array([0, 1], np.int32)
FORMS = [
    Fgm(epsilon=0.1),
    Fgm(epsilon=0.1, norm="l2", objective="margin"),
    Fgm(epsilon=0.1, norm="l1"),
    Fgm(epsilon=0.1, targeted=True, bounds=(-1.0, 1.0)),
    Fgm(epsilon=0.1, label="predicted"),
    Fgm(epsilon=0.1, scale=0.5),
]


def linear(x):
    return x @ WEIGHTS


def run(config, start=X, x=X, y=LABELS, model=linear):
    return fgm(model, tf.constant(x), tf.constant(y), tf.constant(start), config=config).numpy()


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


def test_l1_adds_epsilon_to_the_feature_of_largest_gradient():
    """Of four features 2% is one: the third. For label 0 it goes from 0.95 up to the box, for label 1 down by 0.2."""
    expected = X + np.outer([0.05, -0.2], [0, 0, 1, 0])
    np.testing.assert_allclose(run(Fgm(epsilon=0.2, norm="l1")), expected, atol=1e-6)


@pytest.mark.parametrize("norm", ["linf", "l2", "l1"])
def test_each_example_may_have_its_own_epsilon_and_that_of_zero_stays(norm):
    config = Fgm(epsilon=(0.0, 0.1), norm=norm)
    got = run(config)
    np.testing.assert_array_equal(got[0], X[0])
    np.testing.assert_allclose(got[1:], run(dataclasses.replace(config, epsilon=0.1))[1:], atol=1e-7)


def test_the_box_is_the_configs():
    expected = np.clip(X + 0.1 * np.sign(gradient()), -1, 0.97)
    np.testing.assert_allclose(run(Fgm(epsilon=0.1, bounds=(-1.0, 0.97))), expected, atol=1e-6)


def test_targeted_steps_towards_the_class_that_is_given():
    """Of two classes, towards y is away from the other."""
    expected = run(Fgm(epsilon=0.1, bounds=(-1.0, 1.0)), y=1 - LABELS)
    np.testing.assert_allclose(run(Fgm(epsilon=0.1, targeted=True, bounds=(-1.0, 1.0))), expected, atol=1e-6)


def test_scale_is_the_length_of_the_gradient_before_its_entries_are_clipped():
    """0.5 (-2, -4, 6, -0.5) / 7.5 = (-0.133, -0.267, 0.4, -0.033), clipped to +-0.1, then to the box."""
    assert np.sqrt((gradient() ** 2).sum(axis=1)) == pytest.approx(7.5)
    expected = [[0.4, 0.0, 1.0, 0.5 - 0.25 / 7.5], [0.3, 0.5, 0.5, 0.8 + 0.25 / 7.5]]
    np.testing.assert_allclose(run(Fgm(epsilon=0.1, scale=0.5)), expected, atol=1e-6)


def test_a_large_scale_is_the_sign():
    np.testing.assert_allclose(run(Fgm(epsilon=0.1, scale=1e6)), run(Fgm(epsilon=0.1)), atol=1e-6)


class TestTheLabelOfTheObjective:
    """Logits (-2, 2.25) and (-0.4, 0.8): the model says 1 to both inputs; y is 0 and 1."""

    def test_predicted_leaves_from_what_the_model_says(self):
        predicted = linear(X).argmax(axis=1).astype(np.int32)
        assert predicted.tolist() == [1, 1]
        for objective in ("cross_entropy", "margin"):
            config = Fgm(epsilon=0.1, objective=objective, label="predicted")
            expected = run(dataclasses.replace(config, label="true"), y=predicted)
            np.testing.assert_array_equal(run(config), expected)

    def test_success_is_judged_against_y_in_both(self):
        problem = search.problem_of(Fgm(), tf.constant(X), tf.constant(LABELS))
        for label in ("true", "predicted"):
            success, _ = Fgm(label=label).judge(problem, problem.x, linear(problem.x))
            assert success.numpy().tolist() == [True, False]


@pytest.mark.parametrize("config", FORMS, ids=repr)
def test_the_step_leaves_from_the_image_whatever_start_is_given(config):
    np.testing.assert_array_equal(run(config, start=np.zeros_like(X)), run(config))


def test_the_step_is_returned_also_where_the_image_itself_was_the_better_attack():
    """Class 1 leads by 0.02 - |v - 0.49|: at 0.5 the example is misclassified, a step of 0.1 away it is not."""

    def ridge(v):
        return tf.concat([tf.zeros_like(v), 0.02 - tf.abs(v - 0.49)], axis=1)

    config = Fgm(epsilon=0.1, objective="margin")
    x = np.array([[0.5]], np.float32)
    np.testing.assert_allclose(run(config, x=x, start=x, y=[0], model=ridge), [[0.4]], atol=1e-6)


@pytest.mark.parametrize("config", FORMS, ids=repr)
def test_one_example_is_the_same_as_many_and_as_any_rank_and_compiled(config):
    expected = run(config)
    np.testing.assert_allclose(run(config, x=X[1:], start=X[1:], y=LABELS[1:]), expected[1:], atol=1e-7)
    image = X.reshape(2, 2, 2, 1)
    got = run(config, x=image, start=image, model=lambda v: linear(tf.reshape(v, [-1, 4])))
    np.testing.assert_allclose(got.reshape(2, 4), expected, atol=1e-7)
    compiled = tf.function(lambda x, y: fgm(linear, x, y, x, config=config), jit_compile=True, autograph=False)
    np.testing.assert_allclose(compiled(X, LABELS), expected, atol=1e-6)


@pytest.mark.parametrize("config", FORMS, ids=repr)
def test_a_model_that_gives_nan_leaves_the_image_as_it_is(config):
    np.testing.assert_array_equal(run(config, model=lambda v: linear(v) * np.nan), X)


@pytest.mark.parametrize("norm", ["linf", "l2", "l1"])
@pytest.mark.parametrize("targeted", [False, True])
def test_it_is_one_step_of_pgd_without_a_random_start(norm, targeted):
    config = Fgm(epsilon=0.1, norm=norm, objective="margin", targeted=targeted, bounds=(-1.0, 1.0))
    assert config.as_pgd() == Pgd(
        epsilon=0.1,
        step_size=0.1,
        steps=1,
        norm=norm,
        objective="margin",
        random_start=False,
        keep="last",
        targeted=targeted,
        bounds=(-1.0, 1.0),
    )
    x, y = tf.constant(X), tf.constant(LABELS)
    np.testing.assert_array_equal(run(config), pgd(linear, x, y, x, config=config.as_pgd()))


@pytest.mark.parametrize("fields", [{"label": "predicted"}, {"scale": 100.0}], ids=["label", "scale"])
def test_forms_that_pgd_does_not_have_are_refused_as_such(fields):
    with pytest.raises(UserError, match=r"label='true' and scale=None, .* leave them out"):
        Fgm(**fields).as_pgd()


REFUSED = {
    "norm": ({"norm": "l7"}, r"norm must be one of \['l1', 'l2', 'linf'\], got 'l7'"),
    "objective": ({"objective": "loss"}, "objective must be one of .* got 'loss'"),
    "epsilon": ({"epsilon": -1}, "epsilon must be a finite number >= 0 .* got -1"),
    "label": ({"label": "own"}, r"label must be one of \['predicted', 'true'\], got 'own'"),
    "targeted prediction": ({"targeted": True, "label": "predicted"}, "targeted=True needs label='true'"),
    "scale": ({"scale": 0.0}, "scale must be a finite number > 0, or None for the sign, got 0.0"),
    "NaN scale": ({"scale": float("nan")}, "scale must be a finite number > 0, .* got nan"),
    "scale of l2": ({"scale": 100.0, "norm": "l2"}, "scale needs norm='linf', .* got norm='l2'"),
}


@pytest.mark.parametrize(("fields", "message"), REFUSED.values(), ids=REFUSED)
def test_settings_that_mean_nothing_are_refused(fields, message):
    with pytest.raises(UserError, match=message):
        Fgm(**fields)


def test_pixels_of_0_to_255_in_epsilon_are_a_warning_that_points_at_the_line_which_wrote_them():
    with pytest.warns(UserWarning, match="write 8/255, not 8") as caught:
        Fgm(epsilon=8)
    assert caught[0].filename == __file__


def test_radius_and_norm_are_the_first_arguments():
    assert Fgm(0.1, "l2", "margin") == Fgm(epsilon=0.1, norm="l2", objective="margin")
    assert Fgm().moves == 1
    assert Fgm().keep == "last"
