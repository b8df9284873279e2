"""Who makes adversarial examples in a comparison of frameworks: each library, in each framework that it attacks in.

An attack here takes a `native.Network` loaded by its `Peer`, in a process whose Keras runs on that framework.
"""

from __future__ import annotations

import dataclasses
import importlib.metadata
from typing import Any

import numpy as np

from tfadv.attacks import Pgd
from tfadv.crosscheck import art, cleverhans, cleverhans_torch, foolbox, native, ours, torchattacks
from tfadv.crosscheck.peers import Peer
from tfadv.models import predictor
from tfadv.version import __version__

# Name of a Keras backend -> name of the framework.
FRAMEWORKS = {"tensorflow": "TensorFlow", "torch": "PyTorch", "jax": "JAX"}
OURS = ("tensorflow", "tfadv")
# Ours, CleverHans and ART clip to the box before they project onto the l2 ball.
_BALL_FIRST = ("foolbox", "torchattacks")


def _ours(
    model: Any, x: np.ndarray, y: np.ndarray, config: Any, start: np.ndarray | None, batch_size: int
) -> np.ndarray:
    return ours.bound(model, config, precision="float32", batch_size=batch_size)(x, y, start, None)


_GONE = "imports jax.experimental.stax, which JAX does not have any more"

# (backend, library) -> its attacks on a `native.Network`.
MAKERS: dict[tuple[str, str], Peer] = {
    OURS: Peer(
        name="tfadv",
        packages=(),
        load=lambda network: predictor(network.model),
        attacks={"Fgm": _ours, "Pgd": _ours},
        takes_start=("Pgd",),
    ),
    ("tensorflow", "cleverhans"): dataclasses.replace(
        cleverhans.PEER, packages=("cleverhans",), load=lambda network: cleverhans.load(network.model)
    ),
    ("tensorflow", "foolbox"): foolbox.TENSORFLOW,
    ("tensorflow", "art"): art.TENSORFLOW,
    ("torch", "cleverhans"): cleverhans_torch.PEER,
    ("torch", "foolbox"): foolbox.TORCH,
    ("torch", "torchattacks"): dataclasses.replace(torchattacks.PEER, load=native.torch_classifier),
    ("jax", "foolbox"): foolbox.JAX,
    ("jax", "cleverhans"): Peer(
        name="CleverHans",
        packages=("cleverhans", "jax"),
        load=native.jax_function,
        attacks={},
        broken={"Fgm": _GONE, "Pgd": _GONE},
    ),
}


def departure(library: str, config: Any) -> str | None:
    """In what the library's attack of this config departs from ours, if it does."""
    if library in _BALL_FIRST and isinstance(config, Pgd) and config.norm == "l2":
        return "projects onto the ball first and then clips to the box, which shortens the change once more"
    return None


def missing(packages: tuple[str, ...]) -> list[str]:
    """Which of these distributions are not installed; TensorFlow, which has more than one, always is."""
    return [package for package in packages if package != "tensorflow" and _version(package) is None]


def versions(framework: str) -> dict[str, str]:
    """tfadv, Keras, NumPy and the framework of this process -> version."""
    packages = ("keras", "numpy", framework)
    found = {package: _version(package) for package in packages}
    return {"tfadv": __version__, **{package: version for package, version in found.items() if version}}


def _version(package: str) -> str | None:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None
