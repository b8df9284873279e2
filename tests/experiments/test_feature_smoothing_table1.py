"""The settings that the paper prints, against the fields of the experiments."""

import dataclasses

import pytest

from tfadv import training
from tfadv.augment import FeatureSmoothing, GaussianNoise, Mixup
from tfadv.experiments.feature_smoothing_table1 import CLEAN, EXPERIMENTS

# Printed in section 3.1: "Adam", "learning rate at 10^-4", "200 epochs", "batch size m = 50", sigma 0.5, alpha 0.3,
# Beta(8, 8), delta = 0.1, lambda = 0.2, "10 new data points are generated on each batch". 60,000 training images.
OPTIMIZER, LEARNING_RATE, EPOCHS, BATCH_SIZE, IMAGES = "adam", 1e-4, 200, 50, 60_000
NOISE = {"class": "GaussianNoise", "stddev": 0.5, "seed": 0, "bounds": [0.0, 1.0]}
SMOOTHING = {"class": "FeatureSmoothing", "alpha": 0.3, "new_points": 10, "seed": 0}
MIXUP = {"class": "Mixup", "alpha": 8.0, "new_points": 10, "classes": 10, "seed": 0}
CROSS_ENTROPY = {"class": "LabelSmoothing", "mass": 0.0}
LABEL_SMOOTHING = {"class": "LabelSmoothing", "mass": 0.1}
LOGIT_SQUEEZING = {"class": "LogitSqueezing", "weight": 0.2, "power": 1, "extent": "example"}

ROWS = {
    "clean": (CROSS_ENTROPY, []),
    "noise": (CROSS_ENTROPY, [NOISE]),
    "los": (LOGIT_SQUEEZING, []),
    "las": (LABEL_SMOOTHING, []),
    "mixup": (CROSS_ENTROPY, [MIXUP]),
    "fs": (CROSS_ENTROPY, [SMOOTHING]),
    "los_noise": (LOGIT_SQUEEZING, [NOISE]),
    "las_noise": (LABEL_SMOOTHING, [NOISE]),
    "los_noise_mixup": (LOGIT_SQUEEZING, [MIXUP, NOISE]),
    "los_noise_fs": (LOGIT_SQUEEZING, [SMOOTHING, NOISE]),
    "copy": (CROSS_ENTROPY, []),
}


def test_the_ten_rows_and_the_source_of_the_black_box_are_there():
    assert set(EXPERIMENTS) == {f"feature_smoothing_table1/{name}" for name in ROWS}


@pytest.mark.parametrize("name", ROWS)
def test_defense_of_the_row_as_printed(name):
    """Also the order: noise comes last, so that the new points are noised and clipped as well."""
    described = training.describe(EXPERIMENTS[f"feature_smoothing_table1/{name}"])
    loss, augment = ROWS[name]
    assert loss.items() <= described["loss"].items()
    assert described["augment"] == augment


@pytest.mark.parametrize("name", ROWS)
def test_everything_else_as_printed_and_the_same_in_every_row(name):
    experiment = EXPERIMENTS[f"feature_smoothing_table1/{name}"]
    assert (experiment.dataset, experiment.model, experiment.limit) == ("mnist", "madry_mnist", None)
    assert (experiment.optimizer, experiment.learning_rate) == (OPTIMIZER, LEARNING_RATE)
    assert experiment.batch_size == BATCH_SIZE
    assert experiment.steps == EPOCHS * IMAGES // BATCH_SIZE == 240_000
    assert (experiment.l1, experiment.l2, experiment.train_attack) == (0.0, 0.0, None)
    assert experiment.seed == (1 if name == "copy" else 0)
    assert experiment.precision == CLEAN.precision


def test_ten_new_points_are_added_to_a_batch_of_fifty():
    import tensorflow as tf

    x, y = tf.zeros([60, 2, 2, 1]), tf.zeros([60], tf.int32)
    for name, size in {"clean": 50, "noise": 50, "fs": 60, "mixup": 60, "los_noise_fs": 60}.items():
        experiment = dataclasses.replace(EXPERIMENTS[f"feature_smoothing_table1/{name}"], dataset="digits")
        features, labels = training.batches(experiment, x, y, 0, 1).element_spec
        assert (features.shape[0], labels.shape[0]) == (size, size), name


def test_the_dictionaries_above_name_every_field_of_an_augmentation():
    """A field that they lack would be a setting that nobody compared."""
    for kind, described in {GaussianNoise: NOISE, FeatureSmoothing: SMOOTHING, Mixup: MIXUP}.items():
        assert {field.name for field in dataclasses.fields(kind)} == set(described) - {"class"}
