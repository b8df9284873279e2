"""The attacks of torchattacks, on our weights in PyTorch."""

from __future__ import annotations

from typing import Any

import numpy as np

from tfadv.crosscheck.peers import (
    BOX,
    PLAIN_FGM,
    PLAIN_MIM,
    PLAIN_PGD,
    NotShared,
    Peer,
    by_batch,
    check_shared,
    require,
)
from tfadv.crosscheck.torch_models import Classifier, array, check_began, classifier, images, labels, starting_at

_NORMS = {"linf": "Linf", "l2": "L2"}


def _attacks() -> Any:
    return require("torchattacks", "torchattacks")


def _run(attack: Any, x: np.ndarray, y: np.ndarray, *, targeted: bool = False) -> np.ndarray:
    if targeted:
        attack.set_mode_targeted_by_label(quiet=True)
    return array(attack(images(x), labels(y)))


def _seeded(config: Any) -> None:
    require("torch", "torchattacks").manual_seed(config.seed)


@by_batch
def fgm(model: Classifier, x: np.ndarray, y: np.ndarray, config: Any, start: np.ndarray | None) -> np.ndarray:
    """`FGSM`."""
    check_shared(config, norm=("linf",), bounds=BOX, **PLAIN_FGM)
    return _run(_attacks().FGSM(model.module, eps=config.epsilon), x, y)


@by_batch
def pgd(model: Classifier, x: np.ndarray, y: np.ndarray, config: Any, start: np.ndarray | None) -> np.ndarray:
    """`PGD` and `PGDL2`, from `start` where there is one."""
    check_shared(config, norm=("linf", "l2"), bounds=BOX, **PLAIN_PGD)
    kind = {"linf": "PGD", "l2": "PGDL2"}[config.norm]

    def after(steps: int, random_start: bool) -> np.ndarray:
        settings = {"eps": config.epsilon, "alpha": config.step_size, "steps": steps, "random_start": random_start}
        return _run(getattr(_attacks(), kind)(model.module, **settings), x, y, targeted=config.targeted)

    if start is None:
        _seeded(config)
        return after(config.steps, config.random_start)
    with starting_at(x, start, config.epsilon):
        check_began("torchattacks", after(0, True), start)
        return after(config.steps, True)


@by_batch
def mim(model: Classifier, x: np.ndarray, y: np.ndarray, config: Any, start: np.ndarray | None) -> np.ndarray:
    """`MIFGSM`."""
    check_shared(config, norm=("linf",), bounds=BOX, **PLAIN_MIM)
    settings = {"eps": config.epsilon, "alpha": config.step_size, "steps": config.steps}
    return _run(_attacks().MIFGSM(model.module, decay=config.decay, **settings), x, y, targeted=config.targeted)


@by_batch
def apgd(model: Classifier, x: np.ndarray, y: np.ndarray, config: Any, start: np.ndarray | None) -> np.ndarray:
    """`APGD` and `APGDT`."""
    objectives = ("cross_entropy", "dlr", "targeted_dlr")
    check_shared(config, norm=tuple(_NORMS), objective=objectives, bounds=BOX)
    settings = {
        "norm": _NORMS[config.norm],
        "eps": config.epsilon,
        "steps": config.steps,
        "n_restarts": config.restarts,
        "seed": config.seed,
        "eot_iter": config.eot,
    }
    if config.objective == "targeted_dlr":
        if config.targets < model.classes - 1:
            raise NotShared(f"torchattacks' targeted APGD tries all {model.classes - 1} wrong classes")
        return _run(_attacks().APGDT(model.module, n_classes=model.classes, **settings), x, y)
    loss = {"cross_entropy": "ce", "dlr": "dlr"}[config.objective]
    return _run(_attacks().APGD(model.module, loss=loss, **settings), x, y)


@by_batch
def fab(model: Classifier, x: np.ndarray, y: np.ndarray, config: Any, start: np.ndarray | None) -> np.ndarray:
    """`FAB`."""
    check_shared(config, norm=tuple(_NORMS), bounds=BOX, **({"restarts": (1,)} if config.epsilon is None else {}))
    attack = _attacks().FAB(
        model.module,
        norm=_NORMS[config.norm],
        # The radius only decides what counts as a success, and how far random restarts go.
        eps=1e6 if config.epsilon is None else config.epsilon,
        steps=config.steps,
        n_restarts=config.restarts,
        seed=config.seed,
        multi_targeted=bool(config.targets),
        n_classes=min(config.targets or 0, model.classes - 1) + 1,
    )
    return _run(attack, x, y)


@by_batch
def square(model: Classifier, x: np.ndarray, y: np.ndarray, config: Any, start: np.ndarray | None) -> np.ndarray:
    """`Square`."""
    check_shared(config, norm=tuple(_NORMS), bounds=BOX)
    attack = _attacks().Square(
        model.module,
        norm=_NORMS[config.norm],
        eps=config.epsilon,
        n_queries=config.queries,
        resc_schedule=False,
        seed=config.seed,
    )
    return _run(attack, x, y)


@by_batch
def deep_fool(model: Classifier, x: np.ndarray, y: np.ndarray, config: Any, start: np.ndarray | None) -> np.ndarray:
    """`DeepFool`, one image after the other."""
    check_shared(config, norm=("l2",), bounds=BOX)
    return _run(_attacks().DeepFool(model.module, steps=config.steps, overshoot=config.overshoot), x, y)


@by_batch
def carlini_wagner(
    model: Classifier, x: np.ndarray, y: np.ndarray, config: Any, start: np.ndarray | None
) -> np.ndarray:
    """`CW`."""
    check_shared(config, epsilon=(None,), bounds=BOX)
    settings = {"kappa": config.confidence, "steps": config.steps, "lr": config.learning_rate}
    return _run(_attacks().CW(model.module, c=1.0, **settings), x, y, targeted=config.targeted)


@by_batch
def jsma(model: Classifier, x: np.ndarray, y: np.ndarray, config: Any, start: np.ndarray | None) -> np.ndarray:
    """`JSMA`; y are the classes to reach."""
    check_shared(config, pairs=(True,), bounds=BOX)
    return _run(_attacks().JSMA(model.module, theta=config.theta, gamma=config.gamma), x, y, targeted=True)


@by_batch
def spsa(model: Classifier, x: np.ndarray, y: np.ndarray, config: Any, start: np.ndarray | None) -> np.ndarray:
    """`SPSA`, which counts directions, each looked at from both sides."""
    check_shared(config, norm=("linf",), objective=("margin",), bounds=BOX)
    _seeded(config)
    attack = _attacks().SPSA(
        model.module,
        eps=config.epsilon,
        delta=config.delta,
        lr=config.learning_rate,
        nb_iter=config.steps,
        nb_sample=config.samples // 2,
    )
    return _run(attack, x, y, targeted=config.targeted)


PEER = Peer(
    name="torchattacks",
    packages=("torchattacks", "torch"),
    load=classifier,
    attacks={
        "Apgd": apgd,
        "CarliniWagner": carlini_wagner,
        "DeepFool": deep_fool,
        "Fab": fab,
        "Fgm": fgm,
        "Jsma": jsma,
        "Mim": mim,
        "Pgd": pgd,
        "Spsa": spsa,
        "Square": square,
    },
    takes_start=("Pgd",),
    differs={
        "CarliniWagner": "one c = 1 in place of a binary search, and one early stop for the whole batch",
        "DeepFool": "overshoots at every step, and not the sum of the steps",
        "Fab": "without a radius, ends with the first target that succeeds",
        "Mim": "an example whose gradient is 0 at one step is moved no more",
        "Spsa": "one set of directions for the whole batch",
        "Square": "one window for the whole batch",
    },
)
