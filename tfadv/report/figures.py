"""Plots of an evaluation, as Matplotlib figures built with the object interface (no pyplot, no global state).

Every function takes plain data and returns a `Figure`; `to_svg` and `to_png` turn one into bytes. Widths are in inches
at 96 pixels an inch: `WIDE` suits a desktop page, `NARROW` a phone. The palettes are Okabe and Ito's, which stay apart
for color-blind readers (jfly.uni-koeln.de/color, 2008); series also differ in marker and line style.
"""

from __future__ import annotations

import dataclasses
import io
import math
import textwrap
import warnings
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Literal, NamedTuple

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from matplotlib.ticker import FuncFormatter, MaxNLocator

from tfadv.report.collection import Curve
from tfadv.report.records import Examples
from tfadv.report.tables import percent

WIDE, NARROW = 9.0, 3.7
_LEGEND_LETTERS = 44  # the longest line of a legend that fits NARROW
_MARKERS, _LINES = "osD^vPX", ("-", "--", "-.", ":")


@dataclasses.dataclass(frozen=True)
class Theme:
    """Colors of a figure: text, secondary text, grid lines, ground (None is transparent), and the series."""

    ink: str
    faint: str
    grid: str
    ground: str | None
    series: tuple[str, ...]


# Black and yellow of the palette are left out on the ground that swallows them.
_LIGHT_SERIES = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9")
_DARK_SERIES = ("#56b4e9", "#e69f00", "#2fc99b", "#e29cc4", "#f0e442", "#ff8552")
PAPER = Theme("#1b1f24", "#57606a", "#d8dee4", "#ffffff", _LIGHT_SERIES)
LIGHT = dataclasses.replace(PAPER, ground=None)
DARK = Theme("#e6e9ed", "#9aa4af", "#3a424c", None, _DARK_SERIES)


class Bar(NamedTuple):
    """One bar: what was measured, the accuracy and the ends of its interval (fractions in [0, 1])."""

    label: str
    accuracy: float
    low: float
    high: float


def _literal(text: str) -> str:
    """`text` without the dollar signs' meaning: Matplotlib would read a model called "$x" as mathematics."""
    return text.replace("$", r"\$")


def _figure(width: float, height: float, theme: Theme) -> Figure:
    figure = Figure(figsize=(width, height), layout="constrained", facecolor=theme.ground or "none")
    FigureCanvasAgg(figure)
    return figure


def _dress(axes: Axes, theme: Theme, grid: Literal["x", "y", "both"]) -> None:
    """Quiet axes: grid lines along `grid` behind the data, no box."""
    axes.set_facecolor("none")
    axes.grid(axis=grid, color=theme.grid, linewidth=0.8)
    axes.set_axisbelow(True)
    axes.tick_params(colors=theme.faint, labelcolor=theme.ink, labelsize=9, length=0)
    for side in axes.spines.values():
        side.set_visible(False)
    for label in (axes.xaxis.label, axes.yaxis.label):
        label.set(color=theme.faint, fontsize=9)


def _legend_columns(names: Iterable[str], width: float) -> int:
    """How many legend entries fit side by side: a letter takes 0.068 inch at 9 points, the key 0.6 inch."""
    longest = min(max(map(len, names), default=0), _LEGEND_LETTERS)
    return max(1, int(width / (0.6 + 0.068 * longest)))


def _legend(figure: Figure, axes: Axes, theme: Theme, columns: int) -> None:
    """A legend above the axes, where it covers no data, in the order of the series."""
    handles, labels = axes.get_legend_handles_labels()
    labels = [textwrap.fill(label, _LEGEND_LETTERS) for label in labels]
    options: dict[str, Any] = {"loc": "outside upper left", "frameon": False, "fontsize": 9, "labelcolor": theme.ink}
    figure.legend(handles, labels, ncols=columns, handlelength=1.8, columnspacing=1.4, **options)


def _percent_axis(axis: Any) -> None:
    axis.set_major_formatter(FuncFormatter(lambda value, _: f"{100 * value:.0f}%"))


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
    lines = [textwrap.fill(_literal(label), 15 if width < 5 else 26) for label in labels]
    thickness = 0.26 if len(series) == 1 else 0.2  # inches for each bar
    gap = 0.16
    pitch = [max(thickness * len(series), 0.16 * (line.count("\n") + 1)) + gap for line in lines]
    centers = np.cumsum(pitch) - np.array(pitch) / 2 if pitch else np.zeros(0)
    columns = _legend_columns(series, width)
    height = float(sum(pitch)) + 0.55 + (0.1 + 0.2 * math.ceil(len(series) / columns) if len(series) > 1 else 0)
    figure = _figure(width, max(height, 1.2), theme)
    axes = figure.add_subplot()
    for index, (name, bars) in enumerate(series.items()):
        places = centers[[labels.index(bar.label) for bar in bars]] + (index - (len(series) - 1) / 2) * thickness
        values = np.array([bar.accuracy for bar in bars])
        reach = np.array([[bar.accuracy - bar.low for bar in bars], [bar.high - bar.accuracy for bar in bars]])
        color = theme.series[index % len(theme.series)]
        axes.barh(places, values, height=0.84 * thickness, color=color, label=_literal(name))
        axes.errorbar(
            values, places, xerr=np.maximum(reach, 0), fmt="none", ecolor=theme.ink, elinewidth=1.1, capsize=2.2
        )
        for place, bar in zip(places, bars, strict=True):
            text = percent(bar.accuracy, count)
            axes.text(bar.high + 0.015, place, text, va="center_baseline", color=theme.ink, fontsize=8.5)
    axes.set_yticks(centers, labels=lines)
    axes.set_ylim(float(sum(pitch)), 0)
    axes.set_xlim(0, 1.12)
    axes.set_xticks([0, 0.25, 0.5, 0.75, 1])
    _percent_axis(axes.xaxis)
    axes.set_xlabel("accuracy (line: 95% interval)")
    _dress(axes, theme, "x")
    if len(series) > 1:
        _legend(figure, axes, theme, columns)
    return figure


def difference_scale(examples: Examples) -> float:
    """The largest absolute change of a pixel in `examples`, in the image's own units; 1 if nothing changed."""
    largest = float(np.max(np.abs(examples.adversarial - examples.clean), initial=0.0))
    return largest if largest > 0 else 1.0


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
    rows = (("clean", clean), ("adversarial", adversarial), (f"difference\n±{scale:.3g}", difference))
    tall, broad = examples.clean.shape[1:3]
    side = min((width - 0.95) / shown, 1.3)  # inches from one picture to the next
    pitch = 1.08  # the same, in pictures
    figure = _figure(0.95 + side * shown, 0.3 + 3 * side * tall / broad, theme)
    # One pair of axes for all pictures, in units of a picture's sides: an axes for each would take ten times as long.
    figure.set_layout_engine("none")
    inches = figure.get_size_inches()
    axes = figure.add_axes((0.9 / inches[0], 0.0, side * shown / inches[0], 1 - 0.3 / inches[1]))
    # Small pictures keep their pixels; large ones are resampled, because an SVG would carry each of them in full.
    smoothing = "none" if max(tall, broad) <= 96 else "antialiased"
    for row, (name, pictures) in enumerate(rows):
        top = row * pitch
        axes.text(-0.08, top + 0.5, name, ha="right", va="center", color=theme.ink, fontsize=9)
        for column in range(shown):
            left, picture = column * pitch, np.clip(pictures[column], 0, 1)
            if picture.shape[-1] != 3:
                picture = np.repeat(picture.mean(axis=-1, keepdims=True), 3, axis=-1)
            axes.imshow(picture, interpolation=smoothing, extent=(left, left + 1, top + 1, top), aspect="auto")
            axes.add_patch(Rectangle((left, top), 1, 1, fill=False, edgecolor=theme.grid, linewidth=0.8))
    for column in range(shown):
        title = f"{examples.labels[column]} → {examples.predictions[column]}"
        axes.text(column * pitch + 0.5, -0.06, title, ha="center", va="bottom", color=theme.ink, fontsize=9)
    axes.set_xlim(-0.01, shown * pitch)
    axes.set_ylim(3 * pitch, -0.01)
    axes.set_axis_off()
    return figure


def _curves(series: Mapping[str, Curve], xlabel: str, theme: Theme, width: float) -> Figure:
    columns = _legend_columns(series, width)
    figure = _figure(width, (2.9 if width < 5 else 3.6) + 0.2 * math.ceil(len(series) / columns), theme)
    axes = figure.add_subplot()
    for index, (name, curve) in enumerate(series.items()):
        style: dict[str, Any] = {
            "color": theme.series[index % len(theme.series)],
            "marker": _MARKERS[index % len(_MARKERS)],
            "linestyle": _LINES[(index // len(theme.series)) % len(_LINES)],
        }
        axes.fill_between(curve.x, curve.low, curve.high, color=style["color"], alpha=0.18, linewidth=0)
        axes.plot(curve.x, curve.accuracy, linewidth=1.8, markersize=4, label=_literal(name), **style)
    axes.set_ylim(0, 1.02)
    axes.set_yticks([0, 0.25, 0.5, 0.75, 1])
    axes.set_xlim(left=0)
    axes.xaxis.set_major_locator(MaxNLocator(3 if width < 5 else 6, steps=[1, 2, 5, 10]))
    _percent_axis(axes.yaxis)
    axes.set_xlabel(_literal(xlabel))
    axes.set_ylabel("accuracy (band: 95% interval)")
    _dress(axes, theme, "both")
    if series:
        _legend(figure, axes, theme, columns)
    return figure


def accuracy_against_epsilon(
    series: Mapping[str, Curve], norm: str, *, theme: Theme = PAPER, width: float = WIDE
) -> Figure:
    """Accuracy against the size of the allowed change, with a band for the interval.

    Args:
        series: name -> Curve with epsilon as x, in the image's own units.
        norm: the norm that epsilon is measured in, for the axis.
        theme, width: colors, and inches.
    """
    return _curves(series, f"epsilon ({norm}, image units)" if norm else "epsilon (image units)", theme, width)


def accuracy_against_steps(series: Mapping[str, Curve], *, theme: Theme = PAPER, width: float = WIDE) -> Figure:
    """Robust accuracy against training steps, with a band for the interval.

    Args:
        series: name -> Curve with training steps as x.
        theme, width: colors, and inches.
    """
    figure = _curves(series, "training steps", theme, width)
    figure.axes[0].xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.0f}"))
    return figure


def _save(figure: Figure, **options: Any) -> bytes:
    buffer = io.BytesIO()
    with warnings.catch_warnings():
        # A name in a script that the bundled font lacks is drawn as boxes; the page's text still shows it.
        warnings.filterwarnings("ignore", message="Glyph .* missing from font")
        figure.savefig(buffer, **options)
    return buffer.getvalue()


def to_svg(figure: Figure) -> bytes:
    """The figure as SVG: letters as outlines, no date, the same bytes for the same figure."""
    nothing = {"Date": None, "Creator": None, "Format": None, "Type": None}
    with matplotlib.rc_context({"svg.fonttype": "path", "svg.hashsalt": "tfadv"}):
        return _save(figure, format="svg", metadata=nothing)


def to_png(figure: Figure) -> bytes:
    """The figure as PNG, 200 dots an inch."""
    return _save(figure, format="png", dpi=200, metadata={"Software": None})
