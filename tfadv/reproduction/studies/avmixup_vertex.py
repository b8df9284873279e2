"""Figure 1 of "Adversarial vertex mixup" (AV): where the adversarial vertex lies, drawn from the method itself."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import tensorflow as tf

from tfadv import attacks
from tfadv.adversarial.avmixup import mixed_images, mixed_labels
from tfadv.attacks import Pgd
from tfadv.report.charts import Chart
from tfadv.reproduction.studies.lines import line
from tfadv.reproduction.study import Context, Job, Rendering, Study

VERTEX = "adversarial vertex"
_LAMBDAS = {"1.0 / 0.1 (with PGD)": (1.0, 0.1), "0.5 / 0.7 (with feature scattering)": (0.5, 0.7)}
_ALPHAS = (0.0, 0.125, 0.375, 0.625, 0.875, 1.0)  # at gamma 2 the adversarial example is at 1 / 2
_LINE = np.linspace(0.0, 1.0, 61)

Results = Mapping[str, Mapping[str, Any]]


def boundary(x: Any) -> Any:
    """Second feature of the drawn classifier's boundary at the first one."""
    return 0.75 - 0.9 * (x - 0.2) ** 2


def _logits(x: tf.Tensor) -> tf.Tensor:
    """Class 1 above the boundary: points [B, 2] -> [B, 2]."""
    height = 8 * (x[:, 1] - boundary(x[:, 0]))
    return tf.stack([-height, height], axis=1)


def draw_vertex(settings: Mapping[str, Any], context: Context) -> dict[str, Any]:
    """Crafts an adversarial example by PGD and mixes as AVmixup does, K = 10 labels.

    Settings:
        x: the point, [2]. epsilon, gamma.

    Returns:
        x, x_adv, vertex: points; mixed: x^ for some alphas, from 0 to 1; labels: name -> weight of the true class in
        y^ for each of them.
    """
    x = tf.constant([settings["x"]], tf.float32)
    epsilon = settings["epsilon"]
    x_adv = attacks.compiled(_logits, Pgd(epsilon, epsilon / 4, 20, random_start=False))(x, np.zeros(1, np.int32))
    alpha = tf.constant(_ALPHAS, tf.float32)
    ends = tf.repeat(x, len(_ALPHAS), axis=0), tf.repeat(x_adv, len(_ALPHAS), axis=0)
    mixed = mixed_images(ends[0], ends[1], alpha, gamma=settings["gamma"], bounds=(0.0, 1.0)).numpy()
    zeros = tf.zeros(len(_ALPHAS), tf.int32)
    labels = {
        name: mixed_labels(zeros, 10, alpha, clean_probability=clean, vertex_probability=far).numpy()[:, 0].tolist()
        for name, (clean, far) in _LAMBDAS.items()
    }
    return {
        "x": x.numpy()[0].tolist(),
        "x_adv": np.asarray(x_adv)[0].tolist(),
        "vertex": mixed[0].tolist(),
        "mixed": mixed.tolist(),
        "labels": labels,
    }


def render(results: Results) -> Rendering:
    """Figure 1, and what the labels do along it."""
    if VERTEX not in results:
        return Rendering()
    found = results[VERTEX]
    x, x_adv, vertex, mixed = (np.array(found[name]) for name in ("x", "x_adv", "vertex", "mixed"))
    reach = np.abs(x_adv - x).max()
    gamma = np.abs(vertex - x).max() / reach
    corners = x + reach * np.array([[-1, -1], [1, -1], [1, 1], [-1, 1], [-1, -1]])
    curve = boundary(_LINE)
    inside = (curve > 0.15) & (_LINE > 0.05)
    points = {"x": x, "adversarial example, x + delta": x_adv, f"adversarial vertex, x + {gamma:.2g} delta": vertex}
    figures = {
        "a": Chart(
            "The adversarial vertex lies in the direction of the adversarial example, gamma times as far.",
            "first feature",
            "second feature",
            {
                "decision boundary": line(_LINE[inside], curve[inside]),
                "epsilon ball (l-infinity)": line(*corners.T),
                "points that AVmixup trains on": line(*mixed[1:-1].T),
                **{name: line([point[0]], [point[1]]) for name, point in points.items()},
            },
        ),
        "b": Chart(
            "Label along that line, ten classes.",
            "alpha (1 at x, 0 at the vertex)",
            "probability of the true class in the label",
            {f"lambda {name}": line(_ALPHAS, values) for name, values in found["labels"].items()},
            percent=True,
        ),
    }
    findings = (
        f"The vertex lies outside the epsilon ball, {gamma:.2g} epsilon from x, and so do the points mixed with alpha "
        f"< {1 - 1 / gamma:.2g}.",
        "With lambda 0.5 / 0.7, the best row of table 6, the label at the vertex is surer than at x.",
    )
    return Rendering(figures=figures, findings=findings)


STUDIES = (
    Study(
        "avmixup/fig1",
        "The adversarial vertex",
        lambda scale: (Job(VERTEX, draw_vertex, {"x": [0.4, 0.5], "epsilon": 0.15, "gamma": 2.0}, 2.0),),
        render,
        (
            "A drawing: the paper's classifier is a sketch, this one is a parabola; gamma = 2 as in the experiments of "
            "table 1. alpha weights the clean end, lambda is the weight of the true class (equation 13).",
        ),
    ),
)
