"""What holds for every augmentation: purity, the numbering of a dataset's elements, and clear refusals."""

import dataclasses
import os
import pathlib
import subprocess
import sys
import time

import keras
import numpy as np
import pytest
import tensorflow as tf

from tfadv import augment
from tfadv.augment.base import Augmentation
from tfadv.validation import UserError

# Of 12 labels a rate of 0.1 would leave most batches as they are; 1 makes the draws of two seeds differ.
ARGUMENTS = {augment.DisturbLabel: {"rate": 1.0}}
CONFIGS = [kind(**ARGUMENTS.get(kind, {})) for kind in augment.AUGMENTATIONS]
every = pytest.mark.parametrize("config", CONFIGS, ids=lambda config: type(config).__name__)
adds_points = pytest.mark.parametrize(
    "config", [config for config in CONFIGS if not config.images_only], ids=lambda config: type(config).__name__
)

X = np.random.default_rng(0).uniform(size=(12, 5, 5, 1)).astype(np.float32)
Y = (np.arange(12) % 10).astype(np.int32)


def batches() -> tf.data.Dataset:
    return tf.data.Dataset.from_tensor_slices((X, Y)).batch(4)


def joined(x, y) -> np.ndarray:
    """Images and labels of one batch in one array [B, ...], because an augmentation may change either."""
    x, y = np.asarray(x), np.asarray(y)
    return np.concatenate([x.reshape(len(x), -1), y.reshape(len(y), -1)], axis=1)


def draws(dataset: tf.data.Dataset) -> np.ndarray:
    """The images and labels of one pass, [elements, ...]."""
    return np.stack([joined(x, y) for x, y in dataset])


def test_the_index_lists_every_augmentation_of_the_package():
    defined = {kind for kind in Augmentation.__subclasses__() if kind.__module__.startswith("tfadv.")}
    assert defined == set(augment.AUGMENTATIONS)


@every
def test_apply_and_the_pure_function_of_the_index_are_the_same(config):
    function = augment.AUGMENTATIONS[type(config)]
    for ours, theirs in zip(
        augment.apply(config, X, Y, [3, 4]), function(X, Y, config=config, seed=[3, 4]), strict=True
    ):
        np.testing.assert_array_equal(ours, theirs)


@every
def test_the_same_eagerly_and_in_a_dataset(config):
    seeds = tf.constant([[1, 2], [3, 4], [1, 2]])
    mapped = list(tf.data.Dataset.from_tensor_slices(seeds).map(lambda seed: augment.apply(config, X, Y, seed)))
    for seed, result in zip(seeds, mapped, strict=True):
        for eager, graph in zip(augment.apply(config, X, Y, seed), result, strict=True):
            np.testing.assert_allclose(graph, eager, atol=1e-6)
    assert np.array_equal(joined(*mapped[0]), joined(*mapped[2]))
    assert not np.array_equal(joined(*mapped[0]), joined(*mapped[1]))


@every
@pytest.mark.parametrize("dtype", [tf.int32, tf.int64])
def test_compiles_under_xla(config, dtype):
    function = tf.function(lambda seed: augment.apply(config, X, Y, seed), jit_compile=True)
    x, y = function(tf.constant([1, 2], dtype))
    expected_x, expected_y = augment.apply(config, X, Y, [1, 2])
    assert (x.shape, y.shape) == (expected_x.shape, np.shape(expected_y))
    assert np.isfinite(x).all()
    assert np.min(x) >= 0
    assert np.max(x) <= 1
    assert not np.array_equal(joined(x, y), joined(*function(tf.constant([1, 3], dtype))))


@every
def test_every_pass_over_a_dataset_sees_new_draws(config):
    dataset = batches().apply(config)
    passes = [draws(dataset) for _ in range(3)] + np.split(draws(dataset.repeat(2)), 2)
    for first in range(len(passes)):
        for second in range(first):
            assert not np.array_equal(passes[first], passes[second])


@every
def test_every_element_of_a_pass_has_its_own_draw(config):
    same = tf.data.Dataset.from_tensors((X, Y)).repeat(4).apply(config)
    assert len(np.unique(draws(same).reshape(4, -1), axis=0)) == 4


@every
def test_two_datasets_made_alike_agree_pass_by_pass(config):
    one, other = batches().apply(config), batches().apply(config)
    for _ in range(2):
        np.testing.assert_array_equal(draws(one), draws(other))


def test_base_seeds_differ_in_their_draws():
    one, other = (draws(batches().apply(augment.GaussianNoise(seed=seed))) for seed in (0, 1))
    assert not np.array_equal(one, other)


def test_augmentations_with_one_base_seed_share_no_seeds():
    salted = {tuple(config.salted(tf.constant([7, 8])).numpy()) for config in CONFIGS}
    assert len(salted) == len(CONFIGS)
    assert (7, 8) not in salted


@pytest.mark.slow
def test_two_fresh_processes_agree():
    """Also when Python's string hashes differ: the salt must not depend on them."""
    program = (
        "import sys; sys.path.insert(0, 'tests/augment'); from test_base import CONFIGS, batches, draws\n"
        "for config in CONFIGS:\n"
        "    dataset = batches().apply(config)\n"
        "    print('draws', draws(dataset).tobytes().hex(), draws(dataset).tobytes().hex())\n"
    )
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", program],
            stdout=subprocess.PIPE,
            text=True,
            cwd=pathlib.Path(__file__).resolve().parents[2],
            env={**os.environ, "PYTHONHASHSEED": hash_seed, "PYTHONPATH": "."},
        )
        for hash_seed in ("1", "2")
    ]
    draws = [
        [line for line in process.communicate(timeout=120)[0].splitlines() if line.startswith("draws")]
        for process in processes
    ]
    assert len(draws[0]) == len(CONFIGS)
    assert draws[0] == draws[1]


@every
def test_the_cardinality_is_kept(config):
    known = batches()
    assert known.apply(config).cardinality() == 3
    assert known.repeat().apply(config).cardinality() == tf.data.INFINITE_CARDINALITY
    assert known.filter(lambda x, y: True).apply(config).cardinality() == tf.data.UNKNOWN_CARDINALITY


def test_the_order_of_the_elements_is_kept():
    """Every fifth element takes longer than its successors, which must wait for it."""

    @dataclasses.dataclass(frozen=True)
    class Slow(Augmentation):
        seed: int = 0

        def augment(self, x, y, seed):
            def wait(number):
                time.sleep(0.01 if number % 5 == 0 else 0)
                return number

            return x, tf.numpy_function(wait, [y], tf.int64, stateful=False)

    dataset = tf.data.Dataset.range(40).map(lambda i: (tf.zeros([2]), i)).apply(Slow())
    assert [int(y) for _, y in dataset] == list(range(40))


def test_static_shapes_are_kept():
    dataset = tf.data.Dataset.from_tensor_slices((X, Y)).batch(4, drop_remainder=True)
    shapes = [tuple(dataset.apply(config).element_spec[0].shape) for config in CONFIGS]
    assert shapes == [(4 + getattr(config, "new_points", 0), 5, 5, 1) for config in CONFIGS]


@every
def test_a_named_epoch_is_the_same_in_every_iteration_and_no_other_epochs(config):
    third = config.at_epoch(batches(), 3)
    np.testing.assert_array_equal(draws(third), draws(third))
    assert not np.array_equal(draws(third), draws(config.at_epoch(batches(), 4)))
    assert third.cardinality() == 3


def test_a_run_that_starts_at_a_later_epoch_continues_the_first():
    config = augment.GaussianNoise()

    def run(first):
        return draws(tf.data.Dataset.range(first, 4).flat_map(lambda epoch: config.at_epoch(batches(), epoch)))

    np.testing.assert_array_equal(run(2), run(0)[6:])


def test_fit_sees_new_draws_in_every_epoch_and_the_same_when_run_again():
    """The loss is the mean of the noisy pixels, so its history tells the draws."""

    def history():
        model = keras.Sequential([keras.Input([5, 5, 1]), keras.layers.GlobalAveragePooling2D()])
        model.compile("sgd", loss=lambda y, mean: mean)
        return model.fit(batches().apply(augment.GaussianNoise()), epochs=3, verbose=0).history["loss"]

    first = history()
    assert len(set(first)) == 3
    np.testing.assert_allclose(history(), first, rtol=1e-6)


@every
def test_a_batch_of_one_and_an_empty_batch(config):
    """The only pair of a batch of one is the point with itself; an empty batch has none."""
    x, y = augment.apply(config, X[:1], Y[:1], [1, 2])
    assert x.shape == (1 + getattr(config, "new_points", 0), 5, 5, 1)
    assert len(y) == len(x)
    x, y = augment.apply(config, X[:0], Y[:0], [1, 2])
    assert x.shape == (0, 5, 5, 1)
    assert len(y) == 0
    dynamic = tf.function(lambda x, y: augment.apply(config, x, y, [1, 2]), reduce_retracing=True)
    for size in (2, 1, 0):
        expected = augment.apply(config, X[:size], Y[:size], [1, 2])[0]
        np.testing.assert_allclose(dynamic(X[:size], Y[:size])[0], expected, atol=1e-6)


@every
def test_a_config_survives_keras_serialization(config):
    restored = keras.saving.deserialize_keras_object(keras.saving.serialize_keras_object(config))
    assert restored == config
    assert type(restored) is type(config)


@every
def test_integer_images_are_refused(config):
    with pytest.raises(UserError, match=r"x must be floating-point images, got uint8.*/ 255"):
        augment.apply(config, (255 * X).astype(np.uint8), Y, [1, 2])
    with pytest.raises(UserError, match="floating-point"):
        batches().map(lambda x, y: (tf.cast(x, tf.uint8), y)).apply(config)


@every
@pytest.mark.parametrize("seed", [5, [1], [1, 2, 3], [0.5, 1.0]], ids=repr)
def test_a_seed_that_is_not_two_integers_is_refused(config, seed):
    with pytest.raises(UserError, match=r"seed must be two integers, shape \[2\]"):
        augment.apply(config, X, Y, seed)


@every
def test_what_is_not_a_dataset_of_pairs_is_refused(config):
    with pytest.raises(UserError, match=r"tf\.data\.Dataset, got ndarray.*tfadv.augment.apply"):
        config(X)
    with pytest.raises(UserError, match=r"pairs \(images, labels\)"):
        tf.data.Dataset.from_tensor_slices(X).batch(4).apply(config)
    with pytest.raises(UserError, match=r"pairs \(images, labels\)"):
        batches().map(lambda x, y: (x, y, tf.ones_like(y))).apply(config)


@adds_points
@pytest.mark.parametrize("labels", [Y, np.eye(10, dtype=np.float32)[Y]], ids=["int", "dense"])
def test_unbatched_elements_are_refused_where_points_are_added(config, labels):
    with pytest.raises(UserError, match=r"call \.batch\(\.\.\.\) before"):
        tf.data.Dataset.from_tensor_slices((X, labels)).apply(config)


@adds_points
def test_images_and_labels_of_different_lengths_are_refused(config):
    with pytest.raises(UserError, match="equal batch axes"):
        augment.apply(config, X, Y[:5], [1, 2])


def test_apply_names_the_augmentations_when_given_something_else():
    with pytest.raises(UserError, match=r"FeatureSmoothing.*GaussianNoise.*Mixup.*got 'noise'"):
        augment.apply("noise", X, Y, [1, 2])


@every
@pytest.mark.parametrize("seed", [-1, 2**31, 0.5, "0", True, None], ids=repr)
def test_a_base_seed_out_of_range_is_refused(config, seed):
    with pytest.raises(UserError, match="seed must be an integer in"):
        type(config)(seed=seed)


def test_an_augmentation_without_its_function_says_so():
    class Nothing(Augmentation):
        """Names no function."""

    with pytest.raises(NotImplementedError, match="Nothing must implement augment"):
        Nothing().augment(X, Y, [1, 2])
