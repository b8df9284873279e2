"""The penalties by hand, and the checks of section 2 on a small scale and on what they must notice."""

import numpy as np
import pytest
import tensorflow as tf

from tfadv.losses import boltzmann
from tfadv.reproduction.studies import label_smoothing_identities as identities
from tfadv.reproduction.studies.label_smoothing_identities import als, bls, free_gap, sbls, sls
from tfadv.reproduction.study import Context

Z = np.array([[3.0, 1.0, -2.0], [-1.0, 0.5, 4.0]])
Y = np.array([[1.0, 0.0, 0.0], [1.0, 0.0, 0.0]])
SETTINGS = {"classes": [2, 4], "examples": 40, "scales": [2.0], "masses": [0.1, 0.4], "seed": 0}


@pytest.fixture
def context(tmp_path):
    return Context(tmp_path, tmp_path, None, lambda line: None)


def test_penalties_by_hand():
    """K = 3, true class 0. SLS: (2 z_0 - z_1 - z_2) / 2. The second example has its true class at the bottom."""
    np.testing.assert_allclose(sls(Y, Z), [3.5, -3.25])
    np.testing.assert_allclose(als(Y, Z), [5.0, 0.0])
    np.testing.assert_allclose(sbls(Y, Z), [2.0, -5.0])
    # T -> 0 is the smallest other logit, T -> infinity all of them evenly.
    np.testing.assert_allclose(bls(Y, Z), [5.0, -1.5])
    np.testing.assert_allclose(bls(Y, Z, 1e6), sls(Y, Z), atol=1e-5)
    # T = 1: weights e^-1 and e^2 over k = 1, 2 are 1 / (1 + e^3) and 1 / (1 + e^-3).
    low = 1 / (1 + np.exp(-3))
    np.testing.assert_allclose(bls(Y, Z, 1.0)[0], 3 - (1 - low) + 2 * low)


def test_theorem_1_holds_and_the_printed_signs_do_not(context):
    found = identities.check_identities(SETTINGS, context)
    assert set(found["methods"]) == {"SLS", "ALS", "BLS", "SBLS"}
    for row in found["methods"].values():
        assert row["theorem"] < 1e-5
        assert row["printed"] > 0.1
    assert found["methods"]["ALS"]["smallest"] == 0
    assert found["methods"]["SBLS"]["smallest"] < 0
    assert found["any"] < 1e-5
    assert found["worst"] <= 0
    assert found["norm"] < 1e-12
    assert 0 < found["below"] < 1
    assert found["cases"] == 4


def test_random_labels_of_the_ball_stay_below_the_label_of_als():
    """But they come above the kindest one, all of the mass on the class of the largest logit: they do reach far."""
    z, draw = np.array([0.0, 1.0, 2.0, 3.0]), np.random.RandomState(0)
    log_p = z - np.logaddexp.reduce(z)
    above = identities._above_worst(z, 3, 0.3, draw)
    assert -0.3 * (log_p.max() - log_p.min()) < above < 0
    # On a true class of the smallest logit ALS leaves all of the mass, and every other label costs less.
    assert identities._above_worst(z, 0, 0.3, draw) < 0


def test_what_is_added_by_differentiating_through_q(context):
    """Against automatic differentiation of -q'(z)'z, at a temperature where both work."""
    settings = {"classes": 4, "examples": 30, "scale": 1.0, "temperatures": [0.5, 2.0], "seed": 1}
    found = identities.compare_gradients(settings, context)
    draw = np.random.RandomState(1)
    z = tf.constant(draw.standard_normal((30, 4)), tf.float32)
    y = tf.constant(np.eye(4)[draw.randint(4, size=30)], tf.float32)
    for temperature, added in zip(settings["temperatures"], found["added"], strict=True):
        with tf.GradientTape() as tape:
            tape.watch(z)
            q = boltzmann(y, z, temperature=temperature)
            value = -tf.reduce_sum(q * z)
        through = tape.gradient(value, z) + q
        expected = tf.reduce_mean(tf.norm(through, axis=1) / tf.norm(y - q, axis=1))
        assert added == pytest.approx(float(expected), rel=1e-4)


def test_als_and_sls_end_at_the_same_logits(context):
    found = identities.free_minima({"classes": [3], "masses": [0.2, 0.5], "steps": 600, "rate": 3.0}, context)
    expected = [np.log(0.8 * 2 / 0.2), np.log(2)]
    np.testing.assert_allclose(found["SLS"]["3"], expected, atol=1e-3)
    np.testing.assert_allclose(found["ALS"]["3"], expected, atol=0.02)


def test_the_gap_at_the_minimum():
    """p_y = 1 - mass against mass / (K - 1) for each other class; none beyond the uniform label."""
    assert free_gap(0.1, 10) == pytest.approx(np.log(0.9 / (0.1 / 9)))
    assert free_gap(0.9, 10) == pytest.approx(0, abs=1e-12)
    assert free_gap(0.95, 10) == 0
