"""Each check passes what it should, fails what it should, says when it cannot run, and carries its evidence."""

import numpy as np
import pytest
import tensorflow as tf

from tfadv.evaluation import checks

X = np.linspace(0, 1, 12, dtype=np.float32).reshape(3, 4)


def of_100(make_attack, name, broken):
    """A row on 100 examples; `broken` is which of them it fools."""
    adversarial = np.zeros(100, bool)
    adversarial[broken] = True
    return make_attack(name, adversarial, int(adversarial.sum()))


def test_a_deterministic_forward_passes_and_one_that_draws_or_remembers_fails():
    assert checks.deterministic_forward(lambda x: x @ np.ones([4, 2], np.float32), X).passed
    noisy = checks.deterministic_forward(lambda x: x + tf.random.normal(tf.shape(x), stddev=0.01), X)
    assert noisy.passed is False
    assert "over 3 images" in noisy.evidence
    calls = tf.Variable(0.0)
    assert not checks.deterministic_forward(lambda x: x + calls.assign_add(0.1), X).passed


@pytest.mark.parametrize(("scale", "passed"), [(0.5e-4, True), (2e-4, False)])
@pytest.mark.parametrize("size", [1e-3, 1.0, 1e6])
def test_differences_are_relative_to_the_largest_logit(size, scale, passed):
    """Logits `size`, then size * (1 + scale): the rule is 1e-4, whatever the size."""
    outputs = iter([tf.constant([[size, 0.0]]), tf.constant([[size * (1 + scale), 0.0]])])
    assert checks.deterministic_forward(lambda x: next(outputs), X).passed is passed


def test_the_best_iterative_attack_must_leave_no_more_than_the_single_step(make_attack):
    single = of_100(make_attack, "FGSM", range(40))
    weak, equal, strong = (of_100(make_attack, name, range(n)) for name, n in (("a", 39), ("b", 40), ("c", 60)))
    assert checks.iterative_beats_single_step(single, [weak]).passed is False
    assert checks.iterative_beats_single_step(single, [equal]).passed
    check = checks.iterative_beats_single_step(single, [weak, strong])
    assert check.passed
    assert check.evidence == "c leaves 40.0%, FGSM 60.0%"


def test_without_a_single_step_or_an_iterative_attack_that_check_does_not_run(make_attack):
    row = of_100(make_attack, "FGSM", range(40))
    assert checks.iterative_beats_single_step(None, [row]).outcome == "not run"
    assert checks.iterative_beats_single_step(row, []).outcome == "not run"


@pytest.mark.parametrize(("alone", "passed"), [(0, True), (2, True), (3, False), (20, False)])
def test_three_of_a_hundred_that_fall_to_transfer_alone_are_too_many(make_attack, alone, passed):
    white = [of_100(make_attack, "a", range(30)), of_100(make_attack, "b", range(20, 50))]
    transfer = [of_100(make_attack, "t", range(40, 50 + alone))]
    check = checks.white_box_beats_transfer(white, transfer)
    assert check.passed is passed
    assert check.evidence == f"{alone} of 100 examples fall to transfer alone; fewer than 3 pass"


def test_of_many_examples_half_a_percent_may_fall_to_transfer_alone(make_attack):
    """max(3, 0.5 % of 2,000) = 10."""

    def row(name, broken):
        adversarial = np.arange(2_000) < broken
        return make_attack(name, adversarial, int(adversarial.sum()))

    white = [row("a", 100)]
    assert checks.white_box_beats_transfer(white, [row("t", 109)]).passed
    assert not checks.white_box_beats_transfer(white, [row("t", 110)]).passed


def test_transfer_is_not_compared_without_a_source(make_attack):
    row = of_100(make_attack, "a", [0])
    assert checks.white_box_beats_transfer([row], []).passed is None
    assert checks.white_box_beats_transfer([], [row]).passed is None


@pytest.mark.parametrize(
    ("largest", "outside", "passed"),
    [(0.3, 0.0, True), (0.3 + 5e-6, 0.0, True), (0.3 + 2e-5, 0.0, False), (0.1, 1e-7, False), (np.nan, 0.0, False)],
    ids=["exact", "rounding", "too large", "outside the bounds", "NaN"],
)
def test_a_perturbation_may_exceed_epsilon_by_rounding_only_and_the_bounds_not_at_all(largest, outside, passed):
    check = checks.feasible(largest, 0.3, outside)
    assert check.passed is passed
    assert "for epsilon 0.3" in check.evidence


@pytest.mark.parametrize(
    ("fooled", "kept", "outcome"),
    [(10, 10, "passed"), (10, 5, "passed"), (10, 4, "failed"), (1, 0, "failed"), (0, 0, "not run")],
)
def test_half_of_the_adversarial_images_must_survive_rounding(fooled, kept, outcome):
    assert checks.survives_rounding(fooled, kept).outcome == outcome


def test_every_check_says_where_its_rule_comes_from(make_attack):
    row = of_100(make_attack, "a", [0])
    for check in (
        checks.deterministic_forward(lambda x: x, X),
        checks.iterative_beats_single_step(row, [row]),
        checks.white_box_beats_transfer([row], [row]),
        checks.feasible(0.1, 0.1, 0.0),
        checks.survives_rounding(1, 1),
    ):
        assert "Carlini" in check.source or "AutoAttack" in check.source
        assert check.evidence
