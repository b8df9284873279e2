"""Attacks that had converged and attacks that had not: steps, starts and step sizes on a line, paths given by hand."""

import dataclasses

import numpy as np
import pytest
import tensorflow as tf

from tfadv.attacks import Apgd, Fgm, Mim, Pgd
from tfadv.attacks.pgd import unit_points
from tfadv.evaluation.checks import QUICK, convergence

EPSILON = 0.1
# Of these 100 points an attack that moves by up to t breaks those nearer to 1/2 than t: 1,000 t of them.
NEAR = 0.5 + (np.arange(100) + 0.5) / 1_000


def above_half(v):
    return v - 0.5


def with_a_pocket(low, high):
    """Wrong only where low <= v < high, and the gradient leads upward everywhere."""

    def score(v):
        wrong = (v >= low) & (v < high)
        return -v + tf.stop_gradient(v + tf.where(wrong, -2.0, 2.0))

    return score


def without_slope(low, high):
    """The same pocket, and a gradient that is there and zero: an attack stays where it starts."""
    return lambda v: 0.0 * v + tf.where((v >= low) & (v < high), -2.0, 2.0)


def bim(step_size, steps=1, **options):
    return Pgd(EPSILON, step_size, steps, random_start=False, **options)


def starts(subject, seed=0, run=0):
    """Where PGD begins, without the box."""
    examples, runs = subject.index.astype(np.int32), np.full(subject.count, run, np.int32)
    return subject.x + EPSILON * unit_points("linf", seed, examples, runs, (1,)).numpy()


# Which attack stands for the suite.


def test_the_strongest_is_the_iterative_attack_that_leaves_least(on_a_line):
    weak, strong, weaker = bim(0.02), bim(0.03, 2), Mim(EPSILON, 0.01, 1)
    subject = on_a_line(NEAR, above_half, Fgm(EPSILON), weak, strong, weaker)
    assert [row.accuracy for row in subject.white] == pytest.approx([0.0, 0.8, 0.4, 0.9])
    assert convergence.strongest(subject) == strong


def test_an_attack_on_every_class_in_turn_stands_for_the_suite_only_where_nothing_else_can(on_a_line):
    one, every = Apgd(EPSILON, 5), Apgd(EPSILON, 5, objective="targeted_dlr")
    assert convergence.strongest(on_a_line([0.55, 0.7], above_half, every, one)) == one
    assert convergence.strongest(on_a_line([0.55, 0.7], above_half, every)) == every
    assert convergence.strongest(on_a_line([0.55, 0.7], above_half, Fgm(EPSILON))) is None


@pytest.mark.parametrize("check", [convergence.steps, convergence.restarts], ids=lambda check: check.name)
def test_without_an_iterative_attack_there_is_nothing_to_lengthen_or_repeat(on_a_line, check):
    made = check(on_a_line([0.55, 0.7], above_half, Fgm(EPSILON)), QUICK)
    assert (made.outcome, made.evidence) == ("not applicable", "the suite has no iterative attack")


# Twice the steps.


def test_an_attack_stopped_too_early_fails_and_what_it_missed_is_found(on_a_line):
    """One step of 0.02 breaks 20 of 100, two break 40; allowed are 2 sqrt(0.8 * 0.2 / 100) = 8 points."""
    subject = on_a_line(NEAR, above_half, bim(0.02))
    check = convergence.steps(subject, QUICK)
    assert (check.outcome, check.found) == ("failed", 20)
    assert check.value == pytest.approx(0.2)
    assert check.evidence == (
        "2 steps would lower the accuracy by 20.0% (tried on 80 of what the suite left; 20 new); allowed 8.0%"
    )
    np.testing.assert_array_equal(np.flatnonzero(subject.by_checks), np.arange(20, 40))
    assert check.chart.x_names == ("suite", "2 steps")
    assert check.chart.series["accuracy"].y == pytest.approx((0.8, 0.6))
    assert check.chart.rules["allowed"] == pytest.approx(0.72)


def test_some_examples_are_tried_first_and_the_rest_where_that_fails(on_a_line):
    """Of thirty survivors some fall to the second step, so the other fifty are attacked too."""
    subject = on_a_line(NEAR, above_half, bim(0.02))
    check = convergence.steps(subject, dataclasses.replace(QUICK, examples=30))
    assert (check.outcome, check.found) == ("failed", 20)
    assert "tried on 80" in check.evidence


@pytest.mark.parametrize(("more", "outcome"), [(0, "passed"), (7, "passed"), (9, "failed")])
def test_twice_the_steps_may_find_two_standard_errors(on_a_line, more, outcome):
    """20 of 100 points fall to one step of 0.02, `more` to two of them, the others to none: 8 are allowed."""
    points = np.repeat([0.51, 0.53, 0.7], [20, more, 80 - more])
    check = convergence.steps(on_a_line(points, above_half, bim(0.02)), QUICK)
    assert (check.outcome, check.found) == (outcome, more)


@pytest.mark.parametrize("check", [convergence.steps, convergence.restarts], ids=lambda check: check.name)
def test_what_has_converged_passes_and_where_nothing_is_left_nothing_is_said(on_a_line, check):
    converged = bim(0.05, 4)
    made = check(on_a_line(np.append(NEAR, NEAR + 0.1), above_half, converged), QUICK)
    assert (made.outcome, made.value, made.found) == ("passed", 0.0, 0)
    assert check(on_a_line(NEAR, above_half, converged), QUICK).outcome == "not applicable"


def test_twice_the_steps_are_otherwise_the_same_attack(on_a_line, recorded):
    config = Apgd(EPSILON, 7, objective="margin", seed=3)
    subject = on_a_line([0.7] * 5, above_half, config, seed=3)
    crafted = recorded(subject)
    assert convergence.steps(subject, QUICK).outcome == "passed"
    assert crafted == [dataclasses.replace(config, steps=14)]


# Further starts.


@pytest.mark.parametrize("config", [Pgd(EPSILON, 0.05, 2), bim(0.05, 2)], ids=["PGD", "BIM"])
def test_a_pocket_that_only_some_starts_meet_fails(on_a_line, config):
    """Without a slope a start stays where it is; one in ten lies in the pocket, a tenth of the ball."""
    subject = on_a_line([0.5] * 80, without_slope(0.55, 0.57), config)
    before = subject.broken.copy()
    check = convergence.restarts(subject, QUICK)
    met = np.zeros(80, bool)
    for run in range(3):
        at = starts(subject, seed=1_000, run=run).ravel()
        met |= (at >= 0.55) & (at < 0.57)
    np.testing.assert_array_equal(subject.by_checks, met & ~before)
    assert check.outcome == "failed"
    assert check.found == subject.by_checks.sum() > 10
    assert "3 further starts would lower the accuracy" in check.evidence


@pytest.mark.parametrize(
    ("config", "changed"),
    [
        (Apgd(EPSILON, 5, seed=7), {}),
        (bim(0.05, keep="last"), {"random_start": True, "keep": "best"}),
        (Mim(EPSILON, 0.05, 3), {"random_start": True, "keep": "best"}),
    ],
    ids=lambda value: type(value).__name__,
)
def test_further_starts_are_others_than_those_of_the_suite(on_a_line, recorded, config, changed):
    subject = on_a_line([0.7] * 5, above_half, config, seed=7)
    crafted = recorded(subject)
    assert convergence.restarts(subject, dataclasses.replace(QUICK, restarts=4)).outcome == "passed"
    assert crafted == [dataclasses.replace(config, restarts=4, seed=1_007, **changed)]


# Other step sizes.


def passes_through(start, center, step_size, steps, low, high):
    """Whether the start or one of the steps upward from it lies in the pocket, bool [n]."""
    at, met = start, (start >= low) & (start < high)
    for _ in range(steps):
        at = np.minimum(at + np.float32(step_size), np.float32(center + EPSILON))
        met |= (at >= low) & (at < high)
    return met.ravel()


def test_a_step_that_jumps_over_the_pocket_fails_and_the_best_one_is_used_on_all(on_a_line):
    """Steps of 0.05 jump over a pocket 0.01 wide; those of 2.5 epsilon / 20 times 1/4 to 4 as often as computed."""
    low, high = 0.555, 0.565
    subject = on_a_line([0.5] * 90, with_a_pocket(low, high), Pgd(EPSILON, 0.05, 20))
    left = subject.survivors()
    first = subject.survivors(30)
    check = convergence.step_sizes(subject, dataclasses.replace(QUICK, examples=30))
    begin = starts(subject)
    sizes = 0.0125 * np.array([0.25, 0.5, 1, 2, 4])
    met = np.stack([passes_through(begin, 0.5, size, 20, low, high) for size in sizes])
    series = check.chart.series["PGD"]
    assert series.x == pytest.approx(sizes, rel=1e-6)
    # A point within rounding of the pocket's edge may fall to either side.
    assert series.y == pytest.approx(1 - met[:, first].mean(axis=1), abs=0.04)
    best = met[:, first].mean(axis=1).argmax()
    expected = met[:, first].any(axis=0).sum() + met[best, np.setdiff1d(left, first)].sum()
    assert check.outcome == "failed"
    assert check.found == subject.by_checks.sum() == pytest.approx(expected, abs=2)
    assert check.found > 50
    assert check.value == pytest.approx(check.found / 90)


def test_step_sizes_stop_at_the_radius_and_on_a_line_without_traps_none_is_better(on_a_line):
    subject = on_a_line([0.55] * 5 + [0.7] * 15, above_half, Pgd(EPSILON, 0.05, 5))
    check = convergence.step_sizes(subject, dataclasses.replace(QUICK, steps=5))
    assert (check.outcome, check.value, check.found) == ("passed", 0.0, 0)
    assert check.chart.series["PGD"].x == pytest.approx((0.0125, 0.025, 0.05, 0.1, 0.1))


# The path of the loss.


def test_the_loss_of_a_linear_model_rises_from_the_start_to_the_edge(on_a_line):
    """The margin at v is 1/2 - v: at the start on average 1/2 - mean(start), at the end 1/2 - (0.7 - epsilon)."""
    subject = on_a_line([0.7] * 20, above_half, Pgd(EPSILON, 0.05, 5, objective="margin"))
    check = convergence.rises(subject, QUICK)
    assert check.outcome == "passed"
    assert check.value == pytest.approx(starts(subject).mean() - 0.6, abs=1e-6)
    assert check.evidence.startswith("mean margin from ")
    assert check.evidence.endswith(" in 20 steps, 20 images")
    mean = check.chart.series["mean"]
    assert len(mean.y) == len(mean.low) == len(mean.high) == 21
    assert mean.y[-1] == pytest.approx(-0.1, abs=1e-6)
    assert convergence.rests(subject, QUICK).outcome == "passed"


def test_where_the_gradient_is_zero_the_loss_does_not_rise(on_a_line):
    check = convergence.rises(on_a_line([0.5] * 4, lambda v: 0.0 * v + 2.0, bim(0.1)), QUICK)
    assert (check.outcome, check.value) == ("failed", 0.0)
    assert "cross-entropy" in check.evidence


def given_path(subject, losses):
    subject.memory["path"] = "margin", np.float32(losses)
    return subject


@pytest.mark.parametrize(
    ("losses", "outcome"),
    [
        ([[0, 1, 0.95]], "passed"),  # falls by 0.05, a tenth of the rise is 0.095
        ([[0, 1, 0.8]], "warning"),  # falls by 0.2, a tenth of the rise is 0.08
        ([[0, 1, 0.0]], "failed"),
        ([[1, 2, 0.5]], "failed"),
        ([[0, 1, 0.0], [0, 1, 3.0]], "passed"),  # on average 0, 1, 1.5
    ],
)
def test_a_loss_that_ends_below_its_beginning_fails_and_one_that_fell_on_the_way_warns(on_a_line, losses, outcome):
    check = convergence.rises(given_path(on_a_line([0.7], above_half), losses), QUICK)
    assert check.outcome == outcome
    assert check.value == pytest.approx(np.mean(losses, axis=0)[-1] - np.mean(losses, axis=0)[0])


def climbing(steps, until):
    """Rises evenly to 1 until that step, and stays there."""
    return np.minimum(np.arange(steps + 1) / until, 1.0)


@pytest.mark.parametrize(
    ("losses", "value"),
    [
        (climbing(20, 18), 0.0),
        (climbing(20, 20), 0.1),
        (climbing(40, 36), 0.0),
        (climbing(40, 40), 0.1),
        (climbing(40, 38), 2 / 38),
        (np.sin(np.arange(21)), 0.0),  # the best so far is what counts
        (np.zeros(21), 0.0),
    ],
)
def test_how_much_of_the_rise_came_in_the_last_tenth_of_the_steps(on_a_line, losses, value):
    check = convergence.rests(given_path(on_a_line([0.7], above_half), [losses]), QUICK)
    assert check.value == pytest.approx(value, abs=1e-6)
    assert check.outcome == ("passed" if value <= 0.05 else "warning")


def test_the_rise_is_rescaled_for_each_example(on_a_line):
    """One rises by 1,000 early, one by 0.001 to the last: on average half of 10%."""
    losses = [1_000 * climbing(20, 1), 0.001 * climbing(20, 20)]
    check = convergence.rests(given_path(on_a_line([0.7], above_half), losses), QUICK)
    assert check.value == pytest.approx(0.05, abs=1e-6)


# Where nothing can be said.


@pytest.mark.parametrize(
    "check", [convergence.step_sizes, convergence.rises, convergence.rests], ids=lambda check: check.name
)
def test_what_needs_gradients_room_and_examples_does_not_apply_without_them(on_a_line, check):
    no_gradient = check(on_a_line([0.7], lambda v: 2.0 * tf.round(v)), QUICK)
    assert (no_gradient.outcome, no_gradient.evidence) == ("not applicable", "the model has no gradient")
    no_room = check(on_a_line([0.7], above_half, epsilon=0.0), QUICK)
    assert (no_room.outcome, "epsilon is 0" in no_room.evidence) == ("not applicable", True)
    nothing_left = check(on_a_line([0.55], above_half, Fgm(EPSILON)), QUICK)
    assert (nothing_left.outcome, "no example is left" in nothing_left.evidence) == ("not applicable", True)


# Thrown away.


def test_an_attack_that_passes_a_pocket_and_returns_its_end_throws_examples_away(on_a_line):
    """From 0.5 two steps of 0.05 go through 0.55, which is wrong, to 0.6, which is not."""
    points, score = [0.5] * 3 + [0.9] * 3, with_a_pocket(0.54, 0.56)
    check = convergence.silent(on_a_line(points, score, bim(0.05, 2, keep="last")), QUICK)
    assert (check.outcome, check.value, check.found) == ("failed", 3.0, 0)
    assert check.evidence == "3 examples were adversarial on the way of an attack and not at its end; 3 count as robust"


def test_what_another_attack_returned_is_not_lost(on_a_line):
    points, score = [0.5] * 3 + [0.9] * 3, with_a_pocket(0.54, 0.56)
    suite = bim(0.05, 2, keep="last"), bim(0.05, 2)
    check = convergence.silent(on_a_line(points, score, *suite), QUICK)
    assert (check.outcome, check.value) == ("passed", 0.0)
    assert check.evidence.startswith("3 examples were adversarial on the way")
    found_later = on_a_line(points, score, suite[0])
    found_later.by_checks[:3] = True
    assert convergence.silent(found_later, QUICK).outcome == "passed"


@pytest.mark.parametrize(("lost", "outcome"), [(0, "passed"), (1, "passed"), (2, "failed")])
def test_of_200_examples_one_may_be_lost(on_a_line, lost, outcome):
    subject = on_a_line([0.9] * 200, above_half, bim(0.05))
    subject.discarded[:lost] = True
    assert convergence.silent(subject, QUICK).outcome == outcome


def test_without_an_attack_nothing_was_thrown_away(on_a_line):
    assert convergence.silent(on_a_line([0.7], above_half), QUICK).outcome == "not applicable"
