"""The plots of every report: accuracies as bars with their intervals, and example images.

Every function takes plain data and returns a Matplotlib `Figure` in a theme of `tfadv.report.themes`.
"""

from __future__ import annotations

import textwrap
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from tfadv.report.records import Examples
from tfadv.report.tables import percent
from tfadv.report.themes import (
    PAPER,
    WIDE,
    Theme,
    blank,
    dress,
    legend,
    legend_shape,
    literal,
    name_ticks,
    percent_axis,
)


class Bar(NamedTuple):
    """One bar: what was measured, the accuracy and the ends of its interval (fractions in [0, 1])."""

    label: str
    accuracy: float
    low: float
    high: float


def attack_bars(
    series: Mapping[str, Sequence[Bar]], count: int, *, theme: Theme = PAPER, width: float = WIDE
) -> Figure:
    """Accuracies as horizontal bars with their intervals, one group for each label, one color for each series.

    Args:
        series: name -> bars. Labels are matched between series; one that a series lacks leaves a gap.
        count: examples behind each accuracy, which decides the decimals printed.
        theme, width: colors, and inches.

    Returns: a figure as tall as its bars need.
    """
    labels = list(dict.fromkeys(bar.label for bars in series.values() for bar in bars))
    letters = 15 if width < 5 else 26
    thickness = 0.26 if len(series) == 1 else 0.2  # inches for each bar
    gap = 0.16
    pitch = [max(thickness * len(series), 0.16 * len(textwrap.wrap(label, letters))) + gap for label in labels]
    centers = np.cumsum(pitch) - np.array(pitch) / 2 if pitch else np.zeros(0)
    columns, rows = legend_shape(series, width)
    height = float(sum(pitch)) + 0.55 + (0.1 + 0.2 * rows if len(series) > 1 else 0)
    figure = blank(width, max(height, 1.2), theme)
    axes = figure.add_subplot()
    for index, (name, bars) in enumerate(series.items()):
        places = centers[[labels.index(bar.label) for bar in bars]] + (index - (len(series) - 1) / 2) * thickness
        values = np.array([bar.accuracy for bar in bars])
        reach = np.array([[bar.accuracy - bar.low for bar in bars], [bar.high - bar.accuracy for bar in bars]])
        color = theme.series[index % len(theme.series)]
        axes.barh(places, values, height=0.84 * thickness, color=color, label=literal(name))
        axes.errorbar(
            values, places, xerr=np.maximum(reach, 0), fmt="none", ecolor=theme.ink, elinewidth=1.1, capsize=2.2
        )
        for place, bar in zip(places, bars, strict=True):
            text = percent(bar.accuracy, count)
            axes.text(bar.high + 0.015, place, text, va="center_baseline", color=theme.ink, fontsize=8.5)
    name_ticks(axes.yaxis, centers.tolist(), labels, letters, theme)
    axes.set_ylim(float(sum(pitch)), 0)
    axes.set_xlim(0, 1.12)
    axes.set_xticks([0, 0.25, 0.5, 0.75, 1])
    percent_axis(axes.xaxis)
    axes.set_xlabel("accuracy (line: 95% interval)")
    dress(axes, theme, "x")
    if len(series) > 1:
        legend(figure, axes, theme, columns, series)
    return figure


def difference_scale(examples: Examples) -> float:
    """The largest absolute change of a pixel in `examples`, in the image's own units; 1 if nothing changed."""
    largest = float(np.max(np.abs(examples.adversarial - examples.clean), initial=0.0))
    return largest if largest > 0 else 1.0


def show_picture(axes: Axes, picture: np.ndarray, left: float, top: float, theme: Theme) -> None:
    """Draws `picture` [H, W, C], values in [0, 1], as a framed square of side 1 with its corner at (left, top)."""
    if picture.shape[-1] != 3:
        picture = np.repeat(picture.mean(axis=-1, keepdims=True), 3, axis=-1)
    # Small pictures keep their pixels; large ones are resampled, because an SVG would carry each of them in full.
    smoothing = "none" if max(picture.shape[:2]) <= 96 else "antialiased"
    place = (left, left + 1, top + 1, top)
    axes.imshow(np.clip(picture, 0, 1), interpolation=smoothing, extent=place, aspect="auto")
    axes.add_patch(Rectangle((left, top), 1, 1, fill=False, edgecolor=theme.grid, linewidth=0.8))


def grid_axes(figure: Figure, left: float, top: float, columns: float, rows: float) -> Axes:
    """Bare axes in units of a picture's sides, y downward, that leave margins of `left` and `top` inches.

    One pair of axes for all pictures: an axes for each would take ten times as long.
    """
    figure.set_layout_engine("none")
    width, height = figure.get_size_inches()
    axes = figure.add_axes((left / width, 0.0, 1 - left / width, 1 - top / height))
    axes.set_xlim(-0.01, columns)
    axes.set_ylim(rows, -0.01)
    axes.set_autoscale_on(False)
    axes.set_axis_off()
    return axes


def image_grid(
    examples: Examples, bounds: tuple[float, float] = (0.0, 1.0), *, theme: Theme = PAPER, width: float = WIDE
) -> Figure:
    """Three rows of pictures: clean, adversarial, difference; one column for each example.

    The difference is shown around mid-gray: gray is no change, black and white are minus and plus the largest change
    of the grid, which the row's label states. Above each column: true class, arrow, class predicted after the attack.
    The first 4 examples fit `NARROW`, the first 8 `WIDE`.

    Args:
        examples: at least one example, 1 or 3 channels (others are averaged to gray).
        bounds: values shown as black and white.
        theme, width: colors, and inches.

    Returns: a figure whose pictures are square pixels of the data, not smoothed.
    """
    shown = min(len(examples.clean), 4 if width < 5 else 8)
    if shown == 0:
        raise ValueError("examples must hold at least one image, got 0")
    low, high = bounds
    scale = difference_scale(examples)
    clean = (examples.clean - low) / (high - low)
    adversarial = (examples.adversarial - low) / (high - low)
    difference = 0.5 + (examples.adversarial - examples.clean) / (2 * scale)
    rows = ((("clean",), clean), (("adversarial",), adversarial), (("difference", f"±{scale:.3g}"), difference))
    tall, broad = examples.clean.shape[1:3]
    side = min((width - 0.9) / shown, 1.3)  # inches from one picture to the next
    pitch = 1.08  # the same, in pictures
    figure = blank(0.9 + side * shown, 0.3 + 3 * side * tall / broad, theme)
    axes = grid_axes(figure, 0.9, 0.3, shown * pitch, 3 * pitch)
    for row, (names, pictures) in enumerate(rows):
        for number, name in enumerate(names):
            height = row * pitch + 0.5 + (number - (len(names) - 1) / 2) * 0.16 * broad / (side * tall)
            axes.text(-0.08, height, name, ha="right", va="center", color=theme.ink, fontsize=9)
        for column in range(shown):
            show_picture(axes, pictures[column], column * pitch, row * pitch, theme)
    for column in range(shown):
        title = f"{examples.labels[column]} → {examples.predictions[column]}"
        axes.text(column * pitch + 0.5, -0.06, title, ha="center", va="bottom", color=theme.ink, fontsize=9)
    return figure
