"""Histograms: shares of all values over one axis, and in words what the axis leaves out."""

import numpy as np
import pytest

from tfadv.analysis.histograms import histogram
from tfadv.validation import UserError


def test_bars_are_shares_of_all_values_and_the_models_share_the_edges():
    """Four of eight values in the lower half of [0, 1]; the other model has all of its two there."""
    chart = histogram(
        "Cosine.",
        "cosine",
        {"a": np.array([[0.1, 0.2, 0.3, 0.4], [0.6, 0.7, 0.8, 0.9]]), "b": np.array([0.1, 0.2])},
        of="pairs",
        span=(0, 1),
    )
    assert chart.kind == "histogram"
    assert chart.percent
    assert chart.y_label == "share of pairs"
    a, b = chart.series["a"], chart.series["b"]
    assert a.x == b.x
    assert (a.x[0], a.x[-1]) == (0, 1)
    assert sum(a.y) == pytest.approx(1)
    assert sum(a.y[: len(a.y) // 2]) == pytest.approx(0.5)
    assert sum(b.y[: len(b.y) // 2]) == pytest.approx(1)
    assert chart.title == "Cosine."


def test_what_is_infinite_undefined_or_far_out_is_counted_in_words():
    """Of 1,000 values three lie beyond: one infinite, one NaN, one ten times as large as the 99th percentile."""
    values = np.concatenate([np.linspace(0, 1, 997), [10, np.inf, np.nan]])
    chart = histogram("L.", "L", {"net": values}, of="images", span=(0, 1))
    assert chart.title == "L. Beyond the axis or undefined: net 0.30%."
    assert sum(chart.series["net"].y) == pytest.approx(0.997)


def test_the_axis_goes_from_zero_to_the_99th_percentile_of_the_widest_model():
    small, large = np.linspace(0, 1, 101), np.linspace(0, 50, 101)
    edges = histogram("x", "x", {"small": small, "large": large}, of="images").series["small"].x
    assert (edges[0], edges[-1]) == (0, pytest.approx(49.5))
    edges = histogram("x", "x", {"both": np.linspace(-1, 1, 101)}, of="images").series["both"].x
    assert (edges[0], edges[-1]) == (pytest.approx(-0.98), pytest.approx(0.98))


@pytest.mark.parametrize("values", [np.zeros(5), np.full(5, np.inf), np.full(5, np.nan)])
def test_equal_or_infinite_values_still_give_a_chart(values):
    chart = histogram("x", "x", {"a": values}, of="images")
    assert sum(chart.series["a"].y) == (1 if np.isfinite(values).all() else 0)


def test_a_chart_of_no_model_is_refused():
    with pytest.raises(UserError, match="at least one result"):
        histogram("x", "x", {}, of="images")
