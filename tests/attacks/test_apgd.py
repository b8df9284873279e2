"""Auto-PGD on models worked out by hand: steps, checkpoints, targets, what is kept, and what every attack owes."""

import dataclasses

import numpy as np
import pytest
import tensorflow as tf

from tfadv.attacks import compiled, search
from tfadv.attacks.apgd import Apgd, apgd, checkpoints
from tfadv.validation import UserError

CLASSES, FEATURES = 5, 8
_DRAWN = np.random.default_rng(3)
FIRST = (1.5 * _DRAWN.normal(size=(FEATURES, 12))).astype(np.float32)
SECOND = _DRAWN.normal(size=(12, CLASSES)).astype(np.float32)
X = _DRAWN.uniform(size=(16, FEATURES)).astype(np.float32)


def net(x):
    """A smooth model of 8 inputs and 5 classes with many maxima."""
    return tf.tanh((x - 0.5) @ FIRST) @ SECOND


Y = np.argmax(net(X), axis=1).astype(np.int32)


def linear(x):
    """Two classes, four inputs; class 0 stays ahead in the whole box."""
    return x @ np.array([[1.0, -1.0], [2.0, -2.0], [-3.0, 3.0], [0.5, 0.0]], np.float32) + [8.0, 0.0]


UP = np.array([-1.0, -1.0, 1.0, -1.0])  # sign of column 1 - column 0


def ridge(v):
    """One number v: the logit of class 1 is behind by 0.01 + |v - 0.53|."""
    return tf.concat([tf.zeros_like(v), -0.01 - tf.abs(v - 0.53)], axis=1)


def run(model, x, config, start=None, y=None):
    x = tf.constant(x, tf.float32)
    y = tf.zeros([len(x)], tf.int32) if y is None else tf.constant(y, tf.int32)
    return apgd(model, x, y, None if start is None else tf.constant(start, tf.float32), config=config).numpy()


def problem_of(config, x, y, **options):
    return search.problem_of(config, tf.constant(x, tf.float32), tf.constant(y, tf.int32), **options)


def point_after(moves, config, model, x, start):
    """Where one example stands after some moves."""
    problem = problem_of(config, [x], [0])
    state = config.begin(model, problem, tf.constant([start], tf.float32))
    return search.advance(config, model, problem, state, tf.constant([moves])).x_adv.numpy()[0]


@pytest.mark.parametrize(
    ("steps", "after"),
    [
        (100, [22, 41, 57, 70, 80, 87, 93, 99]),
        (200, [44, 82, 114, 140, 160, 174, 186, 198]),
        (5, [2, 3, 4, 5]),
        (1, [1]),
    ],
)
def test_checkpoints_are_those_of_the_paper(steps, after):
    """5 steps: 1.1, 2.05, 2.85, 3.5, 4, 4.35, 4.65, 4.95, rounded up."""
    assert checkpoints(steps) == after


class TestOnTheRidge:
    """From 0.5, epsilon 0.1: 0.5 + 0.2 is cut to 0.6; then 0.6 + 0.75 (0.4 - 0.6) + 0.25 (0.6 - 0.5) = 0.475.

    The ridge is at 0.53: the gradient is +, -, + and the margin -0.04, -0.08, -0.065.
    """

    def at(self, moves, steps=100, **settings):
        config = Apgd(epsilon=0.1, steps=steps, objective="margin", **settings)
        return point_after(moves, config, ridge, [0.5], [0.5])[0]

    @pytest.mark.parametrize("norm", ["linf", "l2"])
    def test_the_first_step_is_two_epsilon_long_and_the_second_has_momentum(self, norm):
        assert self.at(1, norm=norm) == pytest.approx(0.6)
        assert self.at(2, norm=norm) == pytest.approx(0.475)

    def test_the_third_step(self):
        """0.475 + 0.75 (0.6 - 0.475) + 0.25 (0.475 - 0.6) = 0.5375."""
        assert self.at(3) == pytest.approx(0.5375)

    def test_a_checkpoint_halves_the_step_and_goes_back_to_the_best_point_but_keeps_the_point_before(self):
        """With 5 steps the first is after 2, of which one rose: 0.5 + 0.75 * 0.1 + 0.25 (0.5 - 0.6) = 0.55."""
        assert self.at(3, steps=5) == pytest.approx(0.55)

    def test_the_first_step_counts_as_rising_if_the_objective_is_positive(self):
        """The margin is negative; of cross-entropy, with the same gradients, both of two steps rise: no halving."""
        config = Apgd(epsilon=0.1, steps=5)
        assert point_after(3, config, ridge, [0.5], [0.5])[0] == pytest.approx(0.5375)


@pytest.mark.parametrize(("norm", "steps"), [("linf", 10), ("l2", 40), ("l1", 10)])
def test_on_a_linear_model_the_optimum_is_reached(norm, steps):
    """The gradient is (-2, -4, 6, -0.5): its sign, its direction, or its largest entry.

    In l1 from the input itself: a step moves as many features as the start has changed, and one here.
    """
    gradient = np.array([-2.0, -4.0, 6.0, -0.5])
    best = {"linf": UP, "l2": gradient / np.sqrt(56.25), "l1": np.array([0.0, 0.0, 1.0, 0.0])}[norm]
    start = [[0.5] * 4] if norm == "l1" else None
    x_adv = run(linear, [[0.5] * 4], Apgd(epsilon=0.1, norm=norm, steps=steps), start)
    np.testing.assert_allclose(x_adv, [0.5 + 0.1 * best], atol=1e-3)


def test_a_targeted_attack_on_one_of_two_classes_is_the_untargeted_one_on_the_other():
    for objective in ("cross_entropy", "dlr", "margin"):
        config = Apgd(epsilon=0.1, objective=objective, steps=3)
        expected = run(linear, [[0.5] * 4], config, y=[0])
        np.testing.assert_array_equal(
            expected, run(linear, [[0.5] * 4], dataclasses.replace(config, targeted=True), y=[1])
        )
        assert (expected != 0.5).all()


def size(delta, norm):
    delta = np.abs(delta.reshape(len(delta), -1))
    return {"linf": delta.max(1), "l2": np.sqrt((delta**2).sum(1)), "l1": delta.sum(1)}[norm]


@pytest.mark.parametrize("norm", ["linf", "l2", "l1"])
class TestEveryNorm:
    def config(self, norm, **settings):
        return Apgd(norm=norm, **{"epsilon": 0.3 if norm == "linf" else 0.6, "steps": 6, **settings})

    def test_a_start_follows_from_seed_example_and_run(self, norm):
        config = self.config(norm)
        problem = problem_of(config, X[:4], Y[:4])
        starts = config.draw(problem).numpy()
        np.testing.assert_array_equal(config.draw(problem), starts)
        alone = tf.nest.map_structure(lambda column: column[2:3], problem)
        np.testing.assert_array_equal(config.draw(alone)[0], starts[2])
        others = [
            config.draw(problem._replace(run=problem.run + 1)).numpy(),
            dataclasses.replace(config, seed=1).draw(problem).numpy(),
        ]
        deltas = np.concatenate([starts, *others]) - np.tile(X[:4], [3, 1])
        assert len(np.unique(deltas.round(6))) >= deltas.size - 12  # Each has one entry of size epsilon in linf.
        if norm != "l1":
            np.testing.assert_allclose(size(deltas, norm), config.epsilon, rtol=1e-5)

    def test_ball_and_box_hold_and_xla_other_company_and_other_steps_beside_it_change_nothing(self, norm):
        config = self.config(norm, objective="targeted_dlr")
        problem = problem_of(config, X[:6], Y[:6], run=1)
        begun = config.begin(net, problem, tf.clip_by_value(config.draw(problem), 0.0, 1.0))
        until = tf.fill([6], config.moves)
        end = search.advance(config, net, problem, begun, until)
        for got in (end.x_adv.numpy(), end.best.numpy()):
            assert (size(got - X[:6], norm) <= config.epsilon * (1 + 1e-5)).all()
            assert got.min() >= 0
            assert got.max() <= 1
        assert end.found.numpy().any()
        jit = tf.function(lambda *of: search.advance(config, net, *of), autograph=False, jit_compile=True)
        np.testing.assert_allclose(jit(problem, begun, until).x_adv, end.x_adv, atol=1e-5)
        alone = [tf.nest.map_structure(lambda column: column[2:3], of) for of in (problem, begun, until)]
        np.testing.assert_allclose(search.advance(config, net, *alone).x_adv, end.x_adv[2:3], atol=1e-5)
        staggered = search.advance(config, net, problem, begun, tf.range(6))
        staggered = search.advance(config, net, problem, staggered, until)
        np.testing.assert_array_equal(staggered.x_adv, end.x_adv)

    def test_radius_zero_returns_the_input(self, norm):
        np.testing.assert_array_equal(run(net, X[:4], self.config(norm, epsilon=0.0), y=Y[:4]), X[:4])

    def test_the_radius_of_each_example_is_that_of_separate_runs(self, norm):
        radii = (0.0, 0.02, 0.05)
        start = X[:3] + 0.01
        together = run(net, X[:3], self.config(norm, epsilon=radii), start, Y[:3])
        for row, radius in enumerate(radii):
            alone = run(
                net, X[row : row + 1], self.config(norm, epsilon=radius), start[row : row + 1], Y[row : row + 1]
            )
            np.testing.assert_allclose(together[row : row + 1], alone, atol=1e-6)

    def test_the_box_is_the_configs_and_inputs_have_any_rank(self, norm):
        flat = X[:4] * 2 - 1
        config = self.config(norm, epsilon=0.2, bounds=(-1.0, 1.0), steps=4)
        expected = run(net, flat, config, y=Y[:4])
        assert expected.min() < 0
        images = run(lambda v: net(tf.reshape(v, [-1, 8])), flat.reshape(4, 2, 2, 2), config, y=Y[:4])
        np.testing.assert_allclose(images.reshape(4, 8), expected, atol=1e-6)

    def test_a_start_outside_of_ball_or_box_is_projected(self, norm):
        config = self.config(norm, epsilon=0.01)
        state = config.begin(net, problem_of(config, X[:4], Y[:4]), tf.constant(X[:4] + 5))
        allowed = 3 * config.epsilon if norm == "l1" else config.epsilon
        assert (size(state.x_adv.numpy() - X[:4], norm) <= allowed * (1 + 1e-4)).all()
        assert state.x_adv.numpy().max() <= 1

    def test_logits_that_are_not_numbers_leave_a_point_in_ball_and_box(self, norm):
        for objective in ("cross_entropy", "targeted_dlr"):
            config = self.config(norm, epsilon=0.01, objective=objective, steps=4, targets=2)
            x_adv = run(lambda v: net(v) * float("nan"), X[:4], config, y=np.zeros(4))
            assert (size(x_adv - X[:4], norm) <= 0.01 * (1 + 1e-4)).all()


class TestTheIterateThatIsKept:
    """Of 0.5, 0.6, 0.475, 0.5375 on a ridge that class 1 wins within some distance of 0.53."""

    @pytest.mark.parametrize(("wins_within", "kept"), [(0.04, 0.5), (0.02, 0.5375), (-0.01, 0.5375)])
    def test_it_is_the_first_success_or_else_that_of_highest_objective(self, wins_within, kept):
        def model(v):
            return ridge(v) + np.array([0.0, 0.01 + wins_within], np.float32)

        config = Apgd(epsilon=0.1, objective="margin", steps=100)
        problem = problem_of(config, [[0.5]], [0])
        state = config.begin(model, problem, problem.x)
        state = search.advance(config, model, problem, state, tf.constant([4]))
        assert float(state.best[0, 0]) == pytest.approx(kept)
        assert bool(state.found[0]) == (wins_within > 0)

    def test_of_l1_a_success_in_the_larger_balls_is_none(self):
        """Class 1 wins from a distance of 0.2 on: inside of 3 epsilon, not of epsilon."""

        def model(v):
            total = tf.reduce_sum(v, axis=1, keepdims=True)
            return tf.concat([tf.zeros_like(total), total - 1.2], axis=1)

        x = np.full([1, 2], 0.5, np.float32)
        assert size(run(model, x, Apgd(epsilon=0.1, norm="l1", steps=10)) - x, "l1")[0] == pytest.approx(0.1, rel=1e-4)
        assert np.argmax(model(run(model, x, Apgd(epsilon=0.25, norm="l1", steps=10)))) == 1


class TestTargets:
    """Each run of targeted DLR goes for the next class of the clean logits, after all restarts for the one before."""

    def begun(self, runs, **settings):
        config = Apgd(objective="targeted_dlr", steps=7, **settings)
        problem = problem_of(config, X[[0] * len(runs)], Y[[0] * len(runs)])._replace(run=tf.constant(runs))
        return config, config.begin(net, problem, problem.x)

    def test_they_are_the_highest_wrong_logits_in_order(self):
        order = [each for each in np.argsort(-net(X)[0].numpy()) if each != Y[0]]
        _, state = self.begun([0, 1, 2, 3])
        assert state.memory.target.numpy().tolist() == order
        _, state = self.begun([0, 1, 2, 3], restarts=2)
        assert state.memory.target.numpy().tolist() == [order[0], order[0], order[1], order[1]]

    def test_runs_beyond_the_last_class_end_before_they_begin(self):
        config, state = self.begun([3, 4, 8])
        assert config.runs == 9
        assert state.taken.numpy().tolist() == [0, 7, 7]

    @pytest.mark.parametrize(("classes", "needed"), [(3, 2), (5, 8)])
    def test_the_number_of_gradients_is_that_of_the_targets_needed(self, classes, needed):
        """2 restarts of min(9, K - 1) targets, and of one objective where targeted DLR has too few classes."""

        def model(v):
            return v[:, :1] * tf.range(classes, dtype=tf.float32) * 0.1 + 9 * tf.eye(classes)[:1]

        outcome = compiled(model, Apgd(objective="targeted_dlr", restarts=2, steps=6), precision="float32").run(
            X[:3], np.zeros(3, int)
        )
        assert not outcome.adversarial.any()
        assert outcome.gradient_evaluations == 3 * needed * 6

    def test_a_later_target_is_reached_where_the_highest_logit_leads_nowhere(self):
        """Class 1 is second everywhere, and its logit is constant; class 2 overtakes class 0 from 0.7 on."""

        def model(v):
            rows = [tf.ones_like(v), 0.9 * tf.ones_like(v), 5.0 * (v - 0.5), -tf.ones_like(v)]
            return tf.concat(rows, axis=1)

        config = Apgd(epsilon=0.25, objective="targeted_dlr", steps=5)
        for number, found in ((0, False), (1, True)):
            problem = problem_of(config, [[0.5]], [0], run=number)
            state = config.begin(model, problem, problem.x)
            assert bool(search.advance(config, model, problem, state, tf.constant([5])).found[0]) == found

    @pytest.mark.parametrize(("classes", "objective"), [(2, "margin"), (3, "dlr")])
    def test_with_few_classes_another_objective_stands_in(self, classes, objective):
        def model(v):
            return net(v)[:, :classes]

        y = np.argmax(model(X[:8]), axis=1)
        configs = [Apgd(epsilon=0.2, objective=each, steps=12) for each in (objective, "targeted_dlr", "dlr")]
        expected, *others = (run(model, X[:8], config, X[:8], y) for config in configs)
        for got in others:
            np.testing.assert_array_equal(got, expected)


def test_gradients_of_several_calls_are_averaged_and_the_logits_are_those_of_the_last():
    """The n-th call has the slope n: the mean of 1, 2, 3, 4 is 2.5."""
    calls = tf.Variable(0.0)

    def model(v):
        slope = calls.assign_add(1.0)
        return tf.concat([-slope * v, tf.zeros_like(v)], axis=1)

    config = Apgd(objective="margin", eot=4)
    problem = problem_of(config, [[0.5]], [0])
    state = config.begin(model, problem, problem.x)
    for ask in (config.measure, tf.function(config.measure, autograph=False)):
        calls.assign(0.0)
        measured = ask(model, problem, state)
        np.testing.assert_allclose(measured.gradient, [[2.5]])
        np.testing.assert_allclose(measured.logits, [[-2.0, 0.0]])
    assert config.gradients_per_move == 4


REFUSED = {
    "norm": ({"norm": "l7"}, r"norm must be one of \['l1', 'l2', 'linf'\], got 'l7'"),
    "objective": ({"objective": "ce"}, r"objective must be one of \[.*'targeted_dlr'\], got 'ce'"),
    "steps": ({"steps": 0}, "steps must be at least 1, got 0"),
    "targets": ({"targets": 0}, "targets must be at least 1, got 0"),
    "restarts": ({"restarts": 0}, "restarts must be at least 1, got 0"),
    "eot": ({"eot": 0}, "eot must be at least 1, got 0"),
    "epsilon": ({"epsilon": -0.1}, "epsilon must be a finite number >= 0 .* got -0.1"),
    "targeted": ({"targeted": True, "objective": "targeted_dlr"}, "targeted=True needs .*use objective='dlr'"),
}


@pytest.mark.parametrize(("fields", "message"), REFUSED.values(), ids=REFUSED)
def test_settings_that_mean_nothing_are_refused(fields, message):
    with pytest.raises(UserError, match=message):
        Apgd(**fields)


def test_a_model_without_a_gradient_is_refused_with_the_remedy():
    with pytest.raises(UserError, match="no gradient with respect to its input"):
        run(lambda v: net(tf.stop_gradient(v)), X[:2], Apgd(steps=2), y=Y[:2])
