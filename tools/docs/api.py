"""Writes docs/api/: one page for each public package and module, with every name that it exports.

    python tools/docs/api.py            writes the pages
    python tools/docs/api.py --check    writes nothing; exit status 1 where a page is out of date

The sources are parsed, and nothing is imported. mkdocstrings fills the pages when the site is built.
"""

from __future__ import annotations

import ast
import pathlib
import sys

ROOT = pathlib.Path(__file__).resolve().parents[2]
FOLDER = ROOT / "docs" / "api"

# In the order of the navigation: what users import first stands first.
MODULES = (
    "tfadv",
    "tfadv.attacks",
    "tfadv.losses",
    "tfadv.augment",
    "tfadv.adversarial",
    "tfadv.models",
    "tfadv.data",
    "tfadv.data.prepare",
    "tfadv.data.simulated",
    "tfadv.evaluation",
    "tfadv.report",
    "tfadv.testing",
    "tfadv.analysis",
    "tfadv.training",
    "tfadv.experiments",
    "tfadv.export",
    "tfadv.crosscheck",
    "tfadv.crosscheck.stablehlo",
    "tfadv.reproduction",
    "tfadv.objectives",
    "tfadv.balls",
)
_NOTE = "<!-- Written by tools/docs/api.py. -->"
# Of the module itself the page shows its docstring alone.
_OWN_TEXT = "    options:\n      show_root_heading: false\n      show_root_toc_entry: false\n      members: false"


def source_of(module: str) -> pathlib.Path:
    """The file of a module or package."""
    path = ROOT.joinpath(*module.split("."))
    return path / "__init__.py" if path.is_dir() else path.with_suffix(".py")


def exported(module: str) -> list[str]:
    """The public names of a module, in the order of its file.

    Those of `__all__` if it has one. Otherwise what it defines without a leading underscore, and what it imports as
    itself (`from a import b as b`), which is how a package marks what it passes on.
    """
    body = ast.parse(source_of(module).read_text(encoding="utf-8")).body
    found = []
    for node in body:
        if isinstance(node, ast.FunctionDef | ast.ClassDef):
            found.append(node.name)
        elif isinstance(node, ast.ImportFrom):
            found += [alias.name for alias in node.names if alias.asname == alias.name]
        elif isinstance(node, ast.Assign | ast.AnnAssign):
            targets = node.targets if isinstance(node, ast.Assign) else [node.target]
            found += [target.id for target in targets if isinstance(target, ast.Name)]
            if isinstance(node, ast.Assign) and found[-1:] == ["__all__"]:
                return sorted(ast.literal_eval(node.value), key=str.lower)
    return [name for name in dict.fromkeys(found) if not name.startswith("_")]


def is_module(name: str) -> bool:
    """Whether `name` is a module or package of this repository, which has a page of its own."""
    path = ROOT.joinpath(*name.split("."))
    return path.is_dir() or path.with_suffix(".py").is_file()


def title_of(module: str) -> str:
    """The first sentence of a module's docstring."""
    text = ast.get_docstring(ast.parse(source_of(module).read_text(encoding="utf-8"))) or ""
    return " ".join(text.split("\n\n")[0].split())


def origin(module: str, name: str) -> str:
    """The dotted name under which `name` of `module` is found: its own module's where a submodule has the same name."""
    if not is_module(f"{module}.{name}"):
        return f"{module}.{name}"
    for node in ast.parse(source_of(module).read_text(encoding="utf-8")).body:
        if isinstance(node, ast.ImportFrom) and name in [alias.asname or alias.name for alias in node.names]:
            return f"{node.module}.{name}"
    raise ValueError(f"{module} exports {name}, a module, which has no page; give it one in MODULES")


def page(module: str) -> str:
    """The Markdown of one page: the module's own text, then each exported name."""
    parts = [f"# {module}", _NOTE, f"::: {module}\n{_OWN_TEXT}"]
    for name in exported(module):
        if f"{module}.{name}" in MODULES:
            parts.append(f"## {name}\n\nA package: [{module}.{name}]({module}.{name}.md).")
        else:
            parts.append(f"::: {origin(module, name)}")
    return "\n\n".join(parts) + "\n"


def pages() -> dict[str, str]:
    """File name -> text of every page, with the index README.md."""
    lines = [f"- [{module}]({module}.md): {title_of(module)}" for module in MODULES]
    index = f"# API reference\n\n{_NOTE}\n\nEvery name that the packages export, from the docstrings of the code.\n\n"
    return {"README.md": index + "\n".join(lines) + "\n", **{f"{module}.md": page(module) for module in MODULES}}


def main(arguments: list[str]) -> int:
    wanted = pages()
    there = {path.name: path.read_text(encoding="utf-8") for path in FOLDER.glob("*.md")}
    if arguments == ["--check"]:
        stale = sorted(name for name in wanted.keys() | there.keys() if wanted.get(name) != there.get(name))
        if stale:
            print(f"out of date, run python tools/docs/api.py: {', '.join(stale)}", file=sys.stderr)
        return 1 if stale else 0
    FOLDER.mkdir(parents=True, exist_ok=True)
    for name in there.keys() - wanted.keys():
        (FOLDER / name).unlink()
    for name, text in wanted.items():
        (FOLDER / name).write_text(text, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
