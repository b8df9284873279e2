"""AVmixup: equations 12 and 13 by hand, their special cases, one alpha for image and label, and the methods inside."""

import numpy as np
import pytest
import tensorflow as tf

from tfadv.adversarial import AdversarialTraining, AVmixup, FeatureScatter, NaturalTraining, Trades
from tfadv.adversarial.avmixup import mixed_images, mixed_labels
from tfadv.attacks import Fgm, Pgd
from tfadv.validation import UserError

ATTACK = Pgd(epsilon=0.1, step_size=0.05, steps=2, random_start=False)


def test_images_lie_between_the_clean_one_and_the_vertex():
    """x = 0.5, x_adv = 0.6: at gamma 2 the vertex is 0.7; alpha 0.25 is 0.25 x 0.5 + 0.75 x 0.7 = 0.65."""
    x, x_adv = tf.fill([3, 2], 0.5), tf.fill([3, 2], 0.6)
    found = mixed_images(x, x_adv, tf.constant([0.25, 1.0, 0.0]), gamma=2.0, bounds=None)
    np.testing.assert_allclose(found, [[0.65] * 2, [0.5] * 2, [0.7] * 2], atol=1e-6)


def test_the_vertex_is_clipped_before_it_is_mixed_or_not_at_all():
    """x = 0.9, x_adv = 1.0, gamma 3: the vertex is 1.2, clipped 1.0; half way 1.05 or 0.95."""
    x, x_adv, half = tf.fill([1, 1], 0.9), tf.fill([1, 1], 1.0), tf.constant([0.5])
    for bounds, expected in ((None, 1.05), ((0.0, 1.0), 0.95)):
        found = mixed_images(x, x_adv, half, gamma=3.0, bounds=bounds)
        np.testing.assert_allclose(found, [[expected]], atol=1e-6)


def test_labels_are_mixed_between_two_smoothings():
    """K = 3, lambda1 = 1, lambda2 = 0.4: phi = (1, 0, 0) and (0.4, 0.3, 0.3); alpha 0.25 gives 0.55, 0.225, 0.225."""
    settings = {"clean_probability": 1.0, "vertex_probability": 0.4}
    found = mixed_labels(tf.constant([0, 1]), 3, tf.constant([0.25, 1.0]), **settings)
    np.testing.assert_allclose(found, [[0.55, 0.225, 0.225], [0, 1, 0]], atol=1e-6)
    np.testing.assert_allclose(tf.reduce_sum(found, axis=1), 1.0, rtol=1e-6)
    dense = mixed_labels(tf.constant([[1.0, 0.0, 0.0], [0.0, 1.0, 0.0]]), 3, tf.constant([0.25, 1.0]), **settings)
    np.testing.assert_allclose(dense, found, atol=1e-7)


def test_the_papers_vertex_label_of_ten_classes_is_uniform():
    found = mixed_labels(tf.constant([7]), 10, tf.constant([0.0]), clean_probability=1.0, vertex_probability=0.1)
    np.testing.assert_allclose(found, np.full((1, 10), 0.1), rtol=1e-5)


def test_the_step_trains_on_the_mixture_with_one_alpha_for_image_and_label(linear_model, compiled, images, labels):
    """Loss and update of softmax regression at (x^, y^), worked by hand from the alpha of the step."""
    kernel = linear_model.get_weights()[0].astype(np.float64)
    inner = AdversarialTraining(linear_model, ATTACK, seed=3)
    model = compiled(AVmixup(inner, gamma=2.0, vertex_probability=0.5), rate=0.5, run_eagerly=True)
    x_adv = model.craft(tf.constant(images), tf.constant(labels), 0).numpy().reshape(10, 4).astype(np.float64)
    alpha = model.clean_share(tf.constant(images), tf.constant(0)).numpy()[:, None].astype(np.float64)
    flat = images.reshape(10, 4).astype(np.float64)
    x = alpha * flat + (1 - alpha) * np.clip(flat + 2 * (x_adv - flat), 0, 1)
    truth = np.eye(3)[labels]
    y = alpha * truth + (1 - alpha) * (0.25 + 0.25 * truth)
    p = np.exp(x @ kernel)
    p /= p.sum(axis=1, keepdims=True)
    logs = model.train_on_batch(images, labels, return_dict=True)
    assert float(logs["loss"]) == pytest.approx(-(y * np.log(p)).sum(axis=1).mean(), rel=1e-5)
    np.testing.assert_allclose(linear_model.get_weights()[0], kernel - 0.5 * x.T @ (p - y) / 10, atol=2e-6)
    assert float(logs["sparse_categorical_accuracy"]) == pytest.approx((p.argmax(axis=1) == labels).mean())


def test_alpha_is_uniform_one_for_each_example_and_another_at_each_step(net):
    model = AVmixup(AdversarialTraining(net(), ATTACK, seed=3))
    draws = np.stack([model.clean_share(tf.zeros([500, 2, 2, 1]), tf.constant(step)) for step in range(4)])
    assert draws.min() >= 0
    assert draws.max() < 1
    np.testing.assert_allclose(np.quantile(draws, [0.1, 0.5, 0.9]), [0.1, 0.5, 0.9], atol=0.03)
    assert np.abs(np.corrcoef(draws) - np.eye(4)).max() < 0.2


@pytest.mark.parametrize("inner", [AdversarialTraining, Trades, FeatureScatter])
def test_every_method_inside_gives_its_own_examples_and_nothing_else(inner, net, images, labels):
    method = inner(net(), Pgd(epsilon=0.1, step_size=0.1, steps=1), seed=3)
    found = AVmixup(method).craft(tf.constant(images), tf.constant(labels), 2)
    np.testing.assert_array_equal(found, method.craft(tf.constant(images), tf.constant(labels), 2))


def test_before_the_start_step_it_trains_at_the_clean_end(linear_model, compiled, images, labels):
    """With lambda1 = 1 that is natural training."""
    kernel = linear_model.get_weights()[0]
    inner = AdversarialTraining(linear_model, ATTACK, start_step=1)
    model = compiled(AVmixup(inner, vertex_probability=0.5), rate=0.5, run_eagerly=True)
    model.train_on_batch(images, labels)
    flat = images.reshape(10, 4)
    p = np.exp(flat @ kernel)
    p /= p.sum(axis=1, keepdims=True)
    expected = kernel - 0.5 * flat.T @ (p - np.eye(3)[labels]) / 10
    np.testing.assert_allclose(linear_model.get_weights()[0], expected, atol=1e-6)
    assert float(model.clean_share(tf.constant(images), tf.constant(1))[0]) < 1


def test_gamma_1_and_equal_labels_at_alpha_0_is_adversarial_training(net, compiled, images, labels, monkeypatch):
    """The vertex is the adversarial example, and lambda1 = lambda2 = 1 leaves y as it is."""
    attack = Fgm(epsilon=0.1)
    mixed = AVmixup(AdversarialTraining(net(), attack), gamma=1.0, vertex_probability=1.0)
    plain = AdversarialTraining(net(), attack)
    monkeypatch.setattr(mixed, "clean_share", lambda x, step: tf.zeros([10]))
    for model in (mixed, plain):
        compiled(model, run_eagerly=True).train_on_batch(images, labels)
    for one, two in zip(mixed.classifier.get_weights(), plain.classifier.get_weights(), strict=True):
        np.testing.assert_allclose(one, two, atol=1e-6)


def test_the_vertex_is_clipped_to_the_attacks_bounds_by_choice(linear_model, compiled, images, labels, monkeypatch):
    seen = []
    monkeypatch.setattr(
        "tfadv.adversarial.avmixup.mixed_images",
        lambda x, x_adv, alpha, *, gamma, bounds: (seen.append(bounds), x)[1],
    )
    attack = Pgd(0.1, 0.05, 1, bounds=(-1.0, 1.0))
    for clip in (True, False):
        model = AVmixup(AdversarialTraining(linear_model, attack), vertex_probability=0.5, clip=clip)
        compiled(model, run_eagerly=True).train_on_batch(images, labels)
    assert seen == [(-1.0, 1.0), None]


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"gamma": 0.5}, "gamma must be a finite number >= 1, got 0.5"),
        ({"gamma": float("nan")}, "gamma must be a finite number >= 1, got nan"),
        ({"clean_probability": 1.2}, r"probability must lie in \[0, 1\], got 1.2"),
        ({"vertex_probability": -0.1}, r"probability must lie in \[0, 1\], got -0.1"),
    ],
)
def test_bad_settings_are_refused(net, settings, message):
    with pytest.raises(UserError, match=message):
        AVmixup(AdversarialTraining(net(), ATTACK), **settings)


def test_a_method_that_crafts_nothing_has_no_vertex(net):
    with pytest.raises(UserError, match=r"inner must craft by an attack, .* got NaturalTraining"):
        AVmixup(NaturalTraining(net()))
