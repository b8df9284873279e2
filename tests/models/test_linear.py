"""The linear classifier is W x + b."""

import numpy as np
import pytest

from tfadv.models import MODELS, linear
from tfadv.validation import UserError

IMAGES = np.random.default_rng(0).random([3, 4, 4, 2], np.float32)


def test_it_is_one_matrix_and_one_vector():
    """784 * 10 + 10."""
    assert MODELS["linear"] is linear
    assert linear().count_params() == 7_850


def test_its_logits_are_w_x_plus_b():
    model = linear(classes=3, shape=(4, 4, 2))
    w, b = model.get_weights()
    np.testing.assert_allclose(model(IMAGES), IMAGES.reshape(3, -1) @ w + b, atol=1e-6)


def test_it_takes_inputs_that_are_no_images():
    assert linear(classes=2, shape=(5,))(np.zeros([7, 5], np.float32)).shape == (7, 2)


def test_its_weights_start_within_one_over_the_root_of_the_inputs():
    w, b = linear().get_weights()
    assert np.abs(w).max() <= 1 / 28
    assert np.abs(w).max() > 0.99 / 28
    assert np.abs(b).max() <= 1 / 28
    assert b.any()


def test_a_shape_that_is_none_is_refused():
    with pytest.raises(UserError, match="shape must be"):
        linear(shape=())
