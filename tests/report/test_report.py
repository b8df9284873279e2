"""The headline is the per-example worst case; a report survives JSON and refuses to contradict itself."""

import dataclasses
import json

import numpy as np
import pytest

from tfadv.report.records import STATEMENT, clopper_pearson
from tfadv.report.report import Report
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


def test_the_json_says_its_schema_its_headline_and_the_statement(make_report):
    data = make_report(examples=None).to_json()
    assert (data["schema"], data["schema_version"], data["examples"]) == ("tfadv.report", 1, None)
    assert data["headline"]["robust_accuracy"] == 0.25
    assert data["headline"]["interval_method"] == "Clopper-Pearson"
    assert data["headline"]["statement"] == STATEMENT
    assert data["rows"][0]["adversarial"] == [1, 1, 0, 0]


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
    assert "| first | 50.0% | 6.8% to 93.2% | 1 | 0.2 | 160 | 1.50 s |" in report.markdown()


def test_a_bfloat16_search_is_labeled_so_and_float32_takes_no_column(make_report):
    assert make_report().table().columns[-1] == "time"
    first, second = make_report().rows
    label = "bfloat16 search, successes verified in float32"
    table = make_report(rows=(first, dataclasses.replace(second, precision=label))).table()
    assert [cells[-1] for cells in table.rows] == ["–", "float32", label, "–"]
    assert "computed in float32" not in table.caption


def test_save_writes_json_page_and_plots(make_report, tmp_path):
    make_report().save(tmp_path / "new" / "folder")
    names = {"report.json", "report.html", "attacks.png", "attacks.svg", "examples.png", "examples.svg"}
    assert {file.name for file in (tmp_path / "new" / "folder").iterdir()} == names
    data = json.loads((tmp_path / "new" / "folder" / "report.json").read_text(encoding="utf-8"))
    assert Report.from_json(data).robust_accuracy == 0.25
