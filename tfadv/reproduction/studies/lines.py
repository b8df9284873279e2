"""A line of a chart from arrays, and the interval of a mean over repetitions."""

from __future__ import annotations

from typing import Any

import numpy as np
from scipy.stats import t as student

from tfadv.report.charts import Series


def line(x: Any, y: Any, low: Any = (), high: Any = ()) -> Series:
    """`Series` of anything that NumPy reads as sequences of numbers."""
    return Series(*(tuple(np.asarray(part, np.float64).tolist()) for part in (x, y, low, high)))


def mean_interval(values: Any) -> tuple[float, float]:
    """Student's 95% interval of the mean of independent values [R], R >= 2."""
    found = np.asarray(values, np.float64)
    half = float(student.ppf(0.975, len(found) - 1) * found.std(ddof=1) / np.sqrt(len(found)))
    return float(found.mean()) - half, float(found.mean()) + half
