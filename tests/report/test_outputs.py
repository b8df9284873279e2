"""What other programs read: a row for each image, RobustBench's fields, AutoAttack's log, the images themselves."""

import dataclasses
import io
import json
import re

import numpy as np
import pyarrow.parquet
import pytest

from tfadv.report import outputs
from tfadv.report.records import STATEMENT, ThreatModel
from tfadv.report.tables import percent
from tfadv.validation import UserError


def images(report):
    return pyarrow.parquet.read_table(io.BytesIO(outputs.images_parquet(report)))


def test_each_image_has_its_row(make_report):
    """Image 0 is misclassified clean, "first" breaks 1, "second" breaks 2, nothing breaks 3."""
    table = images(make_report())
    assert table.to_pydict() == {
        "index": [0, 1, 2, 3],
        "label": [3, 1, 4, 1],
        "prediction": [5, 1, 4, 1],
        "clean_correct": [False, True, True, True],
        "robust": [False, False, False, True],
        "distance": [None, pytest.approx(0.2), pytest.approx(0.2), None],
        "breaking_attack": [None, "first", "second", None],
    }
    metadata = table.schema.metadata
    assert metadata[b"name"] == b"small net"
    assert metadata[b"threat"] == b"linf, epsilon 0.2, pixels in [0, 1], white box, untargeted"


def test_the_breaking_attack_is_the_first_of_those_that_broke_the_image(make_report, make_attack):
    rows = (make_attack("a", [1, 1, 0, 0], 1), make_attack("b", [1, 1, 1, 0], 1), make_attack("c", [1, 1, 1, 0], 0))
    assert outputs.breaking_attacks(make_report(rows=rows)) == [None, "a", "b", None]


def test_what_the_report_knows_further_has_a_column(make_report):
    report = make_report(index=[9, 7, 5, 3], adversarial_predictions=[5, 0, 0, 1], image_queries=[0, 10, 20, 30])
    table = images(report).to_pydict()
    assert table["index"] == [9, 7, 5, 3]
    assert table["adversarial_prediction"] == [5, 0, 0, 1]
    assert table["queries"] == [0, 10, 20, 30]


def test_robust_is_what_the_headline_counts(make_judged):
    """An overestimate counts in what a check broke, whose distance nobody kept; any other verdict does not."""
    judged = images(make_judged("overestimated")).to_pydict()
    assert judged["robust"] == [False] * 4
    assert (judged["breaking_attack"][3], judged["distance"][3]) == ("attacks of the checks", None)
    few = make_judged("trusted", found_by_checks=[False, False, False, True], verdict=None)
    assert images(few).to_pydict()["robust"] == [False, False, False, True]
    assert outputs.breaking_attacks(few)[3] is None


def test_one_image_and_no_attack_are_enough(make_report):
    report = make_report(labels=[1], predictions=[1], rows=(), examples=None)
    assert images(report).to_pydict()["robust"] == [True]


def test_the_images_after_the_attacks_come_with_what_is_known_of_each(make_report):
    x_adv = np.random.default_rng(0).random((4, 2, 2, 1))
    with np.load(io.BytesIO(outputs.adversarial_npz(make_report(index=[9, 7, 5, 3]), x_adv))) as stored:
        assert stored["x_adv"].dtype == np.float32
        np.testing.assert_allclose(stored["x_adv"], x_adv, atol=1e-7)
        assert stored["y"].tolist() == [3, 1, 4, 1]
        assert stored["index"].tolist() == [9, 7, 5, 3]
        assert stored["robust"].tolist() == [False, False, False, True]


@pytest.mark.parametrize("shape", [(3, 2, 2, 1), (4,), ()])
def test_another_number_of_images_is_refused(make_report, shape):
    with pytest.raises(UserError, match="adversarial must hold one image for each of the 4"):
        outputs.adversarial_npz(make_report(), np.zeros(shape))


@pytest.fixture
def autoattack(make_report, make_attack):
    """A report of AutoAttack's standard version: initial 75%, then 50%, 50%, 25%, 25%."""
    rows = (
        make_attack("APGD-CE", [1, 1, 0, 0], 1, seconds=1.0),
        make_attack("APGD-T", [1, 1, 0, 0], 0, seconds=2.0),
        make_attack("FAB-T", [1, 1, 1, 0], 1, seconds=3.0),
        make_attack("Square, 5,000 queries", [1, 1, 1, 0], 0, seconds=4.0),
    )
    return make_report(rows=rows, settings={"suite": "standard"})


# The fields that RobustBench's own files have (model_info/cifar10/Linf/Xiao2020Enhancing.json has them all).
ROBUSTBENCH = {
    "link": str,
    "name": str,
    "authors": str,
    "additional_data": bool,
    "number_forward_passes": int,
    "dataset": str,
    "venue": str,
    "architecture": str,
    "eps": str,
    "clean_acc": str,
    "reported": str,
    "footnote": str,
    "autoattack_acc": str,
    "external": str,
    "unreliable": bool,
}


def test_robustbench_finds_its_fields_with_accuracies_in_percent(autoattack):
    fields = outputs.robustbench(autoattack)
    assert (fields["clean_acc"], fields["autoattack_acc"], fields["reported"]) == ("75.00", "25.00", "25.00")
    assert (fields["eps"], fields["dataset"], fields["name"]) == ("0.2", "digits", "small net")
    assert "external" not in fields
    assert "unreliable" not in fields
    for name, value in fields.items():
        assert value is None or isinstance(value, ROBUSTBENCH[name])
    assert STATEMENT in fields["footnote"]
    assert json.loads(json.dumps(fields)) == fields


def test_epsilon_is_written_as_robustbench_writes_it(autoattack):
    report = dataclasses.replace(autoattack, threat=ThreatModel("linf", 8 / 255))
    assert outputs.robustbench(report)["eps"] == "8/255"


@pytest.mark.parametrize(
    "change",
    [{"settings": {"suite": "gradient"}}, {"settings": {}}, {"settings": {"suite": [{"class": "Pgd"}]}}, {"rows": ()}],
)
def test_only_autoattack_bears_its_name(autoattack, change):
    fields = outputs.robustbench(dataclasses.replace(autoattack, **change))
    assert "autoattack_acc" not in fields
    assert fields["external"] == ("75.00" if "rows" in change else "25.00")
    assert "not AutoAttack" in fields["footnote"]


def test_a_bfloat16_search_does_not_bear_its_name_either(autoattack):
    first, *rest = autoattack.rows
    label = "bfloat16 search, successes verified in float32"
    report = dataclasses.replace(autoattack, rows=(dataclasses.replace(first, precision=label), *rest))
    assert not outputs.is_autoattack(report)
    assert "autoattack_acc" not in outputs.robustbench(report)
    assert outputs.autoattack_log(report).startswith("using standard (bfloat16) version including apgd-ce, ")


def test_transfer_is_no_part_of_autoattack_but_of_the_worst_case(autoattack, make_attack):
    transfer = make_attack("transfer from twin, APGD-CE", [1, 0, 0, 1], 1, config={"source": "twin"})
    report = dataclasses.replace(autoattack, rows=(*autoattack.rows, transfer))
    fields = outputs.robustbench(report)
    assert (fields["autoattack_acc"], fields["external"]) == ("25.00", "0.00")
    assert "robust accuracy after TRANSFER FROM TWIN, APGD-CE: 0.00%" in outputs.autoattack_log(report)


@pytest.mark.parametrize(("word", "unreliable"), [("trusted", False), ("unverified", True), ("overestimated", True)])
def test_the_verdict_becomes_the_flag_and_a_claim_the_reported_number(autoattack, make_judged, word, unreliable):
    report = make_judged(word, claimed=0.69, rows=autoattack.rows, settings={"suite": "standard"})
    fields = outputs.robustbench(report)
    assert fields["unreliable"] is unreliable
    assert fields["reported"] == "69.00"
    assert fields.get("external") == ("0.00" if word == "overestimated" else None)
    assert f"verdict: {word}" in fields["footnote"]
    assert f"It is {word} because." in outputs.autoattack_log(report)


def test_the_log_has_the_lines_of_autoattack(autoattack):
    assert outputs.autoattack_log(autoattack).splitlines() == [
        "using standard version including apgd-ce, apgd-t, fab-t, square.",
        "initial accuracy: 75.00%",
        "apgd-ce - 1/1 - 1 out of 3 successfully perturbed",
        "robust accuracy after APGD-CE: 50.00% (total time 1.0 s)",
        "apgd-t - 1/1 - 0 out of 2 successfully perturbed",
        "robust accuracy after APGD-T: 50.00% (total time 3.0 s)",
        "fab-t - 1/1 - 1 out of 2 successfully perturbed",
        "robust accuracy after FAB-T: 25.00% (total time 6.0 s)",
        "square - 1/1 - 0 out of 1 successfully perturbed",
        "robust accuracy after SQUARE: 25.00% (total time 10.0 s)",
        "max Linf perturbation: 0.20000",
        "robust accuracy: 25.00%",
        f"statement: {STATEMENT}",
    ]


def test_the_log_counts_the_attacks_before_in_also_where_each_ran_on_everything(make_report):
    """Each attack alone leaves 50%, together 25%."""
    log = outputs.autoattack_log(make_report())
    assert re.findall(r"robust accuracy after (\S+): ([\d.]+)%", log) == [("FIRST", "50.00"), ("SECOND", "25.00")]
    assert log.startswith("using custom version including first, second.\n")


def test_the_log_says_of_the_images_what_it_is_given(autoattack):
    x_adv = np.full((4, 2, 2, 1), 0.25, np.float32)
    x_adv[0, 0, 0, 0] = 1
    line = "max Linf perturbation: 0.20000, nan in tensor: 0, max: 1.00000, min: 0.25000"
    assert line in outputs.autoattack_log(autoattack, x_adv).splitlines()


def test_a_report_without_attacks_has_a_log(make_report):
    assert "robust accuracy: 75.00%" in outputs.autoattack_log(make_report(rows=()))


def test_the_percentages_of_the_log_and_of_the_page_agree(autoattack):
    assert percent(autoattack.robust_accuracy, 10_000) in outputs.autoattack_log(autoattack)
