"""Arrays become lines, and repetitions an interval."""

import numpy as np
import pytest

from tfadv.report.charts import Series
from tfadv.reproduction.studies.lines import line, mean_interval


def test_arrays_become_a_series_of_floats():
    found = line(range(2), np.array([1, 2], np.float32), low=[0, 1], high=(2, 3))
    assert found == Series((0.0, 1.0), (1.0, 2.0), (0.0, 1.0), (2.0, 3.0))
    assert line([1], [2]).low == ()


def test_the_interval_is_students():
    """Mean 2, standard deviation 1, three values: 4.3027 / sqrt(3) to each side."""
    assert mean_interval([1, 2, 3]) == (pytest.approx(2 - 2.4841, abs=1e-4), pytest.approx(2 + 2.4841, abs=1e-4))
