"""Table 1, and figures 1 and 2: counts, candidates, and the text's numbers beside ours."""

import numpy as np
import pytest

from tfadv.report.values import unpack
from tfadv.reproduction import gallery, plan
from tfadv.reproduction.studies import weight_decay_jobs as wd
from tfadv.reproduction.studies import weight_decay_logistic as logistic
from tfadv.reproduction.study import SCALES, Context

TABLE1, FIG1, FIG2 = logistic.STUDIES


@pytest.fixture(scope="module")
def results(made):
    return {
        job.key: made(clean=0.96, fgsm=0.41) for job in FIG1.jobs("paper") if job.key != f"{wd.NATURAL}, seed 0"
    } | {f"{wd.NATURAL}, seed 0": made(clean=0.98, fgsm=0.01)}


def test_every_count_of_table_1_is_the_printed_one(tmp_path):
    found = plan.carry_out([TABLE1], tmp_path, scale="smoke", report=lambda line: None)[TABLE1.key]
    shown = TABLE1.render({key: each["result"] for key, each in found.items()})
    assert [each.ours for each in shown.compared] == [6.144, 73.728, 102.4, 2.56, 184.832]
    assert [each.paper for each in shown.compared] == [6.1, 73.7, 102.4, 2.6, 184.8]
    assert shown.findings[0].startswith("Every count is the printed one")


def test_the_rows_of_section_3_are_all_there_and_counted_as_printed(results):
    rows = {each.what: each for each in FIG1.render(results).compared}
    expert = rows["Expert-L2, FGSM error, seed 0"]
    assert (expert.paper, round(expert.ours, 6)) == (59, 59)
    assert expert.interval == pytest.approx((57, 61))
    # 99 - 59 = 40 points below the quoted error, and 4 - 1.6 = 2.4 above the quoted clean error.
    below, above = (
        rows[f"Expert-L2: {what}, seed 0"]
        for what in ("below the quoted 99%, FGSM error", "above the quoted 1.6%, clean error")
    )
    assert (below.paper, below.ours) == (40, pytest.approx(40))
    assert below.interval == pytest.approx((38, 42))
    assert (above.paper, above.ours) == (2.4, pytest.approx(2.4))
    assert above.interval == pytest.approx((0.4, 4.4))
    printed = {row.paper for row in rows.values()}
    assert printed == {99, 1.6, 39, 5.2, 59, 4, 40, 2.4, 43, 64, 25}
    assert sum("expert start" in what for what in rows) == 2
    assert all(("window" in row.what) == bool(row.note) for row in rows.values())


def test_figure_1_shows_weights_and_the_signs_of_the_plain_model(results):
    figures = FIG1.render(results).figures
    assert list(figures) == ["a", "b", "c", "d"]
    assert set(np.unique(figures["c"].images)) == {-0.25, 0.25}
    np.testing.assert_array_equal(np.sign(figures["c"].images), np.sign(figures["d"].images))


@pytest.mark.parametrize("study", logistic.STUDIES, ids=lambda study: study.key)
def test_missing_jobs_leave_out_what_they_would_show(study, results):
    empty = study.render({})
    assert not empty.compared
    assert not empty.figures
    for key in results:
        study.render({key: results[key]})


def test_candidates_stay_within_epsilon_and_are_classified_correctly(tmp_path, made):
    job = next(job for job in FIG2.jobs("smoke") if job.key == "candidates")
    context = Context(tmp_path, tmp_path, None, print)
    found = job.work(job.settings, context)
    w = logistic.weights(job.settings, context)[10]
    x, y = logistic.threes_and_sevens("digits", "test", None)
    for name, label in (("threes", 1), ("sevens", 0)):
        images = unpack(found[name])
        assert images.shape == (3, 784)
        assert ((images @ w > 0) == label).all()
        originals = x[y == label]
        for image in images:
            assert np.abs(originals - image).max(axis=1).min() <= 0.05 + 1e-6
    # A three moves against w.
    assert unpack(found["perturbation"]) @ w < 0
    shown = FIG2.render({"candidates": found, f"{wd.EXPERT}, seed 0": made()})
    assert list(shown.figures) == list("abcdefg")
    assert [each.paper for each in shown.compared] == [58.9, 59.1, 4.0, 4.57, 4.57]


def test_jobs_are_few_at_scale_smoke_and_short_is_paper():
    for study in logistic.STUDIES:
        jobs = {scale: {job.identity for job in study.jobs(scale)} for scale in SCALES}
        assert jobs["short"] == jobs["paper"]
        assert len(jobs["smoke"]) <= len(jobs["paper"])


def test_figure_2_runs_at_scale_smoke(tmp_path):
    found = plan.carry_out([FIG2], tmp_path, scale="smoke", report=lambda line: None)[FIG2.key]
    shown = FIG2.render({key: each["result"] for key, each in found.items()})
    gallery.write(FIG2, shown, found, "smoke", tmp_path / "shown")
    assert (tmp_path / "shown" / "figure-g.svg").is_file()
