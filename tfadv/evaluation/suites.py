"""Suites: which attacks make up an evaluation, for a threat model of given norm and radius."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from tfadv.attacks import Apgd, Attack, AutoAttack, Fab, Fgm, Mim, Pgd, Square
from tfadv.validation import UserError

_LOSSES = {"cross_entropy": "cross-entropy", "margin": "margin", "dlr": "DLR"}
_APGD = {"cross_entropy": "APGD-CE", "dlr": "APGD-DLR", "targeted_dlr": "APGD-T", "margin": "APGD margin"}


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
    elif type(config) in (Mim, Pgd):
        family = "MIM" if isinstance(config, Mim) else "PGD" if config.random_start else "BIM"
        kind = f"{family}-{config.steps} {_LOSSES[config.objective]}"
    else:
        kind = type(config).__name__
    restarts = getattr(config, "restarts", 1)
    return kind if restarts == 1 else f"{kind}, {restarts} starts"


def quick(epsilon: float, norm: str, seed: int) -> tuple[Any, ...]:
    """Seconds: one gradient step, and twenty of them."""
    return (Fgm(epsilon, norm), Pgd(epsilon, 2.5 * epsilon / 20, 20, norm, seed=seed))


def gradient(epsilon: float, norm: str, seed: int) -> tuple[Any, ...]:
    """First-order attacks: FGM, then PGD-40 on cross-entropy and on the margin, three random starts each.

    The step 2.5 epsilon / 40 lets the path cross the ball from any start (Madry et al. 2018 use 2.5 epsilon / steps).
    """
    step = 2.5 * epsilon / 40
    return (
        Fgm(epsilon, norm),
        Pgd(epsilon, step, 40, norm, "cross_entropy", restarts=3, seed=seed),
        Pgd(epsilon, step, 40, norm, "margin", restarts=3, seed=seed),
    )


def _auto_attack(version: str) -> Callable[[float, str, int], tuple[Any, ...]]:
    return lambda epsilon, norm, seed: AutoAttack(epsilon, norm, version, seed).stages()


# AutoAttack's versions give each attack what the ones before could not fool; the others are each run on everything.
SUITES: dict[str, Callable[[float, str, int], tuple[Any, ...]]] = {
    "quick": quick,
    "gradient": gradient,
    "standard": _auto_attack("standard"),
    "plus": _auto_attack("plus"),
    "rand": _auto_attack("rand"),
}
ON_SURVIVORS = ("standard", "plus", "rand")


def resolve(suite: str | tuple[Any, ...] | list[Any], epsilon: float, norm: str, seed: int) -> tuple[Any, ...]:
    """The configs of a suite by name, or the configs given.

    Raises:
        UserError: no such suite, none given, or a config of another norm or radius than the threat model.
    """
    if isinstance(suite, str):
        if suite not in SUITES:
            raise UserError(f"suite must be one of {sorted(SUITES)} or a list of attack configs, got {suite!r}")
        return SUITES[suite](epsilon, norm, seed)
    configs = tuple(suite)
    if not configs or not all(isinstance(config, Attack) for config in configs):
        raise UserError(
            f"suite must be one of {sorted(SUITES)} or a non-empty list of attack configs, got {suite!r}; "
            "AutoAttack is suite='standard'"
        )
    for config in configs:
        if config.norm != norm or getattr(config, "epsilon", None) != epsilon:
            raise UserError(
                f"every attack of a suite must keep to the threat model norm={norm!r}, epsilon={epsilon}, got {config}"
            )
    return configs
