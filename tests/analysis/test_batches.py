"""Inputs are checked, programs are traced once, and it does not matter how a model is given or how large a batch is."""

import numpy as np
import pytest
import tensorflow as tf

from tfadv.analysis import gaps
from tfadv.analysis.batches import batched, checked, program, slices, wrong_class
from tfadv.validation import UserError

X = np.linspace(0, 1, 28, dtype=np.float32).reshape(7, 2, 2, 1)
Y = np.array([0, 1, 2, 0, 1, 2, 0], np.int32)


def test_the_wrong_classes_keep_their_order_and_leave_out_the_true_one():
    ranks = [wrong_class(np.array([0, 1, 3]), rank) for rank in range(3)]
    np.testing.assert_array_equal(np.stack(ranks, axis=1), [[1, 2, 3], [0, 2, 3], [0, 1, 2]])


@pytest.mark.parametrize("batch_size", [1, 3, 7, 100])
def test_slices_cover_every_row_once(batch_size):
    rows = [np.arange(7)[rows] for rows in slices(7, batch_size, "rows")]
    assert max(map(len, rows)) <= batch_size
    np.testing.assert_array_equal(np.concatenate(rows), np.arange(7))


def test_batches_are_joined_in_order_and_one_program_serves_all_sizes():
    traced = []

    def doubled(x, y):
        traced.append(x.shape)
        return 2 * x, y + 1

    double, more = batched(program(doubled), (X, Y), batch_size=3, label="doubled")
    np.testing.assert_array_equal(double, 2 * X)
    np.testing.assert_array_equal(more, Y + 1)
    assert traced == [(None, 2, 2, 1)]


def test_products_are_float32_also_where_the_caller_has_asked_for_bfloat16():
    """1 + 2^-9 has nine bits behind the point, of which bfloat16 keeps seven."""
    from tfadv import devices

    value = np.full((64, 64), 1 + 2**-9, np.float32)
    run = program(lambda x: (tf.matmul(tf.nn.relu(x), tf.eye(64)),))
    with devices.matrix_products(bfloat16=True):
        np.testing.assert_array_equal(run(value)[0], value)


def test_a_keras_model_a_saved_model_and_a_function_give_the_same(linear_model, tmp_path):
    linear_model.export(str(tmp_path), verbose=False)
    models = [linear_model, tf.saved_model.load(str(tmp_path)), lambda x: linear_model(x)]
    found = [gaps(model, X, Y) for model in models]
    for each in found[1:]:
        np.testing.assert_allclose(each.gradient_gap, found[0].gradient_gap, rtol=1e-6)
        np.testing.assert_allclose(each.logits, found[0].logits, rtol=1e-6)


@pytest.mark.parametrize(
    ("model", "x", "text"),
    [
        (lambda x: tf.reshape(x, [-1, 4]), np.zeros((0, 2, 2, 1), np.float32), "at least one image"),
        (lambda x: tf.reshape(x, [-1, 4]), 255 * X, "divide by 255"),
        (lambda x: tf.nn.softmax(tf.reshape(x, [-1, 4])), X, "probabilities"),
        (lambda x: x, X, "logits of shape"),
    ],
)
def test_unusable_inputs_and_models_are_refused(model, x, text):
    with pytest.raises(UserError, match=text):
        checked(model, x)


def test_a_batch_of_no_images_is_refused(linear_model):
    with pytest.raises(UserError, match="batch_size must be at least 1"):
        gaps(linear_model, X, Y, batch_size=0)
