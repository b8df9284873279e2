"""The judge: what counts as a success, and which examples are attacked at all."""

import dataclasses

import numpy as np
import pytest

from tfadv.attacks import Fgm, Pgd
from tfadv.attacks.deep_fool import DeepFool
from tfadv.attacks.jsma import Jsma
from tfadv.crosscheck.judging import Examples, judge
from tfadv.validation import UserError

X = np.full((1, 4), 0.5, np.float32)
WRONG = np.array([[0.0, 1.0]], np.float32)  # logits, of true class 0


def judged(x_adv, config, logits=WRONG, y=0):
    success, distance = judge(logits, X, np.array([y]), np.asarray(x_adv, np.float32)[None], config)
    return bool(success[0]), float(distance[0])


def test_a_success_is_misclassified_within_the_radius():
    config = Pgd(epsilon=0.1)
    assert judged([0.6, 0.5, 0.5, 0.4], config) == (True, pytest.approx(0.1))
    assert judged([0.6, 0.5, 0.5, 0.4], config, logits=-WRONG)[0] is False
    assert judged([0.6 + 5e-7, 0.5, 0.5, 0.5], config)[0] is True  # a rounding of x + epsilon
    assert judged([0.6 + 5e-5, 0.5, 0.5, 0.5], config)[0] is False


def test_the_distance_is_that_of_the_norm():
    config = Pgd(epsilon=0.5, norm="l2")
    assert judged([0.8, 0.9, 0.5, 0.5], config) == (True, pytest.approx(0.5))
    assert judged([0.8, 0.9, 0.51, 0.5], config)[0] is False


def test_without_a_radius_the_box_and_a_number_are_all_that_is_asked():
    config = DeepFool()
    assert judged([1.0, 0.5, 0.5, 0.5], config) == (True, pytest.approx(0.5))
    assert judged([1.1, 0.5, 0.5, 0.5], config)[0] is False
    assert judged([-0.1, 0.5, 0.5, 0.5], config)[0] is False
    assert judged([np.nan, 0.5, 0.5, 0.5], config) == (False, 0.0)
    assert judged([np.inf, 0.5, 0.5, 0.5], config)[0] is False


def test_a_targeted_attack_must_reach_its_class():
    config = dataclasses.replace(Pgd(epsilon=0.5), targeted=True)
    assert judged(X[0], config, y=1)[0] is True
    assert judged(X[0], config, y=0)[0] is False


def test_jsma_is_held_to_its_share_of_the_features_and_one_pair():
    """Of 4 features 25% is one; a peer that looks after a pair has changed three."""
    config = Jsma(gamma=0.25)
    assert judged([1.0, 1.0, 1.0, 0.5], config, y=1) == (True, 3.0)
    assert judged([1.0, 1.0, 1.0, 1.0], config, y=1) == (False, 4.0)


def test_what_is_misclassified_is_left_out(linear_net, examples):
    y = examples.y.copy()
    y[::3] = (y[::3] + 1) % 4
    kept = Examples(linear_net, examples.x, y, batch_size=7)
    np.testing.assert_array_equal(kept.index, [row for row in range(40) if row % 3])
    np.testing.assert_array_equal(kept.x, examples.x[kept.index])
    np.testing.assert_array_equal(kept.y, y[kept.index])
    np.testing.assert_array_equal(kept.labels(Fgm()), kept.y)
    np.testing.assert_array_equal(kept.labels(Jsma()), (kept.y + 1) % 4)


def test_some_rows_are_judged_by_their_own_labels(linear_net, examples):
    kept = Examples(linear_net, examples.x, examples.y, batch_size=7)
    rows = np.array([5, 2, 30])
    moved = np.roll(kept.x[rows], 1, axis=0)
    success, distance = kept.judge(Pgd(epsilon=1.0), moved, rows)
    np.testing.assert_array_equal(success, np.roll(kept.y[rows], 1) != kept.y[rows])
    np.testing.assert_allclose(distance, np.abs(moved - kept.x[rows]).max(axis=(1, 2, 3)), rtol=1e-6)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda x, y: (x[:0], y[:0]), "at least one image"),
        (lambda x, y: (255 * x, y), "divide by 255"),
        (lambda x, y: (x, (y + 1) % 4), "classify at least one of the images correctly"),
    ],
)
def test_nothing_to_attack_is_refused(linear_net, examples, change, message):
    with pytest.raises(UserError, match=message):
        Examples(linear_net, *change(examples.x, examples.y), batch_size=7)
