"""A table of a paper as data: its rows, its columns, and the file of printed numbers."""

from __future__ import annotations

import csv
import dataclasses
import importlib.resources

from tfadv import attacks


@dataclasses.dataclass(frozen=True)
class Row:
    """One printed row: its label as printed, and the experiment that trains it."""

    label: str
    experiment: str

    @property
    def key(self) -> str:
        """Short name, for folders."""
        return self.experiment.rpartition("/")[2]


@dataclasses.dataclass(frozen=True)
class Column:
    """One printed column: its attack (None is clean accuracy) and how the reference file names it."""

    name: str
    attack: attacks.Pgd | None
    threat: str
    loss: str


@dataclasses.dataclass(frozen=True)
class Target:
    """A table as data.

    Attributes:
        title: the heading of what is printed.
        reference: name of the file of printed numbers in the package's folder reference/.
        paper_steps: training steps of the paper.
        rows, columns: what is trained, and what each is measured by.
        source: the row whose classifier black-box examples are made on.
        readings: what the paper leaves open, and how it is read here.
        epsilon: of linf, for the strong evaluation.
        standard: test images of the strong evaluation of each row; 0 leaves it out.
    """

    title: str
    reference: str
    paper_steps: int
    rows: tuple[Row, ...]
    source: Row
    columns: tuple[Column, ...]
    readings: tuple[str, ...] = ()
    epsilon: float = 0.0
    standard: int = 0


def printed(target: Target) -> dict[tuple[str, str], float]:
    """(row label, column name) -> the paper's number in percent, from the reference file inside the package."""
    text = importlib.resources.files("tfadv.reproduction").joinpath(f"reference/{target.reference}").read_text("utf-8")
    numbers = {}
    for line in csv.DictReader(text.splitlines()):
        for column in target.columns:
            same_threat = line["threat"].partition(":")[0] == column.threat or (
                line["attack"] == "none" and not column.attack
            )
            if same_threat and column.loss in line["attack_params"].split(";") + [""] * (not column.loss):
                numbers[line["row_label"], column.name] = float(line["value"])
    return numbers
