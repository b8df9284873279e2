"""The rows of table 5 of "Label smoothing and logit squeezing" (LSQ), as printed and as measured."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Mapping
from typing import Any

from tfadv.reproduction.study import Compared, reference

# Column -> (attack, threat, loss) of the reference file.
COLUMNS = {
    "Train": ("none", "train", ""),
    "Test": ("none", "clean", ""),
    "white-box X-ent": ("PGD", "white-box", "loss=xent"),
    "white-box CW": ("PGD", "white-box", "loss=cw"),
    "black-box FGSM": ("FGSM", "black-box", "loss=cw"),
    "black-box PGD": ("PGD", "black-box", "loss=cw"),
}
MADRYS = "Madry et al. (2017) adv tr."
_UNITS = {"k": 1_000, "M": 1_000_000}


@dataclasses.dataclass(frozen=True)
class Row:
    """A printed row: its defense, training steps, and percent by column."""

    label: str
    alpha: float
    beta: float
    sigma: float
    steps: int
    seed: int
    printed: Mapping[str, float]

    @property
    def parameters(self) -> tuple[float, float, float]:
        return self.alpha, self.beta, self.sigma

    @property
    def defense(self) -> str:
        return defense(*self.parameters)


@functools.cache
def rows() -> tuple[Row, ...]:
    """All printed rows but the last, in their order; a tuple that is printed again has seed 1 (inconsistency I17)."""
    found: dict[str, dict[str, Any]] = {}
    for line in reference("logit_squeezing_table5"):
        if line["row_label"] != MADRYS:
            values = found.setdefault(line["row"], {"label": line["row_label"], "printed": {}, "line": line})
            values["printed"][_column(line)] = float(line["value"])
    told: list[Row] = []
    for values in found.values():
        line = values["line"]
        alpha, beta, sigma = (float(part.partition("=")[2]) for part in line["defense_params"].split(";"))
        count = line["train_iterations"]
        steps = int(count[:-1]) * _UNITS[count[-1]]
        seed = sum(each.label == values["label"] for each in told)
        label = values["label"] + " (again)" * seed
        told.append(Row(label, alpha, beta, sigma, steps, seed, values["printed"]))
    return tuple(told)


def _column(line: Mapping[str, str]) -> str:
    place = (line["attack"], line["threat"].partition(":")[0], line["attack_params"].partition(";")[0])
    return next(name for name, each in COLUMNS.items() if each == place)


def madrys() -> dict[str, float]:
    """The printed row of adversarial training, by column."""
    lines = [line for line in reference("logit_squeezing_table5") if line["row_label"] == MADRYS]
    return {_column(line): float(line["value"]) for line in lines}


def defense(alpha: float, beta: float, sigma: float) -> str:
    """A row in words."""
    parts = [f"label smoothing {alpha:g}"] * (alpha > 0) + [f"logit squeezing {beta:g}"] * (beta > 0)
    return " + ".join([*parts, *[f"noise {sigma:g}"] * (sigma > 0)]) or "naturally trained"


def measured(found: Mapping[str, Any]) -> dict[str, Mapping[str, Any]]:
    """Column -> {"accuracy", "interval"}."""
    attacked, elsewhere = found["attacks"], found["black_box"]
    return {
        "Train": found["train"],
        "Test": found["test"],
        "white-box X-ent": attacked["X-ent"],
        "white-box CW": attacked["CW"],
        **{f"black-box {name}": each for name, each in elsewhere.items()},
    }


def worst(found: Mapping[str, Any]) -> float:
    """Percent that the worse of the two white-box attacks leaves (inconsistency I15)."""
    return 100 * min(found["attacks"][name]["accuracy"] for name in ("X-ent", "CW"))


def lines_of(label: str, paper: Mapping[str, float], found: Mapping[str, Any], note: str) -> list[Compared]:
    """Printed beside measured, a line for each column that was measured."""
    return [
        Compared(
            f"{label}: {column}",
            paper.get(column),
            100 * each["accuracy"],
            "%",
            (100 * each["interval"][0], 100 * each["interval"][1]),
            note,
        )
        for column, each in measured(found).items()
    ]
