"""Digits: 1,797 real handwritten digits that ship inside scikit-learn, so that they need no network and no folder.

The images are the UCI "optical recognition of handwritten digits" test set (Alpaydin and Kaynak 1998): 8x8 pixels, each
the number 0..16 of inked points in a 4x4 cell. They are divided by 16 and enlarged to 28x28x1, the shape of MNIST, by
bilinear interpolation. The split into 1,297 training and 500 test images is fixed, stratified by class, and in the
original order within each split.
"""

from __future__ import annotations

import functools

import numpy as np

from tfadv.data.spec import Arrays, DatasetSpec
from tfadv.data.subset import stratified_subset

SIZE = 28
TEST_EXAMPLES = 500
SPLIT_SEED = 0


def bilinear_matrix(size: int, source: int) -> np.ndarray:
    """The matrix [size, source] that enlarges a line of `source` pixels to `size` by linear interpolation.

    Pixel i of the result has its center at (i + 1/2) * source / size, in units of source pixels, whose own centers lie
    at 1/2, 3/2, ...; beyond the outermost centers the outermost pixel is repeated. This is the half-pixel convention of
    `tf.image.resize(..., "bilinear")`. A row holds at most two weights >= 0 with sum 1, so values stay in range.
    """
    position = np.clip((np.arange(size) + 0.5) * source / size - 0.5, 0.0, source - 1.0)
    left = np.minimum(position.astype(int), source - 2)
    matrix = np.zeros((size, source))
    matrix[np.arange(size), left] = 1.0 - (position - left)
    matrix[np.arange(size), left + 1] = position - left
    return matrix


@functools.lru_cache(maxsize=1)
def _read_all() -> Arrays:
    """All 1,797 enlarged images [1797, 28, 28, 1] and labels [1797], in scikit-learn's order."""
    from sklearn import datasets

    bunch = datasets.load_digits()
    enlarge = bilinear_matrix(SIZE, 8)
    images = enlarge @ (bunch.images / 16.0) @ enlarge.T
    # Interpolation in float64 may end one rounding above 1.
    return np.clip(images, 0.0, 1.0).astype(np.float32)[..., None], bunch.target.astype(np.int32)


def read(split: str) -> Arrays:
    """The images x float32 [N, 28, 28, 1] in [0, 1] and labels y int32 [N] of "train" (1,297) or "test" (500)."""
    x, y = _read_all()
    in_test = np.zeros(len(y), dtype=bool)
    in_test[stratified_subset(y, TEST_EXAMPLES, SPLIT_SEED)] = True
    chosen = in_test if split == "test" else ~in_test
    return x[chosen], y[chosen]


SPEC = DatasetSpec(
    name="digits",
    shape=(SIZE, SIZE, 1),
    classes=10,
    splits={"train": 1_797 - TEST_EXAMPLES, "test": TEST_EXAMPLES},
    class_names=tuple("0123456789"),
    embedded=read,
)
