"""Virtual points worked by hand, and summaries whose numbers follow from a few values."""

import numpy as np
import pytest

from tfadv.analysis.logistic import Fit, Objective, fit
from tfadv.analysis.logistic_samples import (
    Samples,
    adversarial,
    adversarially_fitted,
    interpolated,
    noisy,
    realizations,
    spread_ratios,
    summary,
)
from tfadv.data import simulated
from tfadv.validation import UserError

PAIR = Samples(np.array([[[0.0], [1.0]]] * 50), np.array([[0.0, 1.0]] * 50))


def test_realizations_are_the_samplers_own_draws_and_no_two_seeds_share_one():
    x, y = realizations(lambda seed: simulated.logistic(20, seed=seed), 3, 2)
    expected = simulated.logistic(20, seed=2_000_001)
    np.testing.assert_array_equal(x[1], expected[0])
    np.testing.assert_array_equal(y[1], expected[1])
    assert x.shape == (3, 20, 1)
    assert x.dtype == np.float64
    other, _ = realizations(lambda seed: simulated.logistic(20, seed=seed), 3, 3)
    assert not np.isin(x, other).any()


@pytest.mark.parametrize(("count", "seed"), [(0, 0), (1_000_001, 0), (1, -1), (1, 4000)])
def test_realizations_that_would_share_draws_are_refused(count, seed):
    with pytest.raises(UserError, match="count must lie in"):
        realizations(lambda seed: simulated.logistic(20, seed=seed), count, seed)


def test_feature_smoothing_keeps_the_label_of_the_dominant_point():
    """Of 0 and 1, alpha = 0.3: 0 and 0.3 with the label of 0; 1 and 0.7 with the label of 1."""
    x, targets = interpolated(PAIR, alpha=0.3, new=20, mixed=False, seed=0)
    np.testing.assert_array_equal(x[:, :2], PAIR.x)
    np.testing.assert_allclose(np.unique(np.round(x[:, 2:], 9)), [0, 0.3, 0.7, 1])
    np.testing.assert_array_equal(targets[:, 2:], (x[:, 2:, 0] > 0.5).astype(float))


def test_mixup_interpolates_the_labels_of_the_same_points():
    """y = x here, and so it stays."""
    x, targets = interpolated(PAIR, alpha=0.3, new=20, mixed=True, seed=0)
    np.testing.assert_allclose(targets, x[..., 0])
    np.testing.assert_array_equal(x, interpolated(PAIR, alpha=0.3, new=20, mixed=False, seed=0).x)


def test_a_negative_alpha_extrapolates():
    x, targets = interpolated(PAIR, alpha=-0.3, new=20, mixed=False, seed=0)
    np.testing.assert_allclose(np.unique(np.round(x, 9)), [-0.3, 0, 1, 1.3])
    np.testing.assert_array_equal(targets, (x[..., 0] > 0.5).astype(float))


def test_pairs_are_uniform_and_independent():
    """Each of the four pairs of two points has probability 1/4; 5 standard errors of 1,000 draws."""
    x, _ = interpolated(PAIR, alpha=0.3, new=20, mixed=False, seed=1)
    shares = [np.isclose(x[:, 2:], value).mean() for value in (0, 0.3, 0.7, 1)]
    np.testing.assert_allclose(shares, 0.25, atol=5 * np.sqrt(0.25 * 0.75 / 1000))


@pytest.mark.parametrize(("alpha", "mixed"), [(-0.1, True), (1.1, False), (-1.1, False)])
def test_an_impossible_alpha_is_refused(alpha, mixed):
    with pytest.raises(UserError, match="alpha must lie in"):
        interpolated(PAIR, alpha=alpha, new=1, mixed=mixed, seed=0)


def test_noise_has_its_deviation_and_stays_within_the_range():
    middle = Samples(np.zeros((100, 100, 1)), np.zeros((100, 100)))
    x, targets = noisy(middle, stddev=0.1, bounds=(-1, 1), seed=0)
    assert x.std() == pytest.approx(0.1, rel=0.04)  # Five standard errors of 10,000 draws.
    assert x.mean() == pytest.approx(0, abs=0.005)
    assert targets is middle.targets
    clipped, _ = noisy(middle, stddev=10.0, bounds=(-1, 0.5), seed=0)
    assert (clipped.min(), clipped.max()) == (-1, 0.5)


def test_adversarial_points_lose_epsilon_of_their_distance():
    """w = (3, 4): a step of 0.5 along (0.6, 0.8), against the class."""
    samples = Samples(np.array([[[1.0, 1.0], [0.0, 0.0]]]), np.array([[1.0, 0.0]]))
    fitted = Fit(np.array([[3.0, 4.0]]), np.array([0.0]), np.array([True]), np.array([False]))
    x, targets = adversarial(samples, fitted, epsilon=0.5)
    np.testing.assert_allclose(x[0], [[1, 1], [0, 0], [0.7, 0.6], [0.3, 0.4]])
    np.testing.assert_array_equal(targets, [[1, 0, 1, 0]])


def test_adversarial_training_of_one_feature_minimizes_the_worst_loss():
    """Half of the margins lose epsilon |w|: no slope or bias nearby has less loss, and a 3rd round changes nothing."""
    x, y = realizations(lambda seed: simulated.logistic(50, slope=2.0, seed=seed), 2, 0)
    samples, objective = Samples(x, y.astype(float)), Objective(weight_decay=0.01)
    found = adversarially_fitted(samples, objective, epsilon=0.3, rounds=2)
    again = adversarially_fitted(samples, objective, epsilon=0.3, rounds=3)
    np.testing.assert_allclose(found.weights, again.weights)

    def loss(w, b, row):
        margins = (2 * y[row] - 1) * (w * x[row, :, 0] + b)
        both = np.concatenate([margins, margins - 0.3 * abs(w)])
        return np.logaddexp(0, -both).mean() + 0.01 * w**2

    for row in range(2):
        w, b = found.weights[row, 0], found.biases[row]
        assert w > 0
        steps = [(0.01, 0), (-0.01, 0), (0, 0.01), (0, -0.01)]
        assert all(loss(w, b, row) < loss(w + dw, b + db, row) for dw, db in steps)


def test_no_round_is_no_adversarial_training():
    plain = fit(*PAIR)
    np.testing.assert_array_equal(adversarially_fitted(PAIR, epsilon=0.3, rounds=0).weights, plain.weights)


def test_a_summary_by_hand():
    found = summary([4.0, np.nan, 1.0, 2.0, 3.0, 10.0])
    assert (found["count"], found["undefined"]) == (6, 1)
    assert found["mean"] == 4
    assert found["variance"] == (9 + 4 + 1 + 0 + 36) / 4
    assert found["standard_error"] == pytest.approx(np.sqrt(12.5 / 5))
    assert (found["median"], found["quartiles"], found["iqr"]) == (3, [2, 4], 2)


@pytest.mark.parametrize("values", [[], [1.0], [np.nan, 1.0, np.nan]])
def test_a_summary_of_hardly_anything_is_empty(values):
    found = summary(values)
    assert found["count"] == len(values)
    assert found["median"] is None
    assert found["iqr"] is None


def test_the_interval_of_the_median_covers_it_in_95_of_100_cases():
    """1,000 samples of 201 exponential numbers; four standard errors are 2.8 points."""
    draws = np.random.default_rng(0).exponential(size=(1000, 201))
    intervals = np.array([summary(row)["median_interval"] for row in draws])
    covered = (intervals[:, 0] <= np.log(2)) & (np.log(2) <= intervals[:, 1])
    assert covered.mean() == pytest.approx(0.95, abs=0.028)


def test_ratios_of_a_doubled_estimate_are_two_and_four():
    base = np.random.default_rng(0).normal(size=50)
    found = spread_ratios(2 * base + 3, base)
    np.testing.assert_allclose(found["variance"], [4, 4, 4])
    np.testing.assert_allclose(found["iqr"], [2, 2, 2])


def test_pairs_with_a_missing_estimate_are_left_out():
    base = np.arange(10.0)
    values = 2 * base
    values[[0, 9]] = np.nan, 1e9
    base[9] = np.nan
    np.testing.assert_allclose(spread_ratios(values, base)["variance"], [4, 4, 4])


def test_the_interval_of_a_ratio_covers_it():
    """Variances 1 and 4, correlated: of 200 samples, at least 90% (the bootstrap is short by a little)."""
    draw = np.random.default_rng(1)
    covered = 0
    for _ in range(200):
        shared, own = draw.normal(size=(2, 150))
        _, low, high = spread_ratios(2 * (0.6 * shared + 0.8 * own), shared, resamples=200)["variance"]
        covered += low <= 4 <= high
    assert covered >= 180


@pytest.mark.parametrize(("values", "base"), [([1.0, 2.0], [1.0, 1.0]), ([1.0], [2.0]), ([np.nan] * 3, [1.0, 2, 3])])
def test_no_ratio_where_there_is_none(values, base):
    assert spread_ratios(values, base) == {"variance": None, "iqr": None}
