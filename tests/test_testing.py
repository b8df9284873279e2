"""`assert_robust` fails below the bar and where the evaluation is not sound, and says why."""

import numpy as np
import pytest
import tensorflow as tf

from tfadv.testing import assert_robust
from tfadv.validation import UserError

DIRECTION = np.array([1.0, -2.0, 0.5, 0.25], np.float32)
X = (0.5 + np.outer(np.array([0.3, -0.5, 1.05, -1.3, 1.4] * 8), DIRECTION) * 0.1 * 3.75 / 5.3125).astype(np.float32)
DATA = X.reshape(-1, 2, 2, 1), np.array([1, 0, 1, 0, 1] * 8)


def linear(x):
    """Two classes; 0.6 of DATA lie farther from the boundary than an linf ball of 0.1 reaches."""
    score = tf.linalg.matvec(tf.reshape(x, [-1, 4]) - 0.5, DIRECTION)
    return tf.stack([tf.zeros_like(score), score], axis=1)


def saturated(x):
    return 1e6 * linear(x)


def test_a_model_that_is_robust_enough_passes_and_its_report_comes_back():
    report = assert_robust(linear, DATA, at_least=0.6, epsilon=0.1)
    assert report.robust_accuracy == 0.6
    assert report.verdict.word == "trusted"


def test_too_little_robustness_fails_with_the_number_and_the_table():
    with pytest.raises(AssertionError, match=r"(?s)0\.6000 is below 0\.7.*PGD-20"):
        assert_robust(linear, DATA, at_least=0.7, epsilon=0.1)


def test_a_number_that_does_not_stand_fails_although_it_is_high_enough():
    with pytest.raises(AssertionError, match="the verdict is 'overestimated'"):
        assert_robust(saturated, DATA, at_least=0.5, epsilon=0.1)
    assert assert_robust(saturated, DATA, 0.5, 0.1, verdicts=("overestimated",)).robust_accuracy == 0.6


def test_without_checks_the_number_alone_decides():
    assert assert_robust(linear, DATA, 0.6, 0.1, check=False).verdict is None


@pytest.mark.parametrize("changes", [{"at_least": 45}, {"at_least": 0.5, "verdicts": ("fine",)}])
def test_a_bar_that_does_not_exist_is_refused(changes):
    with pytest.raises(UserError, match="must be"):
        assert_robust(linear, DATA, epsilon=0.1, **changes)
