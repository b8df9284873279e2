"""Suites: attacks that keep to the threat model, in names that a reader understands."""

import pytest

from tfadv.attacks import Apgd, AutoAttack, DeepFool, Fab, Fgm, Mim, Pgd, Square
from tfadv.evaluation import suites
from tfadv.validation import UserError


@pytest.mark.parametrize("norm", ["linf", "l2"])
@pytest.mark.parametrize("name", suites.SUITES)
def test_every_attack_of_a_suite_keeps_to_the_threat_model_and_can_cross_the_ball(name, norm):
    configs = suites.resolve(name, 0.3, norm, 7)
    assert {(config.epsilon, config.norm) for config in configs} == {(0.3, norm)}
    assert {config.seed for config in configs if not isinstance(config, Fgm)} == {7}
    for config in (config for config in configs if isinstance(config, Pgd)):
        assert config.random_start
        assert config.steps * config.step_size >= 2 * 0.3  # from one end of the ball to the other
        assert config.keep == "best"


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
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_names(config, name):
    assert suites.name_of(config) == name


@pytest.mark.parametrize("version", suites.ON_SURVIVORS)
def test_the_versions_of_autoattack_are_suites(version):
    assert suites.resolve(version, 0.1, "l2", 3) == AutoAttack(0.1, "l2", version, 3).stages()


def test_configs_of_the_caller_are_taken_as_they_are():
    configs = [Pgd(0.1, 0.05, 3), Fgm(0.1)]
    assert suites.resolve(configs, 0.1, "linf", 5) == tuple(configs)


@pytest.mark.parametrize(
    ("suite", "message"),
    [
        ("autoattack", r"one of \['gradient', 'plus', 'quick', 'rand', 'standard'\] or a .* configs, got 'autoattack'"),
        ((), "non-empty list"),
        ([Fgm(0.1), "pgd"], "list of attack configs"),
        ([Fgm(0.1), Fgm(0.2)], r"threat model norm='linf', epsilon=0\.1, got Fgm\(epsilon=0\.2"),
        ([Fgm(0.1, "l2")], r"threat model norm='linf', epsilon=0\.1, got Fgm\(epsilon=0\.1, norm='l2'"),
    ],
    ids=["name", "empty", "not a config", "epsilon", "norm"],
)
def test_what_is_no_suite_of_this_threat_model_is_refused(suite, message):
    with pytest.raises(UserError, match=message):
        suites.resolve(suite, 0.1, "linf", 0)
