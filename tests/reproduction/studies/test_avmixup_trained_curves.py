"""Figure 2: the gap between training and held-out images, and when it first exceeds 15 points."""

import json

import pytest

from tfadv.reproduction import gallery, plan
from tfadv.reproduction.studies import avmixup_trained as av
from tfadv.reproduction.studies.avmixup_trained_curves import STUDY, gaps, overfitted_at
from tfadv.reproduction.study import Rendering, Study

STEPS = [100, 200, 300, 400]


def curve(validation, train, step=400):
    return {
        "step": step,
        "steps": STEPS,
        "held_out": 1_000,
        "count": 500,
        "validation": validation,
        "clean": [0.4] * 4,
        "train": train,
    }


PGD = curve([0.20, 0.28, 0.26, 0.22], [0.21, 0.33, 0.45, 0.60])
AVMIXUP = curve([0.20, 0.25, 0.28, 0.30], [0.21, 0.26, 0.30, 0.33])


def test_the_gap_is_training_minus_held_out():
    """0.45 - 0.26 = 0.19 is the first above 0.15."""
    assert gaps(PGD) == pytest.approx([0.01, 0.05, 0.19, 0.38])
    assert overfitted_at(PGD) == 300
    assert overfitted_at(AVMIXUP) is None


def test_the_figure():
    rendering = STUDY.render({av.PGD: PGD, av.AVMIXUP: AVMIXUP})
    assert list(rendering.figures) == ["a", "b", "c"]
    validation = rendering.figures["a"].series["PGD"]
    assert validation.y == (0.20, 0.28, 0.26, 0.22)
    assert validation.low[1] < 0.28 < validation.high[1]
    assert rendering.figures["b"].rules == {"limit": 15.0}
    assert (
        "PGD 28.0% at best (step 200), 22.0% at step 400, gap to training images then 38.0 points"
        in (rendering.findings[0])
    )
    assert "exceeds 15 points from step 300 on; 38.0 at most" in rendering.findings[1]
    (claim,) = rendering.claims
    assert (claim.key, claim.mark) == ("AV-1", "not comparable")
    assert claim.evidence.startswith("small nets agree: held-out accuracy")


def test_a_gap_that_never_comes_is_said():
    assert "never exceeds 15 points; 4.0 at most" in STUDY.render({av.PGD: AVMIXUP | {"train": [0.24] * 4}}).findings[1]


@pytest.mark.parametrize(("pgd", "expected"), [(PGD, "reproduced"), (AVMIXUP, "depends")])
def test_at_the_papers_schedule_the_claim_is_decided(pgd, expected):
    """PGD must end three points below its best, AVmixup must not."""
    made = {av.PGD: {**pgd, "step": 80_000}, av.AVMIXUP: {**AVMIXUP, "step": 80_000}}
    assert STUDY.render(made).claims[0].mark == expected


def test_missing_jobs_are_left_out():
    assert STUDY.render({}) == Rendering()
    assert STUDY.render({av.AVMIXUP: AVMIXUP}).claims == ()


def test_scale_short_trains_on_the_subset():
    from tfadv.reproduction.jobs import experiment_of

    for job in STUDY.jobs("short"):
        experiment = experiment_of(json.loads(json.dumps(job.settings)))
        assert (experiment.limit, experiment.validation.limit) == (5_000, 1_000)
        assert experiment.steps % experiment.validation.every == 0


@pytest.mark.slow
def test_smoke(tmp_path):
    """One curve at scale smoke: two looks of two steps, on either side."""
    (job,) = [job for job in STUDY.jobs("smoke") if job.key == av.PGD]
    study = Study(STUDY.key, STUDY.title, lambda scale: (job,), STUDY.render)
    jobs = plan.carry_out([study], tmp_path, scale="smoke", report=lambda line: None)[STUDY.key]
    result = jobs[av.PGD]["result"]
    assert result["steps"] == [1, 2]
    assert (result["held_out"], result["count"], len(result["train"])) == (20, 20, 2)
    gallery.write(STUDY, STUDY.render({av.PGD: result}), jobs, "smoke", tmp_path / "shown")
    assert (tmp_path / "shown" / "figure-a.svg").stat().st_size > 1_000
