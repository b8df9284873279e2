"""Table 2: the printed cells, columns as the program computes them, and intervals over images."""

import numpy as np
import pytest

from tfadv.reproduction.studies import weight_decay_cnn_jobs as cnn
from tfadv.reproduction.studies import weight_decay_cnn_saliency as saliency
from tfadv.reproduction.study import Context


def found(count, gammas, rate=0.4, step=97_500):
    each = {"success_rate": rate, "perturbed_rate": 0.009, "perturbed_rate_of_successes": 0.005,
            "printed_perturbed_rate": 0.0081, "printed_rate_of_successes": 0.0018,
            "images": np.linspace(0, 2 * rate, count).tolist()}  # fmt: skip
    return {"step": step, "count": count, "features": 3072, "gammas": [{"gamma": gamma, **each} for gamma in gammas]}


@pytest.fixture
def context(tmp_path, monkeypatch, linear_model):
    x = np.random.default_rng(0).uniform(size=[5, 2, 2, 1]).astype(np.float32)
    y = np.array([0, 1, 2, 0, 1], np.int32)
    monkeypatch.setattr(cnn, "trained_net", lambda settings, context: (linear_model, 97_500))
    monkeypatch.setattr(cnn, "images", lambda settings, context, limit=None: (x[:limit], y[:limit]))
    return Context(tmp_path, tmp_path, None, lambda line: None)


def test_each_image_goes_to_every_wrong_class(context):
    result = saliency.saliency({"gammas": [50, 100], "count": 3}, context)
    assert (result["count"], result["features"]) == (3, 4)
    half, full = result["gammas"]
    for each in (half, full):
        assert len(each["images"]) == 3
        # Two wrong classes an image.
        assert set(each["images"]) <= {0.0, 0.5, 1.0}
        assert np.mean(each["images"]) == pytest.approx(each["success_rate"])
    assert full["success_rate"] >= half["success_rate"]


def test_the_printed_cells():
    ours, wrn = saliency.printed("CNN-L2"), saliency.printed("WRN")
    assert len(ours) == len(wrn) == 18
    assert ours[10, 1, "success_rate_percent"] == 20
    assert ours[100, 1, "success_rate_percent"] == 26.9
    assert wrn[10, 5, "perturbed_rate_when_successful_percent"] == 1.28


def test_each_cell_stands_beside_ours():
    results = {f"{cnn.CNN_L2}, N=10": found(10, [1, 2], rate=0.3), f"{cnn.CNN_L2}, N=100": found(100, [1, 2])}
    shown = saliency.STUDY.render(results)
    rows = {each.what: each for each in shown.compared}
    assert len(rows) == 9
    assert rows["CNN-L2, N=10, gamma 2%: success"].paper == 52
    assert rows["CNN-L2, N=100, gamma 1%: success"].ours == pytest.approx(40)
    assert rows["CNN-L2, N=100, gamma 1%: rate"].ours == pytest.approx(0.81)
    assert rows["CNN-L2, N=100, gamma 1%: rate of successes"].ours == pytest.approx(0.18)
    # Gamma 2% is printed for 10 images alone.
    assert "CNN-L2, N=100, gamma 2%: success" not in rows
    low, high = rows["CNN-L2, N=100, gamma 1%: success"].interval
    assert 0 < low < 40 < high < 100
    assert rows["CNN-L2, N=100, gamma 1%: rate"].interval is None
    # 30% against the printed 33 and 58, and 40% against 28.4.
    assert "below it in 2 of 3" in shown.findings[0]


def test_a_hundred_images_make_the_figure():
    shown = saliency.STUDY.render({f"{name}, N=100": found(20, [1, 2]) for name in cnn.DEFENDED})
    assert list(shown.figures[""].series) == list(cnn.DEFENDED)
    assert "a success changes 0.50% of the features" in shown.findings[0]
    assert not shown.compared


def test_nothing_is_shown_of_what_is_missing():
    empty = saliency.STUDY.render({})
    assert [len(part) for part in (empty.figures, empty.compared, empty.findings)] == [0, 0, 0]
