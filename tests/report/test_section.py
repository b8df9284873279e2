"""A section keeps what it is given, refuses what does not fit, and comes back from JSON."""

import json

import numpy as np
import pytest

from tfadv.report.charts import Chart, Pictures, Series
from tfadv.report.section import Curve, Section
from tfadv.report.tables import Table

CHART = Chart("Loss.", "step", "loss", {"PGD": Series((0, 1), (1, 2))}, rules={"limit": 2})


def test_a_section_comes_back_from_json():
    section = Section(
        "Training",
        ("One.", "Two."),
        Table(("a", "b"), (("1", "2"),)),
        {"PGD": Curve((100, 200), (0.25, 0.5), (0.2, 0.45), (0.3, 0.55))},
        "epsilon",
        (CHART,),
    )
    assert Section.from_json(json.loads(json.dumps(section.to_json()))) == section


def test_pictures_come_back_too():
    images = np.random.default_rng(0).random((2, 3, 3, 1), np.float32)
    section = Section("Filters", charts=[Pictures("Filters.", images, ("a", "b")), CHART])
    pictures, chart = Section.from_json(json.loads(json.dumps(section.to_json()))).charts
    np.testing.assert_array_equal(pictures.images, images)
    assert chart == CHART


def test_a_section_of_schema_version_1_has_no_charts():
    data = Section("Old", "Text.").to_json()
    del data["charts"]
    assert Section.from_json(data) == Section("Old", "Text.")


def test_the_curves_are_one_chart_with_their_intervals():
    curve = Curve((100, 200), (0.25, 0.5), (0.2, 0.45), (0.3, 0.55))
    chart = Section("x", curves={"PGD": curve}).curve_chart()
    assert chart.series == {"PGD": Series(*curve)}
    assert (chart.x_label, chart.percent, chart.kind) == ("training steps", True, "lines")
    assert Section("x", curves={"PGD": curve}, axis="epsilon").curve_chart().x_label == "epsilon (image units)"


def test_one_text_is_one_paragraph():
    assert Section("x", "Text.").text == ("Text.",)


def test_a_curve_becomes_numbers_that_json_can_hold():
    section = Section("x", curves={"a": Curve(np.array([1, 2]), *np.ones((3, 2), np.float32))})
    assert section.curves["a"] == Curve((1.0, 2.0), (1.0, 1.0), (1.0, 1.0), (1.0, 1.0))
    assert json.loads(json.dumps(section.to_json()))["curves"]["a"]["x"] == [1, 2]


def test_a_ragged_curve_and_an_unknown_axis_are_refused():
    with pytest.raises(ValueError, match="curve 'a' must have one length"):
        Section("x", curves={"a": Curve((1, 2), (0.5,), (0.4,), (0.6,))})
    with pytest.raises(ValueError, match="axis must be"):
        Section("x", axis="time")
