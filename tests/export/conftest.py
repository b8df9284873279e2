"""What all exports are tried on: a small network that knows the digits, with layers that only training uses."""

import keras
import pytest


@pytest.fixture(scope="session")
def trained() -> keras.Model:
    """Images [B, 28, 28, 1] -> logits [B, 10], trained on 400 digits."""
    from tfadv import data

    keras.utils.set_random_seed(0)
    layers = keras.layers
    model = keras.Sequential(
        [
            layers.Input((28, 28, 1)),
            layers.Conv2D(8, 5, strides=3, activation="relu"),
            layers.BatchNormalization(),
            layers.Flatten(),
            layers.Dropout(0.2),
            layers.Dense(10),
        ]
    )
    model.compile(keras.optimizers.Adam(0.01), keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    x, y = data.arrays("digits", "train", limit=400)
    model.fit(x, y, batch_size=20, epochs=5, verbose=0)
    return model
