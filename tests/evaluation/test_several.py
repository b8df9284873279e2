"""Several threats on the same images: each with its own attacks, and the union of what they break."""

import numpy as np
import pytest
import tensorflow as tf

from tfadv.evaluation import Threat, evaluate_threats
from tfadv.evaluation.several import union
from tfadv.validation import UserError

SHARES = np.array([0.3, -0.5, 1.2, -1.3, 3.0, -4.0], np.float32)


def brightness_of(x):
    """Two classes by the mean of the image, which an linf step of e moves by e and a rotation not at all."""
    score = tf.reduce_mean(x, axis=[1, 2, 3]) - 0.5
    return tf.stack([-score, score], axis=1)


X = np.broadcast_to((0.5 + 0.1 * SHARES)[:, None, None, None], [6, 4, 4, 1]).astype(np.float32)
DATA = X, (SHARES > 0).astype(np.int32)


@pytest.fixture(scope="module")
def page():
    return evaluate_threats(brightness_of, DATA, "linf:0.1,brightness:0.125,l0:1", name="mean", check=False)


def test_each_threat_has_its_report_with_its_own_attacks(page):
    norms = {report.threat.norm: report for report in page.reports}
    assert list(norms) == ["linf", "brightness", "l0"]
    assert norms["linf"].rows[0].name == "APGD-CE"
    assert norms["linf"].robust_accuracy == pytest.approx(4 / 6)
    assert norms["brightness"].robust_accuracy == pytest.approx(3 / 6)
    # One pixel of 16 takes 0.53 / 16 = 0.033 from the mean 0.53, which falls; 0.55 / 16 is too little for 0.45.
    assert norms["l0"].broken.tolist() == [True, False, False, False, False, False]
    assert all(report.verdict is None for report in page.reports)


def test_the_union_counts_what_withstands_every_threat(page):
    (section,) = page.sections
    assert [row[0].partition(",")[0] for row in section.table.rows] == ["linf", "brightness", "l0", "union"]
    assert section.table.rows[-1][1] == "50.0%"
    rotated = evaluate_threats(brightness_of, DATA, [Threat("rotation", 20)], check=False).reports[0]
    # Turning brings in black corners, which darken: the images above the middle that are near it fall.
    assert set(np.flatnonzero(rotated.broken)) <= {0, 2, 4}
    both = union([page.reports[0], rotated])
    assert both.rows[-1][0] == "union"
    assert float(both.rows[-1][1].rstrip("%")) <= 66.7


def test_a_norm_is_checked_and_what_is_no_norm_is_not():
    page = evaluate_threats(brightness_of, DATA, "l2:0.4,brightness:0.1")
    assert [report.verdict is not None for report in page.reports] == [True, False]


def test_unknown_threats_are_refused():
    with pytest.raises(UserError, match="norm of a threat"):
        evaluate_threats(brightness_of, DATA, "fog:3")
