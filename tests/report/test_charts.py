"""Charts and pictures keep what they are given, refuse what does not fit, and come back from JSON."""

import json

import numpy as np
import pytest

from tfadv.report.charts import KINDS, Chart, Pictures, Series, from_json


@pytest.mark.parametrize("kind", KINDS)
def test_a_chart_comes_back_from_json(kind):
    edges = (0, 1, 2) if kind == "histogram" else (0, 1)
    chart = Chart(
        "Loss along the path.",
        "step",
        "loss",
        {"PGD": Series(edges, (1, 2), (0.5, 1.5), (1.5, 2.5))},
        kind,
        {"limit": 2},
        x_names=("none", "one") if kind == "bars" else (),
    )
    assert from_json(json.loads(json.dumps(chart.to_json()))) == chart


def test_what_a_chart_writes_is_plain_json():
    chart = Chart("Bars.", "", "y", {"y": Series((0, 1), (1, 2))}, "bars", x_names=("a", "b"))
    assert json.loads(json.dumps(chart.to_json())) == chart.to_json()


def test_pictures_come_back_from_json():
    images = np.random.default_rng(0).random((3, 2, 4, 1), np.float32)
    back = from_json(json.loads(json.dumps(Pictures("Filters.", images, ("a", "b", "c"), bounds=(0, 1)).to_json())))
    np.testing.assert_array_equal(back.images, images)
    assert (back.title, back.labels, back.columns, back.bounds) == ("Filters.", ("a", "b", "c"), 8, (0, 1))


@pytest.mark.parametrize(
    ("kind", "series"),
    [
        ("pie", Series((0,), (1,))),
        ("lines", Series((0, 1), (1,))),
        ("histogram", Series((0, 1), (1, 1))),
        ("lines", Series((0, 1), (1, 2), (0, 1))),
        ("lines", Series((0, 1), (1, 2), (0,), (2,))),
        ("lines", Series((0,), (float("nan"),))),
    ],
)
def test_what_does_not_fit_is_refused(kind, series):
    with pytest.raises(ValueError):
        Chart("x", "x", "y", {"a": series}, kind)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"log_x": True}, "x must be above 0"),
        ({"x_names": ("a", "b")}, "x_names name the bars"),
        ({"x_names": ("a",), "kind": "bars"}, "x_names name the bars"),
    ],
)
def test_an_axis_that_does_not_fit_is_refused(changes, message):
    with pytest.raises(ValueError, match=message):
        Chart("x", "x", "y", {"a": Series((0, 1), (1, 2))}, **changes)


def test_a_chart_of_before_the_names_is_read():
    data = Chart("x", "x", "y", {"a": Series((0, 1), (1, 2))}).to_json()
    del data["x_names"]
    assert from_json(data).x_names == ()


def test_every_picture_needs_its_label():
    with pytest.raises(ValueError, match="m labels"):
        Pictures("Filters.", np.zeros((2, 3, 3, 1)), ("one",))
