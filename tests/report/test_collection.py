"""Several reports in one table, with free sections beside them."""

import dataclasses
import json

import pytest

from tfadv.report.collection import Collection
from tfadv.report.records import STATEMENT, ThreatModel
from tfadv.report.section import Curve, Section
from tfadv.report.tables import Table
from tfadv.validation import UserError

CURVES = {"PGD": Curve((100, 200), (0.25, 0.5), (0.2, 0.45), (0.3, 0.55))}


@pytest.fixture
def collection(make_report, make_attack):
    other = make_report(name="other net", rows=(make_attack("third", [1, 0, 0, 0], 0),))
    sections = (
        Section("Cross-check", "One paragraph.", Table(("pair", "agree"), (("PGD", "4 of 4"),))),
        Section("Training", curves=CURVES),
    )
    return Collection("All models", (make_report(), other), sections, "Two nets.")


def test_one_table_holds_every_model_under_every_attack(collection):
    table = collection.table()
    assert table.columns == ("model", "worst case", "95% interval", "clean", "first", "second", "third")
    assert table.rows == (
        ("small net", "25.0%", "0.6% to 80.6%", "75.0%", "50.0%", "50.0%", "–"),
        ("other net", "75.0%", "19.4% to 99.4%", "75.0%", "–", "–", "75.0%"),
    )
    assert "4 images of digits, linf, epsilon 0.2" in table.caption


def test_models_under_different_threats_say_so_in_their_rows(make_report):
    mixed = Collection("Mixed", (make_report(), make_report(name="other", threat=ThreatModel("l2", 1.0))))
    assert mixed.table().columns[-1] == "setting"
    assert ["linf" in mixed.table().rows[0][-1], "l2, epsilon 1" in mixed.table().rows[1][-1]] == [True, True]


def test_the_statement_is_always_printed(collection):
    assert STATEMENT in collection.summary()
    assert STATEMENT in collection.markdown()
    assert STATEMENT in collection.to_json()["statement"]


def test_the_terminal_summary_holds_the_tables_of_the_sections(collection):
    assert "Cross-check\n\npair   agree\nPGD   4 of 4\n" in collection.summary()


def test_a_collection_comes_back_from_json(collection):
    text = json.dumps(collection.to_json(), allow_nan=False)
    again = Collection.from_json(json.loads(text))
    assert json.dumps(again.to_json()) == text
    assert again.sections == collection.sections


def test_a_damaged_collection_is_refused(collection):
    data = collection.to_json()
    del data["sections"]
    with pytest.raises(UserError, match="sections"):
        Collection.from_json(data)
    with pytest.raises(UserError, match=r"tfadv\.collection"):
        Collection.from_json(collection.reports[0].to_json())


def test_no_report_and_two_of_one_name_are_refused(make_report):
    for reports in ((), (make_report(), make_report())):
        with pytest.raises(UserError, match="distinct names"):
            Collection("x", reports)


def test_a_verdict_has_a_column_where_any_report_has_one(make_report, make_judged):
    reports = (make_report(), make_judged("overestimated", name="judged"))
    assert "verdict" not in Collection("x", reports[:1]).table().columns
    table = Collection("x", reports).table()
    assert table.columns[:5] == ("model", "worst case", "95% interval", "verdict", "clean")
    assert [row[3] for row in table.rows] == ["–", "overestimated"]
    assert [row[1] for row in table.rows] == ["25.0%", "0.0%"]


def test_an_opening_comes_first_and_back_from_json(collection):
    opening = Section("Ranks", table=Table(("model", "rank"), (("small net", "1"),), "Ranked by *."))
    opened = dataclasses.replace(collection, opening=opening)
    for text in (opened.summary(), opened.markdown(), opened.latex()):
        assert text.index("Ranked") < text.index("Accuracy of each model")
        assert STATEMENT in text
    assert "Ranked by \\*." in opened.markdown()
    assert Collection.from_json(json.loads(json.dumps(opened.to_json()))).opening == opening
    assert collection.opening is None


def test_a_collection_of_before_the_opening_is_read(collection):
    data = collection.to_json()
    del data["opening"]
    assert Collection.from_json(data).to_json() == collection.to_json()


def test_save_writes_one_page_and_the_plots_of_every_model_and_curve(collection, tmp_path):
    collection.save(tmp_path)
    plots = ("attacks", "examples-1", "examples-2", "curves-2")
    texts = {"report.json", "report.html", "table.md", "table.tex"}
    expected = {*texts, *(f"{name}.{kind}" for name in plots for kind in ("png", "svg"))}
    assert {file.name for file in tmp_path.iterdir()} == expected
    page = (tmp_path / "report.html").read_text(encoding="utf-8")
    for text in (
        "All models",
        "Two nets.",
        "small net",
        "other net",
        "Cross-check",
        "One paragraph.",
        "4 of 4",
        STATEMENT,
    ):
        assert text in page
