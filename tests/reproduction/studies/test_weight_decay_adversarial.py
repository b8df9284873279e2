"""Figures 6 and 7: the place where accuracy meets chance, and the rules by which claims are marked."""

import pytest

from tfadv.reproduction.studies import weight_decay_adversarial as adversarial
from tfadv.reproduction.studies import weight_decay_jobs as wd

FIG6, FIG7 = adversarial.STUDIES


def both(made, name, **values):
    return {f"{name}, {variant}": made(**values) for variant in wd.SEEDS}


def marks(study, results):
    return {claim.key: claim.mark for claim in study.render(results).claims}


@pytest.fixture(scope="module")
def results(made):
    """As the paper has it."""
    values = {
        wd.FGSM: {"clean": 0.96, "fgsm": 0.71, "chance_at": 18},
        wd.PREDICTED: {"clean": 0.96, "fgsm": 0.71, "chance_at": 18},
        wd.NATURAL: {"clean": 0.98, "fgsm": 0.0, "chance_at": None},
        wd.LARGE: {"clean": 0.5, "fgsm": 0.0, "own": 0.0},
    }
    keys = {job.key for study in (FIG6, FIG7) for job in study.jobs("paper")}
    return {key: made(**values.get(key.rpartition(", ")[0], {})) for key in keys}


@pytest.mark.parametrize(("chance_at", "expected"), [(20, 20), (1, 1), (None, None)])
def test_the_intercept_is_the_first_count_at_chance(made, chance_at, expected):
    assert adversarial.intercept(made(chance_at=chance_at)["kept"][-1]) == expected


def test_what_the_paper_reports_is_marked_reproduced(results):
    assert marks(FIG6, results) == {"WD-2": "reproduced", "WD-6": "reproduced"}
    assert marks(FIG7, results) == {"WD-1": "reproduced", "WD-3": "reproduced"}


def test_a_claim_that_no_seed_shows_is_not_reproduced_and_one_that_some_show_depends(made):
    strong = both(made, wd.FGSM, clean=0.96, fgsm=0.90, chance_at=18)
    assert marks(FIG7, strong) == {"WD-1": "not reproduced"}
    one = {f"{wd.FGSM}, seed 0": strong[f"{wd.FGSM}, seed 0"]}
    assert marks(FIG7, one) == {"WD-1": "depends"}
    mixed = {**one, f"{wd.FGSM}, seed 1": made(clean=0.96, fgsm=0.71, chance_at=18)}
    assert marks(FIG7, mixed) == {"WD-1": "depends"}
    slow = both(made, wd.FGSM, clean=0.96, fgsm=0.71, chance_at=40)
    assert marks(FIG7, slow) == {"WD-1": "not reproduced"}
    assert marks(FIG6, both(made, wd.LARGE, own=0.7)) == {"WD-2": "not reproduced"}
    labels = both(made, wd.FGSM, fgsm=0.71) | both(made, wd.PREDICTED, fgsm=0.66)
    assert marks(FIG6, labels)["WD-6"] == "not reproduced"


def test_figures_follow_the_panels_and_steps_are_clipped(results):
    shown = FIG6.render(results)
    assert list(shown.figures) == list("abcdef")
    assert abs(shown.figures["d"].images).max() == pytest.approx(0.25)
    charts = FIG7.render(results).figures
    assert list(charts) == ["a", "b", "c"]
    assert list(charts["a"].series) == [wd.NATURAL, wd.FGSM, wd.EXPERT]
    assert charts["a"].rules == {"one class": 0.5}
    assert charts["b"].series[wd.EXPERT].x[-1] == 0.5


def test_printed_numbers_stand_beside_ours(results):
    rows = {each.what: each.paper for each in FIG7.render(results).compared}
    assert rows["FGSM training at 0.25: clean accuracy, seed 0"] == 96
    assert rows["FGSM training at 0.25: FGSM accuracy, window"] == 71
    assert rows["FGSM training at 0.25: pixels at each end until no better than chance, seed 1"] == 20
    assert rows["Expert-L2: FGSM error at 0.25, as annotated"] == 59


@pytest.mark.parametrize("study", adversarial.STUDIES, ids=lambda study: study.key)
def test_missing_jobs_leave_out_what_they_would_show(study, results):
    empty = study.render({})
    assert [len(part) for part in (empty.figures, empty.claims, empty.compared)] == [0, 0, 0]
    for job in study.jobs("paper"):
        study.render({job.key: results[job.key]})
