"""Families of experiments that are compared under one threat model, and the columns that measure each member."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np

import tfadv.data
from tfadv import attacks
from tfadv.attacks import AutoAttack, Fgm, Pgd
from tfadv.experiments import EXPERIMENTS, attack_strength, defenses_cifar10, defenses_mnist, quickstart
from tfadv.training import Experiment
from tfadv.validation import UserError

CLEAN, STANDARD = "clean", "AutoAttack"
_STEPS = 20


@dataclasses.dataclass(frozen=True)
class Family:
    """The experiments called FAMILY/MEMBER, all of one data set, and the threat model under which they are compared.

    Attributes:
        title: what their table is called.
        epsilon: radius in input units.
        norm: "linf" or "l2", which AutoAttack knows.
    """

    title: str
    epsilon: float
    norm: str = "linf"


FAMILIES: dict[str, Family] = {
    "attack_strength": Family("Nets on which attacks are compared", attack_strength.EPSILON),
    "defenses_cifar10": Family("Defenses on CIFAR-10", defenses_cifar10.EPSILON, defenses_cifar10.NORM),
    "defenses_mnist": Family("Defenses on MNIST", defenses_mnist.EPSILON, defenses_mnist.NORM),
    **{f"quickstart_{name}": Family(f"Quickstart on {name}", value) for name, value in quickstart.EPSILON.items()},
}


def members_of(family: str) -> dict[str, Experiment]:
    """Member -> experiment, in the order of `EXPERIMENTS`.

    Raises:
        UserError: no such family.
    """
    if family not in FAMILIES:
        raise UserError(f"family must be one of {', '.join(sorted(FAMILIES))}; got {family!r}")
    prefix = f"{family}/"
    return {name.removeprefix(prefix): each for name, each in EXPERIMENTS.items() if name.startswith(prefix)}


class Column(NamedTuple):
    """One measurement.

    Attributes:
        attacks: run in turn, each on what is left; none is clean accuracy.
        rows: int [n], ascending: which test images they get.
        settings: JSON values of what decides the number beside the weights.
    """

    attacks: tuple[attacks.Attack, ...]
    rows: np.ndarray
    settings: Mapping[str, Any]


def columns_of(
    family: Family, dataset: str, labels: np.ndarray, limit: int | None, standard_limit: int
) -> dict[str, Column]:
    """Column name -> what is measured: clean accuracy, FGSM, PGD-20 on cross-entropy and on the margin, AutoAttack.

    PGD takes steps of 2.5 epsilon / 20 from one random start and keeps the best iterate.

    Args:
        labels: int [N], of the whole test split.
        limit: seeded, stratified subset of all columns but AutoAttack's; None is all images.
        standard_limit: size of AutoAttack's own subset of the test split, at most N; 0 leaves AutoAttack out.

    Raises:
        UserError: limits out of range.
    """
    available = len(labels)
    everything, standard = np.arange(available), np.arange(available)
    if limit is not None:
        tfadv.data.check_limit(limit, available, f"'test' of {dataset!r}")
        everything = tfadv.data.stratified_subset(labels, limit, tfadv.data.LIMIT_SEED)
    if standard_limit < 0:
        raise UserError(f"standard_limit must be at least 0, which leaves AutoAttack out, got {standard_limit}")
    if 0 < standard_limit < available:
        standard = tfadv.data.stratified_subset(labels, standard_limit, tfadv.data.LIMIT_SEED)
    epsilon, norm = family.epsilon, family.norm
    pgd = Pgd(epsilon, 2.5 * epsilon / _STEPS, _STEPS, norm)
    chosen: dict[str, tuple[tuple[attacks.Attack, ...], np.ndarray]] = {
        CLEAN: ((), everything),
        "FGSM" if norm == "linf" else "FGM": ((Fgm(epsilon, norm),), everything),
        f"PGD-{_STEPS}": ((pgd,), everything),
        f"PGD-{_STEPS} margin": ((dataclasses.replace(pgd, objective="margin"),), everything),
    }
    if standard_limit:
        chosen[STANDARD] = (AutoAttack(epsilon, norm).stages(), standard)
    return {
        name: Column(
            configs,
            rows,
            {
                "dataset": dataset,
                "available": available,
                "count": len(rows),
                "attacks": [attacks.to_dict(config) for config in configs],
            },
        )
        for name, (configs, rows) in chosen.items()
    }
