"""The validation split: a fixed, stratified part of the training split."""

import numpy as np
import pytest

from tfadv.data import holdout
from tfadv.data.subset import stratified_subset

LABELS = np.random.RandomState(0).permutation(np.repeat([0, 1, 2], [500, 300, 100]))


@pytest.mark.parametrize(("train", "held"), [(1_297, 129), (9, 0), (49_999, 4_999), (60_000, 5_000), (100_000, 5_000)])
def test_a_tenth_is_held_out_and_at_most_5000(train, held):
    assert holdout.validation_size(train) == held
    sizes = holdout.sizes({"train": train, "test": 7})
    assert sizes == {"train": train, "test": 7, "train_fit": train - held, "validation": held}


def test_the_two_parts_make_up_the_training_split_and_ascend():
    fit, held = (holdout.indices(LABELS, split) for split in ("train_fit", "validation"))
    assert sorted([*fit, *held]) == list(range(900))
    assert (np.diff(fit) > 0).all()
    assert (np.diff(held) > 0).all()


def test_every_class_keeps_its_share():
    """Of 900 examples 90 are held out: 50 of 500, 30 of 300, 10 of 100."""
    assert np.bincount(LABELS[holdout.indices(LABELS, "validation")]).tolist() == [50, 30, 10]


@pytest.mark.parametrize("split", ["train", "test"])
def test_published_splits_stay_whole(split):
    assert holdout.source(split) == split
    np.testing.assert_array_equal(holdout.indices(LABELS, split), np.arange(900))


def test_the_parts_come_from_train():
    assert {holdout.source(split) for split in ("train_fit", "validation")} == {"train"}


def test_the_draw_is_pinned():
    """Another one would change what committed validation results mean."""
    labels = np.tile([0, 1], 20)
    assert holdout.indices(labels, "validation").tolist() == stratified_subset(labels, 4, seed=1).tolist()
    assert holdout.indices(labels, "validation").tolist() == [6, 17, 31, 32]
