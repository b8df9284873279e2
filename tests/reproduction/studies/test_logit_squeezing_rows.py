"""Table 5 as printed, and the columns of a measured classifier."""

import pytest

from tfadv.experiments import EXPERIMENTS
from tfadv.experiments.logit_squeezing_mnist import GRID, name
from tfadv.reproduction.studies import logit_squeezing_rows as table

SHARE = {"accuracy": 0.5, "interval": [0.4, 0.6]}


def found(xent=0.5, cw=0.5, **black_box):
    share = {key: {"accuracy": value, "interval": [0.0, 1.0]} for key, value in (("X-ent", xent), ("CW", cw))}
    return {"train": SHARE, "test": SHARE, "attacks": share, "black_box": dict.fromkeys(black_box, SHARE)}


def test_there_are_39_rows_of_six_columns_each_and_one_of_adversarial_training():
    rows = table.rows()
    assert len(rows) == 39
    assert all(list(row.printed) == list(table.COLUMNS) for row in rows)
    assert list(table.madrys()) == list(table.COLUMNS)
    assert table.madrys()["white-box X-ent"] == 93.2


def test_a_row_as_printed():
    """0 2.0 0.5 100k: 99.69 99.05 67.93 66.38 85.09 86.29."""
    row = next(row for row in table.rows() if row.parameters == (0, 2, 0.5) and row.steps == 100_000)
    assert row.label == "0 2.0 0.5 100k"
    assert list(row.printed.values()) == [99.69, 99.05, 67.93, 66.38, 85.09, 86.29]
    assert row.defense == "logit squeezing 2 + noise 0.5"


def test_two_million_steps_and_rows_that_are_printed_twice():
    rows = table.rows()
    assert {row.steps for row in rows} == {100_000, 400_000, 2_000_000}
    again = [(row.label, row.parameters, row.steps) for row in rows if row.seed]
    assert again == [
        ("0 0 0.3 400k (again)", (0, 0, 0.3), 400_000),
        ("0 0 0.5 400k (again)", (0, 0, 0.5), 400_000),
    ]
    assert len({row.label for row in rows}) == len(rows)


def test_every_row_has_its_experiment():
    for row in table.rows():
        assert row.parameters in GRID
        assert name(*row.parameters) in EXPERIMENTS


@pytest.mark.parametrize(
    ("parameters", "words"),
    [
        ((0, 0, 0), "naturally trained"),
        ((0.95, 0, 0.3), "label smoothing 0.95 + noise 0.3"),
        ((0, 10, 0), "logit squeezing 10"),
        ((0, 0, 1.0), "noise 1"),
    ],
)
def test_a_defense_in_words(parameters, words):
    assert table.defense(*parameters) == words


def test_the_worse_of_the_two_white_box_attacks_counts():
    assert table.worst(found(xent=0.4, cw=0.3)) == pytest.approx(30)
    assert table.worst(found(xent=0.2, cw=0.3)) == pytest.approx(20)


def test_lines_stand_beside_the_printed_number_in_percent():
    lines = table.lines_of("a row", {"Train": 99.0}, found(xent=0.4, FGSM=1), "10% of the schedule")
    assert [line.what for line in lines] == [
        "a row: Train",
        "a row: Test",
        "a row: white-box X-ent",
        "a row: white-box CW",
        "a row: black-box FGSM",
    ]
    assert (lines[0].paper, lines[0].ours, lines[0].interval) == (99.0, 50.0, (40.0, 60.0))
    assert (lines[2].paper, lines[2].ours, lines[2].note) == (None, 40.0, "10% of the schedule")
