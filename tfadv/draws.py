"""Random numbers as a function of counters: what an example draws depends on its own counters, never on its batch.

Generators of TensorFlow number the entries of a tensor, so an example draws otherwise in another batch, and XLA draws
other numbers than graphs do. Here every number is a hash of (seed, counters of its example, its place), in integer
arithmetic and exact floats, so it is the same bits eagerly, in a graph and under XLA, alone or in any company. The hash
is made for searches and simulations, not for secrets.
"""

from __future__ import annotations

import functools
import math
import statistics
from collections.abc import Sequence

import numpy as np
import tensorflow as tf

# The finalizer of MurmurHash3 (Appleby): every bit of the result depends on every bit of the word.
_SHIFTS = (16, 13, 16)
_FACTORS = (0x85EBCA6B, 0xC2B2AE35)
# 2^32 divided by the golden ratio, made odd: multiples of it lie far apart.
_STRIDE = 0x9E3779B9


def uniform(seed: int, counters: Sequence[tf.Tensor | int], shape: Sequence[int]) -> tf.Tensor:
    """Numbers uniform in [0, 1), multiples of 2^-24.

    Args:
        seed: any whole number; its lowest 64 bits count.
        counters: which draw of which example this is, such as (example, run, step): int32 [B], or one number for all
            examples, but at least one [B]. Their order matters. A second draw at the same step needs a further counter.
        shape: static, of one example.

    Returns:
        float32 [B, *shape].
    """
    return tf.cast(_high_bits(_words(seed, (0, *counters), shape), 24), tf.float32) * 2.0**-24


def signs(seed: int, counters: Sequence[tf.Tensor | int], shape: Sequence[int]) -> tf.Tensor:
    """+1 or -1, each with probability 1/2; float32 [B, *shape]. Arguments as in `uniform`, independent of its draws."""
    return 1.0 - 2.0 * tf.cast(_high_bits(_words(seed, (1, *counters), shape), 1), tf.float32)


def normal(seed: int, counters: Sequence[tf.Tensor | int], shape: Sequence[int]) -> tf.Tensor:
    """Standard normal, float32 [B, *shape], at most 6.12 in size. Arguments as in `uniform`, independent of its draws.

    (q(a) + q(b)) / sqrt(2) for the two 16-bit halves a and b of a word, where q lists 65,536 quantiles of the normal
    distribution: logarithms and cosines would round differently under XLA.
    """
    words = _words(seed, (2, *counters), shape)
    quantiles = tf.constant(_normal_quantiles())
    low = tf.bitcast(tf.bitwise.bitwise_and(words, _word(0xFFFF)), tf.int32)
    return (tf.gather(quantiles, _high_bits(words, 16)) + tf.gather(quantiles, low)) * math.sqrt(0.5)


def _word(value: int) -> tf.Tensor:
    return tf.constant(value % 2**32, tf.uint32)


def _high_bits(words: tf.Tensor, count: int) -> tf.Tensor:
    """The highest `count` < 32 bits of each word as int32, which every device casts and gathers by."""
    return tf.bitcast(tf.bitwise.right_shift(words, _word(32 - count)), tf.int32)


def _mixed(words: tf.Tensor) -> tf.Tensor:
    for shift, factor in zip(_SHIFTS, (*_FACTORS, None), strict=True):
        words = tf.bitwise.bitwise_xor(words, tf.bitwise.right_shift(words, _word(shift)))
        if factor is not None:
            words *= _word(factor)
    return words


def _words(seed: int, counters: Sequence[tf.Tensor | int], shape: Sequence[int]) -> tf.Tensor:
    """uint32 [B, *shape], hashed from the seed, the counters in their order, and the place in `shape`."""
    # 64 bits of key, because of 2^32 keys some would be equal after 2^16 draws.
    first, second = _word(seed), _word(seed >> 32)
    for counter in counters:
        counter = tf.bitcast(tf.convert_to_tensor(counter, tf.int32), tf.uint32)
        first = _mixed(tf.bitwise.bitwise_xor(first, counter) + _word(_STRIDE))
        second = _mixed(second + first * _word(_STRIDE))
    places = tf.bitcast(tf.range(math.prod(shape)), tf.uint32)
    words = _mixed(tf.bitwise.bitwise_xor(_mixed(first[:, None] + places), second[:, None]))
    return tf.reshape(words, [-1, *shape])


@functools.cache
def _normal_quantiles() -> np.ndarray:
    """float32 [65536]: quantiles in the middle of as many equal shares of probability, scaled to variance 1."""
    distribution = statistics.NormalDist()
    upper = np.array([distribution.inv_cdf((place + 0.5) / 65536) for place in range(32768, 65536)])
    upper /= np.sqrt(np.mean(np.square(upper)))
    return np.concatenate([-upper[::-1], upper]).astype(np.float32)
