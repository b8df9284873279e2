"""The page as a reader sees it: in Chromium, on a desktop and a phone, light and dark."""

import contextlib
import itertools
import json
import os
import re
import select
import shutil
import subprocess
import time

import numpy as np
import pytest

from tfadv.report import compare, html
from tfadv.report.charts import Chart, Pictures, Series
from tfadv.report.collection import Collection
from tfadv.report.records import Check
from tfadv.report.section import Curve, Section
from tfadv.report.tables import Table

pytestmark = pytest.mark.slow

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
CHROMIUM_FLAGS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--remote-debugging-pipe",
)


class Browser:
    """Headless Chromium, driven over its debugging pipe: JSON messages ending in a zero byte, descriptors 3 and 4."""

    def __init__(self, profile):
        (to_read, self.to), (self.back, back_write) = os.pipe(), os.pipe()
        command = [CHROMIUM, *CHROMIUM_FLAGS, f"--user-data-dir={profile}", "about:blank"]
        shell = f'exec "$@" 3<&{to_read} 4>&{back_write}'
        self.process = subprocess.Popen(
            ["bash", "-c", shell, "bash", *command],
            pass_fds=(to_read, back_write),
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        os.close(to_read)
        os.close(back_write)
        self.pending, self.numbers, self.session, self.events = b"", itertools.count(1), None, []
        target = next(t for t in self.call("Target.getTargets")["targetInfos"] if t["type"] == "page")["targetId"]
        self.session = self.call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        for domain in ("Page", "Runtime", "Log", "Network"):
            self.call(f"{domain}.enable")

    def message(self):
        deadline = time.monotonic() + 60
        while b"\0" not in self.pending:
            if not select.select([self.back], [], [], max(0, deadline - time.monotonic()))[0]:
                raise TimeoutError("Chromium has not answered for a minute")
            chunk = os.read(self.back, 1 << 20)
            if not chunk:
                raise ConnectionError("Chromium has ended")
            self.pending += chunk
        text, self.pending = self.pending.split(b"\0", 1)
        return json.loads(text)

    def call(self, method, **params):
        number = next(self.numbers)
        session = {} if self.session is None else {"sessionId": self.session}
        os.write(self.to, json.dumps({"id": number, "method": method, "params": params, **session}).encode() + b"\0")
        while (message := self.message()).get("id") != number:
            self.events.append(message)
        assert "error" not in message, message
        return message["result"]

    def open(self, url, width, scheme):
        size = {"width": width, "height": 800, "deviceScaleFactor": 1, "mobile": width < 600}
        self.call("Emulation.setDeviceMetricsOverride", **size)
        self.call("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": scheme}])
        self.events.clear()
        self.call("Page.navigate", url=url)
        while not any(event.get("method") == "Page.loadEventFired" for event in self.events):
            self.events.append(self.message())

    def value(self, expression):
        result = self.call("Runtime.evaluate", expression=expression, returnByValue=True, awaitPromise=True)
        assert "exceptionDetails" not in result, result
        return result["result"].get("value")

    def close(self):
        with contextlib.suppress(OSError):
            os.close(self.to)
        self.process.terminate()
        self.process.wait(30)
        os.close(self.back)


@pytest.fixture(scope="module")
def browser(tmp_path_factory):
    if CHROMIUM is None:
        pytest.skip("Chromium is not installed (Debian: apt-get install chromium)")
    browser = Browser(tmp_path_factory.mktemp("profile"))
    yield browser
    browser.close()


X = (0.0, 0.1, 0.2, 0.3)
LINES = Chart(
    "Accuracy against epsilon.",
    "epsilon (linf, image units)",
    "accuracy",
    {
        f"defense number {number}": Series(X, *(tuple(0.9 - number * x / 4 + d for x in X) for d in (0, -0.05, 0.05)))
        for number in range(7)
    },
    rules={"share of the largest class": 0.11},
    percent=True,
)
CHARTS = (
    LINES,
    Chart("Scale.", "factor on the logits", "loss", {"margin": Series((0.001, 1, 1000), (1, 2, 3))}, log_x=True),
    Chart("Distances.", "predicted", "found", {"a": Series(X, X), "b": Series(X, X[::-1])}, "points"),
    Chart(
        "Effort.", "effort", "accuracy", {"a": Series((0, 1), (0.5, 0.4))}, "bars", x_names=("suite", "twice the steps")
    ),
    Chart(
        "Gaps.", "gap", "images", {"a": Series((0, 1, 2, 3), (3, 9, 1)), "b": Series((0, 2, 3), (5, 4))}, "histogram"
    ),
    Pictures("Filters.", np.random.default_rng(0).random((10, 5, 5, 1)), [f"filter {number}" for number in range(10)]),
)
CHECKS = (
    Check(
        "epsilon 0 equals the clean accuracy", "passed", "0 of 100 examples change", "Carlini et al. 2019", "none", 0.0
    ),
    Check(
        "accuracy falls as epsilon grows",
        "passed",
        "largest rise 0.0%",
        "Carlini et al. 2019",
        "no rise",
        0.0,
        0,
        LINES,
    ),
    Check("twice the steps change nothing", "failed", "1 new image", "Carlini et al. 2019", "none", 1.0, 1, CHARTS[3]),
    Check("cross-entropy saturates", "warning", "43 of 100 gradients vanish", "Croce and Hein 2020", "reported"),
    Check("transfer", "not run", "no source model", "Carlini et al. 2019, arXiv:1902.06705", "fewer than 3"),
    Check("binarization", "not applicable", "the suite has no such attack", "Zimmermann et al. 2022"),
)
TABLE = Table(
    ("model", "a rather long heading", "norm"), (("natural", "8.1", "31"), ("this one", "4.2", "11")), "Logits."
)
PAGES = ("overestimated", "trusted", "unverified", "no verdict", "collection", "leaderboard")


@pytest.fixture
def opened(browser, make_judged, make_report, folder):
    """A function that opens one of PAGES."""
    curves = {"PGD": Curve((100, 200), (0.25, 0.5), (0.2, 0.45), (0.3, 0.55))}
    sections = (Section("Analysis", ("Words.",), TABLE, charts=CHARTS), Section("Training", curves=curves))

    def make(page):
        if page == "collection":
            return Collection("Two nets", (make_judged("trusted"), make_report(name="second net")), sections, "Both.")
        if page == "leaderboard":
            reports = [make_judged(word, name=f"the net that is {word}") for word in ("overestimated", "trusted")]
            return compare.leaderboard([*reports, make_report()], claimed={"small net": 0.89})
        if page == "no verdict":
            return make_report(checks=(), examples=None)
        return make_judged(page, claimed=0.69 if page == "overestimated" else None, checks=CHECKS, sections=sections)

    def open_page(page, width, scheme="light"):
        file = folder / f"{page}.html"
        if not file.exists():
            file.write_text(html.render(make(page)), encoding="utf-8")
        browser.open(file.as_uri(), width, scheme)

    return open_page


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Keeps each page for all tests."""
    return tmp_path_factory.mktemp("pages")


# Text that is shown, with its color and that of the ground behind it, as {text, color, ground}.
TEXTS = """(() => {
  const opaque = color => !/, 0\\)$|transparent/.test(color);
  const found = [];
  for (const element of document.querySelectorAll('body *')) {
    const own = [...element.childNodes].filter(n => n.nodeType === 3 && n.textContent.trim());
    if (!own.length || !element.checkVisibility()) continue;
    let behind = element;
    while (behind && !(behind instanceof HTMLElement && opaque(getComputedStyle(behind).backgroundColor)))
      behind = behind.parentElement;
    const style = getComputedStyle(element), drawn = element instanceof SVGElement;
    found.push({text: own[0].textContent.trim(), color: drawn ? style.fill : style.color, drawn,
      ground: getComputedStyle(behind || document.body).backgroundColor,
      size: element.getBoundingClientRect().height, font: parseFloat(style.fontSize)
        * (drawn ? element.ownerSVGElement.clientWidth / element.ownerSVGElement.viewBox.baseVal.width : 1)});
  }
  return found;
})()"""

# The drawings that are shown: where each lies, its text alternative, and the texts that leave it or lie on another.
DRAWINGS = """[...document.querySelectorAll('svg.plot')].filter(s => s.checkVisibility()).map(s => {
  const box = s.getBoundingClientRect();
  const texts = [...s.querySelectorAll('text')].map(t => [t.textContent, t.getBoundingClientRect()]);
  const apart = (a, b) => a.right < b.left + 1 || b.right < a.left + 1 || a.bottom < b.top + 3 || b.bottom < a.top + 3;
  return {label: s.getAttribute('aria-label'), width: box.width, height: box.height, kind: s.getAttribute('class'),
    outside: texts.filter(([_, t]) => t.left < box.left - 2 || t.right > box.right + 2).map(([name]) => name),
    overlapping: texts.flatMap(([one, a], i) => texts.slice(i + 1).filter(([_, b]) => !apart(a, b))
      .map(([two]) => one + ' / ' + two))};
})"""

# Every picture inside the drawings and the page, loaded anew: its width in pixels.
PICTURES = """Promise.all([...document.querySelectorAll('image, img')].map(async i => {
  const copy = new Image();
  copy.src = i.getAttribute('href') || i.src;
  await copy.decode();
  return copy.naturalWidth;
}))"""


def channels(color):
    return np.array(re.findall(r"[\d.]+", color)[:3], float)


def contrast(one, other):
    """Of two "rgb(r, g, b)" (WCAG 2.1)."""
    linear = [c / 255 for c in (channels(one), channels(other))]
    linear = [np.where(c <= 0.04045, c / 12.92, ((c + 0.055) / 1.055) ** 2.4) for c in linear]
    dark, light = sorted(float(c @ [0.2126, 0.7152, 0.0722]) for c in linear)
    return (light + 0.05) / (dark + 0.05)


@pytest.mark.parametrize("page", PAGES)
@pytest.mark.parametrize("width", [360, 1280])
def test_the_page_reads_well(browser, opened, page, width):
    """Nothing is reported, everything is loaded, nothing is cut off, every text is large and clear enough."""
    colors = {}
    for scheme in ("light", "dark"):
        opened(page, width, scheme)
        methods = {event["method"] for event in browser.events if "method" in event}
        assert not {"Log.entryAdded", "Runtime.consoleAPICalled", "Runtime.exceptionThrown"} & methods
        requests = [
            e["params"]["request"]["url"] for e in browser.events if e.get("method") == "Network.requestWillBeSent"
        ]
        assert requests
        assert all(url.startswith(("file:", "data:")) for url in requests)
        assert browser.value("document.documentElement.scrollWidth") <= width
        pictures = browser.value(PICTURES)
        assert (min(pictures) if pictures else 1) > 0
        assert bool(pictures) == (page != "no verdict")
        # Everything that a reader may open is open from here on.
        browser.value("document.querySelectorAll('details').forEach(d => d.open || d.querySelector('summary').click())")
        drawings = browser.value(DRAWINGS)
        assert len(drawings) == browser.value("document.querySelectorAll('figure').length") > 0
        for each in drawings:
            assert each["kind"] == ("plot narrow" if width == 360 else "plot wide")
            assert each["width"] > 200
            assert each["height"] > 60
            assert len(each["label"]) > 40
            assert each["outside"] == each["overlapping"] == []
        texts = browser.value(TEXTS)
        assert len(texts) > 100
        assert [t for t in texts if t["font"] < (10.5 if t["drawn"] else 12)] == []
        assert [t for t in texts if contrast(t["color"], t["ground"]) < 4.5] == []
        assert browser.value("document.documentElement.scrollWidth") <= width
        colors[scheme] = {(t["text"], t["color"], t["ground"]) for t in texts}
        ground = channels(browser.value("getComputedStyle(document.body).backgroundColor")).mean()
        assert (ground < 128) == (scheme == "dark")
    assert not colors["light"] & colors["dark"]  # no text keeps its colors


@pytest.mark.parametrize("page", PAGES)
def test_headings_are_in_order_and_every_image_and_table_has_a_name(browser, opened, page):
    """As assistive technology hears it: levels without gaps, named images, tables with heads of rows and columns."""
    for width in (360, 1280):
        opened(page, width)
        headings = browser.value(
            "[...document.querySelectorAll('h1,h2,h3,h4')].map(h => [+h.tagName[1], h.textContent])"
        )
        levels = [level for level, _ in headings]
        assert levels[0] == 1
        assert levels.count(1) == 1
        assert all(after <= before + 1 for before, after in itertools.pairwise(levels))
        assert all(text.strip() for _, text in headings)
        nodes = [n for n in browser.call("Accessibility.getFullAXTree")["nodes"] if not n.get("ignored")]
        roles = [node["role"]["value"] for node in nodes]
        images = [node["name"]["value"] for node in nodes if node["role"]["value"] in ("image", "img")]
        assert len(images) >= browser.value("document.querySelectorAll('figure').length") - roles.count(
            "DisclosureTriangle"
        )
        assert min(map(len, images)) > 20
        assert roles.count("table") >= 1
        assert {"rowheader", "columnheader"} <= set(roles)
        if page == "overestimated":
            assert [text for _, text in headings][1] == "Verdict: Overestimated"


def test_a_closed_figure_opens_on_a_click_and_that_of_a_failed_check_is_open(browser, opened):
    opened("overestimated", 1280)
    figures = "[...document.querySelectorAll('.checks details')]"
    assert browser.value(f"{figures}.map(d => d.open)") == [True, False]
    shown = f"{figures}.map(d => d.querySelector('.wide').checkVisibility())"
    assert browser.value(shown) == [True, False]
    x, y = browser.value(
        f"(() => {{ const s = {figures}[1].querySelector('summary'); s.scrollIntoView(); "
        "const b = s.getBoundingClientRect(); return [b.left + 10, b.top + 10]; })()"
    )
    for kind in ("mousePressed", "mouseReleased"):
        browser.call("Input.dispatchMouseEvent", type=kind, x=x, y=y, button="left", clickCount=1)
    assert browser.value(shown) == [True, True]


def test_on_paper_the_page_is_light_wide_and_complete(browser, opened):
    """Printing from a dark screen: dark text on a white ground, the wide figures, and the closed ones too."""
    opened("overestimated", 700, "dark")
    dark = [{"name": "prefers-color-scheme", "value": "dark"}]
    browser.call("Emulation.setEmulatedMedia", media="print", features=dark)
    assert browser.value("getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)"
    drawings = browser.value(DRAWINGS)
    assert {each["kind"] for each in drawings} == {"plot wide"}
    assert len(drawings) == browser.value("document.querySelectorAll('figure').length")
    assert [t for t in browser.value(TEXTS) if contrast(t["color"], t["ground"]) < 4.5] == []
    browser.call("Emulation.setEmulatedMedia", media="")
