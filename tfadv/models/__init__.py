"""Classifiers: one architecture per file, images in [0, 1] in, logits out, normalization inside.

Every architecture is built by `builder(classes=..., seed=..., shape=...)`, each with a default; `MODELS` names them.
"""

from __future__ import annotations

import functools
from collections.abc import Callable

import keras

from tfadv.models.adapters import Bpda as Bpda
from tfadv.models.adapters import bpda as bpda
from tfadv.models.adapters import from_probabilities as from_probabilities
from tfadv.models.adapters import without_softmax as without_softmax
from tfadv.models.lenet import lenet_cifar10 as lenet_cifar10
from tfadv.models.lenet import lenet_mnist as lenet_mnist
from tfadv.models.linear import linear as linear
from tfadv.models.loading import load as load
from tfadv.models.logistic_regression import expert_weights as expert_weights
from tfadv.models.logistic_regression import logistic_regression as logistic_regression
from tfadv.models.madry_cifar10 import madry_cifar10 as madry_cifar10
from tfadv.models.madry_mnist import madry_mnist as madry_mnist
from tfadv.models.mlp import mlp as mlp
from tfadv.models.normalization import PerImageStandardization as PerImageStandardization
from tfadv.models.predictor import predictor as predictor
from tfadv.models.resnet18 import preact_resnet18 as preact_resnet18
from tfadv.models.resnet18 import resnet18 as resnet18
from tfadv.models.small_cnn import small_cnn as small_cnn
from tfadv.models.wd_cnn import wd_cnn as wd_cnn
from tfadv.models.wide_resnet import wide_resnet as wide_resnet

MODELS: dict[str, Callable[..., keras.Model]] = {
    "lenet_cifar10": lenet_cifar10,
    "lenet_mnist": lenet_mnist,
    "lenet_svhn": lenet_cifar10,
    "linear": linear,
    "logistic_regression": logistic_regression,
    "madry_mnist": madry_mnist,
    "mlp": mlp,
    "preact_resnet18": preact_resnet18,
    "resnet18": resnet18,
    "small_cnn": small_cnn,
    "wd_cnn": wd_cnn,
    "wrn_16_8": functools.partial(wide_resnet, 16, 8),
    # Feature Scatter's network, with its preprocessing; the other two are AVmixup's.
    "wrn_28_10": functools.partial(wide_resnet, 28, 10, normalization="signed"),
    "wrn_32_10": madry_cifar10,
    "wrn_34_10": functools.partial(wide_resnet, 34, 10),
}
