"""Figures 8 and 9: what one class gains the others lose, and the printed ranges beside ours."""

import numpy as np
import pytest

from tfadv.report.values import pack, unpack
from tfadv.reproduction.studies import weight_decay_cnn_fooling as fooling
from tfadv.reproduction.studies import weight_decay_cnn_jobs as cnn
from tfadv.reproduction.study import Context

FIG8, FIG9 = fooling.STUDIES
CLASSES = 10
DIGITS = {"experiment": "defenses_cifar10/cnn_pgd", "changes": {"dataset": "digits"}}


@pytest.fixture
def context(tmp_path, monkeypatch, linear_model):
    monkeypatch.setattr(cnn, "trained_net", lambda settings, context: (linear_model, 97_500))
    return Context(tmp_path, tmp_path, None, lambda line: None)


def images(confidence):
    """Ten classes, two starts each; those that are shown reach from `confidence` to 0.09 above."""
    confidences = [[confidence + 0.01 * number, 0.99] for number in range(CLASSES)]
    pictures = pack(np.full([CLASSES, 4, 4, 3], 0.5))
    return {"step": 97_500, "names": list("abcdefghij"), "images": pictures, "confidences": confidences}


def swept(step=97_500):
    success = [0.1, 0.6, 0.9, 0.3]
    return {"step": step, "levels": [0, 16, 20, 255], "success": success, "confident": [0, 0.25, 0.5, 0],
            "margin": [0.02, 0.1, 0.2, 0.1]}  # fmt: skip


def test_more_steps_make_surer_images(context):
    """On a linear model each step raises the logit of the class, until the box holds all its pixels."""
    few, many = (fooling.fooling({**DIGITS, "steps": steps, "samples": 2}, context)["confidences"] for steps in (1, 20))
    assert np.shape(many) == (3, 2)
    assert (np.array(many) > few).all()


def test_the_image_shown_is_the_first_of_its_class(context):
    found = fooling.fooling({**DIGITS, "steps": 5, "samples": 2}, context)
    context.folder.mkdir(exist_ok=True)
    model, _ = cnn.trained_net({}, context)
    logits = model(unpack(found["images"])).numpy()
    probabilities = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    np.testing.assert_allclose(np.diag(probabilities), np.array(found["confidences"])[:, 0], rtol=1e-5)


def test_at_epsilon_0_each_class_has_its_share(context):
    found = fooling.sweep({**DIGITS, "levels": [0, 255], "samples": 7}, context)
    assert found["success"][0] == pytest.approx(1 / 3)


def test_printed_ranges_stand_beside_ours():
    shown = FIG8.render({cnn.CNN: images(0.3), cnn.CNN_L2: images(0.5), cnn.NATURAL: images(0.7)})
    rows = [(each.paper, round(each.ours)) for each in shown.compared]
    assert rows == [(32, 30), (63, 39), (41, 50), (81, 59), (None, 70), (None, 79)]
    assert list(shown.figures) == ["a", "b", "c"]
    assert shown.figures["b"].labels[0] == "a 50%"
    assert "over 20 starts the median is" in shown.findings[0]


def test_the_peak_and_the_sure_ones_at_16():
    shown = FIG9.render({cnn.CNN_L2: swept(), cnn.CNN: swept(5_850)})
    rows = {each.what: (each.paper, each.ours, each.note) for each in shown.compared}
    assert rows["CNN-L2: epsilon at which most succeed"] == (20, 20, "")
    assert rows["CNN-L2: success at 16 that needs a probability of 0.5"] == (0, 25, "")
    assert rows["CNN: epsilon at which most succeed"] == (None, 20, "6% of the schedule")
    assert list(shown.figures) == ["a"]
    assert list(shown.figures["a"].series) == ["CNN, success", "CNN, margin", "CNN-L2, success", "CNN-L2, margin"]


@pytest.mark.parametrize("study", fooling.STUDIES, ids=lambda study: study.key)
def test_nothing_is_shown_of_what_is_missing(study):
    empty = study.render({})
    assert [len(part) for part in (empty.figures, empty.compared, empty.findings)] == [0, 0, 0]
