"""Real CIFAR-10, already prepared."""

import numpy as np
import pytest

from tfadv import data
from tfadv.data import through_tfds


@pytest.mark.slow
def test_the_test_split_has_its_published_size_classes_and_colors(shared_data):
    x, y = data.arrays("cifar10", "test", shared_data / "tfds")
    assert x.shape == (10_000, 32, 32, 3)
    assert (x.dtype, y.dtype) == (np.float32, np.int32)
    assert np.bincount(y).tolist() == [1_000] * 10
    # The mean color of the published test images.
    np.testing.assert_allclose(x.mean(axis=(0, 1, 2), dtype=np.float64), [0.4942, 0.4851, 0.4504], atol=5e-4)


@pytest.mark.slow
def test_a_limited_set_is_stratified_and_the_same_every_time(shared_data):
    (x, y), (again, _) = (data.arrays("cifar10", "test", shared_data / "tfds", limit=50) for _ in range(2))
    assert np.bincount(y).tolist() == [5] * 10
    np.testing.assert_array_equal(x, again)


def test_the_class_names_are_those_of_the_archive(shared_data):
    spec = data.DATASETS["cifar10"]
    label = through_tfds.builder(spec, shared_data / "tfds").info.features["label"]
    assert tuple(label.names) == spec.class_names
