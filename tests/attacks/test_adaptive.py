"""Adaptive attacks: the caller's loss is ascended, the model judges; features and their targets; means over draws."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from tfadv.attacks import compiled, search
from tfadv.attacks.adaptive import (
    Adaptive,
    FeatureAttack,
    adaptive,
    expectation,
    feature_attack,
    feature_loss,
    feature_targets,
)
from tfadv.attacks.pgd import Pgd, pgd
from tfadv.objectives import cross_entropy
from tfadv.validation import UserError

SLOPE = tf.constant([1.0, -2.0, 3.0, -0.5])


def never(x):
    """Logits of label 0 stay ahead."""
    return tf.stack([2.0 + 0 * x[:, 0], 0 * x[:, 0]], axis=1)


def along(x_adv, x, y):
    return tf.linalg.matvec(x_adv, SLOPE)


def quantized(x):
    """Class 1 where b > a, as two steps: its gradient is 0 everywhere."""
    first = tf.cast(x[:, :1] >= x[:, 1:], tf.float32)
    return tf.concat([first, 1 - first], axis=1) + 0 * x


def run(function, model, x, config, y=None, start=None):
    x = tf.constant(x, tf.float32)
    y = tf.zeros([len(x)], tf.int32) if y is None else tf.constant(y, tf.int32)
    return function(model, x, y, start, config=config).numpy()


class TestAdaptive:
    def test_the_callers_loss_is_ascended_and_not_the_objective(self):
        """Two steps of 0.06 along the signs of the slope, cut to 0.1."""
        config = Adaptive(epsilon=0.1, step_size=0.06, steps=2, random_start=False, keep="last", loss=along)
        x_adv = run(adaptive, never, [[0.5] * 4], config)
        np.testing.assert_allclose(x_adv, [[0.6, 0.4, 0.6, 0.4]], atol=1e-6)

    def test_the_loss_sees_input_and_label(self):
        """Label 0 is driven away from x, label 1 stays at it: from 0.1 off, by 0.05."""

        def away(x_adv, x, y):
            sign = 1.0 - 2.0 * tf.cast(y, tf.float32)
            return sign * tf.reduce_sum(tf.square(x_adv - x), axis=1)

        config = Adaptive(epsilon=0.3, step_size=0.05, steps=1, keep="last", loss=away)
        x_adv = run(adaptive, never, [[0.5], [0.5]], config, y=[0, 1], start=tf.constant([[0.6], [0.6]]))
        np.testing.assert_allclose(x_adv, [[0.65], [0.55]], atol=1e-6)

    def test_success_is_judged_by_the_model(self):
        """The loss climbs past the ridge at 0.6, where alone the model errs; best keeps the success, last loses it."""

        def ridge(v):
            return tf.concat([tf.zeros_like(v), 0.03 - tf.abs(v - 0.6)], axis=1)

        for keep, expected in (("best", 0.6), ("last", 0.8)):
            config = Adaptive(
                epsilon=0.5, step_size=0.1, steps=3, random_start=False, keep=keep, loss=lambda a, x, y: a[:, 0]
            )
            assert run(adaptive, ridge, [[0.5]], config)[0, 0] == pytest.approx(expected)

    def test_with_the_models_own_loss_it_is_pgd(self):
        weights = tf.constant(np.random.default_rng(0).normal(size=(4, 3)), tf.float32)
        x, y = np.random.default_rng(1).random([5, 4], np.float32), np.arange(5, dtype=np.int32) % 3

        def model(v):
            return tf.tanh(v) @ weights

        settings = {"epsilon": 0.1, "step_size": 0.04, "steps": 3, "random_start": False}
        config = Adaptive(**settings, loss=lambda x_adv, x, y: cross_entropy(y, model(x_adv)))
        np.testing.assert_array_equal(run(adaptive, model, x, config, y), run(pgd, model, x, Pgd(**settings), y, x))
        attack = compiled(model, config, jit="on", precision="auto")
        np.testing.assert_allclose(attack.run(x, y).x_adv, run(adaptive, model, x, config, y), atol=1e-6)
        assert attack.precision == "float32"

    @pytest.mark.parametrize(
        ("loss", "message"),
        [
            (None, r"loss must be a function \(x_adv, x, y\) -> one value for each example, got None"),
            (lambda a, x, y: tf.reduce_mean(a), r"shape \[B\], got shape \(\); do not average over the batch"),
            (lambda a, x, y: a, r"shape \[B\], got shape \(1, 4\)"),
            (lambda a, x, y: x[:, 0], "loss has no gradient with respect to x_adv"),
        ],
        ids=["none", "averaged", "not reduced", "of x"],
    )
    def test_a_loss_that_cannot_be_ascended_is_refused(self, loss, message):
        with pytest.raises(UserError, match=message):
            run(adaptive, never, [[0.5] * 4], Adaptive(loss=loss))


class TestFeatureLoss:
    def test_it_is_one_minus_the_cosine(self):
        loss = feature_loss(lambda v: 2 * v)
        x, x_adv = tf.constant([[1.0, 0.0]] * 4), tf.constant([[1.0, 0.0], [0.0, 3.0], [1.0, 1.0], [-1.0, 0.0]])
        np.testing.assert_allclose(loss(x_adv, x, None), [0, 1, 1 - 2**-0.5, 2], atol=1e-6)

    def test_features_of_any_shape_and_of_length_0(self):
        loss = feature_loss(lambda v: tf.reshape(v, [-1, 2, 2]))
        assert loss(tf.zeros([1, 4]), tf.ones([1, 4]), None).numpy().tolist() == [1.0]

    def test_it_leaves_the_clean_input_by_a_random_start(self):
        """Label 0 is b <= a. The angle only grows away from where the start happens to lie: half of them get over."""
        config = Adaptive(epsilon=0.2, step_size=0.05, restarts=5, loss=feature_loss(tf.identity))
        x = np.tile(np.float32([0.55, 0.5]), [8, 1])
        assert (np.diff(run(adaptive, quantized, x, config)) > 0).all()


class TestFeatureAttack:
    X, Y = np.float32([[0.6, 0.2], [0.2, 0.6], [0.3, 0.9]]), np.int32([0, 1, 1])

    def config(self, targets=None, **fields):
        targets = targets or feature_targets(tf.identity, self.X, self.Y)
        return FeatureAttack(features=tf.identity, targets=targets, **fields)

    def test_a_step_turns_toward_the_target(self):
        """From (0.6, 0.2) every target lies to the left and up: the cosine grows by (-, +)."""
        config = self.config(epsilon=0.3, step_size=0.1, steps=1, restarts=1, random_start=False, keep="last")
        np.testing.assert_allclose(run(feature_attack, never, self.X[:1], config), [[0.5, 0.3]], atol=1e-6)

    def test_it_succeeds_where_the_model_has_no_gradient(self):
        settings = {"epsilon": 0.3, "step_size": 0.05, "steps": 10}
        assert (run(pgd, quantized, self.X, Pgd(**settings, random_start=False), self.Y, self.X) == self.X).all()
        x_adv = run(feature_attack, quantized, self.X, self.config(**settings, restarts=3), self.Y)
        assert (quantized(x_adv).numpy().argmax(axis=1) != self.Y)[:2].all()
        assert (np.abs(x_adv - self.X) <= 0.3 + 1e-6).all()

    def test_the_published_settings_are_the_defaults(self):
        config = self.config()
        assert (config.epsilon, config.step_size, config.steps, config.restarts) == (8 / 255, 1 / 255, 20, 100)

    def test_a_batch_is_its_examples_and_xla_is_no_other(self):
        def model(x):
            return tf.add(x, [2.0, 0.0])

        config, y = self.config(epsilon=0.1, step_size=0.05, steps=2, restarts=2), np.zeros(3, np.int32)
        expected = run(feature_attack, model, self.X, config)
        alone, xla = (compiled(model, config, jit=jit, precision="auto") for jit in ("off", "on"))
        np.testing.assert_allclose(alone.run(self.X[1:], y[1:], index=[1, 2]).x_adv, expected[1:], atol=1e-6)
        np.testing.assert_allclose(xla.run(self.X, y).x_adv, expected, atol=1e-6)
        assert alone.precision == "float32"

    @pytest.mark.parametrize(("name", "value"), [("features", None), ("targets", None), ("targets", [1.0])])
    def test_what_is_no_function_is_refused(self, name, value):
        fields = {"features": tf.identity, "targets": lambda problem: problem.x, name: value}
        with pytest.raises(UserError, match=f"{name} must be .*, got "):
            FeatureAttack(**fields)


class TestFeatureTargets:
    LABELS = np.int32([0, 1, 2, 0, 1, 0])

    def drawn(self, y, run=0, first=0, **fields):
        """Numbers of the targets of examples with these labels; target t has the feature (10 t)."""
        bank = np.arange(6, dtype=np.float32)[:, None]
        targets = feature_targets(lambda v: 10 * v, bank, self.LABELS, **fields)
        x = tf.zeros([len(y), 1])
        example = tf.range(first, first + len(y))
        problem = search.problem_of(Pgd(), x, tf.constant(y, tf.int32), example=example, run=run)
        return (targets(problem).numpy()[:, 0] / 10).astype(int)

    @pytest.mark.parametrize(("label", "others"), [(0, {1, 2, 4}), (1, {0, 2, 3, 5}), (2, {0, 1, 3, 4, 5})])
    def test_all_of_the_other_classes_and_no_other(self, label, others):
        drawn = self.drawn([label] * 400)
        assert set(drawn) == others
        assert np.bincount(drawn)[sorted(others)].min() > 400 / len(others) / 2

    def test_seed_run_and_example_decide_and_not_the_batch(self):
        whole = self.drawn([0] * 40)
        np.testing.assert_array_equal(self.drawn([0] * 10, first=30), whole[30:])
        np.testing.assert_array_equal(self.drawn([0] * 40, batch_size=4), whole)
        for other in (self.drawn([0] * 40, run=1), self.drawn([0] * 40, seed=1), self.drawn([0] * 40, first=40)):
            assert (other != whole).any()

    def test_one_class_alone_is_refused(self):
        with pytest.raises(UserError, match=r"y must hold at least two classes, .* got \[3\]"):
            feature_targets(tf.identity, np.zeros([2, 4], np.float32), [3, 3])


class Noisy(keras.layers.Layer):
    """Adds standard normal noise, also at inference."""

    def __init__(self):
        super().__init__()
        self.generator = keras.random.SeedGenerator(0)

    def call(self, x):
        return x + keras.random.normal(keras.ops.shape(x), seed=self.generator)


class TestExpectation:
    def counting(self):
        """A model that multiplies by 1 at its first call, by 2 at its second, and so on."""
        calls = tf.Variable(0.0)
        return lambda x: calls.assign_add(1.0) * x

    @pytest.mark.parametrize("options", [{"autograph": False}, {"jit_compile": True}], ids=["graph", "xla"])
    def test_logits_and_gradient_are_means_over_the_calls(self, options):
        """(1 + 2 + 3 + 4) / 4 = 2.5."""
        predict = expectation(self.counting(), 4)

        @tf.function(**options)
        def measured(x):
            return search.first_order(predict, x, lambda logits: tf.reduce_sum(logits, axis=1))

        logits, gradient = measured(tf.constant([[1.0, 2.0]]))
        np.testing.assert_allclose(logits, [[2.5, 5.0]])
        np.testing.assert_allclose(gradient, [[2.5, 2.5]])

    def test_one_sample_is_the_model(self):
        assert expectation(self.counting(), 1)(tf.constant([[3.0]])).numpy() == 3.0

    def test_a_keras_model_draws_anew_at_each_call(self):
        """The mean of 100 standard normal draws has the standard deviation 0.1."""
        model = keras.Sequential([keras.Input((500,)), Noisy()])
        mean = tf.function(expectation(model, 100), autograph=False)(tf.zeros([1, 500])).numpy()
        assert 0.08 < mean.std() < 0.12

    def test_the_cross_entropy_of_the_mean_is_at_most_the_mean_of_the_cross_entropies(self):
        """As the documentation says of the difference from averaged gradients; factors 1 and 2 here."""
        x, y = tf.constant([[1.0, 2.0, -1.0]]), tf.constant([0])
        of_mean = cross_entropy(y, expectation(self.counting(), 2)(x))
        mean_of = (cross_entropy(y, x) + cross_entropy(y, 2 * x)) / 2
        assert of_mean < mean_of

    def test_an_attack_on_it_runs_compiled(self):
        attack = compiled(expectation(self.counting(), 3), Pgd(steps=2), jit="off", precision="float32")
        x = np.float32([[0.9, 0.1]])
        assert np.abs(attack.run(x, [0]).x_adv - x).max() <= 8 / 255 + 1e-6

    def test_no_sample_is_refused(self):
        with pytest.raises(UserError, match="samples must be at least 1, got 0"):
            expectation(never, 0)
