"""Reports side by side: found, told apart, ranked only against their like, and beside what was claimed of them."""

import dataclasses
import json

import pytest

from tfadv.report import compare
from tfadv.report.charts import from_json
from tfadv.report.collection import Collection
from tfadv.report.records import STATEMENT, ThreatModel
from tfadv.report.saving import json_text
from tfadv.validation import UserError


@pytest.fixture
def write(tmp_path):
    """Writes the report.json of something into a folder, and returns the folder."""

    def write_json(name, subject):
        (tmp_path / name).mkdir()
        (tmp_path / name / "report.json").write_text(json_text(subject.to_json()), encoding="utf-8")
        return tmp_path / name

    return write_json


def cells(collection, column):
    table = collection.opening.table
    return [row[table.columns.index(column)] for row in table.rows]


@pytest.fixture
def three(make_report, make_judged, make_attack):
    """Worst cases 25%, 0% (overestimated) and 75%."""
    weak = make_report(name="weak", rows=(make_attack("third", [1, 0, 0, 0], 0),))
    return (make_report(name="plain"), make_judged("overestimated", claimed=0.69, name="claimed"), weak)


# Reading.


def test_folders_files_and_collections_are_read(make_report, write):
    folder = write("one", make_report(name="a"))
    both = write("both", Collection("Two", (make_report(name="b"), make_report(name="c"))))
    reports = compare.load([folder, both / "report.json"])
    assert [report.name for report in reports] == ["a", "b", "c"]
    assert reports[0].to_json() == make_report(name="a").to_json()


def test_reports_of_one_name_are_told_apart_by_their_path(make_report, write):
    paths = [write("first", make_report()), write("second", make_report())]
    assert [report.name for report in compare.load(paths)] == [f"small net ({path})" for path in paths]
    with pytest.raises(UserError, match="one of them twice"):
        compare.load([paths[0], paths[0]])


def test_what_cannot_be_read_is_named(make_report, write, tmp_path):
    (tmp_path / "text.json").write_text("no report")
    (tmp_path / "other.json").write_text(json.dumps({"schema": "other"}))
    damaged = write("damaged", make_report())
    data = json.loads((damaged / "report.json").read_text())
    del data["rows"]
    (damaged / "report.json").write_text(json.dumps(data))
    for path, message in (
        ("missing", "no report at .*missing .*; name a folder"),
        ("text.json", "text.json is not JSON"),
        ("other.json", "other.json: expected a JSON object with schema"),
        ("damaged", "report.json: the report is damaged.*rows"),
    ):
        with pytest.raises(UserError, match=message):
            compare.load([tmp_path / path])
    with pytest.raises(UserError, match="one or more folders"):
        compare.load([])


# The paper's attack.


def test_the_papers_attack_is_the_row_of_that_name_or_the_weakest_white_box_row(make_report, make_attack):
    rows = (
        make_attack("FGSM", [1, 1, 0, 0], 1),
        make_attack("PGD", [1, 1, 1, 0], 1),
        make_attack("Square", [1, 0, 0, 0], 0, gradient_evaluations=0),
        make_attack("transfer", [1, 0, 0, 0], 0, config={"source": "twin"}),
    )
    report = make_report(rows=rows)
    assert compare.papers_attack(report).name == "FGSM"
    assert compare.papers_attack(report, "PGD").name == "PGD"
    assert compare.papers_attack(report, "none") is None
    assert compare.papers_attack(make_report(rows=rows[2:])) is None


# Ranking.


def test_the_leaderboard_is_sorted_by_the_worst_case(three):
    board = compare.leaderboard(three)
    assert cells(board, "model") == ["weak", "plain", "claimed"]
    assert cells(board, "rank") == ["1", "2", "3"]
    assert cells(board, "worst case") == ["75.0%", "25.0%", "0.0%"]
    assert cells(board, "claimed") == ["–", "–", "69.0%"]
    assert cells(board, "verdict") == ["–", "–", "overestimated"]
    assert cells(board, "under its weakest white-box attack") == ["75.0% (third)", "50.0% (first)", "50.0% (first)"]
    assert "setting" not in board.opening.table.columns
    assert [report.name for report in board.reports] == ["weak", "plain", "claimed"]


def test_equal_worst_cases_share_their_rank(make_report):
    board = compare.leaderboard([make_report(name=name) for name in "abc"])
    assert cells(board, "rank") == ["1", "1", "1"]


def test_a_named_attack_has_a_column_and_a_gap_where_a_report_lacks_it(three):
    board = compare.leaderboard(three, attack="second")
    assert cells(board, "under second") == ["–", "50.0%", "50.0%"]
    with pytest.raises(UserError, match=r"attack must be a row of a report, one of \['first', 'second', 'third'\]"):
        compare.leaderboard(three, attack="fourth")


def test_a_claim_given_goes_before_a_reports_own_and_is_kept(three):
    board = compare.leaderboard(three, claimed={"weak": 0.9, "claimed": 0.8})
    assert cells(board, "claimed") == ["90.0%", "–", "80.0%"]
    assert [report.settings.get("claimed") for report in board.reports] == [0.9, None, 0.8]


@pytest.mark.parametrize(
    ("claimed", "message"),
    [
        ({"nobody": 0.5}, r"claimed must name one of the models \['plain', 'claimed', 'weak'\], got 'nobody'"),
        ({"weak": 69.0}, "write 0.69 for 69%"),
        ({"weak": float("nan")}, "must be a fraction"),
    ],
)
def test_a_claim_of_nobody_or_that_is_no_fraction_is_refused(three, claimed, message):
    with pytest.raises(UserError, match=message):
        compare.leaderboard(three, claimed=claimed)


@pytest.mark.parametrize("change", [{"threat": ThreatModel("l2", 0.2)}, {"dataset": "mnist"}])
def test_other_threats_and_data_are_ranked_apart_and_the_table_says_so(three, change):
    """Two settings: the other one begins at rank 1 again, although its worst case lies between the others."""
    other = dataclasses.replace(three[0], name="other", **change)
    board = compare.leaderboard([*three, other])
    assert cells(board, "model") == ["weak", "plain", "claimed", "other"]
    assert cells(board, "rank") == ["1", "2", "3", "1"]
    assert len(set(cells(board, "setting"))) == 2
    assert "Not one ranking but 2" in board.opening.table.caption
    assert "Not one ranking but 2" in board.markdown()


def test_other_suites_are_pointed_out(three):
    other = dataclasses.replace(three[0], name="other", settings={"suite": "standard"})
    board = compare.leaderboard([*three, other])
    assert "The suites differ too" in board.opening.table.caption
    assert set(cells(board, "suite")) == {"–", "standard"}
    assert "suites" not in compare.leaderboard(three).opening.table.caption
    custom = dataclasses.replace(other, settings={"suite": [{"class": "Pgd"}]})
    assert cells(compare.leaderboard([custom]), "suite") == ["custom"]


def test_the_chart_shows_the_claim_the_papers_attack_and_the_worst_case(three):
    (chart,) = compare.leaderboard(three).opening.charts
    assert chart.x_names == ("weak", "plain", "claimed")
    assert chart.series["claimed"].y == (0.69,)
    assert chart.series["claimed"].x == (2,)
    assert chart.series["worst case"].y == (0.75, 0.25, 0.0)
    assert chart.series["under its weakest white-box attack"].y == (0.75, 0.5, 0.5)
    assert from_json(chart.to_json()) == chart


def test_many_models_have_the_table_alone_and_no_attack_is_no_obstacle(make_report):
    reports = [make_report(name=f"net {index}", rows=()) for index in range(9)]
    board = compare.leaderboard(reports)
    assert board.opening.charts == ()
    assert cells(board, "under its weakest white-box attack") == ["–"] * 9
    (chart,) = compare.leaderboard(reports[:2]).opening.charts
    assert set(chart.series) == {"worst case"}


@pytest.mark.usefixtures("unrendered")
def test_it_is_saved_as_page_and_markdown_that_open_with_the_leaderboard(three, tmp_path):
    board = compare.leaderboard(three, title="Nets")
    board.save(tmp_path)
    markdown = (tmp_path / "table.md").read_text(encoding="utf-8")
    assert markdown.startswith("Ranked by the worst case: 4 images of digits, linf, epsilon 0.2")
    assert "| weak | 1 | – |" in markdown
    assert STATEMENT in markdown
    page = (tmp_path / "report.html").read_text(encoding="utf-8")
    assert page.index("Claimed, and left") < page.index("Models compared")
    again = Collection.from_json(json.loads((tmp_path / "report.json").read_text(encoding="utf-8")))
    assert again.to_json() == board.to_json()
