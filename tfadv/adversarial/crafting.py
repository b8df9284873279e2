"""How training examples are made: ascent along an attack's steps, and random numbers that follow from the step."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import tensorflow as tf

from tfadv import draws
from tfadv.attacks import search
from tfadv.attacks.search import Predictor
from tfadv.balls import BALLS

# Keeps the draws of one step apart.
START, MIXTURE = 0, 1


def ascend(
    config: Any,
    model: Predictor,
    x: tf.Tensor,
    labels: tf.Tensor,
    start: tf.Tensor,
    *,
    epsilon: tf.Tensor,
    step_size: tf.Tensor,
    objective: Callable[[tf.Tensor], tf.Tensor] | None = None,
) -> tf.Tensor:
    """Where the steps of an attack lead, whether it fools there or not: training wants the loss, not success.

    Args:
        config: a first-order attack; its steps and its projection are taken, and none of its start.
        model: inputs -> logits.
        x, labels: float32 [B, ...] and int32 [B].
        start: like x; the first gradient is taken here, in the ball and the box or not.
        epsilon, step_size: scalars, in place of the config's.
        objective: logits [B, K] -> what is ascended, summed; None is the config's own with `labels`. It may compare
            examples of the batch.

    Returns:
        x_adv, like x, in the ball and the box (after at least one step).
    """
    problem = search.problem_of(config, x, labels, epsilon=epsilon, step_size=step_size)
    state = config.begin(model, problem, start)._replace(x_adv=start)

    def once(step: Any, state: search.State) -> tuple[Any, search.State]:
        ascended = objective or (lambda logits: config.ascended(problem, state, logits))
        return step + 1, config.move(problem, state, search.first_order(model, state.x_adv, ascended))

    # Not `for _ in tf.range`: Keras does not run AutoGraph on train_step.
    return tf.while_loop(lambda step, _: step < config.moves, once, (0, state))[1].x_adv


def class_numbers(y: tf.Tensor) -> tf.Tensor:
    """Labels as int32 [B]; of a distribution [B, K] the class of largest weight."""
    dense = y.shape.rank == 2 and y.shape[1] > 1
    return tf.argmax(y, -1, tf.int32) if dense else tf.cast(tf.reshape(y, [-1]), tf.int32)


def replica() -> tf.Tensor:
    """Number of this replica under `tf.distribute`, int32; 0 without a strategy."""
    context = tf.distribute.get_replica_context()
    return tf.cast(0 if context is None else context.replica_id_in_sync_group, tf.int32)


def replicas() -> int:
    """Number of replicas that share a batch; 1 without a strategy."""
    return tf.distribute.get_strategy().num_replicas_in_sync


def ball_points(norm: str, seed: int, step: tf.Tensor, x: tf.Tensor) -> tf.Tensor:
    """Points uniform in the unit ball, one for each example of `x`, like x.

    Drawn for the batch of all replicas, of which this one takes its rows: so their number changes nothing.
    """
    key = tf.random.experimental.stateless_fold_in(tf.constant([seed, 0], tf.int32), step)
    count = tf.shape(x)[0]
    points = BALLS[norm].sample(tf.concat([[replicas() * count], tf.shape(x)[1:]], 0), key)
    own = points[replica() * count :][:count] if replicas() > 1 else points
    return tf.ensure_shape(own, x.shape)


def uniform(seed: int, purpose: int, step: tf.Tensor, x: tf.Tensor, shape: Any) -> tf.Tensor:
    """Numbers uniform in [0, 1), float32 [B, *shape], one draw for each example of `x`; the same bits under XLA."""
    return draws.uniform(seed, _counters(purpose, step, x), shape)


def normal(seed: int, purpose: int, step: tf.Tensor, x: tf.Tensor) -> tf.Tensor:
    """Standard normal numbers like x, float32; the same bits under XLA."""
    return draws.normal(seed, _counters(purpose, step, x), x.shape[1:])


def _counters(purpose: int, step: tf.Tensor, x: tf.Tensor) -> tuple[Any, ...]:
    count = tf.shape(x)[0]
    return purpose, step, replica() * count + tf.range(count)
