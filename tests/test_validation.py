"""Checks: what is right passes unchanged; what is wrong is named, with what is allowed, what came and the remedy."""

import re

import numpy as np
import pytest
import tensorflow as tf
from absl import logging

from tfadv.validation import UserError, check_epsilon, check_images, check_labels, check_logits, exit_cleanly

IMAGES = np.random.default_rng(0).random([4, 3, 3, 1], np.float32)


def with_value(value, dtype=np.float32):
    images = IMAGES.astype(dtype)
    images[1, 0, 0, 0] = value
    return images


REFUSED_IMAGES = {
    "0..255 as float": (IMAGES * 255, (0, 1), ["x", "[0, 1]", "values from", "divide by 255"]),
    "0..255 as bytes": ((IMAGES * 255).astype(np.uint8), (0, 1), ["x", "floating-point", "uint8", "divide"]),
    "-1..1": (IMAGES * 2 - 1, (0, 1), ["x", "[0, 1]", "values from -0.9", "bounds=(low, high)"]),
    "0..255 for -1..1": (IMAGES * 255, (-1, 1), ["x", "[-1, 1]", "values from", "divide by 255"]),
    "a little above 1": (with_value(1.01), (0, 1), ["x", "[0, 1]", "to 1.01", "rescale"]),
    "NaN": (with_value(np.nan), (0, 1), ["x", "finite", "1 of 4 images", "drop or repair"]),
    "infinity": (with_value(np.inf), (0, 1), ["x", "finite", "1 of 4 images", "drop or repair"]),
    "words": (np.array([["a"]]), (0, 1), ["x", "floating-point", "dtype <U1"]),
    "one image": (IMAGES[0, 0, 0], (0, 1), ["x", "a batch axis and at least one feature axis", "(1,)", "image[None]"]),
}


@pytest.mark.parametrize(("images", "bounds", "words"), REFUSED_IMAGES.values(), ids=REFUSED_IMAGES)
def test_wrong_images_are_refused_with_the_remedy(images, bounds, words):
    with pytest.raises(UserError) as caught:
        check_images(images, bounds)
    assert [word for word in words if word not in str(caught.value)] == []


def test_the_message_uses_the_name_that_the_caller_knows():
    with pytest.raises(UserError, match=r"^validation_images must"):
        check_images(IMAGES * 255, name="validation_images")


@pytest.mark.parametrize(
    "images",
    [
        IMAGES,
        IMAGES.astype(np.float64),
        tf.constant(IMAGES),
        IMAGES.reshape(4, 9),
        with_value(1 + 5e-6),  # A resized image leaves the box by rounding.
        IMAGES[:0],
    ],
    ids=["float32", "float64", "tensor", "rows", "rounding", "empty"],
)
def test_images_pass_as_float32_with_their_values(images):
    checked = check_images(images)
    assert checked.dtype == np.float32
    np.testing.assert_array_equal(checked, np.asarray(images, np.float32))


def test_images_of_lower_precision_pass():
    for dtype in (tf.float16, tf.bfloat16):
        images = tf.cast(IMAGES, dtype)
        np.testing.assert_array_equal(check_images(images), tf.cast(images, tf.float32))


def test_other_bounds_are_other_boxes():
    np.testing.assert_array_equal(check_images(IMAGES * 2 - 1, (-1.0, 1.0)), IMAGES * 2 - 1)
    with pytest.raises(UserError, match=r"\[0\.5, 1\]"):
        check_images(IMAGES, (0.5, 1.0))


REFUSED_LABELS = {
    "above the classes": ([0, 1, 2, 10], 10, ["y", "0..9", "from 0 to 10", "number the classes from 0"]),
    "negative": ([0, -1, 2, 3], None, ["y", "0..the number of classes - 1", "from -1 to 3", "from 0"]),
    "too few": ([0, 1, 2], 10, ["y", "each of the 4 images", "shape [4]", "(3,)"]),
    "one number": (3, 10, ["y", "each of the 4 images", "()"]),
    "three axes": (np.zeros([4, 2, 2]), 10, ["y", "[4, classes]", "(4, 2, 2)"]),
    "fractions": ([0.0, 0.5, 1.0, 2.0], 10, ["y", "whole numbers", "float64", "[4, classes]"]),
    "NaN": (np.array([0, 1, np.nan, 2], np.float32), 10, ["y", "whole numbers", "float32 with fractions or NaN"]),
    "words": (["a", "b", "c", "d"], 10, ["y", "integers", "<U1", "number the classes"]),
    "columns": (np.eye(4), 10, ["y", "10 columns", "got 4"]),
}


@pytest.mark.parametrize(("labels", "classes", "words"), REFUSED_LABELS.values(), ids=REFUSED_LABELS)
def test_wrong_labels_are_refused_with_the_remedy(labels, classes, words):
    with pytest.raises(UserError) as caught:
        check_labels(labels, 4, classes)
    assert [word for word in words if word not in str(caught.value)] == []


@pytest.mark.parametrize(
    "labels",
    [
        [0, 2, 1, 2],
        np.array([0, 2, 1, 2], np.uint8),
        np.array([0.0, 2.0, 1.0, 2.0]),
        [[0], [2], [1], [2]],
        tf.constant([0, 2, 1, 2], tf.int64),
        np.eye(3)[[0, 2, 1, 2]],
        np.eye(3)[[0, 2, 1, 2]] * 0.7 + 0.1,
    ],
    ids=["list", "uint8", "whole floats", "column", "tensor", "one-hot", "smoothed"],
)
def test_every_form_of_the_same_labels_becomes_the_same_int32(labels):
    checked = check_labels(labels, 4, 3)
    assert checked.dtype == np.int32
    assert checked.tolist() == [0, 2, 1, 2]


@pytest.mark.parametrize("strict", [True, False])
@pytest.mark.parametrize("epsilon", [-0.1, float("nan"), float("inf"), [0.1, -0.1], [[0.1]]], ids=repr)
def test_an_epsilon_that_is_no_radius_is_refused(epsilon, strict):
    with pytest.raises(UserError, match=rf"epsilon must be a finite .* got {re.escape(repr(epsilon))}; .*8/255"):
        check_epsilon(epsilon, (0.0, 1.0), "l2", strict=strict)


TOO_WIDE = r"epsilon 8 is wider than the whole range \[0, 1\] of an image.*write 8/255, not 8"


def test_an_linf_ball_wider_than_the_box_is_an_error_where_strict_and_else_a_warning():
    with pytest.raises(UserError, match=TOO_WIDE):
        check_epsilon(8, (0.0, 1.0), "linf", strict=True)
    with pytest.raises(UserError, match=TOO_WIDE):
        check_epsilon((0.1, 8), (0.0, 1.0), "linf", strict=True)
    with pytest.warns(UserWarning, match=TOO_WIDE):
        check_epsilon(8, (0.0, 1.0), "linf", strict=False)


@pytest.mark.parametrize("strict", [True, False])
@pytest.mark.parametrize(
    ("epsilon", "bounds", "norm"),
    [
        (0, (0, 1), "linf"),
        (1.0, (0, 1), "linf"),
        (2.0, (-1, 1), "linf"),
        (8, (0, 1), "l2"),
        ((0.1, 0.2), (0, 1), "linf"),
    ],
)
def test_a_radius_that_makes_sense_passes_in_silence(epsilon, bounds, norm, strict, recwarn):
    """An l2 ball of radius 8 does not cover the box of an image: its diagonal is sqrt(784) = 28."""
    check_epsilon(epsilon, bounds, norm, strict=strict)
    assert list(recwarn) == []


REFUSED_LOGITS = {
    "softmax": (
        tf.nn.softmax(IMAGES.reshape(4, 9)),
        ["probabilities", "logits are needed", "remove the final softmax"],
    ),
    "one softmax row": ([[0.0, 1.0]], ["probabilities", "remove the final softmax"]),
    "one class": (np.zeros([4, 1]), ["[batch, classes >= 2]", "(4, 1)", "two outputs"]),
    "feature map": (np.zeros([4, 2, 2]), ["[batch, classes >= 2]", "(4, 2, 2)"]),
    "NaN": ([[0.0, np.nan]], ["NaN", "check its weights"]),
}


@pytest.mark.parametrize(("logits", "words"), REFUSED_LOGITS.values(), ids=REFUSED_LOGITS)
def test_outputs_that_are_not_logits_are_refused_with_the_remedy(logits, words):
    with pytest.raises(UserError) as caught:
        check_logits(logits)
    assert [word for word in words if word not in str(caught.value)] == []


@pytest.mark.parametrize(
    "logits", [[[0.2, 0.3]], [[0.5, 0.5], [2.0, -1.0]], [[-0.5, 1.5]], np.log(tf.nn.softmax(IMAGES.reshape(4, 9)))]
)
def test_logits_pass_also_where_they_resemble_probabilities(logits):
    """A sum other than 1, one row out of [0, 1], a sum of 1 with a negative entry, and log-probabilities."""
    check_logits(logits)


@pytest.fixture
def _logging_verbosity():
    before = logging.get_verbosity()
    yield
    logging.set_verbosity(before)


@pytest.mark.usefixtures("_logging_verbosity")
class TestExitCleanly:
    def test_a_user_error_is_one_line_and_status_1(self, capsys):
        def main(argv):
            raise UserError(f"epsilon must be\n   smaller, got {argv[1]}")

        assert exit_cleanly(main)(["program", "8"]) == 1
        printed = capsys.readouterr()
        assert printed.err == "error: epsilon must be smaller, got 8\n"
        assert printed.out == ""

    def test_a_program_that_ends_well_has_status_0_whatever_it_returns(self, capsys):
        """app.run passes the value to sys.exit: a dictionary there would be printed and count as a failure."""
        assert exit_cleanly(lambda argv: {"accuracy": 1.0})(["program"]) == 0
        assert capsys.readouterr().err == ""

    def test_an_error_of_ours_keeps_its_traceback(self):
        def main(argv):
            raise ValueError("a bug")

        with pytest.raises(ValueError, match="a bug"):
            exit_cleanly(main)(["program"])


def test_a_user_error_is_a_value_error():
    """So that code written against the convention of NumPy and Keras catches it."""
    assert issubclass(UserError, ValueError)
