"""A rule becomes a check with all that was found, or says why not; further attacks go as far as they must."""

import dataclasses

import numpy as np
import pytest
import tensorflow as tf

from tfadv.attacks import Adaptive, Apgd, Fgm, Mim, Pgd, Square
from tfadv.evaluation.checks.rule import QUICK, THOROUGH, Finding, hunt, iterative, probe, rule, tolerance
from tfadv.evaluation.subject import Subject
from tfadv.report.charts import Chart, Series
from tfadv.validation import UserError

EPSILON = 0.1


def score(x):
    """Logits (0, mean - 1/2)."""
    mean = tf.reduce_mean(tf.reshape(x, [-1, 4]), axis=1) - 0.5
    return tf.stack([tf.zeros_like(mean), mean], axis=1)


def subject_at(distances, **options):
    """Images of class 1 whose mean is 1/2 plus these: linf attacks of radius 0.1 break those below 0.1."""
    x = np.broadcast_to(0.5 + np.float32(distances)[:, None, None, None], [len(distances), 2, 2, 1])
    return Subject(score, x.copy(), np.ones(len(distances), np.int32), norm="linf", epsilon=EPSILON, **options)


# Rules.


def test_a_rule_gives_a_check_with_all_that_was_found():
    chart = Chart("Title.", "x", "y", {"a": Series((0.0,), (1.0,))})

    @rule("the claim", "when it holds", "where it is from")
    def measured(subject, effort):
        """Why it matters."""
        return Finding("warning", f"{subject} with {effort}", 0.25, 3, chart)

    check = measured("a subject", "an effort")
    assert (check.name, check.rule, check.source) == ("the claim", "when it holds", "where it is from")
    assert (check.outcome, check.evidence) == ("warning", "a subject with an effort")
    assert (check.value, check.found, check.chart) == (0.25, 3, chart)
    assert measured.measure.__doc__ == "Why it matters."


def test_what_the_caller_can_mend_leaves_a_check_not_run_and_anything_else_is_raised():
    def failing(error):
        def measure(subject, effort):
            raise error

        return rule("the claim", "when it holds", "where it is from")(measure)

    check = failing(UserError("the model has no gradient; give a stand-in"))(None, QUICK)
    assert (check.outcome, check.evidence) == ("not run", "the model has no gradient; give a stand-in")
    assert (check.name, check.rule, check.source) == ("the claim", "when it holds", "where it is from")
    assert (check.value, check.found, check.chart) == (None, 0, None)
    with pytest.raises(ValueError, match="a fault of ours"):
        failing(ValueError("a fault of ours"))(None, QUICK)


def test_a_rule_left_out_says_why():
    check = rule("the claim", "when it holds", "where it is from")(lambda *_: Finding("passed", ""))
    assert dataclasses.astuple(check.without("no time")) == dataclasses.astuple(
        dataclasses.replace(check(None, QUICK), outcome="not run", evidence="no time")
    )


def test_the_thorough_effort_is_the_larger_in_everything():
    assert all(a < b for a, b in zip(dataclasses.astuple(QUICK), dataclasses.astuple(THOROUGH), strict=True))


# How much further attacks may find.


@pytest.mark.parametrize(
    ("broken", "expected"),
    [(0, 0.005), (100, 0.005), (50, 0.1), (10, 0.06), (1, 2 * np.sqrt(0.01 * 0.99 / 100))],
)
def test_the_tolerance_is_two_standard_errors_and_half_a_point_at_least(broken, expected):
    """Of 100: 2 sqrt(0.5 * 0.5 / 100) = 0.1, 2 sqrt(0.1 * 0.9 / 100) = 0.06, and nothing where all or none are left."""
    subject = subject_at([0.3] * 100)
    subject.broken[:broken] = True
    assert tolerance(subject) == pytest.approx(expected)


def test_of_many_images_half_a_point_is_more_than_two_standard_errors():
    """2 sqrt(0.02 * 0.98 / 10,000) = 0.0028."""
    subject = subject_at([0.3] * 10_000)
    subject.broken[:200] = True
    assert tolerance(subject) == 0.005


# Hunts.

LITTLE = dataclasses.replace(QUICK, examples=10)


def test_a_hunt_that_finds_nothing_ends_after_its_first_examples():
    result = hunt(subject_at([0.3] * 40), Fgm(EPSILON), LITTLE)
    assert (result.found, result.drop, result.tried) == (0, 0.0, 10)
    assert len(result.crafted.x_adv) == 10


def test_a_hunt_that_lowers_the_accuracy_goes_on_to_everything_that_is_left():
    """Half of 40 are in reach. Ten tried show more than the tolerance, so the count is of all: 20 found, 20 / 40."""
    subject, attacked = subject_at([0.05, 0.3] * 20), []
    honest = subject.craft
    subject.craft = lambda config, rows, **options: attacked.append(len(rows)) or honest(config, rows, **options)
    result = hunt(subject, Fgm(EPSILON), LITTLE)
    assert attacked == [10, 30]
    assert (result.found, result.drop, result.tried) == (20, 0.5, 40)
    np.testing.assert_array_equal(np.flatnonzero(subject.by_checks), np.arange(0, 40, 2))
    assert not subject.broken.any()
    assert (score(subject.found[subject.by_checks]).numpy()[:, 1] < 0).all()
    assert hunt(subject, Fgm(EPSILON), LITTLE).found == 0


def test_what_is_found_among_a_part_counts_for_the_part_of_the_images_it_stands_for():
    """Of 40, 20 are broken: two standard errors are 0.158. One of the ten tried of the other 20 is 1/10 * 20/40 = 0.05.

    So the ten others that are left, all of them in reach, are not attacked.
    """
    subject = subject_at([0.3] * 40)
    subject.broken[:20] = True
    tried = subject.survivors(10)
    distances = np.full(40, 0.05, np.float32)
    distances[tried[1:]] = 0.3
    subject = subject_at(distances)
    subject.broken[:20] = True
    result = hunt(subject, Fgm(EPSILON), LITTLE)
    assert (result.found, result.tried) == (1, 10)
    assert result.drop == pytest.approx(0.05)
    assert np.flatnonzero(subject.by_checks).tolist() == [tried[0]]


def test_a_hunt_through_another_model_is_judged_by_the_subject():
    """The other model's gradient points the wrong way, so its examples break nothing here."""
    subject = subject_at([0.05] * 12)
    result = hunt(subject, Fgm(EPSILON), LITTLE, on=lambda x: -score(x))
    assert (result.found, result.tried) == (0, 10)
    assert (result.crafted.x_adv > subject.x[:10]).all()


def test_where_nothing_is_left_a_hunt_finds_nothing():
    subject = subject_at([0.05] * 5)
    subject.broken[:] = True
    result = hunt(subject, Fgm(EPSILON), LITTLE)
    assert (result.found, result.drop, result.tried) == (0, 0.0, 0)


# The attack that stands for the suite's.


def test_iterative_attacks_are_those_that_follow_the_models_gradient_for_many_steps():
    subject = subject_at([0.3])
    many = [Apgd(EPSILON), Mim(EPSILON), Pgd(EPSILON)]
    others = [Fgm(EPSILON), Square(EPSILON, 10), Adaptive(EPSILON, loss=lambda x_adv, x, y: x_adv)]
    subject.configs = [*others, *many]
    assert iterative(subject) == many


@pytest.mark.parametrize(
    ("suite", "objective"),
    [
        ([], "cross_entropy"),
        ([Fgm(EPSILON, objective="margin")], "cross_entropy"),
        ([Pgd(EPSILON), Mim(EPSILON)], "cross_entropy"),
        ([Pgd(EPSILON), Pgd(EPSILON, objective="margin")], "margin"),
        ([Apgd(EPSILON, objective="cross_entropy"), Apgd(EPSILON, objective="targeted_dlr", targets=2)], "margin"),
    ],
    ids=["no suite", "one step of margin", "cross-entropy", "both", "AutoAttack"],
)
def test_the_probe_ascends_what_the_suite_ascends(suite, objective):
    subject = subject_at([0.3], seed=7)
    subject.configs = suite
    config = probe(subject, dataclasses.replace(QUICK, steps=10))
    assert config == Pgd(EPSILON, 0.25 * EPSILON, 10, objective=objective, seed=7)


def test_the_probe_keeps_to_the_threat_model_and_to_what_is_asked():
    x = np.zeros([1, 4], np.float32)
    subject = Subject(score, x, np.zeros(1, np.int32), norm="l2", epsilon=0.5, bounds=(-1.0, 1.0))
    assert probe(subject, QUICK) == Pgd(0.5, 0.0625, 20, "l2", bounds=(-1.0, 1.0))
    assert probe(subject, QUICK, epsilon=2.0, keep="last") == Pgd(
        2.0, 0.0625, 20, "l2", keep="last", bounds=(-1.0, 1.0)
    )
