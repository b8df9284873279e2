"""Transfer: crafted on the source alone, judged by the target alone."""

import numpy as np
import pytest
import tensorflow as tf

from tfadv.attacks import Pgd, compiled, transfer
from tfadv.attacks.transfer import Transferred

RNG = np.random.default_rng(0)
WEIGHTS = RNG.normal(size=(4, 3)).astype(np.float32)
X = RNG.random((30, 2, 2, 1), np.float32)
CONFIG = Pgd(epsilon=0.2, step_size=0.05, steps=8, keep="last")


def linear(weights):
    return lambda x: (tf.reshape(x, [-1, 4]) - 0.5) @ weights


TARGET = linear(WEIGHTS)
NEAR, FAR = linear(WEIGHTS + 0.3), linear(-WEIGHTS)
Y = TARGET(X).numpy().argmax(axis=1).astype(np.int32)


def transferred(source, target=TARGET, config=CONFIG) -> Transferred:
    return transfer(source, target, config, X, Y, precision="float32")


def test_examples_are_crafted_on_the_source_and_judged_by_the_target():
    outcome = transferred(NEAR)
    np.testing.assert_array_equal(outcome.x_adv, compiled(NEAR, CONFIG, precision="float32")(X, Y))
    np.testing.assert_array_equal(outcome.adversarial, TARGET(outcome.x_adv).numpy().argmax(axis=1) != Y)
    assert 0 < outcome.adversarial.mean()


def test_from_the_target_itself_it_is_the_white_box_attack():
    white = compiled(TARGET, CONFIG, precision="float32").run(X, Y)
    np.testing.assert_array_equal(transferred(TARGET).adversarial, white.adversarial)


def test_of_several_sources_one_that_fools_is_enough_and_its_example_is_returned():
    outcome = transferred([FAR, NEAR])
    alone = [transferred(source) for source in (FAR, NEAR)]
    np.testing.assert_array_equal(outcome.by_source, [each.adversarial for each in alone])
    np.testing.assert_array_equal(outcome.adversarial, alone[0].adversarial | alone[1].adversarial)
    np.testing.assert_array_equal(TARGET(outcome.x_adv).numpy().argmax(axis=1) != Y, outcome.adversarial)
    assert (alone[1].adversarial & ~alone[0].adversarial).any()


def test_the_target_is_never_asked_for_a_gradient():
    """A target without one is no obstacle."""
    outcome = transferred(NEAR, target=lambda x: TARGET(tf.round(10 * x) / 10))
    assert outcome.adversarial.any()


def test_a_radius_for_each_example():
    config = Pgd(epsilon=(0.0, 0.3) * 15, step_size=0.1, steps=6, keep="last")
    outcome = transferred(NEAR, config=config)
    assert not outcome.adversarial[::2].any()
    assert outcome.adversarial[1::2].any()


def test_progress_counts_over_all_sources():
    seen = []
    transfer([FAR, NEAR], TARGET, CONFIG, X, Y, progress=lambda done, total: seen.append((done, total)))
    assert seen[-1] == (60, 60)
    assert [done for done, _ in seen] == sorted(done for done, _ in seen)


def test_a_targeted_attack_is_judged_by_its_target():
    config = Pgd(epsilon=0.6, step_size=0.1, steps=10, keep="last", targeted=True)
    wanted = ((Y + 1) % 3).astype(np.int32)
    outcome = transfer(NEAR, TARGET, config, X, wanted, precision="float32")
    np.testing.assert_array_equal(outcome.adversarial, TARGET(outcome.x_adv).numpy().argmax(axis=1) == wanted)
    assert outcome.adversarial.mean() == pytest.approx(outcome.by_source[0].mean())
