"""The attacks of the Adversarial Robustness Toolbox, on our weights in PyTorch, or on a network of TensorFlow.

Its TensorFlow estimator computes gradients eagerly, ignores the batch size of a prediction, and has no momentum; its
PyTorch estimator has none of these faults, so it is the one to compare strength with.
"""

from __future__ import annotations

import dataclasses
from typing import Any, NamedTuple
from unittest import mock

import numpy as np
import tensorflow as tf

from tfadv.crosscheck import native
from tfadv.crosscheck.peers import (
    BOX,
    PLAIN_FGM,
    PLAIN_MIM,
    PLAIN_PGD,
    Peer,
    by_batch,
    check_shared,
    hop_skip_jump_iterations,
    require,
)
from tfadv.crosscheck.torch_models import classifier
from tfadv.models import predictor

_NORMS = {"linf": np.inf, "l2": 2}
_GRADIENT_NORMS = {**_NORMS, "l1": 1}
_DENSE = "steps along the whole gradient, and not on the few pixels where it is steepest"
_PGD = "art.attacks.evasion.projected_gradient_descent.projected_gradient_descent_"


class Loaded(NamedTuple):
    """ART's estimator of images in [0, 1], and how its framework takes them.

    Attributes:
        estimator: of ART.
        pgd: class of projected gradient descent, and the module that it is in.
        channels_first: whether its images are [B, C, H, W].
    """

    estimator: Any
    pgd: tuple[str, str] = ("ProjectedGradientDescentPyTorch", f"{_PGD}pytorch")
    channels_first: bool = True

    def images(self, x: np.ndarray) -> np.ndarray:
        """Our images [B, H, W, C] as its own; a copy, which an attack may write into."""
        return np.array(np.moveaxis(x, -1, 1) if self.channels_first and x.ndim == 4 else x, np.float32, order="C")

    def array(self, x: np.ndarray) -> np.ndarray:
        """What `images` gave, back as ours."""
        return np.array(np.moveaxis(x, 1, -1) if self.channels_first and x.ndim == 4 else x, np.float32, order="C")


def load(model: Any) -> Loaded:
    """Our classifier as ART takes it."""
    estimators = require("art.estimators.classification", "art")
    nn = require("torch", "art").nn
    ours = classifier(model)
    # Its HopSkipJump asks in float64, and the estimator calls the layers one by one.
    ours.module[0].register_forward_pre_hook(lambda layer, inputs: (inputs[0].float(),))
    return Loaded(
        estimators.PyTorchClassifier(
            ours.module,
            loss=nn.CrossEntropyLoss(),
            input_shape=ours.shape,
            nb_classes=ours.classes,
            clip_values=(0.0, 1.0),
            device_type="cpu",
        )
    )


def load_tensorflow(network: native.Network) -> Loaded:
    """A network of TensorFlow as ART takes it."""
    estimators = require("art.estimators.classification", "art")
    predict = predictor(network.model)
    estimator = estimators.TensorFlowV2Classifier(
        lambda x, training: predict(x),
        nb_classes=network.classes,
        input_shape=network.shape,
        loss_object=tf.nn.softmax_cross_entropy_with_logits,
        clip_values=(0.0, 1.0),
    )
    return Loaded(estimator, ("ProjectedGradientDescentTensorFlowV2", f"{_PGD}tensorflow_v2"), channels_first=False)


def _run(kind: str, loaded: Loaded, x: np.ndarray, y: np.ndarray, seed: int = 0, **settings: Any) -> np.ndarray:
    # ART draws from NumPy's global generator.
    np.random.seed(seed)  # noqa: NPY002
    attack = getattr(require("art.attacks.evasion", "art"), kind)(loaded.estimator, **settings)
    return loaded.array(attack.generate(loaded.images(x), y.astype(np.int64)))


def _silent(count: int) -> dict[str, Any]:
    return {"batch_size": count, "verbose": False}


@by_batch
def fgm(model: Loaded, x: np.ndarray, y: np.ndarray, config: Any, start: np.ndarray | None) -> np.ndarray:
    """`FastGradientMethod`."""
    check_shared(config, norm=tuple(_GRADIENT_NORMS), bounds=BOX, **PLAIN_FGM)
    settings = {"norm": _GRADIENT_NORMS[config.norm], "eps": config.epsilon, "batch_size": len(x)}
    return _run("FastGradientMethod", model, x, y, **settings)


@by_batch
def pgd(model: Loaded, x: np.ndarray, y: np.ndarray, config: Any, start: np.ndarray | None) -> np.ndarray:
    """`ProjectedGradientDescentPyTorch` or `-TensorFlowV2`, from `start` where there is one."""
    check_shared(config, norm=tuple(_GRADIENT_NORMS), bounds=BOX, **PLAIN_PGD)
    settings = {
        "norm": _GRADIENT_NORMS[config.norm],
        "eps": config.epsilon,
        "eps_step": config.step_size,
        "max_iter": config.steps,
        "targeted": config.targeted,
        "num_random_init": config.restarts if config.random_start or start is not None else 0,
        **_silent(len(x)),
    }
    kind, module = model.pgd
    if start is None:
        return _run(kind, model, x, y, config.seed, **settings)
    # The one function that draws a start, with the difference to ours in its place.
    with mock.patch.object(require(module, "art"), "random_sphere", return_value=model.images(start - x)):
        return _run(kind, model, x, y, **settings)


@by_batch
def mim(model: Loaded, x: np.ndarray, y: np.ndarray, config: Any, start: np.ndarray | None) -> np.ndarray:
    """`MomentumIterativeMethod`."""
    check_shared(config, norm=tuple(_NORMS), bounds=BOX, **PLAIN_MIM)
    settings = {
        "norm": _NORMS[config.norm],
        "eps": config.epsilon,
        "eps_step": config.step_size,
        "decay": config.decay,
        "max_iter": config.steps,
        "targeted": config.targeted,
        **_silent(len(x)),
    }
    return _run("MomentumIterativeMethod", model, x, y, **settings)


@by_batch
def apgd(model: Loaded, x: np.ndarray, y: np.ndarray, config: Any, start: np.ndarray | None) -> np.ndarray:
    """`AutoProjectedGradientDescent`, with the first step that the paper has."""
    check_shared(config, norm=tuple(_NORMS), objective=("cross_entropy", "dlr"), bounds=BOX, eot=(1,))
    settings = {
        "norm": _NORMS[config.norm],
        "eps": config.epsilon,
        "eps_step": 2 * config.epsilon,
        "max_iter": config.steps,
        "nb_random_init": config.restarts,
        "loss_type": {"cross_entropy": "cross_entropy", "dlr": "difference_logits_ratio"}[config.objective],
        **_silent(len(x)),
    }
    return _run("AutoProjectedGradientDescent", model, x, y, config.seed, **settings)


@by_batch
def square(model: Loaded, x: np.ndarray, y: np.ndarray, config: Any, start: np.ndarray | None) -> np.ndarray:
    """`SquareAttack`."""
    check_shared(config, norm=tuple(_NORMS), bounds=BOX)
    settings = {"norm": _NORMS[config.norm], "eps": config.epsilon, "max_iter": config.queries, **_silent(len(x))}
    return _run("SquareAttack", model, x, y, config.seed, **settings)


@by_batch
def deep_fool(model: Loaded, x: np.ndarray, y: np.ndarray, config: Any, start: np.ndarray | None) -> np.ndarray:
    """`DeepFool`."""
    check_shared(config, norm=("l2",), epsilon=(None,), bounds=BOX)
    settings = {"max_iter": config.steps, "epsilon": config.overshoot, "nb_grads": config.candidates}
    return _run("DeepFool", model, x, y, **settings, **_silent(len(x)))


@by_batch
def carlini_wagner(model: Loaded, x: np.ndarray, y: np.ndarray, config: Any, start: np.ndarray | None) -> np.ndarray:
    """`CarliniL2Method`."""
    check_shared(config, epsilon=(None,), bounds=BOX)
    settings = {
        "confidence": config.confidence,
        "targeted": config.targeted,
        "learning_rate": config.learning_rate,
        "binary_search_steps": config.binary_searches,
        "max_iter": config.steps,
        "initial_const": config.initial_constant,
    }
    return _run("CarliniL2Method", model, x, y, **settings, **_silent(len(x)))


@by_batch
def jsma(model: Loaded, x: np.ndarray, y: np.ndarray, config: Any, start: np.ndarray | None) -> np.ndarray:
    """`SaliencyMapMethod`; y are the classes to reach."""
    check_shared(config, pairs=(True,), bounds=BOX)
    return _run("SaliencyMapMethod", model, x, y, theta=config.theta, gamma=config.gamma, **_silent(len(x)))


@by_batch
def hop_skip_jump(model: Loaded, x: np.ndarray, y: np.ndarray, config: Any, start: np.ndarray | None) -> np.ndarray:
    """`HopSkipJump`."""
    check_shared(config, norm=tuple(_NORMS), bounds=BOX)
    settings = {
        "norm": _NORMS[config.norm],
        "max_iter": hop_skip_jump_iterations(config.queries, config.directions),
        "init_eval": config.directions,
        "targeted": config.targeted,
        **_silent(len(x)),
    }
    return _run("HopSkipJump", model, x, y, config.seed, **settings)


PEER = Peer(
    name="ART",
    packages=("adversarial-robustness-toolbox", "torch"),
    load=load,
    attacks={
        "Apgd": apgd,
        "CarliniWagner": carlini_wagner,
        "DeepFool": deep_fool,
        "Fgm": fgm,
        "HopSkipJump": hop_skip_jump,
        "Jsma": jsma,
        "Mim": mim,
        "Pgd": pgd,
        "Square": square,
    },
    takes_start=("Pgd",),
    differs={
        "Apgd": "returns the last iterate, and not the best",
        "CarliniWagner": "gradient descent with a line search in place of Adam",
        "Fgm l1": _DENSE,
        "Pgd l1": _DENSE,
        "DeepFool": "leaves from the predicted class, and overshoots once at the end",
        "HopSkipJump": "counts iterations; given as many as fit into our queries",
        "Square": "rescales its schedule to the queries, which pays where they are few; one window for the whole batch",
    },
)

# On a network of TensorFlow, for comparisons of frameworks.
TENSORFLOW = dataclasses.replace(
    PEER,
    packages=("adversarial-robustness-toolbox",),
    load=load_tensorflow,
    attacks={"Fgm": fgm, "Pgd": pgd},
    differs={},
)
