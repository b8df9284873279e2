"""Pages of the site that are made of other files of the repository: results, gallery, notebooks; and links that fit.

Pure functions of paths and text, without MkDocs: `site.py` hands their pages to it.
"""

from __future__ import annotations

import json
import os
import pathlib
import re

ROOT = pathlib.Path(__file__).resolve().parents[2]

# Files of the repository beside docs/ and results/ -> their pages.
PLACES = {
    "README.md": "repository/readme.md",
    "CHANGELOG.md": "repository/changelog.md",
    "CONTRIBUTING.md": "repository/contributing.md",
    "LICENSE": "repository/license.md",
}
# Of results/ these are shown or linked to; the site shows each figure as SVG.
SHOWN = (".md", ".svg", ".json")
LISTING = "contents.md"
# What stands for a folder, whichever it has.
_FRONTS = ("README.md", "RESULTS.md", "study.md", "table.md")

# Prefix of a folder in results/, which is that of a target's key -> heading of the gallery.
PAPERS = {
    "feature_smoothing": "Theoretical and empirical study of adversarial examples (feature smoothing)",
    "logit_squeezing": "Label smoothing and logit squeezing",
    "label_smoothing_variants": "Adversarial robustness via label-smoothing",
    "weight_decay": "Adversarial training versus weight decay",
    "avmixup": "Adversarial vertex mixup",
}
_COMMAND = "python -m trainers.reproduce --target="
_LINK = re.compile(r"(!?\[(?:[^\]\\]|\\.)*\]\()([^()\s]+)(\))")
# Fenced blocks and inline code, which hold no links.
_CODE = re.compile(r"(^```.*?^```[^\n]*$|`[^`\n]*`)", re.MULTILINE | re.DOTALL)


def page_of(path: str, root: pathlib.Path = ROOT) -> str | None:
    """The page or file of the site that shows `path`, a file or folder of the repository; None if none does."""
    if path in PLACES:
        return PLACES[path]
    if path.startswith("docs/"):
        return re.sub(r"\.ipynb$", ".md", path.removeprefix("docs/"))
    if path != "results" and not path.startswith("results/"):
        return None
    if (root / path).is_dir():
        return f"{path}/{next((name for name in _FRONTS if (root / path / name).is_file()), LISTING)}"
    return path if path.endswith(SHOWN) else None


def relinked(markdown: str, path: str, root: pathlib.Path = ROOT) -> str:
    """`markdown` of the repository's file `path`, with links between files made links between pages of the site.

    Links that no page answers are left as they are, so that the strict build names them.
    """
    here = page_of(path, root) or path

    def link(match: re.Match) -> str:
        target, _, anchor = match[2].partition("#")
        if not target or "://" in target or target.startswith("mailto:"):
            return match[0]
        page = page_of(os.path.normpath(os.path.join(os.path.dirname(path), target)), root)
        if page is None:
            return match[0]
        place = os.path.relpath(page, os.path.dirname(here) or ".")
        return f"{match[1]}{place}{f'#{anchor}' if anchor else ''}{match[3]}"

    parts = _CODE.split(markdown)
    return "".join(part if number % 2 else _LINK.sub(link, part) for number, part in enumerate(parts))


def repository_pages(root: pathlib.Path = ROOT) -> dict[str, str]:
    """Page -> Markdown of the repository's own documents."""
    pages = {}
    for path, page in PLACES.items():
        text = (root / path).read_text(encoding="utf-8")
        if path.endswith(".md"):
            pages[page] = relinked(text, path, root)
        else:
            pages[page] = f"# {path.title()}\n\n```text\n{text}```\n"
    return pages


def result_pages(root: pathlib.Path = ROOT) -> tuple[dict[str, str], list[str]]:
    """(page -> Markdown of everything in results/, the files beside the pages that they show or link to)."""
    pages, files = {}, []
    for path in sorted((root / "results").rglob("*")):
        name = path.relative_to(root).as_posix()
        if path.is_dir() and page_of(name, root) == f"{name}/{LISTING}":
            pages[f"{name}/{LISTING}"] = _listing(path)
        elif path.suffix == ".md":
            pages[name] = relinked(path.read_text(encoding="utf-8"), name, root)
        elif path.suffix in SHOWN:
            files.append(name)
    return pages, files


def _listing(folder: pathlib.Path) -> str:
    """A page that lists the files of a folder which has no page of its own."""
    names = [each.name for each in sorted(folder.iterdir()) if each.is_file() and each.suffix in SHOWN]
    return f"# {folder.name}\n\n" + "".join(f"- [{name}]({name})\n" for name in names)


def gallery(root: pathlib.Path = ROOT) -> str:
    """The page that shows each figure of results/ with the command that makes it."""
    groups: dict[str, list[str]] = {}
    for folder in sorted(path for path in (root / "results").iterdir() if path.is_dir()):
        shown = _study(folder) or _curve(folder)
        if shown:
            groups.setdefault(_paper(folder.name), []).append(shown)
    order = [*(paper for paper in PAPERS if paper in groups), *sorted(set(groups) - set(PAPERS))]
    parts = [_GALLERY, *(f"## {PAPERS.get(paper, paper)}\n\n{''.join(groups[paper])}" for paper in order)]
    return "\n".join(parts)


_GALLERY = """# Gallery

Each figure that was made again from the papers, with the command that makes it (from a clone; `tfadv-reproduce` takes
the same flags once installed). A figure links to the page with its numbers, the paper's beside ours, and to what was
read into the paper. Scale "paper" is the schedule as printed, "short" is minutes to an hour on two cores, "smoke" only
shows that everything runs.
"""


def _paper(folder: str) -> str:
    """Which paper a folder of results/ belongs to; the longest prefix wins."""
    found = [paper for paper in PAPERS if folder.startswith(f"{paper}_")]
    return max(found, key=len, default=folder)


def key_of(folder: str) -> str:
    """The target whose results lie in `folder`: "weight_decay_fig1" is "weight_decay/fig1"."""
    paper = _paper(folder)
    return folder if paper == folder else f"{paper}/{folder.removeprefix(f'{paper}_')}"


def _study(folder: pathlib.Path) -> str:
    """The part of the gallery that shows a study; empty if it has no figures."""
    if not (folder / "study.json").is_file():
        return ""
    study = json.loads((folder / "study.json").read_text(encoding="utf-8"))
    figures = [
        (f"figure-{name}.svg" if name else "figure.svg", f"({name}) {chart['title']}" if name else chart["title"])
        for name, chart in study["figures"].items()
    ]
    return _entry(folder.name, study["title"], study["study"], study["scale"], "study.md", figures) if figures else ""


def _curve(folder: pathlib.Path) -> str:
    """The part of the gallery that shows the curve of a trained table; empty if there is none."""
    if not (folder / "curve.svg").is_file():
        return ""
    table = json.loads((folder / "table.json").read_text(encoding="utf-8"))
    figures = [("curve.svg", "Robust accuracy against training steps.")]
    return _entry(folder.name, table["target"], key_of(folder.name), None, "table.md", figures)


def _entry(folder: str, title: str, key: str, scale: str | None, page: str, figures: list[tuple[str, str]]) -> str:
    command = f"{_COMMAND}{key}{f' --scale={scale}' if scale else ''} --output=runs/reproduction"
    pictures = [_picture(f"results/{folder}/{name}", f"results/{folder}/{page}", caption) for name, caption in figures]
    stated = f' <span class="scale">({scale})</span>' if scale else ""
    return (
        f"### {_plain(title)}{stated}\n\n```bash\n{command}\n```\n\n"
        f'<div class="gallery" markdown>\n\n{"".join(pictures)}\n</div>\n\n'
    )


def _picture(image: str, page: str, caption: str) -> str:
    """One figure with its caption, linked to the page of its study."""
    caption = _plain(caption)
    return (
        f"<figure markdown>\n[![{caption}]({image}){{ loading=lazy }}]({page})\n"
        f"<figcaption markdown>{caption}</figcaption>\n</figure>\n"
    )


def _plain(text: str) -> str:
    """Text that Markdown shows as it is."""
    return re.sub(r"([\\`*_\[\]<>|])", r"\\\1", text)


def notebook(path: pathlib.Path, root: pathlib.Path = ROOT) -> str:
    """A notebook as a page: its text as it is, its code in blocks, and a link to the file itself."""
    parts = []
    for cell in json.loads(path.read_text(encoding="utf-8"))["cells"]:
        source = "".join(cell["source"]).strip("\n")
        text = cell["cell_type"] == "markdown"
        parts.append(relinked(source, path.relative_to(root).as_posix(), root) if text else f"```python\n{source}\n```")
    title, *rest = parts
    return "\n\n".join([title, f"The notebook itself: [{path.name}]({path.name}).", *rest]) + "\n"


def notebook_pages(root: pathlib.Path = ROOT) -> dict[str, str]:
    """Page -> Markdown of every notebook in docs/."""
    paths = sorted((root / "docs").rglob("*.ipynb"))
    return {path.relative_to(root / "docs").with_suffix(".md").as_posix(): notebook(path, root) for path in paths}


def pages(root: pathlib.Path = ROOT) -> tuple[dict[str, str], list[str]]:
    """(page -> Markdown of all that the site has beside docs/, files that go along)."""
    results, files = result_pages(root)
    return {**repository_pages(root), **results, **notebook_pages(root), "gallery.md": gallery(root)}, files
