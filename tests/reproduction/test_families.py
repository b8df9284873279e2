"""Families: every experiment of one, under the threat model of its file, measured by the columns that are promised."""

import dataclasses

import numpy as np
import pytest

from tfadv import attacks, data
from tfadv.attacks import Fgm, Pgd
from tfadv.evaluation import suites
from tfadv.experiments import EXPERIMENTS, defenses_cifar10, defenses_mnist, quickstart
from tfadv.reproduction.families import FAMILIES, Family, columns_of, members_of
from tfadv.validation import UserError

LABELS = np.repeat(np.arange(4), 25)
COLUMNS = ["clean", "FGSM", "PGD-20", "PGD-20 margin", "AutoAttack"]


@pytest.mark.parametrize("name", FAMILIES)
def test_members_are_the_experiments_of_that_name_in_order_and_of_one_data_set(name):
    members = members_of(name)
    assert [f"{name}/{member}" for member in members] == [key for key in EXPERIMENTS if key.startswith(f"{name}/")]
    assert len({experiment.dataset for experiment in members.values()}) == 1


def test_the_threat_models_are_those_of_the_experiments():
    for name, module in (("defenses_mnist", defenses_mnist), ("defenses_cifar10", defenses_cifar10)):
        assert (FAMILIES[name].epsilon, FAMILIES[name].norm) == (module.EPSILON, module.NORM)
    assert FAMILIES["quickstart_digits"].epsilon == quickstart.EPSILON["digits"]


def test_an_unknown_family_is_refused_with_those_there_are():
    with pytest.raises(UserError, match=r"family must be one of attack_strength, defenses_.*; got 'defenses'"):
        members_of("defenses")


def test_the_columns_are_one_step_twenty_steps_and_the_standard_suite():
    """2.5 * 0.2 / 20 = 0.025; one random start; the best iterate; AutoAttack exactly as `evaluate` has it."""
    columns = columns_of(Family("title", 0.2), "digits", LABELS, None, 8)
    assert list(columns) == COLUMNS
    pgd = Pgd(0.2, 0.025, 20, "linf", "cross_entropy", random_start=True, restarts=1, keep="best")
    expected = [(), (Fgm(0.2),), (pgd,), (dataclasses.replace(pgd, objective="margin"),)]
    assert [column.attacks for column in columns.values()] == [*expected, suites.SUITES["standard"](0.2, "linf", 0)]
    for name in COLUMNS:
        assert columns[name].settings["attacks"] == [attacks.to_dict(each) for each in columns[name].attacks]


def test_in_l2_every_attack_is_one_in_l2_and_no_column_is_called_by_a_name_of_linf():
    columns = columns_of(Family("title", 1.5, "l2"), "digits", LABELS, None, 8)
    assert list(columns) == ["clean", "FGM", *COLUMNS[2:]]
    assert {(each.norm, each.epsilon) for column in columns.values() for each in column.attacks} == {("l2", 1.5)}


def test_subsets_are_those_of_evaluate_and_do_not_depend_on_each_other():
    for limit, standard_limit, counts in ((None, 8, (100, 8)), (12, 8, (12, 8)), (4, 1_000, (4, 100))):
        columns = columns_of(Family("title", 0.2), "digits", LABELS, limit, standard_limit)
        rows = [columns[name].rows for name in ("clean", "AutoAttack")]
        assert tuple(map(len, rows)) == counts
        assert [columns[name].settings["count"] for name in ("clean", "AutoAttack")] == list(counts)
        for chosen, count in zip(rows, counts, strict=True):
            np.testing.assert_array_equal(chosen, data.stratified_subset(LABELS, count, seed=0))


def test_zero_leaves_autoattack_out():
    assert list(columns_of(Family("title", 0.2), "digits", LABELS, None, 0)) == COLUMNS[:-1]


@pytest.mark.parametrize(
    ("limit", "standard_limit", "message"),
    [
        (0, 8, r"limit must be a whole number from 1 to 100 \(the size of 'test' of 'digits'\)"),
        (101, 8, "limit must be a whole number from 1 to 100"),
        (None, -1, "standard_limit must be at least 0, which leaves AutoAttack out, got -1"),
    ],
)
def test_limits_out_of_range_are_refused(limit, standard_limit, message):
    with pytest.raises(UserError, match=message):
        columns_of(Family("title", 0.2), "digits", LABELS, limit, standard_limit)
