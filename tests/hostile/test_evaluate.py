"""An evaluation of anything: accuracies that can be counted again by hand, or one error that names the argument."""

import math

import hypothesis.strategies as st
import keras
import numpy as np
import pytest
import tensorflow as tf
from hypothesis import example, given, settings

import tfadv
from tfadv import attacks
from tfadv.evaluation.inputs import as_arrays, named
from tfadv.evaluation.threats import Threat
from tfadv.validation import UserError

X = np.random.default_rng(2).uniform(0.2, 0.8, [6, 2, 1, 1]).astype(np.float32)


def difference(x):
    """Images [B, 2, 1, 1] -> logits (first pixel - second pixel, 0)."""
    gap = x[:, 0, 0, 0] - x[:, 1, 0, 0]
    return tf.stack([gap, tf.zeros_like(gap)], axis=1)


Y = difference(X).numpy().argmax(axis=1)
GAPS = np.abs(X[:, 0, 0, 0] - X[:, 1, 0, 0])


def evaluate(model=difference, x=X, y=Y, epsilon=0.05, **options):
    return tfadv.evaluate(model, (x, y), epsilon, **{"suite": "quick", "check": False, **options})


def counts_again(report, model, x, y, epsilon, size):
    """Everything that the report says of the images, from the images that it holds."""
    found = np.asarray(report.images)
    assert np.isfinite(found).all()
    assert found.min() >= 0
    assert found.max() <= 1
    assert (size(found - x) <= epsilon + 2e-5).all()
    wrong = model(tf.constant(found)).numpy().argmax(axis=1) != y
    np.testing.assert_array_equal(report.broken, wrong)
    assert report.robust_accuracy == pytest.approx(1 - wrong.mean())
    assert report.clean_accuracy == pytest.approx((model(tf.constant(x)).numpy().argmax(axis=1) == y).mean())
    assert 0 <= report.robust_accuracy <= report.clean_accuracy <= 1
    assert report.interval[0] <= report.robust_accuracy <= report.interval[1]
    for row in report.rows:
        assert (np.isfinite(row.distances) <= row.adversarial).all()


SIZES = {
    "linf": lambda delta: np.abs(delta).reshape(len(delta), -1).max(axis=1),
    "l2": lambda delta: np.linalg.norm(delta.reshape(len(delta), -1), axis=1),
    "l1": lambda delta: np.abs(delta).reshape(len(delta), -1).sum(axis=1),
}


@settings(max_examples=6)
@given(
    count=st.integers(1, 6),
    epsilon=st.sampled_from([0, 1e-45, 1e-6, 0.05, np.float16(0.1), 0.3, 1]),
    norm=st.sampled_from(sorted(SIZES)),
    flipped=st.integers(0, 63),
)
@example(count=1, epsilon=0.05, norm="linf", flipped=1)
def test_the_accuracies_are_those_of_the_images_in_the_report(count, epsilon, norm, flipped):
    """Any labels, from all wrong to all right, and radii from nothing to the whole range."""
    y = np.array([Y[row] ^ (flipped >> row & 1) for row in range(count)])
    report = evaluate(x=X[:count], y=y, epsilon=epsilon, norm=norm)
    counts_again(report, difference, X[:count], y, float(epsilon), SIZES[norm])
    if norm == "linf":  # What is farther than 2 epsilon from the boundary cannot be broken, and nothing else survives.
        expected = (y == Y[:count]) & (GAPS[:count] > 2 * float(epsilon))
        near = np.abs(GAPS[:count] - 2 * float(epsilon)) < 1e-5
        np.testing.assert_array_equal(~report.broken[~near], expected[~near])


def test_images_of_one_pixel_and_a_model_that_answers_alike():
    x = np.array([0.1, 0.9, 0.4], np.float32).reshape(3, 1, 1, 1)

    def alike(x):
        return tf.zeros([tf.shape(x)[0], 3]) + 0.0 * tf.reduce_sum(x)

    for y in ([0, 0, 0], [1, 2, 1], [0, 1, 0]):
        report = evaluate(alike, x, np.array(y), 0.3)
        counts_again(report, alike, x, np.array(y), 0.3, SIZES["linf"])
        assert report.robust_accuracy == report.clean_accuracy == pytest.approx(np.mean(np.array(y) == 0))


# One argument wrong at a time.


def spoilt(value, row=3):
    x = X.copy()
    x[row] = value
    return x


NET = keras.Sequential([keras.Input((28, 28, 1)), keras.layers.Flatten(), keras.layers.Dense(2)], name="net")
REFUSED = {
    "x": (
        [{"x": x} for x in (spoilt(math.nan), spoilt(math.inf), spoilt(1.5), spoilt(-0.1), X * 255, np.uint8(X * 255))]
        + [{"x": x} for x in (X.astype(object), X.astype(str), X > 0.5, X[:0], X[0, 0, 0, 0], X.ravel(), None, "x", {})]
        + [{"x": [[0.1], [0.2, 0.3]]}, {"x": X + 0j}],
        r"^(x must|data must hold at least one image|y must be one integer label for each of the 0 images)",
    ),
    "y": (
        [
            {"y": y}
            for y in (Y - 1, Y + 1, Y + 0.5, Y * math.nan, Y[:5], Y[:0], Y.astype(str), None, "abcdef", 2**32 + Y)
        ]
        + [
            {"y": y}
            for y in (np.eye(2)[Y] * math.nan, -np.eye(2)[Y], np.zeros([6, 2]), np.eye(3)[Y + 1], Y[:, None, None])
        ],
        r"^y (must|of shape)",
    ),
    "epsilon": (
        [
            {"epsilon": e}
            for e in (None, "0.1", -1, math.nan, math.inf, 8, 1e308, [0.1] * 6, (0.1,), {}, 1j, True, 10**400)
        ],
        "^epsilon",
    ),
    "norm": ([{"norm": norm} for norm in ("L2", "linf ", "", None, 2, [], {}, math.inf)], "^norm must be one of"),
    "bounds": (
        [{"bounds": b} for b in ((1, 0), (0.5, 0.5), (0, math.nan), (-math.inf, math.inf), (0, math.inf), None, 1)]
        + [{"bounds": b} for b in ((0, 1, 2), "01", ("0", "1"), [])],
        "^bounds must be",
    ),
    "suite": (
        [
            {"suite": s}
            for s in ("", "fast", None, 5, [], (), [None], [attacks.Pgd], [attacks.AutoAttack(0.05)], {"quick"})
        ]
        + [{"suite": [attacks.Pgd(0.1)]}, {"suite": [attacks.Fgm(0.05, "l2")]}],
        "suite",
    ),
    "limit": ([{"limit": limit} for limit in (0, -1, 7, 1.5, "3", True, math.nan, [])], "^limit must be"),
    "claimed": ([{"claimed": c} for c in (-0.1, 1.1, 45, math.nan, "0.5", [], {})], "^claimed must be"),
    "budget": ([{"budget": b} for b in (0, -1, math.nan, math.inf, "", "soon", [], {})], "^budget must be"),
    "seed": ([{"seed": seed} for seed in (-1, 1.5, 2**31, "a", None, True, math.nan)], "^seed must be"),
    "batch_size": ([{"batch_size": b} for b in (0, -1, 1.5, "8", True)], "^batch_size must be"),
    "precision": ([{"precision": p} for p in ("", "float64", None, 32, [])], "^precision must be"),
    "sources": (
        [{"sources": s} for s in ("abc", [difference], {"a": None}, {"a": "net.keras"}, {"a": 5})],
        "^(sources must map|model must be a Keras model)",
    ),
    "model": (
        [{"model": m} for m in (None, "net.keras", 5, NET, lambda x: None, lambda x: difference(x)[:, :1])]
        + [{"model": m} for m in (lambda x: difference(x) * math.nan, lambda x: difference(x)[:-1])]
        + [{"model": m} for m in (lambda x: difference(x)[:, 0], lambda x: tf.as_string(difference(x)))]
        + [{"model": m} for m in (lambda x: tf.nn.softmax(difference(x)), lambda x: tf.constant([[1.0, 0.5]]))],
        "model",
    ),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_cannot_be_evaluated_is_refused_before_anything_is_attacked(name, monkeypatch):
    monkeypatch.setattr(attacks.engine.CompiledAttack, "run", None)
    changes, message = REFUSED[name]
    for change in changes:
        with pytest.raises(UserError, match=message):
            evaluate(**change)


@pytest.mark.parametrize(
    "data",
    [None, X, (X,), (X, Y, Y), {"x": X, "y": Y}, iter([(X, Y)]), "digits", tf.data.Dataset.range(3), (), 5],
    ids=lambda data: type(data).__name__,
)
def test_what_is_no_data_is_refused(data):
    with pytest.raises(UserError, match=r"^data must"):
        tfadv.evaluate(difference, data, 0.05, suite="quick", check=False)


def test_nan_at_one_image_of_many_is_found_wherever_it_is():
    """A model that breaks on one image alone: no accuracy may be counted over it."""

    def breaks(x):
        return tf.where(x[:, :1, 0, 0] == X[4, 0, 0, 0], math.nan, difference(x))

    with pytest.raises(UserError, match="NaN or infinite logits"):
        evaluate(breaks)


def test_no_accuracy_is_counted_over_images_on_which_the_model_gives_nan():
    """Logits are NaN wherever a pixel is no longer the original one: neither robust nor broken."""

    def only_clean(x):
        known = tf.reduce_any(tf.reduce_all(x[:, None] == X[None], axis=[2, 3, 4]), axis=1)
        return tf.where(known[:, None], difference(x), math.nan)

    with pytest.raises(UserError, match="the model gives NaN logits on 6 of 6 attacked images"):
        evaluate(only_clean)


@pytest.mark.parametrize("form", [X.astype("f2"), X.astype("f8"), X.astype(">f4"), np.asfortranarray(X), X.tolist()])
def test_the_type_and_layout_of_the_images_change_nothing(form):
    half = np.float32(np.asarray(form))
    report, expected = evaluate(x=form), evaluate(x=half)
    np.testing.assert_array_equal(report.images, expected.images)
    np.testing.assert_array_equal(report.broken, expected.broken)


# Inputs and threats by name.


@given(st.text(max_size=12))
def test_any_text_as_the_name_of_data_or_of_a_threat(text):
    """Surrogates, NUL, paths and URLs among it."""
    if text not in tfadv.data.DATASETS:
        with pytest.raises(UserError):
            named(text)
    with pytest.raises(UserError):
        Threat.parse(text)


@pytest.mark.parametrize(
    "text", ["\0", "a\0.npz", "/", "..", "~", "a" * 5000, "a" * 5000 + ".npz", "\ud800", "tfds:\0", "-"]
)
def test_names_that_no_file_can_have(text):
    with pytest.raises(UserError):
        named(text)


@given(
    st.sampled_from(["linf", "l0", "rotation", "brightness", "l2", "", "LINF"]),
    st.one_of(
        st.floats(), st.integers(-5, 400), st.sampled_from(["1/0", "1/3/3", "1e400", "nan", "0x1", "1_0", "", " 1"])
    ),
)
@example("linf", "8/0")
def test_any_number_as_a_threat(refusal, norm, number):
    got = []
    if refusal(("threat", "epsilon", "norm"), Threat.parse, f"{norm}:{number}", into=got) is None:
        assert math.isfinite(got[0].epsilon)
        assert got[0].epsilon >= 0
        assert Threat.parse(str(got[0])) == got[0]


@settings(max_examples=30)
@given(
    images=st.lists(st.lists(st.sampled_from([0.0, 0.5, math.nan, 2.0]), min_size=0, max_size=3), max_size=3),
    labels=st.lists(st.sampled_from([0, 1, -1, 2**31 - 1]), max_size=3),
    batch=st.integers(0, 3),
)
def test_any_small_dataset(refusal, images, labels, batch):
    """Ragged, of unequal lengths, with NaN, batched or not."""
    pairs = list(zip(images, labels, strict=False))
    signature = (tf.TensorSpec([None], tf.float32), tf.TensorSpec([], tf.int32))
    dataset = tf.data.Dataset.from_generator(lambda: iter(pairs), output_signature=signature)
    if batch and len({len(image) for image, _ in pairs}) <= 1:
        dataset = dataset.batch(batch)
    got = []
    if refusal(("data must", "x must", "y must"), as_arrays, dataset, into=got) is None:
        ((x, y),) = got
        assert len(x) == len(y) == len(pairs) > 0
        assert np.isfinite(x).all()
        assert (y >= 0).all()


@pytest.mark.slow
def test_the_largest_seed_is_a_seed_for_the_checks_too():
    """They draw with seeds of their own, which are made from it."""
    report = evaluate(seed=2**31 - 1, check=True)
    assert {check.outcome for check in report.checks} >= {"passed"}
    assert report.robust_accuracy == evaluate(seed=0).robust_accuracy
