"""Fooling images and the one-step sweep, on a model of two numbers whose confidences are worked by hand."""

import dataclasses

import numpy as np
import pytest
import tensorflow as tf

from tfadv import draws
from tfadv.attacks import search
from tfadv.attacks.fooling import Fooling, FoolingSweep, fooling_images, fooling_sweep
from tfadv.validation import UserError

WEIGHTS = np.array([[2.0, -2.0], [-1.0, 1.0]], np.float32)


def linear(x):
    """Logit 0 leads by 4a - 2b, so class 0 has the probability sigmoid(4a - 2b)."""
    return x @ WEIGHTS


def sigmoid(z):
    return 1 / (1 + np.exp(-z))


class TestImages:
    """From (0.5, 0.5) by steps of 0.1, up in one number and down in the other."""

    def made(self, **fields):
        return fooling_images(linear, Fooling(step_size=0.1, steps=10, noise=(0.5, 0.5), **fields), shape=(2,))

    def test_an_image_ends_with_the_confidence_or_else_at_its_highest(self):
        """Class 0: 0.73 at the start, 0.83 at (0.6, 0.4), 0.9002 at (0.7, 0.3). Class 1 ends in the corner (0, 1)."""
        made = self.made(confidence=0.9)
        np.testing.assert_allclose(made.images, [[0.7, 0.3], [0.0, 1.0]], atol=1e-6)
        np.testing.assert_allclose(made.confidences, [sigmoid(2.2), sigmoid(2.0)], atol=1e-6)
        np.testing.assert_allclose(made.margins, 2 * made.confidences - 1, atol=1e-6)
        assert made.targets.tolist() == [0, 1]
        assert made.success.tolist() == [True, False]
        assert made.success_rate == 0.5

    def test_with_confidence_1_no_step_is_spared(self):
        np.testing.assert_allclose(self.made(confidence=1.0).images, [[1.0, 0.0], [0.0, 1.0]], atol=1e-6)

    def test_the_box_is_the_configs(self):
        made = fooling_images(
            linear, Fooling(step_size=0.5, confidence=1.0, noise=(-0.5, 0.5), bounds=(-2.0, 2.0)), shape=(2,)
        )
        np.testing.assert_allclose(made.images, [[2.0, -2.0], [-2.0, 2.0]], atol=1e-6)

    def test_every_class_gets_samples_of_its_own_noise(self):
        made = fooling_images(linear, Fooling(step_size=0.0), shape=(2,), samples=50)
        assert made.targets.tolist() == [0] * 50 + [1] * 50
        assert len(np.unique(made.images)) == 200
        assert made.images.min() >= 0.5
        assert made.images.max() < 0.6
        again = fooling_images(linear, Fooling(step_size=0.0, seed=1), shape=(2,), samples=50)
        assert not np.isin(again.images, made.images).any()

    def test_it_is_one_search_for_graphs_and_xla(self):
        config = Fooling(step_size=0.1, steps=3)
        x, y = tf.constant([[0.5, 0.5], [0.2, 0.7]]), tf.constant([0, 1])
        for jit in (False, True):
            compiled = tf.function(lambda x, y: search.run(config, linear, x, y), autograph=False, jit_compile=jit)
            np.testing.assert_allclose(compiled(x, y), [[0.7, 0.3], [0.0, 1.0]], atol=1e-6)


class TestSweep:
    def test_rates_by_hand(self):
        """4a - 2b at (0.5, 0.5) is 1; a step toward class 0 adds 6 epsilon, one toward class 1 subtracts it.

        epsilon 0.1: 1.6 and 0.4, both predicted 0. epsilon 0.2: 2.2 and -0.2, where class 1 has 0.55 only. epsilon 1:
        clipped to the corners, 4 and -2.
        """
        rates = fooling_sweep(
            linear, FoolingSweep(epsilons=(0, 0.1, 0.2, 1), samples=3, confidence=0.6, noise=(0.5, 0.5)), shape=(2,)
        )
        assert rates.epsilons.tolist() == [0, 0.1, 0.2, 1]
        np.testing.assert_allclose(rates.success_rate, [0.5, 0.5, 1.0, 1.0])
        np.testing.assert_allclose(rates.confident_rate, [0.5, 0.5, 0.5, 1.0])
        leads = np.array([[1, 1], [1.6, 0.4], [2.2, 0.2], [4, 2]])
        np.testing.assert_allclose(rates.margin, (2 * sigmoid(leads) - 1).mean(axis=1), atol=1e-6)

    def test_rates_of_noise_are_those_of_all_its_samples(self):
        """300 samples, which do not fit one batch; the step of 0.1 is clipped at the box."""
        rates = fooling_sweep(linear, FoolingSweep(epsilons=(0.1,), samples=300), shape=(2,))
        noise = draws.uniform(0, (tf.range(300),), (2,)).numpy()
        leads = [np.clip(noise + sign * np.float32([0.1, -0.1]), 0, 1) @ [4, -2] for sign in (1, -1)]
        assert rates.success_rate[0] == pytest.approx(((leads[0] > 0).mean() + (leads[1] < 0).mean()) / 2)
        assert rates.margin[0] == pytest.approx((2 * sigmoid(np.abs(leads)) - 1).mean(), abs=1e-6)

    def test_without_a_step_each_image_has_one_class(self):
        curved = np.random.default_rng(0).normal(size=(4, 5)).astype(np.float32)
        rates = fooling_sweep(lambda x: tf.sin(9 * x) @ curved, FoolingSweep((0.0,), samples=300), shape=(4,))
        assert rates.success_rate[0] == pytest.approx(1 / 5)

    def test_the_defaults_are_those_of_the_figure(self):
        config = FoolingSweep()
        assert (config.epsilons[0], config.epsilons[4], config.epsilons[-1]) == (0.0, 20 / 255, 1.0)
        assert (config.samples, config.noise) == (1000, (0.0, 1.0))


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Fooling(steps=0), "steps must be at least 1, got 0"),
        (lambda: Fooling(step_size=-1.0), "step_size must be a finite number >= 0 .* got -1.0"),
        (lambda: Fooling(confidence=0.0), "confidence must be a probability above 0, at most 1, got 0.0"),
        (lambda: FoolingSweep(confidence=1.5), "confidence must be a probability above 0, at most 1, got 1.5"),
        (lambda: Fooling(noise=(0.5, 1.1)), r"noise must be \(lowest, highest\) within bounds \(0.0, 1.0\), got"),
        (lambda: FoolingSweep(noise=(0.5, 0.4)), r"noise must be \(lowest, highest\) within bounds"),
        (lambda: FoolingSweep(epsilons=()), r"epsilons must be finite numbers >= 0, at least one, got \(\)"),
        (lambda: FoolingSweep(epsilons=(float("nan"),)), "epsilons must be finite numbers >= 0"),
        (lambda: FoolingSweep(samples=0), "samples must be at least 1, got 0"),
        (lambda: fooling_images(linear, Fooling(), shape=(2,), samples=0), "samples must be at least 1, got 0"),
        (lambda: fooling_sweep(lambda x: tf.nn.softmax(linear(x)), FoolingSweep(), shape=(2,)), "logits are needed"),
        (lambda: fooling_sweep(tf.round, FoolingSweep(), shape=(2,)), "no gradient with respect to its input"),
    ],
    ids=lambda value: value[:30] if isinstance(value, str) else "",
)
def test_what_means_nothing_is_refused(make, message):
    with pytest.raises(UserError, match=message):
        make()


def test_settings_are_values():
    assert dataclasses.replace(Fooling(), steps=50) == Fooling()
    assert len({Fooling(), Fooling(seed=0), Fooling(seed=1)}) == 2
