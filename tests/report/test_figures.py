"""The bars and the example images show the data they were given."""

import itertools

import numpy as np
import pytest

from tfadv.report import figures, themes
from tfadv.report.figures import Bar
from tfadv.report.records import Examples
from tfadv.report.themes import NARROW, WIDE

BARS = [Bar("clean", 0.9, 0.85, 0.94), Bar("PGD", 0.4, 0.35, 0.45)]


def texts(figure):
    return [text.get_text() for axes in figure.axes for text in axes.texts]


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
    assert texts(axes.figure) == ["90.0%", "40.0%", "clean", "PGD"]
    assert "accuracy" in axes.get_xlabel()


def test_models_share_the_label_of_an_attack_and_none_overlaps_another():
    """Two models, three labels of which one is missing in the first: 2 + 3 bars, and no two at one height."""
    series = {"a": BARS, "b": [*BARS, Bar("transfer", 0.7, 0.6, 0.8)]}
    figure = figures.attack_bars(series, 100)
    axes = figure.axes[0]
    assert texts(figure)[-3:] == ["clean", "PGD", "transfer"]
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
    assert texts(figure)[2:4] == ["difference", "±0.25"]
    assert "2 → 9" in texts(figure)


def test_an_unchanged_image_has_a_gray_difference():
    figure = figures.image_grid(examples(change=0.0))
    np.testing.assert_allclose(figure.axes[0].images[-1].get_array(), 0.5)


def test_a_row_of_pictures_that_are_not_square_keeps_their_shape():
    """Pictures of 2 x 8 pixels at 1.3 inches take a quarter of the height."""
    figure = figures.image_grid(examples(shape=(2, 2, 8, 1)))
    axes = figure.axes[0]
    (x, y), (right, below) = axes.transData.transform([(0, 1), (1, 0)])
    assert (right - x) / (below - y) == pytest.approx(4, rel=0.02)


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


@pytest.mark.parametrize("name", ["$x", "$\\frac{$", "a_b^c", "модель", "模型", "x" * 200, "<script>alert(1)</script>"])
@pytest.mark.parametrize("width", [WIDE, NARROW])
def test_any_name_can_be_drawn(name, width):
    """A dollar sign is no mathematics, a missing glyph no error."""
    figure = figures.attack_bars({name: [Bar(name, 0.5, 0.4, 0.6)], "b": BARS}, 10, width=width)
    assert themes.to_png(figure).startswith(b"\x89PNG")
