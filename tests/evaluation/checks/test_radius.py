"""Other radii: a line, where the accuracy at each of them is known, and curves given by hand."""

import dataclasses

import numpy as np
import pytest
import tensorflow as tf

from tfadv.attacks import Pgd
from tfadv.evaluation.checks import QUICK, radius
from tfadv.evaluation.subject import Subject

EPSILON = 0.1
# The accuracy at radius t is 1 - 1,000 t / 100 below 0.1, and 0 above.
NEAR = 0.5 + (np.arange(100) + 0.5) / 1_000
CURVE = [radius.epsilon_zero, radius.monotone, radius.unbounded]


def above_half(v):
    return v - 0.5


def without_slope(v):
    """The same with a gradient that is there and zero."""
    return tf.stop_gradient(v - 0.5) + 0.0 * v


def given_curve(subject, accuracy):
    """Makes PGD leave this share of ten examples at the radii 0, 0.05, 0.1, ... and at 1."""
    radii = np.append(0.05 * np.arange(len(accuracy) - 1), 1.0)
    fooled = np.arange(10)[:, None] >= np.round(10 * np.array(accuracy))[None]
    subject.memory["sweep"] = radii, fooled, np.arange(10), 0
    return subject


# The radii.


@pytest.mark.parametrize(("norm", "expected"), [("linf", 2.0), ("l2", 2 * np.sqrt(12)), ("l1", 24.0)])
def test_the_unbounded_ball_holds_the_box_around_each_of_its_points(norm, expected):
    """From one corner of a box of side 2 in 12 dimensions to the opposite one."""
    x = np.full([1, 2, 2, 3], -1, np.float32)
    options = {"norm": norm, "epsilon": 0.3, "bounds": (-1.0, 1.0)}
    subject = Subject(lambda v: tf.reshape(v, [-1, 12])[:, :2], x, np.zeros(1, np.int32), **options)
    assert radius.unbounded_radius(subject) == pytest.approx(expected)


@pytest.mark.parametrize(
    ("epsilon", "expected"),
    [(0.1, (0, 0.025, 0.05, 0.075, 0.1, 0.15, 0.2, 0.4, 1)), (0.5, (0, 0.125, 0.25, 0.375, 0.5, 0.75, 1))],
)
def test_radii_go_from_nothing_to_the_whole_box(on_a_line, epsilon, expected):
    radii, fooled, rows = radius.sweep(on_a_line(NEAR, above_half, epsilon=epsilon), QUICK)
    assert radii.tolist() == pytest.approx(list(expected))
    assert fooled.shape == (100, len(expected))
    assert rows.tolist() == list(range(100))


def test_what_pgd_breaks_at_each_radius_is_what_lies_nearer_to_the_boundary(on_a_line):
    radii, fooled, _ = radius.sweep(on_a_line(NEAR, above_half), QUICK)
    np.testing.assert_array_equal(fooled, (NEAR - 0.5)[:, None] < radii)


def test_all_radii_are_attacked_once_for_all_checks_on_some_examples(on_a_line, recorded):
    subject = on_a_line([0.3, *NEAR], above_half, Pgd(EPSILON, 0.05, 3, objective="margin"))
    crafted = recorded(subject)
    effort = dataclasses.replace(QUICK, examples=10, steps=8)
    for check in CURVE:
        assert check(subject, effort).outcome == "passed"
    (config,) = crafted
    assert len(config.epsilon) == len(config.step_size) == 10 * 9
    assert config.step_size == pytest.approx([2.5 * each / 8 for each in config.epsilon])
    assert (config.steps, config.objective) == (8, "margin")


def test_what_is_broken_within_epsilon_counts_and_beyond_it_does_not(on_a_line):
    """One step of 0.02 left 80 of the 100, which all fall within 0.1, and 100 points beyond."""
    subject = on_a_line(np.append(NEAR, NEAR + 0.1), above_half, Pgd(EPSILON, 0.02, 1, random_start=False))
    effort = dataclasses.replace(QUICK, examples=200)
    found = sum(check(subject, effort).found for check in CURVE)
    assert subject.by_checks.sum() == 80
    assert subject.by_checks[100:].sum() == 0
    assert (np.abs(subject.found - subject.x) <= EPSILON + 1e-6).all()
    assert found == 80


# Nothing.


def test_radius_0_changes_no_prediction(on_a_line):
    check = radius.epsilon_zero(on_a_line(NEAR, above_half), QUICK)
    assert (check.outcome, check.value) == ("passed", 0.0)
    assert check.evidence == "0 of 100 correctly classified examples change at epsilon 0"


def test_a_prediction_that_changes_at_radius_0_fails(on_a_line):
    check = radius.epsilon_zero(given_curve(on_a_line([0.7] * 10, above_half), [0.9, 0.5, 0.1, 0]), QUICK)
    assert (check.outcome, check.value) == ("failed", 1.0)
    assert check.chart.series["accuracy"].y == pytest.approx((1.0, 0.9))


# Smaller and larger.


def test_the_curve_of_a_line_falls_and_its_area_is_known(on_a_line):
    """1 - 10 t up to t = 0.1, nothing beyond: a triangle of area 0.05 under a range of 1."""
    check = radius.monotone(on_a_line(NEAR, above_half), QUICK)
    assert (check.outcome, check.value) == ("passed", 0.0)
    assert check.evidence.endswith("area under the curve 0.050 of 1")
    shown = check.chart.series["PGD"]
    assert shown.x == pytest.approx((0, 0.025, 0.05, 0.075, 0.1, 0.15, 0.2, 0.4))
    assert shown.y == pytest.approx((1, 0.75, 0.5, 0.25, 0, 0, 0, 0), abs=1e-6)


@pytest.mark.parametrize(
    ("accuracy", "outcome", "rise"),
    [
        ([1, 0.6, 0.3, 0.3, 0], "passed", 0.0),
        ([1, 0.6, 0.3, 0.5, 0], "passed", 0.2),  # 2 sqrt(0.5 * 0.5 / 10) = 0.32 are allowed
        ([1, 0.6, 0.1, 0.5, 0], "failed", 0.4),
        ([1, 0.6, 0.1, 0.3, 0.6], "failed", 0.5),  # against the lowest before, not the last
        ([1, 0.6, 0.1, 0, 1], "failed", 1.0),
    ],
)
def test_a_curve_that_rises_by_more_than_sampling_fails(on_a_line, accuracy, outcome, rise):
    check = radius.monotone(given_curve(on_a_line([0.7] * 10, above_half), accuracy), QUICK)
    assert check.outcome == outcome
    assert check.value == pytest.approx(rise)


def test_one_point_is_allowed_where_there_is_no_error(on_a_line):
    """An accuracy that rises from 0 to 1 has no sampling error at its top, and is a failure all the same."""
    check = radius.monotone(given_curve(on_a_line([0.7] * 10, above_half), [1, 0, 1, 0]), QUICK)
    assert (check.outcome, check.value) == ("failed", 1.0)
    assert "at epsilon 0.1;" in check.evidence


# No bound.


def test_in_the_whole_box_everything_falls(on_a_line):
    subject = on_a_line(np.append(NEAR, [0.3]), above_half)  # the last is of class 0, so both classes occur
    check = radius.unbounded(subject, QUICK)
    assert (check.outcome, check.value) == ("passed", 0.0)
    assert check.evidence == "0 of 100 examples withstand PGD at every radius up to 1, the whole box"


def test_where_the_gradient_is_zero_the_whole_box_does_not_help(on_a_line):
    """PGD stays where it starts, so that only starts below 1/2 succeed."""
    subject = on_a_line(np.append(np.full(40, 0.9), [0.3]), without_slope)
    check = radius.unbounded(subject, QUICK)
    assert check.outcome == "failed"
    assert 0 < check.value < 1
    assert f"{round(40 * check.value)} of 40 examples withstand" in check.evidence


@pytest.mark.parametrize(("accuracy", "left"), [([1, 0.5, 0.3, 0], 0), ([1, 0.5, 0, 0.3], 0), ([1, 0.5, 0.2, 0.3], 2)])
def test_an_example_has_to_fall_at_one_radius_only(on_a_line, accuracy, left):
    check = radius.unbounded(given_curve(on_a_line([0.7] * 10 + [0.3], above_half), accuracy), QUICK)
    assert (check.outcome, check.value) == ("failed" if left else "passed", left / 10)


def test_a_model_of_one_class_has_no_other_to_reach(on_a_line):
    check = radius.unbounded(on_a_line([0.7] * 5, lambda v: 0.0 * v + 2.0), QUICK)
    assert check.outcome == "not applicable"
    assert "the model gives one class to all images" in check.evidence


# Half of the range.


def test_pgd_takes_every_image_of_a_line_at_half_the_range(on_a_line):
    check = radius.half_range(on_a_line(np.linspace(0.55, 0.95, 20), above_half), QUICK)
    assert (check.outcome, check.value) == ("passed", 0.0)
    assert check.evidence == "PGD leaves 0.0%, with the gray image 0.0%; the largest class has 100.0%"


def test_pgd_moves_by_half_the_range_whatever_the_bounds(on_a_line, recorded):
    subject = on_a_line([0.9], lambda v: v, bounds=(-1.0, 1.0))
    crafted = recorded(subject)
    assert radius.half_range(subject, QUICK).outcome == "passed"
    assert (crafted[0].epsilon, crafted[0].step_size) == (1.0, pytest.approx(2.5 / 20))


def test_what_pgd_cannot_take_and_the_gray_image_can_is_a_warning():
    """Ten classes by the brightest of ten pixels, and the first where all are alike.

    The gradient points to the true class, so that an attack that starts at the image leads away from all others.
    """

    def model(x):
        flat = tf.reshape(x, [-1, 10])
        return 2 * tf.stop_gradient(flat) - flat

    x = 0.01 + 0.98 * np.eye(10, dtype=np.float32).reshape(10, 2, 5, 1)
    subject = Subject(model, x, np.arange(10, dtype=np.int32), norm="linf", epsilon=0.1, precision="float32")
    check = radius.half_range(subject, QUICK)
    assert (check.outcome, check.value) == ("warning", pytest.approx(0.1))
    assert check.evidence == "PGD leaves 100.0%, with the gray image 10.0%; the largest class has 10.0%"
    assert check.chart.rules["largest class"] == pytest.approx(0.1)


def test_half_the_range_is_of_linf(on_a_line):
    assert radius.half_range(on_a_line([0.9], above_half, norm="l2"), QUICK).outcome == "not applicable"


# Where nothing can be said.


@pytest.mark.parametrize("check", [*CURVE, radius.half_range], ids=lambda check: check.name)
def test_without_a_gradient_or_a_correct_example_there_is_no_curve(on_a_line, check):
    for subject in (on_a_line([0.7], lambda v: 2.0 * tf.round(v)), on_a_line([0.3, 0.4], above_half)):
        assert check(subject, QUICK).outcome == "not applicable"


@pytest.mark.parametrize("check", [*CURVE, radius.half_range], ids=lambda check: check.name)
def test_at_epsilon_0_the_other_radii_are_as_large_as_ever(on_a_line, check):
    assert check(on_a_line([0.7, 0.3], above_half, epsilon=0.0), QUICK).outcome == "passed"
