"""The l2 attack of Carlini and Wagner: Adam and the search for c by hand, closed forms, the radius, what is refused."""

import dataclasses
import functools

import numpy as np
import pytest
import tensorflow as tf

from tfadv.attacks import search
from tfadv.attacks.carlini_wagner import CarliniWagner, carlini_wagner
from tfadv.validation import UserError

# z_0 - z_1 = <NORMAL, x> + offset, and |NORMAL| = sqrt(4 + 16 + 36 + 0.25) = 7.5; at the middle it is 0.25 + offset.
NORMAL = np.array([2.0, 4.0, -6.0, 0.5])
MIDDLE = np.full([1, 4], 0.5, np.float32)


@functools.cache
def plane(offset):
    """Two classes and four inputs; class 0 leads by <NORMAL, x> + offset."""

    def model(x):
        return tf.concat([x @ tf.constant(NORMAL[:, None], tf.float32) + offset, tf.zeros_like(x[:, :1])], axis=1)

    return model


def three(x):
    """Three classes, four inputs: class 0 leads at the middle, class 1 is near, class 2 far."""
    return x @ tf.constant([[2.0, 0, 0], [0, 2.0, 0], [0, 0, 2.0], [1.0, -1.0, 0]]) + [1.0, 0.8, 0.0]


@functools.cache
def compiled(config, model, shape, jit=False):
    count = len(config.epsilon) if isinstance(config.epsilon, tuple) else None
    spec = [tf.TensorSpec([count, *shape]), tf.TensorSpec([count], tf.int32), tf.TensorSpec([count, *shape])]
    attack = functools.partial(carlini_wagner, model, config=config)
    return tf.function(attack, input_signature=spec, autograph=False, jit_compile=jit)


def run(config, model, x, y=None, start=None, jit=False):
    y = np.zeros(len(x), np.int32) if y is None else np.int32(y)
    return compiled(config, model, x.shape[1:], jit)(x, y, x if start is None else start).numpy()


def advanced(config, model, x, moves, y=None):
    """The state after so many moves."""
    x = tf.constant(x, tf.float32)
    problem = search.problem_of(config, x, tf.zeros([len(x)], tf.int32) if y is None else tf.constant(y, tf.int32))
    state = config.begin(model, problem, x)
    return search.advance(config, model, problem, state, tf.fill([len(x)], moves))


def distance(x_adv, x):
    return np.sqrt(np.square(np.float64(x_adv) - x).reshape(len(x), -1).sum(axis=1))


def test_the_first_step_of_adam_moves_every_arctanh_by_the_learning_rate():
    """m / (1 - 0.9) = g and v / (1 - 0.999) = g^2, so the step is 0.01 sign(g); the middle has arctanh 0."""
    state = advanced(CarliniWagner(), plane(1.25), MIDDLE, moves=1)
    np.testing.assert_allclose(state.x_adv, MIDDLE - 0.5 * np.tanh(0.01) * np.sign(NORMAL), atol=1e-6)


def by_hand(x, offset, config):
    """The whole attack on `plane(offset)` in float64, one example: Adam, abort, binary search, closest success."""
    low, high = config.bounds
    half, middle = (high - low) / 2, (high + low) / 2
    origin = np.arctanh(0.999999 * (x - middle) / half)
    c, below, above = config.initial_constant, 0.0, 1e10
    closest, shortest = x, np.inf
    for number in range(config.binary_searches):
        if number == config.binary_searches - 1 and config.binary_searches >= 10:
            c = above
        w, m, v, found, checked = origin.copy(), 0.0, 0.0, False, np.inf
        for step in range(config.steps):
            x_adv = half * np.tanh(w) + middle
            lead = NORMAL @ x_adv + offset
            change = x_adv - (half * np.tanh(origin) + middle)
            if lead < -config.confidence:
                found = True
                if np.sqrt(((x_adv - x) ** 2).sum()) < shortest:
                    closest, shortest = x_adv, np.sqrt(((x_adv - x) ** 2).sum())
            loss = (change**2).sum() + c * max(lead + config.confidence, 0)
            if config.abort_early and step % np.ceil(config.steps / 10) == 0:
                if loss > 0.9999 * checked:
                    break
                checked = loss
            slope = 2 * change + c * NORMAL * (lead + config.confidence > 0)
            slope = slope * half * (1 - np.tanh(w) ** 2)
            m, v = 0.9 * m + 0.1 * slope, 0.999 * v + 0.001 * slope**2
            w = w - config.learning_rate * m / (1 - 0.9 ** (step + 1)) / (np.sqrt(v / (1 - 0.999 ** (step + 1))) + 1e-8)
        below, above = (below, min(above, c)) if found else (max(below, c), above)
        c = (below + above) / 2 if above < 1e10 else 10 * c
    return closest


@pytest.mark.parametrize(
    "fields",
    [
        {"steps": 40, "binary_searches": 4, "learning_rate": 0.05},
        {"steps": 40, "binary_searches": 4, "learning_rate": 0.05, "abort_early": False},
        {"steps": 15, "binary_searches": 10, "learning_rate": 0.1, "confidence": 0.5, "bounds": (-1.0, 2.0)},
    ],
    ids=["plain", "without abort", "repeat, confidence, bounds"],
)
def test_the_attack_is_the_published_one(fields):
    config = CarliniWagner(initial_constant=0.01, **fields)
    x = np.random.default_rng(0).uniform(*config.bounds, [3, 4]).astype(np.float32)
    offset = 1.25 - min(x @ NORMAL)
    expected = np.stack([by_hand(np.float64(row), offset, config) for row in x])
    assert (distance(expected, x) > 0.05).all()
    np.testing.assert_allclose(run(config, plane(offset), x), expected, atol=2e-3)


@pytest.mark.parametrize("confidence", [0.0, 0.75])
def test_on_a_plane_the_closest_point_is_the_projection(confidence):
    """At the middle class 0 leads by 1.5: the distance is (1.5 + confidence) / 7.5, along -NORMAL."""
    config = CarliniWagner(steps=150, binary_searches=7, initial_constant=0.01, confidence=confidence)
    x_adv = run(config, plane(1.25), MIDDLE)
    shortest = (1.5 + confidence) / 7.5
    assert shortest <= distance(x_adv, MIDDLE)[0] <= 1.01 * shortest
    np.testing.assert_allclose(x_adv, MIDDLE - shortest * NORMAL / 7.5, atol=0.01)


class TestConstant:
    """With one step each move is one search for c; the only point it looks at is x."""

    def after(self, offset, moves, searches=20):
        config = CarliniWagner(steps=1, binary_searches=searches)
        memory = advanced(config, plane(offset), MIDDLE, moves).memory
        return float(memory.constant[0])

    def test_it_is_multiplied_by_10_until_a_success(self):
        assert self.after(1.25, moves=3) == pytest.approx(1.0)

    def test_it_is_halved_between_failure_and_success(self):
        assert self.after(-2.0, moves=3) == pytest.approx(1e-3 / 8)

    def test_the_last_of_ten_searches_repeats_the_smallest_that_succeeded(self):
        """The ninth c, 1e-3 / 2^8, is the smallest; of nine searches the last goes on halving."""
        assert self.after(-2.0, moves=9, searches=10) == pytest.approx(1e-3 / 2**8)
        assert self.after(-2.0, moves=8, searches=9) == pytest.approx(1e-3 / 2**8)
        assert self.after(-2.0, moves=8, searches=10) == pytest.approx(1e-3 / 2**8)


class TestAbort:
    """20 steps are checked every 2: a loss that does not fall is seen at the third point."""

    config = CarliniWagner(steps=20, binary_searches=2)

    def test_a_search_that_stalls_ends_for_its_example_alone(self):
        """The second example has a gradient, the first none: its loss stays what it is."""
        x = np.concatenate([MIDDLE, MIDDLE])
        moving = tf.constant([[0.0], [1.0]])
        state = advanced(self.config, lambda v: plane(1.25)(moving * v + (1 - moving) * 0.5), x, moves=3)
        assert state.memory.searched.numpy().tolist() == [1, 0]
        assert state.memory.step.numpy().tolist() == [0, 3]

    def test_without_it_all_steps_are_taken(self):
        config = dataclasses.replace(self.config, abort_early=False)
        assert advanced(config, lambda v: plane(1.25)(0 * v), MIDDLE, moves=19).memory.step.numpy().tolist() == [19]

    def test_when_the_last_search_stalls_the_attack_is_over(self):
        state = advanced(self.config, lambda v: plane(1.25)(0 * v), MIDDLE, moves=6)
        assert state.taken.numpy().tolist() == [self.config.moves]


class TestRadius:
    """The projection lies at distance 0.2: with a radius above it there is a success, below it there is none."""

    config = CarliniWagner(epsilon=(0.21, 0.19, 0.0), steps=100, binary_searches=5, initial_constant=0.1)

    def test_a_success_lies_within_the_radius_and_a_failure_is_x_itself(self):
        x = np.repeat(MIDDLE, 3, axis=0)
        x_adv = run(self.config, plane(1.25), x)
        assert 0.2 <= distance(x_adv, x)[0] <= 0.21
        np.testing.assert_array_equal(x_adv[1:], x[1:])

    def test_a_tensor_in_place_of_the_configs_radius_is_the_same(self):
        config = dataclasses.replace(self.config, epsilon=0.5)
        x, y, epsilon = tf.repeat(MIDDLE, 3, axis=0), tf.zeros([3], tf.int32), tf.constant(self.config.epsilon)
        attack = tf.function(lambda epsilon: search.run(config, plane(1.25), x, y, x, epsilon=epsilon), autograph=False)
        np.testing.assert_allclose(attack(epsilon), run(self.config, plane(1.25), x.numpy()), atol=1e-6)

    def test_a_start_outside_is_replaced_by_x(self):
        """So that a failure never leaves the ball; the only step looks at where it begins."""
        config = CarliniWagner(epsilon=(0.1, 0.19), steps=1, binary_searches=1)
        x = np.repeat(MIDDLE, 2, axis=0)
        start = np.float32(x - 0.15 * NORMAL / 7.5)
        x_adv = run(config, plane(1.25), x, start=start)
        np.testing.assert_array_equal(x_adv, [x[0], start[1]])

    def test_it_ends_with_the_first_success_and_without_a_radius_with_the_closest(self):
        assert CarliniWagner(epsilon=0.5).keep == "best"
        assert CarliniWagner().keep == "closest"
        wide = dataclasses.replace(self.config, epsilon=0.5, initial_constant=10.0)
        near = dataclasses.replace(wide, epsilon=None)
        first, closest = (distance(run(config, plane(1.25), MIDDLE), MIDDLE)[0] for config in (wide, near))
        assert closest < first - 1e-4


QUICK = CarliniWagner(steps=40, binary_searches=3, initial_constant=1.0, learning_rate=0.1)


@pytest.mark.parametrize("targeted", [False, True])
def test_examples_do_not_see_each_other(targeted):
    config = dataclasses.replace(QUICK, targeted=targeted)
    x = np.random.default_rng(1).uniform(0.2, 0.8, [3, 4]).astype(np.float32)
    y = [2, 1, 2] if targeted else [0, 0, 1]
    together = run(config, three, x, y)
    for row in range(3):
        alone = run(config, three, x[row : row + 1], y[row : row + 1])
        np.testing.assert_allclose(together[row : row + 1], alone, atol=1e-5)
    predicted = three(tf.constant(together)).numpy().argmax(axis=1)
    assert (predicted == y).all() if targeted else (predicted != y).all()


def test_xla_computes_the_same():
    x = np.random.default_rng(1).uniform(0.2, 0.8, [3, 4]).astype(np.float32)
    np.testing.assert_allclose(run(QUICK, three, x, jit=True), run(QUICK, three, x), atol=1e-3)


def test_untargeted_takes_the_nearest_class_and_targeted_the_one_that_is_asked_for():
    x = np.float32([[0.4, 0.4, 0.4, 0.5]])
    nearest, asked = run(QUICK, three, x), run(dataclasses.replace(QUICK, targeted=True), three, x, y=[2])
    assert three(tf.constant(nearest)).numpy().argmax() == 1
    assert three(tf.constant(asked)).numpy().argmax() == 2
    assert distance(nearest, x)[0] < distance(asked, x)[0]


def test_what_is_misclassified_already_is_returned_bit_for_bit():
    x = np.float32([[0.1, 0.2, 0.3, 0.0]])
    np.testing.assert_array_equal(run(QUICK, three, x, y=[2]), x)


@pytest.mark.parametrize("bounds", [(0.0, 1.0), (-0.42, 2.82)], ids=str)
def test_corners_of_the_box_are_attacked_without_leaving_it(bounds):
    """The arctanh of a corner is infinite; from there the second class is reached through the whole box."""
    low, high = bounds
    x = np.float32([[low, high, low, high]])
    lead = float(x[0] @ NORMAL)
    config = CarliniWagner(steps=150, binary_searches=3, initial_constant=10.0, learning_rate=0.1, bounds=bounds)
    x_adv = run(config, plane(1.0 - lead), x)
    assert np.isfinite(x_adv).all()
    assert (np.float32(low) <= x_adv).all()
    assert (x_adv <= np.float32(high)).all()
    assert x_adv[0] @ NORMAL + 1.0 - lead < 0


def test_inputs_of_any_rank_are_the_same_attack():
    x = np.random.default_rng(2).uniform(0.2, 0.8, [2, 4]).astype(np.float32)
    got = run(QUICK, lambda v: three(tf.reshape(v, [-1, 4])), x.reshape(2, 2, 1, 2))
    np.testing.assert_allclose(got.reshape(2, 4), run(QUICK, three, x), atol=1e-5)


def test_the_first_search_begins_at_the_start_and_the_second_at_x():
    """The start is adversarial, and the only step of each search looks at where it begins."""
    start = np.float32([[0.3, 0.2, 0.9, 0.5]])
    config = CarliniWagner(steps=1, binary_searches=2)
    np.testing.assert_array_equal(run(config, plane(1.25), MIDDLE, start=start), start)
    state = advanced(config, plane(1.25), MIDDLE, moves=1)
    np.testing.assert_array_equal(state.x_adv, MIDDLE)


def test_a_model_that_gives_no_numbers_leaves_the_search_finite_and_in_the_box():
    """Once the second input has fallen by 0.01 the logits are NaN or, for the second example, infinite."""

    def model(x):
        return plane(1.25)(x) * tf.where(x[:, 1:2] > 0.49, 1.0, tf.where(x[:, 3:] < 0.5, np.nan, np.inf))

    x = np.float32([[0.5, 0.5, 0.5, 0.2], [0.5, 0.5, 0.5, 0.8]])
    state = advanced(dataclasses.replace(QUICK, abort_early=False), model, x, moves=8)
    for images in (state.x_adv, state.best):
        assert np.isfinite(images).all()
        assert ((images >= 0) & (images <= 1)).numpy().all()


def test_a_model_without_a_gradient_is_refused_with_the_remedy():
    with pytest.raises(UserError, match=r"no gradient with respect to its input .*by transfer"):
        run(QUICK, lambda x: plane(1.0)(tf.round(x)), MIDDLE)


REFUSED = {
    "steps": ({"steps": 0}, "steps must be at least 1, got 0"),
    "searches": ({"binary_searches": 0}, "binary_searches must be at least 1, got 0"),
    "learning rate": ({"learning_rate": 0.0}, "learning_rate must be a finite number > 0, got 0.0"),
    "constant": ({"initial_constant": float("inf")}, "initial_constant must be a finite number > 0, got inf"),
    "confidence": ({"confidence": -1.0}, "confidence must be a finite number >= 0, got -1.0"),
    "epsilon": ({"epsilon": -0.1}, "epsilon must be a finite number >= 0 .* got -0.1"),
}


@pytest.mark.parametrize(("fields", "message"), REFUSED.values(), ids=REFUSED)
def test_settings_that_mean_nothing_are_refused(fields, message):
    with pytest.raises(UserError, match=message):
        CarliniWagner(**fields)


def test_the_defaults_are_the_papers_with_1000_steps():
    config = CarliniWagner(learning_rate=0.01, steps=1000, binary_searches=9, initial_constant=1e-3, confidence=0.0)
    assert config == CarliniWagner()
    assert config.moves == 9000
    assert hash(config) == hash(CarliniWagner())
