"""The samplers against the closed forms of the laws that they claim; "five errors" are five standard errors."""

import numpy as np
import pytest
from scipy.stats import norm
from sklearn.datasets import make_moons

from tfadv.data import simulated
from tfadv.data.simulated import fading, gaussian, logistic, multinomial, robust_and_weak, thresholded, two_moons
from tfadv.validation import UserError

N = 200_000


def sigmoid(z):
    return 1 / (1 + np.exp(-z))


def within_five_errors(values, expected):
    """Whether the mean of `values` [N, ...] is `expected`, given the standard error of that mean."""
    error = values.std(axis=0) / np.sqrt(len(values))
    return (np.abs(values.mean(axis=0) - expected) <= 5 * error + 1e-12).all()


SAMPLERS = {
    "logistic": lambda seed, size=50: logistic(size, seed=seed),
    "thresholded": lambda seed, size=50: thresholded(size, seed=seed),
    "multinomial": lambda seed, size=50: multinomial(size, weights=[[1.0, 0, -1]], biases=[0, 0, 0], seed=seed),
    "gaussian": lambda seed, size=50: gaussian(size, *fading(3), seed=seed),
    "two_moons": lambda seed, size=50: two_moons(size, noise=0.1, seed=seed),
}
every = pytest.mark.parametrize("sample", SAMPLERS.values(), ids=SAMPLERS)


@every
def test_the_sample_depends_on_the_seed_alone(sample):
    first = sample(7)
    np.random.seed(2)  # noqa: NPY002  # the global state is what must not matter
    for ours, again in zip(first, sample(7), strict=True):
        np.testing.assert_array_equal(ours, again)
    assert not np.array_equal(first[0], sample(8)[0])


@every
def test_points_are_float32_vectors_and_labels_int32_in_no_particular_order(sample):
    x, y = sample(0)
    assert (x.dtype, y.dtype) == (np.float32, np.int32)
    assert x.ndim == 2
    assert y.shape == (len(x),)
    assert y.min() == 0
    assert 0 < np.abs(np.diff(y)).sum() < len(y) - 1
    assert (np.diff(y) < 0).any()


@every
@pytest.mark.parametrize("seed", [-1, 2**32, 0.5, True, None])
def test_an_impossible_seed_is_refused(sample, seed):
    with pytest.raises(UserError, match="seed must be a whole number from 0"):
        sample(seed)


@every
@pytest.mark.parametrize("size", [0, -3, 2.5, True])
def test_an_impossible_size_is_refused(sample, size):
    with pytest.raises(UserError, match="size must be a whole number above 0"):
        sample(0, size)


@pytest.mark.parametrize("slope", [1.0, 4.0])
def test_logistic_labels_follow_equation_1(slope):
    """On [0.9, 1] the mean of p is [log(1 + e^(w x)) / w] between the ends, over 0.1."""
    x, y = logistic(N, slope=slope, seed=0)
    x, y = x[:, 0].astype(np.float64), y.astype(np.float64)
    high = np.log1p(np.exp(slope * np.array([0.9, 1.0])))
    assert within_five_errors(y[x > 0], (high[1] - high[0]) / slope / 0.1)
    # The score of the model has mean zero: E(y - p) = E(x (y - p)) = 0.
    residual = y - sigmoid(slope * x)
    assert within_five_errors(np.stack([residual, x * residual], axis=1), 0.0)


def test_logistic_features_are_uniform_on_the_union_of_the_intervals():
    """Lengths 1 and 3: shares 1/4 and 3/4, means 1/2 and 7/2, variances 1/12 and 9/12."""
    x = logistic(N, intervals=[(0, 1), (2, 5)], seed=1)[0][:, 0].astype(np.float64)
    first = x <= 1
    assert within_five_errors(first.astype(float), 0.25)
    assert within_five_errors(np.stack([x[first] - 0.5, (x[first] - 0.5) ** 2], axis=1), [0, 1 / 12])
    assert within_five_errors(np.stack([x[~first] - 3.5, (x[~first] - 3.5) ** 2], axis=1), [0, 9 / 12])


def test_figure_2b_has_its_boundary_inside_the_data_with_the_intercept_read_as_minus_4():
    x, y = logistic(N, slope=8, intercept=-4, intervals=[(0, 1)], seed=0)
    near = np.abs(x[:, 0] - 0.5) < 0.05
    assert within_five_errors(y[near].astype(float), 0.5)
    assert within_five_errors(y.astype(float), 0.5)


def test_a_number_for_each_interval_is_met_exactly():
    x, _ = logistic((200, 100), seed=0)
    assert (x < -0.89).sum() == 200
    assert (x > 0.89).sum() == 100
    assert len(x) == 300


def test_thresholded_labels_follow_from_the_feature_and_ten_points_are_near_one_side():
    sides = []
    for seed in range(400):
        x, y = thresholded(seed=seed)
        assert x.shape == (310, 1)
        np.testing.assert_array_equal(y, x[:, 0] > 0)
        near = x[np.abs(x) < 0.5]
        assert len(near) == 10
        assert len(np.unique(near)) == 1
        sides.append(near[0] > 0)
        assert abs(near[0]) == np.float32(0.1)
    # 400 fair coins: 200 with standard deviation 10.
    assert 150 < sum(sides) < 250


def test_multinomial_labels_follow_the_softmax():
    """The score has mean zero: E((1[y = k] - p_k) (1, x_1, x_2)) = 0 for every class k."""
    weights, biases = np.array([[2.0, 0.0, -1.0], [0.0, 1.5, -0.5]]), np.array([0.1, -0.3, 0.2])
    x, y = multinomial(N, weights=weights, biases=biases, seed=0)
    assert x.shape == (N, 2)
    logits = x @ weights + biases
    p = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    residual = np.eye(3)[y] - p
    assert within_five_errors(residual, 0.0)
    for feature in x.T:
        assert within_five_errors(residual * feature[:, None], 0.0)
    assert abs(np.corrcoef(x.T)[0, 1]) < 5 / np.sqrt(N)


def test_two_classes_of_multinomial_are_logistic():
    x, y = multinomial(N, weights=[[0.0, 4.0]], biases=[0.0, 1.0], seed=0)
    assert within_five_errors(y - sigmoid(4 * x[:, 0].astype(np.float64) + 1), 0.0)


def test_gaussian_features_have_the_stated_moments_and_are_independent_given_the_label():
    """x = (2y - 1) mean + deviation z. A variance of N values has standard error variance sqrt(2 / N)."""
    mean, deviation = np.array([1.0, -0.25, 0.0]), np.array([1.0, 0.5, 2.0])
    x, y = gaussian(N, mean, deviation, seed=0)
    assert within_five_errors(y.astype(float), 0.5)
    folded = np.where(y == 1, 1, -1)[:, None] * x.astype(np.float64)
    assert within_five_errors(folded, mean)
    covariance = np.cov(folded.T)
    np.testing.assert_allclose(np.diag(covariance), deviation**2, rtol=5 * np.sqrt(2 / N))
    correlation = covariance / np.outer(deviation, deviation) - np.diag(np.diag(covariance) / deviation**2)
    assert np.abs(correlation).max() < 5 / np.sqrt(N)


def test_one_deviation_serves_all_features_as_in_example_1_of_avmixup():
    theta = np.full(4, 0.5)
    same, other = (gaussian(20, theta, sigma, seed=3)[0] for sigma in (2.0, np.full(4, 2.0)))
    np.testing.assert_array_equal(same, other)


@pytest.mark.parametrize("epsilon", [0.0, 0.2])
@pytest.mark.parametrize("w", [(1.0, 1.0), (4.0, 1.0)], ids=["bayes", "robust"])
def test_linear_classifiers_have_the_accuracies_of_equations_8_and_9(w, epsilon):
    """LSV: Psi((w'mean - epsilon ||w||_1) / sqrt(sum w_j^2 deviation_j^2)); the worst x' is x - y epsilon sign(w)."""
    w = np.array(w)
    mean, deviation = fading(2)
    x, y = gaussian(N, mean, deviation, seed=0)
    margin = np.where(y == 1, 1, -1) * (x @ w) - epsilon * np.abs(w).sum()
    expected = norm.cdf((w @ mean - epsilon * np.abs(w).sum()) / np.sqrt((w**2) @ deviation**2))
    assert within_five_errors((margin > 0).astype(float), expected)


def test_fading_features_are_those_of_the_paper():
    mean, deviation = fading(4)
    np.testing.assert_allclose(deviation, [1, 0.75, 0.5, 0.25])
    np.testing.assert_allclose(mean, [1, 0.5625, 0.25, 0.0625])
    assert len(fading()[0]) == 10


def test_the_most_robust_weights_of_lemma_1_are_4_to_1_in_figure_3():
    """w_j ~ (|mean_j| - epsilon)+ / deviation_j^2 with mean (1, 1/4), deviation (1, 1/2), epsilon 0.2: 0.8 and 0.2."""
    mean, deviation = fading(2)
    w = np.maximum(np.abs(mean) - 0.2, 0) / deviation**2
    np.testing.assert_allclose(w, [0.8, 0.2])


def test_the_features_of_avmixup_are_one_robust_and_d_weak_ones():
    """Example 2 (true law), then example 3 with c = 2 of d = 4 features that look robust in the sample."""
    mean, deviation = robust_and_weak(4, eta=0.3, sigma_a=0.1, sigma_b=1.0)
    assert mean.tolist() == [1, 0.3, 0.3, 0.3, 0.3]
    assert deviation.tolist() == [0.1, 1, 1, 1, 1]
    mean, deviation = robust_and_weak(4, eta=0.3, sigma_a=0.1, sigma_b=1.0, insufficient=2)
    assert mean.tolist() == [1, 1, 1, 0.3, 0.3]
    assert deviation.tolist() == [0.1, 0.1, 0.1, 1, 1]


def test_moons_are_those_of_scikit_learn():
    for size in (10, 11):
        x, y = two_moons(size, seed=0)
        upper_first, labels = make_moons((size - size // 2, size // 2), shuffle=False)
        expected = {(*point, label) for point, label in zip(upper_first.astype(np.float32), labels, strict=True)}
        assert {(*point, label) for point, label in zip(x, y, strict=True)} == expected


def test_moons_are_half_circles_that_reach_into_each_other():
    x, y = two_moons(1_001, seed=0)
    upper, lower = x[y == 0], x[y == 1]
    assert (len(upper), len(lower)) == (501, 500)
    np.testing.assert_allclose(np.linalg.norm(upper, axis=1), 1, atol=1e-6)
    np.testing.assert_allclose(np.linalg.norm(lower - [1, 0.5], axis=1), 1, atol=1e-6)
    assert upper[:, 1].min() == pytest.approx(0, abs=1e-6)
    assert lower[:, 1].max() == pytest.approx(0.5, abs=1e-6)


def test_moon_noise_is_normal_on_each_coordinate():
    noisy, clean = (two_moons(N, noise=noise, seed=4)[0].astype(np.float64) for noise in (0.3, 0.0))
    e = noisy - clean
    assert within_five_errors(e, 0.0)
    np.testing.assert_allclose(e.std(axis=0), 0.3, rtol=5 / np.sqrt(2 * N))
    assert abs(np.corrcoef(e.T)[0, 1]) < 5 / np.sqrt(N)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: logistic((10, 10, 10), seed=0), "size must be one number, or one for each of the 2 intervals"),
        (lambda: logistic((10, 0), seed=0), "size must be a whole number above 0"),
        (lambda: logistic(5, intervals=[(1, 0)], seed=0), r"intervals must be pairs \(low, high\)"),
        (lambda: logistic(5, intervals=[0, 1], seed=0), r"intervals must be pairs \(low, high\)"),
        (lambda: thresholded(near=-1, seed=0), "near must be at least 0"),
        (lambda: thresholded(distance=0, seed=0), "distance above 0"),
        (lambda: multinomial(5, weights=[1.0], biases=[1.0], seed=0), r"weights must have the shape \[features, cl"),
        (lambda: multinomial(5, weights=[[1.0, 2.0]], biases=[1.0], seed=0), "weights must have the shape"),
        (lambda: gaussian(5, [[1.0]], 1.0, seed=0), r"mean must have the shape \[d\]"),
        (lambda: gaussian(5, [1.0, 2.0], [1.0], seed=0), "deviation the same or none"),
        (lambda: gaussian(5, [1.0], -1.0, seed=0), "deviation also >= 0"),
        (lambda: gaussian(5, [np.nan], 1.0, seed=0), "mean must be finite"),
        (lambda: fading(0), "features must be a whole number above 0"),
        (lambda: robust_and_weak(3, eta=1.0, sigma_a=0.1, sigma_b=1.0), r"eta must lie in \[0, 1\)"),
        (lambda: robust_and_weak(3, eta=0.5, sigma_a=1.0, sigma_b=1.0), "0 < sigma_a < sigma_b"),
        (lambda: robust_and_weak(3, eta=0.5, sigma_a=0.1, sigma_b=1.0, insufficient=3), "from 0 to 2, below weak"),
        (lambda: two_moons(5, noise=-0.1, seed=0), "noise must be a finite number >= 0"),
    ],
)
def test_impossible_arguments_are_refused_by_name(call, message):
    with pytest.raises(UserError, match=message):
        call()


def test_the_default_features_are_those_of_figure_2():
    assert simulated.OUTER == ((-1.0, -0.9), (0.9, 1.0))
