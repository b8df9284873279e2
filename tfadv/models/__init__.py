"""Classifiers: one architecture per file, images in [0, 1] in, logits out, normalization inside."""

from __future__ import annotations

from collections.abc import Callable

import keras

from tfadv.models.loading import load as load
from tfadv.models.madry_mnist import madry_mnist as madry_mnist
from tfadv.models.predictor import predictor as predictor
from tfadv.models.small_cnn import small_cnn as small_cnn

MODELS: dict[str, Callable[..., keras.Model]] = {"madry_mnist": madry_mnist, "small_cnn": small_cnn}
