"""Losses along the path of an attack: on a linear model every step adds the same."""

import numpy as np
import pytest
import tensorflow as tf

from tfadv import attacks
from tfadv.analysis.loss_path import loss_charts, loss_path
from tfadv.attacks import AutoAttack, Fgm, Pgd
from tfadv.objectives import cross_entropy, margin
from tfadv.validation import UserError

WEIGHTS = np.array([[1.0, -1.0], [-2.0, 0.5], [0.5, 1.5]], np.float32)
X = np.array([[0.5, 0.45, 0.5], [0.5, 0.5, 0.4], [0.6, 0.5, 0.5], [0.45, 0.55, 0.5]], np.float32)
Y = np.array([0, 1, 0, 1], np.int32)
BIM = Pgd(epsilon=0.25, step_size=0.1, steps=4, random_start=False)


def model(x):
    return x @ WEIGHTS


def bent(x):
    return tf.sin(3 * x) @ WEIGHTS


def test_the_margin_of_a_linear_model_rises_by_the_step_times_the_gradient_gap():
    """||w1 - w0||_1 = 2 + 2.5 + 1 = 5.5; steps of 0.1, 0.1, 0.05 reach the radius, and the fourth stays there."""
    path = loss_path(model, X, Y, BIM)
    start = margin(Y, model(X)).numpy()
    np.testing.assert_allclose(path.margin, start[:, None] + 5.5 * np.array([0, 0.1, 0.2, 0.25, 0.25]), atol=1e-5)
    # Of two classes the cross-entropy is log(1 + exp(margin)).
    np.testing.assert_allclose(path.cross_entropy, np.log1p(np.exp(path.margin)), atol=1e-5)
    assert path.rising == 1


@pytest.mark.parametrize("config", [BIM, Fgm(epsilon=0.1), Pgd(epsilon=0.1, step_size=0.03, steps=3, seed=5)], ids=repr)
def test_the_path_ends_where_the_attack_ends(config):
    """keep="last" returns the end of the path, and the path does not stop at a success."""
    path = loss_path(bent, X, Y, config)
    last = config if config.keep == "last" else Pgd(**{**vars(config), "keep": "last"})
    end = bent(attacks.compiled(bent, last, precision="float32")(X, Y))
    np.testing.assert_allclose(path.cross_entropy[:, -1], cross_entropy(Y, end), atol=1e-6)
    np.testing.assert_allclose(path.margin[:, -1], margin(Y, end), atol=1e-6)
    assert path.margin.shape == (4, config.moves + 1)


def test_a_random_start_follows_the_number_of_the_example_in_any_batch():
    config = Pgd(epsilon=0.1, step_size=0.03, steps=3)
    whole, alone = loss_path(bent, X, Y, config), loss_path(bent, X, Y, config, batch_size=3)
    np.testing.assert_allclose(alone.margin, whole.margin, atol=1e-6)
    assert (np.abs(whole.margin[:, 0] - margin(Y, bent(X)).numpy()) > 1e-3).all()


def test_settings_for_each_example_stay_with_it_in_every_batch():
    each = (0.0, 0.1, 0.2, 0.25)
    path = loss_path(model, X, Y, Pgd(epsilon=each, step_size=each, steps=1, random_start=False), batch_size=3)
    np.testing.assert_allclose(path.margin[:, 1] - path.margin[:, 0], 5.5 * np.array(each), atol=1e-5)


def test_a_targeted_attack_descends_to_its_target():
    path = loss_path(model, X, Y, Pgd(epsilon=0.1, step_size=0.1, steps=1, random_start=False, targeted=True))
    np.testing.assert_allclose(path.margin[:, 1] - path.margin[:, 0], -0.55, atol=1e-5)
    assert path.rising == 0


def test_charts_have_the_mean_and_the_middle_of_the_examples():
    path = loss_path(model, X, Y, BIM)
    first, second = loss_charts({"PGD": path, "twin": path})
    assert list(first.series) == list(second.series) == ["PGD", "twin"]
    assert first.series["PGD"].x == (0, 1, 2, 3, 4)
    assert first.series["PGD"].y == pytest.approx(path.cross_entropy.mean(axis=0))
    assert second.series["PGD"].high[-1] == pytest.approx(np.quantile(path.margin[:, -1], 0.9))
    with pytest.raises(UserError, match="at least one"):
        loss_charts({})


def test_only_one_search_has_a_path():
    with pytest.raises(UserError, match="config must be one attack"):
        loss_path(model, X, Y, AutoAttack(epsilon=0.1))
    with pytest.raises(UserError, match="precision must be that of one search"):
        loss_path(model, X, Y, BIM, precision="both")
