"""Figure 1: the vertex lies on the line, where equation 12 says, and labels follow equation 13."""

import numpy as np
import pytest

from tfadv.reproduction import gallery, plan
from tfadv.reproduction.studies import avmixup_vertex as study_file
from tfadv.reproduction.studies.avmixup_vertex import VERTEX, boundary, draw_vertex
from tfadv.reproduction.study import Context

(STUDY,) = study_file.STUDIES


@pytest.fixture(scope="module")
def found(tmp_path_factory):
    folder = tmp_path_factory.mktemp("vertex")
    (job,) = STUDY.jobs("paper")
    return draw_vertex(job.settings, Context(folder, folder, None, lambda line: None))


def test_the_vertex_is_twice_as_far(found):
    """x is below the boundary, the adversarial example at a corner of the ball above it."""
    x, x_adv, vertex = (np.array(found[name]) for name in ("x", "x_adv", "vertex"))
    np.testing.assert_allclose(np.abs(x_adv - x), 0.15, atol=1e-6)
    np.testing.assert_allclose(vertex, x + 2 * (x_adv - x), atol=1e-6)
    assert x[1] < boundary(x[0])
    assert x_adv[1] > boundary(x_adv[0])


def test_points_and_labels_lie_between_the_ends(found):
    """alpha = 1 is x with lambda 1; alpha = 0 the vertex with lambda 0.1; a quarter of the way a quarter of both."""
    np.testing.assert_allclose(found["mixed"][-1], found["x"], atol=1e-6)
    np.testing.assert_allclose(found["mixed"][0], found["vertex"], atol=1e-6)
    alphas = np.array(study_file._ALPHAS)
    np.testing.assert_allclose(found["labels"]["1.0 / 0.1 (with PGD)"], 0.1 + 0.9 * alphas, atol=1e-6)
    np.testing.assert_allclose(found["labels"]["0.5 / 0.7 (with feature scattering)"], 0.7 - 0.2 * alphas, atol=1e-6)


def test_the_figure(found, tmp_path):
    rendering = STUDY.render({VERTEX: found})
    series = rendering.figures["a"].series
    ball = series["epsilon ball (l-infinity)"]
    assert max(ball.x) - min(ball.x) == pytest.approx(0.3, abs=1e-6)
    assert (ball.x[0], ball.y[0]) == (ball.x[-1], ball.y[-1])
    assert "adversarial vertex, x + 2 delta" in series
    assert "alpha < 0.5" in rendering.findings[0]
    assert STUDY.render({}).figures == {}
    jobs = plan.carry_out([STUDY], tmp_path, scale="smoke", report=lambda line: None)[STUDY.key]
    gallery.write(STUDY, rendering, jobs, "smoke", tmp_path / "shown")
    assert (tmp_path / "shown" / "figure-a.svg").stat().st_size > 1000
