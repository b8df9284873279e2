"""Threat models by name, "linf:8/255" or "rotation:20", each with the attacks that fit it."""

from __future__ import annotations

import dataclasses
import math
import re
from collections.abc import Callable, Iterable
from typing import Any

from tfadv.attacks import (
    Apgd,
    Attack,
    Brightness,
    ExtremePixels,
    Fab,
    FlippedPixels,
    Jsma,
    Pgd,
    PixelSwap,
    Rotation,
)
from tfadv.evaluation import suites
from tfadv.evaluation.suites import Part
from tfadv.validation import UserError

_EXAMPLES = "linf:8/255, l2:0.5, l1:12, l0:10, rotation:20 or brightness:0.2"
_NUMBER = r"[0-9]*\.?[0-9]+(?:e[-+]?[0-9]+)?"
_TEXT = re.compile(rf"\s*(\w+)\s*:\s*({_NUMBER})\s*(?:/\s*({_NUMBER})\s*)?", re.IGNORECASE)
_DRAWS = 100


@dataclasses.dataclass(frozen=True)
class Threat:
    """What an attacker may do to an image.

    Attributes:
        norm: a key of `UNITS`.
        epsilon: how much of it: linf, l2, l1 and brightness (a constant on all pixels) in the image's own units, l0 in
            numbers of an image (a color pixel is three), rotation in degrees to either side.

    Raises:
        UserError: another norm, or an epsilon that it cannot have.
    """

    norm: str
    epsilon: float

    def __post_init__(self) -> None:
        if self.norm not in UNITS:
            raise UserError(f"norm of a threat must be one of {list(UNITS)}, got {self.norm!r}; write {_EXAMPLES}")
        value = float(self.epsilon)
        if not (math.isfinite(value) and value >= 0):
            raise UserError(f"epsilon of {self.norm} must be a finite number >= 0, got {self.epsilon!r}")
        if self.norm == "l0" and not (value.is_integer() and value >= 1):
            raise UserError(f"epsilon of l0 must be a whole number of pixels, at least 1, got {self.epsilon!r}")
        if self.norm == "rotation" and value > 180:
            raise UserError(f"epsilon of rotation must lie in [0, 180] degrees, got {self.epsilon!r}")
        object.__setattr__(self, "epsilon", value)

    @classmethod
    def parse(cls, text: str) -> Threat:
        """The threat that `text` names, "norm:epsilon", where epsilon may be a fraction.

        Raises:
            UserError: it is none.
        """
        found = _TEXT.fullmatch(text)
        if found is None or (found[3] is not None and not float(found[3])):
            raise UserError(f"a threat must be written as norm:epsilon, such as {_EXAMPLES}, got {text!r}")
        return cls(found[1].lower(), float(found[2]) / float(found[3] or 1))

    def __str__(self) -> str:
        """As `parse` reads it; 8/255 is written as that."""
        levels = self.epsilon * 255
        short = f"{self.epsilon:.6g}"
        if (
            UNITS[self.norm] == "input units"
            and levels >= 0.5
            and abs(levels - round(levels)) < 1e-6
            and len(short) > 4
        ):
            return f"{self.norm}:{round(levels)}/255"
        return f"{self.norm}:{short if float(short) == self.epsilon else repr(self.epsilon)}"

    def parts(
        self, shape: tuple[int, ...], *, seed: int = 0, bounds: tuple[float, float] = (0.0, 1.0)
    ) -> tuple[Part, ...]:
        """The attacks that fit this threat, each to be run on what the ones before it left.

        linf and l2: AutoAttack. l1: APGD on cross-entropy and, targeted, on DLR; targeted FAB; PGD-40 on the margin
        with 3 starts; SPSA on 100 examples, in place of Square, which AutoAttack has there (Croce and Hein 2021,
        arXiv:2103.01208) and which is not made for l1 here. l0: the pixels of extreme gradient, set one by one; JSMA up
        and down; 100 random draws of flipped and of swapped pixels. rotation: all angles one degree apart, or ten to
        either side. brightness: all constants 1/255 of the range apart, or ten to either side.

        JSMA's config says `targeted`: it goes for a class, so it is to be run for every wrong one.

        Args:
            shape: of one input.
            seed: of all random numbers.
            bounds: (lowest, highest) pixel value.

        Raises:
            UserError: more pixels than an image has, or a rotation of what is no image.
        """
        return _ATTACKS[self.norm](self, tuple(shape), seed, bounds)


def parse_all(values: Iterable[str | Threat] | str) -> tuple[Threat, ...]:
    """Threats by name, or as they are; one text may list several, separated by commas.

    Raises:
        UserError: none, the same one twice, or one that `Threat.parse` refuses.
    """
    given = values.split(",") if isinstance(values, str) else list(values)
    threats = tuple(each if isinstance(each, Threat) else Threat.parse(each) for each in given if each != "")
    if not threats:
        raise UserError(f"threats must name at least one, such as {_EXAMPLES}")
    if len(set(threats)) < len(threats):
        raise UserError(f"threats must differ from each other, got {', '.join(map(str, threats))}")
    return threats


def _in_turn(*configs: Attack) -> tuple[Part, ...]:
    return tuple(Part(config, survivors=True) for config in configs)


def _auto_attack(threat: Threat, shape: tuple[int, ...], seed: int, bounds: tuple[float, float]) -> tuple[Part, ...]:
    return suites.parts("standard", threat.epsilon, threat.norm, seed, bounds)


def _l1(threat: Threat, shape: tuple[int, ...], seed: int, bounds: tuple[float, float]) -> tuple[Part, ...]:
    radius = threat.epsilon
    common: dict[str, Any] = {"norm": "l1", "seed": seed, "bounds": bounds}
    return (
        *_in_turn(
            Apgd(radius, **common),
            Apgd(radius, objective="targeted_dlr", **common),
            Fab(radius, targets=9, **common),
            Pgd(radius, 2.5 * radius / 40, 40, objective="margin", restarts=3, **common),
        ),
        Part(suites.spsa(radius, "l1", seed, bounds), survivors=True, limit=100),
    )


def _l0(threat: Threat, shape: tuple[int, ...], seed: int, bounds: tuple[float, float]) -> tuple[Part, ...]:
    pixels, features = int(threat.epsilon), math.prod(shape)
    if pixels > features:
        raise UserError(f"epsilon of l0 must be at most {features}, the numbers of an image, got {pixels}")
    width = bounds[1] - bounds[0]
    configs: list[Attack] = [ExtremePixels(pixels, steps=pixels, bounds=bounds)]
    # JSMA changes pixels in pairs.
    for theta in (width, -width):
        configs.append(Jsma(theta, pixels / features, pairs=pixels > 1, bounds=bounds))
    configs.append(FlippedPixels(pixels, _DRAWS, seed=seed, bounds=bounds))
    if pixels > 1:
        configs.append(PixelSwap(pixels // 2 * 2 / features, _DRAWS, seed=seed, bounds=bounds))
    return _in_turn(*configs)


def _rotation(threat: Threat, shape: tuple[int, ...], seed: int, bounds: tuple[float, float]) -> tuple[Part, ...]:
    if len(shape) != 3:
        raise UserError(f"rotation is of images (height, width, channels), got inputs of shape {shape}; leave it out")
    return _in_turn(Rotation(threat.epsilon, max(10, math.ceil(threat.epsilon)), bounds))


def _brightness(threat: Threat, shape: tuple[int, ...], seed: int, bounds: tuple[float, float]) -> tuple[Part, ...]:
    levels = round(255 * threat.epsilon / (bounds[1] - bounds[0]))
    return _in_turn(Brightness(threat.epsilon, max(10, levels), bounds))


# What epsilon counts, by norm.
UNITS = {
    "linf": "input units",
    "l2": "input units",
    "l1": "input units",
    "l0": "pixels",
    "rotation": "degrees",
    "brightness": "input units",
}
_ATTACKS: dict[str, Callable[[Threat, tuple[int, ...], int, tuple[float, float]], tuple[Part, ...]]] = {
    "linf": _auto_attack,
    "l2": _auto_attack,
    "l1": _l1,
    "l0": _l0,
    "rotation": _rotation,
    "brightness": _brightness,
}
