"""The engine on a small net of digits: more radius, more success; fooled rows cost little; bfloat16 only searches."""

import keras
import numpy as np
import pytest

from tfadv import data, devices
from tfadv.attacks import Pgd, compiled


def attack(model, config, **options):
    """Compiled to a graph in float32, unless a test asks for something else."""
    return compiled(model, config, **{"jit": "off", "precision": "float32", **options})


@pytest.fixture(scope="module")
def digits_net():
    """A small convolutional net trained for seconds on clean digits, and 48 test images that it classifies right."""
    keras.utils.set_random_seed(0)
    layers = keras.layers
    net = keras.Sequential(
        [
            layers.Input((28, 28, 1)),
            layers.Conv2D(8, 5, strides=3, activation="relu"),
            layers.Flatten(),
            layers.Dense(32, activation="relu"),
            layers.Dense(10),
        ]
    )
    net.compile(
        keras.optimizers.Adam(5e-3), keras.losses.SparseCategoricalCrossentropy(from_logits=True), jit_compile=False
    )
    net.fit(*data.arrays("digits", "train", limit=1000), batch_size=50, epochs=5, verbose=0)
    x, y = data.arrays("digits", "test")
    right = np.flatnonzero(net.predict(x, verbose=0).argmax(axis=1) == y)
    assert len(right) > 0.9 * len(x)
    return net, x[right[:48]], y[right[:48]]


def test_the_last_iterates_successes_are_among_the_best_runs_successes(digits_net):
    """From one seed the same path is walked, so what a "last" run met on its way is what a "best" run returns."""
    net, x, y = digits_net
    best, last = (
        attack(net, Pgd(epsilon=0.08, step_size=0.03, steps=12, keep=keep)).run(x, y) for keep in ("best", "last")
    )
    assert 0 < best.adversarial.sum() < len(x)
    assert (last.ever_adversarial == best.adversarial).mean() >= 0.995
    assert (last.ever_adversarial >= last.adversarial).all()
    assert best.adversarial.sum() >= last.adversarial.sum()
    np.testing.assert_array_equal(best.ever_adversarial, best.adversarial)


def test_a_larger_epsilon_never_fools_fewer(digits_net):
    """Four radii at once; each copy of an image starts in the same direction (one index), in its own ball."""
    net, x, y = digits_net
    radii = (0.02, 0.05, 0.1, 0.3)
    epsilon = tuple(np.repeat(radii, len(x)))
    config = Pgd(epsilon=epsilon, step_size=tuple(value / 4 for value in epsilon), steps=10)
    outcome = attack(net, config).run(np.tile(x, (4, 1, 1, 1)), np.tile(y, 4), index=np.tile(np.arange(len(x)), 4))
    fooled = outcome.adversarial.reshape(4, -1).sum(axis=1)
    assert (np.diff(fooled) >= 0).all()
    assert fooled[0] < len(x) / 2
    assert fooled[3] == len(x)


def test_an_undefended_net_costs_a_fraction_of_all_steps(digits_net):
    net, x, y = digits_net
    outcome = attack(net, Pgd(epsilon=0.3, step_size=0.03, steps=40)).run(x, y)
    assert outcome.adversarial.all()
    assert outcome.gradient_evaluations < 0.4 * len(x) * 40


class TestBfloat16:
    """Where the CPU has no such units the option does nothing, and all of this holds all the same."""

    @pytest.fixture(scope="class")
    def found(self, digits_net):
        net, x, y = digits_net
        run = attack(net, Pgd(epsilon=0.1, step_size=0.03, steps=12), precision="bfloat16")
        return run, run.run(x, y)

    def test_every_success_is_one_in_float32(self, digits_net, found):
        net, _, y = digits_net
        _, outcome = found
        assert outcome.precision == "bfloat16"
        assert outcome.adversarial.sum() > len(y) / 4
        np.testing.assert_array_equal(net(outcome.x_adv).numpy().argmax(axis=1) != y, outcome.adversarial)

    def test_the_projection_stays_float32(self, digits_net, found):
        """Rewriting the whole step once made it |delta| = 0.1035 for epsilon 0.1."""
        _, x, _ = digits_net
        _, outcome = found
        size = np.abs(outcome.x_adv - x).max(axis=(1, 2, 3))
        assert size.max() <= 0.1 + 1e-6
        assert size.max() > 0.09
        assert outcome.x_adv.min() >= 0
        assert outcome.x_adv.max() <= 1

    def test_it_costs_and_traces_as_a_float32_search_does(self, digits_net, found):
        net, x, y = digits_net
        run, outcome = found
        float32 = attack(net, Pgd(epsilon=0.1, step_size=0.03, steps=12)).run(x, y)
        assert abs(int(outcome.adversarial.sum()) - int(float32.adversarial.sum())) <= 2
        assert outcome.gradient_evaluations <= 1.2 * float32.gradient_evaluations
        assert 1 <= run.traces <= 2
        if devices.cpu_has_bfloat16() and not devices.has_accelerator():
            assert not np.array_equal(outcome.x_adv, float32.x_adv)  # The search was another one.

    def test_a_success_that_float32_does_not_confirm_is_none_and_the_search_goes_on(self):
        """The gradient program claims success everywhere; the model is never wrong about class 0."""
        x, y = np.full([20, 4], 0.5, np.float32), np.zeros(20, np.int32)
        run = attack(lambda v: 0.1 * v[:, :3] + [2.0, 0.0, 0.0], Pgd(epsilon=0.1, steps=12), precision="bfloat16")
        honest = run._measure

        def boasting(problem, state):
            measured = honest(problem, state)
            return measured._replace(logits=measured.logits + np.float32([0.0, 9.0, 0.0]))

        run._measure = boasting
        outcome = run.run(x, y)
        assert not outcome.ever_adversarial.any()
        assert not outcome.adversarial.any()
        assert outcome.gradient_evaluations == 20 * 12
