"""The small network: size, range of inputs, seeds, and precision of its logits."""

import keras
import numpy as np

from tfadv.models import MODELS, small_cnn


def test_it_has_the_parameters_its_docstring_states():
    """5*5*1*32+32 + 5*5*32*64+64 + 7*7*64*256+256 + 256*10+10 = 832 + 51,264 + 803,072 + 2,570."""
    assert small_cnn().count_params() == 832 + 51_264 + 803_072 + 2_570
    assert MODELS["small_cnn"] is small_cnn


def test_the_seed_decides_the_initial_weights():
    one, same, other = small_cnn(seed=3), small_cnn(seed=3), small_cnn(seed=4)
    for a, b, c in zip(one.get_weights(), same.get_weights(), other.get_weights(), strict=True):
        np.testing.assert_array_equal(a, b)
        assert a.ndim == 1 or not np.array_equal(a, c)  # Biases start at 0 whatever the seed.


def test_logits_are_float32_under_a_mixed_policy():
    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy("mixed_bfloat16")
    try:
        model = small_cnn(classes=4)
    finally:
        keras.config.set_dtype_policy(before)
    logits = model(np.zeros([2, 28, 28, 1], np.float32))
    assert logits.shape == (2, 4)
    assert logits.dtype == "float32"
    assert model.get_layer("conv1").compute_dtype == "bfloat16"
