"""The program's attacks against their equations in NumPy, and why they are weak."""

import keras
import numpy as np
import pytest

from tfadv import attacks
from tfadv.attacks import Fgm
from tfadv.losses import AdversarialLabelSmoothing, LabelSmoothing
from tfadv.reproduction.studies import label_smoothing_trained_attacks as program


def linear(weights):
    inputs = keras.Input((2, 2, 1))
    dense = keras.layers.Dense(weights.shape[1], use_bias=False)
    model = keras.Model(inputs, dense(keras.layers.Flatten()(inputs)))
    dense.kernel.assign(weights)
    return model


WEIGHTS = np.array([[3.0, -1.0, 0.0], [2.0, 0.0, -2.0], [-1.0, 3.0, -2.0], [0.5, -1.5, 1.0]], np.float32)


@pytest.fixture
def images():
    x = np.random.default_rng(0).uniform(0.3, 0.7, (40, 2, 2, 1)).astype(np.float32)
    return x, (x.reshape(40, 4) @ WEIGHTS).argmax(axis=1).astype(np.int32)


def test_without_a_mass_the_own_labels_are_the_true_ones(images):
    x, y = images
    model = linear(WEIGHTS)
    own = program.against_own_labels(model, LabelSmoothing(0.0), epsilon=0.1, steps=1)
    expected = attacks.compiled(model, Fgm(0.1), precision="float32").run(x, y)
    found = attacks.compiled(model, own, precision="float32").run(x, y)
    np.testing.assert_allclose(found.x_adv, expected.x_adv, atol=1e-6)


def test_a_net_that_is_surer_than_its_labels_is_pushed_toward_the_truth():
    """p_y = 0.98 is above 1 - 0.4: the loss on the labels falls as p_y falls, so the step goes the other way."""
    model = linear(2 * WEIGHTS)
    x = np.full((1, 2, 2, 1), 0.5, np.float32)
    y = (x.reshape(1, 4) @ WEIGHTS).argmax(axis=1).astype(np.int32)
    before = float((x.reshape(1, 4) @ WEIGHTS)[0, y[0]])
    for loss in (LabelSmoothing(0.4), AdversarialLabelSmoothing(0.4)):
        config = program.against_own_labels(model, loss, epsilon=0.4, steps=1)
        end = attacks.compiled(model, config, precision="float32").run(x, y)
        assert not end.adversarial.any()
        assert float((end.x_adv.reshape(1, 4) @ WEIGHTS)[0, y[0]]) > before
    assert attacks.compiled(model, Fgm(0.4), precision="float32").run(x, y).adversarial.all()


def test_two_steps_on_own_labels_by_hand():
    """The labels of both steps are those of the image itself."""
    weights = np.array([[1.0, -1.0, -0.9], [0.0, 4.0, 0.0], [0.0, 0.0, 4.0], [0.0, 0.0, 0.0]], np.float32)
    model, x = linear(weights), np.array([1.0, 0.05, 0.055, 0.5], np.float32).reshape(1, 2, 2, 1)
    config = program.against_own_labels(model, AdversarialLabelSmoothing(0.2), epsilon=0.2, steps=2)
    moved = attacks.compiled(model, config, precision="float32").run(x, np.array([0])).x_adv.reshape(4)
    by_hand = x.reshape(4).astype(np.float64)
    q = np.array([0.8, 0.2, 0.0])  # the second class has the smallest logit, -0.8 against -0.68
    for _ in range(2):
        z = by_hand @ weights
        p = np.exp(z - z.max()) / np.exp(z - z.max()).sum()
        by_hand = np.clip(by_hand + 0.1 * np.sign(weights @ (p - q)), 0, 1)
    np.testing.assert_allclose(moved, by_hand, atol=1e-6)


def deep_fool_by_hand(x, y, steps):
    """The program's loop for one image in float64."""
    point, total, weights = x.astype(np.float64).copy(), np.zeros(4), WEIGHTS.astype(np.float64)
    for _ in range(steps):
        z = point @ weights
        p = np.exp(z - z.max()) / np.exp(z - z.max()).sum()
        if p.argmax() != y:
            break
        gradients = (weights - weights @ p[:, None]) * p  # of each probability, [4, K]
        candidates = []
        for k in range(len(p)):
            if k != y:
                w = gradients[:, k] - gradients[:, y]
                distance = abs(p[k] - p[y]) / np.linalg.norm(w)
                candidates.append((distance, w / np.linalg.norm(w)))
        distance, direction = min(candidates, key=lambda each: each[0])
        total += distance * direction
        point += total
    return np.clip(point, 0, 1)


@pytest.mark.parametrize("steps", [1, 2, 5])
def test_deep_fool_adds_the_sum_of_its_steps(images, steps):
    x, y = images
    found = program.deep_fool(linear(WEIGHTS), x, y, steps=steps)
    expected = np.stack([deep_fool_by_hand(*pair, steps) for pair in zip(x.reshape(40, 4), y, strict=True)])
    np.testing.assert_allclose(found.reshape(40, 4), expected, atol=1e-4)


def test_deep_fool_leaves_what_is_wrong_already(images):
    x, y = images
    np.testing.assert_array_equal(program.deep_fool(linear(WEIGHTS), x, (y + 1) % 3), x)


def test_deep_fool_ends_in_the_box_where_the_softmax_is_saturated(images):
    x, y = images
    found = program.deep_fool(linear(1000 * WEIGHTS), x, y)
    assert np.isfinite(found).all()
    assert 0 <= found.min() <= found.max() <= 1


def test_the_settings_of_the_program():
    bim = program.bim(0.2)
    assert (bim.steps, bim.step_size, bim.random_start, bim.keep) == (10, pytest.approx(0.02), False, "last")
    assert program.CARLINI_WAGNER.moves == 250
