"""The process of one library, or of one framework's model, in a comparison of frameworks.

`python -m tfadv.crosscheck.worker FOLDER/NAME.json` reads what to do from that file and arrays from .npz files beside
it, and writes NAME.answer.json and NAME.answer.npz. Nothing is pickled. What goes wrong is the last line of its errors.
"""

from __future__ import annotations

import dataclasses
import importlib
import json
import pathlib
import sys
import traceback
from typing import Any

import keras
import numpy as np

from tfadv import devices
from tfadv.crosscheck import makers, native, ours
from tfadv.crosscheck.peers import NotShared, Peer, batches
from tfadv.models import load

# Suffixes of the files of a job.
ANSWER, ARRAYS = ".answer.json", ".answer.npz"


def serve(path: pathlib.Path) -> None:
    """Does the job of a file.

    Its JSON: `framework`, the Keras backend; `library` of `makers.MAKERS`, or null to classify; `model`, a path;
    `modules` to import first; `shape` of an input, `classes`, `batch_size`; `images`, the .npz file of what is given.
    To attack: `attacks`, as `packed` writes them; given are x, y, and startN where attack N is told to begin; the
    answer has x_advN of each attack, and one_stepN, of one step of it, where it has several. To classify: the answer
    has the logits of each array, under its name. The answer's JSON has `versions`, and `reasons`, number of an attack
    -> why it was not run.
    """
    job = json.loads(path.read_text(encoding="utf-8"))
    backend = keras.backend.backend()
    if backend != job["framework"]:
        raise RuntimeError(f"Keras runs on {backend}, not on {job['framework']}")
    for module in job["modules"]:
        importlib.import_module(module)
    network = native.Network(load(job["model"]), tuple(job["shape"]), job["classes"])
    with np.load(path.parent / job["images"], allow_pickle=False) as stored:
        given = dict(stored)
    arrays: dict[str, Any] = {}
    reasons: dict[str, str] = {}
    versions = makers.versions(backend)
    with devices.matrix_products(bfloat16=False):
        if job["library"] is None:
            logits = native.logits(network.model)
            for name, x in given.items():
                arrays[name] = np.concatenate([logits(x[rows]) for rows in batches(len(x), job["batch_size"])])
        else:
            maker = makers.MAKERS[backend, job["library"]]
            arrays, reasons = _made(network, maker, job, given)
            versions |= maker.versions()
    np.savez(path.with_suffix(ARRAYS), **arrays)
    path.with_suffix(ANSWER).write_text(json.dumps({"versions": versions, "reasons": reasons}), encoding="utf-8")


def packed(config: Any) -> dict[str, Any]:
    """A config of an attack as JSON values."""
    return {"kind": _names()[type(config)], "settings": dataclasses.asdict(config)}


def unpacked(values: dict[str, Any]) -> Any:
    """What `packed` packed."""
    kinds = {name: kind for kind, name in _names().items()}
    settings = {name: tuple(value) if isinstance(value, list) else value for name, value in values["settings"].items()}
    return kinds[values["kind"]](**settings)


def _names() -> dict[type, str]:
    return {kind: name for name, kind in ours.kinds().items()}


def _made(
    network: native.Network, maker: Peer, job: dict[str, Any], given: dict[str, np.ndarray]
) -> tuple[dict[str, Any], dict[str, str]]:
    """(what each attack made, why others were not run)."""
    model = maker.load(network)
    made: dict[str, Any] = {}
    reasons: dict[str, str] = {}
    for number, values in enumerate(job["attacks"]):
        config = unpacked(values)
        runs = {f"x_adv{number}": config}
        if getattr(config, "steps", 1) > 1:
            runs[f"one_step{number}"] = dataclasses.replace(config, steps=1)
        try:
            for name, each in runs.items():
                attack, start = maker.attack(each), given.get(f"start{number}")
                x_adv = attack(model, given["x"], given["y"], each, start, job["batch_size"])
                if x_adv.shape != given["x"].shape:
                    raise ValueError(f"it returned shape {x_adv.shape} for images {given['x'].shape}")
                made[name] = x_adv
        except NotShared as reason:
            reasons[str(number)] = str(reason)
        except Exception as error:  # A library that fails is a result, and its other attacks are still to be run.
            traceback.print_exc()
            reasons[str(number)] = f"failed with {_in_one_line(error)}"
    return made, reasons


def _in_one_line(error: Exception) -> str:
    lines = str(error).strip().splitlines() or [""]
    return f"{type(error).__name__}: {lines[0]}"


def main(path: str) -> int:
    """`serve`, and its exit status; an error ends in one line that says what is wrong."""
    try:
        serve(pathlib.Path(path))
    except Exception as error:
        traceback.print_exc()
        print(_in_one_line(error), file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
