"""Draws a `Chart` or `Pictures`, and says in words what is to be seen there."""

from __future__ import annotations

import math
import textwrap
from collections.abc import Callable, Mapping

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator, NullLocator

from tfadv.report.charts import Chart, Pictures, Series
from tfadv.report.figures import grid_axes, show_picture
from tfadv.report.themes import (
    LETTER,
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
    series_style,
)

# More points than this are thinned before they are drawn: a page with ten such charts would be slow to scroll.
MOST_POINTS = 2000
_MARKED = 40  # points of a line that get markers
_NAMED = 6  # values of a series that the text alternative lists one by one


def draw(item: Chart | Pictures, *, theme: Theme = PAPER, width: float = WIDE) -> Figure:
    """The figure of a chart, or of a grid of pictures; `width` in inches, WIDE or NARROW."""
    if isinstance(item, Pictures):
        return _pictures(item, theme, width)
    named = list(item.series) != [item.y_label]  # otherwise the axis says it
    long = {name: len(_rule_text(item, name)) * LETTER > width - 1 for name in item.rules}
    keys = [*(item.series if named else ()), *(_rule_text(item, name) for name in item.rules if long[name])]
    columns, rows = legend_shape(keys, width)
    figure = blank(width, (2.6 if width < 5 else 3.2) + 0.2 * rows, theme)
    axes = figure.add_subplot()
    for index, (name, series) in enumerate(item.series.items()):
        _DRAW[item.kind](axes, item, index, name, series, theme)
    _heights(axes, item)
    axes.set_xlabel(literal(textwrap.fill(item.x_label, int((width - 0.8) / LETTER))))
    axes.set_ylabel(literal(textwrap.fill(item.y_label, 34)))
    if item.kind == "bars":
        _name_bars(axes, item, theme, width)
        _bar_values(axes, item, theme, width)
    else:
        _x_axis(axes, item, width)
    dress(axes, theme, "y" if item.kind in ("bars", "histogram") else "both")
    _rules(axes, item, theme, long)
    if keys:
        legend(figure, axes, theme, columns, keys)
    return figure


def _lines(axes: Axes, chart: Chart, index: int, name: str, series: Series, theme: Theme) -> None:
    style = series_style(index, theme)
    if len(series.x) > _MARKED:
        style["markevery"] = max(1, len(series.x) // 10)
    if series.low:
        axes.fill_between(series.x, series.low, series.high, color=style["color"], alpha=0.18, linewidth=0)
    axes.plot(series.x, series.y, linewidth=1.8, markersize=4.5, label=literal(name), **style)


def _points(axes: Axes, chart: Chart, index: int, name: str, series: Series, theme: Theme) -> None:
    style, keep = series_style(index, theme), slice(None, None, thinning(chart))
    x, y = np.array(series.x)[keep], np.array(series.y)[keep]
    if series.low:
        low, high = np.array(series.low)[keep], np.array(series.high)[keep]
        reach = np.maximum([y - low, high - y], 0)
        axes.errorbar(x, y, reach, fmt="none", ecolor=style["color"], elinewidth=1, alpha=0.6)
    many = sum(len(each.x) for each in chart.series.values()) > 200
    size, alpha = (12, 0.6) if many else (22, 0.9)
    axes.scatter(
        x, y, size, color=style["color"], marker=style["marker"], label=literal(name), alpha=alpha, linewidths=0
    )


def _bar_places(chart: Chart, index: int) -> tuple[np.ndarray, float]:
    """Where the bars of series number `index` stand, and how broad each is; the bars of one x together take 0.8."""
    places, count = _places(chart), len(chart.series)
    series = list(chart.series.values())[index]
    shift = (index - (count - 1) / 2) * 0.8 / count
    return np.array([places[value] + shift for value in series.x]), 0.72 / count


def _bars(axes: Axes, chart: Chart, index: int, name: str, series: Series, theme: Theme) -> None:
    x, thickness = _bar_places(chart, index)
    y = np.array(series.y)
    axes.bar(x, y, thickness, color=theme.series[index % len(theme.series)], label=literal(name))
    if series.low:
        reach = np.maximum([y - np.array(series.low), np.array(series.high) - y], 0)
        axes.errorbar(x, y, reach, fmt="none", ecolor=theme.ink, elinewidth=1.1, capsize=2.2)


def _bar_values(axes: Axes, chart: Chart, theme: Theme, width: float) -> None:
    """The numbers above the bars, where each has the 0.42 inches that five letters take."""
    if len(_places(chart)) * len(chart.series) * 0.42 > width - 0.8:
        return
    for index, series in enumerate(chart.series.values()):
        for place, value, top in zip(_bar_places(chart, index)[0], series.y, series.high or series.y, strict=True):
            axes.annotate(
                say(value, chart.percent),
                (place, max(top, value, 0)),
                xytext=(0, 2),
                textcoords="offset points",
                ha="center",
                va="bottom",
                color=theme.ink,
                fontsize=8.5,
            )


def _histogram(axes: Axes, chart: Chart, index: int, name: str, series: Series, theme: Theme) -> None:
    style = series_style(index, theme)
    axes.stairs(series.y, series.x, fill=True, color=style["color"], alpha=0.12, linewidth=0)
    axes.stairs(
        series.y, series.x, color=style["color"], linestyle=style["linestyle"], linewidth=1.8, label=literal(name)
    )


_DRAW: Mapping[str, Callable[[Axes, Chart, int, str, Series, Theme], None]] = {
    "lines": _lines,
    "points": _points,
    "bars": _bars,
    "histogram": _histogram,
}


def thinning(chart: Chart) -> int:
    """Every how many points one is drawn: 1 except in a chart of more than `MOST_POINTS` points."""
    if chart.kind != "points":
        return 1
    return max(1, math.ceil(sum(len(series.x) for series in chart.series.values()) / MOST_POINTS))


def _places(chart: Chart) -> dict[float, int]:
    """Where the bars of each x stand."""
    values = range(len(chart.x_names)) if chart.x_names else {x for series in chart.series.values() for x in series.x}
    return {float(value): place for place, value in enumerate(sorted(values))}


def _name_bars(axes: Axes, chart: Chart, theme: Theme, width: float) -> None:
    places = _places(chart)
    names = list(chart.x_names) or [f"{value:g}" for value in places]
    room = min((width - 0.9) / max(len(names), 1), 1.8)  # inches for each
    longest = max((len(word) for name in names for word in name.split()), default=1)
    step = 1 if chart.x_names else max(1, math.ceil((longest + 1) * LETTER / room))
    letters = max(4, int(room * step / LETTER) - 1)
    shown = slice(None, None, step)
    lines = name_ticks(axes.xaxis, list(places.values())[shown], names[shown], letters, theme)
    # Few bars stand in the middle, rather than a hand broad.
    span = max(len(names) + 0.2, (width - 0.9) / 1.8)
    axes.set_xlim((len(names) - 1 - span) / 2, (len(names) - 1 + span) / 2)
    axes.xaxis.labelpad = 10 + 11 * lines


def _x_axis(axes: Axes, chart: Chart, width: float) -> None:
    xs = [x for series in chart.series.values() for x in series.x]
    if chart.log_x:
        axes.set_xscale("log")
        decades = math.log10(max(xs, default=10) / min(xs, default=1))
        axes.xaxis.set_major_locator(LogLocator(subs=(1.0,) if decades > 1.5 else (1.0, 2.0, 5.0)))
        axes.xaxis.set_minor_locator(NullLocator())
    else:
        axes.xaxis.set_major_locator(MaxNLocator(4 if width < 5 else 8, steps=[1, 2, 5, 10]))
        if chart.kind == "lines" and xs and 0 <= min(xs) < 0.3 * max(xs):
            axes.set_xlim(left=0)
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: say(value, False)))


def _heights(axes: Axes, chart: Chart) -> None:
    """The y axis: from 0 where nothing is below; fractions up to 100% unless all are small."""
    parts = [(*series.y, *series.low, *series.high) for series in chart.series.values()]
    values = np.array([*(y for part in parts for y in part), *chart.rules.values()] or [0.0])
    low, high = float(values.min()), float(values.max())
    if chart.percent:
        axes.set_ylim(min(0.0, low), 1.02 if high > 0.35 else max(1.18 * high, 0.01))
        percent_axis(axes.yaxis)
    else:
        if chart.kind in ("bars", "histogram"):
            span = max(high, 0.0) - min(low, 0.0) or 1.0
            axes.set_ylim(min(low, 0.0) - (0.1 * span if low < 0 else 0), max(high, 0.0) + 0.12 * span)
        else:
            margin = 0.08 * (high - low) or 0.1 * abs(high) or 1.0
            axes.set_ylim(low - (0 if low == 0 else margin), high + margin)
        axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: say(value, False)))
    axes.yaxis.set_major_locator(MaxNLocator(5, steps=[1, 2, 2.5, 5, 10]))


def _rule_text(chart: Chart, name: str) -> str:
    return f"{name}: {say(chart.rules[name], chart.percent)}"


def _rules(axes: Axes, chart: Chart, theme: Theme, in_legend: Mapping[str, bool]) -> None:
    """Dashed lines with their names above them, right and left in turn where two come close."""
    bottom, top = axes.get_ylim()
    before, right = -math.inf, True
    for name, height in sorted(chart.rules.items(), key=lambda rule: rule[1]):
        right = not right if height - before < 0.08 * (top - bottom) else True
        before = height
        text = literal(_rule_text(chart, name))
        axes.axhline(height, color=theme.ink, linewidth=1, linestyle=(0, (4, 3)), label=text)
        if in_legend[name]:
            continue
        above = height < top - 0.08 * (top - bottom)
        axes.annotate(
            text,
            (1 if right else 0, height),
            xycoords=("axes fraction", "data"),
            xytext=(-2 if right else 2, 2.5 if above else -3),
            textcoords="offset points",
            ha="right" if right else "left",
            va="bottom" if above else "top",
            color=theme.ink,
            fontsize=8.5,
            bbox={"facecolor": theme.ground, "edgecolor": "none", "pad": 0.8, "alpha": 0.6} if theme.ground else None,
        )


def _pictures(item: Pictures, theme: Theme, width: float) -> Figure:
    across = min(item.columns, 4 if width < 5 else 12, len(item.images))
    tall, broad = item.images.shape[1:3]
    side = min((width - 0.05) / across, 1.3)  # inches from one picture to the next
    labels = [textwrap.wrap(label, max(4, int(side / LETTER))) or [""] for label in item.labels]
    unit = side * tall / broad  # inches of a picture's height, and of a unit of y
    head = (0.155 * max(map(len, labels)) + 0.06) / unit
    rows = math.ceil(len(labels) / across)
    figure = blank(0.05 + across * side, rows * (1.08 + head) * unit, theme)
    axes = grid_axes(figure, 0.0, 0.0, across * 1.08, rows * (1.08 + head))
    low, high = item.bounds or (-picture_scale(item), picture_scale(item))
    for number, (picture, lines) in enumerate(zip(item.images, labels, strict=True)):
        left, top = (number % across) * 1.08, (number // across) * (1.08 + head) + head
        show_picture(axes, (picture - low) / (high - low), left, top, theme)
        for line, text in enumerate(reversed(lines)):
            height = top - (0.04 + 0.155 * line) / unit
            axes.text(left + 0.5, height, literal(text), ha="center", va="bottom", color=theme.ink, fontsize=9)
    return figure


def picture_scale(item: Pictures) -> float:
    """The largest absolute value in the pictures; 1 if all are 0."""
    return float(np.abs(item.images).max()) or 1.0


def say(value: float, percent: bool) -> str:
    """A number as a reader wants it: "12.5%", "1,200", "0.0314"."""
    if percent:
        return f"{100 * value:.1f}%"
    # Rounded first, because ticks come as 0.30000000000000004.
    text = f"{value:,.0f}" if 1000 <= abs(value) < 1e7 else f"{float(f'{value:.4g}'):g}"
    return f"−{text[1:]}" if text.startswith("-") else text


def caption(item: Chart | Pictures) -> str:
    """The title, and what a reader of the figure has to know beside it."""
    if isinstance(item, Pictures):
        scale = picture_scale(item)
        return item.title if item.bounds else f"{item.title} Gray is 0, black −{scale:.3g}, white +{scale:.3g}."
    notes = []
    if any(series.low for series in item.series.values()) and "interval" not in item.title:
        notes.append("The bands are ranges." if item.kind == "lines" else "The thin lines are ranges.")
    if thinning(item) > 1:
        notes.append(f"One point in {thinning(item)} is drawn.")
    return " ".join((item.title, *notes))


def alternative(item: Chart | Pictures) -> str:
    """A text for readers who do not see the figure, with the numbers that matter."""
    if isinstance(item, Pictures):
        more = "" if len(item.labels) <= 16 else f" and {len(item.labels) - 16} more"
        count = f"{len(item.labels)} picture{'s' if len(item.labels) > 1 else ''}"
        return f"{count}. {caption(item)} Labels: {', '.join(item.labels[:16])}{more}."
    kind = {"lines": "Line chart", "points": "Scatter plot", "bars": "Bar chart", "histogram": "Histogram"}[item.kind]
    parts = [f"{name}: {_series_in_words(item, series)}" for name, series in item.series.items()]
    parts += [f"dashed line, {name}: {say(height, item.percent)}" for name, height in item.rules.items()]
    return f"{kind}. {caption(item)} {item.y_label} against {item.x_label}. {'; '.join(parts) or 'No data'}."


def _series_in_words(chart: Chart, series: Series) -> str:
    if not series.y:
        return "no data"

    def at(index: int) -> str:
        x = series.x[index]
        name = chart.x_names[int(x)] if chart.x_names else say(x, False)
        return f"{say(series.y[index], chart.percent)} at {name}"

    lowest, highest = int(np.argmin(series.y)), int(np.argmax(series.y))
    if chart.kind == "histogram":
        peak = f"most, {say(series.y[highest], chart.percent)}, between {say(series.x[highest], False)}"
        ends = f"from {say(series.x[0], False)} to {say(series.x[-1], False)}"
        return f"{len(series.y)} bins {ends}, {peak} and {say(series.x[highest + 1], False)}"
    if chart.kind == "points" and len(series.y) > _NAMED:
        ends = f"x from {say(min(series.x), False)} to {say(max(series.x), False)}"
        heights = f"y from {say(series.y[lowest], chart.percent)} to {say(series.y[highest], chart.percent)}"
        return f"{len(series.y):,} points, {ends}, {heights}"
    if len(series.y) <= (2 * _NAMED if chart.kind == "bars" else _NAMED):
        return ", ".join(map(at, range(len(series.y))))
    return f"from {at(0)} to {at(len(series.y) - 1)}; lowest {at(lowest)}, highest {at(highest)}"
