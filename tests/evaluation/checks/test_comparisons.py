"""One attack held against another: many steps against one, gradients against none, losses, a stand-in, luck."""

import dataclasses

import numpy as np
import pytest
import tensorflow as tf

from tfadv.attacks import Apgd, AutoAttack, DeepFool, Fab, Fgm, HopSkipJump, Pgd, Spsa, Square
from tfadv.evaluation.checks import QUICK, comparisons
from tfadv.evaluation.subject import Subject

EPSILON = 0.1
LITTLE = dataclasses.replace(QUICK, queries=60, draws=40)
# Of these 100 points an attack that moves by up to t breaks those nearer to 1/2 than t: 1,000 t of them.
NEAR = 0.5 + (np.arange(100) + 0.5) / 1_000


def above_half(v):
    return v - 0.5


def bim(step_size, steps=1, **options):
    return Pgd(EPSILON, step_size, steps, random_start=False, **options)


def mean_above_half(x):
    """Two logits of images: class 1 where the mean is above 1/2."""
    mean = tf.reduce_mean(x, axis=[1, 2, 3]) - 0.5
    return tf.stack([-mean, mean], axis=1)


def hidden(x):
    """The same with a gradient that is there and zero."""
    return tf.stop_gradient(mean_above_half(x)) + 0.0 * mean_above_half(x)


def images_at(distances, model, *suite, sources=(), norm="linf", **options):
    """Gray images of class 1 whose mean is 1/2 plus these, after the attacks of a suite and what sources transfer."""
    x = np.broadcast_to(0.5 + np.float32(distances)[:, None, None, None], [len(distances), 4, 4, 1]).copy()
    options = {"norm": norm, "epsilon": EPSILON, "precision": "float32", **options}
    subject = Subject(model, x, np.ones(len(x), np.int32), **options)
    for number, config in enumerate(suite):
        subject.attack(number, config, np.arange(len(x)), survivors=False)
    for source in sources:
        subject.transfer("source", source, Pgd(EPSILON, EPSILON, 1, norm, random_start=False))
    subject.finish()
    return subject


# Many steps and one.


@pytest.mark.parametrize(
    ("suite", "outcome", "value"),
    [
        ((Fgm(EPSILON), bim(0.02, 3)), "failed", 0.4),  # leaves 40 of 100 where one step of 0.1 leaves none
        ((Fgm(EPSILON), bim(0.02, 5)), "passed", 0.0),
        ((Fgm(EPSILON), bim(0.02, 3), bim(0.05, 2)), "passed", 0.0),  # the best counts
        ((bim(0.02, 3), Fgm(EPSILON)), "failed", 0.4),
    ],
    ids=["fewer", "equal", "best", "order"],
)
def test_the_best_iterative_attack_must_leave_no_more_than_the_single_step(on_a_line, suite, outcome, value):
    check = comparisons.iterative_beats_single(on_a_line(NEAR, above_half, *suite), QUICK)
    assert check.outcome == outcome
    assert check.value == pytest.approx(value)
    assert check.found == 0


def test_the_evidence_names_both(on_a_line):
    check = comparisons.iterative_beats_single(on_a_line(NEAR, above_half, Fgm(EPSILON), bim(0.02, 3)), QUICK)
    assert check.evidence == "BIM-3 cross-entropy leaves 40.0%, FGSM 0.0%"
    assert dict(zip(check.chart.x_names, check.chart.series["accuracy"].y, strict=True)) == pytest.approx(
        {"one step": 0.0, "many": 0.4}
    )


@pytest.mark.parametrize(("reach", "found", "outcome"), [(0.02, 80, "failed"), (0.1, 0, "passed")])
def test_a_suite_without_a_single_step_is_given_one(on_a_line, reach, found, outcome):
    subject = on_a_line(np.append(NEAR, NEAR + 0.1), above_half, bim(reach))
    check = comparisons.iterative_beats_single(subject, QUICK)
    assert (check.outcome, check.found) == (outcome, found)
    assert check.value == pytest.approx(found / 200)
    assert subject.by_checks.sum() == found


def test_without_an_iterative_attack_nothing_is_compared(on_a_line):
    assert comparisons.iterative_beats_single(on_a_line(NEAR, above_half, Fgm(EPSILON)), QUICK).outcome == (
        "not applicable"
    )


# Gradients and none.


def test_what_square_finds_behind_a_gradient_of_zero_fails():
    subject = images_at([0.05] * 8 + [0.3] * 4, hidden, Pgd(EPSILON, 0.05, 5))
    check = comparisons.white_beats_black(subject, LITTLE)
    assert (check.outcome, check.value, check.found) == ("failed", 8.0, 8)
    assert subject.by_checks.tolist() == [True] * 8 + [False] * 4
    assert check.evidence.startswith("8 examples fell without gradients alone, 8 of them withstand APGD-CE")
    assert check.chart.rules["limit"] == 3.0


@pytest.mark.parametrize(("count", "outcome"), [(2, "passed"), (3, "failed")])
def test_three_examples_are_too_many(count, outcome, monkeypatch):
    monkeypatch.setattr(comparisons, "_trio", lambda subject: ())  # zero gradients lead them nowhere
    subject = images_at([0.02] * count + [0.3] * 7, hidden, Pgd(EPSILON, 0.05, 5))
    check = comparisons.white_beats_black(subject, LITTLE)
    assert (check.outcome, check.value, check.found) == (outcome, float(count), count)


def test_what_better_gradient_attacks_find_as_well_is_not_hidden():
    """One step of 0.01 was too weak; of what Square then finds nothing withstands APGD."""
    subject = images_at([0.05] * 8 + [0.3] * 4, mean_above_half, bim(0.01))
    check = comparisons.white_beats_black(subject, LITTLE)
    assert (check.outcome, check.value, check.found) == ("passed", 0.0, 8)
    assert "8 examples fell without gradients alone, 0 of them withstand" in check.evidence


def test_an_example_that_a_gradient_attack_of_the_suite_broke_is_not_hidden(recorded):
    subject = images_at([0.05] * 5, mean_above_half, Square(EPSILON, 60), bim(0.1))
    crafted = recorded(subject)
    check = comparisons.white_beats_black(subject, LITTLE)
    assert (check.outcome, check.evidence) == ("not applicable", "no example is left that the suite has not broken")
    assert crafted == []


def test_square_of_the_suite_is_not_run_again_and_its_finds_count(recorded):
    subject = images_at([0.05] * 5 + [0.3], hidden, Pgd(EPSILON, 0.05, 3), Square(EPSILON, 60))
    crafted = recorded(subject)
    check = comparisons.white_beats_black(subject, LITTLE)
    assert (check.outcome, check.value, check.found) == ("failed", 5.0, 0)
    assert [type(config) for config in crafted] == [Apgd, Apgd, Fab]


def test_gradient_attacks_that_the_suite_ran_are_not_repeated(recorded):
    *gradients, square = AutoAttack(EPSILON).stages()
    square = dataclasses.replace(square, queries=60)
    subject = images_at([0.05] * 4 + [0.3], hidden, gradients[0], square)
    crafted = recorded(subject)
    check = comparisons.white_beats_black(subject, LITTLE)
    assert crafted == gradients[1:]
    assert (check.outcome, check.value) == ("failed", 4.0)


def test_what_only_transfer_breaks_fails_too(monkeypatch):
    monkeypatch.setattr(comparisons, "_trio", lambda subject: ())
    subject = images_at(
        [0.05] * 4 + [0.3], hidden, Pgd(EPSILON, 0.05, 3), Square(EPSILON, 1), sources=[mean_above_half]
    )
    assert subject.transferred[0].adversarial.tolist() == [True] * 4 + [False]
    check = comparisons.white_beats_black(subject, LITTLE)
    assert (check.outcome, check.value, check.found) == ("failed", 4.0, 0)


def test_what_is_misclassified_clean_fell_to_no_attack():
    subject = images_at([-0.05] * 5 + [0.3], hidden, Pgd(EPSILON, 0.05, 3), Square(EPSILON, 60))
    check = comparisons.white_beats_black(subject, LITTLE)
    assert (check.outcome, check.value) == ("passed", 0.0)


def test_of_a_norm_that_square_does_not_know_only_what_the_suite_did_is_judged(recorded):
    subject = images_at([0.05] * 5, hidden, Pgd(EPSILON, 0.05, 3, "l1"), norm="l1")
    crafted = recorded(subject)
    assert comparisons.white_beats_black(subject, LITTLE).outcome == "passed"
    assert crafted == []


def test_without_a_gradient_what_square_finds_is_hidden_by_that():
    subject = images_at([0.05] * 5 + [0.3], lambda x: mean_above_half(tf.round(255 * x) / 255))
    check = comparisons.white_beats_black(subject, LITTLE)
    assert (check.outcome, check.value, check.found) == ("failed", 5.0, 5)


# Luck.


def pocket(low, high):
    """Wrong only where low <= v < high, with a gradient of zero."""
    return lambda v: 0.0 * v + tf.where((v >= low) & (v < high), -2.0, 2.0)


@pytest.mark.parametrize(("near", "outcome"), [(0, "passed"), (1, "warning"), (2, "warning"), (3, "failed")])
def test_points_at_random_may_break_one_or_two(on_a_line, near, outcome):
    """The pocket is a quarter of the ball around 1/2, so that forty points miss it once in 100,000 times."""
    subject = on_a_line([0.5] * near + [0.9] * 10, pocket(0.55, 0.6), bim(0.05))
    check = comparisons.random_search(subject, LITTLE)
    assert (check.outcome, check.value, check.found) == (outcome, float(near), near)
    assert subject.by_checks.tolist() == [True] * near + [False] * 10
    assert check.evidence == f"{near} of {near + 10} examples fell to 40 random points each"
    assert (np.abs(subject.found - subject.x) <= EPSILON).all()


def test_only_some_survivors_are_searched_around(on_a_line):
    subject = on_a_line([0.5] * 30, pocket(0.55, 0.6), bim(0.05))
    check = comparisons.random_search(subject, dataclasses.replace(LITTLE, draw_examples=7))
    assert (check.found, subject.by_checks.sum()) == (7, 7)


def test_as_many_points_are_drawn_as_the_effort_says_and_different_ones(on_a_line, monkeypatch):
    monkeypatch.setattr(comparisons, "_DRAWS_AT_A_TIME", 20)
    subject = on_a_line([0.9], pocket(0.55, 0.6), bim(0.05))
    drawn, near = [], subject.near

    def draw_and_tell(row, count, block):
        drawn.append(near(row, count, block))
        return drawn[-1]

    monkeypatch.setattr(subject, "near", draw_and_tell)
    comparisons.random_search(subject, dataclasses.replace(LITTLE, draws=60))
    assert np.unique(np.concatenate(drawn)).size == np.concatenate(drawn).size == 60


# Losses.


def three_logits(weights, x):
    return tf.reshape(x, [-1, 4]) @ tf.constant(weights, tf.float32)


WEIGHTS = np.array([[1.0, -1.0, 0.0], [2.0, 0.0, -2.0], [-1.0, 3.0, -2.0], [0.5, -1.5, 1.0]]) / 2


def linear_subject(*suite, scale=1.0, count=60, weights=WEIGHTS, **options):
    """Three linear classes, the logits times `scale`, on images whose labels the model gives."""
    x = np.random.default_rng(1).uniform(0.2, 0.8, [count, 2, 2, 1]).astype(np.float32)

    def model(images):
        return scale * three_logits(weights, images - 0.5)

    y = np.argmax(model(x), axis=1).astype(np.int32)
    subject = Subject(model, x, y, norm="linf", epsilon=EPSILON, precision="float32", **options)
    for number, config in enumerate(suite):
        subject.attack(number, config, np.arange(count), survivors=False)
    subject.finish()
    return subject


def test_losses_that_find_the_same_pass():
    subject = linear_subject(Pgd(EPSILON, 0.0125, 20))
    check = comparisons.scale(subject, QUICK)
    assert check.outcome == "passed"
    assert check.found <= 1
    assert check.chart.x_names == ("cross-entropy", "margin", "DLR", "rescaled cross-entropy")
    assert check.value == pytest.approx(0.0, abs=0.02)


def test_saturated_cross_entropy_fails_where_the_suite_had_nothing_else():
    """At 10,000 times the logits the probabilities are 0 and 1 in float32, and cross-entropy has no gradient."""
    plain, large = (linear_subject(Pgd(EPSILON, 0.0125, 20), scale=scale) for scale in (1.0, 1e4))
    missed = int((plain.broken & ~large.broken).sum())
    check = comparisons.scale(large, QUICK)
    assert check.outcome == "failed"
    assert check.evidence.startswith("cross-entropy saturates: cross-entropy ")
    assert check.found == large.by_checks.sum() >= missed > 10
    assert check.value > 0.2


def test_it_is_only_a_warning_where_another_attack_of_the_suite_found_them():
    suite = Pgd(EPSILON, 0.0125, 20), Pgd(EPSILON, 0.0125, 20, objective="margin")
    subject = linear_subject(*suite, scale=1e4)
    check = comparisons.scale(subject, QUICK)
    assert (check.outcome, check.found) == ("warning", 0)
    assert check.evidence.startswith("cross-entropy saturates: ")


def test_what_a_part_of_the_examples_shows_is_tried_on_all():
    subject = linear_subject(Pgd(EPSILON, 0.0125, 20), scale=1e4, count=90)
    sound = linear_subject(Pgd(EPSILON, 0.0125, 20), count=90)
    check = comparisons.scale(subject, dataclasses.replace(QUICK, examples=30))
    assert check.outcome == "failed"
    assert "of 30 images left" in check.evidence
    assert (subject.broken | subject.by_checks).sum() >= sound.broken.sum()


def test_a_weaker_margin_is_no_fault_of_cross_entropy():
    """The margin to the runner-up has no gradient here, cross-entropy follows the third class: a one-sided rule."""

    def model(x):
        z = three_logits(WEIGHTS, x - 0.5)
        flat = tf.stop_gradient(z[:, :2])
        return tf.concat([flat, z[:, 2:]], axis=1)

    x = np.random.default_rng(1).uniform(0.2, 0.8, [60, 2, 2, 1]).astype(np.float32)
    y = np.argmax(model(x), axis=1).astype(np.int32)
    subject = Subject(model, x, y, norm="linf", epsilon=EPSILON, precision="float32")
    subject.attack(0, Pgd(EPSILON, 0.0125, 20), np.arange(60), survivors=False)
    subject.finish()
    check = comparisons.scale(subject, QUICK)
    left = dict(zip(check.chart.x_names, check.chart.series["accuracy"].y, strict=True))
    assert left["margin"] > left["cross-entropy"] + 0.05
    assert (check.outcome, check.value) == ("passed", pytest.approx(0.0, abs=0.02))


def test_two_classes_have_no_dlr(on_a_line):
    check = comparisons.scale(on_a_line(NEAR, above_half, bim(0.1)), QUICK)
    assert check.chart.x_names == ("cross-entropy", "margin", "rescaled cross-entropy")
    assert check.outcome == "passed"


def test_a_scale_is_judged_only_where_pgd_can_say_something(on_a_line):
    for subject in (
        on_a_line([0.7], lambda v: 2.0 * tf.round(v)),
        on_a_line([0.7], above_half, epsilon=0.0),
        on_a_line([0.3], above_half, bim(0.1)),
    ):
        assert comparisons.scale(subject, QUICK).outcome == "not applicable"


# Kinds of attack.


@pytest.mark.parametrize(
    ("suite", "missing"),
    [
        (
            (Fgm(EPSILON), bim(0.1)),
            ["scale-free loss", "every target", "minimum norm", "no gradient"],
        ),
        ((Apgd(EPSILON), Fab(EPSILON), Square(EPSILON)), ["scale-free loss", "every target"]),
        ((bim(0.1, objective="margin"), DeepFool(EPSILON)), ["cross-entropy", "every target", "no gradient"]),
        (AutoAttack(EPSILON).stages(), []),
        ((*AutoAttack(EPSILON).stages()[:3], Spsa(EPSILON)), []),
    ],
    ids=["quick", "no targets", "margin", "AutoAttack", "SPSA"],
)
def test_a_suite_without_one_of_autoattacks_kinds_is_a_warning(on_a_line, suite, missing):
    subject = on_a_line([0.7], above_half)
    subject.configs = list(suite)
    check = comparisons.coverage(subject, QUICK)
    assert check.outcome == ("warning" if missing else "passed")
    assert check.value == len(missing)
    said = f"missing: {', '.join(missing)}" if missing else "all are there"
    assert check.evidence == f"{said}; an attack that sees the class alone (HopSkipJump) is part of suite 'full'"


def test_an_attack_on_the_class_alone_is_an_attack_without_gradient(on_a_line):
    subject = on_a_line([0.7], above_half)
    subject.configs = [*AutoAttack(EPSILON).stages()[:3], HopSkipJump(EPSILON)]
    check = comparisons.coverage(subject, QUICK)
    assert (check.outcome, check.evidence) == ("passed", "all are there")


# A stand-in.


@pytest.mark.parametrize(("near", "outcome"), [(0, "passed"), (2, "passed"), (3, "failed"), (8, "failed")])
def test_what_a_stand_in_opens_counts(near, outcome):
    """The gradient is zero in the model and there in the stand-in."""
    subject = images_at([0.05] * near + [0.3] * 4, hidden, Pgd(EPSILON, 0.05, 5))
    subject.stand_in = mean_above_half
    check = comparisons.stand_in(subject, QUICK)
    assert (check.outcome, check.value, check.found) == (outcome, float(near), near)
    assert subject.by_checks.sum() == near
    assert check.evidence == (
        f"{near} of {near + 4} examples that the suite left fall to examples crafted through the stand-in"
    )


def test_a_stand_in_is_judged_by_the_model_itself():
    """Where the stand-in falls and the model does not, nothing is found."""
    subject = images_at([0.3] * 6, mean_above_half, bim(0.1))
    subject.stand_in = lambda x: mean_above_half(x - 0.25)
    check = comparisons.stand_in(subject, QUICK)
    assert (check.outcome, check.found) == ("passed", 0)


def test_without_a_stand_in_or_survivors_there_is_nothing_to_try():
    subject = images_at([0.3], mean_above_half, bim(0.1))
    assert comparisons.stand_in(subject, QUICK).evidence == "no stand-in was given"
    broken = images_at([0.05], mean_above_half, bim(0.1))
    broken.stand_in = mean_above_half
    for check in (comparisons.stand_in, comparisons.random_search):
        made = check(broken, QUICK)
        assert (made.outcome, "no example is left" in made.evidence) == ("not applicable", True)
