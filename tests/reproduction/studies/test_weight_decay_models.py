"""Training is Keras' Adam on the losses of this package; attacks in closed form are the real ones."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from tfadv import attacks
from tfadv.attacks.pixels import saturate_extremes
from tfadv.losses.weight_decay import MeanL1, add_weight_decay, regularize_kernels
from tfadv.models import logistic_regression
from tfadv.reproduction.studies import weight_decay_models as wd
from tfadv.reproduction.study import Context


@pytest.fixture(scope="module")
def images():
    """Threes and sevens of the embedded digits."""
    return wd.threes_and_sevens("digits", "test", None)


@pytest.fixture
def context(tmp_path):
    return Context(tmp_path, tmp_path, None, print)


def some_weights(seed=0):
    return (0.1 * np.random.RandomState(seed).standard_normal(784)).astype(np.float32)


def test_the_images_are_threes_and_sevens_in_the_order_of_mnist_3v7(images):
    import tfadv.data

    x, y = images
    all_x, all_y = tfadv.data.arrays("digits", "test")
    kept = np.isin(all_y, (3, 7))
    np.testing.assert_array_equal(x, all_x[kept].reshape(-1, 784))
    np.testing.assert_array_equal(y, all_y[kept] == 3)


@pytest.mark.parametrize(
    "changes",
    [{}, {"l2": 3.25}, {"l1": 32.0}, {"epsilon": 0.25, "l2": 0.05}, {"epsilon": 0.25, "scale": 2.0}],
    ids=["plain", "L2", "L1", "FGSM and L2", "fast gradient"],
)
def test_training_is_adam_of_keras_on_the_losses_of_this_package(context, changes):
    """Keras' Adam adds its epsilon where ours does; both descend the same loss on the same batches."""
    settings = wd.recipe("smoke", 5, **{"batches": "window", **changes})
    settings["steps"] = [5]
    x, y = wd.threes_and_sevens("digits", "train", None)
    model = logistic_regression(seed=0)
    if changes.get("l2"):
        add_weight_decay(model, l2=changes["l2"] / 2)
    if changes.get("l1"):
        regularize_kernels(model, MeanL1(changes["l1"]))
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    optimizer = keras.optimizers.Adam(1e-5, epsilon=1e-8)
    for step in range(5):
        first = step * 128 % 87
        batch, labels = tf.constant(x[first : first + 128].reshape(-1, 28, 28, 1)), y[first : first + 128]
        if changes.get("epsilon"):
            config = attacks.Fgm(epsilon=0.25, objective="margin", scale=changes.get("scale"))
            batch = attacks.fgm(model, batch, tf.constant(labels), batch, config=config)
        with tf.GradientTape() as tape:
            value = loss(labels, model(batch)) + sum(model.losses)
        optimizer.apply(tape.gradient(value, model.trainable_variables), model.trainable_variables)
    found = wd.weights(settings, context)[5]
    start = np.ravel(logistic_regression(seed=0).get_weights()[0])
    expected = np.ravel(model.get_weights()[0])
    # Five steps of about 1e-5; where the gradient is rounding alone, its sign is too.
    assert np.abs(expected - start).max() == pytest.approx(5e-5, rel=0.05)
    assert np.mean(np.abs(found - expected) < 1e-6) > 0.98


def test_weights_are_kept_at_the_steps_asked_for(context):
    settings = wd.recipe("smoke", 0, 1, start="expert", l2=0.05)
    assert settings["steps"] == [0, 20]
    kept = wd.weights(settings, context)
    x, y = wd.threes_and_sevens("digits", "train", None)
    assert list(kept) == [0, 20]
    np.testing.assert_allclose(kept[0], x[y == 1].mean(axis=0) - x[y == 0].mean(axis=0), atol=1e-6)
    assert 0 < np.abs(kept[20] - kept[0]).max() < 21e-5


def test_one_bit_weights_are_signs_times_the_mean(context):
    w = wd.weights(wd.recipe("smoke", 1, bits=1), context)[10]
    assert np.ptp(np.abs(w[w != 0])) < 1e-8


def test_batches_of_all_images_hold_each_once_an_epoch_and_those_of_the_window_begin_at_multiples_of_128_modulo_87():
    batches = wd._batches(300, "all", 0)
    epoch = np.concatenate([next(batches) for _ in range(2)])
    assert len(set(epoch)) == 256
    assert not np.array_equal(np.concatenate([next(batches) for _ in range(2)]), epoch)
    window = wd._batches(11_353, "window", 0)
    starts = [next(window).start for _ in range(87)]
    assert starts[:3] == [0, 41, 82]
    assert sorted(starts) == list(range(87))
    assert wd.WINDOW == 86 + 128


@pytest.mark.parametrize("scale", [None, 2.0, 100.0])
def test_a_step_is_the_real_attack(images, scale):
    x, y = images[0][:40], images[1][:40]
    w = some_weights()
    model, pictures = logistic_regression(weights=w.reshape(28, 28, 1)), x.reshape(-1, 28, 28, 1)
    config = attacks.Fgm(epsilon=0.25, objective="margin", scale=scale)
    expected = attacks.fgm(model, tf.constant(pictures), tf.constant(y), tf.constant(pictures), config=config)
    np.testing.assert_allclose(wd.stepped(x, y, w, 0.25, scale).reshape(pictures.shape), expected, atol=1e-6)


def test_a_step_is_exact_where_the_gradient_of_the_cross_entropy_is_zero_in_single_precision():
    """At a margin of 25 the sigmoid is 1 in single precision; FGSM moves the pixel all the same."""
    w = np.zeros(784, np.float32)
    w[0] = 25.0
    x = np.ones([1, 784], np.float32)
    assert wd.stepped(x, np.array([1]), w, 0.25, None)[0, 0] == 0.75
    assert wd.stepped(x, np.array([0]), w, 0.25, None)[0, 0] == 1.0


def test_the_strongest_pixels_are_those_of_the_real_attack(images):
    x, y = images[0][:40], images[1][:40]
    w = some_weights()
    w *= np.where(wd.right(x, y, w).mean() < 0.5, -1, 1)
    model, pictures = logistic_regression(weights=w.reshape(28, 28, 1)), x.reshape(-1, 28, 28, 1)
    fewest = wd.fewest_pixels(x, y, w)
    assert (fewest == 0).sum() == (~wd.right(x, y, w)).sum()
    for count in (1, 4):
        config = attacks.ExtremePixels(pixels=count)
        x_adv = attacks.extreme_pixels(model, tf.constant(pictures), tf.constant(y), config=config)
        survives = wd.right(np.reshape(x_adv, [-1, 784]), y, w)
        np.testing.assert_array_equal(fewest > count, survives)


def test_fewest_pixels_by_hand():
    """w = (2, -1), a three at (1, 0): margin 2; clearing the first pixel takes 2, which is enough."""
    x, w = np.array([[1.0, 0.0], [0.2, 0.0], [0.0, 1.0]], np.float32), np.array([2.0, -1.0], np.float32)
    np.testing.assert_array_equal(wd.fewest_pixels(x, np.array([1, 1, 1]), w), [1, 1, 0])
    # A seven at (0, 1) has margin 1; nothing is enough where no weight is above 0.
    np.testing.assert_array_equal(wd.fewest_pixels(x[2:], np.array([0]), w), [1])
    np.testing.assert_array_equal(wd.fewest_pixels(x[2:], np.array([0]), -np.abs(w)), [3])


def test_distortion_is_less_where_the_mean_gradient_underflows(images):
    """A weight of 1e-30 is moved by FGSM as any other; its gradient for a margin of 40 is 4e-18 x 1e-30 / N = 0."""
    x, y = np.full([2, 784], 0.5, np.float32), np.array([1, 1])
    w = np.full(784, 1e-30, np.float32)
    w[0] = 80.0
    assert wd.underflowing(x, y, w, 0.25) == pytest.approx(0.25)
    w[0] = 1.0
    assert wd.underflowing(x, y, w, 0.25) == pytest.approx(0.25 * 28)


def test_measured_curves_begin_at_the_clean_accuracy_and_agree_with_the_attacks(images):
    x, y = images
    w = (x[y == 1].mean(axis=0) - x[y == 0].mean(axis=0)).astype(np.float32)
    found = wd.measured(w, x, y)
    clean = found["clean"]["accuracy"]
    assert clean > 0.9
    assert found["linf"][0] == found["extremes"][0] == found["strongest"][0] == pytest.approx(clean)
    between = (found["linf"][12] + found["linf"][13]) / 2  # epsilons 0.24 and 0.26
    assert found["fgsm"]["accuracy"] == pytest.approx(between, abs=0.05)
    assert np.all(np.diff(found["strongest"]) <= 0)
    moved = saturate_extremes(x, w, count=3)
    assert found["extremes"][3] == pytest.approx(wd.right(moved, y, w).mean())
    assert found["distortion_fast"] < found["distortion_fgsm"]
    assert found["majority"] == pytest.approx(max(y.mean(), 1 - y.mean()))


def test_margins_count_all_images_and_the_equations_hold(images):
    x, y = images
    w = some_weights(1)
    found = wd.margins(w, x, y)
    assert sum(found["threes"]) == y.sum()
    assert sum(found["sevens"]) == (1 - y).sum()
    assert sum(found["signed"]) == len(y)
    score = x.astype(np.float64) @ w
    assert found["mean"] == pytest.approx(np.mean((2 * y - 1) * score) / np.linalg.norm(w), rel=1e-6)
    assert found["loss"] == pytest.approx(np.log1p(np.exp(-(2 * y - 1) * score)).mean(), rel=1e-9)
    assert found["equation5"] < 1e-12
    assert found["equation7"] < 1e-12
