"""Theorem 1 and corollary 1: the algebra by hand, the bounds against drawn classifiers."""

import numpy as np
import pytest

from tfadv.reproduction import gallery, plan
from tfadv.reproduction.studies import avmixup_theory as theory
from tfadv.reproduction.studies.avmixup_theory import (
    ERRORS,
    equal_epsilon,
    margin,
    measure_errors,
    printed_epsilon,
    slope,
)
from tfadv.reproduction.study import Context

THEOREM, COROLLARY = theory.STUDIES


@pytest.fixture
def context(tmp_path):
    return Context(tmp_path, tmp_path, None, lambda line: None)


def test_the_epsilons_by_hand():
    """n = 4, sigma_s = 1, sigma_r = 1/2: m(1) = 3 / 8, m(1/2) = 3 / 6; eq. 5: 3/16, equality: 1/2 - 3/16."""
    assert margin(4, 1.0) == 3 / 8
    assert printed_epsilon(4, 1.0, 0.5) == 3 / 16
    assert equal_epsilon(4, 1.0, 0.5) == 5 / 16
    assert slope(4, 1.0) == 3 / 8


@pytest.mark.parametrize("n", [1, 5, 100])
@pytest.mark.parametrize("sigma_s", [0.3, 2.0])
def test_corollary_1(n, sigma_s):
    """epsilon = pi (sigma_s - sigma_r), 0 at equal variances, and never above where the bounds are equal."""
    sigma_r = np.linspace(0, sigma_s, 9)
    printed = printed_epsilon(n, sigma_s, sigma_r)
    np.testing.assert_allclose(printed, slope(n, sigma_s) * (sigma_s - sigma_r), atol=1e-12)
    assert (printed <= equal_epsilon(n, sigma_s, sigma_r) + 1e-12).all()
    assert equal_epsilon(n, sigma_s, sigma_s) == pytest.approx(0)


def test_at_the_equal_epsilon_the_exponents_are_equal():
    n, sigma_s, sigma_r = 9, 1.5, 0.6
    robust = (margin(n, sigma_r) - equal_epsilon(n, sigma_s, sigma_r)) / sigma_r
    assert robust == pytest.approx(margin(n, sigma_s) / sigma_s)


def test_drawn_classifiers_keep_the_bounds_with_the_promised_probability(context):
    settings = {"d": 30, "n": 4, "sigma_s": 1.0, "ratios": [0.5, 1.0], "draws": 2000, "seed": 0}
    found = measure_errors(settings, context)
    assert found["violated"] == [0, 0]
    for within, promised in zip(found["within"], found["promised"], strict=True):
        assert 0 < promised <= within
    assert found["promised"][1] == pytest.approx((1 - 2 * np.exp(-30 / 16)) ** 2)
    assert found["epsilon"][1] == 0
    # Equal variances: the two bounds and, up to the draws, the two errors are the same.
    assert found["standard_bound"][1] == pytest.approx(found["robust_bound"][1])
    assert found["standard_bound"][1] == pytest.approx(30 * (3 / 8) ** 2 / 2 / np.log(10))
    assert found["standard"][1] == pytest.approx(found["robust"][1], rel=0.1)
    assert found["robust_bound"][0] > found["standard_bound"][0]


def test_the_rendering_of_theorem_1():
    found = {
        "ratios": [0.5, 1.0],
        "epsilon": [0.1, 0.0],
        "standard_bound": [1.0, 1.0],
        "robust_bound": [3.0, 1.0],
        "standard": [4.0, 4.0],
        "robust": [6.0, 4.0],
        "within": [1.0, 0.9],
        "promised": [0.8, 0.7],
        "violated": [0.0, 0.0],
    }
    rendering = THEOREM.render({ERRORS: found})
    assert [row.ours for row in rendering.compared] == [2.0, 0.0]
    assert "by up to 2.00 powers of ten" in rendering.findings[1]
    assert THEOREM.render({}).figures == {}


def test_corollary_1_needs_no_job_and_shows_the_slope():
    assert COROLLARY.jobs("paper") == ()
    rendering = COROLLARY.render({})
    for row in rendering.compared:
        assert row.ours == pytest.approx(row.paper)


def test_smoke(tmp_path):
    found = plan.carry_out(theory.STUDIES, tmp_path, scale="smoke", report=lambda line: None)
    for study in theory.STUDIES:
        rendering = study.render({key: each["result"] for key, each in found[study.key].items()})
        folder = tmp_path / study.key.replace("/", "_")
        gallery.write(study, rendering, found[study.key], "smoke", folder)
        assert (folder / "figure.svg").stat().st_size > 1000
