"""Loading a classifier from a path, with one clear error for whatever is wrong with it."""

from __future__ import annotations

import os

import keras


def load(path: str | os.PathLike) -> keras.Model:
    return keras.models.load_model(path)
