"""The headline is the per-example worst case; a report survives JSON and refuses to contradict itself."""

import dataclasses
import json

import numpy as np
import pytest

from tfadv.report.charts import Chart, Series
from tfadv.report.records import STATEMENT, Check, Verdict, clopper_pearson
from tfadv.report.report import Report
from tfadv.report.section import Section
from tfadv.validation import UserError


def test_the_worst_case_is_the_union_over_attacks_and_not_the_lowest_accuracy(make_report):
    """Each attack alone leaves 2 of 4, but together with the clean mistake they leave 1 of 4."""
    report = make_report()
    assert [row.accuracy for row in report.rows] == [0.5, 0.5]
    assert report.robust_accuracy == 0.25
    np.testing.assert_array_equal(report.broken, [True, True, True, False])
    assert report.interval == clopper_pearson(1, 4)
    assert (report.count, report.clean_accuracy, report.clean_interval) == (4, 0.75, clopper_pearson(3, 4))


def test_the_worst_attack_is_the_one_of_lowest_accuracy_and_the_first_of_equals(make_report, make_attack):
    assert make_report().worst.name == "first"
    rows = (make_attack("weak", [1, 0, 0, 0], 0), make_attack("strong", [1, 1, 1, 0], 2))
    assert make_report(rows=rows).worst.name == "strong"


def test_without_attacks_the_worst_case_is_the_clean_accuracy_and_says_so(make_report):
    report = make_report(rows=())
    assert report.robust_accuracy == report.clean_accuracy == 0.75
    assert report.worst is None
    assert "no attack was run" in report.headline()
    assert "no attack was run" not in make_report().headline()


@pytest.mark.parametrize(("prediction", "accuracy", "interval"), [(1, 1.0, (0.025, 1.0)), (0, 0.0, (0.0, 0.975))])
def test_one_example_is_enough_and_its_interval_says_how_little_it_is(make_report, prediction, accuracy, interval):
    report = make_report(labels=[1], predictions=[prediction], rows=(), examples=None)
    assert report.robust_accuracy == accuracy
    np.testing.assert_allclose(report.interval, interval, atol=1e-12)
    assert "of 1;" in report.headline()


def test_no_example_is_refused(make_report):
    with pytest.raises(UserError, match="pass at least one example"):
        make_report(labels=[], predictions=[], rows=())


def test_a_report_comes_back_from_json(make_report):
    text = json.dumps(make_report().to_json(), allow_nan=False)
    again = Report.from_json(json.loads(text))
    assert json.dumps(again.to_json()) == text
    assert again.robust_accuracy == 0.25
    assert again.threat == make_report().threat
    assert again.checks == make_report().checks


def test_everything_that_schema_version_2_brought_comes_back_from_json(make_judged):
    chart = Chart("Loss.", "step", "loss", {"PGD": Series((0, 1), (1, 2))})
    report = make_judged(
        "overestimated",
        claimed=0.69,
        checks=(Check("steps", "failed", "1 image", "paper", "none", 1.0, 1, chart),),
        sections=(Section("Extra", "Text.", charts=(chart,)),),
        index=[7, 5, 3, 1],
        adversarial_predictions=[5, 0, 0, 2],
        image_queries=[0, 10, 20, 30],
    )
    text = json.dumps(report.to_json(), allow_nan=False)
    again = Report.from_json(json.loads(text))
    assert json.dumps(again.to_json()) == text
    assert (again.verdict, again.checks, again.sections) == (report.verdict, report.checks, report.sections)
    np.testing.assert_array_equal(again.found_by_checks, [False, False, False, True])
    np.testing.assert_array_equal(again.index, [7, 5, 3, 1])


# As version 1 wrote it, with the images left out.
VERSION_1 = """
{"schema": "tfadv.report", "schema_version": 1, "name": "small net", "dataset": "digits",
 "threat": {"norm": "linf", "epsilon": 0.2, "bounds": [0.0, 1.0], "knowledge": "white box", "goal": "untargeted"},
 "headline": {"count": 2, "clean_accuracy": 1.0, "robust_accuracy": 0.5, "interval": [0.01, 0.99]},
 "rows": [{"name": "FGSM", "accuracy": 0.5, "interval": [0.01, 0.99], "new_successes": 1, "median_distance": 0.2,
           "seconds": 0.5, "gradient_evaluations": 2, "precision": "float32", "config": {"class": "Fgm"},
           "adversarial": [1, 0], "distances": [0.2, null]}],
 "checks": [{"name": "deterministic", "passed": true, "evidence": "0", "source": "paper"},
            {"name": "iterative", "passed": false, "evidence": "1", "source": "paper"},
            {"name": "transfer", "passed": null, "evidence": "no source", "source": "paper"}],
 "versions": {"tfadv": "0.1"}, "settings": {"suite": "quick"},
 "labels": [3, 1], "predictions": [3, 1], "examples": null}
"""


def test_a_report_of_version_1_is_read_and_written_as_the_current_version():
    report = Report.from_json(json.loads(VERSION_1))
    assert [check.outcome for check in report.checks] == ["passed", "failed", "not applicable"]
    assert (report.verdict, report.sections, report.index, report.rows[0].queries) == (None, (), None, None)
    assert report.robust_accuracy == 0.5
    assert not report.found_by_checks.any()
    again = report.to_json()
    assert again["schema_version"] == 2
    assert Report.from_json(again).to_json() == again


# The verdict.


def test_an_overestimate_counts_in_what_the_checks_broke(make_judged):
    """The suite leaves 1 of 4 and a check broke it: 0 of 4 are left, and the table says where the last one went."""
    report = make_judged("overestimated", claimed=0.69)
    assert (report.robust_accuracy, report.suite_accuracy, report.claimed) == (0.0, 0.25, 0.69)
    assert report.interval == clopper_pearson(0, 4)
    names = [cells[0] for cells in report.table().rows]
    assert names == ["clean", "first", "second", "attacks of the checks", "worst case"]
    assert report.table().rows[3] == ("attacks of the checks", "–", "–", "1", "–", "–", "–", "–")
    assert report.table().rows[4][1] == "0.0%"


@pytest.mark.parametrize("word", ["trusted", "unverified"])
def test_without_an_overestimate_the_suite_has_the_last_word(make_judged, word):
    report = make_judged(word)
    assert report.robust_accuracy == report.suite_accuracy == 0.25
    assert "attacks of the checks" not in report.markdown()


def test_the_judgment_says_what_each_word_means(make_judged, make_report):
    assert make_report().judgment() == ""
    assert make_judged("trusted").judgment() == "verdict: trusted (no check failed). It is trusted because."
    assert make_judged("unverified").judgment() == "verdict: unverified. It is unverified because."
    assert "(the suite's 25.0%, left 0.0%)" in make_judged("overestimated").judgment()
    assert "(claimed 69.0%, left 0.0%)" in make_judged("overestimated", claimed=0.69).judgment()
    for word in ("trusted", "overestimated", "unverified"):
        report = make_judged(word)
        for text in (report.summary(), report.markdown(), report.latex()):
            assert f"verdict: {word}" in text
            assert STATEMENT in text


def test_a_claim_is_a_setting_or_what_the_verdict_judged_beside_the_suite(make_judged, make_report):
    assert make_report().claimed is None
    assert make_report(settings={"claimed": 0.5}).claimed == 0.5
    assert make_judged("trusted").claimed is None
    assert make_judged("trusted", claimed=0.3).claimed == 0.3
    assert make_judged("trusted", settings={"claimed": 0.25}).claimed == 0.25  # stated, though the suite says the same
    assert make_judged("trusted", claimed=0.3, settings={"claimed": None}).claimed == 0.3


def test_a_verdict_that_contradicts_the_rows_and_the_checks_is_refused(make_report):
    with pytest.raises(ValueError, match=r"worst must be the 0\.25 .* got 0\.75"):
        make_report(verdict=Verdict("trusted", "Because.", 0.75, 0.75))


def test_a_check_cannot_find_what_a_row_broke_already(make_report):
    for found in ([False, True, False, False], [True]):
        with pytest.raises(ValueError, match=r"found_by_checks must be \[n\]"):
            make_report(found_by_checks=found)


@pytest.mark.parametrize("field", ["index", "adversarial_predictions", "image_queries"])
def test_arrays_of_another_length_are_refused(make_report, field):
    with pytest.raises(ValueError, match=f"{field} must be None or hold one number for each image"):
        make_report(**{field: [1, 2]})


@pytest.mark.parametrize("after", [[5, 1, 0, 1], [5, 0, 0, 3]])
def test_predictions_after_the_attacks_that_contradict_the_rows_are_refused(make_report, after):
    """Image 1 is broken but keeps its label 1; image 3 is not broken but changes from 1 to 3."""
    make_report(adversarial_predictions=[5, 0, 0, 1])
    with pytest.raises(ValueError, match=r"adversarial_predictions must differ from the label.*; 1 do not"):
        make_report(adversarial_predictions=after)


def test_the_json_says_its_schema_its_headline_and_the_statement(make_report):
    data = make_report(examples=None).to_json()
    assert (data["schema"], data["schema_version"], data["examples"]) == ("tfadv.report", 2, None)
    assert data["headline"]["robust_accuracy"] == 0.25
    assert data["headline"]["interval_method"] == "Clopper-Pearson"
    assert data["headline"]["statement"] == STATEMENT
    assert data["rows"][0]["adversarial"] == [1, 1, 0, 0]


@pytest.mark.parametrize("rows", [None, 5, {"a": 1}, ["text"]])
def test_a_json_with_something_else_in_the_place_of_the_rows_is_refused(make_report, rows):
    with pytest.raises(UserError, match="damaged"):
        Report.from_json({**make_report().to_json(), "rows": rows})


@pytest.mark.parametrize("part", ["labels", "rows", "threat", "examples"])
def test_a_json_that_lacks_a_part_is_refused_by_its_name(make_report, part):
    data = make_report().to_json()
    del data[part]
    with pytest.raises(UserError, match=f"damaged.*{part}"):
        Report.from_json(data)


def test_a_json_with_damaged_images_is_refused(make_report):
    data = make_report().to_json()
    data["examples"]["clean"]["float32_zlib_base64"] = "AAAA"
    with pytest.raises(UserError, match="damaged"):
        Report.from_json(data)


def test_a_wrong_count_of_new_successes_is_refused(make_report):
    first, second = make_report().rows
    with pytest.raises(ValueError, match=r"must be the 1 examples.*got 2"):
        make_report(rows=(first, dataclasses.replace(second, new_successes=2)))


def test_an_attack_that_forgets_the_clean_mistakes_is_refused(make_report, make_attack):
    with pytest.raises(ValueError, match="misclassified; 'forgetful' says otherwise for 1 examples"):
        make_report(rows=(make_attack("forgetful", [0, 1, 0, 0], 1),))


def test_attacks_of_one_name_or_of_another_length_are_refused(make_report, make_attack):
    with pytest.raises(ValueError, match="must differ"):
        make_report(rows=(make_attack("a", [1, 0, 0, 0], 0), make_attack("a", [1, 0, 0, 0], 0)))
    with pytest.raises(ValueError, match="must report on 4 examples, got 2"):
        make_report(rows=(make_attack("short", [1, 1], 1),))


def test_summary_and_markdown_print_every_attack_and_the_statement(make_report):
    report = make_report()
    for text in (report.summary(), report.markdown()):
        assert STATEMENT in text
        assert "worst-case accuracy 25.0% (1 of 4; 95% interval 0.6% to 80.6%), clean 75.0%" in text
        assert "linf, epsilon 0.2, pixels in [0, 1], white box, untargeted" in text
        for name in ("clean", "first", "second", "worst case"):
            assert name in text
    assert "| first | 50.0% | 6.8% to 93.2% | 1 | 0.2 | 160 | – | 1.50 s |" in report.markdown()


def test_queries_stand_beside_the_gradients(make_report, make_attack):
    report = make_report(rows=(make_attack("Square", [1, 1, 0, 0], 1, gradient_evaluations=0, queries=20_000),))
    columns = report.table().columns
    assert columns[5:7] == ("gradients", "queries")
    assert report.table().rows[1][5:7] == ("0", "20,000")


def test_markdown_escapes_a_name_also_outside_the_table(make_report):
    assert make_report(name="<b>|*").markdown().startswith("&lt;b>\\|\\* on 4 images")


def test_latex_holds_the_table_and_the_statement(make_report):
    text = make_report(name="a_b").latex()
    assert "a\\_b on 4 images of digits" in text
    assert "first & 50.0\\% & 6.8\\% to 93.2\\% & 1 & 0.2 & 160 & -- & 1.50 s" in text
    assert STATEMENT in text


def test_a_bfloat16_search_is_labeled_so_and_float32_takes_no_column(make_report):
    assert make_report().table().columns[-1] == "time"
    first, second = make_report().rows
    label = "bfloat16 search, successes verified in float32"
    table = make_report(rows=(first, dataclasses.replace(second, precision=label))).table()
    assert [cells[-1] for cells in table.rows] == ["–", "float32", label, "–"]
    assert "computed in float32" not in table.caption
    rows = [dataclasses.replace(row, precision=label) for row in (first, second)]
    table = make_report(rows=rows).table()
    assert table.columns[-1] == "time"
    assert table.caption.endswith(f"Precision: {label}.")
