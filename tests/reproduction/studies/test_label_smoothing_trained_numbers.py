"""The printed tables as flat numbers, what contradicts the text in them, and counts worked by hand."""

import pytest

from tfadv.reproduction.studies import label_smoothing_trained_numbers as numbers


def test_every_printed_cell_has_its_place():
    cells = numbers.printed(2, 3, 4, 5, 6)
    assert len(cells) == 181 + 181 + 69 + 69 + 69
    assert cells["MNIST LeNet", "BLS 0.005", "FGSM 0.2"] == pytest.approx(83.8)
    assert cells["CIFAR ResNet", "natural", "DeepFool"] == pytest.approx(3.6)
    assert cells["SVHN LeNet", "PGD training", "clean"] == pytest.approx(83.1)
    assert cells["MNIST Linear", "SBLS 0.4", "C&W"] == pytest.approx(0.7)


@pytest.mark.parametrize(
    ("table", "setup", "attack", "lower"),
    [
        (4, "CIFAR LeNet", "DeepFool", 12),
        (4, "SVHN LeNet", "DeepFool", 11),
        (3, "MNIST LeNet", "BIM 0.05", 7),
        (5, "SVHN LeNet", "C&W", 5),
    ],
)
def test_the_tables_contradict_the_text(table, setup, attack, lower):
    """Label smoothing is said to be always more robust than the natural classifier."""
    cells = {cell: value for cell, value in numbers.printed(table).items() if (cell[0], cell[2]) == (setup, attack)}
    assert numbers.gaps(cells)[1:] == (lower, 12)


MADE = {
    ("A", "natural", "FGSM 0.2"): 50.0,
    ("A", "PGD training", "FGSM 0.2"): 90.0,
    ("A", "ALS 0.1", "FGSM 0.2"): 60.0,
    ("A", "BLS 0.1", "FGSM 0.2"): 41.0,
    ("A", "SLS 0.1", "FGSM 0.2"): 50.3,
    ("A", "SBLS 0.1", "FGSM 0.2"): 50.0,
    ("B", "ALS 0.1", "FGSM 0.2"): 99.0,
}


def test_gaps_are_counted_where_there_is_a_natural_classifier():
    assert numbers.gaps(MADE) == (2, 1, 4)
    # Two standard errors of a difference at 50% are 14 points of 100 images, and 1.4 of 10,000.
    assert numbers.gaps(MADE, 100) == (0, 0, 4)
    assert numbers.gaps(MADE, 10_000) == (1, 1, 4)
    assert numbers.counts({"printed": MADE, "ours": {**MADE, ("A", "ALS 0.7", "FGSM 0.2"): 0.0}}) == (
        "printed 2 higher and 1 lower of 4, ours 2 higher and 1 lower of 4"
    )


def test_pairs_need_all_four_methods():
    # 60 + 41 against 50.3 + 50; B has ALS alone.
    assert numbers.pairs_won(MADE) == (1, 1)
    assert numbers.pairs_won({**MADE, ("A", "ALS 0.1", "FGSM 0.2"): 59.0}) == (0, 1)


def test_the_mean_is_over_label_smoothing():
    assert numbers.mean_of(MADE, "A", "FGSM 0.2") == pytest.approx((60 + 41 + 50.3 + 50) / 4)
    assert numbers.mean_of(MADE, "A", "BIM 0.2") is None
