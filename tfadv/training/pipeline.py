"""The batches of a run: functions of the experiment and of the step alone, shared out among replicas."""

from __future__ import annotations

from typing import Any

import tensorflow as tf

import tfadv.augment
from tfadv.training.experiment import Experiment
from tfadv.validation import UserError

# Salts keep the streams of one seed apart: the data order must not repeat the augmentation's numbers.
_ORDER, _AUGMENT = 0, 1


def batches(experiment: Experiment, x: tf.Tensor, y: tf.Tensor, start: int, stop: int) -> tf.data.Dataset:
    """The augmented batches of steps start..stop-1; step s is the same whatever step the pipeline began at.

    Each epoch is a fresh permutation (stateless, seeded by (seed, epoch)); what does not fill a batch waits for
    another epoch's order. Augmentation number k is seeded by (seed, k, epoch, step).

    Raises:
        UserError: fewer images than one batch.
    """
    size, count = experiment.batch_size, len(x)
    check_batch_size(experiment, count)
    steps_per_epoch = count // size
    images, labels = tf.convert_to_tensor(x), tf.convert_to_tensor(y)
    root = tf.constant([experiment.seed, 0], tf.int32)

    def seeded(*path: Any) -> tf.Tensor:
        seed = root
        for branch in path:
            seed = tf.random.experimental.stateless_fold_in(seed, tf.cast(branch, tf.int32))
        return seed

    def batch(step: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        epoch, position = step // steps_per_epoch, step % steps_per_epoch
        rows = tf.random.experimental.index_shuffle(
            tf.cast(position * size + tf.range(size, dtype=tf.int64), tf.int32),
            seeded(_ORDER, epoch),
            max_index=count - 1,
        )
        features, targets = tf.gather(images, rows), tf.gather(labels, rows)
        for number, augmentation in enumerate(experiment.augment):
            seed = seeded(_AUGMENT, augmentation.seed, number, epoch, step)
            features, targets = tfadv.augment.apply(augmentation, features, targets, seed)
        return features, targets

    steps = tf.data.Dataset.range(start, stop)
    return steps.map(batch, num_parallel_calls=2, deterministic=True).prefetch(8)


def shared(dataset: tf.data.Dataset, strategy: tf.distribute.Strategy) -> Any:
    """The same batches, each cut into equal parts in order, one for every replica.

    Every process makes the whole batch and takes its own part, so that one replica and many train on the same numbers;
    the price is that augmentation is not spread over machines.

    Raises:
        UserError: batches that do not divide by the number of replicas.
    """
    replicas = strategy.num_replicas_in_sync
    if replicas == 1:
        return dataset
    size = dataset.element_spec[0].shape[0]
    if size % replicas:
        raise UserError(
            f"batch_size, with the points that augmentations add, must be a multiple of the {replicas} replicas, got "
            f"{size} points; choose another batch_size"
        )

    def own(context: tf.distribute.InputContext) -> tf.data.Dataset:
        here = replicas // context.num_input_pipelines
        first = context.input_pipeline_id * here

        def parts(*tensors: tf.Tensor) -> tf.data.Dataset:
            cut = [tf.reshape(each, [replicas, size // replicas, *each.shape[1:]]) for each in tensors]
            return tf.data.Dataset.from_tensor_slices(tuple(each[first : first + here] for each in cut))

        return dataset.flat_map(parts).prefetch(8)

    return strategy.distribute_datasets_from_function(own)


def check_batch_size(experiment: Experiment, count: int) -> None:
    """Refuses a batch larger than the training set."""
    if count < experiment.batch_size:
        raise UserError(f"batch_size must be at most the {count} training images, got {experiment.batch_size}")
