"""Strength beside other libraries: the same attack on the same weights, images and budget, judged by one model.

An attack that needs no random numbers, or can be given ours, must moreover repeat the peer's successes example by
example.
"""

from __future__ import annotations

import dataclasses
import math
import sys
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from tfadv import devices
from tfadv.crosscheck import ours
from tfadv.crosscheck.judging import Examples
from tfadv.crosscheck.peers import NotShared, Peer
from tfadv.validation import UserError
from tfadv.version import __version__

# What counts as at least as strong: 0.2 points of success, 2% of the median distance. What counts as the same attack:
# two libraries round differently, and the sign of a gradient flips on ties.
LARGEST_LOSS_OF_SUCCESS = 0.002
LARGEST_RATIO_OF_DISTANCES = 1.02
SMALLEST_SHARE_OF_EQUAL_FLAGS = 0.995

# A peer that ends on the decision boundary, as its own rounding has it, is given so much more distance to be across.
_ACROSS = 1e-3
# Attacks that two libraries repeat example by example from one start.
_REPEATABLE = ("Fgm", "Mim", "Pgd")
# Attacks whose success depends on random numbers, of which two libraries draw different ones.
_RANDOM = ("Apgd", "AutoAttack", "HopSkipJump", "Pgd", "Spsa", "Square")


@dataclasses.dataclass(frozen=True)
class Row:
    """One attack by us and by one peer, on examples that the model classifies correctly; shares lie in [0, 1].

    Attributes:
        attack, peer: which.
        examples: how many, N.
        success, peer_success: share of successes; the mean over the seeds.
        seeds: how many runs each side had; 1 where no random numbers are drawn, or both drew the same.
        error: standard error of the difference of the two means, from the spread over the seeds; None for one seed.
        distance, peer_distance: median distance of all N, where a failure is infinitely far; None unless the attack
            looks for the closest adversarial example.
        share_of_equal_flags: of examples that both fool, or both do not, from one start by the last iterate; None
            where the start or the algorithm differs.
        differs: in what the peer's algorithm departs from ours, if it does.
    """

    attack: str
    peer: str
    examples: int
    success: float
    peer_success: float
    distance: float | None
    peer_distance: float | None
    share_of_equal_flags: float | None
    differs: str | None
    seeds: int = 1
    error: float | None = None

    @property
    def strong(self) -> bool:
        """At most 0.2 points of success (and two standard errors), and 2% of the median distance, behind the peer."""
        # Differences of shares are rounded: 0.998 - 1.0 is a hair below -0.002.
        allowed = LARGEST_LOSS_OF_SUCCESS + 2 * (self.error or 0.0) + 1e-9
        if self.success - self.peer_success < -allowed:
            return False
        if self.distance is None or self.peer_distance is None:
            return True
        return self.distance <= self.peer_distance * LARGEST_RATIO_OF_DISTANCES

    @property
    def repeats(self) -> bool:
        """The successes are the peer's for >= 99.5% of the examples, where they must be."""
        return self.share_of_equal_flags is None or self.share_of_equal_flags >= SMALLEST_SHARE_OF_EQUAL_FLAGS

    @property
    def verdict(self) -> str:
        """In one word."""
        if not self.strong:
            return "WEAKER"
        return "passes" if self.repeats else "DISAGREES"

    def to_dict(self) -> dict[str, Any]:
        """The row as JSON values; an infinite median, of an attack that mostly fails, is null."""
        values = {
            name: None if isinstance(value, float) and not math.isfinite(value) else value
            for name, value in dataclasses.asdict(self).items()
        }
        return {**values, "verdict": self.verdict}


@dataclasses.dataclass(frozen=True)
class Strength:
    """Rows of a comparison, and what could not be compared.

    Attributes:
        rows: one for each attack and each peer that shares it.
        not_compared: (attack, peer, reason).
        versions: of tfadv, TensorFlow, Keras, NumPy and the peers' packages.
    """

    rows: tuple[Row, ...]
    not_compared: tuple[tuple[str, str, str], ...]
    versions: dict[str, str]

    def to_dict(self) -> dict[str, Any]:
        """The comparison as JSON values."""
        return {
            "rows": [row.to_dict() for row in self.rows],
            "not_compared": [
                {"attack": attack, "peer": peer, "reason": reason} for attack, peer, reason in self.not_compared
            ],
            "versions": self.versions,
        }


def compare(
    model: keras.Model,
    x: Any,
    y: Any,
    configs: Iterable[Any],
    peers: Mapping[str, Peer],
    *,
    batch_size: int = 250,
    seeds: int = 1,
    report: Callable[[str], Any] = lambda text: print(text, file=sys.stderr),
) -> Strength:
    """Runs every attack by us and by every peer that has it.

    Args:
        model: a Keras classifier, which the peers of PyTorch must be able to repeat (`torch_models.to_torch`).
        x: float32 images [N, ...] in [0, 1]; those that the model misclassifies are left out.
        y: labels, int [N] or [N, K]. A targeted attack goes for the class after the true one.
        configs: of `tfadv.attacks`; `ours.configs` makes them from names.
        peers: those of `tfadv.crosscheck.PEERS`, or `published_autoattack.peer(folder)`.
        batch_size: of all libraries.
        seeds: runs of each side, with seeds from the config's on, where two libraries draw different random numbers:
            one run may differ from the next by a point. The last run is what distances are taken from.
        report: told what is being done.

    Raises:
        UserError: no peer, or one that is not installed; a model, images or labels that cannot be compared.
    """
    if not peers:
        raise UserError("peers must hold at least one library to compare with, got none")
    loaded = {name: peer.load(model) for name, peer in peers.items()}
    examples = Examples(model, x, y, batch_size)
    rows, missing = [], []
    for config in configs:
        attack = ours.describe(config)
        having = {name: peer for name, peer in peers.items() if peer.has(config)}
        if not having:
            missing.append((attack, "all", "none of them has such an attack"))
            continue
        report(f"{attack}: tfadv, {len(examples.x)} images")
        mine = [_entry(examples, config)]
        for name, peer in having.items():
            report(f"{attack}: {peer.name}")
            try:
                rows.append(_row(examples, mine, peer, loaded[name], seeds))
            except NotShared as reason:
                missing.append((attack, peer.name, str(reason)))
            except Exception as error:  # A peer that fails is a result, and the others are still to be run.
                missing.append((attack, peer.name, f"failed with {type(error).__name__}: {error}"))
    return Strength(tuple(rows), tuple(missing), versions(peers.values()))


@dataclasses.dataclass(frozen=True)
class _Entry:
    """Our part of the rows of one attack: its result, and where and with which labels peers have to run it."""

    config: Any
    labels: np.ndarray
    start: np.ndarray | None
    success: np.ndarray
    distance: np.ndarray
    last_success: np.ndarray | None  # Of the last iterate, as peers return it; None where it need not repeat theirs.


def _entry(examples: Examples, config: Any) -> _Entry:
    labels = examples.labels(config)
    start = ours.random_start(examples.predict, config, examples.x, labels)
    x_adv = _in_float32(_ours(examples, config), examples.x, labels, start, None)
    success, distance = examples.judge(config, x_adv)
    last_success = None
    if type(config).__name__ in _REPEATABLE:
        last_success, last = success, ours.last_iterate(config)
        if last != config:
            last_success, _ = examples.judge(last, _ours(examples, last)(examples.x, labels, start, None))
    return _Entry(config, labels, start, success, distance, last_success)


def _row(examples: Examples, mine: list[_Entry], peer: Peer, model: Any, seeds: int) -> Row:
    """The row of our result and this peer's. `mine` has the runs so far, by seed, and receives those that are missing.

    Raises:
        NotShared: the peer has no attack of these settings.
    """
    first = mine[0]
    config, kind = first.config, type(first.config).__name__
    one_start = kind not in _RANDOM or (kind in _REPEATABLE and (first.start is None or kind in peer.takes_start))
    seeds = 1 if one_start else seeds
    while len(mine) < seeds:
        mine.append(_entry(examples, dataclasses.replace(config, seed=config.seed + len(mine))))
    closest, equal, shares = ours.looks_for_the_closest(config), None, []
    for entry in mine[:seeds]:
        start = entry.start if kind in peer.takes_start else None
        attack = peer.attack(entry.config)
        x_adv = _in_float32(attack, model, examples.x, entry.labels, entry.config, start, examples.batch_size)
        success, distance = examples.judge(entry.config, x_adv)
        if closest:
            further = np.clip(x_adv + _ACROSS * (x_adv - examples.x), *config.bounds)
            across, longer = examples.judge(config, further)
            success, distance = success | across, np.where(success, distance, longer)
        shares.append(success.mean())
    if first.last_success is not None and one_start and peer.difference(config) is None:
        equal = float((first.last_success == success).mean())
    own = [entry.success.mean() for entry in mine[:seeds]]
    return Row(
        attack=ours.describe(config),
        peer=peer.name,
        examples=len(examples.x),
        success=float(np.mean(own)),
        peer_success=float(np.mean(shares)),
        distance=_median(mine[seeds - 1].success, mine[seeds - 1].distance) if closest else None,
        peer_distance=_median(success, distance) if closest else None,
        share_of_equal_flags=equal,
        differs=peer.difference(config),
        seeds=seeds,
        error=math.sqrt((np.var(own, ddof=1) + np.var(shares, ddof=1)) / seeds) if seeds > 1 else None,
    )


def _ours(examples: Examples, config: Any) -> ours.Run:
    return ours.bound(examples.predict, config, precision="float32", batch_size=examples.batch_size)


def versions(peers: Iterable[Peer]) -> dict[str, str]:
    """Of everything that a result depends on."""
    found = {"tfadv": __version__, "tensorflow": tf.__version__, "keras": keras.__version__, "numpy": np.__version__}
    for peer in peers:
        found |= peer.versions()
    return found


def table(strength: Strength) -> str:
    """The comparison as plain text, with what differs, what was not compared and why, and the versions."""
    head = ("attack", "peer", "N", "seeds", "success", "peer's", "+-", "distance", "peer's", "flags equal", "")
    rows = [
        (
            row.attack,
            row.peer + ("*" if row.differs else ""),
            str(row.examples),
            str(row.seeds),
            f"{row.success:.2%}",
            f"{row.peer_success:.2%}",
            "" if row.error is None else f"{row.error:.2%}",
            "" if row.distance is None else f"{row.distance:.4g}",
            "" if row.peer_distance is None else f"{row.peer_distance:.4g}",
            "" if row.share_of_equal_flags is None else f"{row.share_of_equal_flags:.2%}",
            row.verdict,
        )
        for row in strength.rows
    ]
    notes = [f"* {row.attack}, {row.peer}: {row.differs}" for row in strength.rows if row.differs]
    missing = [f"not compared: {attack}, {peer}: {reason}" for attack, peer, reason in strength.not_compared]
    return "\n".join([*columns(head, *rows), *notes, *missing, in_words(strength.versions)])


def columns(*rows: tuple[str, ...]) -> list[str]:
    """Rows of words as lines whose columns are aligned."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return ["  ".join(map(str.ljust, row, widths)).rstrip() for row in rows]


def in_words(found: Mapping[str, str]) -> str:
    """Versions as one line."""
    return ", ".join(f"{name} {version}" for name, version in found.items())


def _median(success: np.ndarray, distance: np.ndarray) -> float:
    return float(np.median(np.where(success, distance, np.inf)))


def _in_float32(run: Callable[..., np.ndarray], *arguments: Any) -> np.ndarray:
    with devices.matrix_products(bfloat16=False):
        return run(*arguments)
