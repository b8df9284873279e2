"""Figures show the data they were given; their colors stay apart for color-blind readers."""

import itertools
import sys
import xml.etree.ElementTree as ElementTree

import numpy as np
import pytest

from tfadv.report import figures
from tfadv.report.collection import Curve
from tfadv.report.figures import DARK, LIGHT, NARROW, PAPER, WIDE, Bar
from tfadv.report.records import Examples

BARS = [Bar("clean", 0.9, 0.85, 0.94), Bar("PGD", 0.4, 0.35, 0.45)]
CURVE = Curve((100, 200, 400), (0.1, 0.3, 0.4), (0.05, 0.2, 0.3), (0.2, 0.4, 0.5))


def texts(figure):
    return [text.get_text() for axes in figure.axes for text in axes.texts]


def tick_labels(axis):
    return [label.get_text() for label in axis.get_ticklabels()]


def examples(change=0.25, shape=(3, 4, 4, 1)):
    clean = np.full(shape, 0.5, np.float32)
    adversarial = clean.copy()
    adversarial[:, 0] += change
    adversarial[:, 1] -= change / 5
    return Examples(clean, adversarial, range(shape[0]), [9] * shape[0])


def test_a_bar_has_the_length_of_its_accuracy_and_a_line_over_its_interval():
    axes = figures.attack_bars({"net": BARS}, 100).axes[0]
    np.testing.assert_allclose([bar.get_width() for bar in axes.patches], [0.9, 0.4])
    (interval,) = axes.containers[1].lines[2]
    np.testing.assert_allclose([segment[:, 0] for segment in interval.get_segments()], [[0.85, 0.94], [0.35, 0.45]])
    assert tick_labels(axes.yaxis) == ["clean", "PGD"]
    assert texts(axes.figure) == ["90.0%", "40.0%"]
    assert "accuracy" in axes.get_xlabel()


def test_models_share_the_label_of_an_attack_and_none_overlaps_another():
    """Two models, three labels of which one is missing in the first: 2 + 3 bars, and no two at one height."""
    series = {"a": BARS, "b": [*BARS, Bar("transfer", 0.7, 0.6, 0.8)]}
    figure = figures.attack_bars(series, 100)
    axes = figure.axes[0]
    assert tick_labels(axes.yaxis) == ["clean", "PGD", "transfer"]
    spans = sorted((bar.get_y(), bar.get_y() + bar.get_height()) for bar in axes.patches)
    assert len(spans) == 5
    assert all(end <= start + 1e-9 for (_, end), (start, _) in itertools.pairwise(spans))
    assert [text.get_text() for text in figure.legends[0].get_texts()] == ["a", "b"]


def test_the_difference_is_shown_around_mid_gray_at_the_stated_scale():
    """Changes of +0.25, -0.05 and 0 at scale 0.25 are 1, 0.4 and 0.5."""
    figure = figures.image_grid(examples())
    pictures = [np.asarray(picture.get_array()) for picture in figure.axes[0].images]
    assert len(pictures) == 9  # clean, adversarial, difference of three examples
    np.testing.assert_allclose(pictures[6][:3, 0, 0], [1.0, 0.4, 0.5], atol=1e-6)
    np.testing.assert_allclose(pictures[3][:3, 0, 0], [0.75, 0.45, 0.5], atol=1e-6)
    assert "difference\n±0.25" in texts(figure)
    assert "2 → 9" in texts(figure)


def test_an_unchanged_image_has_a_gray_difference():
    figure = figures.image_grid(examples(change=0.0))
    np.testing.assert_allclose(figure.axes[0].images[-1].get_array(), 0.5)


def test_bounds_are_drawn_as_black_and_white():
    clean = np.array([-1.0, 1.0], np.float32).reshape(1, 1, 2, 1)
    figure = figures.image_grid(Examples(clean, clean, [0], [0]), (-1, 1))
    np.testing.assert_allclose(figure.axes[0].images[0].get_array()[0, :, 0], [0, 1])


@pytest.mark.parametrize(("width", "shown"), [(WIDE, 8), (NARROW, 4)])
@pytest.mark.parametrize("channels", [1, 2, 3])
def test_the_grid_shows_as_many_examples_as_fit(width, shown, channels):
    figure = figures.image_grid(examples(shape=(10, 4, 4, channels)), width=width)
    assert len(figure.axes[0].images) == 3 * shown
    assert figure.get_size_inches()[0] <= width + 1e-6


def test_no_example_is_refused():
    with pytest.raises(ValueError, match="at least one image"):
        figures.image_grid(examples(shape=(0, 4, 4, 1)))


@pytest.mark.parametrize(
    ("draw", "label"),
    [
        (lambda series: figures.accuracy_against_epsilon(series, "linf"), "epsilon (linf, image units)"),
        (figures.accuracy_against_steps, "training steps"),
    ],
)
def test_curves_hold_the_data_the_band_and_the_units(draw, label):
    axes = draw({"net": CURVE}).axes[0]
    np.testing.assert_allclose(axes.lines[0].get_xydata(), list(zip(CURVE.x, CURVE.accuracy, strict=True)))
    band = axes.collections[0].get_paths()[0].vertices
    assert (band[:, 1].min(), band[:, 1].max()) == (0.05, 0.5)
    assert axes.get_xlabel() == label
    assert "95% interval" in axes.get_ylabel()


def test_a_seventh_curve_differs_from_the_first_in_more_than_color():
    lines = figures.accuracy_against_steps({f"net {index}": CURVE for index in range(7)}).axes[0].lines
    looks = {(line.get_color(), line.get_marker(), line.get_linestyle()) for line in lines}
    assert len(looks) == 7
    assert lines[0].get_color() == lines[6].get_color()


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


@pytest.mark.parametrize("name", ["$x", "$\\frac{$", "a_b^c", "модель", "模型", "x" * 200, "<script>alert(1)</script>"])
@pytest.mark.parametrize("width", [WIDE, NARROW])
def test_any_name_can_be_drawn(name, width):
    """A dollar sign is no mathematics, a missing glyph no error."""
    figure = figures.attack_bars({name: [Bar(name, 0.5, 0.4, 0.6)], "b": BARS}, 10, width=width)
    assert figures.to_png(figure).startswith(b"\x89PNG")


def test_svg_is_reproducible_and_refers_to_nothing_outside():
    first, second = (figures.to_svg(figures.attack_bars({"net": BARS}, 100)) for _ in range(2))
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


def test_pyplot_and_its_global_figures_are_not_used():
    figures.image_grid(examples())
    assert "matplotlib.pyplot" not in sys.modules or not sys.modules["matplotlib.pyplot"].get_fignums()
