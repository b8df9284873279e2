"""Colors, markers and line styles stay apart; text stands out; a figure becomes the same bytes every time."""

import sys
import xml.etree.ElementTree as ElementTree

import numpy as np
import pytest

from tfadv.report import themes
from tfadv.report.themes import DARK, LIGHT, PAPER


def figure(theme=PAPER):
    drawn = themes.blank(3.0, 2.0, theme)
    axes = drawn.add_subplot()
    for index in range(2):
        axes.plot([0, 1], [index, 1], label=f"net {index}", **themes.series_style(index, theme))
    themes.dress(axes, theme, "both")
    themes.legend(drawn, axes, theme, 2, ["net 0", "net 1"])
    return drawn


@pytest.mark.parametrize("theme", [PAPER, LIGHT, DARK])
def test_seven_series_differ_in_color_marker_and_line_style(theme):
    """Each of the three alone tells them apart: on gray paper, for the color-blind, without markers."""
    styles = [themes.series_style(index, theme) for index in range(7)]
    for part in ("color", "marker", "linestyle"):
        assert len({style[part] for style in styles}) == 7
    assert len({tuple(sorted(map(str, themes.series_style(index, theme).values()))) for index in range(40)}) == 40


def luminance(color):
    """Relative luminance of a "#rrggbb" color (WCAG 2.1), 0 to 1."""
    channels = np.array([int(color[place : place + 2], 16) for place in (1, 3, 5)]) / 255
    linear = np.where(channels <= 0.04045, channels / 12.92, ((channels + 0.055) / 1.055) ** 2.4)
    return float(linear @ [0.2126, 0.7152, 0.0722])


def contrast(one, other):
    light, dark = sorted((luminance(one), luminance(other)), reverse=True)
    return (light + 0.05) / (dark + 0.05)


@pytest.mark.parametrize(("theme", "ground"), [(PAPER, "#ffffff"), (LIGHT, "#ffffff"), (DARK, "#12161b")])
def test_text_and_series_stand_out_from_the_ground(theme, ground):
    """Text needs a contrast of 4.5, a graphic of 3 (WCAG 2.1); many series reach further colors."""
    assert min(contrast(theme.ink, ground), contrast(theme.faint, ground)) >= 4.5
    assert min(contrast(color, ground) for color in theme.series[:3]) >= 3


def test_the_legend_has_the_names_it_was_given_in_their_order():
    drawn = themes.blank(3.0, 2.0, PAPER)
    axes = drawn.add_subplot()
    for name in ("a", r"\$b", "c"):
        axes.plot([0, 1], label=name)
    themes.legend(drawn, axes, PAPER, 1, ["c", "$b"])
    assert [text.get_text() for text in drawn.legends[0].get_texts()] == ["c", r"\$b"]


def test_named_ticks_are_one_text_for_each_line_at_their_places():
    axes = themes.blank(3.0, 2.0, PAPER).add_subplot()
    assert themes.name_ticks(axes.yaxis, [1.0, 2.0], ["one", "two words here"], 9, PAPER) == 2
    assert [(text.get_text(), text.xy[1]) for text in axes.texts] == [("one", 1), ("two words", 2), ("here", 2)]
    heights = [text.get_position()[1] for text in axes.texts]
    assert heights[0] == 0
    assert heights[1] == -heights[2] > 5  # points above and below the middle
    assert themes.name_ticks(axes.xaxis, [0.5], ["below"], 9, PAPER) == 1
    assert axes.texts[-1].get_ha() == "center"


@pytest.mark.parametrize(
    ("value", "text"), [(0.25, "25%"), (0.0025, "0.25%"), (0.30000000000000004, "30%"), (1.0, "100%")]
)
def test_percentages_on_an_axis_have_the_decimals_they_need(value, text):
    axes = themes.blank(3.0, 2.0, PAPER).add_subplot()
    themes.percent_axis(axes.yaxis)
    assert axes.yaxis.get_major_formatter()(value) == text


def test_svg_is_reproducible_and_refers_to_nothing_outside():
    first, second = (themes.to_svg(figure()) for _ in range(2))
    assert first == second
    references = [
        value
        for element in ElementTree.fromstring(first).iter()
        for key, value in element.attrib.items()
        if key.endswith("href")
    ]
    assert all(value.startswith(("#", "data:")) for value in references)
    assert references
    assert b"<text" not in first  # letters are outlines: no font is needed
    assert b">net 1</text>" in themes.to_svg(figure(), letters="none")


def test_a_light_and_a_dark_figure_are_transparent_and_a_paper_one_is_white():
    assert themes.to_png(figure()).startswith(b"\x89PNG")
    assert [figure(theme).get_facecolor()[3] for theme in (PAPER, LIGHT, DARK)] == [1, 0, 0]


def test_pyplot_and_its_global_figures_are_not_used():
    figure()
    assert "matplotlib.pyplot" not in sys.modules or not sys.modules["matplotlib.pyplot"].get_fignums()
