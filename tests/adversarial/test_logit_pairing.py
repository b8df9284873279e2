"""Adversarial logit pairing: the three terms by hand, and weight 0."""

import numpy as np
import pytest
import tensorflow as tf

from tfadv.adversarial import AdversarialLogitPairing, AdversarialTraining
from tfadv.attacks import Fgm, Pgd
from tfadv.validation import UserError


def test_a_step_on_a_linear_model_is_the_update_worked_by_hand(linear_model, compiled, images, labels):
    """0.25 CE(x) + 0.75 CE(x') + 2 ||z - z'||^2 / 3; the pairing's gradient is 2 (2 / 3) (x - x')^T (z - z')."""
    kernel = linear_model.get_weights()[0].astype(np.float64)
    model = AdversarialLogitPairing(linear_model, Fgm(epsilon=0.1), clean_weight=0.25, weight=2.0)
    x_adv = model.craft(tf.constant(images), tf.constant(labels), 0).numpy().reshape(10, 4).astype(np.float64)
    flat, truth = images.reshape(10, 4).astype(np.float64), np.eye(3)[labels]

    def softmax(x):
        odds = np.exp(x @ kernel)
        return odds / odds.sum(axis=1, keepdims=True)

    p, q, gap = softmax(flat), softmax(x_adv), (flat - x_adv) @ kernel
    entropies = [-np.log((each * truth).sum(axis=1)) for each in (p, q)]
    loss = 0.25 * entropies[0] + 0.75 * entropies[1] + 2.0 * (gap**2).mean(axis=1)
    gradient = 0.25 * flat.T @ (p - truth) + 0.75 * x_adv.T @ (q - truth) + 4 / 3 * (flat - x_adv).T @ gap
    logs = compiled(model, rate=0.5, run_eagerly=True).train_on_batch(images, labels, return_dict=True)
    assert float(logs["loss"]) == pytest.approx(loss.mean(), rel=1e-5)
    np.testing.assert_allclose(linear_model.get_weights()[0], kernel - 0.05 * gradient, atol=2e-6)


@pytest.mark.parametrize("kappa", [0.0, 0.5])
def test_weight_0_is_adversarial_training_on_the_same_mixture(net, compiled, images, labels, kappa):
    attack = Pgd(0.1, 0.05, 2)
    pairing = AdversarialLogitPairing(net(), attack, clean_weight=kappa, weight=0.0)
    plain = AdversarialTraining(net(), attack, clean_weight=kappa)
    for model in (pairing, plain):
        compiled(model, run_eagerly=True).train_on_batch(images, labels)
    for one, two in zip(pairing.classifier.get_weights(), plain.classifier.get_weights(), strict=True):
        np.testing.assert_allclose(one, two, atol=1e-7)


def test_the_examples_are_those_of_adversarial_training(net, images, labels):
    found, expected = (
        kind(net(), Pgd(0.1, 0.05, 2), seed=4, labels="predicted").craft(tf.constant(images), tf.constant(labels), 1)
        for kind in (AdversarialLogitPairing, AdversarialTraining)
    )
    np.testing.assert_array_equal(found, expected)


def test_a_bad_weight_is_refused(net):
    with pytest.raises(UserError, match=r"weight must be a finite number >= 0, got -1\.0"):
        AdversarialLogitPairing(net(), Pgd(), weight=-1.0)
