"""Figure 4: its panels and words from synthetic results, and a smoke run."""

import numpy as np
import pytest

from tfadv.report.values import pack
from tfadv.reproduction import gallery, plan
from tfadv.reproduction.studies import label_smoothing_effects as study_file
from tfadv.reproduction.studies.label_smoothing_models import EPSILONS

(STUDY,) = study_file.STUDIES


def curve(start, fall):
    values = [start - fall * at for at in range(len(EPSILONS))]
    return {
        "epsilons": list(EPSILONS),
        "accuracy": values,
        "low": [value - 0.01 for value in values],
        "high": [value + 0.01 for value in values],
    }


def moons(label, start, pgd):
    return {
        "classes": pack(np.full((1, 9, 9), label)),
        "confidence": pack(np.full((1, 9, 9), 0.75)),
        "marks": [[4, 4, 0]],
        "confident": 0.75,
        "gap": 1.0,
        "pgd": pgd,
        **curve(start, 0.05),
    }


def linear(size, start):
    gaps = (size * np.linspace(0.9, 1.1, 45)).tolist()
    images = pack(np.full((10, 4, 4, 1), size))
    return {
        "gradients": images,
        "gaps": gaps,
        "norms": [1.0] * 10,
        "logit_gap": 2.0,
        "median_step": 0.05,
        **curve(start, 0.05),
    }


RESULTS = {
    "moons, natural, seed 0": moons(0, 1.0, 0.65),
    "moons, natural, seed 1": moons(0, 0.9, 0.55),
    "moons, ALS 0.4, seed 0": moons(1, 1.0, 0.8),
    "linear, natural": linear(100.0, 0.9),
    "linear, ALS 0.4": linear(40.0, 0.8),
}


def test_panels():
    figures = STUDY.render(RESULTS).figures
    assert list(figures) == ["a", "b", "c", "d"]
    assert figures["a"].labels == ("natural", "ALS 0.4")
    assert figures["a"].images.shape == (2, 9, 9, 3)
    # The first seed is drawn; a plane of class 0 is of another color than one of class 1.
    assert not np.allclose(figures["a"].images[0, 0, 0], figures["a"].images[1, 0, 0])
    density = figures["b"].series["linear, natural".partition(", ")[2]]
    assert density.x[int(np.argmax(density.y))] == pytest.approx(100, abs=5)
    width = density.x[1] - density.x[0]
    assert sum(density.y) * width == pytest.approx(1, abs=0.1)
    assert figures["c"].series["ALS 0.4"].y[0] == 0.8
    assert figures["d"].labels[9:11] == ("natural 9", "ALS 0.4 0")
    assert figures["d"].columns == 10


def test_words():
    rendering = STUDY.render(RESULTS)
    assert "on 60.0% / 50.0%" in rendering.findings[0]
    # 0.65 - 0.6, 0.55 - 0.5 and 0.8 - 0.6, in points.
    assert "natural 5.0 / 5.0; ALS 0.4 20.0" in rendering.findings[1]
    assert (
        "ALS 0.4: gradient gap 40.0, logit gap 2.00, accuracy at epsilon 0.05 55.0% (54.0 to 56.0)"
        in rendering.findings[2]
    )
    ours = {row.what: row for row in rendering.compared}
    assert ours["moons, natural: accuracy at epsilon 0.08, mean of 2"].ours == pytest.approx(55)
    assert ours["linear, natural: mean 1-norm of the gradient gap"].ours == pytest.approx(100)
    assert ours["linear, natural: accuracy at epsilon 0.02"].interval == pytest.approx((79, 81))
    (claim,) = rendering.claims
    assert (claim.key, claim.mark) == ("LSV-1", "depends")


@pytest.mark.parametrize("kind", ["moons", "linear", "none"])
def test_what_is_missing_is_left_out(kind):
    rendering = STUDY.render({key: value for key, value in RESULTS.items() if key.startswith(kind)})
    assert list(rendering.figures) == {"moons": ["a"], "linear": ["b", "c", "d"], "none": []}[kind]
    assert not rendering.claims


def test_short_trains_as_the_authors_program():
    jobs = STUDY.jobs("short")
    assert jobs == STUDY.jobs("paper")
    (natural,) = (job for job in jobs if job.key == "linear, natural")
    # 15 epochs of 600 batches.
    assert (natural.settings["dataset"], natural.settings["steps"]) == ("mnist", 9000)


@pytest.mark.slow
def test_smoke(tmp_path):
    found = plan.carry_out([STUDY], tmp_path, scale="smoke", report=lambda line: None)[STUDY.key]
    rendering = STUDY.render({key: each["result"] for key, each in found.items()})
    gallery.write(STUDY, rendering, found, "smoke", tmp_path / "shown")
    assert (tmp_path / "shown" / "figure-a.svg").stat().st_size > 1000
    assert len(rendering.findings) == 3
