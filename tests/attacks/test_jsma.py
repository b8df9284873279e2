"""The saliency map attack: pairs by hand and against all pairs, when it ends, the rates that tables print, refusals."""

import dataclasses
import functools
import itertools

import numpy as np
import pytest
import tensorflow as tf

from tfadv.attacks import search
from tfadv.attacks.jsma import Jsma, best_pair, every_target, jsma, perturbed_rate, summarize
from tfadv.validation import UserError

# Four features, three classes. For target 1 a change raises its logit by (1, 0.5, 2, -1) and lowers the sum of the
# others by (2, 3, -2, 4). Of the pairs, {0, 1} has 1.5 x 5 = 7.5, {1, 2} 2.5 x 1 = 2.5, {2, 3} 1 x 2 = 2, and the
# others have a sum that is not positive. Of the single features, 0 has 1 x 2 = 2 and 1 has 0.5 x 3 = 1.5.
WEIGHTS = np.array([[0.0, 1.0, -2.0], [-3.0, 0.5, 0.0], [0.0, 2.0, 2.0], [0.0, -1.0, -4.0]], np.float32)
LOGITS = Jsma(outputs="logits", gamma=0.5)


@functools.cache
def linear(first=50.0, sign=1.0):
    """Logits sign x @ WEIGHTS, and class 0 that much ahead."""
    return lambda x: sign * x @ WEIGHTS + [first, 0.0, 0.0]


@functools.cache
def compiled(config, model, shape, jit):
    spec = [tf.TensorSpec([None, *shape]), tf.TensorSpec([None], tf.int32), tf.TensorSpec([None, *shape])]
    attack = functools.partial(jsma, model, config=config)
    return tf.function(attack, input_signature=spec, autograph=False, jit_compile=jit)


def run(config, model, x, y=1, start=None, jit=False):
    x = np.float32(x)
    y = np.broadcast_to(np.int32(y), [len(x)])
    return compiled(config, model, x.shape[1:], jit)(x, y, x if start is None else np.float32(start)).numpy()


class TestBestPair:
    """Only the staircase of features that none exceeds in both gain and drop is tried."""

    @pytest.mark.parametrize("correlation", [-1.0, -0.8, 0.0, 1.0])
    @pytest.mark.parametrize("rounded", [False, True], ids=["distinct", "ties"])
    def test_it_is_the_best_of_all_pairs(self, correlation, rounded):
        """-1 puts every feature on the staircase, 1 a single one; the shift by 1 makes pairs of the former salient."""
        random = np.random.default_rng(0)
        gain, other = random.normal(size=(2, 40, 9)).astype(np.float32)
        drop = np.float32(correlation * gain + np.sqrt(1 - correlation**2) * other + 1)
        if rounded:
            gain, drop = np.round(gain), np.round(drop)
        free = random.random((40, 9)) < np.linspace(0.1, 1.0, 40)[:, None]
        best = np.zeros(40, np.float32)
        for i, j in itertools.combinations(range(9), 2):
            alpha, beta = gain[:, i] + gain[:, j], drop[:, i] + drop[:, j]
            allowed = free[:, i] & free[:, j] & (alpha > 0) & (beta > 0)
            best = np.maximum(best, np.where(allowed, alpha * beta, 0))
        first, second, saliency = (v.numpy() for v in best_pair(*map(tf.constant, (gain, drop, free))))
        np.testing.assert_array_equal(saliency, best)
        found, rows = best > 0, np.arange(40)
        assert 0 < found.sum() < 40
        alpha, beta = gain[rows, first] + gain[rows, second], drop[rows, first] + drop[rows, second]
        np.testing.assert_array_equal((alpha * beta)[found], best[found])
        assert (free[rows, first] & free[rows, second] & (first != second))[found].all()

    def test_an_example_whose_staircase_is_short_waits_for_the_others(self):
        """The first example is done after one step, the second after two."""
        gain, drop = tf.constant([[2.0, 1, 0], [2, 1, 0]]), tf.constant([[2.0, 1, 0], [1, 2, 0]])
        first, second, saliency = best_pair(gain, drop, tf.ones([2, 3], tf.bool))
        assert [set(pair) for pair in zip(first.numpy(), second.numpy(), strict=True)] == [{0, 1}, {0, 1}]
        assert saliency.numpy().tolist() == [9.0, 9.0]


class TestOneChange:
    """gamma 0.5 of four features is one pair; the target stays out of reach."""

    def test_the_most_salient_pair_is_raised_to_the_top(self):
        np.testing.assert_array_equal(run(LOGITS, linear(), [[0.0, 0.3, 0.3, 0.3]]), np.float32([[1, 1, 0.3, 0.3]]))

    def test_a_negative_theta_lowers_the_pair_of_opposite_gradients(self):
        config = dataclasses.replace(LOGITS, theta=-1.0)
        got = run(config, linear(sign=-1.0), [[1.0, 0.3, 0.3, 0.3]])
        np.testing.assert_array_equal(got, np.float32([[0, 0, 0.3, 0.3]]))

    def test_probabilities_choose_the_steepest_target(self):
        """Class 0 has all probability: grad log p_1 = column 1 - column 0 = (1, 3.5, 2, -1); p_1 itself is 0."""
        got = run(Jsma(gamma=0.5), linear(first=200.0), [[0.0, 0.0, 0.0, 0.0]])
        np.testing.assert_array_equal(got, [[0, 1, 1, 0]])

    def test_a_feature_at_its_bound_is_left_alone(self):
        """Without feature 0 the best pair is {1, 2}; the first of the others at its bound changes nothing."""
        got = run(LOGITS, linear(), [[1.0, 0.0, 0.0, 0.0], [0.0, 0.0, 1.0, 0.0]])
        np.testing.assert_array_equal(got, [[1, 1, 1, 0], [1, 1, 1, 0]])

    def test_single_features(self):
        """0.25 of four features is one; 0 is the best."""
        got = run(dataclasses.replace(LOGITS, gamma=0.25, pairs=False), linear(), [[0.0, 0.0, 0.0, 0.0]])
        np.testing.assert_array_equal(got, [[1, 0, 0, 0]])

    def test_theta_and_bounds_are_in_input_units(self):
        config = dataclasses.replace(LOGITS, theta=1.5, bounds=(-1.0, 2.0))
        got = run(config, linear(), [[-1.0, 1.0, 0.0, 0.0]])
        np.testing.assert_array_equal(got, np.float32([[0.5, 2.0, 0.0, 0.0]]))

    def test_the_changes_begin_at_the_start(self):
        got = run(LOGITS, linear(), [[0.0] * 4], start=[[1.0, 0.0, 0.0, 0.5]])
        np.testing.assert_array_equal(got, np.float32([[1, 1, 1, 0.5]]))


class TestEnd:
    """The pair {0, 1} brings class 1 from 2.5 behind class 0 to 2 ahead: its logit goes to 1.5, the other to -0.5."""

    def test_the_first_success_is_returned(self):
        """With all features allowed a second pair, {2, 3}, would follow."""
        got = run(dataclasses.replace(LOGITS, gamma=1.0), linear(first=2.5), [[0.0] * 4])
        np.testing.assert_array_equal(got, [[1, 1, 0, 0]])

    def test_all_changes_are_returned_without_a_success(self):
        got = run(dataclasses.replace(LOGITS, gamma=1.0), linear(), [[0.0] * 4])
        np.testing.assert_array_equal(got, [[1, 1, 1, 1]])

    def test_what_has_the_target_already_is_left_alone(self):
        np.testing.assert_array_equal(run(LOGITS, linear(), [[0.2] * 4], y=0), np.float32([[0.2] * 4]))

    def test_without_a_salient_pair_nothing_changes(self):
        """Only features 0 and 3 are free, and their gains cancel."""
        got = run(dataclasses.replace(LOGITS, gamma=1.0), linear(), [[0.0, 1.0, 1.0, 0.0]])
        np.testing.assert_array_equal(got, [[0, 1, 1, 0]])

    def test_a_share_below_one_pair_changes_nothing(self):
        got = run(dataclasses.replace(LOGITS, gamma=0.49), linear(), [[0.0] * 4])
        np.testing.assert_array_equal(got, [[0, 0, 0, 0]])

    def test_half_a_theta_changes_a_feature_twice_and_each_change_counts(self):
        config = dataclasses.replace(LOGITS, theta=0.5, gamma=0.5)
        np.testing.assert_array_equal(run(config, linear(), [[0.0] * 4]), [[0.5, 0.5, 0, 0]])
        twice = run(dataclasses.replace(config, gamma=1.0), linear(), [[0.0] * 4])
        np.testing.assert_array_equal(twice, [[1, 1, 0, 0]])

    def test_the_search_is_over_as_soon_as_the_last_change_is_made(self):
        x, y = tf.zeros([2, 4]), tf.constant([1, 0])
        problem = search.problem_of(LOGITS, x, y)
        state = LOGITS.begin(linear(), problem, x)
        state = search.advance(LOGITS, linear(), problem, state, tf.constant([1, 1]))
        assert state.taken.numpy().tolist() == [LOGITS.moves] * 2

    @pytest.mark.parametrize(
        ("gamma", "features", "pairs", "changes"),
        [(0.145, 784, True, 56), (0.05, 3072, True, 76), (0.05, 3072, False, 153), (0.57, 100, False, 57)],
    )
    def test_gamma_is_a_share_of_the_features(self, gamma, features, pairs, changes):
        """0.145 x 784 / 2 = 56.84, 0.05 x 3072 / 2 = 76.8, 0.05 x 3072 = 153.6, 0.57 x 100 = 57."""
        assert Jsma(gamma=gamma, pairs=pairs).changes(features) == changes


def layered(x):
    """A small network whose gradients change with the input."""
    random = np.random.default_rng(0)
    inner, outer = random.normal(size=(6, 8)).astype(np.float32), random.normal(size=(8, 3)).astype(np.float32)
    return tf.nn.relu(tf.reshape(x, [-1, 6]) @ inner) @ outer


@pytest.mark.parametrize("outputs", ["probabilities", "logits"])
def test_examples_do_not_see_each_other_nor_how_they_are_compiled(outputs):
    config = Jsma(gamma=0.7, outputs=outputs)
    x = np.random.default_rng(1).random((6, 6), np.float32)
    y = np.arange(6) % 3
    together = run(config, layered, x, y)
    assert len(np.unique(perturbed_rate(x, together))) > 1
    for row in range(6):
        np.testing.assert_array_equal(run(config, layered, x[row : row + 1], y[row])[0], together[row])
    np.testing.assert_array_equal(run(config, layered, x, y, jit=True), together)


def test_inputs_of_any_rank_are_the_same_attack():
    x = np.random.default_rng(1).random((6, 6), np.float32)
    got = run(Jsma(gamma=0.7), layered, x.reshape(6, 1, 2, 3), np.arange(6) % 3)
    np.testing.assert_array_equal(got.reshape(6, 6), run(Jsma(gamma=0.7), layered, x, np.arange(6) % 3))


def test_two_classes():
    """Probabilities: the difference of the columns is (3, 0, 1, 0). Logits: gains of {0, 2} are 2, drops 2."""

    def model(x):
        return x @ tf.constant([[-2.0, 1.0], [0.5, 0.5], [0.0, 1.0], [0.0, 0.0]]) + [9.0, 0.0]

    for outputs in ("probabilities", "logits"):
        got = run(dataclasses.replace(LOGITS, outputs=outputs), model, [[0.0] * 4])
        np.testing.assert_array_equal(got, [[1, 0, 1, 0]])


def test_a_model_that_gives_no_numbers_ends_the_search():
    """After the first pair the logits are NaN."""

    def model(x):
        return linear()(x) * tf.where(x[:, :1] < 0.5, 1.0, np.nan)

    got = run(dataclasses.replace(LOGITS, gamma=1.0), model, [[0.0] * 4])
    np.testing.assert_array_equal(got, [[1, 1, 0, 0]])


class TestRates:
    """Two images of three classes, each attacked on its two other classes."""

    def test_every_target_is_every_class_but_the_own(self):
        x, y, targets = every_target([[0.1], [0.2]], [0, 1], 3)
        assert x.tolist() == [[0.1], [0.1], [0.2], [0.2]]
        assert y.tolist() == [0, 0, 1, 1]
        assert targets.tolist() == [1, 2, 0, 2]

    def test_perturbed_rate_counts_the_features_that_differ(self):
        x = np.zeros([2, 2, 2, 1], np.float32)
        x_adv = x.copy()
        x_adv[0, 0, 0], x_adv[1, 0] = 1e-7, 1.0
        assert perturbed_rate(x, x_adv).tolist() == [0.25, 0.5]

    def test_the_printed_rates_are_means_over_all_classes_with_0_for_the_true_one(self):
        """Over the table of 2 images x 3 classes: (0.1 + 0.2 + 0.3 + 0.4) / 6, and of the successes (0.1 + 0.3) / 6."""
        summary = summarize([0.1, 0.2, 0.3, 0.4], [True, False, True, False], classes=3)
        assert summary == pytest.approx((0.5, 0.25, 0.2, 1.0 / 6, 0.4 / 6))

    def test_without_a_success_their_mean_is_not_a_number(self):
        summary = summarize([0.1, 0.2], [False, False], classes=3)
        assert np.isnan(summary.perturbed_rate_of_successes)
        assert summary.printed_rate_of_successes == 0.0

    @pytest.mark.parametrize(("rate", "success"), [([0.1], [True, False]), ([], []), ([[0.1]], [[True]])])
    def test_a_rate_for_each_attack_is_asked_for(self, rate, success):
        with pytest.raises(UserError, match="one value for each attack, at least one, got shapes"):
            summarize(rate, success, classes=3)


@pytest.mark.parametrize("outputs", ["probabilities", "logits"])
def test_a_model_without_a_gradient_is_refused_with_the_remedy(outputs):
    with pytest.raises(UserError, match=r"no gradient with respect to its input .*by transfer"):
        run(Jsma(outputs=outputs), lambda x: linear()(tf.round(x)), [[0.5] * 4])


REFUSED = {
    "theta": ({"theta": 0.0}, "theta must be a finite number other than 0, got 0.0"),
    "endless theta": ({"theta": float("nan")}, "theta must be a finite number other than 0, got nan"),
    "gamma": ({"gamma": 0.0}, "gamma must be a share of the features, above 0 and at most 1, got 0.0"),
    "percent": ({"gamma": 5}, "gamma must be a share .* got 5; write 0.05 for 5%"),
    "outputs": ({"outputs": "softmax"}, r"outputs must be one of \['logits', 'probabilities'\], got 'softmax'"),
}


@pytest.mark.parametrize(("fields", "message"), REFUSED.values(), ids=REFUSED)
def test_settings_that_mean_nothing_are_refused(fields, message):
    with pytest.raises(UserError, match=message):
        Jsma(**fields)


def test_gradients_are_counted_as_they_are_computed():
    assert Jsma(outputs="logits").gradients_per_move == 2
    assert Jsma().gradients_per_move == 1
