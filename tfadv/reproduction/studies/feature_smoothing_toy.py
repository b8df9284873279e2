"""FS, figure 1: two features, a true boundary and an estimated one, for four training sets.

The paper's figure is a drawing. Here the points are samples and the lines are fits of logistic regression; and because
one sample shows anything, 1,000 of them say how often the picture is right.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from tfadv.analysis.logistic import Fit, fit, separable, sigmoid
from tfadv.analysis.logistic_samples import Samples, adversarial, noisy, realizations, summary
from tfadv.data.spec import Arrays
from tfadv.report.charts import Chart, Series
from tfadv.reproduction.study import Compared, Context, Job, Rendering, Study

_SIZE = 40
_GAP = 0.35
_SLOPE = 6.0
_ALPHA = 0.3
_EPSILON = 0.25
_STDDEV = 0.25
_ROUNDS = 10
_LINE = 160  # points that draw a solid line; every fourth draws a dashed one
_GRID = 41
NORMAL = np.array([1.0, 1.0]) / np.sqrt(2)

ORIGINAL, ADVERSARIAL, BETWEEN, NOISE = "original data", "adversarial examples", "between classes", "Gaussian noise"
_PANELS = {
    "a": (ORIGINAL, "The original data."),
    "b": (ADVERSARIAL, "Adversarial examples added."),
    "c": (BETWEEN, "Points between the classes added."),
    "d": (NOISE, "Gaussian noise on the input."),
}


def sample(seed: int) -> Arrays:
    """40 points of the square [-1, 1]^2 at a distance above 0.35 from the line x_1 + x_2 = 0, and their labels.

    P(y = 1) = sigmoid(6 d), d the signed distance from the line: the data are thin where the boundary is.
    """
    draw = np.random.RandomState(seed)
    points = draw.uniform(-1, 1, size=(40 * _SIZE, 2))
    x = points[np.abs(points @ NORMAL) > _GAP][:_SIZE]
    return x.astype(np.float32), (draw.uniform(size=_SIZE) < sigmoid(_SLOPE * x @ NORMAL)).astype(np.int32)


def between(x: np.ndarray, y: np.ndarray, seed: int) -> Samples:
    """Adds to every point (1 - alpha) x_i + alpha x_j with the label y_i, x_j a random point of the other class."""
    draw = np.random.RandomState(seed)
    other = np.empty(y.shape, int)
    for row, labels in enumerate(y):
        for label in (0, 1):
            rivals = np.flatnonzero(labels != label)
            own = np.flatnonzero(labels == label)
            other[row, own] = draw.choice(rivals, len(own)) if len(rivals) else own
    points = (1 - _ALPHA) * x + _ALPHA * np.take_along_axis(x, other[..., None], axis=1)
    return Samples(np.concatenate([x, points], axis=1), np.concatenate([y, y], axis=1).astype(float))


def training_sets(x: np.ndarray, y: np.ndarray, seed: int) -> dict[str, tuple[Samples, Fit]]:
    """Name of the panel -> what is trained on, [R, N or 2 N, 2], and its fit."""
    original = Samples(x, y.astype(float))
    attacked, fitted = original, fit(*original)
    for _ in range(_ROUNDS):
        attacked = adversarial(original, fitted, epsilon=_EPSILON)
        fitted = fit(*attacked)
    mixed = between(x, y, seed)
    noised = noisy(original, stddev=_STDDEV, bounds=(-1.0, 1.0), seed=seed)
    return {
        ORIGINAL: (original, fit(*original)),
        ADVERSARIAL: (attacked, fitted),
        BETWEEN: (mixed, fit(*mixed)),
        NOISE: (noised, fit(*noised)),
    }


def wrong_area(found: Fit) -> np.ndarray:
    """[R]: share of the square [-1, 1]^2 on the wrong side of the estimated boundary."""
    line = (np.arange(_GRID) + 0.5) / _GRID * 2 - 1
    points = np.stack(np.meshgrid(line, line), axis=-1).reshape(-1, 2)
    estimated = found.weights @ points.T + found.biases[:, None] > 0
    # Points on the true line itself are on either side.
    sides = points @ NORMAL
    return (estimated != (sides > 0))[:, np.abs(sides) > 1e-9].mean(axis=1)


def toy(settings: Mapping[str, Any], context: Context) -> dict[str, Any]:
    """Settings: realizations, seed.

    Returns:
        separable: share; areas: panel -> `summary` of the wrong share of the square, with "ratio" of its mean to that
        of the original data, [ratio, low, high]; shown: number of the sample whose area under the original data is the
        median; panels: of that sample, panel -> {"x", "y", "line": [w_1, w_2, b], "area"}.
    """
    x, y = realizations(sample, settings["realizations"], settings["seed"])
    sets = training_sets(x, y, settings["seed"])
    areas = {name: wrong_area(found) for name, (_, found) in sets.items()}
    plain = areas[ORIGINAL]
    shown = int(np.argsort(plain, kind="stable")[len(plain) // 2])
    return {
        "separable": float(separable(x, y).mean()),
        "areas": {name: {**summary(each), "ratio": _mean_ratio(each, plain)} for name, each in areas.items()},
        "shown": shown,
        "panels": {
            name: {
                "x": np.round(samples.x[shown], 4).tolist(),
                "y": samples.targets[shown].tolist(),
                "line": [*found.weights[shown].tolist(), float(found.biases[shown])],
                "area": float(areas[name][shown]),
            }
            for name, (samples, found) in sets.items()
        },
    }


def _mean_ratio(values: np.ndarray, base: np.ndarray) -> list[float]:
    """mean(values) / mean(base), and the ends of its 95% paired bootstrap interval."""
    chosen = np.random.RandomState(0).randint(len(values), size=(500, len(values)))
    ratios = values[chosen].mean(axis=1) / base[chosen].mean(axis=1)
    return [float(values.mean() / base.mean()), *map(float, np.percentile(ratios, [2.5, 97.5]))]


def _jobs(scale: str) -> tuple[Job, ...]:
    count = 20 if scale == "smoke" else 1000
    return (Job("toy", toy, {"realizations": count, "seed": 0}, 10 * count / 1000),)


def _boundary(normal: Any, offset: float, every: int) -> Series:
    """Points of the line normal . x + offset = 0 within the square."""
    normal = np.asarray(normal, np.float64)
    length = np.linalg.norm(normal)
    along = np.array([-normal[1], normal[0]]) / length
    points = -offset * normal / length**2 + np.linspace(-3, 3, 3 * _LINE)[::every, None] * along
    inside = points[(np.abs(points) <= 1).all(axis=1)]
    return Series(tuple(inside[:, 0]), tuple(inside[:, 1]))


def _chart(title: str, panel: Mapping[str, Any]) -> Chart:
    points, labels = np.array(panel["x"]), np.array(panel["y"])
    first = np.arange(len(labels)) < _SIZE
    # First, so that the lines have the same colors in every panel.
    series = {
        "true boundary": _boundary(NORMAL, 0.0, 4),
        "estimated boundary": _boundary(panel["line"][:2], panel["line"][2], 1),
    }
    for name, chosen in {
        "class 0": first & (labels == 0),
        "class 1": first & (labels == 1),
        "added, class 0": ~first & (labels == 0),
        "added, class 1": ~first & (labels == 1),
    }.items():
        if chosen.any():
            series[name] = Series(tuple(points[chosen, 0]), tuple(points[chosen, 1]))
    return Chart(title, "x_1", "x_2", series, kind="points")


def _render(results: Mapping[str, Mapping[str, Any]]) -> Rendering:
    if "toy" not in results:
        return Rendering()
    found = results["toy"]
    figures, rows, findings = {}, [], [f"{found['separable']:.1%} of the samples are separable."]
    for panel, (name, title) in _PANELS.items():
        shown, area = found["panels"][name], found["areas"][name]
        share = f"{100 * shown['area']:.1f}% of the square is on the wrong side."
        figures[panel] = _chart(f"{title} Here {share}", shown)
        reach = 1.96 * area["standard_error"]
        interval = (100 * (area["mean"] - reach), 100 * (area["mean"] + reach))
        rows.append(
            Compared(f"({panel}) {name}: mean wrong share of the square", None, 100 * area["mean"], "%", interval)
        )
        if name != ORIGINAL:
            ratio, low, high = area["ratio"]
            word = "smaller" if high < 1 else "larger" if low > 1 else "not clearly different"
            findings.append(
                f"({panel}) {name}: the mean wrong share is {word}, {ratio:.2f} times that of the original data "
                f"({low:.2f} to {high:.2f})."
            )
    return Rendering(tuple(rows), figures, tuple(findings))


STUDY = Study(
    "feature_smoothing/fig1",
    "Toy examples of a boundary and its estimates",
    _jobs,
    _render,
    (
        "A drawing in the paper, without numbers. Law chosen here: 40 points of [-1, 1]^2 farther than 0.35 from the "
        "line x_1 + x_2 = 0, P(y = 1) = sigmoid(6 d), d the signed distance from it.",
        "Adversarial examples at epsilon = 0.25 in 2-norm, made anew from each of 10 fits; points between classes with "
        "alpha = 0.3, one for each point; noise of standard deviation 0.25, clipped to the square.",
        "Shown is the sample whose plain fit has the median share of the square on the wrong side.",
    ),
)
