"""Runs an export of `tfadv.export.export_stablehlo` by JAX's XLA, on the device that JAX chooses.

This file needs NumPy and JAX (0.6 or later) and nothing else. It also works alone, on a machine without TensorFlow and
tfadv, as a module or as a program:

    python stablehlo.py FOLDER attack inputs.npz outputs.npz
"""

from __future__ import annotations

import functools
import json
import os
import pathlib
import sys
import zipfile
from collections.abc import Sequence
from typing import Any

import numpy as np

try:
    from tfadv.validation import UserError
except ImportError:  # A machine without tfadv: the class that UserError is derived from.
    UserError = ValueError  # type: ignore[misc, assignment]

_OLDEST = (0, 6)


class Program:
    """One program of an exported folder, as a function of NumPy arrays.

    Attributes:
        batch_size: rows that the program takes; other numbers are given to it in pieces.
        inputs, outputs: names of what it takes and gives.
        weights: name -> value. They are arguments of the program, so others of the same shapes may be put here.
    """

    def __init__(self, folder: str | os.PathLike, name: str = "attack") -> None:
        """Reads a program.

        Raises:
            UserError: no StableHLO export, a damaged one, or one without that program.
        """
        folder = pathlib.Path(folder)
        try:
            described = json.loads((folder / "program.json").read_text(encoding="utf-8"))
            self.batch_size: int = described["batch_size"]
            programs = sorted(described["programs"])
            own = described["programs"].get(name)
            if own is not None:
                self._inputs, self._outputs, self._keys = own["inputs"], own["outputs"], own["weights"]
                self._updates: list[str] = own["updates"]
                self._code = (folder / f"{name}.mlirbc").read_bytes()
                with np.load(folder / "weights.npz", allow_pickle=False) as stored:
                    self.weights = {key: stored[key] for key in self._keys}
        except (OSError, ValueError, KeyError, zipfile.BadZipFile) as error:
            raise UserError(
                f"{str(folder)!r} is no StableHLO export, or a damaged one ({error}); export it again"
            ) from error
        if own is None:
            raise UserError(f"program must be one of {programs} of {str(folder)!r}, got {name!r}")
        self.inputs = [each["name"] for each in self._inputs]
        self.outputs = [each["name"] for each in self._outputs]

    def __call__(self, *, seed: int = 0, **inputs: Any) -> dict[str, np.ndarray]:
        """What the program gives for these inputs, by name. A training step leaves the new values in `weights`.

        Args:
            seed: of a random start that is not given.
            inputs: arrays by name, with any number of rows where the program has a batch (a training step takes exactly
                one batch). Left out may be what has a default: "epsilon", and "start" (uniform within epsilon around
                the images, or the images themselves, as the attack has it).

        Raises:
            UserError: a missing or unknown input, one of the wrong shape or type, or a JAX that is missing or too old.
        """
        given = self._checked(inputs, seed)
        rows = len(given["images"])
        if self._updates and rows != self.batch_size:
            raise UserError(f"a training step takes {self.batch_size} rows, got {rows}; export it for that batch size")
        pieces = []
        for at in range(0, rows, self.batch_size):
            # The last piece is filled up with its last row; no row looks at another.
            taken = np.minimum(np.arange(at, at + self.batch_size), rows - 1)
            pieces.append(self._batch({name: each[taken] if each.ndim else each for name, each in given.items()}))
        return {
            name: np.concatenate(parts)[:rows] if parts[0].ndim else parts[0]
            for name, parts in zip(self.outputs, zip(*pieces, strict=True), strict=True)
        }

    def _checked(self, inputs: dict[str, Any], seed: int) -> dict[str, np.ndarray]:
        """All inputs in their types, those that were not given by their defaults."""
        unknown = sorted(set(inputs) - set(self.inputs))
        if unknown:
            raise UserError(f"{unknown[0]} is no input of this program; it takes {self.inputs}")
        values = {each["name"]: inputs.get(each["name"], each.get("default")) for each in self._inputs}
        missing = [name for name, value in values.items() if value is None]
        if missing:
            raise UserError(f"{missing[0]} is missing; the program takes {self.inputs}")
        start = values.get("start")
        described = {each["name"]: each for each in self._inputs}
        own = [name for name in self.inputs if name != "start" or not isinstance(start, str)]
        given = {name: _array(values[name], described[name]) for name in own}
        if isinstance(start, str):
            width = given["epsilon"] if start == "random" else 0
            noise = np.random.default_rng(seed).uniform(-1, 1, given["images"].shape)
            given["start"] = (given["images"] + width * noise).astype(np.float32)
        rows = {name: len(each) for name, each in given.items() if each.ndim}
        if len(set(rows.values())) > 1:
            raise UserError(f"all inputs must have the same number of rows, got {rows}")
        return {name: given[name] for name in self.inputs}

    def _batch(self, given: dict[str, np.ndarray]) -> list[np.ndarray]:
        jax = _jax()
        # Training counts in int64, which JAX would turn into int32.
        with (jax.enable_x64 if hasattr(jax, "enable_x64") else jax.experimental.enable_x64)(True):
            self.weights = {key: jax.device_put(value) for key, value in self.weights.items()}
            results = self._compiled(*given.values(), *(self.weights[key] for key in self._keys))
        named, updated = results[: len(self._outputs)], results[len(self._outputs) :]
        self.weights |= dict(zip(self._updates, updated, strict=True))
        return [np.asarray(each) for each in named]

    @functools.cached_property
    def _compiled(self) -> Any:
        """The program as a JAX function of all its arguments."""
        results = [(tuple(each["shape"]), each["dtype"]) for each in self._outputs]
        results += [(self.weights[key].shape, self.weights[key].dtype.name) for key in self._updates]
        run = _inlined()
        return _jax().jit(lambda *arguments: run.bind(*arguments, code=self._code, results=tuple(results)))


def _array(value: Any, described: dict[str, Any]) -> np.ndarray:
    """`value` in the type that the program takes.

    Raises:
        UserError: another shape, or integers for real numbers.
    """
    name, array, dtype = described["name"], np.asarray(value), np.dtype(described["dtype"])
    sides = described["shape"]
    if array.ndim != len(sides) or list(array.shape[1:]) != sides[1:] or (sides and not len(array)):
        expected = str(["any number", *sides[1:]] if sides else []).replace("'", "")
        raise UserError(f"{name} must have the shape {expected}, got {list(array.shape)}")
    if array.ndim and (array.dtype.kind == "f") != (dtype.kind == "f"):
        hint = "; divide 8-bit images by 255" if dtype.kind == "f" else ""
        raise UserError(f"{name} must be {dtype.name}, got {array.dtype.name}{hint}")
    return array.astype(dtype)


def _jax() -> Any:
    """The module jax.

    Raises:
        UserError: not installed, or too old for what is used here.
    """
    try:
        import jax
        import jax.experimental
    except ImportError as error:
        raise UserError(f"running StableHLO needs JAX ({error}); pip install jax") from error
    if jax.__version_info__ < _OLDEST:
        raise UserError(f"running StableHLO needs JAX {'.'.join(map(str, _OLDEST))} or later, got {jax.__version__}")
    return jax


@functools.cache
def _inlined() -> Any:
    """A primitive of JAX that stands for a whole StableHLO program: JAX compiles it as a part of its own module."""
    jax = _jax()
    from jax.extend import core
    from jax.extend.mlir import ir
    from jax.extend.mlir.dialects import func, stablehlo
    from jax.interpreters import mlir

    inlined = core.Primitive("stablehlo")
    inlined.multiple_results = True

    @inlined.def_abstract_eval
    def shapes(*_: Any, code: bytes, results: Sequence[tuple[tuple[int, ...], str]]) -> list[Any]:
        return [jax.core.ShapedArray(shape, np.dtype(dtype)) for shape, dtype in results]

    def lower(context: Any, *arguments: Any, code: bytes, results: Any) -> Any:
        whole = context.module_context.module
        part = stablehlo.deserialize_portable_artifact(whole.context, code)
        main: Any = ir.SymbolTable(part.operation)["main"]
        types = main.type.results
        name = mlir.merge_mlir_modules(whole, "exported", part)
        return func.CallOp(types, ir.FlatSymbolRefAttr.get(name), arguments).results

    mlir.register_lowering(inlined, lower)
    return inlined


def main(arguments: Sequence[str]) -> None:
    """FOLDER NAME INPUTS OUTPUTS: runs a program on the arrays of an .npz file, and writes what it gives as another."""
    if len(arguments) != 4:
        raise UserError(f"four arguments are needed: FOLDER PROGRAM INPUTS.npz OUTPUTS.npz, got {len(arguments)}")
    folder, name, source, target = arguments
    try:
        with np.load(source, allow_pickle=False) as stored:
            inputs = dict(stored)
    except (OSError, ValueError, zipfile.BadZipFile) as error:
        raise UserError(f"{source} must be an .npz file with the program's inputs ({error})") from error
    outputs = Program(folder, name)(**inputs)
    with open(target, "wb") as stream:  # np.savez would add a suffix to another name.
        np.savez(stream, **outputs)  # type: ignore[arg-type]  # NumPy's stub knows no ** of arrays


if __name__ == "__main__":
    try:
        main(sys.argv[1:])
    except UserError as error:
        sys.exit(f"error: {error}")
