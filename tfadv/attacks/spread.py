"""Attacks under `tf.distribute`: processes share the examples, and a process cuts its batches for its replicas."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import tensorflow as tf


def replicas_here(strategy: tf.distribute.Strategy) -> int:
    """Replicas of `strategy` that this process drives."""
    # The default strategy has no list of devices.
    return len(strategy.extended.worker_devices) if strategy.num_replicas_in_sync > 1 else 1


def spread(function: Callable[..., Any], strategy: tf.distribute.Strategy) -> Callable[..., Any]:
    """`function` of tensors [B, ...] and structures of them, computed in parts on the replicas of this process.

    Every example must be computed by itself; then the result is that of one device, up to rounding. For use inside a
    `tf.function`. A batch that does not divide is filled up with copies of its first example.
    """
    count = replicas_here(strategy)
    if count == 1:
        return function

    def whole(*arguments: Any) -> Any:
        flat = [tf.convert_to_tensor(tensor) for tensor in tf.nest.flatten(arguments)]
        size = flat[0].shape[0]
        share = -(-size // count)

        def cut(tensor: tf.Tensor) -> tf.Tensor:
            filling = tf.repeat(tensor[:1], count * share - size, axis=0)
            return tf.reshape(tf.concat([tensor, filling], 0), [count, share, *tensor.shape[1:]])

        parts = [cut(tensor) for tensor in flat]

        def own() -> Any:
            # Numbers of replicas run over all processes, and each process drives as many.
            place = tf.distribute.get_replica_context().replica_id_in_sync_group % count
            return function(*tf.nest.pack_sequence_as(arguments, [part[place] for part in parts]))

        def joined(value: Any) -> tf.Tensor:
            return tf.concat(strategy.experimental_local_results(value), 0)[:size]

        return tf.nest.map_structure(joined, strategy.run(own))

    return whole


def place_of(strategy: tf.distribute.Strategy) -> tuple[int, int]:
    """(number of this process among those of the strategy, how many there are)."""
    here = replicas_here(strategy)
    if strategy.num_replicas_in_sync == here:
        return 0, 1
    number = strategy.experimental_distribute_values_from_function(
        lambda context: tf.constant(context.replica_id_in_sync_group)
    )
    first = int(strategy.experimental_local_results(number)[0])
    return first // here, strategy.num_replicas_in_sync // here


def gathered(strategy: tf.distribute.Strategy, array: np.ndarray) -> np.ndarray:
    """The rows of every process, in the order of the processes; a call that all of them make."""
    here = replicas_here(strategy)
    flags = array.dtype == bool

    def own(context: Any) -> tf.Tensor:
        rows = array if context.replica_id_in_sync_group % here == 0 else array[:0]
        return tf.constant(rows.astype(np.int32) if flags else rows)

    values = strategy.experimental_distribute_values_from_function(own)
    return strategy.gather(values, axis=0).numpy().astype(array.dtype)
