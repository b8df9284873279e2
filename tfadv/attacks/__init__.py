"""Attacks: one per file, a frozen config and a pure function; this is their index.

`compiled(model, config)(x, y)` runs any of them fast over a data set; `ATTACKS[type(config)]` is the pure function
`(model, x, y, start, *, config) -> x_adv`, for use inside other graphs.
"""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np

from tfadv.attacks import saved
from tfadv.attacks.adaptive import Adaptive as Adaptive
from tfadv.attacks.adaptive import FeatureAttack as FeatureAttack
from tfadv.attacks.adaptive import adaptive as adaptive
from tfadv.attacks.adaptive import expectation as expectation
from tfadv.attacks.adaptive import feature_attack as feature_attack
from tfadv.attacks.adaptive import feature_loss as feature_loss
from tfadv.attacks.adaptive import feature_targets as feature_targets
from tfadv.attacks.apgd import Apgd as Apgd
from tfadv.attacks.apgd import apgd as apgd
from tfadv.attacks.auto_attack import AutoAttack as AutoAttack
from tfadv.attacks.binding import compiled as compiled
from tfadv.attacks.carlini_wagner import CarliniWagner as CarliniWagner
from tfadv.attacks.carlini_wagner import carlini_wagner as carlini_wagner
from tfadv.attacks.cascade import Cascade as Cascade
from tfadv.attacks.cascade import CascadeOutcome as CascadeOutcome
from tfadv.attacks.cascade import Stage as Stage
from tfadv.attacks.deep_fool import DeepFool as DeepFool
from tfadv.attacks.deep_fool import deep_fool as deep_fool
from tfadv.attacks.engine import CompiledAttack as CompiledAttack
from tfadv.attacks.fab import Fab as Fab
from tfadv.attacks.fab import fab as fab
from tfadv.attacks.fgm import Fgm as Fgm
from tfadv.attacks.fgm import fgm as fgm
from tfadv.attacks.fooling import Fooling as Fooling
from tfadv.attacks.fooling import FoolingSweep as FoolingSweep
from tfadv.attacks.fooling import fooling_images as fooling_images
from tfadv.attacks.fooling import fooling_sweep as fooling_sweep
from tfadv.attacks.hop_skip_jump import HopSkipJump as HopSkipJump
from tfadv.attacks.hop_skip_jump import hop_skip_jump as hop_skip_jump
from tfadv.attacks.jsma import Jsma as Jsma
from tfadv.attacks.jsma import jsma as jsma
from tfadv.attacks.mim import Mim as Mim
from tfadv.attacks.mim import mim as mim
from tfadv.attacks.pgd import Pgd as Pgd
from tfadv.attacks.pgd import pgd as pgd
from tfadv.attacks.pixels import ExtremePixels as ExtremePixels
from tfadv.attacks.pixels import FlippedPixels as FlippedPixels
from tfadv.attacks.pixels import PixelSwap as PixelSwap
from tfadv.attacks.pixels import extreme_pixels as extreme_pixels
from tfadv.attacks.pixels import flipped_pixels as flipped_pixels
from tfadv.attacks.pixels import pixel_swap as pixel_swap
from tfadv.attacks.search import Attack as Attack
from tfadv.attacks.slots import Outcome as Outcome
from tfadv.attacks.spatial import Brightness as Brightness
from tfadv.attacks.spatial import Rotation as Rotation
from tfadv.attacks.spatial import brightness as brightness
from tfadv.attacks.spatial import rotate as rotate
from tfadv.attacks.spatial import rotation as rotation
from tfadv.attacks.spsa import Spsa as Spsa
from tfadv.attacks.spsa import spsa as spsa
from tfadv.attacks.square import Square as Square
from tfadv.attacks.square import square as square
from tfadv.attacks.transfer import Transferred as Transferred
from tfadv.attacks.transfer import transfer as transfer
from tfadv.validation import UserError

# Config -> its pure function on one batch; AutoAttack, a cascade of several, has none.
ATTACKS: dict[type, Any] = {
    Adaptive: adaptive,
    Apgd: apgd,
    Brightness: brightness,
    CarliniWagner: carlini_wagner,
    DeepFool: deep_fool,
    ExtremePixels: extreme_pixels,
    Fab: fab,
    FeatureAttack: feature_attack,
    Fgm: fgm,
    FlippedPixels: flipped_pixels,
    HopSkipJump: hop_skip_jump,
    Jsma: jsma,
    Mim: mim,
    Pgd: pgd,
    PixelSwap: pixel_swap,
    Rotation: rotation,
    Spsa: spsa,
    Square: square,
}
_FIRST_ORDER = (Fgm, Mim, Pgd)


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
    if type(config) in (Mim, Pgd):
        return dataclasses.replace(config, keep="last", restarts=1)
    raise UserError(
        f"attack must be one of {[kind.__name__ for kind in _FIRST_ORDER]} in training, got {type(config).__name__}"
    )


def to_dict(config: Any) -> dict[str, Any]:
    """The config as JSON values: its class name and its fields; a function among them by its name."""
    return saved.describe(config)


def from_dict(values: dict[str, Any]) -> Any:
    """The config that `to_dict` described.

    Raises:
        UserError: no attack of that name, or one that holds functions, which JSON does not.
    """
    fields = {key: tuple(value) if isinstance(value, list) else value for key, value in values.items()}
    kinds = {kind.__name__: kind for kind in ATTACKS}
    name = str(fields.pop("class", None))
    if name not in kinds:
        raise UserError(f"an attack's class must be one of {sorted(kinds)}, got {name!r}")
    if issubclass(kinds[name], Adaptive | FeatureAttack):
        raise UserError(f"{name} holds functions and cannot be made from JSON; make it in Python")
    return kinds[name](**fields)
