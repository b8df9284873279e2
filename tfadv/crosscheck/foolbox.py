"""The attacks of Foolbox: on our weights in PyTorch, or on a network in its own framework.

Labels are int64, because its int32 labels fail under NumPy 2.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import tensorflow as tf

from tfadv.crosscheck import native, torch_models
from tfadv.crosscheck.peers import (
    BOX,
    PLAIN_FGM,
    PLAIN_MIM,
    PLAIN_PGD,
    NotShared,
    Peer,
    by_batch,
    check_shared,
    hop_skip_jump_iterations,
    require,
)
from tfadv.models import predictor

_DENSE = "steps along the whole gradient, and not on the few pixels where it is steepest"


class Loaded(NamedTuple):
    """Foolbox' model of images in [0, 1], and how its framework takes and returns them.

    Attributes:
        model: of Foolbox.
        images, labels: array -> tensor.
        array: tensor -> array.
        seeded: whether it draws from PyTorch's generator; where not, an attack has to be told where to begin.
    """

    model: Any
    images: Callable[[np.ndarray], Any] = torch_models.images
    labels: Callable[[np.ndarray], Any] = torch_models.labels
    array: Callable[[Any], np.ndarray] = torch_models.array
    seeded: bool = True


def load(model: Any) -> Loaded:
    """Our classifier as Foolbox takes it."""
    return _torch(torch_models.classifier(model))


def _torch(classifier: torch_models.Classifier) -> Loaded:
    return Loaded(require("foolbox", "foolbox").PyTorchModel(classifier.module, bounds=(0, 1), device="cpu"))


def load_torch(network: native.Network) -> Loaded:
    """A network of PyTorch as Foolbox takes it."""
    return _torch(native.torch_classifier(network))


def load_tensorflow(network: native.Network) -> Loaded:
    """A network of TensorFlow as Foolbox takes it."""
    model = require("foolbox", "foolbox").TensorFlowModel(predictor(network.model), bounds=(0, 1), device="/CPU:0")
    return Loaded(model, tf.constant, lambda y: tf.constant(y, tf.int64), lambda x: x.numpy(), False)


def load_jax(network: native.Network) -> Loaded:
    """A network of JAX as Foolbox takes it."""
    asarray = require("jax.numpy", "jax").asarray
    model = require("foolbox", "foolbox").JAXModel(native.jax_function(network.model), bounds=(0, 1))
    return Loaded(model, asarray, asarray, np.array, False)


def _run(attack: Any, loaded: Loaded, x: np.ndarray, y: np.ndarray, config: Any) -> np.ndarray:
    criteria = require("foolbox", "foolbox").criteria
    criterion = criteria.TargetedMisclassification if config.targeted else criteria.Misclassification
    _, clipped, _ = attack(loaded.model, loaded.images(x), criterion(loaded.labels(y)), epsilons=config.epsilon)
    return loaded.array(clipped)


def _attack(name: str, **settings: Any) -> Any:
    return getattr(require("foolbox", "foolbox").attacks, name)(**settings)


@by_batch
def fgm(model: Loaded, x: np.ndarray, y: np.ndarray, config: Any, start: np.ndarray | None) -> np.ndarray:
    """`Linf-`, `L2-` and `L1FastGradientAttack`."""
    check_shared(config, norm=("linf", "l2", "l1"), bounds=BOX, **PLAIN_FGM)
    return _run(_attack(f"{config.norm.capitalize()}FastGradientAttack"), model, x, y, config)


@by_batch
def pgd(model: Loaded, x: np.ndarray, y: np.ndarray, config: Any, start: np.ndarray | None) -> np.ndarray:
    """`Linf-`, `L2-` and `L1ProjectedGradientDescentAttack`, from `start` where there is one."""
    check_shared(config, norm=("linf", "l2", "l1"), bounds=BOX, **PLAIN_PGD)
    kind = f"{config.norm.capitalize()}ProjectedGradientDescentAttack"
    attack = _attack(kind, abs_stepsize=config.step_size, steps=config.steps, random_start=config.random_start)
    if start is not None:
        attack.random_start = True
        attack.get_random_start = lambda x0, epsilon: type(x0)(model.images(start))
    elif config.random_start:
        if not model.seeded:
            raise NotShared("outside PyTorch, Pgd is shared with a given start only")
        require("torch", "foolbox").manual_seed(config.seed)
    return _run(attack, model, x, y, config)


@by_batch
def mim(model: Loaded, x: np.ndarray, y: np.ndarray, config: Any, start: np.ndarray | None) -> np.ndarray:
    """`Linf-` and `L2MomentumIterativeFastGradientMethod`."""
    check_shared(config, norm=("linf", "l2"), bounds=BOX, **PLAIN_MIM)
    kind = {
        "linf": "LinfMomentumIterativeFastGradientMethod",
        "l2": "L2MomentumIterativeFastGradientMethod",
    }[config.norm]
    return _run(
        _attack(kind, momentum=config.decay, abs_stepsize=config.step_size, steps=config.steps), model, x, y, config
    )


@by_batch
def deep_fool(model: Loaded, x: np.ndarray, y: np.ndarray, config: Any, start: np.ndarray | None) -> np.ndarray:
    """`L2-` and `LinfDeepFoolAttack`."""
    check_shared(config, norm=("linf", "l2"), bounds=BOX)
    kind = {"linf": "LinfDeepFoolAttack", "l2": "L2DeepFoolAttack"}[config.norm]
    settings = {"steps": config.steps, "candidates": config.candidates, "overshoot": config.overshoot}
    return _run(_attack(kind, **settings), model, x, y, config)


@by_batch
def carlini_wagner(model: Loaded, x: np.ndarray, y: np.ndarray, config: Any, start: np.ndarray | None) -> np.ndarray:
    """`L2CarliniWagnerAttack`."""
    check_shared(config, bounds=BOX)
    attack = _attack(
        "L2CarliniWagnerAttack",
        binary_search_steps=config.binary_searches,
        steps=config.steps,
        stepsize=config.learning_rate,
        confidence=config.confidence,
        initial_const=config.initial_constant,
        abort_early=config.abort_early,
    )
    x_adv = _run(attack, model, x, y, config)
    # Where it finds nothing it returns a black image, which may well be misclassified.
    found = x_adv.reshape(len(x), -1).any(axis=1)
    return np.where(found.reshape(-1, *[1] * (x.ndim - 1)), x_adv, x)


@by_batch
def hop_skip_jump(model: Loaded, x: np.ndarray, y: np.ndarray, config: Any, start: np.ndarray | None) -> np.ndarray:
    """`HopSkipJumpAttack`."""
    check_shared(config, norm=("linf", "l2"), bounds=BOX)
    require("torch", "foolbox").manual_seed(config.seed)
    attack = _attack(
        "HopSkipJumpAttack",
        steps=hop_skip_jump_iterations(config.queries, config.directions),
        initial_gradient_eval_steps=config.directions,
        constraint=config.norm,
    )
    return _run(attack, model, x, y, config)


PEER = Peer(
    name="Foolbox",
    packages=("foolbox", "eagerpy", "torch"),
    load=load,
    attacks={
        "CarliniWagner": carlini_wagner,
        "DeepFool": deep_fool,
        "Fgm": fgm,
        "HopSkipJump": hop_skip_jump,
        "Mim": mim,
        "Pgd": pgd,
    },
    takes_start=("Pgd",),
    differs={
        "Fgm l1": _DENSE,
        "Pgd l1": _DENSE,
        "HopSkipJump": "counts iterations; given as many as fit into our queries",
        "Mim": "accumulates signs (l2: unit vectors) where the paper accumulates gradients of mean size 1",
    },
)

# On a network in its own framework, for comparisons of frameworks.
TORCH, TENSORFLOW, JAX = (
    dataclasses.replace(
        PEER, packages=("foolbox", "eagerpy", framework), load=load, attacks={"Fgm": fgm, "Pgd": pgd}, differs={}
    )
    for framework, load in (("torch", load_torch), ("tensorflow", load_tensorflow), ("jax", load_jax))
)
