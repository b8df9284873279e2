"""The methods of AVmixup's tables: the printed settings, on one net, for one number of images."""

import dataclasses

import pytest

from tfadv.experiments import avmixup_small
from tfadv.experiments.avmixup_small import EXPERIMENTS, STANDARD, STEPS, SUBSET_STEPS

NAMES = ["pgd", "ls08", "ls09", "avmixup"]


def settings(name):
    return dict(EXPERIMENTS[f"avmixup_small/{name}"].method)


@pytest.mark.parametrize("name", NAMES)
def test_pgd_is_ten_steps_of_two(name):
    """Epsilon 8, step 2, 10 steps on pixels 0-255 (section 5.1); nothing but the loss and the method differs."""
    attack = settings(name)["madry"]["attack"]
    assert (255 * attack.epsilon, 255 * attack.step_size, attack.steps) == (8, 2, 10)
    bare = dataclasses.replace(EXPERIMENTS[f"avmixup_small/{name}"], method=(), loss=STANDARD.loss)
    assert bare == STANDARD


def test_lambda_is_the_weight_on_the_true_class():
    """LS0.8 takes 0.2 from it, LS0.9 takes 0.1; AVmixup has 1.0 at the image and 0.1 at a vertex twice as far."""
    assert EXPERIMENTS["avmixup_small/ls08"].loss.mass == 0.2
    assert EXPERIMENTS["avmixup_small/ls09"].loss.mass == 0.1
    assert settings("avmixup")["avmixup"] == {"gamma": 2.0}


@pytest.mark.parametrize(
    ("name", "first", "second"),
    [("", 0.5, 0.7), ("_01_05", 0.1, 0.5), ("_05_03", 0.5, 0.3), ("_10_05", 1.0, 0.5)],
)
def test_the_lambdas_of_table_6(name, first, second):
    found = settings(f"feature_scatter_avmixup{name}")
    assert found["avmixup"] == {"gamma": 1.0, "clean_probability": first, "vertex_probability": second}
    assert found["feature_scatter"] == settings("feature_scatter")["feature_scatter"]


def test_feature_scatter_takes_one_step_in_batches_of_60_over_as_many_images():
    attack = settings("feature_scatter")["feature_scatter"]["attack"]
    assert (attack.steps, attack.step_size) == (1, attack.epsilon)
    found = EXPERIMENTS["avmixup_small/feature_scatter"]
    assert found.batch_size == 60
    assert abs(found.steps * 60 - STEPS * 128) < 60


def test_trades_is_its_authors():
    for name, beta in (("trades_1", 1.0), ("trades_6", 6.0)):
        found = settings(name)["trades"]
        assert found["beta"] == beta
        assert (found["attack"].epsilon, found["attack"].step_size, found["attack"].steps) == (0.031, 0.007, 10)


def test_the_rate_falls_at_half_and_three_quarters():
    assert avmixup_small.decay(1_000) == ((500, 0.1), (750, 0.01))
    assert {each.decay for each in EXPERIMENTS.values()} >= {avmixup_small.decay(STEPS)}


@pytest.mark.parametrize("name", ["pgd", "ls08", "avmixup"])
def test_the_subset_has_5000_images_and_no_augmentation(name):
    whole, part = (EXPERIMENTS[f"avmixup_small/{prefix}{name}"] for prefix in ("", "subset_"))
    assert (part.limit, part.augment, part.steps) == (5_000, (), SUBSET_STEPS)
    assert (part.method, part.loss, part.model) == (whole.method, whole.loss, whole.model)
