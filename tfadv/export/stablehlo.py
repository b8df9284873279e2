"""A classifier and an attack on it as StableHLO, which every XLA runs, JAX's for one (`tfadv.crosscheck.stablehlo`).

An exported folder holds

    program.json    what each program takes and gives, in order
    NAME.mlirbc     the program NAME, a portable artifact of StableHLO (bytecode that later versions can read)
    weights.npz     the weights; they are the last arguments of a program, not constants in it

and one or two programs, compiled for batches of exactly `batch_size` images [B, H, W, C] in [0, 1]:

    classifier      images -> class int32 [B], logits and probabilities float32 [B, K]
    attack          images, labels int32 [B], start like images, epsilon float32 [] -> x_adv like images
"""

from __future__ import annotations

import contextlib
import dataclasses
import os
import pathlib
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import tensorflow as tf

from tfadv import files
from tfadv.attacks import search
from tfadv.attacks.input_gradient import plain_gradients
from tfadv.export.classifier import Classifier, classifier, radius_and_step
from tfadv.export.folder import replacing_folder
from tfadv.validation import UserError

_DESCRIPTION = "program.json"
_WEIGHTS = "weights.npz"


@dataclasses.dataclass(frozen=True)
class Program:
    """A function as StableHLO.

    Attributes:
        code: the portable artifact.
        inputs: its first arguments, as tensors are described in program.json: name, shape, dtype, and maybe a default.
        weights: (name, value) of its other arguments, in order.
        outputs: what it gives, in order, described like the inputs.
        updates: which weights it changes, by position; their new values are further results, in this order.
    """

    code: bytes
    inputs: tuple[dict[str, Any], ...]
    weights: tuple[tuple[str, np.ndarray], ...]
    outputs: tuple[dict[str, Any], ...]
    updates: tuple[int, ...]


def export_stablehlo(
    model: Any,
    config: search.Attack | None,
    directory: str | os.PathLike,
    *,
    batch_size: int,
    image_shape: Sequence[int] | None = None,
) -> pathlib.Path:
    """Writes `model`, and an attack on it, as StableHLO programs.

    Their matrix products and convolutions ask for the highest precision, so that a GPU computes them in float32 and not
    in TensorFloat-32.

    Args:
        model: a Keras model that gives logits, a loaded SavedModel, or a callable from images to logits.
        config: an attack with one run, one epsilon > 0 and one step size; None writes the classifier alone. A run
            begins where the argument `start` says, because random numbers of XLA are not those of TensorFlow; further
            restarts are further calls. `epsilon` scales the step, as in `export_attack`.
        directory: receives the files, all of them or none. An export that is already there is replaced once the new one
            is complete; any other file or folder with content is refused.
        batch_size: images of one call.
        image_shape: (H, W, C); needed only where the model does not say.

    Returns:
        `directory`.

    Raises:
        UserError: a model that gives probabilities, that does not say its shape or that XLA cannot compile; an attack
            of several runs or without one radius; or a folder that belongs to something else or cannot be written.
    """
    search.check_count("batch_size", batch_size)
    served = classifier(model, image_shape)
    programs = {"classifier": lowered(served.answers, {"images": served.images(batch_size)})}
    if config is not None:
        programs["attack"] = _attack(served, config, batch_size)
    return write(programs, directory, batch_size)


def _attack(served: Classifier, config: search.Attack, batch_size: int) -> Program:
    radius, step = radius_and_step(config)
    if config.runs != 1:
        raise UserError(
            f"config must have one run (restarts, targets) for StableHLO, got {config.runs}; export it with one, and "
            "call the program once for each start"
        )

    def attack(images: tf.Tensor, labels: tf.Tensor, start: tf.Tensor, epsilon: tf.Tensor) -> dict[str, tf.Tensor]:
        step_size = step * (epsilon / radius)
        with plain_gradients():
            x_adv = search.run(config, served.predict, images, labels, start, epsilon=epsilon, step_size=step_size)
        return {"x_adv": x_adv}

    images = served.images(batch_size)
    specs = {
        "images": images,
        "labels": tf.TensorSpec([batch_size], tf.int32),
        "start": images,
        "epsilon": tf.TensorSpec([], tf.float32),
    }
    starts_elsewhere = getattr(config, "random_start", type(config).draw is not search.Attack.draw)
    start = "random" if starts_elsewhere else "images"
    return lowered(attack, specs, {"start": start, "epsilon": radius})


def lowered(
    function: Callable[..., dict[str, tf.Tensor]],
    specs: Mapping[str, tf.TensorSpec],
    defaults: Mapping[str, Any] | None = None,
) -> Program:
    """`function` as StableHLO; the variables that it reads are its weights.

    Args:
        function: takes the tensors of `specs` by position, returns tensors by name.
        specs: name -> shape and type of each argument.
        defaults: name of an argument -> what to take where a caller gives none: a number, or for a start "images" or
            "random" (uniform within epsilon around the images).

    Raises:
        UserError: XLA cannot compile it.
    """
    compiled = tf.function(function, jit_compile=True, autograph=False)
    with _float32_products():
        concrete = compiled.get_concrete_function(*specs.values())
        try:
            code = compiled.experimental_get_compiler_ir(*specs.values())(stage="stablehlo_serialized")
        except (tf.errors.OpError, ValueError) as error:
            found = re.search(r"unsupported operations .*: (\w+) \(", str(error))
            reason = f"operation {found[1]}" if found else str(error).splitlines()[0][:200]
            raise UserError(
                f"XLA cannot compile the model or the attack ({reason}); export a SavedModel, or replace that layer"
            ) from error
    outputs, variables = concrete.structured_outputs, {id(each.handle): each for each in concrete.variables}
    assigned = {id(op.inputs[0]) for op in concrete.graph.get_operations() if op.type.startswith("Assign")}
    weights: list[tuple[str, np.ndarray]] = []
    for captured, _ in concrete.graph.captures:
        variable = variables.get(id(captured))
        name = "constant" if variable is None else variable.name.removesuffix(":0")
        weights.append((name, (captured if variable is None else variable).numpy()))
    return Program(
        code,
        tuple(_described(name, spec, (defaults or {}).get(name)) for name, spec in specs.items()),
        tuple(weights),
        # TensorFlow orders the values of a dictionary by its keys.
        tuple(_described(name, outputs[name]) for name in sorted(outputs)),
        tuple(at for at, (_, inside) in enumerate(concrete.graph.captures) if id(inside) in assigned),
    )


def _described(name: str, tensor: Any, default: Any = None) -> dict[str, Any]:
    described = {"name": name, "shape": list(tensor.shape), "dtype": tensor.dtype.name}
    return described if default is None else {**described, "default": default}


@contextlib.contextmanager
def _float32_products() -> Iterator[None]:
    """Inside the block XLA is asked for products of full precision."""
    before = tf.config.experimental.tensor_float_32_execution_enabled()
    tf.config.experimental.enable_tensor_float_32_execution(False)
    try:
        yield
    finally:
        tf.config.experimental.enable_tensor_float_32_execution(before)


def write(programs: Mapping[str, Program], directory: str | os.PathLike, batch_size: int) -> pathlib.Path:
    """Writes programs into one folder; a weight that several of them read is stored once.

    Raises:
        UserError: the folder belongs to something else or cannot be written.
    """
    directory, stored, described = pathlib.Path(directory), dict[str, np.ndarray](), {}
    for name, program in programs.items():
        keys: list[str] = []
        for weight, value in program.weights:
            keys.append(_key(stored, keys, weight, value))
            stored[keys[-1]] = value
        described[name] = {
            "inputs": program.inputs,
            "weights": keys,
            "outputs": program.outputs,
            "updates": [keys[at] for at in program.updates],
        }
    with replacing_folder(directory, _DESCRIPTION, "a StableHLO export") as temporary:
        for name, program in programs.items():
            (temporary / f"{name}.mlirbc").write_bytes(program.code)
        np.savez(temporary / _WEIGHTS, **stored)  # type: ignore[arg-type]  # NumPy's stub knows no ** of arrays
        files.write_json(temporary / _DESCRIPTION, {"batch_size": batch_size, "programs": described})
    return directory


def _key(stored: Mapping[str, np.ndarray], taken: Sequence[str], name: str, value: np.ndarray) -> str:
    """A key for one more weight of a program: one of this name and value that is stored already, or a new one."""
    key, number = name, 1
    while key in taken or (key in stored and not np.array_equal(stored[key], value)):
        number += 1
        key = f"{name}_{number}"
    return key
