"""Pairs of turns: their order, what is on the clock, the arithmetic of their ratios, and what a turn trains on."""

import numpy as np
import pytest
import tensorflow as tf

from tfadv import training
from tfadv.reproduction import turns
from tfadv.reproduction.turns import Bench, Fit, Others, Row, Settings, Trainer, cells, paired, verdict
from tfadv.validation import UserError

RNG = np.random.default_rng(0)
ARRAYS = tf.constant(RNG.random([40, 28, 28, 1], np.float32)), tf.constant(RNG.integers(0, 10, 40), tf.int32)


class Clock:
    """Stands still but where it is moved."""

    now = 100.0

    def __call__(self):
        return self.now


def row(*seconds, baseline, goal=None, note=""):
    return Row("noise", "natural training", seconds, baseline, goal, 2, note)


# Rows.


def test_the_ratio_is_the_median_of_the_pairs_ratios():
    """3 / 2, 8 / 4 and 5 / 5: 1.5, where the ratio of the medians would be 5 / 4."""
    found = row(3.0, 8.0, 5.0, baseline=(2.0, 4.0, 5.0))
    assert found.ratios == (1.5, 2.0, 1.0)
    assert found.ratio == 1.5
    values = found.to_dict()
    assert (values["lowest_ratio"], values["ratio"], values["highest_ratio"]) == (1.0, 1.5, 2.0)
    assert (values["median_seconds"], values["median_baseline_seconds"]) == (5.0, 4.0)
    assert values["seconds"] == (3.0, 8.0, 5.0)


@pytest.mark.parametrize(("goal", "met"), [(1.5, True), (1.4999, False), (1.6, True), (None, None)])
def test_a_goal_is_met_up_to_the_goal_itself(goal, met):
    found = row(3.0, baseline=(2.0,), goal=goal)
    assert found.met is met
    assert found.to_dict()["met"] is met


def test_a_row_in_words():
    found = row(0.003, 0.008, 0.005, baseline=(0.002, 0.004, 0.005), goal=1.1, note="dear").to_dict()
    assert cells(found) == (
        *("noise", "natural training", "5.00", "4.00"),
        *("1.500", "1.000 to 2.000", "1.100", "not met", "2", "dear"),
    )
    assert len(turns.HEAD) == len(cells(found))
    assert cells(row(1.0, baseline=(1.0,)).to_dict())[6:8] == ("–", "no goal")
    assert [verdict(each) for each in (True, False, None)] == ["met", "not met", "no goal"]


# Pairs.


def test_turns_are_taken_in_pairs_baseline_first_after_a_warm_up_of_each():
    log, times = [], iter(range(100))

    def side(name):
        def turn(steps):
            log.append((name, steps))
            return next(times)

        return turn

    seconds, baseline = paired(side("b"), side("a"), repeats=3, steps=7)
    assert log == [("a", 2), ("b", 2), *[("a", 7), ("b", 7)] * 3]
    assert (seconds, baseline) == ((3, 5, 7), (2, 4, 6))


@pytest.mark.parametrize(("worked", "share"), [(6.0, 0.25), (4.0, 0.0), (3.9, 0.0)])
def test_others_are_what_all_cores_did_but_for_this_process(monkeypatch, worked, share):
    """In 4 s two cores could work 8; this process worked 4 of them."""
    readings = iter([(100.0, 10.0, 0.0), (100.0 + worked, 14.0, 4.0)])
    monkeypatch.setattr(turns, "_readings", lambda: next(readings))
    monkeypatch.setattr(turns.os, "cpu_count", lambda: 2)
    assert Others().share() == pytest.approx(share)


def test_a_system_that_does_not_tell_of_others(monkeypatch):
    monkeypatch.setattr(turns.pathlib, "Path", lambda name: (_ for _ in ()).throw(OSError(name)))
    assert Others().share() is None


@pytest.mark.skipif(turns._readings() is None, reason="only Linux tells what all cores do")
def test_what_all_cores_do_includes_what_this_process_does():
    """One clock is read in ticks of 10 ms, the other is exact."""
    before = turns._readings()
    while (now := turns._readings())[1] - before[1] < 0.2:
        pass
    assert now[0] - before[0] >= 0.2 - 0.05
    assert now[2] - before[2] >= 0.2 - 0.05


# Sides.


@pytest.fixture
def experiment(small_net):
    return training.Experiment(dataset="digits", model=small_net, batch_size=8, seed=3)


@pytest.fixture
def stand(experiment, monkeypatch):
    """(trainer, batches): a loop that takes a quarter of a second a step and keeps the batches that it was fed."""
    clock, fed = Clock(), []

    class Loop:
        def __init__(self, trainee, strategy):
            pass

        def run(self, iterator, step, count):
            fed.append([next(iterator) for _ in range(count)])
            assert next(iterator, None) is None
            clock.now += 0.25 * count

    def slow_batches(*arguments):
        clock.now += 1_000.0
        return training.pipeline.batches(*arguments)

    monkeypatch.setattr(turns, "Loop", Loop)
    monkeypatch.setattr(turns.training, "batches", slow_batches)
    return Trainer(experiment, ARRAYS, clock), fed


def assert_same(found, expected):
    assert len(found) == len(expected)
    for (x, y), (expected_x, expected_y) in zip(found, expected, strict=True):
        np.testing.assert_array_equal(x, expected_x)
        np.testing.assert_array_equal(y, expected_y)


def test_a_turn_takes_the_next_batches_and_times_nothing_but_its_steps(stand, experiment):
    trainer, fed = stand
    assert [trainer.turn(4), trainer.turn(2)] == [0.25, 0.25]
    expected = list(training.pipeline.batches(experiment, *ARRAYS, 0, 6))
    assert_same(fed[0] + fed[1], expected)
    assert [len(each) for each in fed] == [4, 2]


def test_a_cached_turn_sees_the_first_batch_again_and_again(stand, experiment):
    trainer, fed = stand
    trainer.turn(3)
    assert trainer.cached(2) == 0.25
    assert_same(fed[1], 2 * list(training.pipeline.batches(experiment, *ARRAYS, 0, 1)))


def test_real_turns_are_steps_of_one_trace_and_fit_trains_the_same_classifier(experiment):
    clock = iter(range(0, 1_000, 6))  # every look at it is 6 s later
    trainer, fit = (kind(experiment, ARRAYS, lambda: next(clock)) for kind in (Trainer, Fit))
    start = trainer.trainee.classifier.get_weights()
    for side in (trainer, fit):
        assert [side.turn(2), side.turn(3)] == [3.0, 2.0]
    assert next(clock) == 6 * 8  # two looks for each turn, whatever its steps
    assert int(trainer.trainee.optimizer.iterations) == int(fit.model.optimizer.iterations) == 5
    for before, mine, theirs in zip(
        start, trainer.trainee.classifier.get_weights(), fit.model.get_weights(), strict=True
    ):
        assert np.abs(mine - before).max() > 2e-4  # five steps of Adam at 1e-4
        np.testing.assert_allclose(mine, theirs, atol=2e-6)
    assert trainer.cached(3) == 2.0
    assert int(trainer.trainee.optimizer.iterations) == 8
    assert trainer.loop._steps.experimental_get_tracing_count() == 1
    classifier = training.classifier_of(experiment, trainer.trainee)
    labels = classifier.predict(ARRAYS[0], verbose=0).argmax(axis=1)
    labels[:10] = -1
    assert trainer.accuracy(ARRAYS[0].numpy(), labels) == 0.75


# Settings, and a section.


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"repeats": 0}, "repeats must be at least 1, got 0"),
        ({"steps": 0}, "steps must be at least 1, got 0"),
        ({"images": 0}, "images must be at least 1, got 0"),
        ({"batch_size": 0}, "batch_size must be at least 1, got 0"),
        ({"model": "vgg"}, "model must be one of .*, got 'vgg'"),
        ({"dataset": "imagenet"}, "dataset must be one of .*, got 'imagenet'"),
    ],
)
def test_settings_that_are_refused(changes, message):
    with pytest.raises(UserError, match=message):
        Settings(**changes)


def bench(**settings):
    said = []
    return Bench(Settings(dataset="digits", images=30, repeats=1, steps=1, **settings), said.append, Clock()), said


def test_random_images_are_seeded_of_the_right_shape_and_made_once():
    one, other = (bench(seed=seed)[0] for seed in (1, 1))
    x, y = one.random("cifar10")
    assert x.shape == (30, 32, 32, 3)
    assert (float(tf.reduce_min(x)) >= 0, float(tf.reduce_max(x)) < 1) == (True, True)
    assert set(y.numpy()) <= set(range(10))
    assert len(set(y.numpy())) > 5
    np.testing.assert_array_equal(x, other.random("cifar10")[0])
    assert one.random("cifar10")[0] is x
    assert np.abs(bench(seed=2)[0].random("cifar10")[0] - x).max() > 0.5


def test_what_cannot_be_measured_is_noted_and_the_rest_goes_on():
    found, said = bench()
    with found.attempt("crops"):
        raise UserError("the shape does not fit")
    found.compare("noise", lambda steps: 3.0, "natural training", lambda steps: 2.0, 1.5, lambda row: f"{row.ratio} x")
    assert found.not_measured == ["crops: the shape does not fit"]
    assert [(each.what, each.ratio, each.met, each.note) for each in found.rows] == [("noise", 1.5, True, "1.5 x")]
    assert found.rows[0].threads >= 1
    assert [line.split()[0] for line in said] == ["crops:", "noise"]
    with pytest.raises(ZeroDivisionError), found.attempt("a fault of ours"):
        _ = 1 / 0
