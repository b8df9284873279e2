"""Threats: what their names mean, and that the attacks which fit them stay inside them."""

import dataclasses

import numpy as np
import pytest
import tensorflow as tf

from tfadv import attacks
from tfadv.attacks import AutoAttack, Brightness, Jsma, Rotation
from tfadv.evaluation.threats import UNITS, Threat, parse_all
from tfadv.validation import UserError

SHAPE = (4, 4, 1)
WEIGHTS = np.random.default_rng(0).normal(size=[16, 3]).astype(np.float32)
IMAGES = np.random.default_rng(1).uniform(0.1, 0.9, [12, *SHAPE]).astype(np.float32)


def linear(x):
    return tf.reshape(x, [-1, 16]) @ WEIGHTS


LABELS = linear(IMAGES).numpy().argmax(axis=1)


@pytest.mark.parametrize(
    ("text", "norm", "epsilon", "again"),
    [
        ("linf:8/255", "linf", 8 / 255, "linf:8/255"),
        (" Linf : 8 / 255 ", "linf", 8 / 255, "linf:8/255"),
        ("linf:0.3", "linf", 0.3, "linf:0.3"),
        ("l2:.5", "l2", 0.5, "l2:0.5"),
        ("l2:128/255", "l2", 128 / 255, "l2:128/255"),
        ("l1:12", "l1", 12.0, "l1:12"),
        ("l0:10", "l0", 10.0, "l0:10"),
        ("rotation:20", "rotation", 20.0, "rotation:20"),
        ("brightness:2e-1", "brightness", 0.2, "brightness:0.2"),
        ("linf:1/3", "linf", 1 / 3, "linf:85/255"),
        ("linf:0.123456789", "linf", 0.123456789, "linf:0.123456789"),
        ("linf:0", "linf", 0.0, "linf:0"),
    ],
)
def test_a_name_means_a_norm_and_a_radius_and_is_written_so_that_it_means_the_same(text, norm, epsilon, again):
    threat = Threat.parse(text)
    assert threat == Threat(norm, epsilon)
    assert str(threat) == again
    assert Threat.parse(again).epsilon == pytest.approx(epsilon, rel=1e-12)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("8/255", r"written as norm:epsilon, such as linf:8/255, .* got '8/255'"),
        ("linf", "written as norm:epsilon"),
        ("linf:", "written as norm:epsilon"),
        ("linf:-0.1", "written as norm:epsilon"),
        ("linf:8/0", "written as norm:epsilon"),
        ("linf:8/255/2", "written as norm:epsilon"),
        ("linf:eight", "written as norm:epsilon"),
        ("l3:1", r"norm of a threat must be one of \['linf', 'l2', 'l1', 'l0', 'rotation', 'brightness'\], got 'l3'"),
        ("linf:1e999", "epsilon of linf must be a finite number >= 0, got inf"),
        ("l0:2.5", "epsilon of l0 must be a whole number of pixels, at least 1, got 2.5"),
        ("l0:0", "at least 1, got 0"),
        ("rotation:181", r"epsilon of rotation must lie in \[0, 180\] degrees, got 181"),
    ],
)
def test_what_names_no_threat_is_refused(text, message):
    with pytest.raises(UserError, match=message):
        Threat.parse(text)


def test_several_are_listed_in_one_text_or_given_one_by_one():
    expected = (Threat("linf", 0.1), Threat("l2", 0.5))
    assert parse_all("linf:0.1, l2:0.5") == parse_all(["linf:0.1", Threat("l2", 0.5)]) == expected
    with pytest.raises(UserError, match=r"threats must differ from each other, got linf:0.1, linf:0.1"):
        parse_all("linf:0.1,linf:1/10")
    for none in ("", ()):
        with pytest.raises(UserError, match="threats must name at least one, such as linf:8/255"):
            parse_all(none)


def sizes(norm, delta):
    """How much of its threat each change uses, [B]."""
    flat = np.reshape(delta, [len(delta), -1])
    return {
        "l1": np.abs(flat).sum(axis=1),
        "l0": np.count_nonzero(flat, axis=1),
        "brightness": np.abs(flat).max(axis=1),
    }[norm]


@pytest.mark.parametrize(
    ("text", "bounds"),
    [
        pytest.param("l1:1", (0.0, 1.0), marks=pytest.mark.slow),
        pytest.param("l0:1", (-1.0, 3.0), marks=pytest.mark.slow),
        ("l0:3", (0.0, 1.0)),
        ("brightness:0.3", (-1.0, 3.0)),
    ],
)
def test_every_attack_that_fits_a_threat_stays_inside_it_and_one_of_them_fools(text, bounds):
    """A linear model of three classes; what is for linf and l2 is AutoAttack's and tested there."""
    threat = Threat.parse(text)
    low, high = bounds
    x = low + (high - low) * IMAGES
    if threat.norm == "brightness":
        threat = Threat(threat.norm, threat.epsilon * (high - low))

    def model(x):
        return linear((x - low) / (high - low))

    fooled = np.zeros(len(x), bool)
    for part in threat.parts(SHAPE, seed=3, bounds=bounds):
        config = part.config
        assert part.survivors
        assert config.bounds == bounds
        if isinstance(config, attacks.Spsa):
            config = dataclasses.replace(config, steps=2, samples=8)
        attack = attacks.compiled(model, config, precision="float32")
        for aim in [LABELS] if not config.targeted else [(LABELS + shift) % 3 for shift in (1, 2)]:
            x_adv = attack.run(x, aim).x_adv
            assert sizes(threat.norm, x_adv - x).max() <= threat.epsilon * (1 + 1e-5)
            assert x_adv.min() >= low
            assert x_adv.max() <= high
            fooled |= model(x_adv).numpy().argmax(axis=1) != LABELS
    assert fooled.any()


def test_linf_and_l2_are_attacked_by_autoattack():
    for norm in ("linf", "l2"):
        configs = tuple(part.config for part in Threat(norm, 0.1).parts(SHAPE, seed=4))
        assert configs == AutoAttack(0.1, norm, seed=4).stages()


def test_l1_is_attacked_with_its_own_radius_and_seed_and_by_one_attack_without_gradients():
    parts = Threat("l1", 12).parts((28, 28, 1), seed=4)
    assert {(part.config.norm, part.config.epsilon, part.config.seed) for part in parts} == {("l1", 12.0, 4)}
    assert [part.limit for part in parts if not part.config.gradients_per_move] == [100]


def test_jsma_spends_all_its_pixels_and_is_to_be_run_for_every_wrong_class():
    jsma = [part.config for part in Threat("l0", 11).parts((28, 28, 1)) if isinstance(part.config, Jsma)]
    assert [each.theta for each in jsma] == [1.0, -1.0]
    assert all(each.targeted and 2 * each.changes(784) == 10 for each in jsma)
    wide = Threat("l0", 1).parts((28, 28, 1), bounds=(0.0, 255.0))
    jsma = [part.config for part in wide if isinstance(part.config, Jsma)]
    assert [(each.theta, each.changes(784)) for each in jsma] == [(255.0, 1), (-255.0, 1)]


def test_angles_are_a_degree_and_constants_a_level_apart_and_neither_fewer_than_ten():
    (rotation,), (slight,) = Threat("rotation", 20).parts(SHAPE), Threat("rotation", 3).parts(SHAPE)
    assert (rotation.config, slight.config) == (Rotation(20.0, 20), Rotation(3.0, 10))
    (brightness,) = Threat("brightness", 0.2).parts(SHAPE)
    (wide,) = Threat("brightness", 51).parts(SHAPE, bounds=(0.0, 255.0))
    assert (brightness.config, wide.config) == (Brightness(0.2, 51), Brightness(51.0, 51, (0.0, 255.0)))


@pytest.mark.parametrize(
    ("text", "shape", "message"),
    [
        ("l0:17", SHAPE, "epsilon of l0 must be at most 16, the numbers of an image, got 17"),
        ("rotation:20", (16,), r"rotation is of images \(height, width, channels\), got inputs of shape \(16,\)"),
    ],
)
def test_a_threat_that_these_inputs_cannot_meet_is_refused(text, shape, message):
    with pytest.raises(UserError, match=message):
        Threat.parse(text).parts(shape)


def test_every_threat_has_a_unit_and_attacks():
    for norm in UNITS:
        assert Threat(norm, 1.0).parts(SHAPE)
