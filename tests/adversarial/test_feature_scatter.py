"""Feature scattering: the start, the step along the transport cost, no label while crafting, smoothed labels after."""

import numpy as np
import pytest
import tensorflow as tf

from tfadv.adversarial import FeatureScatter
from tfadv.adversarial.transport import transport_cost
from tfadv.attacks import Pgd
from tfadv.validation import UserError

ATTACK = Pgd(epsilon=0.1, step_size=0.1, steps=1)


def start_of(model, x, step=0):
    """The uniform start: what the method crafts with a step of 0, in a box that clips nothing."""
    free = Pgd(epsilon=0.1, step_size=0.0, steps=1, bounds=(-9.0, 9.0))
    return FeatureScatter(model.classifier, free, seed=model.seed).craft(x, tf.zeros([len(x)], tf.int32), step)


def test_the_start_is_uniform_in_the_ball_and_not_clipped_to_the_box(net):
    x = tf.zeros([200, 2, 2, 1])
    start = start_of(FeatureScatter(net(), ATTACK, seed=1), x).numpy()
    assert np.abs(start).max() <= 0.1
    assert np.abs(start.mean()) < 0.01
    assert start.std() == pytest.approx(0.1 / np.sqrt(3), rel=0.05)


def test_one_step_of_epsilon_along_the_transport_cost(net, images, labels):
    """x' = clip(start + epsilon sign(gradient)) in ball and box."""
    model, x = FeatureScatter(net(), ATTACK, seed=1), tf.constant(images)
    start = tf.Variable(start_of(model, x))
    with tf.GradientTape() as tape:
        cost = transport_cost(model.classifier(x), model.classifier(start))
    gradient = tape.gradient(cost, start).numpy()
    expected = np.clip(np.clip(start + 0.1 * np.sign(gradient), images - 0.1, images + 0.1), 0, 1)
    found = model.craft(x, tf.constant(labels), 0).numpy()
    clear = np.abs(gradient) > 1e-5
    assert clear.mean() > 0.9
    np.testing.assert_allclose(found[clear], expected[clear], atol=1e-6)


def test_an_example_moves_with_regard_to_the_others(net, images):
    """Among other neighbors some of the first five images go elsewhere; no other attack here does that."""
    model, x = FeatureScatter(net(), ATTACK, seed=1), tf.constant(0.35 + 0.3 * images)
    among, others = (
        model.craft(tf.concat([x[:5], rest], axis=0), tf.zeros([10], tf.int32), 0).numpy()[:5]
        for rest in (x[5:], x[5:][::-1])
    )
    assert np.abs(among - others).max() > 0.05


def test_crafting_knows_no_label_and_raises_the_cost(net, images, labels):
    model, x = FeatureScatter(net(), ATTACK), tf.constant(images)
    found = model.craft(x, tf.constant(labels), 0)
    np.testing.assert_array_equal(found, model.craft(x, tf.constant((labels + 1) % 3), 0))
    cost = [float(transport_cost(model.classifier(x), model.classifier(at))) for at in (start_of(model, x), found)]
    assert cost[1] > cost[0]


def test_the_loss_is_that_of_the_scattered_batch_with_smoothed_labels(linear_model, compiled, images, labels):
    """q = 0.5 / 2 (1 - y) + 0.5 y; no clean term."""
    kernel = linear_model.get_weights()[0]
    model = compiled(FeatureScatter(linear_model, ATTACK), run_eagerly=True)
    x_adv = model.craft(tf.constant(images), tf.constant(labels), 0).numpy().reshape(10, 4)
    odds = np.exp(x_adv @ kernel)
    log_p = np.log(odds / odds.sum(axis=1, keepdims=True))
    q = 0.25 + 0.25 * np.eye(3)[labels]
    logs = model.train_on_batch(images, labels, return_dict=True)
    assert float(logs["loss"]) == pytest.approx(-(q * log_p).sum(axis=1).mean(), rel=1e-5)
    gradient = x_adv.T @ (np.exp(log_p) - q) / 10
    np.testing.assert_allclose(linear_model.get_weights()[0], kernel - 0.1 * gradient, atol=1e-6)


def test_distributions_are_smoothed_too(linear_model, compiled, images, labels):
    dense, sparse = (
        compiled(FeatureScatter(linear_model, ATTACK), rate=0.0, metrics=[], run_eagerly=True).train_on_batch(images, y)
        for y in (np.eye(3, dtype=np.float32)[labels], labels)
    )
    assert float(dense) == pytest.approx(float(sparse), rel=1e-6)


@pytest.mark.parametrize(
    ("attack", "options", "message"),
    [
        (Pgd(norm="l2"), {}, "attack must have norm='linf', the ball of feature scattering, got 'l2'"),
        (Pgd(objective="margin"), {}, "attack must leave objective and label as they are"),
        (ATTACK, {"mass": 1.5}, r"mass must lie in \[0, 1\], got 1.5"),
    ],
)
def test_what_it_cannot_use_is_refused(net, attack, options, message):
    with pytest.raises(UserError, match=message):
        FeatureScatter(net(), attack, **options)
