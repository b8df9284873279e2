"""An extension of Griffe, which reads the sources for mkdocstrings: docstrings as the code has them, fit for Markdown.

They are plain text for readers of the code. So a comment above a constant is its docstring, and what Markdown would
take for a quotation (`l1: >= 0`) or for HTML (`<name>/<version>`) is escaped.
"""

from __future__ import annotations

import ast
import re
from typing import Any

import griffe

_CODE = re.compile(r"(`[^`]*`)")
_QUOTATION = re.compile(r"^(\s*(?:[\w*]+(?:, [\w*]+)*: +)?)>(?=[= ])", re.MULTILINE)
_TAG = re.compile(r"<(?=[A-Za-z/])")


def escaped(text: str) -> str:
    """`text` without what Markdown would take for a quotation or a tag; code between backticks stays."""
    parts = _CODE.split(_QUOTATION.sub(r"\1\\>", text))
    return "".join(part if number % 2 else _TAG.sub("&lt;", part) for number, part in enumerate(parts))


class PlainDocstrings(griffe.Extension):
    """Escapes docstrings, and takes the lines of comment right above a constant for its docstring."""

    def on_attribute_instance(self, *, node: Any, attr: griffe.Attribute, **kwargs: Any) -> None:
        if attr.docstring is not None or not isinstance(node, ast.AST) or not attr.parent.is_module:
            return
        lines = attr.lines_collection[attr.filepath]
        begin = node.lineno - 1
        comment: list[str] = []
        while begin > 0 and lines[begin - 1].startswith("#"):
            begin -= 1
            comment.insert(0, lines[begin].lstrip("# "))
        if comment:
            attr.docstring = griffe.Docstring("\n".join(comment), lineno=begin + 1, parent=attr)

    def on_instance(self, *, obj: griffe.Object, **kwargs: Any) -> None:
        if obj.docstring is not None:
            obj.docstring.value = escaped(obj.docstring.value)
