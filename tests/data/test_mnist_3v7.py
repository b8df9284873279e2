"""Threes against sevens: the two classes of MNIST, relabeled as the weight decay paper's authors do."""

import dataclasses

import numpy as np
import pytest

from tfadv import data
from tfadv.validation import UserError


@pytest.fixture
def made_up(monkeypatch):
    """MNIST replaced by 40 embedded images, image i of class i % 10 and of constant brightness i / 40."""
    y = (np.arange(40) % 10).astype(np.int32)
    x = np.broadcast_to((np.arange(40) / 40).astype(np.float32)[:, None, None, None], (40, 28, 28, 1))
    spec = dataclasses.replace(data.DATASETS["mnist"], embedded=lambda split: (x.copy(), y.copy()))
    monkeypatch.setitem(data.DATASETS, "mnist", spec)


def test_a_three_is_class_1_and_a_seven_class_0_in_the_order_of_mnist(made_up):
    x, y = data.arrays("mnist_3v7", "test")
    np.testing.assert_allclose(x[:, 0, 0, 0] * 40, [3, 7, 13, 17, 23, 27, 33, 37], rtol=1e-6)
    assert y.tolist() == [1, 0] * 4
    assert [data.DATASETS["mnist_3v7"].class_names[label] for label in y[:2]] == ["3", "7"]


def test_absent_data_is_reported_as_the_data_set_to_prepare(tmp_path, monkeypatch):
    monkeypatch.setattr("tfadv.data.through_tfds.unreachable", lambda url: "no network")
    with pytest.raises(UserError, match=r"data set 'mnist' is not in data_dir .*--dataset=mnist "):
        data.arrays("mnist_3v7", "test", tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize(("split", "counts"), [("train", [6_265, 6_131]), ("test", [1_028, 1_010])])
def test_the_real_splits_hold_every_seven_and_three(mnist_dir, split, counts):
    """The counts of the original label files, 7 first."""
    x, y = data.arrays("mnist_3v7", split, mnist_dir)
    assert np.bincount(y).tolist() == counts
    assert len(y) == data.DATASETS["mnist_3v7"].splits[split]
    everything, labels = data.arrays("mnist", split, mnist_dir)
    np.testing.assert_array_equal(x[y == 1], everything[labels == 3])


@pytest.mark.slow
def test_the_mean_three_and_the_mean_seven_classify_most_test_images(mnist_dir):
    """The expert of the paper, w = mean three - mean seven, with the middle between the means as its threshold."""
    x, y = data.arrays("mnist_3v7", "train", mnist_dir)
    three, seven = x[y == 1].mean(axis=0), x[y == 0].mean(axis=0)
    x, y = data.arrays("mnist_3v7", "test", mnist_dir)
    logits = ((x - (three + seven) / 2) * (three - seven)).sum(axis=(1, 2, 3))
    assert ((logits > 0) == y).mean() > 0.9
