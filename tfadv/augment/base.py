"""What every augmentation shares: checks of a batch, and the numbering that seeds each element of a dataset.

An augmentation is a frozen config, which is also a `tf.data` transformation, and a pure function
`(x, y, *, config, seed) -> (x, y)`, which holds the mathematics and the only random draws.
"""

from __future__ import annotations

import dataclasses
import math
import operator
import zlib
from typing import Any

import tensorflow as tf

from tfadv.validation import UserError

Pair = tuple[tf.Tensor, tf.Tensor]

# What every consumer of a seed takes: int32 and int64 tensors, tf.data and Keras' unsigned seed generators.
LARGEST_SEED = 2**31 - 1


class Augmentation:
    """A frozen dataclass that turns a dataset of (images, labels) into an augmented one: `dataset.apply(config)`.

    The seed of an element is derived from (base seed, name of the augmentation, pass, index of the element), so two
    augmentations with one base seed share no draws, and every new pass over the dataset (an epoch of `fit`, a turn of
    `repeat`) sees new ones. Two fresh processes that make the same passes see the same numbers; as with
    `Dataset.shuffle`, `tf.random.set_seed` is part of that if it was called. A resumed run, which must not start again
    from its first pass, names the pass: `config.at_epoch(dataset, epoch)`.

    An element is what the dataset yields: a whole batch after `.batch(...)`, one example before it. Batch first where
    speed matters: one draw for a batch of 128 MNIST images made 75,000 images/s, one for each image 22,800.

    A subclass is a frozen dataclass with a field `seed`, implements `augment` and, where its parameters have limits,
    checks them in `__post_init__`.
    """

    # True: labels and batch size stay as they are, so images alone are enough. False: needs a batch with its labels.
    images_only = True

    seed: int

    def __post_init__(self) -> None:
        object.__setattr__(self, "seed", check_integer("seed", self.seed, 0, LARGEST_SEED))

    def augment(self, x: Any, y: Any, seed: Any) -> Pair:
        """The pure function of this augmentation on one element; the same seed gives the same result."""
        raise NotImplementedError(f"{type(self).__name__} must implement augment(x, y, seed)")

    def __call__(self, dataset: tf.data.Dataset) -> tf.data.Dataset:
        """The augmented dataset, in the order of `dataset` and of its cardinality; new draws in every pass.

        Args:
            dataset: yields (x, y), x floating point; batches where the augmentation adds points.

        Raises:
            UserError: the elements are not such pairs.
        """
        # One number for each pass. Re-randomizing is what tells the passes apart: numbering the elements alone would
        # show every epoch the same draw.
        passes = tf.data.Dataset.random(seed=self.seed, rerandomize_each_iteration=True).take(1)
        return self._over(dataset, passes)

    def at_epoch(self, dataset: tf.data.Dataset, epoch: int | tf.Tensor) -> tf.data.Dataset:
        """The augmented dataset with the draws of pass number `epoch`: the same in every iteration.

        Args:
            dataset: as for `__call__`.
            epoch: a whole number, or a scalar integer tensor, so that
                `tf.data.Dataset.range(first, last).flat_map(lambda epoch: config.at_epoch(dataset, epoch))` trains from
                any epoch on.
        """
        return self._over(dataset, tf.data.Dataset.from_tensors(tf.cast(epoch, tf.int64)))

    def salted(self, seed: tf.Tensor) -> tf.Tensor:
        """Seed [2] -> seed [2] that belongs to this kind of augmentation alone."""
        # CRC-32, not hash(): Python salts the hash of a string anew in every process. Halved to fit int32.
        return fold(seed, zlib.crc32(type(self).__name__.encode()) >> 1)

    def get_config(self) -> dict[str, Any]:
        """The constructor's arguments by name, as Keras serialization expects them."""
        return {field.name: getattr(self, field.name) for field in dataclasses.fields(self)}  # type: ignore[arg-type]

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> Augmentation:
        """The augmentation that `get_config` described."""
        return cls(**config)

    def _over(self, dataset: tf.data.Dataset, passes: tf.data.Dataset) -> tf.data.Dataset:
        """Augments element number i with a seed of (base seed, name, the single number that `passes` yields, i)."""
        self._check_elements(dataset)
        base = tf.constant([self.seed, 0], tf.int64)

        def pass_seeds(number: tf.Tensor) -> tf.data.Dataset:
            return tf.data.Dataset.from_tensors(fold(self.salted(base), number)).repeat()

        # flat_map cannot know that its result never ends; without the assertion the cardinality would be lost.
        seeds = passes.flat_map(pass_seeds).apply(tf.data.experimental.assert_cardinality(tf.data.INFINITE_CARDINALITY))

        def augmented(element: Pair, seed: tf.Tensor, index: tf.Tensor) -> Pair:
            x, y = element
            return self.augment(x, y, fold(seed, index))

        numbered = tf.data.Dataset.zip(dataset, seeds, tf.data.Dataset.counter())
        return numbered.map(augmented, num_parallel_calls=tf.data.AUTOTUNE, deterministic=True)

    def _check_elements(self, dataset: Any) -> None:
        name = type(self).__name__
        if not isinstance(dataset, tf.data.Dataset):
            raise UserError(
                f"{name} transforms a tf.data.Dataset, got {type(dataset).__name__}; for one batch use "
                "tfadv.augment.apply(config, x, y, seed)"
            )
        spec = dataset.element_spec
        if not (isinstance(spec, tuple) and len(spec) == 2 and all(isinstance(part, tf.TensorSpec) for part in spec)):
            raise UserError(f"{name} needs a dataset of pairs (images, labels), got elements {spec}")
        x, y = spec
        check_floating(x.dtype)
        if not self.images_only:
            check_batch(x, y)


def fold(seed: tf.Tensor, number: int | tf.Tensor) -> tf.Tensor:
    """Seed [2] and a whole number -> a new seed [2]; other numbers give unrelated seeds."""
    return tf.random.experimental.stateless_fold_in(seed, tf.cast(number, seed.dtype))


def check_seed(seed: Any) -> tf.Tensor:
    """`seed` as an int32 or int64 tensor [2]; the uint32 pairs of Keras seed generators keep their bits.

    Raises:
        UserError: another shape or dtype.
    """
    tensor = tf.convert_to_tensor(seed)
    if tensor.dtype == tf.uint32:
        tensor = tf.bitcast(tensor, tf.int32)
    if tensor.dtype not in (tf.int32, tf.int64) or not tensor.shape.is_compatible_with([2]):
        raise UserError(f"seed must be two integers, shape [2], got shape {tensor.shape} of {tensor.dtype.name}")
    return tensor


def check_floating(dtype: tf.DType) -> None:
    """Refuses images that are not floating point: adding or averaging integers would wrap or truncate.

    Raises:
        UserError: `dtype` is not floating.
    """
    if not dtype.is_floating:
        raise UserError(
            f"x must be floating-point images, got {dtype.name}; convert them with tf.cast(x, tf.float32) / 255"
        )


def check_batch(x: tf.Tensor | tf.TensorSpec, y: tf.Tensor | tf.TensorSpec) -> None:
    """Refuses what is visibly not a batch with one label for each example; unknown shapes pass.

    Raises:
        UserError: no batch axis, or batch axes of different lengths.
    """
    remedy = "points are drawn from a batch: call .batch(...) before this augmentation"
    if x.shape.rank == 0 or y.shape.rank == 0:
        raise UserError(f"x and y must have a batch axis, got shapes {x.shape} and {y.shape}; {remedy}")
    if x.shape.rank is None or y.shape.rank is None:
        return
    if not x.shape[:1].is_compatible_with(y.shape[:1]):
        raise UserError(f"x and y must have equal batch axes, got shapes {x.shape} and {y.shape}; {remedy}")


def check_integer(name: str, value: Any, low: int, high: int | None = None) -> int:
    """`value` as a Python integer of [low, high] (no upper limit for None).

    Raises:
        UserError: not an integer, or out of range.
    """
    allowed = f"an integer >= {low}" if high is None else f"an integer in [{low}, {high}]"
    try:
        number = operator.index(value)
    except TypeError:
        raise UserError(f"{name} must be {allowed}, got {value!r}") from None
    if isinstance(value, bool) or number < low or (high is not None and number > high):
        raise UserError(f"{name} must be {allowed}, got {value!r}")
    return number


def check_strength(name: str, value: Any) -> float:
    """`value` as a finite Python float >= 0.

    Raises:
        UserError: not a number, negative, NaN or infinite.
    """
    try:
        number = float(value)
    except (TypeError, ValueError):
        number = math.nan
    if isinstance(value, str | bool) or not 0 <= number < math.inf:
        raise UserError(f"{name} must be a finite number >= 0, got {value!r}")
    return number


def draw_pairs(count: tf.Tensor, new_points: int, seed: tf.Tensor) -> Pair:
    """Two independent uniform draws of `new_points` positions in a batch: (i, j), int32, each in [0, count).

    An empty batch has no positions, so there both are empty.
    """
    first, second = tf.unstack(tf.random.experimental.stateless_split(seed, 2))
    # min(count * n, n) is n for every count >= 1 and 0 for count = 0.
    points = tf.minimum(count * new_points, new_points)

    def positions(draw_seed: tf.Tensor) -> tf.Tensor:
        return tf.random.stateless_uniform([points], draw_seed, maxval=tf.maximum(count, 1), dtype=tf.int32)

    return positions(first), positions(second)


def batch_size(x: tf.Tensor) -> int | tf.Tensor:
    """Length of the first axis: a Python integer where it is known, so that XLA and tf.data keep static shapes."""
    return x.shape[0] if x.shape[0] is not None else tf.shape(x)[0]
