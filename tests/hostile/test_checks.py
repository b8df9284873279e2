"""The checks at the door: what passes is what it says it is, everything else is refused by the name of the argument."""

import math

import hypothesis.extra.numpy as arrays
import hypothesis.strategies as st
import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given

from tfadv.attacks.search import check_choice, check_count, check_seed
from tfadv.validation import UserError, check_bounds, check_epsilon, check_images, check_labels, check_logits

NUMBERS = st.one_of(st.floats(width=32), st.integers(-(2**70), 2**70), st.booleans())
# What a caller may hand over by mistake, of any type.
ANYTHING = st.recursive(
    st.one_of(NUMBERS, st.none(), st.text(max_size=3), st.complex_numbers(), st.binary(max_size=3), st.just(object())),
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.tuples(inner, inner), st.dictionaries(st.text(), inner)),
    max_leaves=6,
)
DTYPES = st.sampled_from(["f2", "f4", "f8", "u1", "i4", "i8", "u8", "?", "O", "U2", "c8", "V4", "M8[s]"])
ARRAYS = DTYPES.flatmap(
    lambda dtype: (
        arrays.arrays(dtype, arrays.array_shapes(min_dims=0, max_dims=4, min_side=0, max_side=3))
        if dtype not in ("O", "V4")
        else st.just(np.zeros([2, 2], dtype))
    )
)
BOUNDS = st.sampled_from([(0.0, 1.0), (-1, 1), (-math.inf, math.inf), (0, 255), [0.0, 1.0]])


@given(st.one_of(ARRAYS, ANYTHING), BOUNDS)
def test_images_are_finite_and_in_their_bounds_or_refused(refusal, x, bounds):
    got = []
    if refusal(("x must",), check_images, x, bounds, into=got) is None:
        assert got[0].dtype == np.float32
        assert got[0].shape == np.shape(x)
        assert got[0].ndim >= 2
        assert np.isfinite(got[0]).all()
        assert ((bounds[0] - 1e-4 <= got[0]) & (got[0] <= bounds[1] + 1e-4)).all()


@pytest.mark.parametrize(
    "x",
    [
        [[0.1, 0.2], [0.3]],
        np.zeros([2, 0, 3], np.float32),
        np.zeros([2, 3], "V4"),
        np.zeros([2, 3], [("r", "f4"), ("g", "f4")]),
        np.full([2, 3], 1e300),
        {"x": np.zeros([2, 3])},
    ],
    ids=["ragged", "no features", "bytes", "records", "beyond float32", "dictionary"],
)
def test_what_only_looks_like_images_is_refused(x):
    with pytest.raises(UserError, match="x must"):
        check_images(x)


def test_images_in_any_float_type_and_layout_are_the_same_images():
    x = np.arange(24, dtype=np.float32).reshape(4, 3, 2, 1) / 32
    big = np.zeros([8, 6, 2, 1], np.float32)
    big[::2, ::-2] = x
    for same in (x.astype("f2"), x.astype("f8"), x.astype(">f4"), np.asfortranarray(x), big[::2, ::-2], x.tolist()):
        np.testing.assert_array_equal(check_images(same), x)
    np.testing.assert_array_equal(check_images(tf.cast(x, tf.bfloat16)), x)
    np.testing.assert_array_equal(check_images(x.astype(np.longdouble)), x)


@given(st.one_of(ANYTHING, st.tuples(NUMBERS, NUMBERS)))
def test_bounds_are_two_numbers_the_lower_first_or_refused(refusal, bounds):
    got = []
    if refusal(("bounds must",), check_bounds, bounds, into=got) is None:
        ((low, high),) = got
        assert low < high
        assert (type(low), type(high)) == (float, float)


@pytest.mark.parametrize("bounds", [(1, 0), (0.5, 0.5), (0, math.nan), None, 1, (0, 1, 2), "ab", ("0", "1"), [[0, 1]]])
def test_images_without_usable_bounds_are_not_looked_at(bounds):
    for check in (
        lambda: check_images(np.full([1, 2], 0.5), bounds),
        lambda: check_epsilon(0.1, bounds, "l2", strict=True),
    ):
        with pytest.raises(UserError, match="bounds must be two numbers"):
            check()


@given(st.one_of(ARRAYS, ANYTHING), st.integers(0, 3), st.sampled_from([None, 2, 3]))
def test_labels_are_classes_or_refused(refusal, y, count, classes):
    got = []
    if refusal(("y must", "y of shape"), check_labels, y, count, classes, into=got) is None:
        assert got[0].dtype == np.int32
        assert got[0].shape == (count,)
        assert (got[0] >= 0).all()
        assert classes is None or (got[0] < classes).all()
        if np.ndim(y) == 1:
            np.testing.assert_array_equal(got[0], np.asarray(y, np.float64))  # Not wrapped, not rounded.


@pytest.mark.parametrize(
    "y",
    [
        [2**32, 0, 1],
        [-(2**32), 0, 1],
        np.array([2**63, 0, 1], np.uint64),
        [1e20, 0, 1],
        np.full([3, 2], np.nan),
        [[0.5, np.inf]] * 3,
        [[-1.0, 0.0]] * 3,
        np.zeros([3, 2]),
        np.zeros([3, 0]),
        [["cat", "dog"]] * 3,
        np.array([[None, {}]] * 3, object),
        [[0], [0, 1], [2]],
        [b"0", b"1", b"0"],
        "012",
    ],
    ids=str,
)
def test_no_label_becomes_class_0_for_want_of_a_better_one(y):
    for classes in (None, 2):
        with pytest.raises(UserError, match=r"^y (must|of shape)"):
            check_labels(y, 3, classes)


@given(st.one_of(NUMBERS, ANYTHING, ARRAYS), st.sampled_from(["linf", "l2", "l1"]))
def test_a_radius_is_finite_and_not_negative_or_refused(refusal, epsilon, norm):
    if refusal(("epsilon",), check_epsilon, epsilon, (0.0, 1.0), norm, strict=True) is None:
        values = np.asarray(epsilon)
        assert values.dtype.kind in "fiu"
        assert values.ndim <= 1
        assert (np.isfinite(values) & (values >= 0)).all()
        assert norm != "linf" or (values <= 1).all()


@given(arrays.arrays("f4", arrays.array_shapes(min_dims=0, max_dims=3, min_side=0, max_side=3)))
def test_logits_are_finite_numbers_of_two_classes_or_refused(refusal, logits):
    if refusal(("model",), check_logits, logits) is None:
        values = np.asarray(logits, np.float32)
        assert values.ndim == 2
        assert values.shape[1] >= 2
        assert np.isfinite(values).all()


def test_logits_are_one_row_for_each_image():
    check_logits(np.eye(3)[:, :2] * 2, 3)
    with pytest.raises(UserError, match="one row of logits for each image, got 3 for 4 images"):
        check_logits(np.eye(3)[:, :2] * 2, 4)


@given(st.one_of(NUMBERS, ANYTHING))
def test_counts_seeds_and_choices_are_what_they_must_be_or_refused(refusal, value):
    if refusal(("steps must",), check_count, "steps", value) is None:
        assert isinstance(value, int)
        assert value >= 1
        assert value is not True
    if refusal(("seed must",), check_seed, value) is None:
        assert 0 <= value < 2**31
    assert "norm must be one of" in refusal(("norm",), check_choice, "norm", value, {"linf": 1, "l2": 2})
