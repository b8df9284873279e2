"""Figures 3 to 5: bins, translation, and the softplus of trained weights."""

import numpy as np
import pytest

from tfadv.reproduction.studies import weight_decay_jobs as wd
from tfadv.reproduction.studies import weight_decay_schematics as schematics
from tfadv.reproduction.studies.weight_decay_models import threes_and_sevens
from tfadv.reproduction.study import Context

FIG3, FIG4, FIG5 = schematics.STUDIES


@pytest.fixture(scope="module")
def results(made):
    found = {f"{name}, seed 0": made(seed=seed) for seed, name in enumerate((wd.EXPERT,))}
    for each in found.values():
        # Four bins of y d around 0, with the mean of their middles: (-1.5 + 0.5 + 2 x 0.5 + 3 x 1.5) / 7.
        each["kept"][-1]["margins"] |= {
            "edges": [-2.0, -1.0, 0.0, 1.0, 2.0],
            "signed": [1, 0, 2, 4],
            "threes": [0, 1, 1, 1],
            "sevens": [3, 1, 0, 0],
            "mean": 5.5 / 7,
            "l2": 2.0,
        }
    margins = found[f"{wd.EXPERT}, seed 0"]["kept"][-1]["margins"]
    optima = {"margins": margins, "clean": 0.04, "fgsm": 0.6, "expert": 0.9, "iterations": 3}
    return found | {f"L2 {l2:g}": optima for l2 in (0.001, 0.05, 3.25)}


def test_the_optimum_is_where_the_gradient_is_zero(tmp_path):
    """At a large decay w = mean(side x) / (2 l2) to first order, the expert direction for classes of one size."""
    settings = {"dataset": "digits", "l2": 1e4, "iterations": 100}
    found = schematics.optimum(settings, Context(tmp_path, tmp_path, None, print))
    x, y = threes_and_sevens("digits", "train", None)
    expected = np.mean(np.where(y == 1, 1, -1)[:, None] * x, axis=0) / 2e4
    assert found["margins"]["l2"] == pytest.approx(np.linalg.norm(expected), rel=1e-2)
    assert found["expert"] > 0.9
    smaller = schematics.optimum({**settings, "l2": 0.05}, Context(tmp_path, tmp_path, None, print))
    assert smaller["margins"]["loss"] < found["margins"]["loss"]
    assert smaller["clean"] < 0.1


def test_figure_3_scales_distances_by_the_norm_and_gives_shares(results):
    figures = FIG3.render(results).figures
    assert list(figures) == ["a", "b", "c"]
    threes = figures["a"].series["threes, y = 1"]
    assert threes.x == (-4.0, -2.0, 0.0, 2.0, 4.0)
    assert threes.y == pytest.approx((0, 1 / 7, 1 / 7, 1 / 7))
    assert figures["b"].series["training images"].y == pytest.approx((1 / 7, 0, 2 / 7, 4 / 7))
    loss = figures["c"].series["softplus loss"]
    assert loss.x == (-3.0, -1.0, 1.0, 3.0)
    assert loss.y == pytest.approx(np.log1p(np.exp([3, 1, -1, -3])))
    assert "14.3% of the training images lie below 0" in FIG3.render(results).findings[0]


def test_figure_4_has_a_softplus_for_each_strength_of_weight_decay(results):
    shown = FIG4.render(results)
    assert list(shown.figures) == ["a", "b", "c"]
    assert shown.figures["c"].series["softplus loss"].y == pytest.approx(np.log1p(np.exp([3, 1, -1, -3])))
    # sigmoid(-2 y d) at 0.5 and 1.5 is 0.2689 and 0.0474, at -1.5 it is 0.9526.
    right = 2 * 0.26894 + 4 * 0.04743
    assert f"{100 * right / (right + 0.95257):.0f}% in (c), ||w|| 2.00" in shown.findings[0]


def test_figure_5_translates_the_data_and_not_the_loss(results):
    shown = FIG5.render(results)
    losses = {each.series["softplus loss"].y for each in shown.figures.values()}
    assert len(losses) == 1
    peaks = [
        np.array(each.series["training images"].x)[np.argmax(each.series["training images"].y)]
        for each in shown.figures.values()
    ]
    mean, step = 5.5 / 7, (1.5 + 1.5 + 1.5 * 5.5 / 7) / 120
    np.testing.assert_allclose(peaks, [1.5, 1.5 - 0.5 * mean, 1.5 - 1.5 * mean], atol=step)
    # Offsets 0, 0.39 and 1.18: of 7 images 1, 1 and 3 are below.
    assert "14% at epsilon 0.00, 14% at epsilon 0.39, 43% at epsilon 1.18" in shown.findings[1]


@pytest.mark.parametrize("study", schematics.STUDIES, ids=lambda study: study.key)
def test_missing_jobs_leave_out_what_they_would_show(study, results):
    assert not study.render({}).figures
    for key, each in results.items():
        study.render({key: each})
    assert {job.key for job in study.jobs("paper")} <= set(results)
