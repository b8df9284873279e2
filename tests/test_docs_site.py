"""The site: its generated pages are current, its links fit, its notebooks run, and it loads nothing from elsewhere."""

import importlib.util
import inspect
import json
import re
import subprocess
import sys
import time
from html.parser import HTMLParser
from pathlib import Path

import pytest

import tfadv
from tfadv.evaluation.checks import CHECKS

ROOT = Path(__file__).resolve().parents[1]


def tool(name):
    """A module of tools/docs, which is no package."""
    spec = importlib.util.spec_from_file_location(name, ROOT / f"tools/docs/{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


checks, rendering = tool("checks"), tool("rendering")
DOCS = ROOT / "docs"
SETTINGS = (ROOT / "mkdocs.yml").read_text(encoding="utf-8")
NAVIGATION = re.findall(r"^ +- (?:.*: )?([\w./]+\.md)$", SETTINGS, re.MULTILINE)
NOTEBOOKS = sorted(DOCS.rglob("*.ipynb"))
SECONDS = 60  # A notebook takes less on one core.


# Pages that are generated.


def test_the_page_of_checks_is_what_the_checks_say():
    """Run python -m tools.docs.checks after a change of a check."""
    page = (DOCS / "checks.md").read_text(encoding="utf-8")
    assert checks.text(page) == page


@pytest.mark.parametrize("rule", CHECKS, ids=lambda rule: rule.name)
def test_every_check_explains_itself(rule):
    assert inspect.getdoc(rule.measure)
    assert rule.passes
    assert rule.source


def test_a_check_that_changes_its_rule_makes_the_page_stale():
    page = (DOCS / "checks.md").read_text(encoding="utf-8")
    assert checks.text(page.replace(CHECKS[0].passes, "another rule")) == page
    with pytest.raises(ValueError, match="must hold the line"):
        checks.text("# Checks\n")


def test_the_navigation_names_every_page():
    there = {path.relative_to(DOCS).as_posix() for path in DOCS.rglob("*.md")}
    made = {*rendering.PLACES.values(), *rendering.notebook_pages(), "gallery.md"}
    linked = {"results/RESULTS.md", "results/attacks/README.md"}  # The other pages of results/ are reached from these.
    assert sorted(NAVIGATION) == sorted(there | made | linked)


def test_the_settings_name_no_other_place():
    assert "://" not in SETTINGS
    assert re.search(r"^  font: false$", SETTINGS, re.MULTILINE)


# The gallery.


def record(folder: Path, name: str, **values) -> None:
    study = {"study": name.replace("_fig", "/fig"), "title": "A title", "scale": "short", **values}
    (folder / "results" / name).mkdir(parents=True)
    (folder / "results" / name / "study.json").write_text(json.dumps(study))


def test_the_gallery_shows_every_figure_with_its_command():
    page = rendering.gallery()
    figures = [path.relative_to(ROOT).as_posix() for path in ROOT.glob("results/*/*.svg")]
    assert figures
    assert [figure for figure in figures if f"]({figure})" not in page] == []
    for path in ROOT.glob("results/*/study.json"):
        study = json.loads(path.read_text(encoding="utf-8"))
        if study["figures"]:
            assert f"--target={study['study']} --scale={study['scale']} " in page


def test_the_gallery_orders_by_paper_and_escapes_titles(tmp_path):
    record(tmp_path, "avmixup_fig2", figures={"": {"title": "a*b|c"}})
    record(tmp_path, "weight_decay_fig1", figures={"a": {"title": "one"}, "b": {"title": "two"}})
    record(tmp_path, "weight_decay_fig9", figures={})
    page = rendering.gallery(tmp_path)
    headings = re.findall(r"^## (.*)$", page, re.MULTILINE)
    assert headings == [rendering.PAPERS["weight_decay"], rendering.PAPERS["avmixup"]]
    assert page.count("<figure markdown>") == 3
    assert "results/weight_decay_fig1/figure-b.svg" in page
    assert "results/avmixup_fig2/figure.svg" in page
    assert r"a\*b\|c" in page
    assert "fig9" not in page


@pytest.mark.parametrize(
    ("folder", "key"),
    [
        ("weight_decay_fig1", "weight_decay/fig1"),
        ("label_smoothing_variants_table1", "label_smoothing_variants/table1"),
        ("defenses_mnist", "defenses_mnist"),
    ],
)
def test_a_folder_names_its_target(folder, key):
    assert rendering.key_of(folder) == key


# Links.


@pytest.mark.parametrize(
    ("path", "markdown", "expected"),
    [
        ("docs/a.md", "[x](../results/RESULTS.md#top)", "[x](results/RESULTS.md#top)"),
        ("docs/a.md", "[x](../results/attacks)", "[x](results/attacks/README.md)"),
        ("docs/a.md", "[x](notebooks/defend.ipynb)", "[x](notebooks/defend.md)"),
        ("docs/api/a.md", "[x](../../CONTRIBUTING.md)", "[x](../repository/contributing.md)"),
        ("README.md", "[x](docs/export.md), ![y](results/b.svg)", "[x](../export.md), ![y](../results/b.svg)"),
        ("results/RESULTS.md", "[x](defenses_mnist/evaluations)", "[x](defenses_mnist/evaluations/contents.md)"),
        ("docs/a.md", "`[x](../README.md)` [y](https://a.b/c)", "`[x](../README.md)` [y](https://a.b/c)"),
        ("docs/a.md", "```python\nf[x](../README.md)\n```\n", "```python\nf[x](../README.md)\n```\n"),
        ("docs/a.md", "[x](../tfadv/balls.py)", "[x](../tfadv/balls.py)"),
    ],
)
def test_links_between_files_become_links_between_pages(path, markdown, expected):
    assert rendering.relinked(markdown, path) == expected


def test_every_page_of_the_repository_is_made():
    pages, files = rendering.pages()
    assert set(rendering.PLACES.values()) <= set(pages)
    assert {"gallery.md", "results/RESULTS.md"} <= set(pages)
    assert not {Path(name).suffix for name in files} - {".svg", ".json"}
    assert "Apache License" in pages["repository/license.md"]


# Notebooks.


def code_of(path: Path) -> list[str]:
    cells = json.loads(path.read_text(encoding="utf-8"))["cells"]
    return ["".join(cell["source"]) for cell in cells if cell["cell_type"] == "code"]


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_notebooks_hold_no_outputs(path):
    """Stored outputs would go stale; the tests run the cells instead."""
    notebook = json.loads(path.read_text(encoding="utf-8"))
    assert (notebook["nbformat"], notebook["cells"][0]["cell_type"]) == (4, "markdown")
    for cell in notebook["cells"]:
        if cell["cell_type"] == "code":
            assert cell["outputs"] == []
            assert cell["execution_count"] is None
            compile("".join(cell["source"]), path.name, "exec")


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_links_of_notebooks_lead_to_files(path):
    text = "".join("".join(cell["source"]) for cell in json.loads(path.read_text(encoding="utf-8"))["cells"])
    links = [link for link in re.findall(r"\]\(([^)]+)\)", text) if "://" not in link and link.endswith(".md")]
    assert links
    assert [link for link in links if not (path.parent / link).exists()] == []


def run_cells(path: Path, folder: Path, monkeypatch) -> dict:
    """The names that the cells leave, run in order in an empty folder, and the processor time that this took."""
    monkeypatch.chdir(folder)
    monkeypatch.setenv("MPLBACKEND", "Agg")
    names: dict = {"__name__": "__main__"}
    began = time.process_time()
    for number, source in enumerate(code_of(path)):
        exec(compile(source, f"{path.name}, cell {number}", "exec"), names)
    names["seconds"] = time.process_time() - began
    return names


@pytest.mark.slow
def test_the_notebook_that_attacks_finds_what_it_says(tmp_path, monkeypatch):
    names = run_cells(DOCS / "notebooks" / "attack_and_judge.ipynb", tmp_path, monkeypatch)
    assert names["clean"] > 0.9
    assert names["under_pgd"] < 0.5 * names["clean"]
    assert names["report"].verdict.word == "trusted"
    assert names["masked"].verdict.word == "overestimated"
    assert names["masked"].suite_accuracy > names["masked"].robust_accuracy + 0.2
    assert (tmp_path / "report_of_scaled" / "report.html").is_file()
    assert names["seconds"] < 4 * SECONDS  # Other tests may share the cores.


@pytest.mark.slow
def test_the_notebook_that_defends_gains_by_adversarial_training(tmp_path, monkeypatch):
    names = run_cells(DOCS / "notebooks" / "defend.ipynb", tmp_path, monkeypatch)
    before, cheaply, after = (names[name] for name in ("before", "cheaply", "after"))
    assert min(each.clean_accuracy for each in (before, cheaply, after)) > 0.75
    assert after.robust_accuracy > max(before.robust_accuracy, cheaply.robust_accuracy) + 0.1
    assert cheaply.rows[0].accuracy > before.rows[0].accuracy + 0.05  # FGSM
    assert (tmp_path / "robust.keras").is_file()
    assert names["seconds"] < 4 * SECONDS


# The whole.


class Loaded(HTMLParser):
    """What a page loads when it is opened: scripts, styles, images, frames; not what its links lead to."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []

    def handle_starttag(self, tag, attrs):
        values = dict(attrs)
        if tag in ("script", "img", "iframe", "source"):
            self.found.append(values.get("src") or "")
        elif tag == "link" and values.get("rel") not in ("canonical", "next", "prev"):
            self.found.append(values.get("href") or "")


@pytest.mark.slow
def test_the_site_builds_without_a_warning_and_loads_nothing_from_elsewhere(tmp_path):
    if importlib.util.find_spec("mkdocs") is None:
        pytest.skip("the documentation tools are optional and not installed: pip install '.[docs]'")
    done = subprocess.run(
        [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", str(tmp_path)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    pages = sorted(tmp_path.rglob("*.html"))
    assert len(pages) > len(NAVIGATION)
    for page in pages:
        parser = Loaded()
        parser.feed(page.read_text(encoding="utf-8"))
        outside = [place for place in parser.found if place.startswith(("http:", "https:", "//"))]
        assert outside == [], page
        missing = [
            place
            for place in parser.found
            if place and not place.startswith(("data:", "http")) and not (page.parent / place.split("?")[0]).exists()
        ]
        assert page.name == "404.html" or missing == [], page


def test_docstrings_are_shown_as_they_are_written():
    """A condition is no quotation, what stands between angle brackets no tag, and code stays code."""
    if importlib.util.find_spec("griffe") is None:
        pytest.skip("the documentation tools are optional and not installed: pip install '.[docs]'")
    escaped = tool("docstrings").escaped

    assert escaped("Args:\n    l1, l2: >= 0, or `x > 0`.") == "Args:\n    l1, l2: \\>= 0, or `x > 0`."
    assert escaped("holds <name>/ and `<name>` if 1 < 2") == "holds &lt;name>/ and `<name>` if 1 < 2"
    assert escaped("> 0") == "\\> 0"
    assert escaped("    >>> f(x)") == "    >>> f(x)"


# Beside the site.


def test_the_citation_states_version_and_license():
    text = (ROOT / "CITATION.cff").read_text(encoding="utf-8")
    assert f"\nversion: {tfadv.__version__}\n" in text
    assert "\nlicense: Apache-2.0\n" in text
