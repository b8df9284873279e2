"""Attacks in turn: each is given the survivors, nothing is lost, and a killed cascade continues."""

import dataclasses

import numpy as np
import pytest
import tensorflow as tf

from tfadv.attacks import Pgd, compiled, saved
from tfadv.attacks.cascade import Cascade
from tfadv.validation import UserError

RNG = np.random.default_rng(0)
HIDDEN, OUT = RNG.normal(size=(4, 8)).astype(np.float32), RNG.normal(size=(8, 3)).astype(np.float32)
X = RNG.random((60, 2, 2, 1), np.float32)


def toy(x):
    """Images [B, 2, 2, 1] -> logits [B, 3]."""
    return tf.tanh((tf.reshape(x, [-1, 4]) - 0.5) @ HIDDEN) @ OUT


Y = toy(X).numpy().argmax(axis=1).astype(np.int32)
Y[:5] = (Y[:5] + 1) % 3  # The first five are misclassified as they stand.
WEAK = Pgd(epsilon=0.12, step_size=0.04, steps=1, random_start=False)
STRONG = Pgd(epsilon=0.12, step_size=0.02, steps=20, objective="margin", seed=3)
HOPELESS = dataclasses.replace(STRONG, epsilon=0.0)


def cascade(*configs, model=toy):
    return Cascade(model, configs, jit="off", precision="float32", batch_size=16)


def test_every_attack_is_given_what_the_ones_before_could_not_fool():
    outcome = cascade(WEAK, STRONG, HOPELESS).run(X, Y)
    weak, strong, hopeless = outcome.stages
    assert outcome.clean_accuracy == pytest.approx(55 / 60)
    assert weak.attacked == 55
    assert 0 < weak.fooled < 55
    assert strong.attacked == 55 - weak.fooled
    assert strong.fooled > 0
    assert (hopeless.attacked, hopeless.fooled) == (strong.attacked - strong.fooled, 0)
    assert [stage.robust_accuracy for stage in outcome.stages] == pytest.approx(
        [(55 - weak.fooled) / 60, hopeless.attacked / 60, hopeless.attacked / 60]
    )
    assert outcome.robust_accuracy == hopeless.robust_accuracy
    assert hopeless.gradient_evaluations == 20 * hopeless.attacked


def test_flags_images_and_stages_tell_the_same_story():
    outcome = cascade(WEAK, STRONG).run(X, Y)
    np.testing.assert_array_equal(outcome.adversarial, toy(outcome.x_adv).numpy().argmax(axis=1) != Y)
    assert (outcome.broken_by[:5] == -2).all()
    np.testing.assert_array_equal(outcome.broken_by != -1, outcome.adversarial)
    assert [int((outcome.broken_by == number).sum()) for number in (0, 1)] == [stage.fooled for stage in outcome.stages]
    untouched = outcome.broken_by < 0
    np.testing.assert_array_equal(outcome.x_adv[untouched], X[untouched])
    assert np.abs(outcome.x_adv - X).max() <= 0.12 + 1e-6


def test_the_survivors_are_attacked_as_they_would_be_alone():
    """Their numbers in the data set go with them, so that their random starts do not change."""
    outcome = cascade(WEAK, STRONG).run(X, Y)
    left = outcome.broken_by != 0
    left[:5] = False
    rows = np.flatnonzero(left)
    alone = compiled(toy, STRONG, jit="off", precision="float32", batch_size=16).run(X[rows], Y[rows], index=rows)
    np.testing.assert_array_equal(outcome.broken_by[rows] == 1, alone.adversarial)


class Killed(Exception):
    """Stands for a signal that ends the process."""


def test_a_killed_cascade_continues_to_the_identical_result(tmp_path, monkeypatch):
    monkeypatch.setattr(saved, "SECONDS_BETWEEN", 0.0)
    attacks = cascade(STRONG, dataclasses.replace(STRONG, seed=9), HOPELESS)
    expected = attacks.run(X, Y)
    path, kills, stages = tmp_path / "cascade.npz", 0, []
    while True:
        calls = []

        def progress(done, total, calls=calls):
            calls.append(done)
            if len(calls) == 6:
                raise Killed

        try:
            outcome = attacks.run(X, Y, state=path, progress=progress, on_stage=stages.append)
            break
        except Killed:
            kills += 1
    assert kills >= 3
    assert len(stages) == 3  # No stage was done twice.
    np.testing.assert_array_equal(outcome.x_adv, expected.x_adv)
    np.testing.assert_array_equal(outcome.broken_by, expected.broken_by)
    for got, wanted in zip(outcome.stages, expected.stages, strict=True):
        assert dataclasses.replace(got, seconds=0) == dataclasses.replace(wanted, seconds=0)
    assert list(tmp_path.iterdir()) == []


def test_a_state_of_another_cascade_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(saved, "SECONDS_BETWEEN", 0.0)

    def fail(stage):
        raise Killed

    path = tmp_path / "cascade.npz"
    with pytest.raises(Killed):
        cascade(WEAK, STRONG).run(X, Y, state=path, on_stage=fail)
    with pytest.raises(UserError, match="belongs to another attack"):
        cascade(WEAK, HOPELESS).run(X, Y, state=path)
    with pytest.raises(UserError, match="belongs to another model"):
        cascade(WEAK, STRONG, model=lambda x: 2.0 * toy(x)).run(X, Y, state=path)


def test_progress_counts_to_the_end_of_the_last_stage():
    seen = []
    cascade(WEAK, STRONG).run(X, Y, progress=lambda done, total: seen.append((done, total)))
    assert {total for _, total in seen} == {120}
    assert seen[-1][0] == 120


def test_calling_it_gives_the_images_that_run_returns():
    attacks = cascade(WEAK)
    np.testing.assert_array_equal(attacks(X, Y), attacks.run(X, Y).x_adv)


@pytest.mark.parametrize(
    ("configs", "message"),
    [
        ((), "configs must hold at least one attack"),
        ((Pgd(epsilon=(0.1, 0.2)),), "one epsilon for all examples, got 2"),
    ],
)
def test_refused(configs, message):
    with pytest.raises(UserError, match=message):
        cascade(*configs)
