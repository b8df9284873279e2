"""Figure 10: curves of a linear model by hand, differences on the same images, crossings, printed numbers beside."""

import keras
import numpy as np
import pytest

from tfadv.report.values import pack, unpack
from tfadv.reproduction.studies import weight_decay_cnn_curves as curves
from tfadv.reproduction.studies import weight_decay_cnn_jobs as cnn
from tfadv.reproduction.study import Context

W = np.array([1.0, -2.0, 0.5, -0.5], np.float32)  # ||w||_1 = 4
LEVELS = [0, 2, 4, 8, 16]


@pytest.fixture
def context(tmp_path, monkeypatch):
    """Two classes with logits 0 and w'(x - 1/2), and images so far inside the box that no attack meets it."""
    inputs = keras.Input((2, 2, 1))
    dense = keras.layers.Dense(2)
    model = keras.Model(inputs, dense(keras.layers.Flatten()(inputs)))
    dense.set_weights([np.stack([np.zeros(4), W], axis=1), np.array([0, -W.sum() / 2])])
    x = np.random.default_rng(0).uniform(0.4, 0.6, [40, 2, 2, 1]).astype(np.float32)
    y = (np.arange(40) % 2).astype(np.int32)
    monkeypatch.setattr(cnn, "trained_net", lambda settings, context: (model, 97_500))
    monkeypatch.setattr(cnn, "images", lambda settings, context, limit: (x, y))
    return Context(tmp_path, tmp_path, None, lambda line: None), x, y


def made(shares, step=97_500, levels=(0, 5, 8, 16, 128), count=200, lost=0.0):
    """A result in which each attack leaves these shares of the images, the first ones; `lost` fewer by the labels."""

    def left(less):
        return pack(np.arange(count)[None] < count * (np.array(shares) - less)[:, None])

    right = {name: left(0 if name in (curves.LOOSE_FGSM, curves.LOOSE) else lost) for name in curves.ATTACKS}
    return {"step": step, "levels": list(levels), "count": count, "right": right}


def test_on_a_linear_model_an_image_stays_right_while_its_margin_exceeds_epsilon_times_the_1_norm(context):
    """20 steps of 2/255 cross every ball of up to 20/255, so that PGD ends in the corner where FGSM goes at once."""
    context, x, y = context
    found = curves.curves({"levels": LEVELS, "steps": 20, "limit": None}, context)
    margin = np.where(y == 1, 1, -1) * ((x.reshape(-1, 4) - 0.5) @ W)
    reach = np.array(LEVELS)[:, None] / 255 * np.abs(W).sum()
    assert found["count"] == 40
    for attack in (curves.FGSM, curves.FIXED, curves.GROWING):
        np.testing.assert_array_equal(unpack(found["right"][attack]), margin > reach, attack)
    # Away from the prediction, what was wrong by less than that becomes right.
    loose = np.where(margin > 0, margin > reach, -margin < reach)
    assert (loose & (margin < 0)).any()
    for attack in (curves.LOOSE_FGSM, curves.LOOSE):
        np.testing.assert_array_equal(unpack(found["right"][attack]), loose, attack)


def test_gain_is_of_pairs():
    """Differences 1, 0, 0, -1 have mean 0 and deviation sqrt(1/2); a constant one has no width."""
    mean, low, high = curves.gain(np.array([1, 1, 0, 0]), np.array([0, 1, 0, 1]))
    assert (mean, high) == (0, pytest.approx(196 * np.sqrt(0.5) / 2))
    assert low == -high
    assert curves.gain(np.ones(3), np.zeros(3)) == (100, 100, 100)


def test_crossing():
    levels = (0, 5, 10)
    assert curves.crossing(levels, np.array([0.9, 0.5, 0.1]), np.array([0.8, 0.5, 0.2])) == 10
    assert curves.crossing(levels, np.array([0.9, 0.5, 0.3]), np.array([0.8, 0.4, 0.2])) is None
    assert curves.crossing(levels, np.array([0.7, 0.5, 0.3]), np.array([0.8, 0.4, 0.2])) is None


def test_printed_differences_stand_beside_ours():
    """Printed numbers belong to the attack away from the prediction."""
    plain = made([0.6, 0.4, 0.3, 0.2, 0.05])
    decayed = made([0.7, 0.5, 0.35, 0.15, 0.05], lost=0.05)
    shown = curves.STUDY.render({cnn.CNN: plain, cnn.CNN_L2: decayed})
    rows = {each.what: (each.paper, round(each.ours, 6)) for each in shown.compared}
    assert rows == {
        "CNN-L2 minus CNN under PGD, away from the prediction, least below 16": (3, 5),
        "CNN-L2 minus CNN under PGD, away from the prediction, most below 16": (6, 10),
        "CNN-L2 minus CNN under PGD, away from the prediction, at 5": (6.8, 10),
        "CNN-L2 under PGD, away from the prediction, at 16": (15, 15),
        "CNN-L2 minus CNN under PGD, least below 16": (None, 0),
        "CNN-L2 minus CNN under PGD, most below 16": (None, 5),
        "CNN-L2 minus CNN under PGD, at 5": (None, 5),
        "CNN-L2 under PGD, at 16": (None, 10),
    }
    assert "CNN is ahead from 16 on" in shown.findings[0]
    assert list(shown.figures) == ["a", "b", "c"]
    assert list(shown.figures["a"].series) == ["CNN-L2, FGSM", "CNN-L2, PGD"]
    assert list(shown.figures["c"].series) == ["CNN", "CNN-L2"]
    (claim,) = shown.claims
    assert (claim.key, claim.mark) == ("WD-4", "not comparable")


def test_missing_networks_leave_out_what_they_would_show():
    empty = curves.STUDY.render({})
    assert [len(part) for part in (empty.figures, empty.compared, empty.claims, empty.beside)] == [0, 0, 0, 0]
    for name in cnn.ALL:
        alone = curves.STUDY.render({name: made([0.6, 0.4, 0.3, 0.2, 0.05])})
        assert not alone.compared
        assert set(alone.figures["c"].series) == {name}
