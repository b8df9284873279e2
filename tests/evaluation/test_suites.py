"""Suites: attacks that keep to the threat model, in names that a reader understands, each run as its suite says."""

import dataclasses

import pytest

from tfadv.attacks import (
    Apgd,
    AutoAttack,
    Brightness,
    CarliniWagner,
    DeepFool,
    ExtremePixels,
    Fab,
    Fgm,
    FlippedPixels,
    HopSkipJump,
    Jsma,
    Mim,
    Pgd,
    PixelSwap,
    Rotation,
    Spsa,
    Square,
)
from tfadv.evaluation import suites
from tfadv.evaluation.suites import Part
from tfadv.validation import UserError

VERSIONS = ("standard", "plus", "rand")


@pytest.mark.parametrize("norm", ["linf", "l2"])
@pytest.mark.parametrize("name", suites.SUITES)
def test_every_attack_of_a_suite_keeps_to_the_threat_model(name, norm):
    parts = suites.parts(name, 0.3, norm, 7)
    assert {(part.config.epsilon, part.config.norm) for part in parts} == {(0.3, norm)}
    seeds = {part.config.seed for part in parts if "seed" in {field.name for field in dataclasses.fields(part.config)}}
    assert seeds == {7}
    # A part that every example of the report cannot be judged by alone has to be one of what is left.
    assert all(part.survivors for part in parts if part.limit)
    assert {part.config.keep for part in parts} <= {"best", "last"}
    assert all(part.config.keep == "best" for part in parts if isinstance(part.config, Pgd))
    assert suites.resolve(name, 0.3, norm, 7) == tuple(part.config for part in parts)
    assert suites.SUITES[name](0.3, norm, 7) == suites.resolve(name, 0.3, norm, 7)
    names = [suites.name_of(part.config) for part in parts]
    assert len(set(names)) == len(names)


@pytest.mark.parametrize("norm", ["linf", "l2"])
@pytest.mark.parametrize("name", suites.SUITES)
def test_bounds_reach_every_attack_and_a_radius_within_them_is_no_slip(name, norm, recwarn):
    """8 is a radius for pixels from 0 to 255; for pixels from 0 to 1 it draws a warning."""
    parts = suites.parts(name, 8.0, norm, 0, (0.0, 255.0))
    assert {part.config.bounds for part in parts} == {(0.0, 255.0)}
    spsa = [part.config for part in parts if isinstance(part.config, Spsa)]
    assert [(each.delta, each.learning_rate) for each in spsa] == [(pytest.approx(2.55), pytest.approx(2.55))] * len(
        spsa
    )
    unit = suites.parts(name, 0.3, norm, 0)
    assert {part.config.bounds for part in unit} == {(0.0, 1.0)}
    assert [str(warning.message) for warning in recwarn] == []


@pytest.mark.parametrize("norm", ["linf", "l2"])
@pytest.mark.parametrize("name", ["quick", "gradient"])
def test_the_steps_of_the_librarys_own_suites_cross_the_ball(name, norm):
    for config in suites.resolve(name, 0.3, norm, 7):
        if isinstance(config, Pgd):
            assert config.random_start
            assert config.steps * config.step_size >= 2 * 0.3  # from one end of the ball to the other


def test_the_gradient_suite_is_fgsm_and_pgd_40_on_both_losses_from_several_starts():
    fgsm, *iterative = suites.resolve("gradient", 0.1, "linf", 0)
    assert fgsm == Fgm(0.1)
    assert [(each.steps, each.objective) for each in iterative] == [(40, "cross_entropy"), (40, "margin")]
    assert all(each.restarts == 3 for each in iterative)


@pytest.mark.parametrize(
    ("config", "name"),
    [
        (Fgm(0.1), "FGSM"),
        (Fgm(0.1, "l2"), "FGM l2"),
        (Fgm(0.1, objective="margin"), "FGSM margin"),
        (Pgd(0.1, 0.01, 40), "PGD-40 cross-entropy"),
        (Pgd(0.1, 0.01, 7, objective="margin", restarts=3), "PGD-7 margin, 3 starts"),
        (Pgd(0.1, 0.01, 5, objective="dlr", random_start=False), "BIM-5 DLR"),
        (Mim(0.1, 0.01, 5), "MIM-5 cross-entropy"),
        (Apgd(0.1), "APGD-CE"),
        (Apgd(0.1, objective="dlr", eot=20), "APGD-DLR, EOT 20"),
        (Apgd(0.1, objective="targeted_dlr"), "APGD-T"),
        (Fab(0.1, restarts=5), "FAB, 5 starts"),
        (Fab(0.1, targets=9), "FAB-T"),
        (Square(0.1), "Square, 5,000 queries"),
        (DeepFool(0.1), "DeepFool"),
        (CarliniWagner(0.1, steps=200, binary_searches=5), "C&W, 5 x 200 steps"),
        (HopSkipJump(0.1), "HopSkipJump, 5,000 queries"),
        (Spsa(0.1), "SPSA, 100 steps of 128 samples"),
        (Jsma(gamma=0.05), "JSMA up, 5% of the pixels"),
        (Jsma(theta=-1.0, gamma=10 / 784), "JSMA down, 1.28% of the pixels"),
        (ExtremePixels(10), "10 extreme pixels"),
        (FlippedPixels(5, draws=100), "5 flipped pixels, 100 draws"),
        (PixelSwap(0.26), "26% of the pixels swapped"),
        (Rotation(20.0), "rotation to 20 degrees"),
        (Brightness(0.2), "brightness to 0.2"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_names(config, name):
    assert suites.name_of(config) == name


@pytest.mark.parametrize("version", VERSIONS)
def test_the_versions_of_autoattack_are_suites_on_survivors(version):
    assert suites.resolve(version, 0.1, "l2", 3) == AutoAttack(0.1, "l2", version, 3).stages()
    assert all(part.survivors and part.limit is None for part in suites.parts(version, 0.1, "l2", 3))


def test_the_papers_attacks_have_the_papers_parameters():
    """Madry's MNIST step at epsilon 0.3 is 0.01, AVmixup's CIFAR-10 step at 8 is 2."""
    mnist = suites.resolve("papers", 0.3, "linf", 0)
    pgd = [each for each in mnist if isinstance(each, Pgd)]
    steps = [(each.steps, each.objective, each.random_start) for each in pgd]
    assert steps == [
        (40, "cross_entropy", False),
        (40, "cross_entropy", True),
        (40, "margin", True),
        (20, "cross_entropy", True),
        (20, "margin", True),
        (100, "cross_entropy", True),
        (100, "margin", True),
    ]
    assert [each.step_size for each in pgd[:3]] == pytest.approx([0.01] * 3)
    assert {each.restarts for each in pgd} == {1}
    cifar = [each for each in suites.resolve("papers", 8 / 255, "linf", 0) if isinstance(each, Pgd)]
    assert [255 * each.step_size for each in cifar[3:]] == pytest.approx([2] * 4)
    assert [each.objective for each in mnist if isinstance(each, Fgm)] == ["cross_entropy", "margin"]
    assert {each.label for each in mnist if isinstance(each, Fgm)} == {"true"}
    assert mnist[-1] == DeepFool(0.3, norm="linf")


def test_carlini_and_wagner_is_for_l2_alone_within_the_radius_and_on_500_of_what_is_left():
    assert suites.parts("papers", 1.5, "l2", 0)[-1] == Part(CarliniWagner(1.5, 200, 5), survivors=True, limit=500)
    assert not any(isinstance(each, CarliniWagner) for each in suites.resolve("papers", 0.3, "linf", 0))


def test_norms_that_the_papers_do_not_attack_get_their_first_order_attacks():
    kinds = {type(config) for config in suites.resolve("papers", 12.0, "l1", 0)}
    assert kinds == {Fgm, Pgd}


def test_the_full_suite_is_autoattack_then_the_papers_then_100_examples_without_gradients():
    parts = suites.parts("full", 0.1, "linf", 3)
    standard, papers = suites.parts("standard", 0.1, "linf", 3), suites.parts("papers", 0.1, "linf", 3)
    assert parts[: len(standard)] == standard
    assert parts[len(standard) : -2] == papers
    assert not any(part.survivors for part in papers)
    assert parts[-2:] == (
        Part(Spsa(0.1, 100, 128, seed=3), survivors=True, limit=100),
        Part(HopSkipJump(0.1, 5_000, "linf", seed=3), survivors=True, limit=100),
    )


def test_configs_of_the_caller_are_taken_as_they_are():
    configs = [Pgd(0.1, 0.05, 3), Fgm(0.1)]
    assert suites.resolve(configs, 0.1, "linf", 5) == tuple(configs)
    assert suites.parts(configs, 0.1, "linf", 5) == tuple(map(Part, configs))
    part = Part(Square(0.1), survivors=True, limit=50)
    assert suites.parts([Fgm(0.1), part], 0.1, "linf", 5) == (Part(Fgm(0.1)), part)


@pytest.mark.parametrize(
    ("suite", "message"),
    [
        (
            "autoattack",
            r"one of \['full', 'gradient', 'papers', 'plus', 'quick', 'rand', 'standard'\] or a .* got 'autoattack'",
        ),
        ((), "non-empty list"),
        ([Fgm(0.1), "pgd"], "list of attack configs"),
        ([Part(Square(0.1), limit=0)], "limit of Square, 5,000 queries must be at least 1 or None for all, got 0"),
        ([Fgm(0.1), Fgm(0.2)], r"threat model norm='linf', epsilon=0\.1, got Fgm\(epsilon=0\.2"),
        ([Fgm(0.1, "l2")], r"threat model norm='linf', epsilon=0\.1, got Fgm\(epsilon=0\.1, norm='l2'"),
    ],
    ids=["name", "empty", "not a config", "limit", "epsilon", "norm"],
)
def test_what_is_no_suite_of_this_threat_model_is_refused(suite, message):
    with pytest.raises(UserError, match=message):
        suites.resolve(suite, 0.1, "linf", 0)
