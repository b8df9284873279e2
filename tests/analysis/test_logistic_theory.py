"""Large-sample laws: closed forms of two-point laws, worked in the comments, and simulated samples."""

import numpy as np
import pytest

from tfadv.analysis.logistic import Objective, fit, sigmoid
from tfadv.analysis.logistic_samples import realizations
from tfadv.analysis.logistic_theory import (
    delta_method,
    fisher_variances,
    large_sample,
    least_varying_margin,
    point_mass_variance,
    points_of,
)
from tfadv.data import simulated
from tfadv.validation import UserError

TWO_POINTS = np.array([-1.0, 1.0])
SLOPES = [1.0, 1.5, 2.0, 3.0, 5.0]


def test_midpoints_stand_for_the_uniform_law():
    np.testing.assert_allclose(points_of([(0, 1)], 4), [1 / 8, 3 / 8, 5 / 8, 7 / 8])
    both = points_of([(-1, -0.8), (0, 0.1)], 300)
    assert (both < 0).sum() == 200
    assert both.mean() == pytest.approx((2 * -0.9 + 0.05) / 3)


def test_equations_3_and_4_at_a_point_mass():
    """x = 2, w = 0.5, b = 0: p (1 - p) at z = 1, and E[x^2] = 4 in equation 3."""
    p = sigmoid(1.0)
    weight, bias = fisher_variances([2.0, -2.0], 0.5, 0.0)
    assert weight == pytest.approx(1 / (4 * p * (1 - p)))
    assert bias == pytest.approx(1 / (p * (1 - p)))


def test_the_delta_method_by_hand():
    """w = 2, b = 1: var(b) / 4 + var(w) / 16 - 2 cov / 8."""
    assert delta_method(2.0, 1.0, [[3.0, 0.5], [0.5, 8.0]]) == pytest.approx(2 + 3 / 16 - 1 / 8)


def test_plain_logistic_regression_has_fishers_covariance():
    x = points_of([(-1, 2)], 500)
    found = large_sample(x, 1.5, -0.5)
    p = sigmoid(1.5 * x - 0.5)
    design = np.stack([x, np.ones_like(x)])
    information = (design * p * (1 - p)) @ design.T / len(x)
    np.testing.assert_allclose(found.covariance, np.linalg.inv(information), rtol=1e-6)
    assert (found.slope, found.intercept) == (pytest.approx(1.5), pytest.approx(-0.5))
    assert found.boundary == pytest.approx(1 / 3)


@pytest.mark.parametrize("w", SLOPES)
def test_label_smoothing_lowers_the_variance_at_two_points_for_every_w(w):
    """p^ = (1 - 2 d) p + d, A = p^ (1 - p^) and B = (1 - 2 d)^2 p (1 - p) of the intercept.

    With T = tanh(w / 2) and c = 1 - 2 d, the root of the ratio to the plain variance is h(T) / h(c T), where
    h(u) = (1 - u^2) atanh(u) / u falls, because u < (1 + u^2) atanh(u): theorem 4.1 holds for it.
    """

    def h(u):
        return (1 - u**2) * np.arctanh(u) / u

    ratio = large_sample(TWO_POINTS, w, 0.0, Objective(0.1)).variance / large_sample(TWO_POINTS, w, 0.0).variance
    assert ratio == pytest.approx((h(np.tanh(w / 2)) / h(0.8 * np.tanh(w / 2))) ** 2, rel=1e-6)
    assert ratio < 1


@pytest.mark.parametrize("w", SLOPES)
def test_logit_squeezing_raises_the_variance_at_two_points_for_small_w(w):
    """p^ = p - lambda, A = p^ (1 - p^), B = p (1 - p): the ratio is (k(p) / k(p^))^2, k(p) = p (1 - p) logit(p).

    k has its maximum at p = 0.824, so that the ratio is above 1 where both lie below it: theorem 4.1 does not hold.
    """

    def k(p):
        return p * (1 - p) * np.log(p / (1 - p))

    p = sigmoid(w)
    squeezed = large_sample(TWO_POINTS, w, 0.0, Objective(logit_squeezing=0.1))
    ratio = squeezed.variance / large_sample(TWO_POINTS, w, 0.0).variance
    assert ratio == pytest.approx((k(p) / k(p - 0.1)) ** 2, rel=1e-4)
    assert (ratio > 1) == (w < 2)


@pytest.mark.parametrize("w", SLOPES)
def test_weight_decay_at_two_points(w):
    """p^ = p - 2 lambda w^. How many points are on either side is random: B = p (1 - p) + (p - p^)^2."""
    decayed = large_sample(TWO_POINTS, w, 0.0, Objective(weight_decay=0.01))
    p, shrunk = sigmoid(w), sigmoid(decayed.slope)
    assert shrunk == pytest.approx(p - 0.02 * decayed.slope)
    expected = (p * (1 - p) + (p - shrunk) ** 2) / (shrunk * (1 - shrunk) * decayed.slope) ** 2
    assert decayed.variance == pytest.approx(expected, rel=1e-6)


def test_two_asymmetric_points_move_the_smoothed_boundary():
    """x = -0.95 and 0.65, w = 4: label smoothing fits logit(0.8 p + 0.1) at both, a line through 0 at -0.0804."""
    x = np.array([-0.95, 0.65])
    z = np.log((p := 0.8 * sigmoid(4 * x) + 0.1) / (1 - p))
    slope = (z[1] - z[0]) / 1.6
    found = large_sample(x, 4.0, 0.0, Objective(label_smoothing=0.1))
    assert found.slope == pytest.approx(slope)
    assert found.boundary == pytest.approx(0.65 - z[1] / slope)
    assert found.boundary == pytest.approx(-0.0804, abs=1e-4)
    assert large_sample(x, 4.0, 0.0).boundary == pytest.approx(0, abs=1e-9)


@pytest.mark.parametrize(
    "objective",
    [None, Objective(0.1), Objective(logit_squeezing=0.1), Objective(weight_decay=0.01)],
    ids=repr,
)
def test_simulated_estimates_have_that_law(objective):
    """400 samples of 600 points, boundary within the data: means and variances within five standard errors."""
    law = {"slope": 4.0, "intercept": -2.0, "intervals": [(0.0, 1.5)]}
    x, y = realizations(lambda seed: simulated.logistic(600, seed=seed, **law), 400, 1)
    theory = large_sample(points_of(law["intervals"]), 4.0, -2.0, objective)
    boundaries = fit(x, y, objective).boundaries()
    deviation = np.sqrt(theory.variance / 600)
    # A fifth of the deviation allows for the bias of order 1 / N.
    assert boundaries.mean() == pytest.approx(theory.boundary, abs=(0.2 + 5 / np.sqrt(400)) * deviation)
    assert boundaries.var() == pytest.approx(deviation**2, rel=5 * np.sqrt(2 / 400) + 0.05)


def test_a_minimum_without_a_boundary_is_refused():
    with pytest.raises(UserError, match="choose a smaller penalty"):
        large_sample(TWO_POINTS, 0.3, 0.0, Objective(logit_squeezing=0.1))


def test_the_variance_at_a_point_mass_is_least_at_2_3994():
    w = np.linspace(0.5, 6, 200_001)
    at = w[point_mass_variance(w).argmin()]
    assert at == pytest.approx(2.3994, abs=1e-4)
    assert least_varying_margin() == pytest.approx(at, abs=1e-4)
    # At another distance the product w x counts.
    assert w[point_mass_variance(w, 0.5).argmin()] == pytest.approx(2 * at, abs=1e-3)


def test_appendix_a4_with_its_sign_mended():
    """g' = 0 at w = 2 / (x (2 p - 1)); with 1 - 2 p, as printed, w would be negative."""
    margin = least_varying_margin()
    assert 2 / (2 * sigmoid(margin) - 1) == pytest.approx(margin)


def test_the_variance_at_a_point_mass_is_that_of_large_samples():
    assert large_sample(TWO_POINTS, 3.0, 0.0).variance == pytest.approx(float(point_mass_variance(3.0)))
