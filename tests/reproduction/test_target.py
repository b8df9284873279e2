"""A table as data, and the printed numbers that belong to it."""

from tfadv.reproduction import TARGETS
from tfadv.reproduction.target import Row, printed


def test_a_row_is_kept_under_the_last_part_of_its_experiments_name():
    assert Row("Clean", "feature_smoothing_table1/clean").key == "clean"


def test_printed_numbers_are_found_by_row_threat_and_loss():
    """Table 1 of the feature smoothing paper: 71.49 and 69.04 white-box, 89.01 and 85.34 black-box, 99.22 clean."""
    numbers = printed(TARGETS["feature_smoothing/table1"])
    columns = ("PGD", "PGD-cw", "black-box PGD", "black-box PGD-cw", "Clean")
    assert [numbers["LoS + noise", column] for column in columns] == [71.49, 69.04, 89.01, 85.34, 99.22]
    assert len(numbers) == 50
