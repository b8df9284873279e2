"""CleverHans beside tfadv: exact on linear models and single steps, agreement on a trained one, disagreement seen."""

import dataclasses
import importlib.metadata
import json
import math
import sys

import keras
import numpy as np
import pytest
import tensorflow as tf

from tfadv.attacks import Fgm, Pgd
from tfadv.attacks.mim import Mim
from tfadv.attacks.pgd import pgd
from tfadv.crosscheck import cleverhans, comparison
from tfadv.crosscheck.cleverhans import Comparison, compare, suite, table
from tfadv.crosscheck.peers import NotShared
from tfadv.validation import UserError

RNG = np.random.default_rng(0)
# Two batches of different size; away from the box, so that a small ball fits into it.
IMAGES = (0.3 + 0.4 * RNG.random([260, 2, 2, 1])).astype(np.float32)
LABELS = RNG.integers(0, 3, 260).astype(np.int32)
FREE = (-math.inf, math.inf)

LINEAR = [
    Fgm(epsilon=0.2),
    Fgm(epsilon=1.0),
    Fgm(epsilon=0.2, norm="l2"),
    Fgm(epsilon=2.0, norm="l2"),
    Pgd(epsilon=0.2, step_size=0.05, steps=10, keep="last"),
    Pgd(epsilon=0.9, step_size=0.3, steps=7, keep="last", seed=4),
    Pgd(epsilon=0.2, step_size=0.05, steps=10, keep="last", random_start=False),
    Pgd(epsilon=0.2, step_size=0.05, steps=10, keep="last", norm="l2", bounds=FREE),
    Pgd(epsilon=0.2, step_size=0.05, steps=10, keep="last", norm="l2"),
    Pgd(epsilon=0.0, step_size=0.0, steps=3, keep="last"),
]


@pytest.mark.parametrize("config", LINEAR, ids=repr)
def test_on_a_linear_model_both_give_the_same_images(linear_model, config):
    comparison = compare(linear_model, IMAGES, LABELS, config)
    assert comparison.largest_difference <= 1e-5
    np.testing.assert_array_equal(comparison.fooled, comparison.peer_fooled)
    assert comparison.robust_accuracy == comparison.peer_robust_accuracy
    assert comparison.agreed


def test_robust_accuracy_is_that_of_the_pure_function(linear_model):
    """Not only equal to the peer's: equal to what the attack gives when it is run without the engine."""
    config = Pgd(epsilon=0.2, step_size=0.05, steps=10, keep="last")
    start = IMAGES + 0.2 * RNG.uniform(-1, 1, IMAGES.shape).astype(np.float32)
    x_adv = pgd(linear_model, tf.constant(IMAGES), LABELS, tf.constant(start), config=config)
    comparison = compare(linear_model, IMAGES, LABELS, config, start=start)
    assert 0 < comparison.robust_accuracy < 1
    np.testing.assert_array_equal(comparison.fooled, np.argmax(linear_model(x_adv), axis=1) != LABELS)
    assert comparison.robust_accuracy == pytest.approx(1 - comparison.peer_fooled.mean())


def test_both_begin_at_the_given_start(linear_model):
    """A step of 0 stays where it began, so that the images are the start itself, moved into the ball and the box."""
    config = Pgd(epsilon=0.5, step_size=0.0, steps=1, keep="last")
    start = IMAGES + RNG.uniform(-1, 1, IMAGES.shape).astype(np.float32)
    comparison = compare(linear_model, IMAGES, LABELS, config, start=start)
    expected = np.clip(np.clip(start, IMAGES - 0.5, IMAGES + 0.5), 0, 1)
    np.testing.assert_array_equal(comparison.peer_fooled, np.argmax(linear_model(expected), axis=1) != LABELS)
    assert comparison.largest_difference <= 1e-6
    assert (comparison.peer_fooled != compare(linear_model, IMAGES, LABELS, config, start=IMAGES).peer_fooled).any()


def test_a_peer_that_draws_its_start_elsewhere_is_noticed(linear_model, monkeypatch):
    config = Pgd(epsilon=0.2, step_size=0.05, steps=2, keep="last")
    peer = cleverhans._Peer()
    monkeypatch.setattr(peer._pgd, "clip_eta", lambda eta, norm, eps: eta + 0.1)
    with pytest.raises(RuntimeError, match="did not begin at the given start"):
        compare(linear_model, IMAGES, LABELS, config)


def test_the_peer_is_left_as_it_was(linear_model):
    draw = cleverhans._Peer()._pgd.random_lp_vector
    compare(linear_model, IMAGES[:3], LABELS[:3], Pgd(epsilon=0.2, step_size=0.1, steps=1, keep="last"))
    assert cleverhans._Peer()._pgd.random_lp_vector is draw


def test_a_confident_model_is_attacked_with_whole_l2_steps(linear_model):
    """Logits x 10 give gradients far below the 1e-6 at which CleverHans would begin to shorten its l2 steps."""
    inputs = keras.Input((2, 2, 1))
    confident = keras.Model(inputs, 10.0 * linear_model(inputs))
    labels = np.argmax(linear_model(IMAGES), axis=1)
    with tf.GradientTape() as tape:
        tape.watch(x := tf.constant(IMAGES))
        loss = tf.nn.sparse_softmax_cross_entropy_with_logits(labels, confident(x))
    length = np.linalg.norm(tape.gradient(loss, x).numpy().reshape(len(IMAGES), -1), axis=1)
    assert ((length > 0) & (length < 1e-7)).sum() >= 10
    comparison = compare(confident, IMAGES, labels, Fgm(epsilon=0.2, norm="l2"))
    assert comparison.largest_difference <= 1e-5


def test_a_wrong_step_of_the_peer_is_a_disagreement(linear_model, monkeypatch):
    peer = cleverhans._Peer()
    right = peer._fgm.optimize_linear
    monkeypatch.setattr(peer._fgm, "optimize_linear", lambda grad, eps, norm: -right(grad, eps, norm))
    comparison = compare(linear_model, IMAGES, LABELS, Fgm(epsilon=0.2))
    assert comparison.peer_robust_accuracy > comparison.robust_accuracy
    assert not comparison.agreed
    assert "DISAGREES" in table([comparison])


def made(**changes):
    """A comparison of 400 examples in which nothing differs, with changes."""
    fooled = np.zeros(400, bool)
    values = dict.fromkeys((field.name for field in dataclasses.fields(Comparison)), 0.0)
    same = {"attack": "a", "examples": 400, "fooled": fooled, "peer_fooled": fooled, "share_of_equal_flags": 1.0}
    return Comparison(**{**values, **same, "pixels_must_agree": True, "versions": {}, **changes})


@pytest.mark.parametrize(
    ("changes", "agreed"),
    [
        ({}, True),
        ({"share_of_equal_flags": 0.995, "share_of_differing_images": 0.005, "largest_difference": 0.3}, True),
        ({"share_of_equal_flags": 0.9925}, False),
        ({"share_of_differing_images": 0.0075}, False),
        ({"share_of_differing_images": 1.0, "pixels_must_agree": False}, True),
        ({"share_of_equal_flags": 0.9925, "pixels_must_agree": False}, False),
    ],
)
def test_agreement_has_the_stated_limits(changes, agreed):
    assert made(**changes).agreed is agreed


def test_a_comparison_is_json_and_names_the_examples_that_one_library_alone_fools():
    fooled, peer_fooled = np.zeros((2, 400), bool)
    fooled[[3, 5]], peer_fooled[[5, 7]] = True, True
    values = json.loads(json.dumps(made(fooled=fooled, peer_fooled=peer_fooled).to_dict(), allow_nan=False))
    assert values["fooled_by_tfadv_only"] == [3]
    assert values["fooled_by_cleverhans_only"] == [7]
    assert values["agreed"] is True


def test_versions_are_those_installed(linear_model):
    versions = compare(linear_model, IMAGES[:3], LABELS[:3], Fgm(epsilon=0.1)).versions
    assert versions["cleverhans"] == importlib.metadata.version("cleverhans")
    assert versions["keras"] == keras.__version__
    assert set(versions) == {"tfadv", "cleverhans", "tensorflow", "keras", "numpy"}


def test_pixels_are_judged_except_where_l2_ball_and_box_meet(linear_model):
    pgd_l2 = Pgd(epsilon=0.2, step_size=0.1, steps=2, norm="l2", keep="last")
    free, one = dataclasses.replace(pgd_l2, bounds=FREE), dataclasses.replace(pgd_l2, steps=1, random_start=False)
    judged = [compare(linear_model, IMAGES[:3], LABELS[:3], config).pixels_must_agree for config in (pgd_l2, free, one)]
    assert judged == [False, True, True]


def test_the_suite_is_fgm_bim_pgd_and_l2_without_the_box():
    best = Pgd(epsilon=0.2, step_size=0.1, steps=7, restarts=5)
    fgm, bim, last = suite(best)
    assert fgm == Fgm(epsilon=0.2)
    assert last == Pgd(epsilon=0.2, step_size=0.1, steps=7, keep="last")
    assert bim == dataclasses.replace(last, random_start=False)
    *_, bounded, free = suite(dataclasses.replace(best, norm="l2"))
    assert free == dataclasses.replace(bounded, bounds=FREE)
    assert len(suite(dataclasses.replace(best, norm="l2"))) == 4


@pytest.mark.parametrize(
    ("config", "message"),
    [
        (Pgd(epsilon=0.2, step_size=0.1), r"keep='last' and restarts=1.*got keep='best'"),
        (Pgd(epsilon=0.2, step_size=0.3, keep="last"), r"step_size <= epsilon.*got step_size=0.3"),
        (Pgd(epsilon=0.2, step_size=0.1, keep="last", objective="margin"), r"'cross_entropy'.*got .*'margin'"),
        (Fgm(epsilon=(0.1, 0.2)), r"one epsilon for all, .*\(0.1, 0.2\)"),
        (Mim(epsilon=0.2, step_size=0.1, keep="last"), r"Pgd or Fgm.*got Mim"),
        (None, r"Pgd or Fgm.*got NoneType"),
    ],
)
def test_an_attack_that_cleverhans_does_not_have_is_refused(linear_model, config, message):
    with pytest.raises(UserError, match=message):
        compare(linear_model, IMAGES, LABELS, config)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"x": 255 * IMAGES}, "divide by 255"),
        ({"x": IMAGES[:0], "y": LABELS[:0]}, "at least one image"),
        ({"y": LABELS + 3}, r"y must lie in 0\.\.2"),
        ({"start": IMAGES[:5]}, "start must have the shape of x"),
        ({"model": lambda x: tf.nn.softmax(tf.reshape(x, [-1, 4]))}, "gives probabilities"),
    ],
)
def test_bad_input_is_refused(linear_model, arguments, message):
    config = Pgd(epsilon=0.2, step_size=0.1, steps=1, keep="last")
    with pytest.raises(UserError, match=message):
        compare(**{"model": linear_model, "x": IMAGES, "y": LABELS, "config": config, **arguments})


@pytest.mark.slow
@pytest.mark.parametrize("norm", ["linf", "l2"])
def test_as_a_peer_it_repeats_our_first_order_attacks(linear_net, examples, norm):
    settings = {"epsilon": {"linf": 0.01, "l2": 0.06}[norm], "norm": norm}
    steps = {"step_size": settings["epsilon"] / 3, "steps": 5, **settings}
    configs = [Fgm(**settings), Pgd(**steps), Pgd(**steps, random_start=False), Mim(**steps)]
    peers = {"cleverhans": cleverhans.PEER}
    rows = comparison.compare(linear_net, examples.x, examples.y, configs, peers, report=lambda _: None).rows
    assert [(row.verdict, row.share_of_equal_flags) for row in rows] == [("passes", 1.0)] * 4
    assert all(0 < row.peer_success < 1 for row in rows)


def test_as_a_peer_it_draws_its_own_start_where_none_is_given(linear_model):
    """A step of almost 0 stays where it began."""
    config = Pgd(epsilon=0.2, step_size=1e-9, steps=1, keep="last")
    x_adv = cleverhans.pgd(cleverhans.load(linear_model), IMAGES, LABELS, config, None, 260)
    assert 0.05 < np.abs(x_adv - IMAGES).mean() < 0.15
    still = dataclasses.replace(config, random_start=False)
    x_adv = cleverhans.pgd(cleverhans.load(linear_model), IMAGES, LABELS, still, None, 260)
    np.testing.assert_allclose(x_adv, IMAGES, atol=1e-6)


@pytest.mark.parametrize(
    ("attack", "config"),
    [
        (cleverhans.pgd, Pgd(epsilon=0.1, step_size=0.2)),
        (cleverhans.pgd, Pgd(restarts=2)),
        (cleverhans.fgm, Fgm(norm="l1")),
        (cleverhans.mim, Mim(random_start=True)),
    ],
)
def test_as_a_peer_it_refuses_what_it_does_not_have(linear_model, attack, config):
    with pytest.raises(NotShared):
        attack(cleverhans.load(linear_model), IMAGES, LABELS, config, None, 260)


def test_what_is_called_broken_is_still_broken(linear_model):
    """When one of these fails, the attack can be compared with."""
    from cleverhans.tf2.attacks.carlini_wagner_l2 import carlini_wagner_l2
    from cleverhans.tf2.attacks.spsa import spsa

    assert set(cleverhans.PEER.broken) == {"CarliniWagner", "Spsa"}
    with pytest.raises(TypeError, match="not callable"):
        carlini_wagner_l2(linear_model, IMAGES[:2], max_iterations=1)
    with pytest.raises(ValueError, match="'lr'"):
        spsa(linear_model, tf.constant(IMAGES[:1]), tf.constant(LABELS[:1]), 0.1, 1, spsa_samples=2)


def test_without_the_package_the_error_says_what_to_install(linear_model, monkeypatch):
    for name in [name for name in sys.modules if name.split(".")[0] == "cleverhans"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "cleverhans", None)
    with pytest.raises(UserError, match=r'pip install "tfadv\[crosscheck\]"'):
        compare(linear_model, IMAGES, LABELS, Fgm(epsilon=0.1))


@pytest.mark.slow
@pytest.mark.parametrize(("norm", "epsilon"), [("linf", 0.1), ("l2", 1.0)])
def test_on_a_trained_network_the_two_libraries_agree(norm, epsilon):
    from tfadv import data

    keras.utils.set_random_seed(0)
    layers = keras.layers
    model = keras.Sequential(
        [
            layers.Input((28, 28, 1)),
            layers.Conv2D(8, 5, strides=2, activation="relu"),
            layers.Conv2D(16, 5, strides=2, activation="relu"),
            layers.Flatten(),
            layers.Dropout(0.2),
            layers.Dense(10),
        ]
    )
    model.compile(keras.optimizers.Adam(0.005), keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    model.fit(*data.arrays("digits", "train"), batch_size=50, epochs=4, verbose=0)
    x, y = data.arrays("digits", "test", limit=300)
    comparisons = [
        compare(model, x, y, config)
        for config in suite(Pgd(epsilon=epsilon, step_size=epsilon / 10, steps=20, norm=norm))
    ]
    print(table(comparisons))
    assert [comparison.attack for comparison in comparisons if not comparison.agreed] == []
    assert all(0.01 < comparison.robust_accuracy < 0.9 for comparison in comparisons)
