"""`load` and `arrays`: one set of examples in two forms, in an order that never changes, and clear refusals."""

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
    with pytest.raises(UserError, match=r"\['cifar10', 'digits', 'fashion_mnist', 'mnist'\], got 'mnits'"):
        function("mnits", "train")


@pytest.mark.parametrize("function", [data.load, data.arrays])
@pytest.mark.parametrize("name", ["digits", "mnist"])
def test_an_unknown_split_is_refused_with_the_known_ones(function, name):
    with pytest.raises(UserError, match=rf"split must be one of \['test', 'train'\] for '{name}', got 'validation'"):
        function(name, "validation")


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
