"""The batches of a run are functions of the step, and what replicas share out is the whole batch."""

import dataclasses
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf

from tfadv.augment import FeatureSmoothing, GaussianNoise, Mixup
from tfadv.training import Experiment, batches
from tfadv.training.pipeline import shared
from tfadv.validation import UserError

ROOT = Path(__file__).resolve().parents[2]

X = np.random.default_rng(0).random([40, 4, 4, 1], np.float32)
Y = np.arange(40, dtype=np.int32)


# Batches.


@pytest.mark.parametrize(
    "augment", [(), (GaussianNoise(0.2), Mixup(new_points=2, classes=40))], ids=["plain", "random"]
)
def test_a_step_has_the_same_batch_wherever_the_pipeline_begins(augment):
    experiment = Experiment(batch_size=10, augment=augment)
    whole = list(batches(experiment, X, Y, 0, 9).as_numpy_iterator())
    part = list(batches(experiment, X, Y, 5, 9).as_numpy_iterator())
    assert len(whole) == 9
    for expected, found in zip(whole[5:], part, strict=True):
        np.testing.assert_array_equal(found[0], expected[0])
        np.testing.assert_array_equal(found[1], expected[1])


def test_an_epoch_visits_every_example_once_and_the_next_in_another_order():
    epochs = list(batches(Experiment(batch_size=8), X, Y, 0, 10).as_numpy_iterator())
    first, second = (np.concatenate([y for _, y in epochs[at : at + 5]]) for at in (0, 5))
    assert sorted(first) == sorted(second) == Y.tolist()
    assert first.tolist() != second.tolist()
    images = np.concatenate([x for x, _ in epochs[:5]])
    np.testing.assert_array_equal(images, X[first])


def test_what_does_not_fill_a_batch_waits_for_another_epoch():
    """40 = 3 x 12 + 4: three steps an epoch, 36 distinct examples in each."""
    labels = [y for _, y in batches(Experiment(batch_size=12), X, Y, 0, 30).as_numpy_iterator()]
    assert all(len(set(np.concatenate(labels[at : at + 3]))) == 36 for at in range(0, 30, 3))
    assert set(np.concatenate(labels)) == set(Y)


def test_other_seeds_give_other_orders_and_other_draws():
    def first(**changes):
        experiment = Experiment(**{"batch_size": 10, "augment": (GaussianNoise(0.2),), **changes})
        return next(iter(batches(experiment, X, Y, 0, 1).as_numpy_iterator()))

    assert first()[1].tolist() != first(seed=1)[1].tolist()
    same_order, other_noise = first(augment=(GaussianNoise(0.2, seed=1),))[::-1]
    np.testing.assert_array_equal(same_order, first()[1])
    assert np.abs(other_noise - first()[0]).max() > 0.1


def test_no_two_steps_and_no_two_layers_draw_the_same_noise():
    """Neither two steps of an epoch, nor the same step or the same example of two epochs."""
    grey = np.full_like(X, 0.5)
    experiment = Experiment(batch_size=20, augment=(GaussianNoise(0.01),))
    steps = list(batches(experiment, grey, Y, 0, 4).as_numpy_iterator())
    by_position = np.corrcoef([x.ravel() for x, _ in steps])
    assert np.abs(by_position - np.eye(4)).max() < 0.3  # 320 numbers: the standard deviation of a chance one is 0.06
    epochs = [[np.concatenate(part) for part in zip(*steps[at : at + 2], strict=True)] for at in (0, 2)]
    by_example = np.corrcoef([x[np.argsort(y)].ravel() for x, y in epochs])
    assert abs(by_example[0, 1]) < 0.3
    twice = dataclasses.replace(experiment, augment=(GaussianNoise(0.01), GaussianNoise(0.01)))
    ((x, _),) = batches(twice, grey, Y, 0, 1).as_numpy_iterator()
    # Independent draws add up to stddev 0.01 * sqrt(2) = 0.0141; the same draw twice would give 0.02.
    assert (x - 0.5).std() == pytest.approx(0.0141, rel=0.15)


def test_a_batch_larger_than_the_training_set_is_refused():
    with pytest.raises(UserError, match="batch_size must be at most the 40 training images, got 41"):
        batches(Experiment(batch_size=41), X, Y, 0, 1)


PRINT_A_BATCH = """
import numpy as np
from tfadv import training
from tfadv.augment import GaussianNoise
x = np.random.default_rng(0).random([40, 4, 4, 1], np.float32)
experiment = training.Experiment(batch_size=10, augment=(GaussianNoise(0.2),))
(batch, labels), = training.batches(experiment, x, np.arange(40, dtype=np.int32), 7, 8).as_numpy_iterator()
print(batch.tobytes().hex(), labels.tolist())
"""


@pytest.mark.slow
def test_another_process_draws_the_same_batch():
    run = subprocess.run([sys.executable, "-c", PRINT_A_BATCH], cwd=ROOT, capture_output=True, text=True, timeout=300)
    assert run.returncode == 0, run.stderr
    experiment = Experiment(batch_size=10, augment=(GaussianNoise(0.2),))
    ((x, y),) = batches(experiment, X, Y, 7, 8).as_numpy_iterator()
    assert run.stdout.split(maxsplit=1) == [x.tobytes().hex(), f"{y.tolist()}\n"]


# Shared out; tests/training/test_scale_out.py does the same with real replicas.


class Process:
    """What `shared` needs of a strategy: one process of several, each with its share of the replicas."""

    def __init__(self, replicas, processes=1, number=0):
        self.num_replicas_in_sync = replicas
        self._context = tf.distribute.InputContext(processes, number, replicas)

    def distribute_datasets_from_function(self, make):
        return make(self._context)


@pytest.mark.parametrize(("replicas", "processes"), [(2, 1), (3, 3), (6, 2)])
@pytest.mark.parametrize(
    "augment", [(), (GaussianNoise(0.2), Mixup(new_points=6, classes=40))], ids=["labels", "distributions"]
)
def test_the_parts_of_all_replicas_in_order_are_the_batch(augment, replicas, processes):
    """Each process hands its replicas their parts one after the other: replicas / processes elements for each step."""
    experiment = Experiment(batch_size=12, augment=augment)
    dataset = batches(experiment, X, Y, 0, 4)
    here = replicas // processes
    parts = [list(shared(dataset, Process(replicas, processes, k)).as_numpy_iterator()) for k in range(processes)]
    assert [len(each) for each in parts] == [4 * here] * processes
    for step, (x, y) in enumerate(dataset.as_numpy_iterator()):
        own = [part for each in parts for part in each[step * here : (step + 1) * here]]
        assert {len(images) for images, _ in own} == {len(x) // replicas}
        np.testing.assert_array_equal(np.concatenate([images for images, _ in own]), x)
        np.testing.assert_array_equal(np.concatenate([labels for _, labels in own]), y)


def test_one_replica_gets_the_batches_as_they_are():
    dataset = batches(Experiment(batch_size=7), X, Y, 0, 3)
    assert shared(dataset, tf.distribute.get_strategy()) is dataset


@pytest.mark.parametrize(
    ("batch_size", "augment", "replicas", "points"),
    [(9, (), 2, 9), (10, (FeatureSmoothing(new_points=3),), 2, 13), (8, (Mixup(new_points=4),), 8, 12)],
)
def test_batches_that_do_not_divide_are_refused_with_the_points_that_were_added(batch_size, augment, replicas, points):
    dataset = batches(Experiment(batch_size=batch_size, augment=augment), X, Y, 0, 1)
    message = f"batch_size, with the points .* multiple of the {replicas} replicas, got {points} points; choose another"
    with pytest.raises(UserError, match=message):
        shared(dataset, Process(replicas))


def test_points_that_are_added_may_make_a_batch_divide():
    dataset = batches(Experiment(batch_size=9, augment=(FeatureSmoothing(new_points=3),)), X, Y, 0, 1)
    assert [len(x) for x, _ in shared(dataset, Process(2))] == [6, 6]
