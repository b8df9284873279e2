"""Texts from outside in every file of a report: they stay text, on the page, in Markdown, LaTeX and a terminal."""

import json
import re
import unicodedata
import xml.etree.ElementTree as ElementTree
from html.parser import HTMLParser

import hypothesis.strategies as st
import numpy as np
import pytest
from hypothesis import assume, example, given, settings

from tfadv.report import html as page
from tfadv.report import themes
from tfadv.report.collection import Collection
from tfadv.report.plots import attack_plot
from tfadv.report.records import AttackResult, Check, Examples, ThreatModel, Verdict
from tfadv.report.report import Report
from tfadv.report.saving import files
from tfadv.report.section import Section
from tfadv.report.tables import Table, escape_latex, escape_markdown, one_line

SCRIPT = "<script>alert(1)</script>"
EVIL = [
    SCRIPT,
    "\"><img src=x onerror='alert(1)'>",
    "' onmouseover=alert(1) x='",
    "</style><style>*{display:none}</style>",
    "</title><svg/onload=alert(1)>",
    "{{ 7 * 7 }}{% raw %}${7*7}",
    "<!-- ]]> &lt;b&gt; &#60;i&#62;",
    "javascript:alert(1)",
    "a\u202egnp.\u2066exe\u2069\u200f",
    "line\nbreak\r\n| cell |\n\n# heading",
    "\x1b[31mred\x1b]0;title\x07\x00\x08\x7f\x9b",
    "\\input{/etc/passwd}\\write18{ls}%$#_^~&{}",
    "$x$ $\\frac{1}{2}$ $",
    "`code` **bold** [link](javascript:alert(1)) ![x](//host/x.png) <b>",
    "\ud83d\ude00".encode("utf-16", "surrogatepass").decode("utf-16") + "é漢字",
    " " * 50,
    "",
    "x" * 5_000,
    "file\udcff.npz",
]
DRAWING = themes.to_svg
TEXT = st.one_of(st.sampled_from(EVIL), st.text(max_size=40))


class Elements(HTMLParser):
    """The elements of a page as (tag, names of attributes), its comments, and the text between them."""

    def __init__(self, source):
        super().__init__()
        self.found, self.text, self.comments = [], "", []
        self.feed(source)

    def handle_starttag(self, tag, attributes):
        self.found.append((tag, tuple(sorted(name for name, _ in attributes))))

    def handle_data(self, text):
        self.text += text

    def handle_comment(self, text):
        self.comments.append(text)


@pytest.fixture(autouse=True, scope="module")
def _unrendered():
    """Figures are drawn in the test of the drawings alone: they take seconds."""
    empty = b'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 648 216"><g><path d="M 0 0"/></g></svg>'
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(themes, "to_svg", lambda figure, letters="path": empty)
        patch.setattr(themes, "to_png", lambda figure: b"png")
        yield


def report_of(text, **changes):
    """A report of four images in which every text that a user, a model or a data set may bring is `text`."""
    hit = np.array([True, True, False, False])
    row = AttackResult(
        name=text,
        config={text: text, "class": text},
        adversarial=hit,
        new_successes=1,
        distances=np.where(hit, 0.1, np.nan),
        seconds=1.0,
        gradient_evaluations=4,
        precision=text,
    )
    images = np.full([2, 4, 4, 1], 0.5, np.float32)
    fields = {
        "name": text,
        "dataset": text,
        "threat": ThreatModel("linf", 0.2),
        "labels": [0, 1, 2, 3],
        "predictions": [1, 1, 2, 3],
        "rows": (row,),
        "examples": Examples(images, images, [0, 1], [1, 2]),
        "checks": (Check(text, "failed", text, text, text), Check("other", "passed", text, text)),
        "verdict": Verdict("overestimated", text, 0.5, 0.5),
        "sections": (Section(text, text, Table((text, text), ((text, text),), text)),),
        "versions": {text: text},
        "settings": {text: [text, {text: text}]},
    }
    return Report(**{**fields, **changes})


def skeleton(subject):
    """The page without its texts: its elements, their attributes, and how many comments it has."""
    elements = Elements(page.render(subject))
    return elements.found, len(elements.comments)


KINDS = (report_of, lambda text: Collection(text, (report_of(text),)))


@pytest.fixture(scope="module")
def harmless():
    """The skeletons of a report and of a collection whose texts mean nothing to a browser, and the first's LaTeX."""
    return [skeleton(kind("harmless")) for kind in KINDS], report_of("harmless").latex()


@settings(max_examples=5)
@given(TEXT)
@example(EVIL[0])
@example(EVIL[1])
@example(EVIL[3])
@example(EVIL[4])
def test_no_text_changes_the_elements_of_a_page(harmless, text):
    """Every tag and attribute is the template's own, in its order: the skeleton is that of the harmless report."""
    assume(one_line(text))  # A paragraph without text is left out.
    assert [skeleton(kind(text)) for kind in KINDS] == harmless[0]


@pytest.mark.parametrize("text", EVIL[:8], ids=repr)
def test_what_is_shown_is_the_text_itself(text):
    shown = " ".join(Elements(page.render(report_of(text))).text.split())
    assert " ".join(text.split()) in shown


def test_the_policy_of_the_page_allows_no_script_should_all_else_fail():
    source = page.render(report_of(SCRIPT))
    assert "default-src 'none'" in source
    assert SCRIPT not in source


@pytest.mark.parametrize("text", EVIL, ids=lambda text: repr(text[:20]))
def test_no_character_of_a_name_turns_the_direction_of_the_page(text):
    """Controls, and what shows "exe" backwards; a name that no encoding holds, as of a file, does not break it."""
    source = page.render(report_of(text))
    source.encode()
    assert not [c for c in source if not c.isprintable() and c not in "\n"]


@given(TEXT)
def test_a_table_in_markdown_has_its_rows_and_cells_whatever_they_hold(text):
    lines = Table(("name", text), ((text, text), ("b", text)), text).markdown().splitlines()
    assert len(lines) == 4
    for line in lines:
        assert len(re.findall(r"(?<!\\)(?:\\\\)*\|", line)) == 3
        assert "<" not in line
        assert not re.search(r"(?<!\\)(?:\\\\)*[`*]", line)


@given(TEXT)
def test_markdown_and_latex_of_a_report_hold_no_control_characters_and_no_commands(harmless, text):
    report = report_of(text)
    for source in (report.markdown(), report.latex(), report.summary()):
        assert not [c for c in source if unicodedata.category(c) in ("Cc", "Cf", "Cs", "Zl", "Zp") and c != "\n"]
    commands = set(re.findall(r"\\[a-zA-Z]+", report.latex()))
    assert commands <= set(re.findall(r"\\[a-zA-Z]+", harmless[1])) | LATEX_LETTERS
    assert report.latex().count("\\begin") == harmless[1].count("\\begin")
    assert "<" not in report.markdown()


LATEX_LETTERS = {
    f"\\text{name}" for name in ("backslash", "asciitilde", "asciicircum", "less", "greater", "bar", "quotedbl")
}


@given(st.text(max_size=60))
def test_latex_keeps_every_character_it_may_and_opens_no_group(text):
    escaped = escape_latex(one_line(text))
    bare = re.sub(r"\\text[a-z]+\{\}|\\[&%$#_{}]", "", escaped)
    assert not set(bare) & set("\\{}$&#^_%~")


@given(st.text(max_size=60))
def test_markdown_can_be_read_back(text):
    """Undoing the escapes gives the text: nothing is lost and nothing is escaped twice."""
    back = re.sub(r"\\([\\|*`])|&lt;", lambda match: match[1] or "<", escape_markdown(text))
    assert back == text


@given(TEXT)
def test_one_line_is_one_line_that_can_be_printed(text):
    assert one_line(text).isprintable()
    assert one_line(one_line(text)) == one_line(text)


@settings(max_examples=15)
@given(TEXT)
def test_a_report_comes_back_from_its_json_with_the_same_texts(text):
    report = report_of(text)
    stored = json.loads(json.dumps(report.to_json(), allow_nan=False))
    back = Report.from_json(stored)
    assert (back.name, back.dataset, back.rows[0].name, back.checks[0].evidence) == (text, text, text, text)
    assert back.settings == report.settings
    assert back.versions == {text: text}


@pytest.mark.parametrize("text", EVIL, ids=lambda text: repr(text[:20]))
def test_every_file_of_a_saved_report_can_be_read(text):
    found = files(report_of(text))
    for name, content in found.items():
        if name.endswith((".md", ".tex", ".html", ".txt", ".json")):
            assert SCRIPT.encode() not in content or name.endswith((".json", ".txt"))
            content.decode()
        if name.endswith(".json"):
            json.loads(content)
    assert not [name for name in found if re.search(r"[^\w.-]", name)]  # No file is called what a model is.


@pytest.mark.slow
@pytest.mark.parametrize("text", EVIL[:14], ids=lambda text: repr(text[:20]))
def test_a_drawing_is_xml_without_script(text):
    """Drawn as it is: formulas, control characters and markup in the names of attacks."""
    figure = attack_plot((report_of(text),)).draw(themes.PAPER, themes.WIDE)
    root = ElementTree.fromstring(DRAWING(figure))
    tags = {element.tag.rsplit("}", 1)[-1] for element in root.iter()}
    assert not tags & {"script", "foreignObject", "image", "a", "iframe"}
    assert not [key for element in root.iter() for key in element.attrib if key.rsplit("}", 1)[-1].startswith("on")]
