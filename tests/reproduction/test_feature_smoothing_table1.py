"""Feature smoothing's table 1: the printed numbers, row by row, and the attack that the paper describes."""

import pytest

from tfadv.experiments import EXPERIMENTS
from tfadv.reproduction import TARGETS
from tfadv.reproduction.target import printed

TARGET = TARGETS["feature_smoothing/table1"]

# Copied by hand from the paper: PGD, PGD-cw, black-box PGD, black-box PGD-cw, clean.
SOME_ROWS = {
    "Clean": (0.00, 0.00, 83.04, 83.95, 99.17),
    "Label smoothing(LaS)": (0.06, 0.08, 83.13, 83.07, 99.22),
    "LoS + noise": (71.49, 69.04, 89.01, 85.34, 99.22),
    "LoS + noise + FS": (76.97, 75.38, 90.12, 89.16, 99.26),
}


def test_the_ten_rows_of_five_columns_are_all_printed():
    numbers = printed(TARGET)
    expected = {(row.label, column.name) for row in TARGET.rows for column in TARGET.columns}
    assert set(numbers) == expected
    assert len(expected) == 50
    assert all(0 <= value <= 100 for value in numbers.values())


@pytest.mark.parametrize("label", SOME_ROWS)
def test_rows_read_as_they_stand_in_the_paper(label):
    numbers = printed(TARGET)
    assert tuple(numbers[label, column.name] for column in TARGET.columns) == SOME_ROWS[label]


def test_every_row_and_the_source_has_its_own_experiment():
    names = [row.experiment for row in (*TARGET.rows, TARGET.source)]
    assert set(names) <= set(EXPERIMENTS)
    assert len(set(names)) == len({row.key for row in (*TARGET.rows, TARGET.source)}) == 11
    assert TARGET.paper_steps == EXPERIMENTS[TARGET.rows[0].experiment].steps


def test_the_attacks_are_those_of_section_3_1():
    """epsilon 0.3, 40 steps of 0.01, 1 random start, pixels in [0, 1]; the last iterate, as the papers return it."""
    white, black = (
        [column for column in TARGET.columns if column.threat == threat] for threat in ("white-box", "black-box")
    )
    assert [column.attack.objective for column in white] == ["cross_entropy", "margin"]
    assert [column.attack for column in black] == [column.attack for column in white]
    for column in white:
        attack = column.attack
        assert (attack.epsilon, attack.step_size, attack.steps) == (0.3, 0.01, 40)
        assert (attack.norm, attack.random_start, attack.restarts) == ("linf", True, 1)
        assert (attack.keep, attack.bounds) == ("last", (0.0, 1.0))
    assert [column.name for column in TARGET.columns if column.attack is None] == ["Clean"]


def test_the_source_is_a_naturally_trained_copy_of_another_seed():
    clean, copy = EXPERIMENTS["feature_smoothing_table1/clean"], EXPERIMENTS[TARGET.source.experiment]
    assert copy.seed != clean.seed
    assert (copy.augment, copy.train_attack) == ((), None)
