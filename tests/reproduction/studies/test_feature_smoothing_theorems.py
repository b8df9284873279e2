"""The study of the theorems: a smoke run, what is said of synthetic results, and results that are missing."""

import numpy as np
import pytest

from tfadv.reproduction import gallery, plan
from tfadv.reproduction.studies.feature_smoothing_simulations import PLAIN, REGULARIZERS
from tfadv.reproduction.studies.feature_smoothing_theorems import STUDY
from tfadv.reproduction.studies.feature_smoothing_variances import STUDIES as VARIANCES


@pytest.fixture(scope="module")
def smoked(tmp_path_factory):
    output = tmp_path_factory.mktemp("theorems")
    return output, plan.carry_out([STUDY], output, scale="smoke", report=lambda line: None)[STUDY.key]


def results_of(jobs):
    return {key: values["result"] for key, values in jobs.items()}


def large(smoothing, squeezing, decay):
    """Variances at w = 1, 2, 3, where plain's are 1."""
    columns = dict(zip(REGULARIZERS, (smoothing, squeezing, decay), strict=True))
    variances = {PLAIN: [1.0, 1.0, 1.0], **columns}
    shifted = {name: [[0.1, 2.0, -0.08], [0.01, 3.5, -0.02]] for name in REGULARIZERS}
    return {"slopes": [1.0, 2.0, 3.0], "outer": variances, "unit": variances, "shifted": shifted}


def boundary(median, reach=0.01, iqr=0.1):
    return {"median": median, "median_interval": [median - reach, median + reach], "iqr": iqr}


def methods(**medians):
    return {"methods": {name.replace("_", " "): {"boundary": boundary(each)} for name, each in medians.items()}}


def swept(ratios):
    """Ratios of feature smoothing to mixup by alpha."""
    ends = {alpha: [ratio, 0.95 * ratio, 1.05 * ratio] for alpha, ratio in ratios.items()}
    return {"methods": {f"feature smoothing {alpha:g}": {"ratios": {"iqr": each}} for alpha, each in ends.items()}}


def the(findings, start):
    (found,) = [finding for finding in findings if finding.startswith(start)]
    return found


def test_a_smoke_run_shows_all_panels(smoked):
    output, jobs = smoked
    rendering = STUDY.render(results_of(jobs))
    assert list(rendering.figures) == ["a", "b", "c", "d"]
    for theorem in ("Theorem 4.1", "Theorem 4.2", "Theorem 4.3", "Remark A.4", "A.1", "A.4", "Inequality (2)"):
        assert any(finding.startswith(theorem) for finding in rendering.findings), theorem
    assert len(rendering.compared) == 6
    gallery.write(STUDY, rendering, jobs, "smoke", output / "page")
    assert "Theorem 4.2" in (output / "page" / "study.md").read_text()


@pytest.mark.parametrize("kept", ["large samples", "near", "appendix", "moments, b = 1", "w = 1, seed 0"])
def test_a_single_result_is_enough_and_none_is_too(smoked, kept):
    _, jobs = smoked
    only = STUDY.render({kept: jobs[kept]["result"]})
    assert set(only.figures) <= {"a", "b", "d"}
    assert STUDY.render({}).findings == ()
    assert not STUDY.render({}).figures


def test_the_samples_of_figure_3_are_simulated_once():
    ours = {job.identity for job in STUDY.jobs("paper")}
    assert {job.identity for job in VARIANCES[0].jobs("paper")} <= ours


def test_where_theorem_41_fails_is_told_by_its_last_w():
    findings = STUDY.render({"large samples": large([0.9, 0.5, 0.1], [2.0, 1.1, 0.4], [None, 0.9, 0.9])}).findings
    told = the(findings, "Theorem 4.1, x on [-1")
    assert "label smoothing nowhere; logit squeezing up to w = 2; weight decay up to w = 1." in told


def test_a_flat_minimum_is_left_out_of_the_curves():
    figures = STUDY.render({"large samples": large([0.1, 0.1, 0.1], [2.0, 1.0, 0.4], [None, 10.0, 1.0])}).figures
    assert figures["b"].series["weight decay"].x == (2, 3)
    np.testing.assert_allclose(figures["b"].series["weight decay"].y, [1, 0])
    assert figures["d"].series["weight decay"].x == (2, 3.5)


def test_theorem_42_counts_the_intervals_that_contain_the_truth():
    named = {name.replace(" ", "_"): median for name, median in zip(REGULARIZERS, (0.0, 0.005, 0.02), strict=True)}
    told = the(STUDY.render({"w = 1, seed 0": methods(plain=0.5, **named)}).findings, "Theorem 4.2")
    assert "of 3 medians" in told
    assert "intervals of 2 contain" in told


@pytest.mark.parametrize(("iqr", "word"), [(0.05, "holds"), (0.2, "does not hold")])
def test_theorem_43_compares_the_spreads(iqr, word):
    near = {"methods": {PLAIN: {"boundary": boundary(0.0, iqr=iqr)}}}
    outer = methods(plain=0.0, **{name.replace(" ", "_"): 0.0 for name in REGULARIZERS})
    for each in outer["methods"].values():
        each["ratios"] = {"iqr": None}
    told = the(STUDY.render({"w = 4, seed 0": outer, "near": near}).findings, "Theorem 4.3")
    assert told.endswith(f"The theorem {word}.")


def test_remark_a4_needs_both_seeds():
    one, two = swept({0.1: 1.5, 0.3: 0.5, 0.4: 0.5}), swept({0.1: 1.5, 0.3: 0.5, 0.4: 1.0})
    told = the(STUDY.render({"alpha, w = 4, seed 0": one, "alpha, w = 4, seed 1": two}).findings, "Remark A.4, w = 4")
    assert "less than mixup at alpha = 0.3, more at alpha = 0.1" in told
    alone = STUDY.render({"alpha, w = 4, seed 0": one})
    assert not alone.findings
    np.testing.assert_allclose(alone.figures["c"].series["w = 4"].y, np.log10([1.5, 0.5, 0.5]))


def test_a_formula_stands_where_the_paper_prints_one():
    found = {
        "weight": [20.0, 1.0],
        "bias": [5.0, 0.2],
        "boundary": [2.0, 0.1],
        "fisher": [18.0, 5.0],
        "information": [20.0, 5.0],
        "delta": 1.9,
        "printed": 3e6,
    }
    weight, bias, edge = STUDY.render({"moments, b = 1": found}).compared
    assert (weight.paper, weight.ours, weight.interval) == (18, 20, (pytest.approx(18.04), pytest.approx(21.96)))
    assert weight.note == "whole matrix: 20"
    assert bias.note == ""
    assert edge.paper == 3e6
    assert "1.9" in edge.note
