"""A plot inside the page: its own ids, the page's colors and font, nothing that reaches beyond it, and few bytes."""

import re
import xml.etree.ElementTree as ElementTree

import numpy as np
import pytest

from tfadv.report import plots, themes
from tfadv.report.charts import Chart, Pictures, Series
from tfadv.report.section import Curve, Section
from tfadv.report.themes import LIGHT, WIDE

CHART = Chart(
    "Accuracy.",
    "epsilon",
    "accuracy",
    {f"net {index}": Series((0, 0.1, 0.2), (0.9, 0.5, 0.1), (0.8, 0.4, 0), (1, 0.6, 0.2)) for index in range(7)},
    rules={"limit": 0.4},
    percent=True,
)


def elements(markup):
    return list(ElementTree.fromstring(str(markup)).iter())


def test_the_wide_and_the_narrow_drawing_are_images_with_the_text_alternative():
    plot = plots.chart_plot(CHART, "loss")
    for markup, kind in ((plot.wide, "wide"), (plot.narrow, "narrow")):
        root = elements(markup)[0]
        assert (root.tag, root.get("class"), root.get("role")) == ("svg", f"plot {kind}", "img")
        assert root.get("aria-label") == plot.alt
        assert "net 6: 90.0% at 0" in plot.alt
    assert elements(plot.wide)[0].get("style") == "max-width:864px"  # 9 inches at 96 pixels
    assert elements(plot.narrow)[0].get("style") == "max-width:326px"


def test_every_color_is_a_variable_of_the_page():
    style = " ".join(element.get("style", "") for element in elements(plots.chart_plot(CHART, "x").wide))
    assert re.findall("#[0-9a-fA-F]{3,}", style) == []
    assert {f"var(--series-{number})" for number in range(1, 8)} <= set(re.findall(r"var\([^)]*\)", style))
    assert "var(--ink)" in style
    assert "font-family" not in style


def test_letters_are_text_in_the_font_of_the_page():
    words = [element.text for element in elements(plots.chart_plot(CHART, "x").wide) if element.tag == "text"]
    assert {"net 0", "net 6", "epsilon", "0.1", "50%", "limit: 40.0%"} <= set(words)


@pytest.mark.parametrize("style", ["font: 700 9px 'DejaVu Sans', Arial", "font-size: 9px; font-family: 'DejaVu Sans'"])
def test_a_font_is_left_to_the_page_however_it_is_written(style):
    """Versions of Matplotlib differ in that."""
    svg = f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 9 9"><text style="{style}; fill: none">a</text></svg>'
    (text,) = [each for each in elements(plots.inline(svg.encode(), "x", "wide", "alt")) if each.tag == "text"]
    assert text.get("style") == "font-size: 9px;fill: none"


def test_ids_of_two_plots_differ_and_every_reference_leads_to_its_own():
    pictures = Pictures("Filters.", np.random.default_rng(0).random((2, 4, 4, 1)), ("a", "b"))
    known = set()
    for name, item in (("one", CHART), ("two", CHART), ("pictures", pictures)):
        plot = plots.chart_plot(item, name)
        for markup in (plot.wide, plot.narrow):
            ids = {element.get("id") for element in elements(markup)} - {None}
            referred = set(re.findall(r'(?:url\(|href=")#([^")]+)', str(markup)))
            assert referred == ids
            assert not ids & known
            known |= ids
    assert known


def test_nothing_reaches_beyond_the_drawing():
    """A style element inside would style the whole page; nothing is loaded from elsewhere."""
    markup = plots.chart_plot(CHART, "x").wide
    assert {element.tag for element in elements(markup)} <= {
        "svg",
        "g",
        "path",
        "use",
        "text",
        "defs",
        "clipPath",
        "rect",
    }
    assert not re.search(r"https?:|<!|<\?", str(markup))


def test_a_text_of_the_user_is_escaped_and_not_recolored():
    evil = "</svg><script>alert(1)</script>#0072b2"
    markup = str(plots.chart_plot(Chart(evil, evil, "y", {evil: Series((0, 1), (1, 2))}), "x").wide)
    assert "<script" not in markup
    assert "#0072b2" in markup


def test_pictures_keep_their_pixels_and_are_data():
    images = np.zeros((1, 4, 4, 1), np.float32)
    (image,) = [e for e in elements(plots.chart_plot(Pictures("F.", images, ("a",)), "x").wide) if e.tag == "image"]
    assert image.get("href").startswith("data:image/png;base64,")
    assert "pixelated" in image.get("style")


def test_rounded_paths_stay_within_a_hundredth_of_a_point():
    plot = plots.chart_plot(CHART, "x")
    exact = ElementTree.fromstring(themes.to_svg(plot.draw(LIGHT, WIDE), letters="none"))

    def numbers(paths):
        return np.array([float(n) for path in paths for n in re.findall(r"-?[\d.]+", path)])

    before = numbers(e.get("d") for e in exact.iter() if e.tag.endswith("}path"))
    after = numbers(e.get("d") for e in elements(plot.wide) if e.tag == "path")
    np.testing.assert_allclose(after, before, atol=0.0051)


def test_a_chart_takes_few_bytes_and_a_thousand_points_share_their_style():
    assert len(plots.chart_plot(CHART, "x").wide) < 25_000
    random = np.random.default_rng(0).random((2, 1000))
    points = str(plots.chart_plot(Chart("P.", "x", "y", {"a": Series(*map(tuple, random))}, "points"), "p").wide)
    assert points.count("<use ") >= 1000
    assert len(points) < 80_000


def test_the_curves_of_a_section_are_one_plot_before_its_charts():
    section = Section(
        "S", curves={"net": Curve((100, 200), (0.25, 0.5), (0.2, 0.4), (0.3, 0.6))}, charts=(CHART, CHART)
    )
    found = plots.section_plots(section, "model-2-", 3)
    assert [plot.name for plot in found] == ["model-2-curves-3", "model-2-charts-3-1", "model-2-charts-3-2"]
    assert found[0].caption == "Accuracy against training steps, with 95% intervals."
    assert "net: 25.0% at 100, 50.0% at 200" in found[0].alt
    epsilon = plots.section_plots(Section("S", curves=section.curves, axis="epsilon"), "", 1)
    assert "against epsilon (image units)" in epsilon[0].alt
    assert plots.section_plots(Section("S"), "", 1) == []


def test_the_alternative_of_the_bars_and_of_the_examples_hold_the_numbers(make_report):
    report = make_report()
    assert "clean 75.0%, first 50.0%, second 50.0%, worst case 25.0%" in plots.attack_plot((report,)).alt
    assert "small net: clean 75.0%" in plots.attack_plot((report, make_report(name="b"))).alt
    assert "class 1 read as 7, class 4 read as 9" in plots.example_plot(report, "examples").alt
    assert plots.example_plot(make_report(examples=None), "examples") is None


@pytest.mark.parametrize("kind", ["attacks", "examples"])
def test_the_plots_of_a_report_are_drawn_in_the_variables_of_the_page_too(make_report, kind):
    plot = plots.attack_plot((make_report(),)) if kind == "attacks" else plots.example_plot(make_report(), "examples")
    texts = {element.text for element in elements(plot.narrow) if element.tag == "text"}
    assert texts >= ({"first", "50.0%"} if kind == "attacks" else {"clean", "1 → 7", "±0.2"})
    assert "fill: #000" not in str(plot.narrow)
