"""A chart's figure holds its numbers in every kind, and its text alternative says those that matter."""

import dataclasses

import numpy as np
import pytest

from tfadv.report import chart_figures, themes
from tfadv.report.charts import KINDS, Chart, Pictures, Series
from tfadv.report.themes import NARROW, PAPER, WIDE

X, Y, LOW, HIGH = (0.0, 0.1, 0.3), (0.9, 0.5, 0.1), (0.8, 0.4, 0.05), (0.95, 0.6, 0.2)
LINES = Chart("Accuracy.", "epsilon (linf)", "accuracy", {"PGD": Series(X, Y, LOW, HIGH)}, percent=True)


def drawn(chart, width=WIDE):
    return chart_figures.draw(chart, width=width).axes[0]


def texts(axes):
    return [text.get_text() for text in axes.texts]


def ticks(axis):
    return [axis.get_major_formatter()(value) for value in axis.get_majorticklocs()]


def test_lines_have_markers_a_band_and_the_axes_of_the_chart():
    axes = drawn(LINES)
    np.testing.assert_allclose(axes.lines[0].get_xydata(), list(zip(X, Y, strict=True)))
    assert axes.lines[0].get_marker() == "o"
    band = axes.collections[0].get_paths()[0].vertices
    assert (band[:, 1].min(), band[:, 1].max()) == (0.05, 0.95)
    assert (axes.get_xlabel(), axes.get_ylabel()) == ("epsilon (linf)", "accuracy")
    assert [text.get_text() for text in axes.figure.legends[0].get_texts()] == ["PGD"]


def test_seven_lines_have_the_colors_markers_and_dashes_of_seven_series():
    axes = drawn(dataclasses.replace(LINES, series={f"net {index}": Series(X, Y) for index in range(7)}))
    styles = [themes.series_style(index, PAPER) for index in range(7)]
    assert [(line.get_color(), line.get_marker()) for line in axes.lines] == [
        (style["color"], style["marker"]) for style in styles
    ]
    svg = themes.to_svg(axes.figure).decode()
    assert svg.count("stroke-dasharray") >= 6  # all but the first, which is solid


def test_a_long_line_gets_few_markers():
    steps = tuple(range(1000))
    axes = drawn(Chart("Loss.", "step", "loss", {"PGD": Series(steps, steps)}))
    assert axes.lines[0].get_markevery() == 100


def test_points_are_not_joined_and_carry_their_intervals():
    axes = drawn(dataclasses.replace(LINES, kind="points"))
    assert len(axes.lines) == 0
    scatter = axes.collections[-1]
    np.testing.assert_allclose(scatter.get_offsets(), list(zip(X, Y, strict=True)))
    interval = axes.containers[0].lines[2][0]
    np.testing.assert_allclose(interval.get_segments()[0][:, 1], [0.8, 0.95])


def test_very_many_points_are_thinned_and_the_caption_says_so():
    numbers = tuple(range(5000))
    chart = Chart("Many.", "x", "y", {"a": Series(numbers, numbers)}, "points")
    assert len(drawn(chart).collections[-1].get_offsets()) == 1667  # every third
    assert chart_figures.caption(chart) == "Many. One point in 3 is drawn."
    assert "5,000 points" in chart_figures.alternative(chart)
    assert chart_figures.thinning(dataclasses.replace(chart, kind="lines")) == 1


def test_bars_of_two_series_stand_side_by_side_over_the_names():
    series = {"CE": Series((0, 1), (3, 4)), "margin": Series((1,), (5,))}
    axes = drawn(Chart("Zero.", "class", "images", series, "bars", x_names=("cat", "a very long name of a dog")))
    bars = [(bar.get_x(), bar.get_x() + bar.get_width(), bar.get_height()) for bar in axes.patches]
    assert [height for _, _, height in bars] == [3, 4, 5]
    assert bars[0][1] < bars[1][0] < bars[1][1] < bars[2][0]
    assert "cat" in texts(axes)
    assert {"3", "4", "5"} <= set(texts(axes))
    assert axes.get_ylim()[0] == 0


def test_bars_without_names_stand_at_equal_distances_over_their_numbers():
    axes = drawn(Chart("Sweep.", "epsilon", "accuracy", {"a": Series((0.01, 0.1, 8), (1, 1, 1))}, "bars"))
    centers = [bar.get_x() + bar.get_width() / 2 for bar in axes.patches]
    np.testing.assert_allclose(centers, [0, 1, 2])
    assert {"0.01", "0.1", "8"} <= set(texts(axes))


@pytest.mark.parametrize(("width", "expected"), [(WIDE, 60), (NARROW, 15)])
def test_numbers_below_many_bars_are_thinned_until_they_fit(width, expected):
    classes = tuple(range(60))
    axes = drawn(Chart("Classes.", "class", "images", {"a": Series(classes, classes)}, "bars"), width)
    shown = [int(text) for text in texts(axes)]
    assert 0 < len(shown) <= expected
    assert len(set(np.diff(shown))) == 1
    assert len(axes.patches) == 60


def test_histograms_are_outlines_over_their_edges():
    edges, counts = (0, 1, 2, 4), (3, 5, 1)
    axes = drawn(Chart("Gap.", "gap", "images", {"a": Series(edges, counts), "b": Series(edges, counts)}, "histogram"))
    outlines = [patch for patch in axes.patches if not patch.get_fill()]
    assert len(outlines) == 2
    values, drawn_edges, _ = outlines[0].get_data()
    np.testing.assert_array_equal(values, counts)
    np.testing.assert_array_equal(drawn_edges, edges)
    assert outlines[0].get_linestyle() != outlines[1].get_linestyle()


def test_a_rule_is_a_dashed_line_with_its_name_and_height():
    axes = drawn(dataclasses.replace(LINES, rules={"limit": 0.4}))
    rule = axes.lines[-1]
    assert set(rule.get_ydata()) == {0.4}
    assert rule.get_linestyle() == "--"
    assert texts(axes) == ["limit: 40.0%"]


def test_two_close_rules_have_their_names_at_different_ends():
    axes = drawn(dataclasses.replace(LINES, rules={"a": 0.40, "b": 0.41, "c": 0.9}))
    assert [text.get_ha() for text in axes.texts] == ["right", "left", "right"]


@pytest.mark.parametrize("width", [WIDE, NARROW])
def test_a_rule_with_a_long_name_goes_to_the_legend(width):
    name = "the share of the largest class, below which no attack needs to go, and which a constant model reaches too"
    figure = chart_figures.draw(dataclasses.replace(LINES, rules={name: 0.1}), width=width)
    legend = [" ".join(text.get_text().split()) for text in figure.legends[0].get_texts()]
    assert legend == ["PGD", f"{name}: 10.0%"]
    assert len(figure.axes[0].texts) == 0


def test_a_single_series_named_like_the_axis_needs_no_legend():
    figure = chart_figures.draw(Chart("Loss.", "step", "loss", {"loss": Series((0, 1), (1, 2))}))
    assert figure.legends == []


@pytest.mark.parametrize(
    ("top", "limits"), [(0.9, (0, 1.02)), (0.02, (0, pytest.approx(0.0236))), (0.0, (0, pytest.approx(0.01)))]
)
def test_percentages_reach_100_unless_all_are_small(top, limits):
    axes = drawn(Chart("x", "x", "share", {"a": Series((0, 1), (0, top))}, percent=True))
    assert axes.get_ylim() == limits
    assert all(text.endswith("%") for text in ticks(axes.yaxis))


def test_a_logarithmic_axis_shows_powers_of_ten_as_numbers():
    axes = drawn(Chart("Scale.", "factor", "loss", {"a": Series((0.001, 1, 1000), (1, 2, 3))}, log_x=True))
    assert axes.get_xscale() == "log"
    assert {"0.001", "1", "1,000"} <= set(ticks(axes.xaxis))


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("width", [WIDE, NARROW])
@pytest.mark.parametrize("series", [{}, {"empty": Series((), ())}, {"$x <b>": Series((1.0,), (-2.0,))}])
def test_a_chart_of_nothing_or_of_one_point_can_be_drawn(kind, width, series):
    if kind == "histogram":
        series = {name: Series((*each.x, *each.x) or (0.0,), each.y) for name, each in series.items()}
    chart = Chart("T.", "x", "y" * 50, series, kind)
    assert themes.to_svg(chart_figures.draw(chart, width=width)).startswith(b"<?xml")
    assert chart_figures.alternative(chart)


@pytest.mark.parametrize(("width", "columns"), [(WIDE, 6), (NARROW, 4)])
def test_pictures_stand_in_a_grid_below_their_labels(width, columns):
    """Seven pictures in six columns: the seventh begins the second row, on a phone the fifth does."""
    pictures = Pictures("Filters.", np.zeros((7, 4, 4, 3)), [f"p{n}" for n in range(7)], columns=6, bounds=(0, 1))
    axes = drawn(pictures, width)
    corners = [image.get_extent()[0] for image in axes.images]
    assert corners[columns] == corners[0] == 0
    assert len(set(corners)) == columns
    assert texts(axes) == [f"p{n}" for n in range(7)]
    assert chart_figures.caption(pictures) == "Filters."


def test_pictures_without_bounds_have_gray_for_zero():
    """Largest absolute value 2: -2, 0, 1 are black, mid-gray and three quarters."""
    pictures = Pictures("Weights.", np.array([-2.0, 0.0, 1.0]).reshape(1, 1, 3, 1), ("w",))
    image = np.asarray(drawn(pictures).images[0].get_array())
    np.testing.assert_allclose(image[0, :, 0], [0, 0.5, 0.75])
    assert chart_figures.caption(pictures) == "Weights. Gray is 0, black −2, white +2."
    assert chart_figures.picture_scale(Pictures("Zero.", np.zeros((1, 1, 1, 1)), ("z",))) == 1


# In words.


@pytest.mark.parametrize(
    ("value", "percent", "text"),
    [
        (0.125, True, "12.5%"),
        (0.30000000000000004, False, "0.3"),
        (1234.5, False, "1,234"),
        (-1200, False, "−1,200"),
        (-0.5, False, "−0.5"),
        (3e-5, False, "3e-05"),
        (2e9, False, "2e+09"),
        (0, False, "0"),
    ],
)
def test_numbers_are_said_as_a_reader_wants_them(value, percent, text):
    assert chart_figures.say(value, percent) == text


def test_the_alternative_of_a_short_line_lists_its_values():
    text = chart_figures.alternative(dataclasses.replace(LINES, rules={"limit": 0.4}))
    assert text.startswith("Line chart. Accuracy. The bands are ranges. accuracy against epsilon (linf).")
    assert "PGD: 90.0% at 0, 50.0% at 0.1, 10.0% at 0.3; dashed line, limit: 40.0%." in text


def test_the_alternative_of_a_long_line_names_its_ends_and_extremes():
    y = (5.0, 9.0, *(3.0,) * 8, 1.0, 2.0)
    text = chart_figures.alternative(Chart("Loss.", "step", "loss", {"PGD": Series(tuple(range(12)), y)}))
    assert "PGD: from 5 at 0 to 2 at 11; lowest 1 at 10, highest 9 at 1." in text


def test_the_alternatives_of_the_other_kinds_hold_their_numbers():
    bars = Chart("B.", "class", "images", {"a": Series((0, 1), (3, 4))}, "bars", x_names=("cat", "dog"))
    assert "a: 3 at cat, 4 at dog." in chart_figures.alternative(bars)
    histogram = Chart("H.", "gap", "images", {"a": Series((0, 1, 2, 4), (3, 5, 1))}, "histogram")
    assert "a: 3 bins from 0 to 4, most, 5, between 1 and 2." in chart_figures.alternative(histogram)
    points = Chart("P.", "x", "y", {"a": Series(tuple(range(9)), tuple(range(9, 0, -1)))}, "points")
    assert "a: 9 points, x from 0 to 8, y from 1 to 9." in chart_figures.alternative(points)
    pictures = Pictures("Filters.", np.zeros((20, 1, 1, 1)), [f"p{n}" for n in range(20)], bounds=(0, 1))
    assert "20 pictures. Filters. Labels: p0, p1" in chart_figures.alternative(pictures)
    assert "p15 and 4 more." in chart_figures.alternative(pictures)
    assert chart_figures.alternative(Chart("N.", "x", "y", {})).endswith("No data.")
