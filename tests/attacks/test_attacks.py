"""The contract of every attack, run over the table of attacks x norms x objectives x what is kept."""

import functools
import itertools
import json

import numpy as np
import pytest
import tensorflow as tf

from tfadv.attacks import ATTACKS, Fgm, Pgd, compiled, from_dict, to_dict, training_form
from tfadv.attacks.pgd import KEEP
from tfadv.balls import BALLS
from tfadv.objectives import OBJECTIVES
from tfadv.validation import UserError

# Every epsilon in every run: nothing, a small ball, one wider than the box; row i of a batch has EPSILONS[i % 3].
EPSILONS = (0.0, 8 / 255, 2.0)
COUNT = 12
EACH = EPSILONS * (COUNT // 3)

RNG = np.random.default_rng(0)
HIDDEN, OUT = RNG.normal(size=(4, 6)).astype(np.float32), RNG.normal(size=(6, 4)).astype(np.float32)
IMAGES = RNG.random((COUNT, 2, 2, 1), np.float32)


def toy(x):
    """Images [B, 2, 2, 1] -> logits [B, 4], curved enough that attacks and norms differ."""
    return 3.0 * tf.tanh((tf.reshape(x, [-1, 4]) - 0.5) @ HIDDEN) @ OUT


LABELS = toy(IMAGES).numpy().argmax(axis=1).astype(np.int32)

# One entry for each attack of the index: how to make it for a radius, a norm and an objective, and its variants.
MAKERS = {
    Fgm: [functools.partial(Fgm)],
    Pgd: [functools.partial(Pgd, step_size=0.03, steps=4, seed=1, keep=keep) for keep in KEEP],
}
TABLE = [
    pytest.param(
        (maker, norm, objective), id="-".join([kind.__name__, *maker.keywords.get("keep", "").split(), norm, objective])
    )
    for kind, makers in MAKERS.items()
    for maker, norm, objective in itertools.product(makers, BALLS, OBJECTIVES)
]
every_attack = pytest.mark.parametrize("entry", TABLE)
# A ball wider than the box is on purpose here.
pytestmark = pytest.mark.filterwarnings("ignore:epsilon 2 is wider")


def make(entry, epsilon):
    maker, norm, objective = entry
    return maker(epsilon=epsilon, norm=norm, objective=objective)


@functools.cache
def attack(entry, jit="off"):
    return compiled(toy, make(entry, EACH), jit=jit, precision="float32")


@functools.cache
def outcome(entry):
    return attack(entry).run(IMAGES, LABELS)


def pure(config, x, y, start=None, model=toy):
    x = tf.constant(x)
    return ATTACKS[type(config)](model, x, tf.constant(y), x if start is None else tf.constant(start), config=config)


def test_the_table_covers_the_index_of_attacks():
    assert set(MAKERS) == set(ATTACKS)


@every_attack
def test_results_stay_in_ball_and_box_for_every_epsilon(entry):
    x_adv = outcome(entry).x_adv
    assert x_adv.shape == IMAGES.shape
    assert x_adv.dtype == np.float32
    assert np.isfinite(x_adv).all()
    assert x_adv.min() >= 0
    assert x_adv.max() <= 1
    size = BALLS[entry[1]].size(tf.constant(x_adv - IMAGES)).numpy()
    assert (size <= np.array(EACH) + 1e-6).all()
    assert size[1::3].max() > 4 / 255  # The small ball is used, and the wide one more.
    assert size[2::3].max() > 8 / 255


@every_attack
def test_epsilon_zero_gives_the_images_back_bit_for_bit(entry):
    np.testing.assert_array_equal(outcome(entry).x_adv[::3], IMAGES[::3])


@every_attack
def test_a_flag_says_that_the_returned_image_is_misclassified(entry):
    flags = outcome(entry).adversarial
    np.testing.assert_array_equal(flags, toy(outcome(entry).x_adv).numpy().argmax(axis=1) != LABELS)
    assert not flags[::3].any()  # All are classified right, and epsilon 0 changes nothing.


@every_attack
def test_the_pure_function_and_the_compiled_attack_agree_from_the_same_start(entry):
    start = np.clip(IMAGES + 0.02 * np.sign(IMAGES - 0.4), 0, 1)
    expected = pure(make(entry, EACH), IMAGES, LABELS, start)
    np.testing.assert_allclose(attack(entry)(IMAGES, LABELS, start), expected, atol=1e-5)


@every_attack
def test_an_example_alone_is_attacked_as_in_a_batch(entry):
    config = make(entry, 0.1)
    together = pure(config, IMAGES[:3], LABELS[:3])
    for row in range(3):
        alone = pure(config, IMAGES[row : row + 1], LABELS[row : row + 1])
        np.testing.assert_allclose(alone, together[row : row + 1], atol=1e-5)


@pytest.mark.slow
@pytest.mark.parametrize("entry", [TABLE[3], TABLE[7], TABLE[17]])
def test_xla_and_the_graph_agree_from_the_same_start(entry):
    """Every kind, norm, objective and `keep` once, not every combination: XLA takes seconds for each."""
    start = np.clip(IMAGES + 0.02, 0, 1)
    xla, graph = (attack(entry, jit).run(IMAGES, LABELS, start) for jit in ("on", "off"))
    assert (xla.adversarial == graph.adversarial).mean() >= 0.995
    np.testing.assert_allclose(xla.x_adv, graph.x_adv, atol=1e-5)


# Two classes, and label 0 so far ahead that no point of the box is misclassified: the objective is all there is.
LINEAR = np.array([[1.0, -1.0], [2.0, -2.0], [-3.0, 3.0], [0.5, 0.0]], np.float32)


def linear(x):
    return tf.reshape(x, [-1, 4]) @ LINEAR + [5.0, 0.0]


@pytest.mark.parametrize("objective", ["cross_entropy", "margin"])
@pytest.mark.parametrize("norm", BALLS)
@pytest.mark.parametrize("maker", [maker for makers in MAKERS.values() for maker in makers])
def test_on_a_linear_model_every_attack_reaches_the_closed_form_optimum(maker, norm, objective):
    """argmax of a linear function over the ball: x + epsilon sign(w) for linf, x + epsilon w / |w| for l2.

    For linf also intersected with the box, because both are boxes: the corner is clipped. w = column 1 - column 0.
    The l2 images are gray, so that their ball lies in the box.
    """
    w = LINEAR[:, 1] - LINEAR[:, 0]
    x = IMAGES if norm == "linf" else np.full_like(IMAGES, 0.5)
    direction = np.sign(w) if norm == "linf" else w / np.linalg.norm(w)
    expected = np.clip(x + 0.1 * direction.reshape(2, 2, 1), 0, 1)
    config = make((maker, norm, objective), 0.1)
    got = pure(config, x, np.zeros(COUNT, np.int32), model=linear)
    np.testing.assert_allclose(got, expected, atol=1e-5)


def test_dlr_on_two_classes_is_refused_with_the_remedy():
    for makers in MAKERS.values():
        with pytest.raises(UserError, match=r"at least 3 classes.*objective='margin'"):
            pure(makers[0](objective="dlr"), IMAGES, np.zeros(COUNT, np.int32), model=linear)


@every_attack
def test_a_config_survives_json(entry):
    config = make(entry, EACH)
    values = json.loads(json.dumps(to_dict(config)))
    assert values["class"] == type(config).__name__
    assert from_dict(values) == config


def test_from_dict_refuses_an_attack_that_does_not_exist():
    with pytest.raises(UserError, match=r"must be one of \['Fgm', 'Pgd'\], got 'Newton'"):
        from_dict({"class": "Newton", "epsilon": 0.1})


@every_attack
def test_training_takes_the_last_iterate_of_one_start_and_nothing_else_changes(entry):
    config = make(entry, 0.1)
    form = training_form(config)
    assert (form.keep, form.restarts) == ("last", 1)
    assert (form.epsilon, form.norm, form.objective) == (config.epsilon, config.norm, config.objective)
    if isinstance(config, Pgd):
        assert (form.steps, form.step_size, form.random_start) == (config.steps, config.step_size, True)


def test_training_takes_one_of_several_restarts():
    assert training_form(Pgd(restarts=5)) == Pgd(keep="last")


def test_training_refuses_a_radius_or_a_step_for_each_example():
    """Batches are mixed anew in every epoch, so the numbers would fall to other images each time."""
    for config in (Fgm(epsilon=(0.1, 0.2)), Pgd(epsilon=(0.1, 0.2))):
        with pytest.raises(UserError, match="epsilon must be one number in training, got 2"):
            training_form(config)
    with pytest.raises(UserError, match="step_size must be one number in training, got 3"):
        training_form(Pgd(step_size=(0.1, 0.2, 0.3)))


def test_training_refuses_what_is_no_attack():
    with pytest.raises(UserError, match=r"attack must be one of \['Fgm', 'Pgd'\], got str"):
        training_form("pgd")
