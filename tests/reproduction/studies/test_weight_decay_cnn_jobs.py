"""The networks of section 6: what differs between them and between scales, and how they are told of."""

import dataclasses

import pytest

from tfadv.reproduction import plan
from tfadv.reproduction.jobs import experiment_of
from tfadv.reproduction.studies import (
    weight_decay_cnn_curves,
    weight_decay_cnn_filters,
    weight_decay_cnn_fooling,
    weight_decay_cnn_saliency,
    weight_decay_cnn_swaps,
)
from tfadv.reproduction.studies import weight_decay_cnn_jobs as cnn
from tfadv.training import describe

STUDIES = (
    *weight_decay_cnn_fooling.STUDIES,
    weight_decay_cnn_curves.STUDY,
    *weight_decay_cnn_swaps.STUDIES,
    weight_decay_cnn_saliency.STUDY,
    weight_decay_cnn_filters.STUDY,
)


def experiment(scale, name):
    return experiment_of(cnn.net(scale, name))


def begins(of):
    """The step at which PGD begins."""
    ((_, settings),) = of.method
    return settings["start_step"]


def evaluated(step=97_500, standard=True):
    share = {"accuracy": 0.5, "interval": [0.4, 0.6]}
    strong = {**share, "accuracy": 0.25, "count": 1000, "verdict": "trusted"}
    found = {"step": step, "clean": share, "attacks": {cnn.FGSM: share, cnn.PGD: share}}
    return {**found, "standard": strong} if standard else found


def test_at_paper_scale_the_schedule_is_the_printed_one():
    """250 epochs of 390 batches of 128, the first 50 without PGD; Adam at 1e-3, lambda / 2 = 5e-4."""
    for name, l2 in ((cnn.CNN, 0.0), (cnn.CNN_L2, 5e-4)):
        full = experiment("paper", name)
        assert (full.steps, begins(full)) == (97_500, 19_500)
        assert (full.batch_size, full.optimizer, full.learning_rate, full.l2) == (128, "adam", 1e-3, l2)
    for name in (cnn.NATURAL, cnn.NATURAL_L2):
        assert experiment("paper", name).method == ()


@pytest.mark.parametrize("scale", ["short", "paper"])
def test_the_two_of_figure_13_differ_in_weight_decay_alone(scale):
    plain, decayed = (experiment(scale, name) for name in cnn.DEFENDED)
    assert describe(dataclasses.replace(decayed, l2=0.0)) == describe(plain)


def test_a_part_of_the_schedule_reaches_pgd_and_leaves_the_natural_twins_as_they_are():
    for name in cnn.DEFENDED:
        assert begins(experiment("short", name)) < experiment("short", name).steps / 2
    for name in (cnn.NATURAL, cnn.NATURAL_L2):
        paper = experiment("paper", name)
        assert describe(dataclasses.replace(experiment("short", name), steps=paper.steps)) == describe(paper)


@pytest.mark.parametrize(("step", "text"), [(97_500, ""), (5_850, "6% of the schedule"), (390, "0.4% of the schedule")])
def test_the_share_of_the_schedule(step, text):
    assert cnn.schedule(step) == text


def test_the_strong_evaluation_stands_beside_the_papers_attack():
    results = {f"{cnn.CNN_L2}, evaluated": evaluated(), f"{cnn.CNN}, evaluated": evaluated(5_850, standard=False)}
    plain, strong = cnn.standing(results)
    assert plain == "CNN: 15 epochs (6% of the schedule), clean 50.0%, FGSM 50.0%, PGD 20-2-8 50.0%."
    assert strong.startswith("CNN-L2: 250 epochs, clean 50.0%")
    assert strong.endswith("AutoAttack leaves 25.0% (40.0 to 60.0) of 1,000 images, trusted.")
    (line,) = cnn.lines_beside(results)
    assert (line.defense, line.ours, line.strong, line.verdict) == ("CNN-L2 (WD, CIFAR-10)", 50, 25, "trusted")
    assert line.schedule == "the paper's schedule"
    assert cnn.standing({}) == []


def test_every_network_is_evaluated_by_autoattack_except_in_smoke():
    for scale, count in (("smoke", 0), ("short", 1000), ("paper", 1000)):
        assert [job.settings["standard"] for job in cnn.evaluations(scale)] == [count] * 4


@pytest.mark.slow
def test_all_figures_at_scale_smoke(tmp_path):
    """Four networks of digits, trained 20 steps, then every job and every rendering."""
    found = plan.carry_out(STUDIES, tmp_path, scale="smoke", report=lambda line: None)
    assert len(list((tmp_path / "runs").iterdir())) == 4
    for study in STUDIES:
        shown = study.render({key: each["result"] for key, each in found[study.key].items()})
        assert shown.figures
        assert shown.findings
        assert {each.note for each in shown.compared} <= {"0.021% of the schedule"}
