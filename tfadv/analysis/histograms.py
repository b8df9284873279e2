"""Distributions of several models over one axis."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from tfadv.analysis.batches import check_models
from tfadv.report.charts import Chart, Series

_BINS = 60
# Ends of the axis, unless it is given: the lowest and the highest of these quantiles among the models.
_QUANTILES = (0.01, 0.99)


def histogram(
    title: str,
    x_label: str,
    values: Mapping[str, np.ndarray],
    *,
    of: str,
    span: tuple[float, float] | None = None,
) -> Chart:
    """The shares of each model's values in the bins of one common axis; the title says what lies beyond it.

    Args:
        title: a sentence.
        x_label: the axis, with units.
        values: name of the model -> numbers of any shape; what is infinite or NaN counts, and lies beyond the axis.
        of: what the shares are of, "images", say.
        span: ends of the axis; None takes it from 0, or from the first percentile if that is lower, to the 99th.

    Raises:
        UserError: no model.
    """
    check_models(values)
    flat = {name: np.asarray(each, np.float64).reshape(-1) for name, each in values.items()}
    low, high = span or _span(flat)
    edges = np.linspace(low, high, _BINS + 1)
    series, beyond = {}, []
    for name, each in flat.items():
        counts, _ = np.histogram(each[np.isfinite(each)], edges)
        series[name] = Series(tuple(edges), tuple(counts / len(each)))
        if counts.sum() < len(each):
            beyond.append(f"{name} {1 - counts.sum() / len(each):.2%}")
    if beyond:
        title = f"{title} Beyond the axis or undefined: {', '.join(beyond)}."
    return Chart(title, x_label, f"share of {of}", series, kind="histogram", percent=True)


def _span(values: Mapping[str, np.ndarray]) -> tuple[float, float]:
    finite = [each[np.isfinite(each)] for each in values.values() if np.isfinite(each).any()]
    ends = np.array([np.quantile(each, _QUANTILES) for each in finite]).reshape(-1, 2)
    low, high = float(ends[:, 0].min(initial=0.0)), float(ends[:, 1].max(initial=0.0))
    return (low, high) if low < high else (low, low + 1.0)
