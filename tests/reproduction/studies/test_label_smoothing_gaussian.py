"""Figures 1 and 2: the panels, the words, and the claim, from synthetic results, missing ones and a smoke run."""

import numpy as np
import pytest

from tfadv.reproduction import gallery, plan
from tfadv.reproduction.studies import label_smoothing_gaussian as study_file
from tfadv.reproduction.studies.label_smoothing_gaussian import DESCENT, EXACT, FEATURES

WEIGHTS, ACCURACIES = study_file.STUDIES


def results():
    """Weights of two masses, after 12 steps proportional to sigma^2, after 60 equal; three runs that differ a bit."""
    early = (1 - np.arange(FEATURES) / FEATURES) ** 2
    runs = np.array([0.99, 1.0, 1.01])[:, None]
    paths = [[(scale * runs * early).tolist(), (scale * runs * np.ones(FEATURES)).tolist()] for scale in (1.0, 0.5)]
    return {
        EXACT: {"masses": [0.0, 0.1], "scale": [2.0, 0.5], "difference": 1e-7, "tilt": 1e-6},
        DESCENT: {
            "masses": [0.0, 0.1],
            "steps": [12, 60],
            "weights": paths,
            "minimizers": [(2 * runs * np.ones(FEATURES)).tolist(), (0.5 * runs * np.ones(FEATURES)).tolist()],
        },
    }


def test_the_weights_by_alpha_and_by_feature():
    rendering = WEIGHTS.render(results())
    assert list(rendering.figures) == ["a", "b", "c"]
    first = rendering.figures["a"].series["i = 1, sigma 1"]
    assert first.x == (0.0, 0.1)
    assert first.y == pytest.approx((1.0, 0.5))
    assert first.low == pytest.approx((0.995, 0.4975))
    assert rendering.figures["b"].series["every feature, expected loss"].y == (2.0, 0.5)
    by_feature = rendering.figures["c"].series
    assert by_feature["ALS 0.1, 60 steps"].y == pytest.approx((1.0,) * FEATURES)
    assert by_feature["natural, 12 steps"].y[1] == pytest.approx(0.81)
    assert "w_1 / w_10 is 1.00 / 0.01" in rendering.findings[1]


def test_the_accuracies_are_those_of_the_weights():
    """Equal weights are Bayes'; ALS and natural have one direction in these results, and so one accuracy."""
    rendering = ACCURACIES.render(results())
    shown = rendering.figures["a"].series
    assert shown["Bayes"].y[0] == pytest.approx(0.9751, abs=1e-4)
    gains = rendering.figures["b"].series
    np.testing.assert_allclose(gains["natural, 60 steps"].y, 0, atol=1e-9)
    np.testing.assert_allclose(gains["natural, 12 steps"].y, gains["ALS 0.1, 12 steps"].y)
    best = np.array(gains["lemma 1, the best of all"].y)
    assert (best >= np.array(gains["natural, 12 steps"].y) - 1e-9).all()
    by_what = {row.what: row for row in rendering.compared}
    early = by_what["ALS 0.1 after 12 steps, epsilon 0.5, mean of runs"]
    assert early.ours == pytest.approx(100 * shown["ALS 0.1"].y[10])
    assert early.interval == pytest.approx((early.ours, early.ours))
    assert "the gain is that of stopping early" in rendering.findings[1]


def test_the_claim_that_smoothing_always_helps_has_a_counterexample():
    (claim,) = ACCURACIES.render(results()).claims
    assert (claim.key, claim.mark) == ("LSV-1", "depends")
    assert not ACCURACIES.render({DESCENT: results()[DESCENT]}).claims


@pytest.mark.parametrize("study", study_file.STUDIES, ids=lambda study: study.key)
@pytest.mark.parametrize("keys", [(), (EXACT,), (DESCENT,)])
def test_what_is_missing_is_left_out(study, keys):
    rendering = study.render({key: results()[key] for key in keys})
    assert len(rendering.findings) == len(keys)


def test_smoke(tmp_path):
    """Two figures, two jobs: both share them."""
    lines = []
    found = plan.carry_out(study_file.STUDIES, tmp_path, scale="smoke", report=lines.append)
    assert "2 jobs" in lines[0]
    for study in study_file.STUDIES:
        rendering = study.render({key: each["result"] for key, each in found[study.key].items()})
        gallery.write(study, rendering, found[study.key], "smoke", tmp_path / "shown")
        assert len(rendering.figures) >= 2
        assert (tmp_path / "shown" / "figure-b.svg").stat().st_size > 1000


@pytest.mark.parametrize("study", study_file.STUDIES, ids=lambda study: study.key)
def test_short_is_paper(study):
    assert [job.identity for job in study.jobs("short")] == [job.identity for job in study.jobs("paper")]
    (descent,) = (job for job in study.jobs("paper") if job.key == DESCENT)
    assert (descent.settings["samples"], descent.settings["runs"], descent.settings["steps"][0]) == (6000, 15, 12)
