"""Table 1: printed numbers beside measured ones, where the prediction ends to hold, and a real run at scale smoke."""

import pytest

from tfadv.reproduction import plan
from tfadv.reproduction.studies import logit_squeezing_table1 as table1


def linear(predicted, fgsm, step=100_000, network="madry_mnist"):
    """Constant accuracies above epsilon 0."""
    many = len(table1.EPSILONS) - 1
    return {
        "step": step,
        "seconds_of_training": 1.0,
        "network": network,
        "count": 1_000,
        "epsilons": list(table1.EPSILONS),
        "predicted": [0.99] + [predicted] * many,
        "predicted_in_box": [0.99] + [predicted] * many,
        "cross_entropy": [0.99] + [fgsm] * many,
        "margin": [0.99] + [fgsm] * many,
    }


def attacked(strong, white_box):
    white = {"accuracy": white_box, "interval": [white_box, white_box]}
    standard = {"accuracy": strong, "interval": [strong - 0.01, strong + 0.01], "count": 1_000, "verdict": "trusted"}
    return {"attacks": {"X-ent": white, "CW": white}, "standard": standard}


@pytest.fixture
def results():
    return {
        "natural": linear(0.0, 0.01),
        "strong": linear(0.57, 0.95),
        table1.attacked("natural"): attacked(0.0, 0.0),
        table1.attacked("strong"): attacked(0.88, 0.92),
    }


def test_the_printed_half():
    printed = table1.printed()
    assert list(printed) == list(table1.ROWS)
    assert [list(row.values()) for row in printed.values()] == [[7.05, 0.23, 0.0], [95.25, 95.41, 56.73]]


def test_each_printed_number_stands_beside_ours(results):
    compared = {line.what: line for line in table1.STUDY.render(results).compared}
    assert len(compared) == 8
    line = compared["MNIST adv trained (eps=0.3): equation 4"]
    assert (line.paper, line.ours, line.note) == (56.73, pytest.approx(57.0), "")
    assert line.interval[0] < 57 < line.interval[1]
    assert compared["MNIST adv trained (eps=0.3): equation 4 within the box"].paper is None


def test_a_prediction_that_is_far_off_does_not_carry_the_claim(results):
    (claim,) = table1.STUDY.render(results).claims
    assert (claim.key, claim.mark) == ("LSQ-8", "depends")
    (claim,) = table1.STUDY.render({**results, "strong": linear(0.93, 0.95)}).claims
    assert claim.mark == "reproduced"
    (claim,) = table1.STUDY.render({**results, "strong": linear(0.93, 0.95, step=50_000)}).claims
    assert claim.mark == "not comparable"


def test_the_finding_says_up_to_which_epsilon_the_prediction_holds(results):
    first, *_ = table1.STUDY.render(results).findings
    assert "for epsilon up to 0; at 0.3 it is 38.0 points off" in first
    found = linear(0.93, 0.95)
    found["predicted"][5:] = [0.1] * 4
    first, *_ = table1.STUDY.render({"strong": found}).findings
    assert "up to 0.2;" in first
    first, *_ = table1.STUDY.render({"strong": linear(0.95, 0.95)}).findings
    assert "up to 0.4;" in first


def test_the_true_robustness_stands_beside_the_claimed(results):
    natural, strong = table1.STUDY.render(results).beside
    assert (natural.claimed, natural.ours, natural.strong) == (7.05, 1.0, 0.0)
    assert (strong.claimed, strong.ours, strong.strong, strong.schedule) == (95.25, 95.0, 88.0, "the paper's")


def test_missing_jobs_leave_their_part_out(results):
    assert table1.STUDY.render({}).compared == ()
    assert table1.STUDY.render({}).figures == {}
    for key, found in results.items():
        table1.STUDY.render({key: found})
    one = table1.STUDY.render({"natural": results["natural"]})
    assert list(one.figures) == ["a"]
    assert one.claims == ()


@pytest.mark.slow
def test_smoke(tmp_path):
    found = plan.carry_out([table1.STUDY], tmp_path, scale="smoke", report=lambda line: None)[table1.STUDY.key]
    rendering = table1.STUDY.render({key: each["result"] for key, each in found.items()})
    assert list(rendering.figures) == ["a", "b"]
    assert len(rendering.compared) == 8
    assert rendering.claims[0].mark == "not comparable"
