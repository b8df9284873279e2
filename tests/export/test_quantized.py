"""A quantized model is measured by what needs no gradient of it, and rounding is not taken for robustness."""

import numpy as np
import pytest
import tensorflow as tf

from tfadv import attacks, export
from tfadv.validation import UserError

PGD = attacks.Pgd(epsilon=0.1, step_size=0.02, steps=10, keep="last")


def rounded(model, levels):
    """The model's logits rounded to multiples of 1 / levels, with the gradient of a staircase: zero."""

    def call(x):
        logits = model(x, training=False)
        return tf.stop_gradient(tf.round(logits * levels) / levels) + 0.0 * logits

    return call


def test_what_the_two_models_withstand_is_measured_for_each_example(trained, digits):
    x, y = digits
    target = rounded(trained, 10)
    found = export.robust_accuracy_by_transfer(trained, target, x, y, PGD, queries=30, seed=4)
    crafted = attacks.transfer(trained, target, PGD, x, y)
    square = attacks.Square(epsilon=0.1, queries=30, seed=4)
    for own, model in ((found.real, trained), (found.quantized, target)):
        np.testing.assert_array_equal(own.clean, np.argmax(model(x), axis=1) == y)
        np.testing.assert_array_equal(own.transferred, np.argmax(model(crafted.x_adv), axis=1) == y)
        np.testing.assert_array_equal(own.searched, ~attacks.compiled(model, square).run(x, y).adversarial)
        np.testing.assert_array_equal(own.worst, own.clean & own.transferred & own.guided & own.searched)


def test_rounding_that_stops_the_gradient_is_seen_through(trained, digits):
    """PGD on the rounded model itself fools nothing more; with the gradient of the float model it fools almost all."""
    x, y = digits
    target = rounded(trained, 10)
    masked = attacks.compiled(target, PGD, precision="float32").run(x, y)
    found = export.robust_accuracy_by_transfer(trained, target, x, y, PGD, queries=30)
    assert 1 - masked.adversarial.mean() > found.quantized.clean.mean() - 0.2
    assert found.quantized.transferred.mean() < 0.3
    assert found.quantized.guided.mean() < 0.3
    assert found.quantized.clean.mean() > 0.8


def test_the_table_shows_both_models_in_percent(linear_model):
    x = np.random.default_rng(0).uniform(0.3, 0.7, [20, 2, 2, 1]).astype(np.float32)
    y = np.argmax(linear_model(x), axis=1)
    attack = attacks.Pgd(epsilon=1.0, step_size=0.5, steps=5)
    found = export.robust_accuracy_by_transfer(linear_model, rounded(linear_model, 100), x, y, attack, queries=10)
    table = found.table()
    kinds = ("Pgd on the float32 model", "Pgd by its gradient", "Square, 10 queries")
    assert table.columns == ("model", "clean", *kinds, "worst of these")
    assert [row[:4] for row in table.rows] == [
        ("float32", "100.0%", "0.0%", "0.0%"),
        ("quantized", "100.0%", "0.0%", "0.0%"),
    ]
    assert [row[-1] for row in table.rows] == ["0.0%", "0.0%"]
    assert table.caption == "Accuracy on 20 images, linf radius 1."


def test_an_untargeted_attack_with_one_radius_is_asked_for(linear_model):
    x, y = np.zeros([2, 2, 2, 1], np.float32), np.zeros(2, np.int32)
    for attack in (attacks.Pgd(targeted=True), attacks.Pgd(epsilon=(0.1, 0.2)), attacks.CarliniWagner()):
        with pytest.raises(UserError, match="attack must be untargeted and have one epsilon, got"):
            export.robust_accuracy_by_transfer(linear_model, linear_model, x, y, attack)
