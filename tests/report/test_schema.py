"""docs/report_schema.md names every field of the saved files, and none that is not there."""

import io
import json
import re
from pathlib import Path

import numpy as np
import pyarrow.parquet
import pytest

from tfadv.report import outputs
from tfadv.report.charts import Chart, Pictures, Series
from tfadv.report.collection import Collection
from tfadv.report.records import Check, Verdict
from tfadv.report.report import SCHEMA_VERSION
from tfadv.report.saving import files, json_text
from tfadv.report.section import Curve, Section
from tfadv.report.tables import Table

PAGE = (Path(__file__).resolve().parents[2] / "docs" / "report_schema.md").read_text(encoding="utf-8")
# Objects whose keys are the user's.
FREE = ("rows[].config", "versions", "settings", "section.curves", "chart.series", "chart.rules")
# Where a part that has a table of its own stands.
PARTS = {
    "checks[].chart": "chart",
    "section.charts[]": "chart",
    "sections[]": "section",
    "collection.sections[]": "section",
    "collection.opening": "section",
    "section.table": "table",
    "collection.table": "table",
    "collection.reports[]": "",
    "examples.clean": "images",
    "examples.adversarial": "images",
    "pictures.images": "images",
}


def documented(heading=""):
    """First cells of the tables below `heading`, or of all tables but those of files and columns."""
    page = PAGE.split(f"## {heading}\n")[1].split("\n## ")[0] if heading else PAGE
    lines = re.findall(r"^\| `([^`]+)` \|", page, re.MULTILINE)
    return set(lines)


def fields(value, path):
    """Every field below `path` as it is documented."""
    path = PARTS.get(path, path)
    if path == "chart" and isinstance(value, dict) and value["chart"] == "pictures":
        path = "pictures"
    if isinstance(value, list):
        return {name for item in value for name in fields(item, f"{path}[]")}
    if not isinstance(value, dict):
        return set()
    found = set()
    for key, item in value.items():
        below = f"{path}.{'*' if path in FREE else key}".lstrip(".")
        found |= {below} | fields(item, below)
    return found


@pytest.fixture
def full_report(make_report):
    """A report in which every field and every kind of part is present."""
    chart = Chart("Title.", "x", "y", {"a": Series((0, 1), (1, 2), (0, 1), (2, 3))}, rules={"limit": 1})
    section = Section(
        "Extra",
        "Text.",
        Table(("a", "b"), (("1", "2"),)),
        {"net": Curve((1,), (1,), (1,), (1,))},
        charts=(chart, Pictures("Filters.", np.zeros((1, 2, 2, 1)), ("one",))),
    )
    return make_report(
        checks=(Check("name", "failed", "evidence", "source", chart=chart),),
        verdict=Verdict("unverified", "Because.", 0.25, 0.25),
        sections=(section,),
        index=[4, 5, 6, 7],
        adversarial_predictions=[5, 0, 0, 1],
        image_queries=[1, 2, 3, 4],
    )


def saved(subject):
    return json.loads(json_text(subject.to_json()))


def test_every_field_of_a_report_and_of_a_collection_is_documented_and_no_other(full_report):
    collection = Collection("Title", (full_report,), full_report.sections, opening=full_report.sections[0])
    found = fields(saved(full_report), "") | fields(saved(collection), "collection")
    tables = ("A report", "The parts that occur in several places", "A collection")
    assert found == set.union(*map(documented, tables))


def test_a_field_that_is_not_documented_is_noticed(full_report):
    data = saved(full_report)
    data["rows"][0]["surplus"] = 1
    assert fields(data, "") - documented() == {"rows[].surplus"}


def test_every_column_of_the_images_is_documented(full_report):
    table = pyarrow.parquet.read_table(io.BytesIO(outputs.images_parquet(full_report)))
    assert set(table.column_names) == documented("images.parquet")


@pytest.mark.usefixtures("unrendered")
def test_every_file_is_documented(full_report):
    stems = {re.sub(r"\d+", lambda number: "N", name) for name in files(full_report, np.zeros((4, 2)))}
    stems = {re.sub(r"\.(png|svg)$", "", name).replace("charts-N-N", "charts-N-M") for name in stems}
    listed = PAGE.split("\n## ")[0]
    assert [name for name in stems if f"`{name}`" not in listed] == []


def test_the_history_ends_with_the_version_that_is_written():
    versions = [int(number) for number in re.findall(r"^\| (\d+) \|", PAGE.split("## History")[1], re.MULTILINE)]
    assert versions == list(range(SCHEMA_VERSION, 0, -1))
    assert f"| `schema_version` | integer | {SCHEMA_VERSION};" in PAGE
