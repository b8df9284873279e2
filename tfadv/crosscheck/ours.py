"""Our side of a comparison: attacks by name for one threat model, in words, and run in a stated precision."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable
from typing import Any

import numpy as np
import tensorflow as tf

from tfadv import attacks
from tfadv.attacks import search
from tfadv.attacks.auto_attack import AutoAttack
from tfadv.validation import UserError

# Name of a variant -> the attack, and what it sets.
VARIANTS: dict[str, tuple[str, dict[str, Any]]] = {
    "apgd_dlr": ("apgd", {"objective": "dlr"}),
    "apgd_t": ("apgd", {"objective": "targeted_dlr"}),
    "bim": ("pgd", {"random_start": False}),
    "fab_t": ("fab", {"targets": 9}),
}
# (x, y, where to begin, number of each example in its data set) -> x_adv
Run = Callable[[np.ndarray, np.ndarray, np.ndarray | None, np.ndarray | None], np.ndarray]


def kinds() -> dict[str, Any]:
    """Name -> config class: the functions of `tfadv.attacks.ATTACKS`, and the suite."""
    return {**{function.__name__: kind for kind, function in attacks.ATTACKS.items()}, "auto_attack": AutoAttack}


def configs(
    names: Iterable[str], epsilon: float, *, step_size: float, steps: int, norm: str, seed: int = 0
) -> list[Any]:
    """The attacks of these names for one threat model; what is not said here has its default.

    Args:
        names: of `kinds` and `VARIANTS`, such as "pgd", "carlini_wagner", "apgd_t".
        epsilon: radius in input units; attacks that look for the closest adversarial example do without.
        step_size, steps: of PGD, BIM and MIM.
        norm: of those attacks that have more than one.

    Raises:
        UserError: no name, no attack of such a name, or one that does not exist in this norm.
    """
    known, made, names = kinds(), [], tuple(names)
    if not names:
        raise UserError(f"attacks must name at least one of {sorted({*known, *VARIANTS})}, got none")
    for name in names:
        base, settings = VARIANTS.get(name, (name, {}))
        if base not in known:
            raise UserError(f"attacks must be among {sorted({*known, *VARIANTS})}, got {name!r}")
        defaults = {field.name: field.default for field in dataclasses.fields(known[base])}
        wanted = {"norm": norm, "seed": seed, **settings}
        if defaults.get("epsilon") is not None:
            wanted["epsilon"] = epsilon
        if "step_size" in defaults:
            wanted |= {"step_size": step_size, "steps": steps}
        made.append(known[base](**{key: value for key, value in wanted.items() if key in defaults}))
    return made


def bound(predict: search.Predictor, config: Any, *, precision: str, batch_size: int) -> Run:
    """The attack with its compiled programs, which it keeps; a suite takes no start."""
    attack = attacks.compiled(predict, config, precision=precision, batch_size=batch_size)
    if isinstance(config, AutoAttack):
        return lambda x, y, start, index: attack.run(x, y, index=index).x_adv
    return lambda x, y, start, index: attack.run(x, y, start, index=index).x_adv


def random_start(predict: search.Predictor, config: Any, x: np.ndarray, y: np.ndarray) -> np.ndarray | None:
    """Where our PGD begins, in ball and box, so that others can be told; None for attacks without a random start."""
    if not getattr(config, "random_start", False):
        return None
    problem = search.problem_of(config, tf.constant(x), tf.constant(y))
    return config.begin(predict, problem, config.draw(problem)).x_adv.numpy()


def last_iterate(config: Any) -> Any:
    """The config that returns what peers return: the last iterate of one start."""
    return config if config.keep == "last" else dataclasses.replace(config, keep="last", restarts=1)


def looks_for_the_closest(config: Any) -> bool:
    """Whether it is judged by its distances: it has no radius to keep to."""
    return hasattr(config, "epsilon") and config.epsilon is None


def describe(config: Any) -> str:
    """The attack in a few words: "PGD-40 linf 0.3", "CarliniWagner-1000 l2 closest"."""
    kind = type(config).__name__
    name = {"Pgd": "PGD" if getattr(config, "random_start", True) else "BIM", "Fgm": "FGM", "Mim": "MIM"}.get(
        kind, kind
    )
    steps = getattr(config, "steps", None) or getattr(config, "queries", None)
    words = [name if steps is None else f"{name}-{steps}"]
    if any(field.name == "objective" for field in dataclasses.fields(config)) and config.objective != "cross_entropy":
        words.append(config.objective)
    if kind == "Fab" and config.targets:
        words.append(f"{config.targets} targets")
    if kind != "Jsma":
        words.append(config.norm)
    if looks_for_the_closest(config):
        words.append("closest")
    elif hasattr(config, "epsilon"):
        words.append(f"{config.epsilon:g}")
    return " ".join(words)
