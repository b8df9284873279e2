"""Writes the generated part of docs/checks.md: every check as its own rule, source and docstring state it.

    python -m tools.docs.checks            writes the page
    python -m tools.docs.checks --check    writes nothing; exit status 1 if the page is out of date

What stands above the mark in the page is written by hand and kept.
"""

from __future__ import annotations

import inspect
import pathlib
import sys

from tfadv.evaluation.checks import CHECKS, Rule

PAGE = pathlib.Path(__file__).resolve().parents[2] / "docs" / "checks.md"
MARK = "<!-- What follows is written by tools/docs/checks.py. -->"


def entry(rule: Rule) -> str:
    """The part of the page that explains one check."""
    module = rule.measure.__module__
    return "\n".join(
        [
            f"### {rule.name}",
            "",
            inspect.getdoc(rule.measure) or "",
            "",
            f"- **Passes if:** {rule.passes}.",
            f"- **Source:** {rule.source}.",
            f"- **Code:** `{rule.measure.__name__}` in `{module}`.",
            "",
        ]
    )


def text(page: str) -> str:
    """The page with its generated part made anew.

    Raises:
        ValueError: the page has no mark.
    """
    head, mark, _ = page.partition(MARK)
    if not mark:
        raise ValueError(f"{PAGE.name} must hold the line {MARK!r}, below which the checks are written")
    return f"{head}{MARK}\n\n" + "\n".join(map(entry, CHECKS))


def main(arguments: list[str]) -> int:
    before = PAGE.read_text(encoding="utf-8")
    after = text(before)
    if arguments == ["--check"]:
        if after != before:
            print("docs/checks.md is out of date, run python -m tools.docs.checks", file=sys.stderr)
        return int(after != before)
    PAGE.write_text(after, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
