"""Counter-based random numbers: the same bits everywhere, the right distribution, nothing shared between streams."""

import math
import statistics

import numpy as np
import pytest
import tensorflow as tf

from tfadv import draws

DRAWS = [draws.uniform, draws.signs, draws.normal]
EXAMPLES = np.arange(400, dtype=np.int32)

each = pytest.mark.parametrize("draw", DRAWS, ids=lambda draw: draw.__name__)


def cdf(values):
    return np.vectorize(statistics.NormalDist().cdf)(values)


def standardized(draw, seed, counters, shape=(300,)):
    """Draws shifted and scaled to mean 0 and variance 1, float64 [B, entries of shape]."""
    values = draw(seed, counters, shape).numpy().astype(np.float64).reshape(-1, math.prod(shape))
    return (values - 0.5) * math.sqrt(12) if draw is draws.uniform else values


def assert_uncorrelated(first, second):
    """The mean of n products of independent numbers of mean 0 and variance 1 has a standard deviation of 1 / sqrt(n).

    Four of them are exceeded once in 16,000 times; the seeds are fixed, so this does not flicker.
    """
    assert first.shape == second.shape
    assert abs((first * second).mean()) < 4 / math.sqrt(first.size)


@each
def test_eager_graph_and_xla_draw_the_same_bits(draw):
    def drawn(example, step):
        return draw(7, (example, 3, step), (4, 4, 1))

    example, step = tf.constant([0, 1, 5, -1]), tf.constant([2, 0, 2, 2**31 - 1])
    expected = drawn(example, step)
    signature = [tf.TensorSpec([None], tf.int32)] * 2
    np.testing.assert_array_equal(tf.function(drawn, input_signature=signature)(example, step), expected)
    np.testing.assert_array_equal(tf.function(drawn, jit_compile=True)(example, step), expected)


@each
def test_an_example_draws_the_same_alone_and_in_any_company(draw):
    together = draw(0, (tf.constant([4, 2, 9]), tf.constant([0, 1, 7])), (2, 3))
    assert together.shape == (3, 2, 3)
    assert together.dtype == tf.float32
    np.testing.assert_array_equal(draw(0, (tf.constant([9]), tf.constant([7])), (2, 3)), together[2:])
    np.testing.assert_array_equal(
        draw(0, (tf.constant([2, 4]), tf.constant([1, 0])), (6,)).numpy()[::-1].reshape(2, 6),
        together.numpy()[:2].reshape(2, 6),
    )


@each
def test_shapes_without_axes_or_without_examples_are_allowed(draw):
    assert draw(0, (tf.constant([1, 2]),), ()).shape == (2,)
    assert draw(0, (tf.constant([], tf.int32),), (3, 2)).shape == (0, 3, 2)
    assert draw(0, (tf.constant([1, 2]),), tf.TensorShape([3])).shape == (2, 3)


@each
def test_one_number_for_all_examples_is_that_counter_of_each(draw):
    expected = draw(0, (EXAMPLES[:3], tf.fill([3], 5)), (4,))
    np.testing.assert_array_equal(draw(0, (EXAMPLES[:3], 5), (4,)), expected)


def hashed(seed, counters, place):
    """The 32-bit word behind a draw, in Python's integers; mix is the finalizer of MurmurHash3."""

    def mix(word):
        word ^= word >> 16
        word = word * 0x85EBCA6B % 2**32
        word ^= word >> 13
        word = word * 0xC2B2AE35 % 2**32
        return word ^ (word >> 16)

    first, second = seed % 2**32, (seed >> 32) % 2**32
    for counter in counters:
        first = mix(((first ^ (counter % 2**32)) + 0x9E3779B9) % 2**32)
        second = mix((second + first * 0x9E3779B9) % 2**32)
    return mix(mix((first + place) % 2**32) ^ second)


@pytest.mark.parametrize("seed", [0, 3, -1, 2**35 + 5], ids=str)
def test_the_bits_are_those_of_the_hash_worked_in_python(seed):
    """A search repeated with a later release draws the same numbers."""
    example = [0, 12, -7]
    words = {kind: [[hashed(seed, (kind, e, 9), place) for place in range(5)] for e in example] for kind in range(3)}
    got = [draw(seed, (tf.constant(example), 9), (5,)).numpy() for draw in DRAWS]
    np.testing.assert_array_equal(got[0] * 2**24, np.array(words[0]) >> 8)
    np.testing.assert_array_equal(got[1], 1 - 2 * (np.array(words[1]) >> 31))
    quantile = np.vectorize(lambda half: statistics.NormalDist().inv_cdf((half + 0.5) / 65536))
    halves = quantile(np.array(words[2]) >> 16) + quantile(np.array(words[2]) % 65536)
    np.testing.assert_allclose(got[2], halves / math.sqrt(2), rtol=1e-4)


def test_uniform_numbers_are_uniform_in_zero_to_one():
    """Kolmogorov: the largest distance of the distribution functions exceeds 1.95 / sqrt(n) once in a thousand."""
    values = np.sort(draws.uniform(0, (EXAMPLES,), (500,)).numpy().ravel())
    assert values[0] >= 0
    assert values[-1] < 1
    assert np.abs(values - (np.arange(values.size) + 0.5) / values.size).max() < 1.95 / math.sqrt(values.size)


def test_every_bit_of_a_uniform_number_is_set_half_of_the_time():
    """Of n fair bits the share that is set has standard deviation 1 / (2 sqrt(n))."""
    values = (draws.uniform(1, (EXAMPLES,), (500,)).numpy().ravel() * 2**24).astype(np.int64)
    shares = [((values >> bit) & 1).mean() for bit in range(24)]
    np.testing.assert_allclose(shares, 0.5, atol=4 / (2 * math.sqrt(values.size)))


def test_signs_are_plus_or_minus_one_and_fair():
    values = draws.signs(0, (EXAMPLES,), (500,)).numpy()
    assert set(np.unique(values)) == {-1.0, 1.0}
    assert abs(values.mean()) < 4 / math.sqrt(values.size)


def test_normal_numbers_are_normal_as_a_whole_and_in_the_tails():
    """Kolmogorov as above; beyond 4 standard deviations lie 6.33e-5 of 800,000 numbers: 51 +- 7."""
    values = np.sort(draws.normal(0, (np.arange(1600, dtype=np.int32),), (500,)).numpy().ravel())
    grid = np.linspace(-4, 4, 200)
    empirical = np.searchsorted(values, grid) / values.size
    assert np.abs(empirical - cdf(grid)).max() < 1.95 / math.sqrt(values.size)
    assert abs(values.var() - 1) < 4 * math.sqrt(2 / values.size)
    assert abs((np.abs(values) > 4).sum() - 51) < 4 * 7
    assert np.abs(values).max() <= 6.12


@each
def test_neighbors_in_the_batch_in_each_counter_and_in_place_are_uncorrelated(draw):
    values = standardized(draw, 0, (EXAMPLES, 0, 0))
    assert_uncorrelated(values[:-1], values[1:])
    assert_uncorrelated(values[:, :-1], values[:, 1:])
    for other in ((EXAMPLES, 1, 0), (EXAMPLES, 0, 1), (EXAMPLES, 1, 1), (EXAMPLES, 0), (EXAMPLES, 0, 0, 0)):
        assert_uncorrelated(values, standardized(draw, 0, other))
    for seed in (1, -1, 2**31, 2**32, 2**40):
        assert_uncorrelated(values, standardized(draw, seed, (EXAMPLES, 0, 0)))


@each
def test_counters_that_are_swapped_give_other_numbers(draw):
    """(1, 2) and (2, 1) are two draws, also where example and step are exchanged or only their sum is the same."""
    values = [
        standardized(draw, 0, pair, (2000,)) for pair in ((EXAMPLES[1:2], 2), (EXAMPLES[2:3], 1), (EXAMPLES[3:4], 0))
    ]
    for first, second in ((0, 1), (0, 2), (1, 2)):
        assert (values[first] != values[second]).mean() > 0.4
        assert_uncorrelated(values[first], values[second])


def test_the_three_kinds_are_independent_of_one_another():
    values = [standardized(draw, 0, (EXAMPLES,)) for draw in DRAWS]
    for first, second in ((0, 1), (0, 2), (1, 2)):
        assert_uncorrelated(values[first], values[second])


def test_no_two_of_many_draws_are_the_same():
    """400 examples x 50 steps, 48 bits each: equal ones would be expected 7e-7 times."""
    example, step = (axis.ravel().astype(np.int32) for axis in np.meshgrid(EXAMPLES, np.arange(50)))
    values = draws.uniform(0, (example, step), (2,)).numpy()
    assert len(np.unique(values, axis=0)) == 400 * 50
