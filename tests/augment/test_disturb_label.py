"""DisturbLabel: each label is replaced with probability alpha by one of all classes."""

import numpy as np
import pytest
import scipy.stats
import tensorflow as tf

from tfadv.augment import DisturbLabel, apply, disturb_label
from tfadv.losses import LabelSmoothing
from tfadv.objectives import cross_entropy
from tfadv.validation import UserError

SEED = [5, 6]
MANY = 40_000
IMAGES = np.zeros([MANY, 1], np.float32)


def test_labels_follow_the_papers_distribution():
    """Xie 2016, alpha = 0.3, K = 4: P(y) = 1 - 0.3 * 3/4 = 0.775, P(k) = 0.3 / 4 = 0.075; independently of y."""
    y = np.arange(MANY, dtype=np.int32) % 4
    drawn = disturb_label(IMAGES, y, config=DisturbLabel(0.3, classes=4), seed=SEED)[1].numpy()
    for label in range(4):
        counts = np.bincount(drawn[y == label], minlength=4)
        expected = MANY / 4 * np.where(np.arange(4) == label, 0.775, 0.075)
        assert scipy.stats.chisquare(counts, expected).pvalue > 1e-4


def test_neighbors_are_disturbed_independently():
    """Wrong labels: 0.3 * 3/4 = 0.225; correlation of neighbors of standard error 1 / 200 = 0.005."""
    y = np.zeros(MANY, np.int32)
    wrong = disturb_label(IMAGES, y, config=DisturbLabel(0.3, classes=4), seed=SEED)[1].numpy() != 0
    assert abs(wrong.mean() - 0.225) < 5 * (0.225 * 0.775 / MANY) ** 0.5
    assert abs(np.corrcoef(wrong[1:], wrong[:-1])[0, 1]) < 0.025


def test_the_mean_loss_is_that_of_label_smoothing():
    """Cross-entropy is linear in the label, so that its mean over the draws is the loss of the mean label,
    y - 0.5 (y - 1/3) with K = 3; one logit row, losses of at most 3: standard error below 1.5 / 200."""
    logits, y = tf.constant([[1.0, -2.0, 0.5]]), tf.zeros([MANY], tf.int32)
    drawn = disturb_label(IMAGES, y, config=DisturbLabel(0.5, classes=3), seed=SEED)[1]
    mean = np.mean(cross_entropy(drawn, tf.tile(logits, [MANY, 1])))
    expected = LabelSmoothing.from_uniform_mixture(0.5, 3)(tf.constant([0]), logits)
    assert mean == pytest.approx(float(expected), abs=0.0375)


@pytest.mark.parametrize(("rate", "kept"), [(0.0, 1.0), (1.0, 0.1)])
def test_the_ends_keep_every_label_or_draw_every_one(rate, kept):
    y = np.arange(MANY, dtype=np.int32) % 10
    drawn = disturb_label(IMAGES, y, config=DisturbLabel(rate), seed=SEED)[1].numpy()
    assert (drawn == y).mean() == pytest.approx(kept, abs=0.0075)  # 5 standard errors of 0.3 / 200


@pytest.mark.parametrize("dtype", [tf.int32, tf.int64, tf.uint8])
def test_every_form_of_the_labels_gets_the_same_draws_and_keeps_its_form(dtype):
    x, y, config = np.zeros([50, 2], np.float32), tf.cast(np.arange(50) % 10, dtype), DisturbLabel(0.5)
    drawn = apply(config, x, y, SEED)[1]
    assert (drawn.dtype, drawn.shape) == (dtype, [50])
    assert (drawn.numpy() != y.numpy()).any()
    column = apply(config, x, y[:, None], SEED)[1]
    assert (column.dtype, column.shape) == (dtype, [50, 1])
    np.testing.assert_array_equal(column[:, 0], drawn)
    rows = apply(config, x, tf.one_hot(y, 10), SEED)[1]
    assert rows.dtype == tf.float32
    np.testing.assert_array_equal(rows, tf.one_hot(drawn, 10))


def test_a_mixed_label_is_replaced_as_a_whole_or_left():
    y = np.tile([[0.6, 0.4, 0.0]], [200, 1]).astype(np.float32)
    drawn = disturb_label(np.zeros([200, 1], np.float32), y, config=DisturbLabel(0.5, classes=3), seed=SEED)[1].numpy()
    left = (drawn == y).all(axis=1)
    assert 60 < left.sum() < 140  # 100 with standard deviation 7
    np.testing.assert_array_equal(np.sort(drawn[~left], axis=1), np.tile([[0, 0, 1]], [(~left).sum(), 1]))


def test_images_come_back_as_they_are():
    x = np.random.default_rng(0).uniform(size=[4, 2, 2, 1]).astype(np.float32)
    np.testing.assert_array_equal(apply(DisturbLabel(1.0), x, np.arange(4), SEED)[0], x)


def test_a_dataset_is_disturbed_anew_in_every_pass_and_alike_in_every_run():
    """Also the shape of the labels stays known."""
    x, y = np.zeros([60, 2], np.float32), np.arange(60, dtype=np.int32) % 10

    def passes(seed):
        dataset = (
            tf.data.Dataset.from_tensor_slices((x, y)).batch(20, drop_remainder=True).apply(DisturbLabel(0.5, 10, seed))
        )
        assert dataset.element_spec[1].shape == [20]
        return [np.concatenate([labels for _, labels in dataset]) for _ in range(2)]

    first, second = passes(0)
    assert (first != second).any()
    assert (first[:20] != first[20:40]).any()
    np.testing.assert_array_equal(passes(0), [first, second])
    assert (passes(1)[0] != first).any()


@pytest.mark.parametrize(
    "labels",
    [np.eye(3, dtype=np.float32), np.ones([3], np.float32), np.ones([3, 10, 1], np.int32)],
    ids=["K", "rank1", "rank3"],
)
def test_labels_that_are_not_over_the_classes_are_refused(labels):
    with pytest.raises(UserError, match=r"classes=10\], got \(3.*DisturbLabel\(classes="):
        disturb_label(np.zeros([3, 2], np.float32), labels, config=DisturbLabel(classes=10), seed=SEED)


def test_what_is_no_batch_is_refused():
    with pytest.raises(UserError, match="batch axis"):
        disturb_label(np.zeros([2], np.float32), np.int32(1), config=DisturbLabel(), seed=SEED)
    with pytest.raises(UserError, match="equal batch axes"):
        disturb_label(np.zeros([2, 1], np.float32), np.arange(3), config=DisturbLabel(), seed=SEED)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"rate": -0.1}, "rate must be a finite number >= 0, got -0.1"),
        ({"rate": 10}, "rate must be at most 1, got 10.0; write 0.1 for 10%"),
        ({"classes": 1}, "classes must be an integer >= 2"),
        ({"seed": -1}, "seed must be an integer in"),
    ],
    ids=str,
)
def test_impossible_parameters_are_refused(arguments, message):
    with pytest.raises(UserError, match=message):
        DisturbLabel(**arguments)
