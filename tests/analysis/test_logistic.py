"""Exact minimizers: closed forms of two-point samples, SciPy's minimizers, and samples that have no minimum."""

import numpy as np
import pytest
from scipy.optimize import minimize

from tfadv.analysis import logistic
from tfadv.analysis.logistic import Objective, fit, loss_derivatives, separable, sigmoid
from tfadv.data import simulated
from tfadv.validation import UserError

# Eight points at each of -1 and 1, of which 1 and 7 have the label 1: p = 7/8 at x = 1.
TWO_POINTS = np.repeat([-1.0, 1.0], 8)[None, :, None]
LABELS = (np.arange(16) % 8 < np.repeat([1, 7], 8)).astype(float)[None]
OBJECTIVES = [Objective(), Objective(label_smoothing=0.1), Objective(logit_squeezing=0.1), Objective(weight_decay=0.01)]


def logit(p):
    return np.log(p / (1 - p))


def samples(count, size=60, **law):
    drawn = [simulated.logistic(size, seed=seed, **law) for seed in range(count)]
    return np.stack([x for x, _ in drawn]), np.stack([y for _, y in drawn])


def exact_loss(parameters, x, targets, objective):
    """The objective of one sample with one logit, written down as in the paper, |f| unsmoothed."""
    z = x @ parameters[:-1] + parameters[-1]
    t = (1 - objective.label_smoothing) * targets + objective.label_smoothing * (1 - targets)
    loss = np.mean(t * np.logaddexp(0, -z) + (1 - t) * np.logaddexp(0, z))
    loss += objective.logit_squeezing * np.abs(z).mean()
    return loss + objective.weight_decay * np.square(parameters[:-1]).sum()


@pytest.mark.parametrize(
    ("objective", "p"),
    [
        (Objective(), 7 / 8),
        (Objective(label_smoothing=0.1), 0.8 * 7 / 8 + 0.1),  # The targets' mean.
        (Objective(logit_squeezing=0.1), 7 / 8 - 0.1),  # p^ - p + lambda = 0 where f > 0.
    ],
    ids=repr,
)
def test_two_points_are_fitted_exactly(objective, p):
    found = fit(TWO_POINTS, LABELS, objective)
    assert found.weights[0, 0] == pytest.approx(logit(p), rel=1e-5)
    assert found.biases[0] == pytest.approx(0, abs=1e-9)
    assert found.converged.all()
    assert not found.limited.any()


def test_weight_decay_balances_the_two_points_by_twice_its_coefficient():
    """The derivative of the loss by w is p^ - p + 2 lambda w at x = 1, and the same at -1."""
    w = fit(TWO_POINTS, LABELS, Objective(weight_decay=0.05)).weights[0, 0]
    assert sigmoid(w) - 7 / 8 + 2 * 0.05 * w == pytest.approx(0, abs=1e-10)


def test_weight_decay_leaves_the_intercept_alone():
    """All of it on w: without any slope, the share of ones alone is fitted."""
    labels = np.array([[1.0, 1, 1, 0]])
    found = fit(np.array([-1.0, 1, -1, 1]).reshape(1, 4, 1), labels, Objective(weight_decay=1e9))
    assert found.weights[0, 0] == pytest.approx(0, abs=1e-8)
    assert found.biases[0] == pytest.approx(logit(3 / 4))


def test_squeezing_that_outweighs_the_labels_leaves_no_boundary():
    """|f| has slope lambda = 0.4 > p - 1/2 = 3/8 at 0."""
    found = fit(TWO_POINTS, LABELS, Objective(logit_squeezing=0.4))
    assert abs(found.weights[0, 0]) < 0.01
    assert np.isnan(found.boundaries()).all()


@pytest.mark.parametrize("objective", OBJECTIVES, ids=repr)
@pytest.mark.parametrize("law", [{"slope": 2.0}, {"slope": 4.0, "intercept": -2.0, "intervals": [(0, 1)]}])
def test_no_other_minimizer_finds_less(objective, law):
    """Nelder and Mead need no derivative, and so do not mind the kink of |f|, which is smoothed by 0.001 at most."""
    x, y = samples(3, **law)
    found = fit(x, y, objective)
    for row in range(3):
        ours = np.append(found.weights[row], found.biases[row])
        other = minimize(
            exact_loss, ours + 0.1, (x[row], y[row], objective), method="Nelder-Mead", options={"fatol": 1e-12}
        )
        assert exact_loss(ours, x[row], y[row], objective) <= other.fun + 1e-3 * objective.logit_squeezing + 1e-10
        np.testing.assert_allclose(ours, other.x, atol=0.02 if objective.logit_squeezing else 2e-4)


@pytest.mark.parametrize("objective", OBJECTIVES, ids=repr)
def test_three_classes_agree_with_scipy(objective):
    x, y = simulated.multinomial(90, weights=[[1.0, -0.5, -0.5], [-0.5, 1.0, -0.5]], biases=[0.3, 0, 0], seed=1)
    targets = np.eye(3)[y]
    delta = objective.label_smoothing
    soft = (1 - delta) * targets + delta / 2 * (1 - targets)

    def loss(flat):
        theta = flat.reshape(3, 3)
        f = x @ theta[:2] + theta[2]
        value = np.mean(np.log(np.exp(f).sum(axis=1)) - (soft * f).sum(axis=1))
        value += objective.logit_squeezing * np.sqrt(np.square(f).sum(axis=1) + 1e-6).mean()
        return value + objective.weight_decay * np.square(theta[:2]).sum()

    found = fit(x[None], targets[None], objective)
    ours = np.concatenate([found.weights[0], found.biases[:1]])
    np.testing.assert_allclose(ours.sum(axis=1), 0, atol=1e-9)
    other = minimize(loss, np.zeros(9), method="BFGS", options={"gtol": 1e-7})
    theirs = other.x.reshape(3, 3)
    np.testing.assert_allclose(ours, theirs - theirs.mean(axis=1, keepdims=True), atol=2e-4)
    assert loss(ours.reshape(-1)) <= other.fun + 1e-9


def test_two_logits_are_one_logit():
    x, y = samples(4, slope=2.0)
    one, two = fit(x, y), fit(x, np.eye(2)[y])
    np.testing.assert_allclose(two.weights[..., 1] - two.weights[..., 0], one.weights, rtol=1e-6)
    np.testing.assert_allclose(two.biases[:, 1] - two.biases[:, 0], one.biases, atol=1e-6)


@pytest.mark.parametrize("objective", OBJECTIVES, ids=repr)
def test_a_sample_is_fitted_the_same_in_any_company(objective):
    x, y = samples(5)
    together, alone = fit(x, y, objective), fit(x[3:4], y[3:4], objective)
    np.testing.assert_allclose(together.weights[3:4], alone.weights, atol=1e-9)
    np.testing.assert_allclose(together.biases[3:4], alone.biases, atol=1e-9)


@pytest.mark.parametrize("objective", OBJECTIVES, ids=repr)
def test_the_mirrored_sample_has_the_mirrored_boundary(objective):
    """x -> -x and y -> 1 - y: what makes the estimates of theorem 4.2 unbiased."""
    x, y = samples(20)
    straight, mirrored = fit(x, y, objective), fit(-x, 1 - y, objective)
    np.testing.assert_allclose(mirrored.weights, straight.weights, atol=1e-6)
    np.testing.assert_allclose(mirrored.boundaries(), -straight.boundaries(), atol=1e-6)


def test_a_separable_sample_ends_at_the_limit_with_the_bias_that_is_best_there():
    x = np.array([-1.0, -0.9, 0.1, 0.95]).reshape(1, 4, 1)
    y = np.array([[0.0, 0, 1, 1]])
    found = fit(x, y)
    assert found.limited.all()
    assert found.converged.all()
    assert found.weights[0, 0] == 50
    biases = np.linspace(0, 50, 50_001)
    z = 50 * x[0, :, 0][:, None] + biases
    loss = np.logaddexp(0, np.where(y[0][:, None] == 1, -z, z)).mean(axis=0)
    assert found.biases[0] == pytest.approx(biases[loss.argmin()], abs=2e-3)
    # Far from the limit's scale, that is the middle of the gap.
    assert found.boundaries()[0] == pytest.approx(-0.4, abs=0.01)


def test_the_limit_holds_on_either_side():
    found = fit(np.array([-1.0, 1.0]).reshape(1, 2, 1), [[1.0, 0.0]], limit=3.0)
    assert found.weights[0, 0] == -3


def test_what_does_not_arrive_says_so():
    x, y = samples(3)
    assert not fit(x, y, iterations=1).converged.any()


@pytest.mark.parametrize("outputs", [1, 3])
def test_slope_and_curvature_are_the_derivatives_of_the_loss(outputs):
    draw = np.random.default_rng(0)
    logits = draw.normal(size=(1, 1, outputs))
    targets = np.array([0.3]) if outputs == 1 else np.array([0.2, 0.5, 0.3])

    def loss(z):
        f = np.concatenate([[0.0], z]) if outputs == 1 else z
        t = np.array([0.7, 0.3]) if outputs == 1 else targets
        return np.log(np.exp(f).sum()) - t @ f + 0.2 * np.sqrt(z @ z + 0.1**2)

    found = loss_derivatives(logits, targets[None, None], 0.2, 0.1)
    steps = 1e-4 * np.eye(outputs)
    z = logits[0, 0]
    np.testing.assert_allclose(found.slope[0, 0], [(loss(z + s) - loss(z - s)) / 2e-4 for s in steps], atol=1e-7)
    second = [
        [(loss(z + s + t) - loss(z + s - t) - loss(z - s + t) + loss(z - s - t)) / 4e-8 for t in steps] for s in steps
    ]
    np.testing.assert_allclose(found.curvature[0, 0], second, atol=1e-6)


def test_the_slope_of_a_point_that_is_certain_is_not_rounded_away():
    one = loss_derivatives(np.full((1, 1, 1), 45.0), np.ones((1, 1, 1)), 0.0, 0.0)
    assert one.slope[0, 0, 0] == pytest.approx(-np.exp(-45), rel=1e-6)
    two = loss_derivatives(np.array([[[45.0, 0.0]]]), np.array([[[1.0, 0.0]]]), 0.0, 0.0)
    np.testing.assert_allclose(two.slope[0, 0], [-np.exp(-45), np.exp(-45)], rtol=1e-6)


@pytest.mark.parametrize(
    ("x", "y", "expected"),
    [
        ([-2, -1, 1, 2], [0, 0, 1, 1], True),
        ([-2, -1, 1, 2], [1, 1, 0, 0], True),
        ([-2, -1, 1, 2], [0, 1, 0, 1], False),
        ([-2, -1, -1, 2], [0, 0, 1, 1], True),  # Quasi-complete: both classes at -1 and no overlap.
        ([-2, -1, 1, 2], [1, 1, 1, 1], True),  # One class alone: the bias runs away.
    ],
)
def test_a_threshold_separates_and_so_does_the_linear_program(x, y, expected):
    x, y = np.array(x, float).reshape(1, -1, 1), np.array([y])
    assert separable(x, y)[0] == expected
    # A second feature that is constant changes nothing, but takes the other way.
    assert separable(np.concatenate([x, np.zeros_like(x)], axis=2), y)[0] == expected


def test_both_ways_agree_on_random_samples():
    x, y = samples(60, size=12, slope=4.0)
    twice = np.concatenate([x, x], axis=2)
    expected = separable(x, y)
    assert 0 < expected.sum() < 60
    np.testing.assert_array_equal(separable(twice, y), expected)


def test_the_share_of_separable_samples_is_that_of_samples_without_an_error():
    """w = 6: P(no error in 300) = (1 - E[min(p, 1 - p)])^300 = 0.364; 400 samples, five standard errors."""
    x, y = samples(400, size=300, slope=6.0)
    grid = np.linspace(0.9, 1.0, 1001)
    expected = (1 - (1 / (1 + np.exp(6 * grid))).mean()) ** 300
    assert expected == pytest.approx(0.364, abs=0.005)
    assert separable(x, y).mean() == pytest.approx(expected, abs=5 * np.sqrt(expected * (1 - expected) / 400))


def test_a_class_that_one_side_has_alone_is_separable_among_three():
    """Classes 0 and 1 are mixed everywhere on the left; class 2 has the right for itself."""
    x = np.array([[-1.0, 0], [-1, 1], [-1, 0], [-1, 1], [1, 0], [1, 1]])[None]
    assert separable(x, np.array([[0, 0, 1, 1, 2, 2]]))[0]
    assert not separable(x[:, [0, 1, 2, 3, 0, 1]], np.array([[0, 0, 1, 1, 2, 2]]))[0]


def test_probabilities_run_over_the_grid():
    found = logistic.Fit(np.array([[2.0]]), np.array([-1.0]), np.array([True]), np.array([False]))
    np.testing.assert_allclose(found.probabilities([0.5, 1.0]), [[0.5, 1 / (1 + np.exp(-1))]])
    assert found.boundaries()[0] == 0.5


def test_sigmoid_does_not_overflow():
    with np.errstate(all="raise", under="ignore"):
        np.testing.assert_allclose(sigmoid(np.array([-800.0, 0, 800])), [0, 0.5, 1])


@pytest.mark.parametrize("wrong", [{"label_smoothing": 1.0}, {"logit_squeezing": -0.1}, {"weight_decay": np.nan}])
def test_an_impossible_coefficient_is_refused(wrong):
    with pytest.raises(UserError, match=f"{next(iter(wrong))} must be"):
        Objective(**wrong)


@pytest.mark.parametrize(
    ("x", "targets", "message"),
    [
        (np.zeros((4, 1)), np.zeros((4, 1)), "x must be"),
        (np.zeros((1, 4, 1)), np.zeros((1, 3)), "x must be"),
        (np.zeros((1, 4, 1)), np.full((1, 4), -1.0), "labels -1 and 1 become 0 and 1"),
        (np.zeros((1, 4, 1)), np.ones((1, 4, 1)), "2 classes or more"),
        (np.zeros((1, 4, 1)), np.ones((1, 4, 2)), "one-hot"),
        (np.full((1, 4, 1), np.inf), np.zeros((1, 4)), "x must be finite"),
    ],
)
def test_unusable_samples_are_refused(x, targets, message):
    with pytest.raises(UserError, match=message):
        fit(x, targets)


def test_separable_refuses_shapes_that_do_not_agree():
    with pytest.raises(UserError, match="got"):
        separable(np.zeros((2, 3)), np.zeros((2, 3), int))
