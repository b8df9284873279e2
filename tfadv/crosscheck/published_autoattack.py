"""AutoAttack as its authors published it (PyTorch), from a folder that holds a copy of their source."""

from __future__ import annotations

import importlib
import os
import pathlib
import sys
from collections.abc import Callable
from typing import Any

import numpy as np

from tfadv.crosscheck.peers import BOX, Peer, Run, by_batch, check_shared, require
from tfadv.crosscheck.torch_models import Classifier, array, classifier, images, labels
from tfadv.validation import UserError

NAME = "AutoAttack (published)"
_PACKAGE = "autoattack"
_NORMS = {"linf": "Linf", "l2": "L2"}


def peer(source: str | os.PathLike) -> Peer:
    """The published attacks, imported from `source`, which is put on Python's path.

    Args:
        source: the folder that holds the package autoattack: a clone of github.com/fra31/auto-attack.

    Raises:
        UserError: no such package there, or PyTorch is not installed.
    """
    modules = load(source)

    def attack(function: Callable[..., np.ndarray]) -> Run:
        return by_batch(lambda *arguments: function(modules, *arguments))

    return Peer(
        name=NAME,
        packages=("torch",),
        load=classifier,
        attacks={
            "Apgd": attack(_apgd),
            "AutoAttack": lambda *arguments: _auto_attack(modules, *arguments),
            "Fab": attack(_fab),
            "Square": attack(_square),
        },
        differs={"Square": "one window for the whole batch"},
    )


def load(source: str | os.PathLike) -> dict[str, Any]:
    """Module name -> module of the published package; one folder in the life of a process."""
    folder = pathlib.Path(source).resolve()
    if not (folder / _PACKAGE / "autoattack.py").is_file():
        raise UserError(
            f"the published AutoAttack must be a folder with {_PACKAGE}/autoattack.py, got {str(source)!r}; name a "
            "clone of github.com/fra31/auto-attack"
        )
    require("torch", "torch")
    sys.path.insert(0, str(folder))
    try:
        names = ("autoattack", "autopgd_base", "fab_pt", "square")
        modules = {name: importlib.import_module(f"{_PACKAGE}.{name}") for name in names}
    finally:
        sys.path.remove(str(folder))
    found = pathlib.Path(str(modules["autoattack"].__file__)).resolve()
    if folder not in found.parents:
        raise UserError(f"another {_PACKAGE} is loaded already, from {found.parent}; run this in a process of its own")
    return modules


def _perturbed(attack: Any, x: np.ndarray, y: np.ndarray) -> np.ndarray:
    return array(attack.perturb(images(x), labels(y)))


def _common(config: Any) -> dict[str, Any]:
    return {"norm": _NORMS[config.norm], "eps": config.epsilon, "seed": config.seed, "device": "cpu"}


def _apgd(modules: Any, model: Classifier, x: np.ndarray, y: np.ndarray, config: Any, start: Any) -> np.ndarray:
    losses = {"cross_entropy": "ce", "dlr": "dlr", "targeted_dlr": None}
    check_shared(config, norm=tuple(_NORMS), objective=tuple(losses), bounds=BOX, targeted=(False,))
    settings = {"n_iter": config.steps, "n_restarts": config.restarts, "eot_iter": config.eot, **_common(config)}
    kinds = modules["autopgd_base"]
    if config.objective == "targeted_dlr":
        targets = min(config.targets, model.classes - 1)
        return _perturbed(kinds.APGDAttack_targeted(model.module, n_target_classes=targets, **settings), x, y)
    return _perturbed(kinds.APGDAttack(model.module, loss=losses[config.objective], **settings), x, y)


def _fab(modules: Any, model: Classifier, x: np.ndarray, y: np.ndarray, config: Any, start: Any) -> np.ndarray:
    check_shared(config, norm=tuple(_NORMS), bounds=BOX, **({"restarts": (1,)} if config.epsilon is None else {}))
    targets = min(config.targets or 0, model.classes - 1)
    settings = {"alpha_max": config.alpha_max, "eta": config.eta, "beta": config.beta, "n_iter": config.steps}
    attack = modules["fab_pt"].FABAttack_PT(
        model.module,
        n_restarts=config.restarts,
        targeted=bool(targets),
        n_target_classes=targets,
        **settings,
        **_common(config),
    )
    if config.epsilon is not None:
        return _perturbed(attack, x, y)
    # Its own loop over the targets ends with the first success; the closest of all targets is what it can find.
    best, smallest = x.copy(), np.full(len(x), np.inf)
    for target in range(2, targets + 2) if targets else (0,):
        attack.target_class = target
        found = array(attack.attack_single_run(images(x), labels(y), is_targeted=bool(targets)))
        delta = (found - x).reshape(len(x), -1)
        size = np.linalg.norm(delta, np.inf if config.norm == "linf" else 2, axis=1)
        better = (size > 0) & (size < smallest)
        best[better], smallest[better] = found[better], size[better]
    return best


def _square(modules: Any, model: Classifier, x: np.ndarray, y: np.ndarray, config: Any, start: Any) -> np.ndarray:
    check_shared(config, norm=tuple(_NORMS), bounds=BOX)
    attack = modules["square"].SquareAttack(
        model.module, n_queries=config.queries, resc_schedule=False, **_common(config)
    )
    return _perturbed(attack, x, y)


def _auto_attack(
    modules: Any, model: Classifier, x: np.ndarray, y: np.ndarray, config: Any, start: Any, batch_size: int
) -> np.ndarray:
    """The whole suite; it collects the survivors of all batches itself."""
    check_shared(config, norm=tuple(_NORMS), bounds=BOX, version=("standard", "plus", "rand"))
    settings = {"version": config.version, "verbose": False, **_common(config)}
    suite = modules["autoattack"].AutoAttack(model.module, **settings)
    # With fewer classes the published suite fails.
    for attack in (suite.apgd_targeted, suite.fab):
        attack.n_target_classes = min(attack.n_target_classes, model.classes - 1)
    return array(suite.run_standard_evaluation(images(x), labels(y), bs=batch_size))
