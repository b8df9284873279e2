"""What a comparison knows of another library: its attacks under the names of ours, how they differ, what is broken.

A peer's attack is a function (model, x, y, config, start, batch_size) -> x_adv: the model as the peer's `load` gives
it, images [N, ...] as Keras has them, labels int32 [N], one of our configs, and where to begin (None where the attack
itself says so). It refuses by `NotShared` every setting that the library does not have in the same meaning.
"""

from __future__ import annotations

import dataclasses
import functools
import importlib
import importlib.metadata
import math
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from tfadv.validation import UserError

Run = Callable[[Any, np.ndarray, np.ndarray, Any, np.ndarray | None, int], np.ndarray]
OneBatch = Callable[[Any, np.ndarray, np.ndarray, Any, np.ndarray | None], np.ndarray]


# Settings of ours that every peer has in one value only.
PLAIN_FGM: dict[str, tuple[Any, ...]] = {"objective": ("cross_entropy",), "label": ("true",), "scale": (None,)}
PLAIN_PGD: dict[str, tuple[Any, ...]] = {"objective": ("cross_entropy",), "restarts": (1,)}
PLAIN_MIM: dict[str, tuple[Any, ...]] = {**PLAIN_PGD, "random_start": (False,)}
# The box of the peers of PyTorch.
BOX = ((0.0, 1.0),)


class NotShared(UserError):
    """The other library has no attack of these settings."""


@dataclasses.dataclass(frozen=True)
class Peer:
    """One library.

    Attributes:
        name: as its authors write it.
        packages: distributions whose versions belong to a result, its own first.
        load: our Keras classifier as its attacks take it.
        attacks: class name of our config -> its attack, as this module describes.
        takes_start: attacks with a random start that begin where they are told to.
        differs: class name, or class name and norm ("Pgd l1") -> in what its attack departs from ours; such a pair is
            compared by strength alone.
        broken: class name -> what is wrong with an attack that it has but that cannot be compared.
    """

    name: str
    packages: tuple[str, ...]
    load: Callable[[Any], Any]
    attacks: Mapping[str, Run]
    takes_start: tuple[str, ...] = ()
    differs: Mapping[str, str] = dataclasses.field(default_factory=dict)
    broken: Mapping[str, str] = dataclasses.field(default_factory=dict)

    def has(self, config: Any) -> bool:
        """Whether it has an attack of the kind of `config`, be it broken."""
        return type(config).__name__ in (*self.attacks, *self.broken)

    def attack(self, config: Any) -> Run:
        """Its attack of the kind of `config`.

        Raises:
            NotShared: it has none, or a broken one.
        """
        kind = type(config).__name__
        if kind in self.broken:
            raise NotShared(f"its {kind} is broken: {self.broken[kind]}")
        if kind not in self.attacks:
            raise NotShared(f"{self.name} has no {kind}")
        return self.attacks[kind]

    def difference(self, config: Any) -> str | None:
        """In what its attack of the kind of `config` departs from ours, if it does."""
        kind = type(config).__name__
        return self.differs.get(kind, self.differs.get(f"{kind} {getattr(config, 'norm', '')}"))

    def versions(self) -> dict[str, str]:
        """Distribution -> version, of those that are installed."""
        found = {}
        for package in self.packages:
            try:
                found[package] = importlib.metadata.version(package)
            except importlib.metadata.PackageNotFoundError:
                continue
        return found


def require(module: str, extra: str) -> Any:
    """Imports a peer's module, which a plain installation of tfadv does not bring.

    Raises:
        UserError: it is not installed; the message names the extra that brings it.
    """
    try:
        return importlib.import_module(module)
    except ImportError as error:
        raise UserError(f'a comparison needs {module} ({error}); pip install "tfadv[{extra}]"') from error


def by_batch(attack: OneBatch) -> Run:
    """An attack on any number of images from one on a batch."""

    @functools.wraps(attack)
    def run(
        model: Any, x: np.ndarray, y: np.ndarray, config: Any, start: np.ndarray | None, batch_size: int
    ) -> np.ndarray:
        parts = [
            attack(model, x[rows], y[rows], config, None if start is None else start[rows])
            for rows in batches(len(x), batch_size)
        ]
        return np.concatenate(parts)

    return run


def batches(count: int, batch_size: int) -> list[slice]:
    """Rows 0..count-1, batch by batch."""
    return [slice(row, row + batch_size) for row in range(0, count, batch_size)]


def check_shared(config: Any, **allowed: tuple[Any, ...]) -> None:
    """Refuses a config with another value of a named setting, or with one epsilon or step size for each example.

    Raises:
        NotShared: names the setting.
    """
    kind = type(config).__name__
    for name, values in allowed.items():
        value = getattr(config, name)
        if value not in values:
            raise NotShared(f"{kind} is shared with {name} of {list(values)} only, not {value!r}")
    for name in ("epsilon", "step_size"):
        if np.ndim(getattr(config, name, 0.0)):
            raise NotShared(f"{kind} is shared with one {name} for all examples only")


def hop_skip_jump_iterations(queries: int, directions: int) -> int:
    """How many iterations of HopSkipJump fit into so many looks at the model, for peers that count iterations.

    Iteration t looks at directions * sqrt(t) points, and about 25 times more: a binary search to the boundary halves
    some 15 times, and the search for a step a few times. (For 5,000 queries and 100 directions Foolbox and ART looked
    4,660 to 4,880 times.)
    """
    iterations = 0
    while queries >= (cost := int(directions * math.sqrt(iterations + 1)) + 25):
        iterations, queries = iterations + 1, queries - cost
    return max(iterations, 1)
