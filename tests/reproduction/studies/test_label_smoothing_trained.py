"""Tables 2 to 6: rows, counts and claims from made-up results, missing jobs, and a smoke run."""

import pytest

from tfadv.reproduction import gallery, plan
from tfadv.reproduction.studies import label_smoothing_trained as study_file

STUDIES = {study.key.rpartition("/")[2]: study for study in study_file.STUDIES}


def share(accuracy):
    return {"accuracy": accuracy, "interval": [max(accuracy - 0.02, 0), min(accuracy + 0.02, 1)]}


def result(own, true, clean=0.98, seconds=30.0, strong=0.0, distance=1.0):
    """Of a net: under FGSM and BIM at every epsilon the same, on own and on true labels."""
    names = [f"{attack} {epsilon:g}" for attack in ("FGSM", "BIM") for epsilon in (0.025, 0.05, 0.1, 0.2, 0.4)]
    return {
        "step": 3000,
        "seconds_of_training": seconds,
        "clean": share(clean),
        "attacks": {name: share(true) for name in names},
        "own_labels": {name: share(own) for name in names},
        "program": {"DeepFool": share(own / 2), "C&W": share(own / 4)},
        "closest": {name: {**share(0.0), "distance": distance} for name in ("DeepFool", "C&W")},
        "closest_count": 500,
        "standard": {**share(strong), "count": 1000, "verdict": "trusted"},
    }


RESULTS = {
    "MNIST LeNet, natural": result(0.1, 0.1),
    "MNIST LeNet, ALS 0.1": result(0.7, 0.2, seconds=30.0),
    "MNIST LeNet, SLS 0.1": result(0.6, 0.05, clean=0.97),
    "MNIST LeNet, BLS 0.1": result(0.7, 0.2, clean=0.985),
    "MNIST LeNet, SBLS 0.1": result(0.5, 0.15),
    "MNIST LeNet, PGD training": result(0.9, 0.9, seconds=120.0, strong=0.8, distance=2.5),
    "CIFAR LeNet, natural": result(0.03, 0.03),
}


def test_table2_shows_the_printed_cell_and_both_kinds_of_labels():
    rendering = STUDIES["table2"].render(RESULTS)
    row = {each.what: each for each in rendering.compared}["MNIST LeNet, ALS 0.1: FGSM 0.2"]
    assert (row.paper, row.ours) == (pytest.approx(73.2), pytest.approx(70))
    assert row.note == "10% of 50 epochs; with true labels 20.0"
    assert {each.what: each for each in rendering.compared}["MNIST LeNet, natural: FGSM 0.4"].note == "10% of 50 epochs"
    # 3 epsilons of 7 nets; those that only curves need are left out.
    assert len(rendering.compared) == 21


def test_counts_are_printed_ours_and_strong():
    """Of 12 cells (4 methods at 3 epsilons) all are above 10% on own labels, 9 on true ones; AutoAttack leaves none."""
    first = STUDIES["table2"].render(RESULTS).findings[0]
    assert "own labels 12 higher and 0 lower of 12" in first
    assert "true labels 9 higher and 3 lower of 12" in first
    assert "AutoAttack 0 higher and 0 lower of 4" in first


def test_a_mean_over_no_net_is_not_printed():
    """Of CIFAR LeNet only the natural one is there."""
    findings = STUDIES["table2"].render(RESULTS).findings
    assert [each.partition(",")[0] for each in findings if "mean over label smoothing" in each] == ["MNIST LeNet"]


def test_what_half_of_epsilon_leaves_of_cifar():
    (words,) = (each for each in STUDIES["table3"].render(RESULTS).findings if each.startswith("CIFAR LeNet, natural"))
    assert "0.05 printed 1.5%, ours 3.0%, at half of it 3.0%" in words


def test_claims():
    claims = {claim.key: claim for study in STUDIES.values() for claim in study.render(RESULTS).claims}
    assert claims.keys() == {"LSV-1", "LSV-2", "LSV-4", "LSV-5"}
    # Own labels 24 of 24 (FGSM, BIM), DeepFool and C&W another 8.
    assert "own labels 32 higher and 0 lower of 32" in claims["LSV-1"].evidence
    assert claims["LSV-1"].mark == "depends"
    # 120 s of PGD training against 30 of ALS.
    assert (claims["LSV-2"].mark, "4.0 times" in claims["LSV-2"].evidence) == ("reproduced", True)
    # 0.7 + 0.7 against 0.6 + 0.5 everywhere.
    assert claims["LSV-4"].mark == "reproduced"
    # SLS is a point worse than the natural classifier, BLS half a point better.
    assert (claims["LSV-5"].mark, "ours: 1 better, 1 worse, of 4" in claims["LSV-5"].evidence) == ("depends", True)


def test_the_strong_evaluation_stands_beside_every_net():
    lines = STUDIES["table2"].render(RESULTS).beside
    assert len(lines) == len(RESULTS)
    assert (lines[-2].defense, lines[-2].claimed, lines[-2].strong) == (
        "MNIST LeNet, PGD training",
        pytest.approx(95.2),
        pytest.approx(80),
    )


def test_tables_without_an_epsilon_say_what_accuracy_is():
    rendering = STUDIES["table4"].render(RESULTS)
    assert "non-zero accuracy measures attack failure" in rendering.findings[0]
    row = {each.what: each for each in rendering.compared}["MNIST LeNet, PGD training: DeepFool"]
    assert (row.paper, row.ours) == (pytest.approx(57.1), pytest.approx(45))
    assert "median l2 distance 2.50" in row.note
    assert "PGD training 2.50" in rendering.findings[-1]
    assert list(STUDIES["table5"].render(RESULTS).figures["b"].series) == ["printed", "as the program", "as published"]
    # Only nets that are there have a place.
    assert STUDIES["table5"].render(RESULTS).figures["c"].x_names == ("natural",)


@pytest.mark.parametrize("name", STUDIES)
def test_missing_jobs_are_left_out(name):
    render = STUDIES[name].render
    assert not render({}).compared
    for key in RESULTS:
        rendering = render({key: {each: value for each, value in RESULTS[key].items() if each != "standard"}})
        assert rendering.compared
        assert not rendering.beside
        assert all(panel.series for panel in rendering.figures.values())


def test_all_tables_share_their_jobs():
    first, *others = (study.jobs("short") for study in STUDIES.values())
    assert len(first) == 14 + 14 + 6
    assert len({job.key for job in first}) == len({job.identity for job in first}) == len(first)
    assert all(jobs == first for jobs in others)


@pytest.mark.slow
def test_smoke(tmp_path):
    found = plan.carry_out(list(STUDIES.values()), tmp_path, scale="smoke", report=lambda line: None)
    natural = found["label_smoothing_variants/table2"]["MNIST Linear, natural"]["result"]
    assert natural["own_labels"] == natural["attacks"]
    for name, study in STUDIES.items():
        jobs = found[study.key]
        rendering = study.render({key: each["result"] for key, each in jobs.items()})
        gallery.write(study, rendering, jobs, "smoke", tmp_path / name)
        assert rendering.compared
        assert (tmp_path / name / "study.md").stat().st_size > 1000
