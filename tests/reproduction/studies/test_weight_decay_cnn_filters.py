"""Figure 13: filters that are zero are counted, and roughness has its values on filters worked by hand."""

import numpy as np
import pytest

from tfadv.models import wd_cnn
from tfadv.report.values import pack, unpack
from tfadv.reproduction.studies import weight_decay_cnn_filters as filters
from tfadv.reproduction.studies import weight_decay_cnn_jobs as cnn
from tfadv.reproduction.study import Context

CHECKERBOARD = (-1.0) ** np.add.outer(np.arange(8), np.arange(8))[None, :, :, None]


def stack(*kernels):
    return np.stack([np.broadcast_to(kernel, [8, 8, 3]) for kernel in kernels]).astype(np.float32)


def made(kernels, step=97_500):
    return {"step": step, "filters": pack(kernels)}


def noise(count):
    return np.random.default_rng(0).standard_normal([count, 8, 8, 3]).astype(np.float32)


def test_zero_filters_are_counted():
    assert filters.zeros(stack(1.0, 0.0, 0.02, 0.005)) == (1, 2)
    assert filters.zeros(stack(0.0, 0.0)) == (2, 2)


def test_roughness_of_constants_checkerboards_and_noise():
    rough = filters.roughness(stack(1.0, 0.0, CHECKERBOARD[0]))
    np.testing.assert_allclose(rough, [0, 2])
    assert filters.roughness(noise(200)).mean() == pytest.approx(1, abs=0.02)


def test_filters_are_those_of_the_first_layer(tmp_path, monkeypatch):
    model = wd_cnn(seed=3)
    monkeypatch.setattr(cnn, "trained_net", lambda settings, context: (model, 1))
    found = filters.filters({}, Context(tmp_path, tmp_path, None, print))
    kernels = unpack(found["filters"])
    assert kernels.shape == (32, 8, 8, 3)
    np.testing.assert_array_equal(kernels[5], model.layers[0].get_weights()[0][..., 5])


@pytest.mark.parametrize(
    ("decayed", "mark"),
    [
        (stack(1.0, 1.0, 0.0), "reproduced"),
        (stack(1.0, 1.0, 1.0), "depends"),
        (stack(*[CHECKERBOARD[0]] * 3), "not comparable"),
    ],
)
def test_the_claim_needs_smooth_filters_and_zeros(decayed, mark):
    shown = filters.STUDY.render({cnn.CNN: made(noise(3)), cnn.CNN_L2: made(decayed, 5_850)})
    (claim,) = shown.claims
    assert (claim.key, claim.mark) == ("WD-5", mark)
    assert claim.evidence.endswith("(6% of the schedule)")
    assert list(shown.figures) == ["a", "b"]


def test_nothing_is_shown_of_what_is_missing():
    empty = filters.STUDY.render({})
    assert [len(part) for part in (empty.figures, empty.compared, empty.claims)] == [0, 0, 0]
    assert filters.STUDY.render({cnn.CNN: made(noise(2))}).claims == ()
