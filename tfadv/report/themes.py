"""How every figure of a report looks: colors, widths, axes and legends; and a figure as bytes.

Figures are built with Matplotlib's object interface (no pyplot, no global state). Widths are in inches at 96 pixels an
inch: `WIDE` suits a desktop page, `NARROW` a phone. The palettes are Okabe and Ito's, which stay apart for color-blind
readers (jfly.uni-koeln.de/color, 2008), and gray; series also differ in marker and line style.
"""

from __future__ import annotations

import dataclasses
import io
import math
import textwrap
import warnings
from collections.abc import Collection, Iterable, Sequence
from typing import Any, Literal

import matplotlib
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.text import Text
from matplotlib.ticker import FuncFormatter

from tfadv.report.tables import printable

WIDE, NARROW = 9.0, 3.4
LETTER = 0.072  # inches that a letter takes at 9 points
_LINE = 0.155  # inches from one line of text to the next
_LEGEND_LETTERS = 40  # the longest line of a legend that fits NARROW
_MARKERS = "osD^vPX"
# Solid, dashed, dotted, dash-dot, short dashes, long dashes, dash-dot-dot: lengths in line widths, on and off.
_LINES = (
    "solid",
    (0, (5, 2)),
    (0, (1, 1.4)),
    (0, (6, 1.8, 1, 1.8)),
    (0, (2.4, 1)),
    (0, (9, 2)),
    (0, (5, 1, 1, 1, 1, 1)),
)


@dataclasses.dataclass(frozen=True)
class Theme:
    """Colors of a figure: text, secondary text, grid lines, ground (None is transparent), and seven series."""

    ink: str
    faint: str
    grid: str
    ground: str | None
    series: tuple[str, ...]


# Black and yellow of the palette are left out on the ground that swallows them.
_LIGHT_SERIES = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#6e7781")
_DARK_SERIES = ("#56b4e9", "#e69f00", "#2fc99b", "#e29cc4", "#f0e442", "#ff8552", "#adb5bd")
PAPER = Theme("#1b1f24", "#57606a", "#d8dee4", "#ffffff", _LIGHT_SERIES)
LIGHT = dataclasses.replace(PAPER, ground=None)
DARK = Theme("#e6e9ed", "#9aa4af", "#3a424c", None, _DARK_SERIES)


def series_style(index: int, theme: Theme) -> dict[str, Any]:
    """Color, marker and line style of series number `index`; the first seven differ in all three."""
    count = len(theme.series)
    shifted = (index + index // count) % count  # the eighth has the color of the first and another marker
    return {"color": theme.series[index % count], "marker": _MARKERS[shifted], "linestyle": _LINES[shifted]}


def literal(text: str) -> str:
    """`text` without the dollar signs' meaning: Matplotlib would read a model called "$x" as mathematics."""
    return text.replace("$", r"\$")


def blank(width: float, height: float, theme: Theme) -> Figure:
    """An empty figure of that size in inches."""
    figure = Figure(figsize=(width, height), layout="constrained", facecolor=theme.ground or "none")
    FigureCanvasAgg(figure)
    return figure


def dress(axes: Axes, theme: Theme, grid: Literal["x", "y", "both"]) -> None:
    """Quiet axes: grid lines along `grid` behind the data, no box."""
    axes.set_facecolor("none")
    axes.grid(axis=grid, color=theme.grid, linewidth=0.8)
    axes.set_axisbelow(True)
    axes.tick_params(which="both", colors=theme.faint, labelcolor=theme.ink, labelsize=9, length=0)
    for side in axes.spines.values():
        side.set_visible(False)
    for label in (axes.xaxis.label, axes.yaxis.label):
        label.set(color=theme.faint, fontsize=9)


def name_ticks(axis: Any, places: Sequence[float], names: Sequence[str], letters: int, theme: Theme) -> int:
    """Writes `names` at `places` of an axis in lines of at most `letters`; returns how many lines the longest takes.

    Every line is a text of its own, aligned by itself: as one text of several lines an SVG would place it by the width
    of this machine's font, and the reader's may be narrower.
    """
    lines = [textwrap.wrap(name, letters) or [""] for name in names]
    axes, below = axis.axes, axis.axis_name == "x"
    axis.set_ticks([])
    for place, texts in zip(places, lines, strict=True):
        for number, text in enumerate(texts):
            shift = -72 * _LINE * number if below else 72 * _LINE * ((len(texts) - 1) / 2 - number)
            axes.annotate(
                literal(text),
                (place, 0) if below else (0, place),
                xycoords=("data", "axes fraction") if below else ("axes fraction", "data"),
                xytext=(0, shift - 5) if below else (-5, shift),
                textcoords="offset points",
                ha="center" if below else "right",
                va="top" if below else "center_baseline",
                color=theme.ink,
                fontsize=9,
                annotation_clip=False,
            )
    return max(map(len, lines), default=1)


def legend_shape(names: Collection[str], width: float) -> tuple[int, int]:
    """(columns, lines) of a legend that fits `width`: each entry takes its letters and 0.6 inch for the key."""
    longest = min(max(map(len, names), default=0), _LEGEND_LETTERS)
    columns = max(1, int(width / (0.6 + LETTER * longest)))
    lines = sum(math.ceil(max(len(name), 1) / _LEGEND_LETTERS) for name in names)
    return columns, math.ceil(lines / columns)


def legend(figure: Figure, axes: Axes, theme: Theme, columns: int, names: Iterable[str]) -> None:
    """A legend of the series `names` above the axes, where it covers no data."""
    drawn = dict(zip(*reversed(axes.get_legend_handles_labels()), strict=True))
    handles = [drawn[literal(name)] for name in names]
    labels = [textwrap.fill(literal(name), _LEGEND_LETTERS) for name in names]
    options: dict[str, Any] = {"loc": "outside upper left", "frameon": False, "fontsize": 9, "labelcolor": theme.ink}
    # Long enough a line to show its dashes.
    figure.legend(handles, labels, ncols=columns, handlelength=2.6, columnspacing=1.4, **options)


def percent_axis(axis: Any) -> None:
    """Fractions as percentages; ticks come as 0.30000000000000004."""
    axis.set_major_formatter(FuncFormatter(lambda value, _: f"{100 * value:.4g}%"))


def _save(figure: Figure, **options: Any) -> bytes:
    buffer = io.BytesIO()
    # Names come from the user.
    for text in figure.findobj(Text):
        text.set_text(printable(text.get_text()))
    with warnings.catch_warnings():
        # A name in a script that the bundled font lacks is drawn as boxes; the page's text still shows it.
        warnings.filterwarnings("ignore", message="Glyph .* missing from font")
        figure.savefig(buffer, **options)
    return buffer.getvalue()


def to_svg(figure: Figure, letters: Literal["path", "none"] = "path") -> bytes:
    """The figure as SVG: no date, the same bytes for the same figure.

    letters: "path" draws them as outlines, which need no font; "none" leaves them text in the reader's font.
    """
    nothing = {"Date": None, "Creator": None, "Format": None, "Type": None}
    with matplotlib.rc_context({"svg.fonttype": letters, "svg.hashsalt": "tfadv"}):
        return _save(figure, format="svg", metadata=nothing)


def to_png(figure: Figure) -> bytes:
    """The figure as PNG, 200 dots an inch."""
    return _save(figure, format="png", dpi=200, metadata={"Software": None})
