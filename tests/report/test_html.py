"""The page escapes, refers to nothing outside, and reads well in a browser; saving is all or nothing."""

import base64
import contextlib
import errno
import itertools
import json
import os
import pathlib
import re
import select
import shutil
import subprocess
import tempfile
import time
from html.parser import HTMLParser

import numpy as np
import pytest

from tfadv.report import figures
from tfadv.report import html as page
from tfadv.report.collection import Collection, Curve, Section
from tfadv.report.records import STATEMENT, Check, ThreatModel
from tfadv.report.tables import Table
from tfadv.validation import UserError

EVIL = "<script>alert('&')</script>\" onload=\"x"


class Elements(HTMLParser):
    """Every element of a page as (tag, attributes), and the text between them."""

    def __init__(self, source):
        super().__init__()
        self.found, self.text = [], ""
        self.feed(source)

    def handle_starttag(self, tag, attrs):
        self.found.append((tag, dict(attrs)))

    def handle_data(self, data):
        self.text += data

    def named(self, *tags):
        return [attributes for tag, attributes in self.found if tag in tags]


@pytest.fixture
def collection(make_report):
    curve = Curve((100, 200), (0.25, 0.5), (0.2, 0.45), (0.3, 0.55))
    sections = (Section("Cross-check", "Same start.", Table(("pair", "agree"), (("PGD", "4 of 4"),)), {"net": curve}),)
    return Collection("Two nets", (make_report(), make_report(name="second net")), sections)


@pytest.mark.usefixtures("unrendered")
def test_the_headline_its_interval_the_threat_and_the_statement_are_on_the_page(make_report):
    text = Elements(page.render(make_report())).text
    for part in (
        "25.0%",
        "0.6% to 80.6%",
        "1 of 4 images",
        "75.0%",
        STATEMENT,
        "change every pixel value by at most 0.2",
    ):
        assert part in text
    for check in make_report().checks:
        assert check.name in text
        assert check.evidence in text
    assert "1 passed, 1 failed, 1 not run" in text


@pytest.mark.usefixtures("unrendered")
def test_every_text_from_outside_is_escaped(make_report, make_attack):
    report = make_report(
        name=EVIL,
        dataset=EVIL,
        threat=ThreatModel(EVIL, 0.2, knowledge=EVIL, goal=EVIL),
        rows=(make_attack(EVIL, [1, 0, 0, 0], 0, config={EVIL: EVIL}, precision=EVIL),),
        checks=(Check(EVIL, None, EVIL, EVIL),),
        versions={EVIL: EVIL},
        settings={EVIL: EVIL},
    )
    section = Section(EVIL, EVIL, Table((EVIL, EVIL), ((EVIL, EVIL),), EVIL), {EVIL: Curve((1,), (1,), (1,), (1,))})
    for subject in (report, Collection(EVIL, (report,), (section,), EVIL)):
        elements = Elements(page.render(subject))
        assert elements.named("script") == []
        assert not any("onload" in attributes for _, attributes in elements.found)
        assert elements.text.count("<script>alert('&')</script>") >= 10


def test_nothing_outside_the_file_is_referred_to(collection):
    source = page.render(collection)
    elements = Elements(source)
    assert elements.named("script", "iframe", "object", "embed", "base", "form") == []
    references = [
        value
        for _, attributes in elements.found
        for key, value in attributes.items()
        if key in ("src", "srcset", "href", "poster", "data", "action")
    ]
    assert references
    assert all(value.startswith("data:") for value in references)
    without_data = re.sub(r"data:image/svg\+xml;base64,[A-Za-z0-9+/=]+", "", source)
    assert re.findall(r"(?i)https?:|//\w|url\(|@import", without_data) == []
    for value in references:
        if "base64," in value:
            drawing = base64.b64decode(value.split("base64,")[1]).decode()
            assert all(link.startswith(("#", "data:")) for link in re.findall(r'href="([^"]*)"', drawing))
            assert "<script" not in drawing


@pytest.mark.usefixtures("unrendered")
def test_headings_descend_one_level_at_a_time_and_there_is_one_title(collection, make_report):
    for subject in (collection, make_report()):
        elements = Elements(page.render(subject))
        levels = [int(tag[1]) for tag, _ in elements.found if re.fullmatch("h[1-6]", tag)]
        assert levels.count(1) == 1
        assert levels[0] == 1
        assert all(after <= before + 1 or (before, after) == (1, 3) for before, after in itertools.pairwise(levels))
        assert len(elements.named("title")) == len(elements.named("main")) == 1
        assert elements.named("html") == [{"lang": "en"}]


@pytest.mark.usefixtures("unrendered")
def test_every_figure_has_a_text_alternative_and_every_head_cell_a_scope(collection):
    elements = Elements(page.render(collection))
    assert len(elements.named("img")) == 4  # accuracies, curves, two grids
    assert all(len(attributes["alt"]) > 40 for attributes in elements.named("img"))
    assert {attributes["scope"] for attributes in elements.named("th")} == {"row", "col"}
    assert all(
        "aria-label" in attributes for attributes in elements.named("div") if attributes.get("class") == "scroll"
    )


@pytest.mark.usefixtures("unrendered")
def test_the_alternative_of_the_bars_holds_the_numbers(make_report):
    (bars, grid) = (attributes["alt"] for attributes in Elements(page.render(make_report())).named("img"))
    assert "clean 75.0%, first 50.0%, second 50.0%, worst case 25.0%" in bars
    assert "class 1 read as 7, class 4 read as 9" in grid


@pytest.mark.parametrize("changes", [{"rows": ()}, {"examples": None}, {"checks": (), "versions": {}, "settings": {}}])
@pytest.mark.usefixtures("unrendered")
def test_a_report_without_a_part_has_a_page_without_that_part(make_report, changes):
    text = Elements(page.render(make_report(**changes))).text
    assert STATEMENT in text
    assert ("No attack was run" in text) == ("rows" in changes)
    assert ("mid-gray" in text) == ("examples" not in changes)
    assert ("flatters the model" in text) == ("checks" not in changes)


@pytest.mark.parametrize(
    ("threat", "words"),
    [
        (ThreatModel("linf", 8 / 255), "change every pixel value by at most 8/255 (0.0314) (pixels lie in [0, 1])"),
        (ThreatModel("l2", 0.5), "at most 0.5 in Euclidean length"),
        (ThreatModel("l0", 3), "change at most 3 pixels by any amount"),
        (ThreatModel("rotation", 30), "change the image by at most 30 in rotation"),
        (ThreatModel("l1", 2, knowledge="black box"), "sees the model's answers but not its weights"),
    ],
)
def test_the_threat_is_said_in_words(threat, words):
    assert words in page.threat_in_words(threat)


@pytest.mark.usefixtures("unrendered")
def test_the_saved_json_keeps_each_array_on_one_line(make_report, tmp_path):
    make_report().save(tmp_path)
    text = (tmp_path / "report.json").read_text(encoding="utf-8")
    assert '"labels": [3, 1, 4, 1],\n' in text
    assert json.loads(text) == make_report().to_json()


def contents(folder):
    return {file.name: file.read_bytes() for file in folder.iterdir()}


@pytest.mark.parametrize("failing_write", [1, 2, 4, 6])
@pytest.mark.usefixtures("unrendered")
def test_a_full_disk_leaves_the_earlier_report_whole(make_report, tmp_path, monkeypatch, failing_write):
    make_report().save(tmp_path)
    before, calls, write = contents(tmp_path), itertools.count(1), pathlib.Path.write_bytes

    def full(self, data):
        if next(calls) == failing_write:
            write(self, data[: len(data) // 2])
            raise OSError(errno.ENOSPC, "No space left on device")
        return write(self, data)

    monkeypatch.setattr(pathlib.Path, "write_bytes", full)
    with pytest.raises(UserError, match="No space left on device"):
        make_report(name="later").save(tmp_path)
    assert contents(tmp_path) == before


@pytest.mark.usefixtures("unrendered")
def test_a_failing_plot_leaves_the_earlier_report_whole(make_report, tmp_path, monkeypatch):
    make_report().save(tmp_path)
    before = contents(tmp_path)
    monkeypatch.setattr(figures, "to_png", lambda figure: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        make_report(name="later").save(tmp_path)
    assert contents(tmp_path) == before


@pytest.mark.usefixtures("unrendered")
def test_a_later_report_replaces_the_earlier_one_and_its_plots_and_nothing_else(make_report, tmp_path):
    make_report().save(tmp_path)
    for name in ("notes.txt", "examples.csv", "my-attacks.png"):
        (tmp_path / name).write_text("mine")
    make_report(name="later", examples=None).save(tmp_path)
    own = {"report.json", "report.html", "attacks.png", "attacks.svg"}
    assert set(contents(tmp_path)) == own | {"notes.txt", "examples.csv", "my-attacks.png"}
    assert json.loads((tmp_path / "report.json").read_text(encoding="utf-8"))["name"] == "later"


def test_a_folder_that_cannot_be_made_is_a_user_error(make_report, tmp_path):
    (tmp_path / "file").write_text("not a folder")
    with pytest.raises(UserError, match="folder that you may write to"):
        make_report().save(tmp_path / "file" / "report")
    assert (tmp_path / "file").read_text() == "not a folder"


def test_a_read_only_folder_is_a_user_error_before_anything_is_drawn(make_report, tmp_path, monkeypatch):
    def refuse(**_):
        raise OSError(errno.EROFS, "Read-only file system")

    monkeypatch.setattr(tempfile, "mkstemp", refuse)
    monkeypatch.setattr(page, "files", lambda subject: pytest.fail("drawn before the folder was tried"))
    with pytest.raises(UserError, match=r"cannot write .*report\.json: Read-only file system; name a folder"):
        make_report().save(tmp_path)
    assert contents(tmp_path) == {}


@pytest.mark.skipif(os.geteuid() == 0, reason="the superuser may write to read-only folders")
def test_a_folder_without_write_permission_is_a_user_error(make_report, tmp_path):
    tmp_path.chmod(0o500)
    with pytest.raises(UserError, match="Permission denied"):
        make_report().save(tmp_path)


@pytest.mark.usefixtures("unrendered")
def test_a_folder_in_the_place_of_a_file_is_refused_before_anything_changes(make_report, tmp_path):
    make_report().save(tmp_path)
    (tmp_path / "attacks.svg").unlink()
    (tmp_path / "attacks.svg").mkdir()
    before = (tmp_path / "report.json").read_bytes()
    with pytest.raises(UserError, match="it is a folder"):
        make_report(name="later").save(tmp_path)
    assert (tmp_path / "report.json").read_bytes() == before


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
        return self.call("Runtime.evaluate", expression=expression, returnByValue=True)["result"]["value"]

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


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["report", "collection"])
def test_the_page_reads_well_in_a_browser(browser, make_report, collection, tmp_path, kind):
    """No error, every image loaded, no sideways scrolling, text of 12 pixels or more; phone and dark images used."""
    (make_report() if kind == "report" else collection).save(tmp_path)
    shown = {}
    for width, scheme in itertools.product((360, 1280), ("light", "dark")):
        browser.open((tmp_path / "report.html").as_uri(), width, scheme)
        methods = [event["method"] for event in browser.events if "method" in event]
        assert not {"Log.entryAdded", "Runtime.consoleAPICalled", "Runtime.exceptionThrown"} & set(methods)
        requests = [
            e["params"]["request"]["url"] for e in browser.events if e.get("method") == "Network.requestWillBeSent"
        ]
        assert requests
        assert all(url.startswith(("file:", "data:")) for url in requests)
        assert browser.value("[...document.images].every(i => i.complete && i.naturalWidth > 50)")
        assert browser.value("document.images.length") == (2 if kind == "report" else 4)
        assert browser.value("document.documentElement.scrollWidth") <= width
        every = "[...document.querySelectorAll('p,td,th,dd,dt,figcaption,caption')]"
        assert min(browser.value(f"{every}.map(e => parseFloat(getComputedStyle(e).fontSize))")) >= 12
        ground = np.array(re.findall(r"\d+", browser.value("getComputedStyle(document.body).backgroundColor")), int)
        assert (ground[:3].mean() < 128) == (scheme == "dark")
        shown[width, scheme] = browser.value("document.images[0].currentSrc")
        assert browser.value("document.querySelector('h1').textContent.length") > 5
        assert browser.value("document.querySelectorAll('table').length") >= 2
    assert len(set(shown.values())) == 4
