"""Attacks on degenerate models, data and radii: in ball and box with honest flags, or one error that names it."""

import math

import hypothesis.strategies as st
import numpy as np
import pytest
import tensorflow as tf
from hypothesis import example, given, settings

from tfadv import attacks
from tfadv.attacks import compiled
from tfadv.balls import BALLS
from tfadv.validation import UserError

# A ball wider than the box is on purpose here.
pytestmark = pytest.mark.filterwarnings("ignore:epsilon .* is wider")

PIXELS = np.random.default_rng(5).random([4, 1, 1, 1], np.float32)


def brightest(x_adv, x, y):
    del x, y
    return tf.reduce_sum(x_adv, axis=[1, 2, 3])


# One of each family and norm that computes differently; the whole table on ordinary data is in tests/attacks.
BOUNDED = {
    "Fgm linf": lambda e: attacks.Fgm(e),
    "Fgm l1": lambda e: attacks.Fgm(e, "l1"),
    "Pgd linf": lambda e: attacks.Pgd(e, 0.03, 3, seed=1),
    "Pgd l2 margin": lambda e: attacks.Pgd(e, 0.1, 3, "l2", "margin", restarts=2),
    "Pgd l1": lambda e: attacks.Pgd(e, 0.2, 3, "l1"),
    "Mim l2": lambda e: attacks.Mim(e, 0.1, 3, "l2"),
    "Apgd linf": lambda e: attacks.Apgd(e, 8),
    "Apgd l1": lambda e: attacks.Apgd(e, 8, "l1"),
    "Fab l2": lambda e: attacks.Fab(e, 4, "l2", targets=1),
    "Square linf": lambda e: attacks.Square(e, 8),
    "Square l2": lambda e: attacks.Square(e, 8, "l2"),
    "Spsa linf": lambda e: attacks.Spsa(e, steps=2, samples=4),
    "DeepFool linf": lambda e: attacks.DeepFool(e, 4, "linf"),
    "CarliniWagner l2": lambda e: attacks.CarliniWagner(e, steps=6, binary_searches=2),
    "HopSkipJump l2": lambda e: attacks.HopSkipJump(e, queries=200),
    "Brightness linf": lambda e: attacks.Brightness(e, levels=3),
    "Adaptive linf": lambda e: attacks.Adaptive(e, 0.03, 3, loss=brightest),
}
FREE = {
    "Jsma": lambda: attacks.Jsma(gamma=0.5),
    "PixelSwap": lambda: attacks.PixelSwap(draws=2),
    "FlippedPixels": lambda: attacks.FlippedPixels(draws=2, pixels=3),
    "ExtremePixels": lambda: attacks.ExtremePixels(pixels=4),
    "Rotation": lambda: attacks.Rotation(levels=3),
}
every = pytest.mark.parametrize("name", [*BOUNDED, *FREE])


def two_classes(x):
    """Images [B, ...] -> logits (mean - 1/2, 0)."""
    mean = tf.reduce_mean(tf.reshape(x, [tf.shape(x)[0], -1]), axis=1)
    return tf.stack([mean - 0.5, tf.zeros_like(mean)], axis=1)


def constant(x):
    """Three classes alike, whatever the image: no gradient leads anywhere."""
    return tf.concat([0.0 * two_classes(x), 0.0 * two_classes(x)[:, :1]], axis=1) + 0.25


def run(name, epsilon, model, x, y):
    config = BOUNDED[name](epsilon) if name in BOUNDED else FREE[name]()
    return compiled(model, config, jit="off", precision="float32").run(x, y)


def keeps_its_promises(name, outcome, epsilon, model, x, y):
    x_adv = outcome.x_adv
    assert (x_adv.shape, x_adv.dtype) == (np.shape(x), np.float32)
    assert np.isfinite(x_adv).all()
    assert x_adv.min() >= 0
    assert x_adv.max() <= 1
    if name in BOUNDED:
        size = BALLS[name.split()[1]].size(tf.constant(x_adv - x)).numpy()
        assert (size <= np.asarray(epsilon) * (1 + 1e-5) + 1e-6).all()
    hit = model(tf.constant(x_adv)).numpy().argmax(axis=1) == y
    np.testing.assert_array_equal(outcome.adversarial, hit if name == "Jsma" else ~hit)
    assert (outcome.ever_adversarial >= outcome.adversarial).all()


@every
def test_nan_is_no_success(name):
    """Logits are NaN wherever an image is no longer the original: argmax would call that class 0."""
    x = np.array([0.2, 0.45, 0.6, 0.9], np.float32).reshape(4, 1, 1, 1)

    def only_clean(x_adv):
        known = tf.reduce_any(tf.abs(x_adv[:, :, 0, 0] - x[:, 0, 0, 0]) < 1e-7, axis=1, keepdims=True)
        return tf.where(known, two_classes(x_adv), math.nan)

    clean = np.array([1, 1, 0, 0])
    outcome = run(name, 0.1, only_clean, x, 1 - clean if name == "Jsma" else clean)
    assert not outcome.adversarial.any()
    assert not outcome.ever_adversarial.any()


# Radii.


@every
def test_one_pixel_and_two_classes(name):
    """Images of 1x1, one of each label on either side of the boundary."""
    y = np.array([0, 1, 0, 1])
    outcome = run(name, 0.1, two_classes, PIXELS, y)
    keeps_its_promises(name, outcome, 0.1, two_classes, PIXELS, y)


@every
def test_a_model_that_answers_alike_to_everything_is_never_fooled(name):
    """Ties go to class 0, so what is labeled 0 is right everywhere and what is labeled 1 or 2 is wrong everywhere."""
    y = np.array([0, 1, 2, 0])
    outcome = run(name, 0.3, constant, PIXELS, y)
    keeps_its_promises(name, outcome, 0.3, constant, PIXELS, y)
    assert outcome.adversarial.tolist() == ((y == 0) if name == "Jsma" else (y != 0)).tolist()


@pytest.mark.parametrize("name", BOUNDED)
def test_radii_from_the_smallest_number_to_the_largest_in_one_batch(name):
    """None (0), below float32, one denormal, ordinary, wider than the box, and as wide as any may be."""
    epsilon = (0.0, 1e-300, 1e-45, 1e-8, 0.2, 30.0, 1e9, 1e18)
    x = np.linspace(0, 1, 8, dtype=np.float32).reshape(8, 1, 1, 1).repeat(2, axis=1)
    y = two_classes(x).numpy().argmax(axis=1)
    outcome = run(name, epsilon, two_classes, x, y)
    keeps_its_promises(name, outcome, epsilon, two_classes, x, y)
    np.testing.assert_array_equal(outcome.x_adv[:2], x[:2])


@pytest.mark.parametrize("kind", [attacks.Fgm, attacks.Pgd, attacks.Square, attacks.Fab, attacks.AutoAttack])
def test_what_is_no_radius_is_refused_when_the_attack_is_made(kind):
    assert attacks.Fab(epsilon=None).keep == "closest"  # A ball without an edge.
    for epsilon in (-1e-9, math.nan, math.inf, "0.1", True, [[0.1]], [0.1, None], [0.1, [0.2]], 1j, {}, 10**400):
        with pytest.raises(UserError, match="epsilon must"):
            kind(epsilon=epsilon)


@pytest.mark.parametrize("epsilon", [1.001e18, 3e38, 1e300])
def test_a_radius_whose_square_no_float32_holds_is_refused(epsilon):
    with pytest.raises(UserError, match=r"epsilon must be a finite number .* at most 1e\+18"):
        attacks.Square(epsilon, norm="l2")


@pytest.mark.parametrize(
    "kind", [attacks.Pgd, attacks.Mim, attacks.Apgd, attacks.Square, attacks.DeepFool, attacks.Jsma]
)
@pytest.mark.parametrize("bounds", [(1.0, 0.0), (0.5, 0.5), (0.0, math.nan), (0.0,), None, "01"], ids=repr)
def test_bounds_that_are_none_are_refused_by_name_at_the_latest_in_the_call(kind, bounds):
    with pytest.raises(UserError, match="bounds must be two numbers"):
        compiled(two_classes, kind(bounds=bounds), jit="off")(PIXELS, np.zeros(4, np.int32))


# Data.

SHAPES = st.lists(st.integers(0, 2), min_size=0, max_size=5)
KINDS = st.sampled_from(["f2", "f4", "f8", "u1", "i8", "?", "O", "U1", "c8"])
SPOILT = st.sampled_from([None, None, None, math.nan, math.inf, -math.inf, -1e-3, 1.001, 255.0, 1e38])
LABELS = st.one_of(
    st.lists(st.integers(-1, 2), max_size=3),
    st.lists(st.sampled_from([0.0, 1.0, 0.5, math.nan]), max_size=3),
    st.lists(st.lists(st.sampled_from([0.0, 0.3, 1.0, -1.0, math.nan]), min_size=1, max_size=3), max_size=2),
    st.lists(st.sampled_from(["0", "cat"]), max_size=2),
    st.sampled_from([None, "", 0, {}, 2**40]),
)
STARTS = st.sampled_from([None, None, "x", math.nan, "shape"])
PGD = compiled(two_classes, attacks.Pgd(0.2, 0.1, 2), jit="off", precision="float32")


@settings(max_examples=120)
@example(shape=[1, 1, 1, 1], kind="f4", spoilt=None, y=[0], start=None)
@example(shape=[2, 1, 1, 1], kind="f2", spoilt=None, y=[[0.3, 0.7], [1.0, 0.0]], start="x")
@given(shape=SHAPES, kind=KINDS, spoilt=SPOILT, y=LABELS, start=STARTS)
def test_any_images_labels_and_starts(refusal, shape, kind, spoilt, y, start):
    x = np.full(shape, 0.25).astype(kind)
    if spoilt is not None and x.size and kind in ("f4", "f8"):
        x.flat[-1] = spoilt
    start = {"x": x, "shape": np.zeros([7, 1])}.get(start, start) if isinstance(start, str) else start
    start = np.full(shape, start) if isinstance(start, float) else start
    got = []
    if refusal(("x must", "y must", "y of shape", "start must"), PGD.run, x, y, start, into=got) is None:
        labels = np.asarray(y)
        labels = labels.argmax(axis=1) if labels.ndim == 2 and labels.shape[1] > 1 else labels.reshape(-1)
        keeps_its_promises("Pgd linf", got[0], 0.2, two_classes, x.astype(np.float32), labels)


# Models.


NO_MODELS = {
    "no function": (None, "model must be a Keras model"),
    "a path": ("model.keras", "a path is loaded by tfadv.models.load"),
    "one class": (lambda x: two_classes(x)[:, :1], r"classes >= 2\], got \(4, 1\)"),
    "no class": (lambda x: two_classes(x)[:, :0], r"classes >= 2\], got \(4, 0\)"),
    "no class axis": (lambda x: two_classes(x)[:, 0], r"classes >= 2\], got \(4,\)"),
    "an axis more": (lambda x: two_classes(x)[:, None], r"classes >= 2\], got \(4, 1, 2\)"),
    "a row less": (lambda x: two_classes(x)[:-1], "one row of logits for each image, got 3 for 4"),
    "one answer": (lambda x: tf.constant([[1.0, -1.0]]), "one row of logits for each image, got 1 for 4"),
    "NaN": (lambda x: two_classes(x) * math.nan, "NaN or infinite logits"),
    "one NaN": (lambda x: tf.where(x[:, :, 0, 0] == x[0, 0, 0, 0], math.nan, two_classes(x)), "NaN or infinite logits"),
    "infinite": (lambda x: two_classes(x) / 0.0, "NaN or infinite logits"),
    "nothing": (lambda x: None, "logits as one tensor, got NoneType"),
    "text": (lambda x: tf.as_string(two_classes(x)), "logits as real numbers, got string"),
    "complex": (lambda x: tf.cast(two_classes(x), tf.complex64), "logits as real numbers, got complex64"),
    "ragged": (lambda x: [[1.0, 2.0], [3.0]], "2 outputs; pass a function that picks the logits"),
    "two outputs": (lambda x: [two_classes(x)] * 2, "2 outputs; pass a function that picks the logits"),
    "other names": (lambda x: {"a": two_classes(x), "b": x}, "none called 'logits'"),
}


@pytest.mark.parametrize(("model", "message"), NO_MODELS.values(), ids=NO_MODELS)
@pytest.mark.parametrize("config", [attacks.Fgm(0.1), attacks.AutoAttack(0.1)], ids=["attack", "cascade"])
def test_what_gives_no_logits_is_refused_before_it_is_attacked(model, message, config):
    with pytest.raises(UserError, match=message):
        compiled(model, config, jit="off", precision="float32").run(PIXELS, np.zeros(4, np.int32))


def test_a_model_for_images_of_another_shape_says_so():
    layers = tf.keras.layers
    net = tf.keras.Sequential([layers.Input((28, 28, 1)), layers.Flatten(), layers.Dense(2)], name="net")
    attack = compiled(net, attacks.Fgm(0.1), jit="off")
    for shape in ((4, 1, 1, 1), (4, 28, 28, 3), (4, 28, 28, 1, 2), (4, 785)):
        with pytest.raises(UserError) as caught:
            attack(np.zeros(shape, np.float32), np.zeros(4, np.int32))
        assert str(caught.value) == f"x must have the shape that the model takes, (None, 28, 28, 1), got {shape}"
    assert attack(np.zeros((1, 28, 28), np.float32), [0]).shape == (1, 28, 28)  # Keras adds the last axis.


def test_an_error_of_the_users_own_model_is_passed_on_as_it_is():
    """Hiding it behind another type would hide its traceback, which is what mends it."""

    class OwnError(Exception):
        pass

    def failing(x):
        raise OwnError("line 7")

    for config in (attacks.Fgm(0.1), attacks.Square(0.1, 8), attacks.AutoAttack(0.1)):
        with pytest.raises(OwnError, match="line 7"):
            compiled(failing, config, jit="off").run(PIXELS, np.zeros(4, np.int32))


# Settings.

JUNK = ["abc", None, [], (), math.nan, True, {}, -1, 0, 1.5, 2**31, math.inf, -math.inf, object(), 1j, [[1]], "linf"]
# Those that hold functions or tensors are made in Python alone.
KINDS_OF_ATTACKS = [kind for kind in attacks.ATTACKS if kind not in (attacks.Adaptive, attacks.FeatureAttack)]


@pytest.mark.parametrize(
    "kind",
    [*KINDS_OF_ATTACKS, attacks.AutoAttack, attacks.Fooling, attacks.FoolingSweep],
    ids=lambda kind: kind.__name__,
)
def test_every_setting_of_every_attack_takes_junk_or_refuses_it_by_its_name(refusal, kind):
    for name in kind.__dataclass_fields__:
        for value in JUNK:
            refusal((name,), kind, **{name: value})


@settings(max_examples=60)
@given(
    kind=st.sampled_from([attacks.Pgd, attacks.Mim, attacks.Apgd, attacks.Square, attacks.Fab, attacks.DeepFool]),
    name=st.sampled_from(["step_size", "restarts", "seed", "norm", "objective", "keep", "targets", "decay", "eta"]),
    value=st.sampled_from([value for value in JUNK if value != 2**31]),  # So many restarts are allowed, and long.
)
@example(kind=attacks.Pgd, name="seed", value=1.5)
@example(kind=attacks.Pgd, name="seed", value=2**31)
@example(kind=attacks.Square, name="seed", value=-1)
def test_an_attack_that_could_be_made_runs_or_says_which_setting_is_wrong(refusal, kind, name, value):
    if name not in kind.__dataclass_fields__:
        return
    y = np.array([0, 1, 0, 1])
    small = {"Square": {"queries": 3}, "Apgd": {"steps": 4}}.get(kind.__name__, {"steps": 2})

    def attacked():
        config = kind(**{"epsilon": 0.1, **small, name: value})
        return config, compiled(two_classes, config, jit="off", precision="float32").run(PIXELS, y)

    got = []
    if refusal((name,), attacked, into=got) is None:
        ((config, outcome),) = got
        ball = next(each for each in BOUNDED if each.endswith(f" {config.norm}"))
        keeps_its_promises(ball, outcome, 0.1, two_classes, PIXELS, y)


@pytest.mark.parametrize("batch_size", [0, -1, 1.5, "8", True, math.nan], ids=repr)
def test_a_batch_size_is_a_whole_number_above_0(batch_size):
    for config in (attacks.Fgm(0.1), attacks.AutoAttack(0.1)):
        with pytest.raises(UserError, match="batch_size must be"):
            compiled(two_classes, config, batch_size=batch_size)


@pytest.mark.parametrize("config", [None, "pgd", attacks.Pgd, {}, 5], ids=repr)
def test_what_is_no_attack_is_refused(config):
    with pytest.raises(UserError, match="config must be an attack of tfadv"):
        compiled(two_classes, config)
