"""A smaller data set: one with the class shares of the large one, or some of its classes."""

from __future__ import annotations

import numpy as np

from tfadv.validation import UserError


def check_limit(limit: int, available: int, what: str) -> None:
    """Refuses a `limit` that is not a whole number in 1..available; `what` names the split in the message."""
    if isinstance(limit, bool) or not isinstance(limit, (int, np.integer)) or not 1 <= limit <= available:
        raise UserError(
            f"limit must be a whole number from 1 to {available} (the size of {what}) or None for all, got {limit!r}"
        )


def stratified_subset(labels: np.ndarray, size: int, seed: int) -> np.ndarray:
    """Indices [size], ascending, of a random subset in which every class keeps its share up to rounding.

    Class k with n_k of n examples receives size * n_k / n of them, rounded down; the examples that rounding leaves over
    go to the largest fractional parts, the smaller label first among equals. Within a class the draw is uniform without
    replacement. The result depends on the arguments alone.

    Args:
        labels: int [N], in dataset order.
        size: number of examples to keep, 1..N.
        seed: of the draw.
    """
    classes, counts = np.unique(labels, return_counts=True)
    # Whole numbers throughout, so that no platform rounds a share differently.
    quota, remainder = np.divmod(counts.astype(np.int64) * size, len(labels))
    quota[np.argsort(-remainder, kind="stable")[: size - int(quota.sum())]] += 1
    # RandomState, not default_rng: NumPy freezes the numbers of the former for all its versions.
    random = np.random.RandomState(seed)
    chosen = [random.permutation(np.flatnonzero(labels == k))[:n] for k, n in zip(classes, quota, strict=True)]
    return np.sort(np.concatenate(chosen))


def classes_of(x: np.ndarray, y: np.ndarray, labels: tuple[int, ...]) -> tuple[np.ndarray, np.ndarray]:
    """The examples whose label is among `labels`, in order; the new label of class `labels[k]` is k.

    Args:
        x: [N, ...].
        y: int [N].
        labels: different classes.
    """
    number = np.full(max(int(y.max()), *labels) + 1, -1, np.int32)
    number[list(labels)] = np.arange(len(labels))
    kept = number[y] >= 0
    return x[kept], number[y[kept]]
