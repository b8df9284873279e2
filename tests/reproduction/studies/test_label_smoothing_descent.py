"""The two ways to find ALS classifiers of the fading Gaussian, and the loss of a sample by hand."""

import numpy as np
import pytest
from scipy.optimize import check_grad

from tfadv.analysis.gaussian_linear import accuracy, expected_smoothed_loss
from tfadv.data.simulated import fading, gaussian
from tfadv.reproduction.studies.label_smoothing_descent import descended_weights, exact_weights, sample_loss
from tfadv.reproduction.study import Context


@pytest.fixture
def context(tmp_path):
    return Context(tmp_path, tmp_path, None, lambda line: None)


def test_the_loss_of_a_sample_by_hand():
    """Margins log 3 and -log 3: log(4/3) + mass log 3, and log 4; slopes -1/4 + mass and -3/4."""
    signed, w = np.array([[np.log(3)], [-np.log(3)]]), np.array([1.0])
    value, gradient = sample_loss(w, signed, 0.1)
    assert value == pytest.approx((np.log(4 / 3) + 0.1 * np.log(3) + np.log(4)) / 2)
    np.testing.assert_allclose(gradient, [(-0.15 * np.log(3) + 0.75 * np.log(3)) / 2])


def test_the_loss_of_a_sample_is_near_the_expected_one():
    mean, deviation = fading(4)
    x, y = gaussian(50_000, mean, deviation, seed=2)
    signed, w = (2.0 * y - 1)[:, None] * x, np.array([1.0, 0.5, -0.2, 0.3])
    value, gradient = sample_loss(w, signed, 0.2)
    expected, by_weights = expected_smoothed_loss(w, mean, deviation, 0.2)
    assert value == pytest.approx(expected, abs=0.01)
    np.testing.assert_allclose(gradient, by_weights, atol=0.02)
    assert check_grad(lambda v: sample_loss(v, signed, 0.2)[0], lambda v: sample_loss(v, signed, 0.2)[1], w) < 1e-4


def test_the_exact_weights_are_those_of_bayes_for_every_mass(context):
    found = exact_weights({"features": 4, "masses": [0.0, 0.1, 0.3], "seed": 0}, context)
    assert found["scale"][0] == 2
    assert found["scale"] == sorted(found["scale"], reverse=True)
    assert found["difference"] < 1e-4
    assert found["tilt"] < 1e-2


def test_stopping_early_and_not_label_smoothing_gives_the_order_and_the_robustness(context):
    """12 steps, with and without smoothing, beat Bayes' classifier by far at epsilon 1/2; the sample's minimum hardly.

    The first gradient is E y x / 2, proportional to sigma_i^2, so that large features lead.
    """
    settings = {"features": 10, "masses": [0.0, 0.1], "steps": [12], "samples": 3000, "runs": 3}
    found = descended_weights({**settings, "learning_rate": 0.75, "seed": 0}, context)
    weights, minima = np.array(found["weights"]), np.array(found["minimizers"])
    assert weights.shape == (2, 1, 3, 10)
    law = (*fading(10), 0.5)
    bayes = float(accuracy(np.ones(10), *law))
    for early in weights[:, 0]:
        assert (early[:, 0] > early[:, 6]).all()
        assert (accuracy(early, *law) > bayes + 0.15).all()
    # The minimum of ALS on the sample is Bayes' classifier up to noise.
    np.testing.assert_allclose(minima[1].mean(axis=0), 0.507, atol=0.1)
    assert abs(accuracy(minima[1], *law).mean() - bayes) < 0.08
