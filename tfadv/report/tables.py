"""Small text tables: the same cells as Markdown or LaTeX for a paper, as plain text for a terminal, and as JSON.

Every number of a report is formatted here, once, so that the page, the terminal and the Markdown agree to the digit.
"""

from __future__ import annotations

import dataclasses
import math
import textwrap
from typing import Any

NOT_AVAILABLE = "–"


def percent(fraction: float, count: int) -> str:
    """`fraction` (0 to 1) as a percentage with enough decimals to show one example in `count`.

    One example in 1,000 is 0.1%, so one decimal; one in 10,000 is 0.01%, so two. A single failure therefore never
    rounds to 100%, nor a single success to 0%.
    """
    decimals = max(1, math.ceil(math.log10(max(count, 1))) - 2)
    return f"{100 * fraction:.{decimals}f}%"


def percent_interval(interval: tuple[float, float], count: int) -> str:
    """`interval` (two fractions, 0 to 1) as "36.1% to 42.4%"."""
    return f"{percent(interval[0], count)} to {percent(interval[1], count)}"


def duration(seconds: float) -> str:
    """`seconds` as "0.42 s", "12.3 s", "3 min 20 s" or "2 h 05 min"."""
    if seconds < 10:
        return f"{seconds:.2f} s"
    if seconds < 59.95:
        return f"{seconds:.1f} s"
    if seconds < 3599.5:
        return "{} min {:02d} s".format(*divmod(round(seconds), 60))
    return "{} h {:02d} min".format(*divmod(round(seconds / 60), 60))


def one_line(text: object) -> str:
    """`text` without line breaks and control characters, which would break a row of a table or color a terminal."""
    return " ".join(printable(str(text)).split())


def printable(text: str) -> str:
    """`text` with its line breaks, and a space for each other control character.

    Among those are what is not allowed in XML, and what turns the direction of the text that follows.
    """
    return "".join(c if c.isprintable() or c == "\n" else " " for c in text)


def escape_markdown(text: str) -> str:
    """`text` with the characters escaped that mean something in GitHub's Markdown."""
    for character, replacement in (("\\", "\\\\"), ("|", "\\|"), ("<", "&lt;"), ("*", "\\*"), ("`", "\\`")):
        text = text.replace(character, replacement)
    return text


_LATEX = {
    "\\": r"\textbackslash{}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "–": "--",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    "|": r"\textbar{}",
    '"': r"\textquotedbl{}",
    **{character: f"\\{character}" for character in "&%$#_{}"},
}


def escape_latex(text: str) -> str:
    """`text` with the characters replaced that mean something in LaTeX."""
    return "".join(_LATEX.get(character, character) for character in text)


@dataclasses.dataclass(frozen=True)
class Table:
    """A table of text: the first column names the rows.

    Attributes:
        columns: the heads.
        rows: one tuple of cells for each row, as long as `columns`; anything but text is turned into text.
        caption: one sentence that says what the table holds.
    """

    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    caption: str = ""

    def __post_init__(self) -> None:
        object.__setattr__(self, "caption", one_line(self.caption))
        object.__setattr__(self, "columns", tuple(one_line(column) for column in self.columns))
        object.__setattr__(self, "rows", tuple(tuple(one_line(cell) for cell in row) for row in self.rows))
        for index, row in enumerate(self.rows):
            if len(row) != len(self.columns):
                raise ValueError(
                    f"every row of a table must hold {len(self.columns)} cells ({list(self.columns)}), "
                    f"row {index} holds {len(row)}: {list(row)}"
                )

    def is_numeric(self, column: int) -> bool:
        """Whether column number `column` holds numbers (with or without a unit), and reads best aligned right."""
        cells = [row[column] for row in self.rows if row[column] not in ("", NOT_AVAILABLE)]
        return column > 0 and bool(cells) and all(cell.lstrip("-+<>")[:1].isdigit() for cell in cells)

    def markdown(self) -> str:
        """The table in GitHub's Markdown; the characters that mean something there are escaped."""
        rules = tuple("---:" if self.is_numeric(index) else ":---" for index in range(len(self.columns)))
        head, *rows = (tuple(map(escape_markdown, line)) for line in (self.columns, *self.rows))
        return "".join(f"| {' | '.join(line)} |\n" for line in (head, rules, *rows))

    def latex(self) -> str:
        """The table as a LaTeX `table` with its caption; the rules are those of the package booktabs."""
        columns = "".join("r" if self.is_numeric(index) else "l" for index in range(len(self.columns)))
        head, *rows = (f"    {' & '.join(map(escape_latex, line))} \\\\\n" for line in (self.columns, *self.rows))
        caption = f"  \\caption{{{escape_latex(self.caption)}}}\n" if self.caption else ""
        return (
            "% needs \\usepackage{booktabs}\n\\begin{table}\n  \\centering\n"
            f"{caption}  \\begin{{tabular}}{{{columns}}}\n    \\toprule\n{head}    \\midrule\n{''.join(rows)}"
            "    \\bottomrule\n  \\end{tabular}\n\\end{table}\n"
        )

    def text(self) -> str:
        """The table in aligned columns, two spaces apart, for a terminal; long heads take several lines."""
        body = [max((len(row[index]) for row in self.rows), default=0) for index in range(len(self.columns))]
        heads = [
            textwrap.wrap(head, max(16, width), break_long_words=False) or [""]
            for head, width in zip(self.columns, body, strict=True)
        ]
        height = max(map(len, heads), default=0)
        head_lines = list(zip(*([""] * (height - len(head)) + head for head in heads), strict=True))
        lines = [*head_lines, *self.rows]
        widths = [max(len(line[index]) for line in lines) for index in range(len(self.columns))]
        numeric = [self.is_numeric(index) for index in range(len(self.columns))]
        return "".join(
            "  ".join(
                cell.rjust(width) if right else cell.ljust(width)
                for cell, width, right in zip(line, widths, numeric, strict=True)
            ).rstrip()
            + "\n"
            for line in lines
        )

    def to_json(self) -> dict[str, Any]:
        """{"columns": [...], "rows": [[...]], "caption": ...}."""
        return {"columns": list(self.columns), "rows": [list(row) for row in self.rows], "caption": self.caption}

    @classmethod
    def from_json(cls, data: dict[str, Any]) -> Table:
        """The inverse of `to_json`."""
        return cls(tuple(data["columns"]), tuple(tuple(row) for row in data["rows"]), data.get("caption", ""))
