"""Suites: which attacks make up an evaluation, for a threat model of given norm and radius."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

from tfadv.attacks import (
    Apgd,
    Attack,
    AutoAttack,
    Brightness,
    CarliniWagner,
    DeepFool,
    ExtremePixels,
    Fab,
    Fgm,
    FlippedPixels,
    HopSkipJump,
    Jsma,
    Mim,
    Pgd,
    PixelSwap,
    Rotation,
    Spsa,
    Square,
)
from tfadv.balls import BALLS
from tfadv.validation import UserError

Bounds = tuple[float, float]
_UNIT = (0.0, 1.0)

_LOSSES = {
    "cross_entropy": "cross-entropy",
    "lifted_cross_entropy": "lifted cross-entropy",
    "margin": "margin",
    "dlr": "DLR",
}
_APGD = {
    "cross_entropy": "APGD-CE",
    "lifted_cross_entropy": "APGD lifted cross-entropy",
    "dlr": "APGD-DLR",
    "targeted_dlr": "APGD-T",
    "margin": "APGD margin",
}


def name_of(config: Any) -> str:
    """An attack's name as readers know it: "FGSM", "PGD-40 margin, 3 starts", "APGD-T"."""
    if isinstance(config, Fgm):
        kind = "FGSM" if config.norm == "linf" else f"FGM {config.norm}"
        return kind if config.objective == "cross_entropy" else f"{kind} {_LOSSES[config.objective]}"
    if isinstance(config, Apgd):
        kind = _APGD[config.objective] + (f", EOT {config.eot}" if config.eot > 1 else "")
    elif isinstance(config, Fab):
        kind = "FAB" if config.targets is None else "FAB-T"
    elif isinstance(config, Square):
        kind = f"Square, {config.queries:,} queries"
    elif isinstance(config, HopSkipJump):
        kind = f"HopSkipJump, {config.queries:,} queries"
    elif isinstance(config, Spsa):
        kind = f"SPSA, {config.steps} steps of {config.samples} samples"
    elif isinstance(config, CarliniWagner):
        kind = f"C&W, {config.binary_searches} x {config.steps:,} steps"
    elif isinstance(config, Jsma):
        kind = f"JSMA {'up' if config.theta > 0 else 'down'}, {100 * config.gamma:.3g}% of the pixels"
    elif isinstance(config, ExtremePixels | FlippedPixels):
        kind = f"{config.pixels} {'extreme' if isinstance(config, ExtremePixels) else 'flipped'} pixels"
    elif isinstance(config, PixelSwap):
        kind = f"{100 * config.ratio:.3g}% of the pixels swapped"
    elif isinstance(config, Rotation):
        kind = f"rotation to {config.degrees:g} degrees"
    elif isinstance(config, Brightness):
        kind = f"brightness to {config.epsilon:g}"
    elif type(config) in (Mim, Pgd):
        family = "MIM" if isinstance(config, Mim) else "PGD" if config.random_start else "BIM"
        kind = f"{family}-{config.steps} {_LOSSES[config.objective]}"
    else:
        kind = type(config).__name__
    for name, unit in (("restarts", "starts"), ("draws", "draws")):
        if getattr(config, name, 1) > 1:
            kind += f", {getattr(config, name)} {unit}"
    return kind


@dataclasses.dataclass(frozen=True)
class Part:
    """An attack of a suite.

    Attributes:
        config: the attack.
        survivors: whether it is run only on what the parts before it left; otherwise alone.
        limit: at most so many examples, a seeded, stratified subset; None is all.
    """

    config: Attack
    survivors: bool = False
    limit: int | None = None


def quick(epsilon: float, norm: str, seed: int, bounds: Bounds = _UNIT) -> tuple[Attack, ...]:
    """Seconds: one gradient step, and twenty of them, which small logits do not lead astray."""
    step = 2.5 * epsilon / 20
    return (
        Fgm(epsilon, norm, bounds=bounds),
        Pgd(epsilon, step, 20, norm, "lifted_cross_entropy", seed=seed, bounds=bounds),
    )


def gradient(epsilon: float, norm: str, seed: int, bounds: Bounds = _UNIT) -> tuple[Attack, ...]:
    """First-order attacks: FGM, then PGD-40 on cross-entropy and on the margin, three random starts each.

    The step 2.5 epsilon / 40 lets the path cross the ball from any start (Madry et al. 2018 use 2.5 epsilon / steps).
    """
    step = 2.5 * epsilon / 40
    return (
        Fgm(epsilon, norm, bounds=bounds),
        Pgd(epsilon, step, 40, norm, "cross_entropy", restarts=3, seed=seed, bounds=bounds),
        Pgd(epsilon, step, 40, norm, "margin", restarts=3, seed=seed, bounds=bounds),
    )


def papers(epsilon: float, norm: str, seed: int, bounds: Bounds = _UNIT) -> tuple[Part, ...]:
    """The attacks of the five papers that the library reproduces, at the threat model's norm and radius.

    Their steps are scaled with epsilon. FS, LSQ, LSV, WD and AV are the papers "Theoretical and empirical study of
    adversarial examples", "Label smoothing and logit squeezing", "Adversarial robustness via label-smoothing",
    "Adversarial training versus weight decay" and "Adversarial vertex mixup"; "CW" of FS, LSQ and AV is the margin.

    - FGM by the true label, cross-entropy (all five) and margin (LSQ, tables 5 and 6).
    - BIM, 40 steps of epsilon / 30 from the image (LSV, table 3, which states neither: read as the PGD of FS).
    - PGD-40, steps of 0.01 for epsilon 0.3, one random start, both objectives (FS, table 1; LSQ, table 5).
    - PGD-20, steps of 2 for epsilon 8, both objectives (FS, table 2; LSQ, table 6; AV, table 1; WD, figure 10, up to
      its step). PGD-7 and PGD-10 are the beginning of it.
    - PGD-100, the same steps, both objectives (AV, table 5).
    - DeepFool in linf and l2 (LSV, table 4), on everything.
    - C&W in l2, 5 x 200 steps (LSV, table 5), on at most 500 examples that the others left: it takes as long as all of
      them.

    Departures: the first adversarial iterate counts, where the papers judge the last; DeepFool and C&W, which LSV runs
    without a radius, succeed within epsilon only, because non-zero accuracy against an unbounded attack measures that
    it failed. Of other norms the papers have no attacks: their first-order ones are run there as well. What
    WD does beside norms, and the JSMA, is in `tfadv.evaluation.threats`.
    """
    common: dict[str, Any] = {"norm": norm, "seed": seed, "bounds": bounds}

    def both(step: float, steps: int) -> tuple[Attack, ...]:
        return tuple(Pgd(epsilon, step, steps, objective=each, **common) for each in ("cross_entropy", "margin"))

    madry = epsilon / 30
    attacks = [
        Fgm(epsilon, norm, bounds=bounds),
        Fgm(epsilon, norm, "margin", bounds=bounds),
        Pgd(epsilon, madry, 40, random_start=False, **common),
        *both(madry, 40),
        *both(epsilon / 4, 20),
        *both(epsilon / 4, 100),
    ]
    if norm in ("linf", "l2"):
        attacks.append(DeepFool(epsilon, norm=norm, bounds=bounds))
    found = _alone(*attacks)
    if norm == "l2":
        last = CarliniWagner(epsilon, steps=200, binary_searches=5, bounds=bounds)
        found += (Part(last, survivors=True, limit=500),)
    return found


def full(epsilon: float, norm: str, seed: int, bounds: Bounds = _UNIT) -> tuple[Part, ...]:
    """AutoAttack, then the papers' attacks, then what needs no gradient on at most 100 of the examples that are left.

    The papers' attacks run alone, so that their numbers can be compared with those of other evaluations. HopSkipJump
    has 5,000 queries for each example, SPSA 100 steps of 128 samples.
    """
    last = (spsa(epsilon, norm, seed, bounds), HopSkipJump(epsilon, 5_000, norm, seed=seed, bounds=bounds))
    return (
        *_auto_attack("standard")(epsilon, norm, seed, bounds),
        *papers(epsilon, norm, seed, bounds),
        *(Part(config, survivors=True, limit=100) for config in last),
    )


def spsa(epsilon: float, norm: str, seed: int, bounds: Bounds = _UNIT) -> Spsa:
    """SPSA with 100 steps of 128 samples, whose lengths are 1% of the range of a pixel."""
    length = 0.01 * (bounds[1] - bounds[0])
    return Spsa(epsilon, 100, 128, length, length, norm, seed=seed, bounds=bounds)


def _alone(*configs: Attack) -> tuple[Part, ...]:
    return tuple(map(Part, configs))


def _auto_attack(version: str) -> Callable[..., tuple[Part, ...]]:
    """Each attack is given what the ones before could not fool."""

    def stages(epsilon: float, norm: str, seed: int, bounds: Bounds = _UNIT) -> tuple[Part, ...]:
        configs = AutoAttack(epsilon, norm, version, seed, bounds).stages()
        return tuple(Part(config, survivors=True) for config in configs)

    return stages


_PARTS: dict[str, Callable[..., tuple[Part, ...]]] = {
    "quick": lambda *threat: _alone(*quick(*threat)),
    "gradient": lambda *threat: _alone(*gradient(*threat)),
    "papers": papers,
    "standard": _auto_attack("standard"),
    "plus": _auto_attack("plus"),
    "rand": _auto_attack("rand"),
    "full": full,
}
# Suites of minutes: told beforehand how long they take, and checked thoroughly.
LONG = ("standard", "plus", "rand", "full")


def _configs_of(name: str) -> Callable[..., tuple[Any, ...]]:
    return lambda *threat: tuple(part.config for part in _PARTS[name](*threat))


# Name -> function of (epsilon, norm, seed, bounds) that gives the attacks; without bounds for pixels in [0, 1].
SUITES: dict[str, Callable[..., tuple[Any, ...]]] = {name: _configs_of(name) for name in _PARTS}


def parts(
    suite: str | tuple[Any, ...] | list[Any], epsilon: float, norm: str, seed: int, bounds: Bounds = _UNIT
) -> tuple[Part, ...]:
    """The attacks of a suite by name, or those given (configs or `Part`s), and how each is run.

    `bounds`, the lowest and highest pixel value, are for suites by name; configs that are given have their own.

    Raises:
        UserError: no such suite, none given, a config of another norm or radius than the threat model, or a limit
            below 1.
    """
    if isinstance(suite, str):
        if suite not in _PARTS:
            raise UserError(f"suite must be one of {sorted(_PARTS)} or a list of attack configs, got {suite!r}")
        return _PARTS[suite](epsilon, norm, seed, bounds)
    listed = suite if isinstance(suite, tuple | list) else ()
    given = tuple(each if isinstance(each, Part) else Part(each) for each in listed)
    if not given or not all(isinstance(part.config, Attack) for part in given):
        raise UserError(
            f"suite must be one of {sorted(_PARTS)} or a non-empty list of attack configs, got {suite!r}; "
            "AutoAttack is suite='standard'"
        )
    for part in given:
        # Of what is no norm (rotation, pixels) the attacks keep to it by themselves, and are judged afterwards.
        if norm in BALLS and (part.config.norm != norm or getattr(part.config, "epsilon", None) != epsilon):
            raise UserError(
                f"every attack of a suite must keep to the threat model norm={norm!r}, epsilon={epsilon}, got "
                f"{part.config}"
            )
        if part.limit is not None and part.limit < 1:
            raise UserError(f"limit of {name_of(part.config)} must be at least 1 or None for all, got {part.limit}")
    return given


def resolve(suite: str | tuple[Any, ...] | list[Any], epsilon: float, norm: str, seed: int) -> tuple[Any, ...]:
    """The configs of `parts`, which says how they are run."""
    return tuple(part.config for part in parts(suite, epsilon, norm, seed))
