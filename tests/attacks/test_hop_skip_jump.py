"""HopSkipJump: decisions alone, a budget that holds, and distances near the closed form of a linear model."""

import numpy as np
import pytest
import tensorflow as tf

from tfadv.attacks import HopSkipJump, compiled, search
from tfadv.validation import UserError

RNG = np.random.default_rng(0)
W = RNG.normal(size=16).astype(np.float32)
X = (0.4 + 0.2 * RNG.random((8, 4, 4, 1))).astype(np.float32)


def line(x):
    """Two classes on either side of w . (x - 0.5) = 0.2; logits of 0 and 1, so that only the decision is left."""
    value = tf.reshape(x - 0.5, [-1, 16]) @ W[:, None] - 0.2
    return tf.concat([tf.zeros_like(value), tf.sign(value)], axis=1)


VALUES = (X - 0.5).reshape(8, 16) @ W - 0.2
Y = (VALUES > 0).astype(np.int32)


@pytest.mark.parametrize(("norm", "dual"), [("l2", np.linalg.norm(W)), ("linf", np.abs(W).sum())])
def test_on_a_linear_model_it_comes_near_the_closest_point(norm, dual):
    """The distance of a hyperplane is |f| / |w| in the dual norm; the box is far away."""
    outcome = compiled(line, HopSkipJump(queries=3000, norm=norm), precision="float32").run(X, Y)
    assert outcome.adversarial.all()
    delta = (outcome.x_adv - X).reshape(8, 16)
    size = np.linalg.norm(delta, axis=1) if norm == "l2" else np.abs(delta).max(axis=1)
    ratio = size / (np.abs(VALUES) / dual)
    assert (ratio > 0.99).all()
    assert np.median(ratio) < (1.05 if norm == "l2" else 1.4)


def test_more_queries_come_nearer():
    few, many = (
        compiled(line, HopSkipJump(queries=count), precision="float32").run(X, Y).x_adv for count in (200, 2000)
    )
    few, many = (np.linalg.norm((x_adv - X).reshape(8, 16), axis=1) for x_adv in (few, many))
    assert np.median(many) < np.median(few)


def test_the_budget_of_queries_holds_for_every_example():
    """Counted here by the model itself, one image at a time."""
    for row in range(3):
        asked = []

        def counting(x, asked=asked):
            asked.append(int(x.shape[0]))
            return line(x)

        config = HopSkipJump(queries=400)
        x, y = tf.constant(X[row : row + 1]), tf.constant(Y[row : row + 1])
        problem = search.problem_of(config, x, y)
        state = config.begin(counting, problem, config.draw(problem))
        until = tf.fill([1], config.moves)
        while int(state.taken[0]) < config.moves:
            state = search.follow(config, problem, state, config.measure(counting, problem, state), until)
        assert int(state.memory.queries[0]) <= 400
        # An example alone is asked about along whole batches of directions, of which it uses and counts a part.
        assert int(state.memory.queries[0]) <= sum(asked)


def test_a_radius_makes_only_what_lies_within_a_success():
    closest = np.abs(VALUES) / np.linalg.norm(W)
    radius = float(np.sort(closest)[3:5].mean())
    outcome = compiled(line, HopSkipJump(epsilon=radius, queries=3000), precision="float32").run(X, Y)
    assert not outcome.adversarial[closest > radius].any()
    assert outcome.adversarial[closest < 0.9 * radius].all()
    assert np.linalg.norm((outcome.x_adv - X).reshape(8, 16), axis=1).max() <= radius * (1 + 1e-5)


def test_a_start_of_the_other_class_is_taken():
    """Nothing but the start is adversarial for a model that noise never fools."""
    mark = np.zeros((4, 4, 1), np.float32)

    def model(x):
        near = tf.reduce_max(tf.abs(tf.reshape(x - mark, [-1, 16])), axis=1, keepdims=True) < 0.3
        return tf.concat([tf.zeros([tf.shape(x)[0], 1]), tf.where(near, 1.0, -1.0)], axis=1)

    config, y = HopSkipJump(queries=300), np.zeros(8, np.int32)
    without = compiled(model, config, precision="float32").run(X + 0.3, y)
    assert not without.adversarial.any()
    given = compiled(model, config, precision="float32").run(X + 0.3, y, np.broadcast_to(mark, X.shape))
    assert given.adversarial.all()


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"norm": "l1"}, "norm must be one of .* got 'l1'"),
        ({"queries": 1}, "queries must be at least"),
        ({"directions": 0}, "directions must be at least 1, got 0"),
        ({"epsilon": -1.0}, "epsilon must be a finite number >= 0"),
    ],
)
def test_refused(fields, message):
    with pytest.raises(UserError, match=message):
        HopSkipJump(**fields)
