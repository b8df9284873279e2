"""The result of a comparison of frameworks: rows, disagreements with their likely causes, one table, one verdict."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np

from tfadv.crosscheck.comparison import columns, in_words

# The library that the others are compared with.
REFERENCE = "tfadv"
SMALLEST_SHARE_OF_EQUAL_FLAGS = 0.995
# Of the largest logit, or of 1 where all are smaller. Frameworks add up in another order; float32 rounds to 6e-8.
LOGIT_TOLERANCE = 1e-4

# How many numbers of images a table shows.
_SHOWN = 12


@dataclasses.dataclass(frozen=True)
class Row:
    """One attack by one library; shares are of the attacked images.

    Attributes:
        attack, library, framework: which.
        fooled: framework -> bool [N], whether its model is fooled within ball and box.
        elsewhere: other framework -> share of images about which it says the same as the library's own.
        equal_flags: share of images that it and tfadv both fool, or both do not, each in its own framework; None for
            tfadv itself, and where tfadv failed.
        differing, largest: share of images with a pixel that differs from tfadv's by more than 1e-5, and the largest
            difference of any pixel, input units; told, not judged.
        one_step_apart: after one step, the l2 distance to tfadv's as a share of the length of its step; median of all
            images.
        differs: in what the library's algorithm is known to depart from ours; where flags then differ, the row is
            neither agreement nor disagreement.
    """

    attack: str
    library: str
    framework: str
    fooled: Mapping[str, np.ndarray]
    elsewhere: Mapping[str, float]
    equal_flags: float | None
    differing: float
    largest: float
    one_step_apart: float
    differs: str | None = None

    @property
    def maker(self) -> str:
        """The library in its framework."""
        return f"{self.library} in {self.framework}"

    @property
    def repeats(self) -> bool:
        """The flags are tfadv's for >= 99.5% of the images."""
        return self.equal_flags is None or self.equal_flags >= SMALLEST_SHARE_OF_EQUAL_FLAGS

    @property
    def transfers(self) -> bool:
        """Every other framework says the same of >= 99.5% of the images."""
        return all(share >= SMALLEST_SHARE_OF_EQUAL_FLAGS for share in self.elsewhere.values())

    @property
    def verdict(self) -> str:
        """In one word."""
        if not self.transfers or (not self.repeats and self.differs is None):
            return "DISAGREES"
        if self.equal_flags is None:
            return "reference" if self.library == REFERENCE else "alone"
        return "agrees" if self.repeats else "differs*"

    def to_dict(self) -> dict[str, Any]:
        """The row as JSON values; of the flags the share of images that are still classified correctly."""
        values = {field.name: _finite(getattr(self, field.name)) for field in dataclasses.fields(self)}
        right = {name: 1.0 - float(flags.mean()) for name, flags in values.pop("fooled").items()}
        return {**values, "right": right, "verdict": self.verdict}


@dataclasses.dataclass(frozen=True)
class Disagreement:
    """Two that should agree and do not.

    Attributes:
        attack: description, or "logits".
        pair: who.
        examples: numbers of the images in question among those given, from 0.
        cause: the likely one.
    """

    attack: str
    pair: tuple[str, str]
    examples: tuple[int, ...]
    cause: str


@dataclasses.dataclass(frozen=True)
class Verification:
    """A comparison of frameworks.

    Attributes:
        images, attacked: how many were given, and how many of them TensorFlow classifies correctly.
        clean: framework -> share of the attacked images that it classifies correctly.
        rows: of every attack by every library that ran.
        logits: (framework, framework) -> largest relative difference of any logit of any image, clean or adversarial.
        disagreements: what is wrong.
        not_compared: (attack, or "all"; library or framework; reason); never counted as agreement.
        versions: package -> version.
    """

    images: int
    attacked: int
    clean: Mapping[str, float]
    rows: tuple[Row, ...]
    logits: Mapping[tuple[str, str], float]
    disagreements: tuple[Disagreement, ...]
    not_compared: tuple[tuple[str, str, str], ...]
    versions: Mapping[str, str]

    @property
    def peers(self) -> list[str]:
        """The libraries that agree with tfadv about an attack."""
        return list(dict.fromkeys(row.maker for row in self.rows if row.verdict == "agrees"))

    @property
    def verdict(self) -> str:
        """One of "verified", "DISAGREES" and "nothing compared"."""
        if self.disagreements:
            return "DISAGREES"
        return "verified" if self.peers else "nothing compared"

    def matrix(self) -> dict[str, dict[str, float]]:
        """Framework that made images -> framework that classifies them -> smallest share of equal flags of any row."""
        found: dict[str, dict[str, float]] = {}
        for row in self.rows:
            shares = found.setdefault(row.framework, {})
            for name, share in row.elsewhere.items():
                shares[name] = min(share, shares.get(name, 1.0))
        return found

    def to_dict(self) -> dict[str, Any]:
        """The comparison as JSON values."""
        return {
            "verdict": self.verdict,
            "tolerances": {"equal_flags": SMALLEST_SHARE_OF_EQUAL_FLAGS, "logits": LOGIT_TOLERANCE},
            "images": self.images,
            "attacked": self.attacked,
            "clean": dict(self.clean),
            "peers": self.peers,
            "rows": [row.to_dict() for row in self.rows],
            "equal_flags": self.matrix(),
            "logits": [
                {"pair": list(pair), "relative_difference": _finite(value)} for pair, value in self.logits.items()
            ],
            "disagreements": [dataclasses.asdict(each) for each in self.disagreements],
            "not_compared": [
                {"attack": attack, "who": who, "reason": reason} for attack, who, reason in self.not_compared
            ],
            "versions": dict(self.versions),
        }


def _finite(value: Any) -> Any:
    """`value`, but None for what JSON does not have."""
    return None if isinstance(value, float) and not math.isfinite(value) else value


def table(found: Verification) -> str:
    """The comparison as plain text: its rows, what differs and why, what was not compared and why, and the verdict."""
    names = list(found.clean)
    head = ("attack", "by", "in", *names, "flags equal", "elsewhere", "images differ", "1 step apart", "")
    clean = ("clean", "", "", *(f"{share:.2%}" for share in found.clean.values()), "", "", "", "", "")
    rows = [
        (
            row.attack,
            row.library,
            row.framework,
            *(f"{1 - row.fooled[name].mean():.2%}" if name in row.fooled else "" for name in names),
            "" if row.equal_flags is None else f"{row.equal_flags:.2%}",
            f"{min(row.elsewhere.values()):.2%}" if row.elsewhere else "",
            "" if row.equal_flags is None else f"{row.differing:.2%}",
            "" if row.equal_flags is None else f"{row.one_step_apart:.2%}",
            row.verdict,
        )
        for row in found.rows
    ]
    logits = ", ".join(f"{first}-{second} {value:.1e}" for (first, second), value in found.logits.items())
    parts = [
        f"{found.attacked} of {found.images} images, those that TensorFlow classifies correctly; right in % of them, "
        "by the model in each framework",
        *columns(head, clean, *rows),
        *dict.fromkeys(
            f"* {row.attack}, {row.maker}: {row.differs}" for row in found.rows if row.verdict == "differs*"
        ),
        *_matrix(found, names),
        *([f"logits, largest relative difference (at most {LOGIT_TOLERANCE:g}): {logits}"] if logits else []),
        *(f"not compared: {attack}, {who}: {reason}" for attack, who, reason in found.not_compared),
        in_words(found.versions),
        *_in_words(found.disagreements),
        _summary(found),
    ]
    return "\n".join(parts)


def _matrix(found: Verification, names: list[str]) -> list[str]:
    shares = found.matrix()
    if len(names) < 2:
        return []
    rows = [
        (name, *(f"{shares[name][other]:.2%}" if other in shares[name] else "" for other in names)) for name in shares
    ]
    title = "flags equal, least of all rows; made in the framework of the line, classified in that of the column"
    return ["", title, *columns(("", *names), *rows), ""]


def _in_words(disagreements: Iterable[Disagreement]) -> list[str]:
    """One line for each pair and cause, of all attacks about which they disagree."""
    grouped: dict[tuple[tuple[str, str], str], list[Disagreement]] = {}
    for each in disagreements:
        grouped.setdefault((each.pair, each.cause), []).append(each)
    lines = []
    for (pair, cause), group in grouped.items():
        examples = sorted({number for each in group for number in each.examples})
        shown = ", ".join(map(str, examples[:_SHOWN])) + (", ..." if len(examples) > _SHOWN else "")
        attacks = ", ".join(each.attack for each in group)
        lines.append(f"{pair[0]} and {pair[1]} disagree ({attacks}) on {len(examples)} images: {shown}. Cause: {cause}")
    return lines


def _summary(found: Verification) -> str:
    agreement = f">= {SMALLEST_SHARE_OF_EQUAL_FLAGS:.1%} of flags equal"
    if found.verdict == "verified":
        return f"verified with {', '.join(found.peers)}: {agreement}"
    if found.verdict == "DISAGREES":
        return f"DISAGREES: not {agreement}, or other logits; the likely causes are above"
    return "nothing compared, so nothing verified"
