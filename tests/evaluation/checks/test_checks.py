"""The list of all checks: complete, with names and sources, carried out in order, and made for any model."""

import dataclasses
import time

import numpy as np
import pytest
import tensorflow as tf

from tfadv.attacks import Fgm, Pgd
from tfadv.evaluation.checks import (
    CHECKS,
    QUICK,
    Rule,
    binarization,
    carry_out,
    comparisons,
    convergence,
    forward,
    gradients,
    radius,
)
from tfadv.evaluation.checks.rule import Finding, rule
from tfadv.evaluation.subject import Subject
from tfadv.report.records import OUTCOMES, Check
from tfadv.validation import UserError

WEIGHTS = np.float32([[1, -1, 0], [2, 0, -2], [-1, 3, -2], [0.5, -1.5, 1]])
LITTLE = dataclasses.replace(QUICK, examples=8, steps=10, restarts=2, queries=20, draws=20, draw_examples=4)


def logits(x):
    return tf.reshape(x - 0.5, [-1, 4]) @ WEIGHTS


def subject_of(model, norm="linf", epsilon=0.1, count=12, shift=0):
    """A model after a suite of one step and ten, on images whose labels it gives, moved on by `shift` classes."""
    x = np.random.default_rng(1).uniform(0.2, 0.8, [count, 2, 2, 1]).astype(np.float32)
    given = np.asarray(model(x))
    y = ((given.argmax(axis=1) + shift) % given.shape[1]).astype(np.int32)
    subject = Subject(model, x, y, norm=norm, epsilon=epsilon)
    suite = (Fgm(epsilon, norm), Pgd(epsilon, epsilon / 4, 10, norm)) if subject.has_gradient else ()
    for number, config in enumerate(suite):
        subject.attack(number, config, np.arange(count), survivors=False)
    subject.finish()
    return subject


def a_rule(name, measure=lambda *_: Finding("passed", "")):
    return rule(name, "when it holds", "where it is from")(measure)


# The list.


def test_every_rule_of_the_room_is_carried_out_once():
    rooms = (binarization, comparisons, convergence, forward, gradients, radius)
    rules = [value for room in rooms for value in vars(room).values() if isinstance(value, Rule)]
    assert sorted(each.name for each in CHECKS) == sorted(each.name for each in rules)
    assert len({each.name for each in CHECKS}) == len(CHECKS)


@pytest.mark.parametrize("each", CHECKS, ids=lambda each: each.name)
def test_a_rule_says_what_it_claims_when_it_passes_why_and_where_that_is_from(each):
    assert each.name[0].islower()
    assert not each.name.endswith(".")
    assert each.passes
    assert not each.passes.endswith(".")
    assert any(mark in each.source for mark in ("arXiv:", "AutoAttack"))
    assert each.measure.__doc__


def test_what_is_broken_counts_at_the_end():
    """The audit of all images and their rounding come after the last check that attacks."""
    assert CHECKS[-2:] == (forward.feasible, forward.rounded)


# Carrying out.


def test_rules_are_carried_out_in_order_with_what_they_are_given():
    seen = []

    def measure(number):
        return lambda subject, effort: seen.append((number, subject, effort)) or Finding("passed", str(number))

    progress = []
    made = carry_out(
        "subject", LITTLE, [a_rule(f"rule {i}", measure(i)) for i in range(3)], lambda *at: progress.append(at)
    )
    assert [(check.name, check.evidence) for check in made] == [("rule 0", "0"), ("rule 1", "1"), ("rule 2", "2")]
    assert seen == [(number, "subject", LITTLE) for number in range(3)]
    assert progress == [(1, 3), (2, 3), (3, 3)]
    assert all(isinstance(check, Check) for check in made)


def test_a_rule_that_cannot_be_carried_out_does_not_stop_the_others():
    def refused(subject, effort):
        raise UserError("the model has no gradient; give a stand-in")

    made = carry_out(None, LITTLE, [a_rule("a"), a_rule("b", refused), a_rule("c")])
    assert [check.outcome for check in made] == ["passed", "not run", "passed"]
    assert made[1].evidence == "the model has no gradient; give a stand-in"


def test_after_the_deadline_nothing_more_is_carried_out():
    def slow(subject, effort):
        while time.monotonic() <= deadline:
            time.sleep(0.01)
        return Finding("passed", "begun in time")

    deadline, progress = time.monotonic() + 0.1, []
    rules = [a_rule("a", slow), a_rule("b"), a_rule("c")]
    made = carry_out(None, LITTLE, rules, lambda *at: progress.append(at), deadline)
    assert [check.outcome for check in made] == ["passed", "not run", "not run"]
    assert made[1].evidence == "the time that was given is spent"
    assert progress == [(1, 3), (2, 3), (3, 3)]


# All of them, on models of every kind.


SLOW = pytest.mark.slow
GRADIENT = "the input has a gradient, and it is finite"
SCALE = "cross-entropy finds what scale-free losses find"


@pytest.mark.parametrize("norm", ["linf", pytest.param("l2", marks=SLOW), pytest.param("l1", marks=SLOW)])
def test_on_a_linear_model_no_check_fails(norm):
    made = carry_out(subject_of(logits, norm), LITTLE)
    assert {check.name: check.evidence for check in made if check.outcome in ("failed", "not run")} == {}
    assert sum(check.outcome == "passed" for check in made) > 0.8 * len(CHECKS)
    assert sum(check.found for check in made) == 0


@pytest.mark.slow
@pytest.mark.parametrize(
    ("subject", "expected"),
    [
        (lambda: subject_of(logits, count=1), None),
        (lambda: subject_of(logits, shift=1), None),
        (lambda: subject_of(lambda x: logits(x)[:, :2]), None),
        (lambda: subject_of(lambda x: logits(x + tf.stop_gradient(tf.round(64 * x) / 64 - x))), None),
        (lambda: subject_of(lambda x: 0 * logits(x) + [3.0, 0.0, 1.0]), "gradients are not zero"),
        (lambda: subject_of(lambda x: logits(tf.round(255 * x) / 255)), GRADIENT),
        (lambda: subject_of(lambda x: logits(x) + tf.sqrt(tf.reduce_mean(0 * x, [1, 2])) * [1.0, 0.0, 2.0]), GRADIENT),
        (lambda: subject_of(lambda x: 1e6 * logits(x)), SCALE),
    ],
    ids=[
        "one image",
        "none correct",
        "two classes",
        "straight-through",
        "constant",
        "no gradient",
        "NaN",
        "large logits",
    ],
)
def test_on_any_model_every_check_has_an_outcome_and_what_hinders_gradients_fails(subject, expected):
    made = carry_out(subject(), LITTLE)
    assert [check.name for check in made] == [each.name for each in CHECKS]
    for check in made:
        assert check.outcome in OUTCOMES
        assert check.evidence
        assert Check.from_json(check.to_json()).to_json() == check.to_json()
    failed = [check.name for check in made if check.outcome == "failed"]
    assert failed == [] if expected is None else expected in failed


@pytest.mark.slow
def test_what_a_check_finds_is_counted_once():
    """Logits times 1e6 hide everything from the suite's cross-entropy; the checks find it, each example once."""
    subject = subject_of(lambda x: 1e6 * logits(x))
    assert not subject.by_checks.any()
    made = carry_out(subject, LITTLE)
    assert sum(check.found for check in made) == subject.by_checks.sum() > 0
    assert not (subject.by_checks & subject.broken).any()
