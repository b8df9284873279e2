"""Suites: which attacks make up an evaluation, for a threat model of given norm and radius."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from tfadv.attacks import Fgm, Pgd
from tfadv.validation import UserError

_LOSSES = {"cross_entropy": "cross-entropy", "margin": "margin", "dlr": "DLR"}


def name_of(config: Any) -> str:
    """An attack's name as readers know it: "FGSM", "PGD-40 margin, 3 starts"."""
    loss = _LOSSES[config.objective]
    if isinstance(config, Fgm):
        kind = "FGSM" if config.norm == "linf" else f"FGM {config.norm}"
        return kind if config.objective == "cross_entropy" else f"{kind} {loss}"
    kind = f"{'PGD' if config.random_start else 'BIM'}-{config.steps} {loss}"
    return kind if config.restarts == 1 else f"{kind}, {config.restarts} starts"


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


SUITES: dict[str, Callable[[float, str, int], tuple[Any, ...]]] = {"quick": quick, "gradient": gradient}


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
    if not configs or not all(isinstance(config, Fgm | Pgd) for config in configs):
        raise UserError(
            f"suite must be one of {sorted(SUITES)} or a non-empty list of Fgm and Pgd configs, got {suite!r}"
        )
    for config in configs:
        if config.norm != norm or config.epsilon != epsilon:
            raise UserError(
                f"every attack of a suite must keep to the threat model norm={norm!r}, epsilon={epsilon}, got {config}"
            )
    return configs
