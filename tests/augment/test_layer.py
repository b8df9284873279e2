"""An augmentation as a Keras layer: active in training only, saved and restored with its model."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from tfadv.augment import AUGMENTATIONS, AugmentationLayer, FeatureSmoothing, GaussianNoise, Mixup, gaussian_noise
from tfadv.validation import UserError

X = np.full([6, 4, 4, 1], 0.5, np.float32)
Y = np.arange(6, dtype=np.int32)
every = pytest.mark.parametrize("kind", AUGMENTATIONS, ids=lambda kind: kind.__name__)


@every
@pytest.mark.parametrize("training", [False, None])
def test_inference_is_the_identity(kind, training):
    layer = AugmentationLayer(kind())
    np.testing.assert_array_equal(layer(X, training=training), X)
    out = layer({"images": X, "labels": Y}, training=training)
    np.testing.assert_array_equal(out["images"], X)
    np.testing.assert_array_equal(out["labels"], Y)


def test_training_adds_fresh_noise_at_every_call():
    """96 values: the sample standard deviation of 0.1 has standard error 0.0072."""
    layer = AugmentationLayer(GaussianNoise(0.1))
    first, second = layer(X, training=True), layer(X, training=True)
    assert abs(np.std(first) - 0.1) < 0.036
    assert not np.array_equal(first, second)


def test_the_seed_is_that_of_the_augmentation_unless_given():
    first, same, other = (
        AugmentationLayer(GaussianNoise(seed=noise_seed), seed=seed)(X, training=True)
        for noise_seed, seed in ((3, None), (0, 3), (3, 4))
    )
    np.testing.assert_array_equal(first, same)
    assert not np.array_equal(first, other)


def test_the_layers_of_two_augmentations_with_one_seed_share_no_draws():
    """The seed that Keras hands out is salted with the name of the augmentation before it is used."""
    raw = keras.random.SeedGenerator(3).next()
    unsalted, _ = gaussian_noise(X, None, config=GaussianNoise(), seed=raw)
    assert not np.array_equal(AugmentationLayer(GaussianNoise(), seed=3)(X, training=True), unsalted)


@every
def test_a_dict_of_images_and_labels_is_augmented(kind):
    config = kind()
    out = AugmentationLayer(config)({"images": X, "labels": Y}, training=True)
    size = 6 + getattr(config, "new_points", 0)
    assert set(out) == {"images", "labels"}
    assert out["images"].shape == (size, 4, 4, 1)
    assert out["labels"].shape == ((size, 10) if kind is Mixup else (size,))


@pytest.mark.parametrize("kind", [FeatureSmoothing, Mixup], ids=lambda kind: kind.__name__)
def test_images_without_labels_are_refused_where_points_are_added(kind):
    with pytest.raises(UserError, match=f"{kind.__name__} adds points with their labels, so inputs must be a dict"):
        AugmentationLayer(kind())(X, training=True)


def test_other_keys_are_refused():
    with pytest.raises(UserError, match="keys 'images' and 'labels', got"):
        AugmentationLayer(GaussianNoise())({"image": X, "label": Y}, training=True)


def test_labels_keep_their_precision_under_a_half_precision_policy():
    layer = AugmentationLayer(Mixup(classes=3), dtype="mixed_float16")
    labels = np.full([6, 3], 1 / 3, np.float32)
    out = layer({"images": X, "labels": labels}, training=True)
    assert out["images"].dtype == tf.float32
    np.testing.assert_allclose(out["labels"], 1 / 3, atol=1e-7)


@every
def test_round_trip_through_a_keras_file(kind, tmp_path):
    """`load_model` is in safe mode by default; the restored generator continues where the saved one stood."""
    config = kind(seed=5)
    if config.images_only:
        inputs, example = keras.Input([4, 4, 1]), X
        outputs = keras.layers.Flatten()(AugmentationLayer(config)(inputs))
    else:
        inputs = {
            "images": keras.Input([4, 4, 1], name="images"),
            "labels": keras.Input([], dtype="int32", name="labels"),
        }
        example, outputs = {"images": X, "labels": Y}, AugmentationLayer(config)(inputs)
    model = keras.Model(inputs, outputs)
    model(example, training=True)
    model.save(tmp_path / "model.keras")
    restored = keras.saving.load_model(tmp_path / "model.keras")
    layer = next(layer for layer in restored.layers if isinstance(layer, AugmentationLayer))
    assert layer.augmentation == config
    for training in (False, True):
        expected, got = (keras.tree.flatten(network(example, training=training)) for network in (model, restored))
        for ours, theirs in zip(got, expected, strict=True):
            np.testing.assert_array_equal(ours, theirs)


def test_the_layer_seed_survives_the_configuration():
    layer = AugmentationLayer(GaussianNoise(0.2, seed=1), seed=9, name="noise")
    restored = AugmentationLayer.from_config(layer.get_config())
    assert (restored.augmentation, restored.seed, restored.name) == (layer.augmentation, 9, "noise")


@pytest.mark.parametrize("jit_compile", [False, True])
def test_fit_trains_through_fresh_noise_and_evaluate_does_not(jit_compile):
    """The loss is the mean noisy pixel: different in each epoch of training, exactly 1/2 in evaluation."""
    model = keras.Sequential(
        [keras.Input([4, 4, 1]), AugmentationLayer(GaussianNoise(0.3)), keras.layers.GlobalAveragePooling2D()]
    )
    model.compile("sgd", loss=lambda y, mean: mean, jit_compile=jit_compile)
    losses = model.fit(X, Y, epochs=3, verbose=0).history["loss"]
    assert len(set(losses)) == 3
    assert model.evaluate(X, Y, verbose=0) == 0.5


def test_what_is_not_an_augmentation_is_refused():
    with pytest.raises(UserError, match=r"augmentation must be an Augmentation.*got 0.5"):
        AugmentationLayer(0.5)


@pytest.mark.parametrize("seed", [-1, 1.5], ids=repr)
def test_a_seed_out_of_range_is_refused(seed):
    with pytest.raises(UserError, match="seed must be an integer in"):
        AugmentationLayer(GaussianNoise(), seed=seed)
