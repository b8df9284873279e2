"""The work for the theorems: each number against what is known of it without simulation."""

import numpy as np
import pytest

from tfadv.reproduction.studies.feature_smoothing_closed_forms import appendix, large_samples, moments
from tfadv.reproduction.study import Context


@pytest.fixture
def context(tmp_path):
    return Context(tmp_path, tmp_path, None, lambda line: None)


def test_large_samples_know_where_theorem_41_holds(context):
    """At w = 1 logit squeezing and weight decay vary more than plain logistic regression, at w = 4 less (x far)."""
    methods = {"plain": {}, "squeezing": {"logit_squeezing": 0.1}, "decay": {"weight_decay": 0.01}}
    settings = {"slopes": [0.1, 1.0, 4.0], "methods": methods, "shifted": [[-1, -0.9], [0.6, 0.7]]}
    found = large_samples({**settings, "strengths": {"decay": [0.0, 0.01]}}, context)
    assert found["slopes"] == [0.1, 1.0, 4.0]
    for name in ("squeezing", "decay"):
        assert found["outer"][name][1] > found["outer"]["plain"][1]
        assert found["outer"][name][2] < found["outer"]["plain"][2]
    # Labels that are nearly fair coins, and no boundary left.
    assert found["outer"]["squeezing"][0] is None
    # On [0, 1] the slope is what decay takes, and the variance grows with it at every w.
    assert np.array(found["unit"]["decay"][1:]) == pytest.approx(3.7 * np.array(found["unit"]["plain"][1:]), rel=0.1)
    (none, slope, boundary), (coefficient, shrunk, shifted) = found["shifted"]["decay"]
    assert (none, coefficient) == (0, 0.01)
    assert (slope, boundary) == (pytest.approx(4), pytest.approx(0, abs=1e-6))
    assert shrunk < 3
    assert shifted == pytest.approx(-0.0574, abs=1e-3)


@pytest.mark.parametrize("intercept", [0.0, 1.0])
def test_moments_agree_with_the_information(context, intercept):
    """N var within five standard errors of the whole matrix; the diagonal is enough only where b = 0."""
    law = {"slope": 2.0, "intercept": intercept, "intervals": [[-1.0, 1.0]]}
    found = moments({**law, "size": 1000, "realizations": 300, "seed": 0}, context)
    for name, expected in zip(("weight", "bias", "boundary"), (*found["information"], found["delta"]), strict=True):
        value, error = found[name]
        # A tenth for terms of order 1 / N.
        assert value == pytest.approx(expected, abs=5 * error + 0.1 * expected)
        assert error == pytest.approx(value * np.sqrt(2 / 300), rel=0.5)
    same = np.allclose(found["information"], found["fisher"], rtol=1e-6)
    assert same == (intercept == 0)
    # b^2 / var(1/w) is of the order of N^2.
    assert (found["printed"] > 1000 * found["delta"]) == (intercept != 0)


def test_the_appendix(context):
    found = appendix({"draws": 200, "seed": 0}, context)
    assert found["margin"] == pytest.approx(2.3994, abs=1e-4)
    assert found["derivative"] < 1e-6
    margin, printed, corrected = found["stationary"]
    assert (printed, corrected) == (pytest.approx(-margin), pytest.approx(margin))
    between, broken, others, broken_others = found["sandwich"]
    assert between + others == 199**2
    assert (broken, broken_others) == (0, others)
    assert found["relu"] == found["pool_above"] == found["pool_below"] == found["network_positive"] == 0
    assert found["network"] > 20
    assert found["pool_signed"] > 5
