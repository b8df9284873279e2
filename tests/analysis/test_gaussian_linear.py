"""Linear classifiers of two Gaussian classes: hand-worked values, the dual as a certificate, and sampling."""

import numpy as np
import pytest
from scipy.optimize import minimize
from scipy.stats import norm

from tfadv.analysis.gaussian_linear import (
    SMOOTHINGS,
    accuracy,
    best_accuracy,
    expected_smoothed_loss,
    most_robust,
    smoothed_classifier,
)
from tfadv.data.simulated import fading, gaussian
from tfadv.validation import UserError

MEAN, DEVIATION = np.array([1.0, -0.25]), np.array([1.0, 0.5])


def test_accuracy_by_hand():
    """w = (1, -1): w'mean = 1.25, ||w||_1 = 2, sd = sqrt(1 + 1/4)."""
    sd = np.sqrt(1.25)
    np.testing.assert_allclose(accuracy([1, -1], MEAN, DEVIATION), norm.cdf(1.25 / sd))
    found = accuracy([[1, -1], [2, -2]], MEAN, DEVIATION, 0.2)
    np.testing.assert_allclose(found, [norm.cdf((1.25 - 0.4) / sd)] * 2)
    assert accuracy([1, -1], MEAN, DEVIATION, 0.625) == pytest.approx(0.5)


def test_accuracy_is_that_of_attacked_points():
    """Equation 9 within four standard errors of 40,000 points moved by -epsilon y sign(w)."""
    w, epsilon = np.array([0.5, -2.0]), 0.3
    x, y = gaussian(40_000, MEAN, DEVIATION, seed=3)
    sign = 2.0 * y - 1
    share = (sign * ((x - epsilon * sign[:, None] * np.sign(w)) @ w) > 0).mean()
    value = accuracy(w, MEAN, DEVIATION, epsilon)
    assert abs(share - value) < 4 * np.sqrt(value * (1 - value) / 40_000)


def test_the_most_robust_classifier_of_figure_3():
    """sigma^-2 (|mu| - 0.2)_+ = (0.8, 0.05 / 0.25), proportional to (4, 1); at 0.25 the second feature is gone."""
    mean, deviation = fading(2)
    np.testing.assert_allclose(most_robust(mean, deviation, 0.2), [0.8, 0.2])
    np.testing.assert_allclose(most_robust(MEAN, DEVIATION, 0.2), [0.8, -0.2])
    np.testing.assert_allclose(most_robust(MEAN, DEVIATION, 0.25), [0.75, 0.0])
    np.testing.assert_allclose(best_accuracy(mean, deviation, 0.2), norm.cdf(np.sqrt(0.64 + 0.05**2 / 0.25)))


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("share", [0.0, 0.3, 0.9, 1.1, 2.0])
def test_no_weights_do_better(seed, share):
    """Primal and value agree; the dual (below max |mean|) and random weights and features bound it."""
    draw = np.random.RandomState(seed)
    mean, deviation = draw.standard_normal(6), draw.uniform(0.3, 2, 6)
    epsilon = share * np.abs(mean).max()
    value = best_accuracy(mean, deviation, epsilon)
    np.testing.assert_allclose(accuracy(most_robust(mean, deviation, epsilon), mean, deviation, epsilon), value)
    if share < 1:
        dual = np.linalg.norm((mean - np.clip(mean, -epsilon, epsilon)) / deviation)
        np.testing.assert_allclose(norm.cdf(dual), value)
    tried = np.concatenate([draw.standard_normal((5000, 6)) / deviation, np.eye(6), -np.eye(6)])
    assert accuracy(tried, mean, deviation, epsilon).max() <= value + 1e-12
    assert (value > 0.5) == (share < 1)


@pytest.mark.parametrize("smoothing", SMOOTHINGS)
def test_the_expected_loss_is_the_mean_over_a_sample(smoothing):
    """The four losses of LSV section 3.1, with y_worst the class of the smaller logit, over 200,000 points."""
    mass, w = 0.2, np.array([0.7, -0.4])
    x, y = gaussian(200_000, MEAN, DEVIATION, seed=5)
    z = x @ w
    log_p = np.stack([-np.logaddexp(0, z), -np.logaddexp(0, -z)], axis=1)
    worst = (z < 0).astype(int) if smoothing == "adversarial" else 1 - y
    rows = np.arange(len(y))
    losses = -(1 - mass) * log_p[rows, y] - mass * log_p[rows, worst]
    value, gradient = expected_smoothed_loss(w, MEAN, DEVIATION, mass, smoothing)
    assert abs(losses.mean() - value) < 4 * losses.std() / np.sqrt(len(y))
    for j, step in enumerate(np.eye(2) * 1e-5):
        ends = [expected_smoothed_loss(w + sign * step, MEAN, DEVIATION, mass, smoothing)[0] for sign in (1, -1)]
        assert gradient[j] == pytest.approx((ends[0] - ends[1]) / 2e-5, abs=1e-8)


def test_the_loss_of_no_weights_is_log_2():
    value, gradient = expected_smoothed_loss([0, 0], MEAN, DEVIATION, 0.0)
    assert value == pytest.approx(np.log(2))
    np.testing.assert_allclose(gradient, -MEAN / 2, atol=1e-9)


@pytest.mark.parametrize("smoothing", SMOOTHINGS)
@pytest.mark.parametrize("mass", [0.01, 0.2, 0.45])
def test_smoothing_leaves_the_direction_of_bayes(smoothing, mass):
    """A minimizer over all weights, from a start that knows nothing, is the closed form: equal weights here."""
    mean, deviation = fading(5)
    closed = smoothed_classifier(mean, deviation, mass, smoothing)
    np.testing.assert_allclose(closed / closed[0], 1.0)
    law = (mean, deviation, mass, smoothing)
    start, options = np.linspace(1, -1, 5), {"gtol": 1e-9}
    found = minimize(expected_smoothed_loss, start, law, jac=True, method="BFGS", options=options).x
    np.testing.assert_allclose(found, closed, atol=1e-5)


def test_without_smoothing_the_posterior_is_exact_and_with_too_much_nothing_is_learned():
    """P(y = 1 | x) = 1 / (1 + exp(-2 sum mean_j x_j / deviation_j^2)); standard smoothing of 1/2 is a fair coin."""
    np.testing.assert_allclose(smoothed_classifier(MEAN, DEVIATION, 0.0), 2 * MEAN / DEVIATION**2)
    value, gradient = expected_smoothed_loss(2 * MEAN / DEVIATION**2, MEAN, DEVIATION, 0.0)
    np.testing.assert_allclose(gradient, 0, atol=1e-10)
    assert value < np.log(2)
    assert not smoothed_classifier(MEAN, DEVIATION, 0.5, "standard").any()
    # Ten features: sum sigma^2 = 3.85 = s^2, and the slope at 0 is -s^2 / 2 + mass (s^2 Psi(s) + s psi(s)).
    s = np.sqrt(3.85)
    limit = 3.85 / 2 / (3.85 * norm.cdf(s) + s * norm.pdf(s))
    assert limit == pytest.approx(0.498, abs=5e-4)
    assert smoothed_classifier(*fading(10), limit - 1e-3).all()
    assert not smoothed_classifier(*fading(10), limit + 1e-3).any()


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: accuracy([0, 0], MEAN, DEVIATION), "not all 0"),
        (lambda: accuracy([1, 1, 1], MEAN, DEVIATION), r"weights must be \[..., 2\]"),
        (lambda: accuracy([1, 1], MEAN, [1, 0]), "deviation > 0"),
        (lambda: most_robust([0, 0], DEVIATION, 0.1), "mean not all 0"),
        (lambda: best_accuracy(MEAN, [1.0], 0.1), r"\[d\] of one d"),
        (lambda: smoothed_classifier(MEAN, DEVIATION, 0.1, "other"), "smoothing must be one of"),
        (lambda: expected_smoothed_loss([1, 1], MEAN, DEVIATION, 1.5), r"mass in \[0, 1\]"),
    ],
)
def test_what_makes_no_sense_is_refused(call, message):
    with pytest.raises(UserError, match=message):
        call()
