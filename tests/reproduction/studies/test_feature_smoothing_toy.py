"""Figure 1: the toy data, the four training sets, and the share of the square that is on the wrong side."""

import numpy as np
import pytest

from tfadv.analysis.logistic import Fit
from tfadv.reproduction import gallery, plan
from tfadv.reproduction.studies import feature_smoothing_toy as toy


def line(w1, w2, b):
    return Fit(np.array([[w1, w2]], float), np.array([b], float), np.array([True]), np.array([False]))


def test_the_data_are_thin_at_the_boundary_and_labeled_by_the_law():
    drawn = [toy.sample(seed) for seed in range(200)]
    x, y = np.concatenate([x for x, _ in drawn]), np.concatenate([y for _, y in drawn])
    assert x.shape == (8000, 2)
    assert np.abs(x).max() <= 1
    distance = x @ toy.NORMAL
    assert np.abs(distance).min() > 0.34
    p = 1 / (1 + np.exp(-6 * distance))
    assert (y - p).mean() == pytest.approx(0, abs=5 * np.sqrt((p * (1 - p)).mean() / len(y)))


def test_points_between_classes_have_a_partner_of_the_other_class():
    """0 and 1 on an axis, alpha = 0.3: 0.3 with the label of 0, and 0.7 with that of 1."""
    x, y = np.array([[[0.0, 0], [1, 0], [0, 0]]]), np.array([[0, 1, 0]])
    points, targets = toy.between(x, y, seed=0)
    np.testing.assert_allclose(points[0, 3:, 0], [0.3, 0.7, 0.3])
    np.testing.assert_array_equal(targets[0], [0, 1, 0, 0, 1, 0])


def test_a_sample_of_one_class_stays_as_it_is():
    x = np.array([[[0.0, 0], [1, 0]]])
    np.testing.assert_allclose(toy.between(x, np.array([[1, 1]]), seed=0).x[0, 2:], x[0])


@pytest.mark.parametrize(
    ("found", "share"),
    [
        (line(1, 1, 0), 0.0),
        (line(-1, -1, 0), 1.0),
        (line(1, -1, 0), 0.5),
        (line(1, 0, 0), 0.25),  # Two of the eight triangles of the square.
        (line(1, 1, 1), 3 / 8),  # x1 + x2 in (-1, 0): (2^2 / 2 - 1^2 / 2) / 4.
    ],
)
def test_the_wrong_share_of_the_square(found, share):
    assert toy.wrong_area(found)[0] == pytest.approx(share, abs=0.03)


def test_the_boundary_is_drawn_on_its_line_within_the_square():
    series = toy._boundary([1.0, 2.0], -0.5, 1)
    x, y = np.array(series.x), np.array(series.y)
    np.testing.assert_allclose(x + 2 * y, 0.5, atol=1e-9)
    assert max(np.abs(x).max(), np.abs(y).max()) <= 1
    assert (x.min(), x.max()) == (pytest.approx(-1, abs=0.03), pytest.approx(1, abs=0.03))


@pytest.fixture(scope="module")
def smoked(tmp_path_factory):
    output = tmp_path_factory.mktemp("toy")
    return output, plan.carry_out([toy.STUDY], output, scale="smoke", report=lambda text: None)[toy.STUDY.key]


def test_a_smoke_run_shows_four_panels(smoked):
    output, jobs = smoked
    rendering = toy.STUDY.render({key: values["result"] for key, values in jobs.items()})
    assert list(rendering.figures) == ["a", "b", "c", "d"]
    first, second = rendering.figures["a"], rendering.figures["b"]
    assert list(first.series) == ["true boundary", "estimated boundary", "class 0", "class 1"]
    assert list(second.series) == [*first.series, "added, class 0", "added, class 1"]
    counts = {name: len(series.x) for name, series in second.series.items()}
    assert counts["class 0"] + counts["class 1"] == counts["added, class 0"] + counts["added, class 1"] == 40
    assert len(rendering.findings) == 4
    gallery.write(toy.STUDY, rendering, jobs, "smoke", output / "page")
    assert (output / "page" / "figure-d.svg").stat().st_size > 1000


def test_the_sample_that_is_shown_has_the_median_share(smoked):
    _, jobs = smoked
    found = jobs["toy"]["result"]
    x, y = toy.realizations(toy.sample, 20, 0)
    shares = toy.wrong_area(toy.training_sets(x, y, 0)[toy.ORIGINAL][1])
    assert (shares < shares[found["shown"]]).sum() <= 10 <= (shares <= shares[found["shown"]]).sum()
    assert found["panels"][toy.ORIGINAL]["area"] == pytest.approx(shares[found["shown"]])


def test_adversarial_and_interpolated_points_help_on_average():
    """What panels (b) and (c) say; 150 samples, far more than five standard errors."""
    x, y = toy.realizations(toy.sample, 150, 1)
    shares = {name: toy.wrong_area(found).mean() for name, (_, found) in toy.training_sets(x, y, 1).items()}
    assert shares[toy.ADVERSARIAL] < 0.8 * shares[toy.ORIGINAL]
    assert shares[toy.BETWEEN] < 0.8 * shares[toy.ORIGINAL]


def test_nothing_is_shown_of_nothing():
    assert not toy.STUDY.render({}).figures
