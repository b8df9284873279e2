"""The plots of a report, as the page shows them: what to draw, the words beside it, and the drawing inside the page.

A plot stands in the page twice, wide and narrow, and the style sheet shows one. It is inline SVG whose colors are the
page's variables and whose letters are text in the page's font, so that it follows light, dark and print, needs no
script, and takes 10 kB where an image for each width and theme would take 300.
"""

from __future__ import annotations

import dataclasses
import functools
import re
import xml.etree.ElementTree as ElementTree
from collections.abc import Callable, Sequence

from markupsafe import Markup
from matplotlib.figure import Figure

from tfadv.report import chart_figures, figures, themes
from tfadv.report.charts import Chart, Pictures
from tfadv.report.figures import Bar
from tfadv.report.report import Report
from tfadv.report.section import Section
from tfadv.report.tables import one_line, percent
from tfadv.report.themes import LIGHT, NARROW, WIDE, Theme

# Colors of the theme that is drawn -> the page's variables, which the style sheet sets for light and for dark.
_VARIABLES = {
    LIGHT.ink: "var(--ink)",
    LIGHT.faint: "var(--faint)",
    LIGHT.grid: "var(--grid)",
    **{color: f"var(--series-{number})" for number, color in enumerate(LIGHT.series, start=1)},
}
_LONG_NUMBER = re.compile(r"-?\d+\.\d{3,}")


@dataclasses.dataclass(frozen=True)
class Plot:
    """A plot of the page.

    Attributes:
        name: unique in the page; the stem of its files.
        alt: text alternative.
        caption: what stands below it.
        draw: (theme, width in inches) -> figure.
        saved: whether it is also written as PNG and SVG.
    """

    name: str
    alt: str
    caption: str
    draw: Callable[[Theme, float], Figure]
    saved: bool = True

    @functools.cached_property
    def wide(self) -> Markup:
        """The drawing for a desktop page."""
        return self._inline(WIDE, "wide")

    @functools.cached_property
    def narrow(self) -> Markup:
        """The drawing for a phone."""
        return self._inline(NARROW, "narrow")

    def _inline(self, width: float, kind: str) -> Markup:
        drawing = themes.to_svg(self.draw(LIGHT, width), letters="none")
        return inline(drawing, f"{self.name}-{kind}", kind, self.alt)


def inline(drawing: bytes, prefix: str, kind: str, alt: str) -> Markup:
    """An SVG file of Matplotlib as an element of an HTML page.

    Its ids get `prefix`, because they are those of the page now; colors become variables; the font is the page's;
    numbers lose the decimals below a hundredth of a point; style rules and comments, which would reach the whole page,
    go.
    """
    root = ElementTree.fromstring(drawing)
    for element in root.iter():
        element.tag = element.tag.split("}")[1]
        element.tail = None
        if element.tag != "text":
            element.text = None
        attributes = {name.split("}")[-1]: value for name, value in element.attrib.items()}
        element.attrib.clear()
        for name, value in attributes.items():
            element.set(name, _attribute(name, value, prefix))
        for child in [child for child in element if child.tag.endswith("}style")]:
            element.remove(child)
    _prune(root)
    _share(root)
    _flatten(root)
    width, height = (float(part) for part in root.get("viewBox", "0 0 1 1").split()[2:])
    root.attrib.clear()
    root.attrib.update(
        {
            "class": f"plot {kind}",
            "viewBox": f"0 0 {width:g} {height:g}",
            "style": f"max-width:{96 * width / 72:.0f}px",
            "role": "img",
            "aria-label": one_line(alt),
        }
    )
    return Markup(ElementTree.tostring(root, encoding="unicode"))  # escaped by ElementTree


def _attribute(name: str, value: str, prefix: str) -> str:
    if name == "id":
        return f"{prefix}-{value}"
    if name in ("href", "clip-path"):
        return re.sub(r"^(url\()?#", rf"\g<0>{prefix}-", value)
    if name == "style":
        # Some versions of Matplotlib write size and family in one: "font: 9px 'DejaVu Sans'".
        value = re.sub(r"\bfont:[^;]*?([\d.]+px)[^;]*", r"font-size: \1", value)
        parts = [part.strip() for part in value.split(";") if "font-family" not in part]
        return ";".join(re.sub("#[0-9a-f]{6}", lambda color: _VARIABLES.get(color[0], color[0]), p) for p in parts)
    if name in ("d", "x", "y", "width", "height") or value.startswith("rotate"):  # a matrix needs its decimals
        short = _LONG_NUMBER.sub(lambda number: f"{float(number[0]):.2f}".rstrip("0").rstrip("."), value)
        return re.sub(r"\s+", " ", short).strip()
    return value


def _prune(root: ElementTree.Element) -> None:
    """Drops rotations by nothing, and ids that nothing refers to."""
    referred = {
        value.split("#")[1].rstrip(")") for each in root.iter() for value in each.attrib.values() if "#" in value
    }
    for each in root.iter():
        if each.get("id") not in referred:
            each.attrib.pop("id", None)
        if each.get("transform", "").startswith("rotate(-0 "):
            del each.attrib["transform"]


def _flatten(element: ElementTree.Element) -> None:
    """Puts what is in groups without attributes in their place, and drops groups that hold nothing."""
    kept: list[ElementTree.Element] = []
    for child in element:
        _flatten(child)
        if child.tag != "g" or (child.attrib and len(child)):
            kept.append(child)
        else:
            kept += child
    element[:] = kept


def _share(element: ElementTree.Element) -> None:
    """Moves style and clip path that all elements of a group have onto the group: many points repeat them."""
    for group in element.iter("g"):
        for name in ("style", "clip-path"):
            values = {child.get(name) for child in group}
            if len(group) > 2 and len(values) == 1 and None not in values and not group.get(name):
                group.set(name, str(values.pop()))
                for child in group:
                    del child.attrib[name]


def attack_plot(reports: Sequence[Report]) -> Plot:
    """The accuracies of `Report.table`, of all `reports` in one plot."""
    series = {report.name: _bars(report) for report in reports}
    count = max(report.count for report in reports)
    spoken = [
        (f"{name}: " if len(series) > 1 else "") + ", ".join(f"{b.label} {percent(b.accuracy, count)}" for b in bars)
        for name, bars in series.items()
    ]
    return Plot(
        "attacks",
        f"Bar chart of accuracies with 95% intervals. {'; '.join(spoken)}.",
        "Accuracy on the clean images, under each attack alone, and in the per-example worst case.",
        lambda theme, width: figures.attack_bars(series, count, theme=theme, width=width),
    )


def _bars(report: Report) -> list[Bar]:
    return [
        Bar("clean", report.clean_accuracy, *report.clean_interval),
        *(Bar(row.name, row.accuracy, *row.interval) for row in report.rows),
        Bar("worst case", report.robust_accuracy, *report.interval),
    ]


def example_plot(report: Report, name: str) -> Plot | None:
    """The example images of `report`, or None where it has none."""
    examples = report.examples
    if examples is None or not len(examples.clean):
        return None
    pairs = zip(examples.labels[:8], examples.predictions[:8], strict=True)
    changes = ", ".join(f"class {label} read as {prediction}" for label, prediction in pairs)
    scale = figures.difference_scale(examples)
    return Plot(
        name,
        f"Example images of {report.name}: clean, adversarial, and their difference. After the attack: {changes}.",
        "Above each column: true class → class that the model predicts after the attack. In the difference, mid-gray "
        f"is no change, black is −{scale:.3g} and white +{scale:.3g} (the largest change in these images).",
        lambda theme, width: figures.image_grid(examples, report.threat.bounds, theme=theme, width=width),
    )


def chart_plot(item: Chart | Pictures, name: str, saved: bool = True) -> Plot:
    """A chart or a grid of pictures."""
    return Plot(
        name,
        chart_figures.alternative(item),
        chart_figures.caption(item),
        lambda theme, width: chart_figures.draw(item, theme=theme, width=width),
        saved,
    )


def section_plots(section: Section, prefix: str, number: int) -> list[Plot]:
    """The curves and the charts of section number `number`; `prefix` begins their names."""
    charts = [
        chart_plot(item, f"{prefix}charts-{number}-{place}") for place, item in enumerate(section.charts, start=1)
    ]
    if not section.curves:
        return charts
    return [chart_plot(section.curve_chart(), f"{prefix}curves-{number}"), *charts]
