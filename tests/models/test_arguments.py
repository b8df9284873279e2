"""Arguments of the architectures: what fits is accepted, anything else is refused with what is allowed."""

import numpy as np
import pytest

from tfadv import models
from tfadv.models.arguments import check
from tfadv.validation import UserError


def test_what_fits_is_accepted():
    check((784,), 2)
    check([2], 10)
    check((28, 28, 1), 10, smallest=28)
    check((np.int64(32), 4, 3), 2, smallest=4, multiple=4)


@pytest.mark.parametrize(
    ("shape", "options", "message"),
    [
        ((), {}, r"one or more lengths >= 1.*got \(\)"),
        ((28, 0), {}, r"got \(28, 0\)"),
        ((28, None), {}, r"got \(28, None\)"),
        (784, {}, "got 784"),
        ((28, 28), {"smallest": 1}, r"\(height, width, channels\) with sides >= 1 for .*got \(28, 28\)"),
        ((28, 28, 0), {"smallest": 1}, r"got \(28, 28, 0\)"),
        ((28, 27, 1), {"smallest": 28}, r"sides >= 28 for this.*got \(28, 27, 1\); resize"),
        ((32, 30, 3), {"smallest": 4, "multiple": 4}, r"sides >= 4 and multiples of 4 for.*got \(32, 30, 3\)"),
    ],
)
def test_a_shape_that_does_not_fit_is_refused(shape, options, message):
    with pytest.raises(UserError, match=f"shape must be .*{message}"):
        check(shape, 10, **options)


def test_one_class_is_refused():
    with pytest.raises(UserError, match="classes must be at least 2, one logit for each, got 1"):
        check((28, 28, 1), 1)


@pytest.mark.parametrize(
    ("name", "smallest"),
    [("lenet_mnist", 16), ("lenet_cifar10", 16), ("madry_mnist", 4), ("small_cnn", 1), ("wd_cnn", 27)],
)
def test_the_smallest_image_of_an_architecture_gives_logits_and_a_smaller_one_is_refused(name, smallest):
    model = models.MODELS[name](shape=(smallest, smallest + 1, 2))
    assert model(np.zeros([1, smallest, smallest + 1, 2], np.float32)).shape == (1, 10)
    with pytest.raises(UserError, match=f"sides >= {smallest} "):
        models.MODELS[name](shape=(smallest + 1, smallest - 1, 2))
