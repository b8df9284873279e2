"""Loading a classifier from a path, with one clear error for whatever is wrong with it."""

from __future__ import annotations

import json
import os
import pathlib
import zipfile
from collections.abc import Iterator
from typing import Any

import h5py
import keras
import tensorflow as tf
from keras.src.saving.serialization_lib import SafeModeScope  # has no public name

from tfadv.models import hdf5
from tfadv.models.predictor import predictor
from tfadv.validation import UserError

_SAVED_MODEL_FILES = ("saved_model.pb", "saved_model.pbtxt")
_RUN_MODEL, _RUN_DESCRIPTION = "model.keras", "experiment.json"
_KINDS = "a .keras file, an HDF5 file, a SavedModel folder, or a run folder of tfadv.training"


def load(path: str | os.PathLike, architecture: str | keras.Model | None = None, signature: str | None = None) -> Any:
    """Loads a classifier; nothing on disk is changed, and no Python code stored in the model is run.

    Args:
        path: a `.keras` file (loaded in Keras' safe mode, without its optimizer and loss), an HDF5 file (weights alone,
            `.weights.h5` or `.h5`, or a whole model as Keras 2 wrote it), a SavedModel folder, or a finished run folder
            of `tfadv.training.run`, whose classifier is taken.
        architecture: what the weights in an HDF5 file are of: a name of `tfadv.models.MODELS`, built for its default
            images and classes, or a built Keras model, which receives the weights and is returned. Not needed for a
            whole model, whose own description it replaces.
        signature: which signature of a SavedModel gives the logits, where it is none of those that
            `tfadv.models.predictor` finds by itself.

    Returns:
        A Keras model, or the object of `tf.saved_model.load`; `tfadv.models.predictor` takes both. With a `signature`,
        the function from images to logits that it is.

    Raises:
        UserError: nothing there, not a model, damaged, weights without an architecture or of another one, a model in
            need of custom objects that are not registered, or no such signature.
    """
    given, path = os.fspath(path), pathlib.Path(path)
    if not given or not os.path.exists(path):  # A path of nothing would be the current folder.
        raise UserError(f"model path {given!r} does not exist; name {_KINDS}")
    saved_model = any((path / name).is_file() for name in _SAVED_MODEL_FILES)
    if signature is not None and not saved_model:
        raise UserError(
            f"signature is for SavedModel folders only, and model path {str(path)!r} is none; load it without"
        )
    if path.is_file() and h5py.is_hdf5(path):
        return _load_hdf5(path, architecture)
    if architecture is not None:
        raise UserError(
            f"architecture is for HDF5 files only, and model path {str(path)!r} is none; load it without, or name the "
            "file of weights"
        )
    if path.is_file():
        return _load_keras(path)
    if saved_model:
        model = _load_saved_model(path)
        return model if signature is None else predictor(model, signature)
    if (path / _RUN_MODEL).is_file():
        return _load_keras(path / _RUN_MODEL)
    if (path / _RUN_DESCRIPTION).is_file():
        raise UserError(
            f"model path {str(path)!r} is a training run without {_RUN_MODEL}: it has not finished; continue it, or "
            "name one of the files in its models/ folder"
        )
    raise UserError(
        f"model path {str(path)!r} is a folder without {_SAVED_MODEL_FILES[0]} or {_RUN_MODEL}, so not a model; "
        f"name {_KINDS}"
    )


def _load_keras(path: pathlib.Path) -> keras.Model:
    try:
        with zipfile.ZipFile(path) as archive:
            config = json.loads(archive.read("config.json"))
    except (OSError, zipfile.BadZipFile, KeyError, ValueError) as error:
        raise UserError(
            f"model file {str(path)!r} is not a .keras file, or a damaged one ({_brief(error)}); save the model again "
            f"with model.save('name.keras'), or name {_KINDS}"
        ) from error
    if path.suffix != ".keras":
        raise UserError(f"model file {str(path)!r} holds a Keras model; rename it so that it ends in .keras")
    try:
        # The argument alone would be overruled where the process has called enable_unsafe_deserialization().
        with SafeModeScope(True):
            return keras.saving.load_model(path, compile=False, safe_mode=True)
    except Exception as error:  # Keras raises every type for what it cannot rebuild.
        raise UserError(f"model file {str(path)!r} {_why(config, error)}") from error


def _load_hdf5(path: pathlib.Path, architecture: str | keras.Model | None) -> keras.Model:
    try:
        if architecture is not None:
            return hdf5.load_weights(path, _built(architecture))
        config = hdf5.model_config(path)
    except UserError:
        raise
    except (OSError, KeyError, ValueError) as error:
        raise UserError(f"HDF5 file {str(path)!r} is damaged ({_brief(error)}); save the model again") from error
    if config is None:
        raise UserError(
            f"HDF5 file {str(path)!r} holds weights without a model; say of which architecture they are: "
            "load(path, architecture='wrn_28_10'), a name of tfadv.models.MODELS or a built Keras model"
        )
    try:
        with hdf5.named(path, "model.h5") as link:
            return keras.saving.load_model(link, compile=False, safe_mode=True)
    except Exception as error:  # Keras raises every type for what it cannot rebuild.
        raise UserError(
            f"model file {str(path)!r} {_why(config, error)}, or build the model and load the weights into it: "
            "load(path, architecture=model)"
        ) from error


def _built(architecture: str | keras.Model) -> keras.Model:
    if isinstance(architecture, keras.Model):
        return architecture
    from tfadv.models import MODELS  # The room's index imports this file.

    if not isinstance(architecture, str) or architecture not in MODELS:
        raise UserError(f"architecture must be one of {sorted(MODELS)} or a built Keras model, got {architecture!r}")
    return MODELS[architecture]()


def _load_saved_model(path: pathlib.Path) -> Any:
    try:
        return tf.saved_model.load(str(path))
    except Exception as error:  # Parsing, missing variables and unknown ops each raise a type of their own.
        raise UserError(
            f"SavedModel {str(path)!r} is damaged, or needs something that TensorFlow {tf.__version__} does not have "
            f"({_brief(error)}); export it again"
        ) from error


def _why(config: Any, error: Exception) -> str:
    """What kept Keras from rebuilding a model of this config, and what to do."""
    missing = sorted(set(_unregistered(config)))
    if missing:
        return (
            f"needs custom objects that are not registered: {', '.join(missing)}; import the module that registers "
            "them (keras.saving.register_keras_serializable) before loading, or export the model where it was built "
            "as a SavedModel, which needs no Python code: tfadv.export.export_classifier(model, folder)"
        )
    if any(item.get("class_name") == "Lambda" for item in _objects(config)):
        return (
            "needs custom Python code: it holds a Lambda layer, whose code is not run from a file; replace it by a "
            "registered layer, or export the model where it was built as a SavedModel: "
            "tfadv.export.export_classifier(model, folder)"
        )
    return (
        f"cannot be rebuilt by Keras {keras.__version__} ({_brief(error)}): it is damaged or of another version; "
        "save it again"
    )


def _unregistered(config: Any) -> Iterator[str]:
    """Names of the layers and functions in a `.keras` config that Keras has no code for."""
    for item in _objects(config):
        # Keras writes its own layers with registered_name null, and its own functions as plain strings.
        name = item.get("config") if item["class_name"] == "function" else item.get("registered_name")
        if isinstance(name, str) and keras.saving.get_registered_object(name) is None:
            yield name


def _objects(config: Any) -> Iterator[dict[str, Any]]:
    """Every serialized object inside a `.keras` config, at any depth."""
    if isinstance(config, dict):
        if "class_name" in config:
            yield config
        for value in config.values():
            yield from _objects(value)
    elif isinstance(config, list):
        for value in config:
            yield from _objects(value)


def _brief(error: Exception) -> str:
    lines = str(error).strip().splitlines() or [""]
    return f"{type(error).__name__}: {lines[0][:200]}"
