"""Lemma 1 and figure 3: the certificate, the contours, and what is shown of both."""

import numpy as np
import pytest

from tfadv.data.simulated import fading, gaussian
from tfadv.reproduction import gallery, plan
from tfadv.reproduction.studies import label_smoothing_robust_linear as study_file
from tfadv.reproduction.studies.label_smoothing_robust_linear import CERTIFIED, DENSITY, certify, density, searched
from tfadv.reproduction.study import Context

LEMMA, FIGURE = study_file.STUDIES
SETTINGS = {"dimensions": [3], "laws": 2, "directions": 500, "samples": 2000, "seed": 0}


@pytest.fixture
def context(tmp_path):
    return Context(tmp_path, tmp_path, None, lambda line: None)


def test_the_certificate(context):
    found = certify(SETTINGS, context)
    assert found["cases"] == 6
    assert found["to_value"] < 1e-12
    assert found["to_bound"] < 1e-12
    assert found["above"] < 1e-12
    assert found["misprinted"] > 1e-3
    assert found["epsilons"][0] == 0
    # At epsilon 0 the best is Bayes'; with sigma <= 1 the sum without sigma^-2 is the smaller one.
    assert found["best"][0] == pytest.approx(found["bayes"][0])
    assert found["misprint"][0] < found["best"][0]
    assert np.abs(np.array(found["monte_carlo"]) - found["bayes"]).max() < 5 * 0.5 / np.sqrt(2000)


def test_the_search_finds_a_single_feature_beyond_the_largest_mean():
    """mean 1 and 1/4, epsilon 1.2: the first feature alone has -0.2 / 1, the second -0.95 / 0.5."""
    found = searched(np.array([1.0, 0.0]), *fading(2), 1.2, 100, np.random.RandomState(0))
    assert found == pytest.approx(0.4207, abs=1e-4)


def test_the_contours_hold_their_shares(context):
    """The points inside a curve, by the winding of its angle, are as many as it says."""
    found = density({"samples": 400, "resolution": 61, "seed": 0}, context)
    x, _ = gaussian(400, *fading(2), seed=0)
    for share, loops in found["contours"]:
        inside = np.zeros(len(x), bool)
        for loop in loops:
            curve = np.array(loop).T
            angles = np.unwrap(np.arctan2(*(curve[None] - x[:, None]).T[::-1]), axis=0)
            inside |= np.abs(angles[-1] - angles[0]) > np.pi
        assert inside.mean() == pytest.approx(share, abs=0.03)
    # The larger eigenvector of ((2, 1/4), (1/4, 5/16)) is at atan(1/2 / (2 - 5/16)) / 2 = 8.3 degrees.
    assert found["main"] == pytest.approx(8.3, abs=4)


def test_figure_3_says_from_which_epsilon_its_caption_holds():
    """(4, 1) against (1, 1): (4.25 - 5 e) / sqrt(16.25) = (1.25 - 2 e) / sqrt(1.25) at e = 0.116."""
    gap = np.sqrt(16.25 / 1.25)
    crossing = (1.25 * gap - 4.25) / (2 * gap - 5)
    rendering = FIGURE.render({})
    assert f"from epsilon {crossing:.3f} on" in rendering.findings[0]
    assert "proportional to (4, 1)" in rendering.findings[0]
    assert list(rendering.figures) == ["b"]
    ours = {row.what: row.ours for row in rendering.compared}
    assert ours["w = (4, 1), epsilon 0.4"] > ours["w = (1, 1), Bayes, epsilon 0.4"]
    assert ours["w = (4, 1), epsilon 0"] < ours["w = (1, 1), Bayes, epsilon 0"]


def test_the_boundaries_are_orthogonal_to_their_weights():
    loop = [[0.0, 1.0, 0.0], [0.0, 0.0, 1.0]]
    rendering = FIGURE.render({DENSITY: {"contours": [[0.5, [loop, loop]], [0.9, [loop]]], "main": 8.0}})
    series = rendering.figures["a"].series
    assert {"50% of the points, part 1", "50% of the points, part 2", "90% of the points"} < set(series)
    for name, w in (("boundary of w = (1, 1), Bayes", (1, 1)), ("boundary of w = (4, 1)", (4, 1))):
        drawn = np.array(series[name][:2])
        np.testing.assert_allclose(np.array(w) @ drawn, 0, atol=1e-12)
    # And the line through the means, (1, 1/4), is orthogonal to the second.
    through, across = (
        np.array(series[name][:2])[:, 1] for name in ("line through the means", "boundary of w = (4, 1)")
    )
    assert through @ across == pytest.approx(0, abs=1e-12)


def test_nothing_of_a_lemma_that_was_not_certified():
    assert LEMMA.render({}).figures == {}


def test_smoke(tmp_path):
    found = plan.carry_out(study_file.STUDIES, tmp_path, scale="smoke", report=lambda line: None)
    for study in study_file.STUDIES:
        rendering = study.render({key: each["result"] for key, each in found[study.key].items()})
        gallery.write(study, rendering, found[study.key], "smoke", tmp_path / study.key.partition("/")[2])
    assert (tmp_path / "lemma1" / "figure.svg").exists()
    assert (tmp_path / "fig3" / "figure-a.svg").exists()
    lemma = LEMMA.render({key: each["result"] for key, each in found[LEMMA.key].items()})
    assert [row.paper for row in lemma.compared] == [0.0, 0.0]
    assert "a single feature, right in 42.1% at epsilon 1.2" in lemma.findings[3]
    assert list(found[LEMMA.key]) == [CERTIFIED]
