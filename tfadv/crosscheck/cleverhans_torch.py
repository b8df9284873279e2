"""The attacks of CleverHans for PyTorch, on a Keras model of the PyTorch backend."""

from __future__ import annotations

from typing import Any

import numpy as np

from tfadv.crosscheck import native
from tfadv.crosscheck.peers import BOX, PLAIN_FGM, PLAIN_PGD, NotShared, Peer, by_batch, check_shared, require
from tfadv.crosscheck.torch_models import Classifier, array, check_began, images, labels, starting_at

_ORDERS = {"linf": np.inf, "l2": 2}


def _attack(name: str) -> Any:
    return getattr(require(f"cleverhans.torch.attacks.{name}", "crosscheck"), name)


@by_batch
def fgm(model: Classifier, x: np.ndarray, y: np.ndarray, config: Any, start: np.ndarray | None) -> np.ndarray:
    """`fast_gradient_method`."""
    check_shared(config, norm=tuple(_ORDERS), targeted=(False,), bounds=BOX, **PLAIN_FGM)
    box = {"clip_min": 0.0, "clip_max": 1.0}
    order = _ORDERS[config.norm]
    return array(_attack("fast_gradient_method")(model.module, images(x), config.epsilon, order, y=labels(y), **box))


@by_batch
def pgd(model: Classifier, x: np.ndarray, y: np.ndarray, config: Any, start: np.ndarray | None) -> np.ndarray:
    """`projected_gradient_descent`, from `start` where there is one."""
    check_shared(config, norm=tuple(_ORDERS), targeted=(False,), bounds=BOX, **PLAIN_PGD)
    if config.step_size > config.epsilon:
        raise NotShared("Pgd is shared with step_size <= epsilon only, which CleverHans asserts")
    attack = _attack("projected_gradient_descent")

    def after(steps: int, rand_init: bool) -> np.ndarray:
        settings = {"clip_min": 0.0, "clip_max": 1.0, "y": labels(y), "rand_init": rand_init}
        budget = (config.epsilon, config.step_size, steps, _ORDERS[config.norm])
        return array(attack(model.module, images(x), *budget, **settings))

    if start is None:
        require("torch", "crosscheck").manual_seed(config.seed)
        return after(config.steps, config.random_start)
    with starting_at(x, start, config.epsilon):
        check_began("CleverHans", after(0, True), start)
        return after(config.steps, True)


PEER = Peer(
    name="CleverHans",
    packages=("cleverhans", "torch"),
    load=native.torch_classifier,
    attacks={"Fgm": fgm, "Pgd": pgd},
    takes_start=("Pgd",),
)
