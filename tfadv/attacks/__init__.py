"""Attacks: one per file, a frozen config and a pure function; this is their index.

`compiled(model, config)(x, y)` runs any of them fast over a data set; `ATTACKS[type(config)]` is the pure function
`(model, x, y, start, *, config) -> x_adv`, for use inside other graphs.
"""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np

from tfadv.attacks.engine import CompiledAttack as CompiledAttack
from tfadv.attacks.engine import Outcome as Outcome
from tfadv.attacks.engine import compiled as compiled
from tfadv.attacks.fgm import Fgm as Fgm
from tfadv.attacks.fgm import fgm as fgm
from tfadv.attacks.pgd import Pgd as Pgd
from tfadv.attacks.pgd import pgd as pgd
from tfadv.validation import UserError

ATTACKS: dict[type, Any] = {Fgm: fgm, Pgd: pgd}


def training_form(config: Any) -> Pgd:
    """The config as adversarial training uses it: the last iterate of one start, whether it fools or not.

    Raises:
        UserError: not a first-order attack, or one with an epsilon or a step for each example: batches are mixed anew
            in every epoch.
    """
    for name in ("epsilon", "step_size"):
        value: Any = getattr(config, name, 0.0)
        if np.ndim(value):
            raise UserError(f"{name} must be one number in training, got {len(value)}; give every example the same")
    if isinstance(config, Fgm):
        return config.as_pgd()
    if isinstance(config, Pgd):
        return dataclasses.replace(config, keep="last", restarts=1)
    raise UserError(f"attack must be one of {[kind.__name__ for kind in ATTACKS]}, got {type(config).__name__}")


def to_dict(config: Any) -> dict[str, Any]:
    """The config as JSON values: its class name and its fields."""
    return {"class": type(config).__name__, **dataclasses.asdict(config)}


def from_dict(values: dict[str, Any]) -> Any:
    """The config that `to_dict` described.

    Raises:
        UserError: no attack of that name.
    """
    fields = {key: tuple(value) if isinstance(value, list) else value for key, value in values.items()}
    kinds = {kind.__name__: kind for kind in ATTACKS}
    name = str(fields.pop("class", None))
    if name not in kinds:
        raise UserError(f"an attack's class must be one of {sorted(kinds)}, got {name!r}")
    return kinds[name](**fields)
