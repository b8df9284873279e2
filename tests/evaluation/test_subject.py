"""Who is broken, by whom, and how far away: on models of one number, where attacks are known in closed form."""

import dataclasses

import numpy as np
import pytest
import tensorflow as tf

from tfadv import attacks
from tfadv.attacks import DeepFool, Fgm, Pgd
from tfadv.balls import BALLS
from tfadv.evaluation import subject as module
from tfadv.evaluation.subject import Subject

EPSILON = 0.1


def score(x):
    """Logits (0, mean - 1/2): class 1 where the mean is above 1/2, and every feature has the same gradient."""
    mean = tf.reduce_mean(tf.reshape(x, [-1, 4]), axis=1) - 0.5
    return tf.stack([tf.zeros_like(mean), mean], axis=1)


def images(distances):
    """Gray images whose mean is 1/2 plus these; linf attacks of radius 0.1 move it by 0.1."""
    return np.broadcast_to(0.5 + np.float32(distances)[:, None, None, None], [len(distances), 2, 2, 1]).copy()


def subject_at(distances, labels=None, model=score, **options):
    y = (np.array(distances) > 0).astype(np.int32) if labels is None else np.array(labels, np.int32)
    return Subject(
        model, images(distances), y, **{"norm": "linf", "epsilon": EPSILON, "precision": "float32", **options}
    )


def all_of(subject):
    return np.arange(subject.count)


# What is known at the beginning.


def test_a_subject_begins_with_what_the_model_says_of_clean_images():
    subject = subject_at([0.2, -0.2, 0.05], labels=[1, 1, 1])
    np.testing.assert_allclose(subject.logits, [[0, 0.2], [0, -0.2], [0, 0.05]], atol=1e-6)
    assert subject.predictions.tolist() == [1, 0, 1]
    assert subject.correct.tolist() == [True, False, True]
    assert subject.broken.tolist() == [False, True, False]
    assert not subject.by_checks.any()
    assert subject.index.tolist() == [0, 1, 2]
    assert subject.count == 3
    assert (subject.rows, subject.white, subject.transferred, subject.configs) == ([], [], [], [])
    np.testing.assert_array_equal(subject.found, subject.x)
    subject.found[0] = 0
    assert subject.x.min() > 0.25


@pytest.mark.parametrize(
    ("model", "has"),
    [
        (score, True),
        (lambda x: score(0.0 * x), True),
        (lambda x: score(tf.round(x)), False),
        (lambda x: score(tf.stop_gradient(x)), False),
    ],
    ids=["linear", "zero", "rounding", "stopped"],
)
def test_a_gradient_that_is_zero_is_one(model, has):
    assert subject_at([0.2], model=model).has_gradient is has


def test_logits_come_batch_by_batch_from_one_program(monkeypatch):
    traced = []

    def model(x):
        traced.append(x.shape[0])
        return score(x)

    subject = subject_at(np.linspace(-0.4, 0.4, 23), model=model)
    whole = subject.forward(subject.x)
    monkeypatch.setattr(module, "_FORWARD_BATCH", 5)
    np.testing.assert_array_equal(subject.forward(subject.x), whole)
    assert whole.dtype == np.float32
    # Once as a program, and once eagerly for the gradient of the first image.
    assert traced == [None, 1]


def test_what_may_be_found_and_the_standard_error_are_those_of_these_examples():
    """2 sqrt(0.5 * 0.5 / 400) = 0.05; one standard error of 10% is sqrt(0.1 * 0.9 / 400) = 0.015."""
    subject = subject_at([0.2] * 400)
    assert subject.allowed == 3.0
    assert subject.standard_errors(0.5) == pytest.approx(0.05)
    assert subject.standard_errors(0.1, 1) == pytest.approx(0.015)
    assert subject_at([0.2] * 1_000).allowed == 5.0


def test_survivors_are_what_nothing_broke_and_the_attacked_are_correct():
    subject = subject_at([0.2, -0.2, 0.2, 0.2], labels=[1, 1, 1, 1])
    subject.broken[2], subject.by_checks[3] = True, True
    assert subject.survivors().tolist() == [0]
    assert subject.attacked().tolist() == [0, 2, 3]


def test_a_part_of_them_is_stratified_and_seeded():
    distances = [0.2] * 30 + [-0.2] * 10
    subject, other = subject_at(distances), subject_at(distances, seed=1)
    some = subject.survivors(8)
    assert np.bincount(subject.y[some]).tolist() == [2, 6]
    assert some.tolist() == sorted(some) == subject.attacked(8).tolist()
    assert some.tolist() != other.survivors(8).tolist()
    assert len(subject.survivors(100)) == 40


# Crafting.


def test_what_is_crafted_is_judged_on_the_subject():
    subject = subject_at([0.05, 0.099, 0.101, -0.05, -0.2])
    crafted = subject.craft(Fgm(EPSILON), all_of(subject))
    assert crafted.fooled.tolist() == [True, True, False, True, False]
    np.testing.assert_allclose(crafted.x_adv, images([-0.05, -0.001, 0.001, 0.05, -0.1]), atol=1e-6)
    assert not crafted.discarded.any()
    assert (crafted.gradients, crafted.precision) == (5, "float32")
    assert not subject.broken.any()


def test_one_attack_may_have_a_radius_for_each_example():
    subject = subject_at([0.05, 0.05, 0.3, 0.3])
    radii = (0.04, 0.06, 0.29, 0.31)
    crafted = subject.craft(Pgd(radii, radii, 2), all_of(subject))
    assert crafted.fooled.tolist() == [False, True, False, True]


def test_of_another_model_the_examples_are_taken_and_their_gradients_are_not_counted():
    subject = subject_at([0.05, 0.05, 0.2])
    crafted = subject.craft(Fgm(EPSILON), all_of(subject), on=score)
    assert crafted.fooled.tolist() == [True, True, False]
    assert (crafted.gradients, crafted.queries) == (0, 3)
    away = subject.craft(Fgm(EPSILON), all_of(subject), on=lambda x: -score(x))
    assert not away.fooled.any()
    np.testing.assert_allclose(away.x_adv, images([0.15, 0.15, 0.3]), atol=1e-6)


def test_two_models_to_craft_on_are_not_confused():
    """Programs are kept for each config and model."""
    subject = subject_at([0.05] * 3)
    ways = [
        subject.craft(Fgm(EPSILON), all_of(subject), on=lambda x, sign=sign: sign * score(x)) for sign in (1, -1, 1)
    ]
    assert [way.fooled.all() for way in ways] == [True, False, True]


def test_an_adversarial_image_that_was_seen_and_not_returned_is_discarded():
    """Wrong between 0.35 and 0.45 alone: two steps of 0.08 go from 0.5 to 0.42, and on to 0.34."""

    def band(x):
        mean = tf.reduce_mean(tf.reshape(x, [-1, 4]), axis=1)
        fooled = (mean < 0.45) & (mean > 0.35)
        up = mean + tf.stop_gradient(tf.where(fooled, -1.0, 1.0) - mean)
        return tf.stack([-up, up], axis=1)

    subject = subject_at([0.0, 0.3], labels=[1, 1], model=band, epsilon=0.2)
    config = Pgd(0.2, 0.08, 2, random_start=False, keep="last")
    last = subject.craft(config, all_of(subject))
    assert (last.fooled.tolist(), last.discarded.tolist()) == ([False, False], [True, False])
    best = subject.craft(dataclasses.replace(config, keep="best"), all_of(subject))
    assert (best.fooled.tolist(), best.discarded.tolist()) == ([True, False], [False, False])
    elsewhere = subject.craft(config, all_of(subject), on=band)
    assert not elsewhere.discarded.any()


def test_nothing_is_crafted_of_nothing():
    subject = subject_at([0.05])
    crafted = subject.craft(Fgm(EPSILON), np.zeros(0, int))
    assert (crafted.x_adv.shape, len(crafted.fooled), crafted.gradients) == ((0, 2, 2, 1), 0, 0)


def test_what_an_example_gets_does_not_depend_on_the_others():
    """Random starts follow from the number in the data set."""
    config = Pgd(EPSILON, 0.001, 1, keep="last")
    whole = subject_at([0.05] * 8).craft(config, np.arange(8)).x_adv
    part = subject_at([0.05] * 3, index=np.array([6, 2, 5]))
    np.testing.assert_array_equal(part.craft(config, np.array([1, 2])).x_adv, whole[[2, 5]])


def test_a_targeted_attack_tries_every_wrong_class():
    """Of three classes at x = 1/2, the first target of class 0 is out of reach and the second is not."""

    def three(x):
        mean = tf.reduce_mean(tf.reshape(x, [-1, 4]), axis=1) - 0.5
        return tf.stack([0 * mean, mean - 1.0, -mean - 0.05], axis=1)

    subject = subject_at([0.0, 0.2], labels=[0, 0], model=three)
    crafted = subject.craft(Pgd(EPSILON, EPSILON, 2, targeted=True, random_start=False), all_of(subject))
    assert crafted.fooled.tolist() == [True, False]
    np.testing.assert_allclose(crafted.x_adv, images([-0.1, 0.2]), atol=1e-6)
    assert crafted.gradients == 2 * (2 + 2)


# Sizes.


@pytest.mark.parametrize(("norm", "expected"), [("linf", 0.4), ("l2", 0.5), ("l1", 0.7)])
def test_sizes_are_in_the_norm_that_is_asked_for(norm, expected):
    subject = subject_at([0.0, 0.0])
    x_adv = subject.x + np.float32([0.3, 0, -0.4, 0]).reshape(1, 2, 2, 1) * np.float32([1, 0])[:, None, None, None]
    sizes, outside = subject.sizes(x_adv, np.arange(2), norm)
    np.testing.assert_allclose(sizes, [expected, 0], atol=1e-6)
    np.testing.assert_allclose(outside, [-0.1, -0.5], atol=1e-6)
    assert subject.inside(x_adv, np.arange(2), expected, norm).tolist() == [True, True]
    assert subject.inside(x_adv, np.arange(2), expected - 1e-4, norm).tolist() == [False, True]


def test_rounding_is_forgiven_in_the_ball_and_not_in_the_box():
    subject = subject_at([0.0, 0.0], bounds=(0.0, 0.6))
    assert subject.inside(images([0.1 + 9e-6, 0.1 + 2e-5]), np.arange(2), 0.1).tolist() == [False, False]
    wide = subject_at([0.0, 0.0])
    assert wide.inside(images([0.1 + 9e-6, 0.1 + 2e-5]), np.arange(2)).tolist() == [True, False]
    assert wide.inside(images([0.5, 0.5 + 1e-6]), np.arange(2), 1.0).tolist() == [True, False]
    assert wide.inside(images([np.nan, 0.0]), np.arange(2)).tolist() == [False, True]
    assert wide.inside(images([0.2, 0.2]), np.arange(2), np.array([0.1, 0.2])).tolist() == [False, True]


@pytest.mark.parametrize("norm", ["linf", "l2", "l1"])
def test_points_near_an_example_are_random_and_inside(norm):
    subject = subject_at([0.45, 0.0], norm=norm, index=np.array([3, 4]))
    near = subject.near(0, 50, 0)
    assert near.shape == (50, 2, 2, 1)
    assert subject.inside(near, np.zeros(50, int)).all()
    assert len(np.unique(near, axis=0)) == 50
    for other in (subject.near(1, 50, 0), subject.near(0, 50, 1), subject_at([0.45], norm=norm).near(0, 50, 0)):
        assert (other != near).any()
    np.testing.assert_array_equal(near, subject_at([0.45], norm=norm, index=np.array([3])).near(0, 50, 0))
    closer = BALLS[norm].size(tf.constant(subject.near(1, 50, 0, 0.1) - subject.x[1])).numpy()
    assert 0.005 < closer.max() <= 0.1 * EPSILON + 1e-6


# What checks find.


def test_what_checks_find_counts_once_and_only_inside_the_threat_model():
    subject = subject_at([0.05, 0.05, 0.05, 0.2, 0.05])
    subject.broken[2] = True
    rows = np.arange(5)
    # Fools; does not fool; fools, but is broken already; fools, but from outside the ball; fools.
    x_adv = images([-0.04, 0.01, -0.04, -0.01, -0.05])
    assert subject.offer(rows, x_adv) == 2
    assert subject.by_checks.tolist() == [True, False, False, False, True]
    assert subject.broken.tolist() == [False, False, True, False, False]
    np.testing.assert_array_equal(subject.found[[0, 4]], x_adv[[0, 4]])
    np.testing.assert_array_equal(subject.found[1:4], subject.x[1:4])
    assert subject.offer(rows, images([-0.05] * 5)) == 1
    np.testing.assert_array_equal(subject.found[0], x_adv[0])
    assert subject.offer(np.zeros(0, int), x_adv[:0]) == 0
    assert subject.survivors().tolist() == [3]


# The suite.


def test_an_attack_of_the_suite_becomes_a_row_with_sizes_of_what_it_broke():
    subject = subject_at([0.05, 0.2, -0.05, 0.3], labels=[1, 1, 0, 0])
    subject.attack(0, Fgm(EPSILON), all_of(subject), survivors=False)
    assert subject.rows == []
    subject.finish()
    (row,) = subject.rows
    assert (row.name, row.config["class"], row.new_successes) == ("FGSM", "Fgm", 2)
    assert row.adversarial.tolist() == [True, False, True, True]
    np.testing.assert_allclose(row.distances, [0.1, np.nan, 0.1, np.nan], atol=1e-6)
    assert (row.gradient_evaluations, row.precision) == (3, "float32")
    assert subject.broken.tolist() == [True, False, True, True]
    assert subject.white == [row]
    assert subject.configs == [Fgm(EPSILON)]
    np.testing.assert_allclose(subject.found, images([-0.05, 0.2, 0.05, 0.3]), atol=1e-6)
    assert subject.largest == pytest.approx(0.1, abs=1e-6)
    assert subject.outside <= 0


def test_portions_make_the_row_of_the_whole():
    distances = [0.05, 0.2, -0.05, 0.09, 0.3, -0.01]
    whole, parts = subject_at(distances), subject_at(distances)
    configs = (Fgm(EPSILON), Pgd(EPSILON, 0.02, 8))
    for subject, portions in ((whole, [np.arange(6)]), (parts, [np.array([4, 0]), np.array([1, 2, 3, 5])])):
        for rows in portions:
            for number, config in enumerate(configs):
                subject.attack(number, config, rows, survivors=False)
        subject.finish()
    assert [row.name for row in parts.rows] == ["FGSM", "PGD-8 cross-entropy"]
    for one, other in zip(whole.rows, parts.rows, strict=True):
        np.testing.assert_array_equal(one.adversarial, other.adversarial)
        np.testing.assert_allclose(one.distances, other.distances, atol=1e-6)
        assert (one.new_successes, one.gradient_evaluations) == (other.new_successes, other.gradient_evaluations)
    np.testing.assert_array_equal(whole.broken, parts.broken)
    np.testing.assert_allclose(whole.found, parts.found, atol=1e-6)


@pytest.mark.parametrize(("survivors", "gradients"), [(False, 4), (True, 2)])
def test_on_survivors_an_attack_leaves_out_what_the_others_broke_and_its_row_has_it_all_the_same(survivors, gradients):
    subject = subject_at([0.05, 0.05, 0.2, 0.3])
    for number in range(2):
        subject.attack(number, Fgm(EPSILON), all_of(subject), survivors=survivors)
    subject.finish()
    second = subject.rows[1]
    assert second.adversarial.tolist() == [True, True, False, False]
    assert (second.gradient_evaluations, second.new_successes) == (gradients, 0)
    assert np.isfinite(second.distances).tolist() == [not survivors, not survivors, False, False]


def test_the_first_adversarial_image_is_kept():
    subject = subject_at([0.01])
    subject.attack(0, Pgd(EPSILON, 0.02, 3, random_start=False), all_of(subject), survivors=False)
    subject.attack(1, Fgm(EPSILON), all_of(subject), survivors=False)
    np.testing.assert_allclose(subject.found, images([-0.01]), atol=1e-6)


def test_two_attacks_of_one_name_are_numbered():
    subject = subject_at([0.2])
    for number, step in enumerate((0.05, 0.1, 0.02)):
        subject.attack(number, Pgd(EPSILON, step, 3), all_of(subject), survivors=False)
    for _ in range(2):
        subject.transfer("twin", score, Fgm(EPSILON))
    subject.finish()
    assert [row.name for row in subject.rows] == [
        "PGD-3 cross-entropy",
        "PGD-3 cross-entropy (2)",
        "PGD-3 cross-entropy (3)",
        "transfer from twin, FGSM",
        "transfer from twin, FGSM (2)",
    ]


def test_a_transfer_is_a_row_that_is_not_white_box():
    subject = subject_at([0.05, 0.2, -0.05], labels=[1, 1, 1])
    subject.transfer("twin", lambda x: 3 * score(x), Fgm(EPSILON))
    subject.finish()
    (row,) = subject.transferred
    assert (subject.white, subject.configs) == ([], [])
    assert row.adversarial.tolist() == [True, False, True]
    assert (row.config["source"], row.gradient_evaluations, row.queries) == ("twin", 0, 2)
    assert (row.new_successes, subject.broken.tolist()) == (1, [True, False, True])


@pytest.mark.parametrize("config", [DeepFool(norm="linf"), Fgm(0.4)], ids=["without a radius", "a larger one"])
def test_what_leaves_the_threat_models_ball_does_not_count_and_is_measured(config):
    """The ball is the threat model's, whatever the attack takes for its own."""
    subject = subject_at([-0.05, 0.3])
    crafted = subject.craft(config, all_of(subject))
    subject.attack(0, config, all_of(subject), survivors=False)
    subject.finish()
    inside = subject.inside(crafted.x_adv, all_of(subject))
    assert subject.broken.tolist() == (crafted.fooled & inside).tolist()
    assert not subject.broken[1]
    assert np.isnan(subject.rows[0].distances[1])
    assert subject.largest > 0.3


def test_the_rows_that_time_allowed_are_those_of_what_was_tried():
    subject = subject_at([0.05, 0.2, 0.05, -0.2, 0.05], labels=[1, 1, 1, 1, 1])
    tried = np.array([True, False, True, True, False])
    subject.attack(0, Fgm(EPSILON), np.flatnonzero(tried), survivors=False)
    subject.finish(tried)
    assert subject.count == 3
    for name in ("x", "y", "index", "logits", "predictions", "correct", "broken", "by_checks", "found", "discarded"):
        assert len(getattr(subject, name)) == 3, name
    assert subject.index.tolist() == [0, 2, 3]
    assert subject.rows[0].adversarial.tolist() == [True, True, True]
    assert (subject.rows[0].new_successes, subject.broken.tolist()) == (2, [True, True, True])
    assert subject.survivors().tolist() == []


def test_a_row_says_in_which_precision_was_searched():
    subject = subject_at([0.05, 0.2], precision="bfloat16")
    subject.attack(0, Fgm(EPSILON), all_of(subject), survivors=False)
    subject.finish()
    assert subject.rows[0].precision == "bfloat16 search, successes verified in float32"
    assert subject.broken.tolist() == [True, False]


# Going on after an end.


def test_what_was_finished_is_not_crafted_again(tmp_path, monkeypatch):
    def made(state):
        subject = subject_at([0.05, 0.2, -0.05], state=state)
        subject.attack(0, Pgd(EPSILON, 0.02, 8), all_of(subject), survivors=False)
        subject.transfer("twin", lambda x: 3 * score(x), Fgm(EPSILON))
        subject.finish()
        return subject

    first = made(tmp_path / "state")
    monkeypatch.setattr(attacks, "compiled", lambda *_, **__: pytest.fail("crafted again"))
    second = made(tmp_path / "state")
    for one, other in zip(first.rows, second.rows, strict=True):
        np.testing.assert_array_equal(one.adversarial, other.adversarial)
        assert (one.seconds, one.gradient_evaluations) == (other.seconds, other.gradient_evaluations)
    np.testing.assert_array_equal(first.found, second.found)
    with pytest.raises(pytest.fail.Exception, match="crafted again"):
        made(tmp_path / "other")
