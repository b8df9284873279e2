"""Every combination of network, data set and training method that a paper uses takes a step, on made-up images.

The steps run eagerly: tracing a network of a hundred layers would take longer than its step.
"""

import math

import numpy as np
import pytest
import tensorflow as tf

from tfadv import data, training
from tfadv.attacks import Fgm, Pgd
from tfadv.augment import FeatureSmoothing, GaussianNoise, Mixup, PadCropFlip
from tfadv.losses import (
    AdversarialLabelSmoothing,
    BoltzmannLabelSmoothing,
    LabelSmoothing,
    LogitSqueezing,
    SecondBestLabelSmoothing,
)
from tfadv.training import Experiment

ONE_STEP = Pgd(8 / 255, 2 / 255, 1)
CHEAP = {
    "natural": {},
    "label smoothing": {"loss": LabelSmoothing(0.1)},
    "logit squeezing": {"loss": LogitSqueezing(0.1)},
    "noise": {"augment": (GaussianNoise(0.1),)},
    "mixup": {"augment": (Mixup(new_points=1, classes=10),)},
    "feature smoothing": {"augment": (FeatureSmoothing(new_points=1),)},
    "PGD": {"train_attack": ONE_STEP},
}
SMOOTHED = {
    "ALS": {"loss": AdversarialLabelSmoothing(0.1)},
    "SLS": {"loss": LabelSmoothing(0.1)},
    "BLS": {"loss": BoltzmannLabelSmoothing(0.1)},
    "SBLS": {"loss": SecondBestLabelSmoothing(0.1)},
    "PGD": {"train_attack": ONE_STEP},
}
SOFT = {
    "PGD": {"train_attack": ONE_STEP},
    "PGD, label smoothing": {"train_attack": ONE_STEP, "loss": LabelSmoothing(0.2)},
    "AVmixup": {"method": (("madry", {"attack": ONE_STEP}), ("avmixup", {"gamma": 2.0}))},
    "TRADES": {"method": (("trades", {"attack": ONE_STEP}),)},
    "Feature Scatter": {"method": (("feature_scatter", {"attack": ONE_STEP}),)},
    "Feature Scatter, AVmixup": {"method": (("feature_scatter", {"attack": ONE_STEP}), ("avmixup", {"gamma": 1.0}))},
}
DECAYED = {"natural": {}, "L1": {"l1": 1e-4}, "L2": {"l2": 1e-4}, "FGM": {"train_attack": Fgm(0.25)}}

# (network, data set, methods): the tables of the papers, by the abbreviations of their titles.
COMBINATIONS = [
    ("madry_mnist", "mnist", CHEAP),  # FS table 1, LSQ tables 1, 2, 5
    ("wrn_32_10", "cifar10", {"logit squeezing": CHEAP["logit squeezing"]}),  # FS table 2, LSQ tables 3, 4, 6, 7
    ("wrn_32_10", "cifar100", {"label smoothing": CHEAP["label smoothing"]}),  # LSQ, CIFAR-100
    ("mlp", "mnist", SMOOTHED),  # LSV tables 2 to 6, their "linear"
    ("linear", "mnist", {"ALS": SMOOTHED["ALS"]}),  # LSV figure 4b
    ("mlp", "moons", {"ALS": SMOOTHED["ALS"], "natural": {}}),  # LSV figure 4a
    ("lenet_mnist", "mnist", SMOOTHED),
    ("lenet_cifar10", "cifar10", SMOOTHED),
    ("lenet_svhn", "svhn", SMOOTHED),
    ("resnet18", "cifar10", SMOOTHED),
    ("logistic_regression", "mnist_3v7", DECAYED),  # WD sections 3 and 4
    ("wd_cnn", "cifar10", {**DECAYED, "PGD": {"train_attack": ONE_STEP, "l2": 1e-4, "loss": LabelSmoothing(0.1)}}),
    ("wrn_34_10", "cifar10", {"AVmixup": SOFT["AVmixup"]}),  # AV tables 1 to 3
    ("wrn_34_10", "cifar100", {"PGD, label smoothing": SOFT["PGD, label smoothing"]}),  # AV table 4
    ("wrn_16_8", "svhn", {"AVmixup": SOFT["AVmixup"]}),  # AV table 4
    ("preact_resnet18", "tiny_imagenet", SOFT),  # AV table 4
    ("wrn_28_10", "cifar10", {"Feature Scatter, AVmixup": SOFT["Feature Scatter, AVmixup"]}),  # AV tables 5 and 6
    ("preact_resnet18", "cifar10", {"cropped": {"augment": (PadCropFlip(),), "optimizer": "sgd", "momentum": 0.9}}),
]
CASES = [(model, dataset, name, changes) for model, dataset, ways in COMBINATIONS for name, changes in ways.items()]


@pytest.mark.slow
@pytest.mark.parametrize(("model", "dataset", "name", "changes"), CASES, ids=[", ".join(case[:3]) for case in CASES])
def test_it_takes_a_step(model, dataset, name, changes):
    spec = data.find(dataset)
    rng = np.random.default_rng(0)
    x = rng.random((4, *spec.shape), np.float32)
    y = (np.arange(4) % spec.classes).astype(np.int32)
    experiment = Experiment(dataset, model, batch_size=2, learning_rate=1e-3, **changes)
    trainee = training.build(experiment)
    before = [weight.numpy() for weight in trainee.classifier.trainable_weights]
    ((images, labels),) = training.batches(experiment, x, y, 0, 1)
    updated = trainee.update(images, labels)
    assert math.isfinite(float(updated.loss))
    assert updated.logits.shape[1] == spec.classes
    assert updated.logits.dtype == tf.float32
    moved = [
        np.abs(after - old).max() > 0 for after, old in zip(trainee.classifier.trainable_weights, before, strict=True)
    ]
    # Two images may leave a bias behind a dead unit as it is, but not most of the weights.
    assert np.mean(moved) > 0.9
