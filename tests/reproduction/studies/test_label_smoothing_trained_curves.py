"""Figure 5: its curves from made-up results, the claim about the temperature, missing jobs."""

import pytest

from tfadv.reproduction.studies import label_smoothing_trained_curves as study_file

(STUDY,) = study_file.STUDIES


def share(accuracy):
    return {"accuracy": accuracy, "interval": [accuracy, accuracy]}


def result(own, true):
    epsilons = (0.05, 0.2, 0.4)
    names = {f"{attack} {epsilon:g}": epsilon for attack in ("FGSM", "BIM") for epsilon in epsilons}
    return {
        "clean": share(0.99),
        "attacks": {name: share(true - epsilon / 10) for name, epsilon in names.items()},
        "own_labels": {name: share(own - epsilon / 10) for name, epsilon in names.items()},
        "program": {"DeepFool": share(own / 2), "C&W": share(own / 4)},
        "standard": share(0.01),
    }


RESULTS = {
    "MNIST LeNet, ALS 0.4": result(0.6, 0.2),
    "MNIST LeNet, ALS 0.1": result(0.8, 0.1),
    "MNIST LeNet, natural": result(0.3, 0.3),
    "MNIST LeNet, BLS 0.1": result(0.7, 0.2),
    "MNIST LeNet, BLS 0.1, T = 1": result(0.72, 0.2),
    "MNIST LeNet, SLS 0.1": result(0.75, 0.2),
}


def test_curves_run_over_alpha_from_the_natural_classifier():
    figures = STUDY.render(RESULTS).figures
    assert list(figures) == ["a", "d", "e"]
    curve = figures["a"].series["FGSM 0.2, own labels"]
    assert curve.x == (0.0, 0.1, 0.4)
    assert curve.y == pytest.approx((0.28, 0.78, 0.58))
    assert figures["a"].series["FGSM 0.2, true labels"].y == pytest.approx((0.28, 0.08, 0.18))
    assert figures["a"].series["AutoAttack 0.2"].y == pytest.approx((0.01, 0.01, 0.01))


def test_curves_run_over_epsilon():
    figures = STUDY.render(RESULTS).figures
    assert figures["d"].series["ALS 0.1"].x == (0.0, 0.05, 0.2, 0.4)
    assert figures["d"].series["ALS 0.1"].y == pytest.approx((0.99, 0.795, 0.78, 0.76))
    assert figures["e"].series["ALS 0.1"].y == pytest.approx((0.99, 0.095, 0.08, 0.06))
    assert list(figures["d"].series) == ["natural", "ALS 0.1", "SLS 0.1", "BLS 0.1"]


def test_the_best_alpha_is_named_with_what_is_true_there():
    (words,) = (each for each in STUDY.render(RESULTS).findings if "ALS" in each)
    assert "leaves most at alpha 0.1, 78.0%, where AutoAttack leaves 1.0%" in words


def test_the_temperature():
    (claim,) = STUDY.render(RESULTS).claims
    # 70, 72 and 75 less 2 under FGSM and BIM.
    assert (claim.key, claim.mark) == ("LSV-3", "reproduced")
    assert "at most 5.0 points apart" in claim.evidence
    far = {**RESULTS, "MNIST LeNet, SLS 0.1": result(0.9, 0.2)}
    assert STUDY.render(far).claims[0].mark == "depends"


@pytest.mark.parametrize("left", list(RESULTS))
def test_what_is_missing_is_left_out(left):
    rendering = STUDY.render({left: RESULTS[left]})
    assert "a" not in rendering.figures
    assert not rendering.claims
    assert not STUDY.render({}).figures


def test_jobs_are_those_of_the_tables_and_a_few():
    keys = [job.key for job in STUDY.jobs("short")]
    assert len(keys) == len(set(keys)) == 34 + 3
    assert keys[-1] == "MNIST LeNet, BLS 0.1, T = 1"
    assert {job.key.partition(",")[0] for job in STUDY.jobs("smoke")} == {"MNIST Linear", "MNIST LeNet"}


def test_rows_stand_beside_what_table_2_prints():
    rows = {row.what: row for row in STUDY.render(RESULTS).compared}
    assert rows["MNIST LeNet, ALS 0.1: FGSM 0.2"].paper == pytest.approx(73.2)
    assert rows["MNIST LeNet, ALS 0.1: FGSM 0.2"].ours == pytest.approx(78)
    assert not any("natural" in what for what in rows)
