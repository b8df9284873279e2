"""`load` and `arrays`: one set of examples in two forms, in an order that never changes, and clear refusals."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf

from tfadv import data
from tfadv.validation import UserError


@pytest.mark.parametrize("limit", [None, 37])
def test_load_yields_the_examples_of_arrays_in_the_same_order(limit):
    x, y = data.arrays("digits", "test", limit=limit)
    images, labels = zip(*data.load("digits", "test", limit=limit).as_numpy_iterator(), strict=True)
    np.testing.assert_array_equal(np.stack(images), x)
    np.testing.assert_array_equal(np.stack(labels), y)


def test_load_has_known_cardinality_shape_and_types():
    dataset = data.load("digits", "train", limit=100)
    assert int(dataset.cardinality()) == 100
    assert dataset.element_spec == (tf.TensorSpec((28, 28, 1), tf.float32), tf.TensorSpec((), tf.int32))


def test_two_reads_and_two_passes_give_the_same_order():
    dataset = data.load("digits", "test")
    first, second = (np.stack([y for _, y in dataset.as_numpy_iterator()]) for _ in range(2))
    np.testing.assert_array_equal(first, second)
    np.testing.assert_array_equal(first, data.arrays("digits", "test")[1])


def test_a_limit_is_a_stratified_subset_in_dataset_order():
    x, y = data.arrays("digits", "train")
    x_few, y_few = data.arrays("digits", "train", limit=130)
    place = {image.tobytes(): i for i, image in enumerate(x)}
    indices = [place[image.tobytes()] for image in x_few]
    assert indices == sorted(indices)
    assert indices != list(range(130))
    np.testing.assert_array_equal(y[indices], y_few)
    assert np.abs(np.bincount(y_few) - np.bincount(y) * 130 / 1_297).max() < 1


def test_a_limit_gives_the_same_examples_every_time():
    np.testing.assert_array_equal(*(data.arrays("digits", "test", limit=50)[0] for _ in range(2)))


def test_a_limit_of_the_whole_split_is_the_whole_split():
    np.testing.assert_array_equal(data.arrays("digits", "test", limit=500)[0], data.arrays("digits", "test")[0])


def test_what_a_caller_does_to_the_arrays_stays_with_the_caller():
    x, y = data.arrays("digits", "test")
    x[:], y[:] = 0.5, 9
    again = data.arrays("digits", "test")
    assert (again[0] != 0.5).any()
    assert (again[1] != 9).any()


@pytest.mark.parametrize("function", [data.load, data.arrays])
def test_an_unknown_data_set_is_refused_with_the_known_ones(function):
    with pytest.raises(UserError, match=r"one of \['cifar10', .*'digits', .*'mnist', .*\], got 'mnits'"):
        function("mnits", "train")


@pytest.mark.parametrize("function", [data.load, data.arrays])
@pytest.mark.parametrize("name", ["digits", "mnist"])
def test_an_unknown_split_is_refused_with_the_known_ones(function, name):
    known = r"\['test', 'train', 'train_fit', 'validation'\]"
    with pytest.raises(UserError, match=rf"split must be one of {known} for '{name}', got 'dev'"):
        function(name, "dev")


def parts(name):
    """The examples of "train", "train_fit" and "validation" as sets of bytes, and their labels."""
    both = [data.arrays(name, split) for split in ("train", "train_fit", "validation")]
    return [{image.tobytes() for image in x} for x, _ in both], [y for _, y in both]


@pytest.mark.parametrize("name", ["digits", "moons"])
def test_validation_and_the_rest_are_a_partition_of_train(name):
    (train, fit, validation), labels = parts(name)
    assert not fit & validation
    assert fit | validation == train
    assert [len(y) for y in labels] == [len(train), len(fit), len(validation)]
    assert len(validation) == len(train) // 10


def test_validation_keeps_the_class_shares_and_the_order_of_train():
    x, y = data.arrays("digits", "train")
    held, y_held = data.arrays("digits", "validation")
    assert np.abs(np.bincount(y_held) - np.bincount(y) * 129 / 1_297).max() < 1
    place = {image.tobytes(): i for i, image in enumerate(x)}
    indices = [place[image.tobytes()] for image in held]
    assert indices == sorted(indices)
    np.testing.assert_array_equal(y[indices], y_held)


def test_a_limited_train_of_that_size_is_not_the_validation_split():
    """With one seed for both, whoever trains on a limited set would validate on exactly the same examples."""
    (_, _, validation), _ = parts("digits")
    limited = {image.tobytes() for image in data.arrays("digits", "train", limit=129)[0]}
    assert len(limited & validation) < 40  # 12.9 are expected


def test_a_limit_applies_to_the_held_out_parts_and_load_agrees():
    x, y = data.arrays("digits", "validation", limit=20)
    assert np.bincount(y, minlength=10).tolist() == [2] * 10
    dataset = data.load("digits", "validation", limit=20)
    assert int(dataset.cardinality()) == 20
    np.testing.assert_array_equal(np.stack([image for image, _ in dataset.as_numpy_iterator()]), x)
    with pytest.raises(UserError, match=r"from 1 to 129 .*'validation' of 'digits'"):
        data.arrays("digits", "validation", limit=130)


def test_a_vector_data_set_loads_like_images():
    dataset = data.load("moons", "train")
    assert dataset.element_spec == (tf.TensorSpec((2,), tf.float32), tf.TensorSpec((), tf.int32))
    assert int(dataset.cardinality()) == 1_000


@pytest.mark.slow
def test_two_processes_agree_on_every_split_without_files_and_on_simulated_data():
    code = """
import hashlib
from tfadv import data
from tfadv.data import simulated

splits = ("train", "train_fit", "validation", "test")
pairs = [data.arrays(name, split) for name in ("digits", "moons") for split in splits]
pairs += [simulated.logistic(300, seed=0), simulated.gaussian(300, *simulated.fading(), seed=0)]
for x, y in pairs:
    print("digest", hashlib.sha256(x.tobytes() + y.tobytes()).hexdigest())
"""
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", code],
            cwd=Path(data.__file__).parents[2],
            env={**os.environ, "PYTHONHASHSEED": seed},
            stdout=subprocess.PIPE,
            text=True,
        )
        for seed in ("1", "2")
    ]
    first, second = ([line for line in p.communicate()[0].splitlines() if "digest" in line] for p in processes)
    assert first == second
    assert len(set(first)) == 10


@pytest.mark.parametrize("limit", [0, -5, 501])
def test_a_limit_that_cannot_be_met_is_refused(limit):
    with pytest.raises(UserError, match=f"limit must be a whole number from 1 to 500 .* got {limit}"):
        data.load("digits", "test", limit=limit)


def test_a_limit_is_checked_before_anything_is_read_or_downloaded(tmp_path):
    with pytest.raises(UserError, match="limit must be a whole number from 1 to 10000"):
        data.load("mnist", "test", tmp_path, limit=10_001)


@pytest.mark.slow
def test_importing_the_room_does_not_import_tfds_or_scikit_learn_datasets():
    """Both take a while; TFDS is only needed for data that is not embedded."""
    code = "import sys, tfadv.data; print('tensorflow_datasets' in sys.modules, 'sklearn.datasets' in sys.modules)"
    root = Path(data.__file__).parents[2]
    done = subprocess.run([sys.executable, "-c", code], cwd=root, capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["False", "False"]
