"""The contract of every attack of the index: ball and box, epsilon, NaN, monotony, XLA, batches, seeds and JSON."""

import dataclasses
import functools
import json

import numpy as np
import pytest
import tensorflow as tf

from tfadv import attacks
from tfadv.attacks import ATTACKS, Fgm, Mim, Pgd, compiled, from_dict, to_dict, training_form
from tfadv.balls import BALLS
from tfadv.validation import UserError

# Row i of a batch has EPSILONS[i % 3]: nothing, a small ball, and one wider than the box.
EPSILONS = (0.0, 8 / 255, 2.0)
COUNT = 12
EACH = EPSILONS * (COUNT // 3)

RNG = np.random.default_rng(0)
HIDDEN, OUT = RNG.normal(size=(16, 12)).astype(np.float32), RNG.normal(size=(12, 4)).astype(np.float32)
IMAGES = RNG.random((COUNT, 4, 4, 1), np.float32)


def toy(x):
    """Images [B, 4, 4, 1] -> logits [B, 4], curved enough that attacks and norms differ."""
    return 3.0 * tf.tanh((tf.reshape(x, [-1, 16]) - 0.5) @ HIDDEN) @ OUT


LABELS = toy(IMAGES).numpy().argmax(axis=1).astype(np.int32)


def away(x_adv, x, y):
    """A loss of one's own, for the adaptive slot: the size of the second hidden unit."""
    del x, y
    return (tf.reshape(x_adv, [-1, 16]) @ HIDDEN)[:, 1]


def hidden(x):
    return tf.reshape(x, [-1, 16]) @ HIDDEN


def other_features(problem):
    """A fixed point of feature space for every example and run."""
    return tf.zeros([tf.shape(problem.y)[0], 12]) + tf.cast(problem.run, tf.float32)[:, None]


FEATURES = np.zeros([COUNT, 2, 12], np.float32)

# Name -> how to make the attack for a radius. Small numbers of steps and queries: it is the contract that is tested.
BOUNDED = {
    "Fgm linf": lambda e: attacks.Fgm(e),
    "Fgm l2": lambda e: attacks.Fgm(e, "l2"),
    "Fgm l1": lambda e: attacks.Fgm(e, "l1"),
    "Pgd linf": lambda e: attacks.Pgd(e, 0.03, 4, seed=1),
    "Pgd linf last": lambda e: attacks.Pgd(e, 0.03, 4, seed=1, keep="last"),
    "Pgd linf dlr": lambda e: attacks.Pgd(e, 0.03, 4, objective="dlr", restarts=2),
    "Pgd l2 margin": lambda e: attacks.Pgd(e, 0.1, 4, "l2", "margin"),
    "Pgd l1": lambda e: attacks.Pgd(e, 0.2, 4, "l1"),
    "Mim linf": lambda e: attacks.Mim(e, 0.03, 4),
    "Mim l2": lambda e: attacks.Mim(e, 0.1, 4, "l2"),
    "Apgd linf": lambda e: attacks.Apgd(e, 12),
    "Apgd l2 dlr": lambda e: attacks.Apgd(e, 12, "l2", "dlr"),
    "Apgd linf targeted": lambda e: attacks.Apgd(e, 8, objective="targeted_dlr", targets=2),
    "Apgd l1": lambda e: attacks.Apgd(e, 12, "l1"),
    "Fab linf": lambda e: attacks.Fab(e, 6),
    "Fab l2 targeted": lambda e: attacks.Fab(e, 6, "l2", targets=2),
    "Square linf": lambda e: attacks.Square(e, 12),
    "Square l2": lambda e: attacks.Square(e, 12, "l2"),
    "Spsa linf": lambda e: attacks.Spsa(e, steps=3, samples=4),
    "DeepFool l2": lambda e: attacks.DeepFool(e, 6),
    "DeepFool linf": lambda e: attacks.DeepFool(e, 6, "linf"),
    "CarliniWagner l2": lambda e: attacks.CarliniWagner(e, steps=12, binary_searches=2, learning_rate=0.05),
    "HopSkipJump l2": lambda e: attacks.HopSkipJump(e, queries=200),
    "Brightness linf": lambda e: attacks.Brightness(e, levels=4),
    "Adaptive linf": lambda e: attacks.Adaptive(e, 0.03, 4, loss=away),
}
FREE = {
    "Jsma": lambda: attacks.Jsma(gamma=0.5),
    "PixelSwap": lambda: attacks.PixelSwap(draws=4),
    "FlippedPixels": lambda: attacks.FlippedPixels(draws=4, pixels=3),
    "ExtremePixels": lambda: attacks.ExtremePixels(pixels=4),
    "Rotation": lambda: attacks.Rotation(levels=3),
}
# Its targets are tensors of one data set, so it has tests of its own alone.
ELSEWHERE = {attacks.FeatureAttack}

bounded = pytest.mark.parametrize("name", BOUNDED)
every = pytest.mark.parametrize("name", [*BOUNDED, *FREE])
# A ball wider than the box is on purpose here.
pytestmark = pytest.mark.filterwarnings("ignore:epsilon .* is wider")


def make(name, epsilon):
    return BOUNDED[name](epsilon) if name in BOUNDED else FREE[name]()


def norm_of(name):
    return name.split()[1]


@functools.cache
def attack(name, jit="off", batch_size=None):
    return compiled(toy, make(name, EACH), jit=jit, precision="float32", batch_size=batch_size)


def wanted(name):
    """Labels; of a targeted attack, classes to reach."""
    return (LABELS + 1) % 4 if name == "Jsma" else LABELS


@functools.cache
def outcome(name, jit="off", batch_size=None):
    return attack(name, jit, batch_size).run(IMAGES, wanted(name))


def succeeded(name, x_adv):
    equal = toy(x_adv).numpy().argmax(axis=1) == wanted(name)
    return equal if name == "Jsma" else ~equal


def share_of_equal(first, second, atol=1e-5):
    """Of images without a pixel that differs by more than `atol`."""
    return (np.abs(first - second).reshape(len(first), -1).max(axis=1) <= atol).mean()


def test_the_table_covers_the_index():
    assert {type(make(name, 0.1)) for name in [*BOUNDED, *FREE]} | ELSEWHERE == set(ATTACKS)


@every
def test_results_are_finite_images_in_the_box_and_in_their_balls(name):
    x_adv = outcome(name).x_adv
    assert x_adv.shape == IMAGES.shape
    assert x_adv.dtype == np.float32
    assert np.isfinite(x_adv).all()
    assert x_adv.min() >= 0
    assert x_adv.max() <= 1
    if name in BOUNDED:
        size = BALLS[norm_of(name)].size(tf.constant(x_adv - IMAGES)).numpy()
        assert (size <= np.array(EACH) * (1 + 1e-5) + 1e-6).all()


@bounded
def test_epsilon_zero_gives_the_images_back_bit_for_bit(name):
    np.testing.assert_array_equal(outcome(name).x_adv[::3], IMAGES[::3])


@every
def test_a_flag_says_that_the_returned_image_is_what_the_attack_wants(name):
    flags = outcome(name).adversarial
    np.testing.assert_array_equal(flags, succeeded(name, outcome(name).x_adv))
    if name in BOUNDED:
        assert not flags[::3].any()  # All are classified right, and epsilon 0 changes nothing.


WEAK = {"Brightness linf", "Adaptive linf", "Spsa linf", "Rotation", "PixelSwap", "FlippedPixels"}


@pytest.mark.parametrize("name", [name for name in [*BOUNDED, *FREE] if name not in WEAK])
def test_it_fools_most(name):
    """In the ball wider than the box; those left out are weak by what they may do."""
    flags = outcome(name).adversarial
    if name in BOUNDED:
        flags = flags[2::3]
    assert flags.mean() >= 0.5


@every
def test_the_graph_of_the_pure_function_and_the_engine_agree(name):
    pure = ATTACKS[type(make(name, EACH))]
    graph = tf.function(
        lambda x, y: pure(toy, x, y, None, config=make(name, EACH)), autograph=False
    ).get_concrete_function(tf.TensorSpec(IMAGES.shape), tf.TensorSpec([COUNT], tf.int32))
    x_adv = graph(tf.constant(IMAGES), tf.constant(wanted(name), tf.int32)).numpy()
    np.testing.assert_array_equal(succeeded(name, x_adv), outcome(name).adversarial)
    assert share_of_equal(x_adv, outcome(name).x_adv, atol=1e-4) >= 0.9


@every
def test_the_result_of_an_example_does_not_depend_on_the_batch(name):
    """Five slots with a queue against one batch of all: the same random numbers, the same flags."""
    few = outcome(name, batch_size=5)
    np.testing.assert_array_equal(few.adversarial, outcome(name).adversarial)
    assert share_of_equal(few.x_adv, outcome(name).x_adv, atol=1e-4) >= 0.9


@pytest.mark.slow
@every
def test_xla_and_the_graph_agree(name):
    xla = outcome(name, jit="on")
    np.testing.assert_array_equal(xla.adversarial, outcome(name).adversarial)
    assert share_of_equal(xla.x_adv, outcome(name).x_adv, atol=1e-3) >= 0.9


@bounded
def test_a_larger_ball_fools_no_fewer(name):
    """The same four radii for every image, as one batch with an epsilon for each example."""
    radii = np.array([0.0, 0.02, 0.1, 0.4])
    if norm_of(name) != "linf":
        radii *= 4.0 if norm_of(name) == "l1" else 2.0
    x, y = np.repeat(IMAGES, 4, axis=0), np.repeat(LABELS, 4)
    config = make(name, tuple(np.tile(radii, COUNT).tolist()))
    fooled = compiled(toy, config, jit="off", precision="float32").run(x, y).adversarial.reshape(COUNT, 4).sum(axis=0)
    # A larger ball is another search: one image in twelve may be lost on the way.
    assert (np.diff(fooled) >= -1).all(), fooled
    assert fooled[0] == 0
    if name not in WEAK:
        assert fooled[-1] >= COUNT // 2


@every
def test_a_model_that_gives_nan_around_some_images_harms_only_those(name):
    """NaN wherever the first pixel is near 0.5, but not at 0.5: every third image is surrounded by it."""
    broken = np.arange(COUNT) % 3 == 1

    def model(x):
        distance = tf.abs(tf.reshape(x, [-1, 16])[:, :1] - 0.5)
        return tf.where((distance > 0) & (distance < 0.15), np.float32("nan"), toy(x))

    x = IMAGES.copy()
    x[:, 0, 0, 0] = np.where(broken, 0.5, 0.8)
    labels = toy(x).numpy().argmax(axis=1).astype(np.int32)
    y = (labels + 1) % 4 if name == "Jsma" else labels
    config = make(name, 0.1)
    got = compiled(model, config, jit="off", precision="float32").run(x, y)
    assert np.isfinite(got.x_adv).all()
    assert got.x_adv.min() >= 0
    assert got.x_adv.max() <= 1
    if name in BOUNDED:
        size = BALLS[norm_of(name)].size(tf.constant(got.x_adv - x)).numpy()
        assert (size <= 0.1 * (1 + 1e-5) + 1e-6).all()
        rows = np.flatnonzero(~broken)
        rest = compiled(toy, config, jit="off", precision="float32").run(x[rows], y[rows], index=rows)
        # HopSkipJump comes from noise anywhere in the box, some of it where the model gives NaN.
        alike = 0.7 if name.startswith("HopSkipJump") else 0.85
        assert share_of_equal(got.x_adv[rows], rest.x_adv, atol=1e-4) >= alike


# Two classes; the margin of label 0 is 2 (w . x + 1.5), and over a linf ball in the box its lowest value is known.
LINE = np.array([1.0, -2.0, 0.5, -0.25] * 4, np.float32)


def line(x):
    value = tf.reshape(x, [-1, 16]) @ LINE[:, None] + 1.5
    return tf.concat([value, -value], axis=1)


def least_radius(x):
    """The smallest epsilon whose clipped corner x - epsilon sign(w) is misclassified, by bisection in float64."""
    low, high = np.zeros(len(x)), np.full(len(x), 1.0)
    flat = x.reshape(len(x), 16).astype(np.float64)
    for _ in range(60):
        middle = (low + high) / 2
        corner = np.clip(flat - middle[:, None] * np.sign(LINE), 0, 1)
        fooled = corner @ LINE.astype(np.float64) + 1.5 < 0
        low, high = np.where(fooled, low, middle), np.where(fooled, middle, high)
    return high


LINEAR = {
    "Fgm": lambda e: attacks.Fgm(e),
    "Pgd": lambda e: attacks.Pgd(e, tuple(np.array(e) / 2), 8),
    "Pgd margin": lambda e: attacks.Pgd(e, tuple(np.array(e) / 2), 8, objective="margin"),
    "Mim": lambda e: attacks.Mim(e, tuple(np.array(e) / 2), 8),
    "Apgd": lambda e: attacks.Apgd(e, 20),
    "Apgd dlr": lambda e: attacks.Apgd(e, 20, objective="dlr"),
    "Apgd targeted": lambda e: attacks.Apgd(e, 20, objective="targeted_dlr"),
    "Fab": lambda e: attacks.Fab(e, 20),
    "Fab targeted": lambda e: attacks.Fab(e, 20, targets=9),
    "DeepFool": lambda e: attacks.DeepFool(e, 50, "linf"),
    "Square": lambda e: attacks.Square(e, 1000),
    "Spsa": lambda e: attacks.Spsa(e, steps=100, samples=32, learning_rate=0.05),
}


@pytest.mark.parametrize("name", LINEAR)
def test_on_a_linear_model_every_linf_attack_fools_exactly_what_can_be_fooled(name):
    """5% above the closed form's radius all are fooled, 5% below none; of two classes DLR takes the margin."""
    y = line(IMAGES).numpy().argmax(axis=1).astype(np.int32)
    x = IMAGES[y == 0]
    assert len(x) >= 3
    radius = least_radius(x)
    for factor, fooled in ((1.05, True), (0.95, False)):
        config = LINEAR[name](tuple((factor * radius).tolist()))
        got = compiled(line, config, jit="off", precision="float32").run(x, np.zeros(len(x), np.int32))
        assert (got.adversarial == fooled).all(), factor


@pytest.mark.parametrize("name", ["Pgd l2 margin", "Apgd l2 dlr", "Fab l2 targeted", "Square linf", "Jsma"])
def test_images_in_bounds_of_their_own(name):
    """[-1, 1]: everything is stretched by two, radii too, and the same images are fooled."""
    stretched = {"Pgd l2 margin": {"step_size": 0.2}}.get(name, {})
    radius = 0.1
    config = make(name, radius)
    if name in BOUNDED:
        stretched["epsilon"] = 2 * radius
    wide = dataclasses.replace(config, bounds=(-1.0, 1.0), **stretched)
    y = wanted(name)
    usual = compiled(toy, config, jit="off", precision="float32").run(IMAGES, y)
    got = compiled(lambda x: toy((x + 1) / 2), wide, jit="off", precision="float32").run(2 * IMAGES - 1, y)
    assert (got.adversarial == usual.adversarial).mean() >= 0.9
    assert got.x_adv.min() >= -1
    assert got.x_adv.max() <= 1


@every
def test_a_config_survives_json(name):
    config = make(name, EACH)
    values = json.loads(json.dumps(to_dict(config)))
    assert values["class"] == type(config).__name__
    if isinstance(config, attacks.Adaptive):
        assert values["loss"].endswith(".away")
        with pytest.raises(UserError, match="Adaptive holds functions"):
            from_dict(values)
    else:
        assert from_dict(values) == config


def test_from_dict_refuses_an_attack_that_does_not_exist():
    with pytest.raises(UserError, match=r"must be one of \['Adaptive', 'Apgd', .*\], got 'Newton'"):
        from_dict({"class": "Newton", "epsilon": 0.1})


class TestTrainingForm:
    @pytest.mark.parametrize("config", [Fgm(0.1), Pgd(0.1, 0.03, 4, "l2"), Mim(0.1, 0.03, 4, keep="best")], ids=str)
    def test_it_is_the_last_iterate_of_one_start_and_nothing_else_changes(self, config):
        form = training_form(config)
        assert (form.keep, form.restarts) == ("last", 1)
        assert (form.epsilon, form.norm, form.objective) == (config.epsilon, config.norm, config.objective)
        if isinstance(config, Pgd):
            assert (form.steps, form.step_size, form.random_start) == (
                config.steps,
                config.step_size,
                config.random_start,
            )

    def test_it_takes_one_of_several_restarts(self):
        assert training_form(Pgd(restarts=5)) == Pgd(keep="last")

    def test_it_refuses_a_radius_or_a_step_for_each_example(self):
        """Batches are mixed anew in every epoch, so the numbers would fall to other images each time."""
        for config in (Fgm(epsilon=(0.1, 0.2)), Pgd(epsilon=(0.1, 0.2))):
            with pytest.raises(UserError, match="epsilon must be one number in training, got 2"):
                training_form(config)
        with pytest.raises(UserError, match="step_size must be one number in training, got 3"):
            training_form(Pgd(step_size=(0.1, 0.2, 0.3)))

    @pytest.mark.parametrize("config", ["pgd", attacks.Square(), attacks.DeepFool()], ids=lambda c: type(c).__name__)
    def test_it_refuses_what_is_no_first_order_attack(self, config):
        with pytest.raises(UserError, match=rf"must be one of .*'Pgd'\] in training, got {type(config).__name__}"):
            training_form(config)
