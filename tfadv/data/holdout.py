"""A validation split where a data set publishes none: a fixed part of its training split.

Checkpoints of adversarial training have to be compared on robust accuracy while a run is in progress, because it
overfits (Rice, Wong and Kolter 2020, arXiv:2002.11569; figure 2 of AVmixup); whoever compares them on the test split
reports the best of many test results. "train" stays whole, for runs that follow a paper's schedule to its last step.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from tfadv.data.subset import stratified_subset

VALIDATION = "validation"
TRAIN_FIT = "train_fit"

# Another seed than that of `limit`, or "train" of CIFAR-10 with limit=5000 would be exactly its validation split.
SEED = 1
LARGEST = 5_000


def validation_size(train: int) -> int:
    """Number of held-out examples: a tenth of the training split, rounded down, and at most 5,000."""
    return min(train // 10, LARGEST)


def sizes(published: Mapping[str, int]) -> dict[str, int]:
    """Number of examples by split name: the published splits, then the two parts of "train"."""
    held = validation_size(published["train"])
    return {**published, TRAIN_FIT: published["train"] - held, VALIDATION: held}


def source(split: str) -> str:
    """The published split whose examples `split` consists of."""
    return "train" if split in (TRAIN_FIT, VALIDATION) else split


def indices(labels: np.ndarray, split: str) -> np.ndarray:
    """Where the examples of `split` lie in its published split, ascending; `labels` [N] are those of the latter.

    The validation examples are drawn with a fixed seed so that each class keeps its share up to rounding; "train_fit"
    is the rest.
    """
    everything = np.arange(len(labels))
    if source(split) == split:
        return everything
    held = stratified_subset(labels, validation_size(len(labels)), SEED)
    return held if split == VALIDATION else np.setdiff1d(everything, held, assume_unique=True)
