"""Weights from HDF5 files: of Keras 3 (`.weights.h5`), of Keras 2 (`.h5`), and whole models in the latter's format."""

from __future__ import annotations

import contextlib
import json
import pathlib
import tempfile
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, NamedTuple

import h5py
import keras

from tfadv.validation import UserError


class _Variable(NamedTuple):
    layer: str
    shape: tuple[int, ...]


# Where a variable stands in a file -> which it is, in the order of the layers.
_Contents = Mapping[str, _Variable]


def model_config(path: pathlib.Path) -> Any:
    """The JSON description of the model beside the weights in an HDF5 file; None for weights alone.

    Raises:
        OSError, KeyError, ValueError: not HDF5, or damaged.
    """
    with h5py.File(path) as file:
        config = file.attrs.get("model_config")
    return None if config is None else json.loads(config)


@contextlib.contextmanager
def named(path: pathlib.Path, name: str) -> Iterator[pathlib.Path]:
    """A link to the file under another name, because Keras tells its formats apart by their names."""
    with tempfile.TemporaryDirectory() as folder:
        link = pathlib.Path(folder, name)
        link.symlink_to(path.resolve())
        yield link


def load_weights(path: pathlib.Path, model: keras.Model) -> keras.Model:
    """Puts the weights of the file into `model`, which is returned.

    All layers are compared before the first is changed: Keras alone would take the first layers of a longer network for
    a shorter one.

    Raises:
        UserError: a model that is not built, a file without Keras weights, or weights of another architecture (the
            first layer that differs is named).
        OSError, KeyError, ValueError: not HDF5, or damaged.
    """
    if not model.built:
        raise UserError(
            f"architecture {model.name!r} has no variables yet; call it on a batch before loading weights into it"
        )
    with h5py.File(path) as file:
        group = file.get("model_weights", file)
        if "layer_names" in group.attrs:
            name, ours, theirs = "keras2.h5", _of_model(model), _of_keras_2(group)
        elif "vars" in file or "layers" in file:
            name, ours, theirs = "keras3.weights.h5", _of_own_file(model), _of_keras_3(file, model)
        else:
            raise UserError(
                f"HDF5 file {str(path)!r} holds no Keras weights; write them with model.save_weights('name.weights.h5')"
            )
    _compare(path, model, ours, theirs)
    with named(path, name) as link:
        model.load_weights(link)
    return model


def _compare(path: pathlib.Path, model: keras.Model, ours: _Contents, theirs: _Contents) -> None:
    for place in [*ours, *(place for place in theirs if place not in ours)]:
        expected, found = ours.get(place), theirs.get(place)
        if found is not None and expected is not None and found.shape == expected.shape:
            continue
        known = expected or found
        assert known is not None
        in_file, in_model = ("none" if it is None else f"a variable of shape {it.shape}" for it in (found, expected))
        raise UserError(
            f"weights file {str(path)!r} is not of the architecture {model.name!r}: layer {known.layer!r}, the first "
            f"that differs, has {in_file} in the file and {in_model} in the architecture; name the architecture that "
            "the file was saved from, or build that one for its images and classes and pass it"
        )


def _of_own_file(model: keras.Model) -> _Contents:
    """What a file of this model's own weights holds: the layout is Keras' business."""
    with tempfile.TemporaryDirectory() as folder:
        path = pathlib.Path(folder, "own.weights.h5")
        model.save_weights(path)
        with h5py.File(path) as file:
            return _of_keras_3(file, model)


def _of_keras_3(file: h5py.File, model: keras.Model) -> _Contents:
    found: dict[str, _Variable] = {}

    def visit(place: str, item: Any) -> None:
        # A compiled model writes its optimizer's state too, which is no part of the classifier.
        if isinstance(item, h5py.Dataset) and not place.startswith("optimizer/"):
            found[place] = _Variable(str(item.parent.attrs.get("name", item.parent.name)), item.shape)

    file.visititems(visit)
    order = {name: position for position, name in enumerate(_layer_names(model))}
    return dict(sorted(found.items(), key=lambda entry: order.get(entry[1].layer, len(order))))


def _layer_names(model: keras.Model) -> Iterator[str]:
    for layer in model.layers:
        yield layer.name
        if isinstance(layer, keras.Model):
            yield from _layer_names(layer)


def _of_keras_2(group: h5py.Group) -> _Contents:
    def strings(attribute: Iterable[Any]) -> list[str]:
        return [item.decode() if isinstance(item, bytes) else str(item) for item in attribute]

    names = strings(group.attrs["layer_names"])
    weights = [[group[name][weight] for weight in strings(group[name].attrs["weight_names"])] for name in names]
    return _by_place(names, weights)


def _of_model(model: keras.Model) -> _Contents:
    layers = model.layers
    weights = [[*layer.trainable_weights, *layer.non_trainable_weights] for layer in layers]
    return _by_place([layer.name for layer in layers], weights)


def _by_place(names: list[str], weights: list[list[Any]]) -> _Contents:
    """Keras 2 goes by order alone: the k-th layer with weights, and its i-th weight."""
    layers = [(name, held) for name, held in zip(names, weights, strict=True) if held]
    return {
        f"{k}/{i}": _Variable(name, tuple(weight.shape))
        for k, (name, held) in enumerate(layers)
        for i, weight in enumerate(held)
    }
