"""An augmentation inside a Keras model or training step, where no dataset pipeline is at hand."""

from __future__ import annotations

from typing import Any

import keras
import tensorflow as tf

from tfadv.augment.base import LARGEST_SEED, Augmentation, check_batch, check_integer, check_seed
from tfadv.validation import UserError


@keras.saving.register_keras_serializable("tfadv")
class AugmentationLayer(keras.layers.Layer):
    """Augments while training and does nothing otherwise; draws new numbers at every call.

    Takes an image batch, for augmentations that leave labels and batch size alone (`GaussianNoise`), or a dict
    {"images": ..., "labels": ...}, which every augmentation accepts and which comes back as such a dict. It computes in
    the dtype that it is given, whatever the dtype policy, and with TensorFlow: under other Keras backends it loads and
    infers, but does not train. In a `tf.data` pipeline apply the augmentation itself: it numbers the elements, so the
    draws do not depend on the order of parallel calls.

    Args:
        augmentation: for example `GaussianNoise(stddev=0.5)`.
        seed: base of the random numbers; None takes that of the augmentation.
    """

    def __init__(self, augmentation: Augmentation, seed: int | None = None, **kwargs: Any) -> None:
        if not isinstance(augmentation, Augmentation):
            raise UserError(f"augmentation must be an Augmentation, such as GaussianNoise(), got {augmentation!r}")
        # A policy of float16 would round labels that are distributions; the next layer casts the images anyway.
        kwargs.setdefault("autocast", False)
        super().__init__(**kwargs)
        self.augmentation = augmentation
        self.seed = None if seed is None else check_integer("seed", seed, 0, LARGEST_SEED)
        self.seed_generator = keras.random.SeedGenerator(augmentation.seed if self.seed is None else self.seed)

    def call(self, inputs: Any, training: bool | None = None) -> Any:
        if not training:
            return inputs
        if isinstance(inputs, dict):
            if set(inputs) != {"images", "labels"}:
                raise UserError(f"inputs must have the keys 'images' and 'labels', got {sorted(inputs)}")
            images, labels = inputs["images"], inputs["labels"]
            check_batch(images, labels)
            images, labels = self._augment(images, labels)
            return {"images": images, "labels": labels}
        if not self.augmentation.images_only:
            raise UserError(
                f"{type(self.augmentation).__name__} adds points with their labels, so inputs must be a dict "
                f"{{'images': ..., 'labels': ...}} in training, got {type(inputs).__name__}"
            )
        return self._augment(inputs, None)[0]

    def _augment(self, images: tf.Tensor, labels: Any) -> Any:
        if keras.backend.backend() != "tensorflow":
            raise UserError(
                f"AugmentationLayer trains with the TensorFlow backend only, got {keras.backend.backend()!r}; "
                "augment in the tf.data pipeline instead"
            )
        seed = self.augmentation.salted(check_seed(self.seed_generator.next()))
        return self.augmentation.augment(images, labels, seed)

    # Keras saves variables, but not the state of seed generators; without it a restored model would repeat its draws.
    def save_own_variables(self, store: Any) -> None:
        store["seed_state"] = keras.ops.convert_to_numpy(self.seed_generator.state)

    def load_own_variables(self, store: Any) -> None:
        self.seed_generator.state.assign(store["seed_state"])

    def get_config(self) -> dict[str, Any]:
        augmentation = keras.saving.serialize_keras_object(self.augmentation)
        return {**super().get_config(), "augmentation": augmentation, "seed": self.seed}

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> AugmentationLayer:
        augmentation = keras.saving.deserialize_keras_object(config["augmentation"])
        return cls(**{**config, "augmentation": augmentation})
