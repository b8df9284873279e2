"""Augmentations of a training set: frozen configs that transform a `tf.data.Dataset`, and pure functions on a batch.

`dataset.batch(128).apply(GaussianNoise(stddev=0.5))` numbers the batches and seeds each;
`apply(config, x, y, seed)` augments one batch; `AugmentationLayer(config)` works inside a Keras model, in training
only.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from tfadv.augment.base import Augmentation, Pair
from tfadv.augment.disturb_label import DisturbLabel, disturb_label
from tfadv.augment.feature_smoothing import FeatureSmoothing, feature_smoothing
from tfadv.augment.gaussian_noise import GaussianNoise, gaussian_noise
from tfadv.augment.layer import AugmentationLayer
from tfadv.augment.mixup import Mixup, mixup
from tfadv.augment.pad_crop_flip import PadCropFlip, pad_crop_flip
from tfadv.validation import UserError

# Config -> its pure function on one batch.
AUGMENTATIONS: dict[type[Augmentation], Callable[..., Pair]] = {
    GaussianNoise: gaussian_noise,
    FeatureSmoothing: feature_smoothing,
    Mixup: mixup,
    PadCropFlip: pad_crop_flip,
    DisturbLabel: disturb_label,
}


def apply(config: Augmentation, x: Any, y: Any, seed: Any) -> Pair:
    """The augmentation of one batch: x [B, ...], y [B] or [B, K], seed [2] int32 or int64 -> (x, y).

    The result depends on the arguments alone. `config.seed` is not among them: it is the base from which a pipeline
    derives seeds.

    Raises:
        UserError: `config` is not an augmentation, or refuses the batch.
    """
    if not isinstance(config, Augmentation):
        # A caller without a type checker gets here.
        known = sorted(kind.__name__ for kind in AUGMENTATIONS)  # type: ignore[unreachable]
        raise UserError(f"config must be an augmentation, one of {known}, got {config!r}")
    return config.augment(x, y, seed)


__all__ = [
    "AUGMENTATIONS",
    "Augmentation",
    "AugmentationLayer",
    "DisturbLabel",
    "FeatureSmoothing",
    "GaussianNoise",
    "Mixup",
    "PadCropFlip",
    "apply",
    "disturb_label",
    "feature_smoothing",
    "gaussian_noise",
    "mixup",
    "pad_crop_flip",
]
