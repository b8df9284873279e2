"""Logistic regression on threes against sevens as "Adversarial training versus weight decay" (WD) trains it, measured.

The work that figures 1 to 7 of sections 3 and 4 share: Adam at 1e-5, batches of 128, no bias, from random or "expert"
weights, with weight decay, adversarial training or binarized weights.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

import tfadv.data
from tfadv import attacks
from tfadv.attacks.pixels import saturate_extremes
from tfadv.data.subset import classes_of
from tfadv.models import expert_weights, logistic_regression
from tfadv.report.values import pack
from tfadv.reproduction.jobs import share
from tfadv.reproduction.study import Context, Job

EPSILON = 0.25
SCALE = 100.0  # of the fast gradient in 2-norm
EPSILONS = tuple(round(0.02 * at, 2) for at in range(26))
PIXELS = tuple(range(51))
RATE, BATCH = 1e-5, 128
SIDE = (28, 28, 1)

# The program begins batch `step` at image (128 step) % 87, where 87 was meant as the number of batches in an epoch; so
# it sees the first 214 of its 11,353 images.
_STARTS = 87
WINDOW = _STARTS - 1 + BATCH
_BINS, _CHECKED = 60, 1000
_LEAST = np.finfo(np.float32).tiny

# Settings of a recipe. l1, l2: constants as in the authors' program, l1 mean |w| and (l2 / 2) ||w||_2^2. epsilon and
# scale: of training on fast gradient steps, scale None is FGSM; 0 leaves it out. label: from which the step leads away.
# bits: 1 for binarized weights. batches: "all" images, reshuffled in every epoch, or the program's "window".
_PLAIN: dict[str, Any] = {
    "start": "random",
    "l1": 0.0,
    "l2": 0.0,
    "epsilon": 0.0,
    "scale": None,
    "label": "true",
    "bits": 32,
    "batches": "all",
    "seed": 0,
}


def recipe(scale: str, /, *steps: int, **changes: Any) -> dict[str, Any]:
    """Settings of `logistic`: plain training with `changes`, of which the weights after each of `steps` are kept."""
    smoke = scale == "smoke"
    kept = [10 * (number + 1) * (step > 0) for number, step in enumerate(steps)] if smoke else list(steps)
    return {**_PLAIN, "dataset": "digits" if smoke else "mnist_3v7", "steps": kept, **changes}


def job(scale: str, key: str, /, *steps: int, **changes: Any) -> Job:
    """A job of `logistic`, with its seconds: a step of adversarial training takes twice as long as one without."""
    thousands = max(steps) / 1000
    seconds = 10 + thousands * (0.4 if changes.get("epsilon") else 0.2)
    return Job(key, logistic, recipe(scale, *steps, **changes), 1.0 if scale == "smoke" else seconds)


def threes_and_sevens(dataset: str, split: str, data_dir: str | None) -> tuple[np.ndarray, np.ndarray]:
    """x float32 [N, 784] in [0, 1]; y [N], 1 for a three and 0 for a seven; of "mnist_3v7", or of "digits"."""
    x, y = tfadv.data.arrays(dataset, split, data_dir=data_dir)
    if dataset == "digits":
        x, y = classes_of(x, y, (7, 3))
    return x.reshape(len(x), -1), np.asarray(y)


def weights(settings: Mapping[str, Any], context: Context) -> dict[int, np.ndarray]:
    """Trains as a recipe says; step -> w, float32 [784], binarized where the recipe says so."""
    x, y = threes_and_sevens(settings["dataset"], "train", context.data_dir)
    if settings["start"] == "expert":
        w = expert_weights(x, y)
    else:
        w = np.ravel(logistic_regression(seed=settings["seed"]).get_weights()[0])
    kept = {}
    for step, found in enumerate(_descent(w, x, y, settings)):
        if step in settings["steps"]:
            kept[step] = _used(found, settings["bits"])
        if step == max(settings["steps"]):
            break
    return kept


def _descent(w: np.ndarray, x: np.ndarray, y: np.ndarray, settings: Mapping[str, Any]) -> Iterator[np.ndarray]:
    """The weights after 0, 1, 2, ... steps of Adam; single precision, as the program's."""
    l1, l2 = np.float32(settings["l1"] / w.size), np.float32(settings["l2"])
    w, mean, square = w.astype(np.float32), np.zeros_like(w), np.zeros_like(w)
    for step, rows in enumerate(_batches(len(x), settings["batches"], settings["seed"]), start=1):
        yield w
        used, images, labels = _used(w, settings["bits"]), x[rows], y[rows]
        if settings["epsilon"]:
            away = labels if settings["label"] == "true" else images @ used > 0
            images = stepped(images, away, used, settings["epsilon"], settings["scale"])
        # sigmoid(z) = (1 + tanh(z / 2)) / 2 cannot overflow.
        slope = (0.5 + 0.5 * np.tanh(0.5 * (images @ used)) - labels).astype(np.float32) / np.float32(len(labels))
        # The slope of a binarized weight is passed on as if it were the weight itself.
        gradient = slope @ images + l1 * np.sign(w) + l2 * w
        mean += np.float32(0.1) * (gradient - mean)
        square += np.float32(0.001) * (gradient * gradient - square)
        # Pixels that are always black: their averages would fade through subnormal numbers, which are slow.
        mean[np.abs(mean) < _LEAST] = 0
        square[square < _LEAST] = 0
        rate = np.float32(RATE * np.sqrt(1 - 0.999**step) / (1 - 0.9**step))
        w = w - rate * mean / (np.sqrt(square) + np.float32(1e-8))


def _used(w: np.ndarray, bits: int) -> np.ndarray:
    """The weights that act: w, or with one bit the signs times the mean |w|."""
    return np.sign(w) * np.abs(w).mean() if bits == 1 else w


def _batches(count: int, way: str, seed: int) -> Iterator[Any]:
    draw, step = np.random.RandomState(seed), 0
    while True:
        if way == "window":
            # A block of its own for each seed.
            first = seed * WINDOW % max(count - WINDOW, 1) + step * BATCH % _STARTS
            yield slice(first, first + BATCH)
            step += 1
            continue
        order = draw.permutation(count)
        for first in range(0, count - BATCH + 1, BATCH):
            yield order[first : first + BATCH]


def stepped(x: np.ndarray, y: np.ndarray, w: np.ndarray, epsilon: float, scale: float | None) -> np.ndarray:
    """The fast gradient step away from y, clipped to [0, 1]; FGSM, or its scaled form in 2-norm, clipped to +-epsilon.

    The gradient of the loss is a negative multiple of (2y - 1) w. It is taken exactly: in single precision it would be
    0 for an image that is classified with great confidence, and underflow where w is minute.
    """
    away = np.where(np.asarray(y, bool), np.float32(-1), np.float32(1))[:, None]
    return np.clip(x + away * perturbation(w, epsilon, scale), 0, 1)


def perturbation(w: np.ndarray, epsilon: float, scale: float | None) -> np.ndarray:
    """The step of `stepped` from a seven, before it is clipped to the box; from a three it is the opposite."""
    if scale is None:
        return (epsilon * np.sign(w)).astype(np.float32)
    return np.clip(scale * w / max(float(np.linalg.norm(w)), float(_LEAST)), -epsilon, epsilon).astype(np.float32)


def underflowing(x: np.ndarray, y: np.ndarray, w: np.ndarray, epsilon: float) -> float:
    """Mean ||x_adv - x||_2 of FGSM where the gradient of the mean loss over all images is stored in single precision.

    The gradient of one image is (sigma(z) - y) w / N, and an entry below 1.2e-38 is 0 and has sign 0.
    """
    side = np.where(np.asarray(y, bool), 1.0, -1.0)
    slope = 1 / (1 + np.exp(np.clip(side * (x.astype(np.float64) @ w), -700, 700))) / len(x)
    kept = slope[:, None] * np.abs(w.astype(np.float64)) >= _LEAST
    changed = np.where(kept, stepped(x, y, w, epsilon, None), x)
    return float(np.linalg.norm(changed - x, axis=1).mean())


def fewest_pixels(x: np.ndarray, y: np.ndarray, w: np.ndarray) -> np.ndarray:
    """[N]: how many pixels the strongest l0 attack within [0, 1] has to set; 0 where the image itself is wrong.

    Each pixel lowers the margin (2y - 1) w'x by its own amount, so the largest amounts first are best: the attack
    `tfadv.attacks.ExtremePixels` in closed form. The number of pixels plus one where none suffices.
    """
    side = np.where(np.asarray(y, bool), 1.0, -1.0)[:, None]
    slope = -side * w.astype(np.float64)
    gains = np.where(slope > 0, slope * (1 - x), -slope * x)
    margin = (side * x * w).sum(axis=1)
    lost = np.cumsum(-np.sort(-gains, axis=1), axis=1)
    left = margin[:, None] - np.concatenate([np.zeros_like(lost[:, :1]), lost], axis=1)
    # At 0 the answer is "seven".
    broken = np.where(side > 0, left <= 0, left < 0)
    return np.where(broken.any(axis=1), broken.argmax(axis=1), broken.shape[1])


def right(x: np.ndarray, y: np.ndarray, w: np.ndarray) -> np.ndarray:
    """[N]: whether w'x > 0 exactly for threes."""
    return (x @ w > 0) == (np.asarray(y) == 1)


def measured(w: np.ndarray, x: np.ndarray, y: np.ndarray) -> dict[str, Any]:
    """Shares of correct images with 95% intervals, clean and under attack, distortions, and curves.

    Returns:
        clean, fgsm, fast, saturated: {"accuracy", "interval"} of `tfadv.attacks.Fgm` at epsilon 0.25; the last is FGSM
        by the gradient of the cross-entropy in single precision, which is 0 where the softmax saturates, the others
        go by the margin's. distortion_fgsm, _fast and _saturated: mean ||x_adv - x||_2; distortion_underflow:
        `underflowing`. epsilons, linf: accuracies under FGSM. pixels, extremes: accuracies with so many pixels of the
        largest and as many of the smallest weight set to 1; strongest: under `fewest_pixels`. l1, l2: norms of w;
        large: weights above a tenth of the largest. zero: weights below 1e-20.
    """
    images, model = x.reshape(-1, *SIDE), logistic_regression(weights=w.reshape(SIDE))
    found: dict[str, Any] = {"clean": share(right(x, y, w))}
    for name, objective, scale in (
        ("fgsm", "margin", None),
        ("fast", "margin", SCALE),
        ("saturated", "cross_entropy", None),
    ):
        config = attacks.Fgm(epsilon=EPSILON, objective=objective, scale=scale)
        outcome = attacks.compiled(model, config, precision="float32").run(images, y)
        found[name] = share(~outcome.adversarial)
        found[f"distortion_{name}"] = float(np.linalg.norm((outcome.x_adv - images).reshape(len(x), -1), axis=1).mean())
    fewest = fewest_pixels(x, y, w)
    return {
        **found,
        "distortion_underflow": underflowing(x, y, w, EPSILON),
        "epsilons": list(EPSILONS),
        "linf": [float(right(stepped(x, y, w, epsilon, None), y, w).mean()) for epsilon in EPSILONS],
        "pixels": list(PIXELS),
        "extremes": [float(right(saturate_extremes(x, w, count=count), y, w).mean()) for count in PIXELS],
        "strongest": [float((fewest > count).mean()) for count in PIXELS],
        "l1": float(np.abs(w).sum()),
        "l2": float(np.linalg.norm(w)),
        "large": int((np.abs(w) > 0.1 * np.abs(w).max()).sum()),
        "zero": int((np.abs(w) < 1e-20).sum()),
        "count": len(x),
        "majority": float(max(np.mean(y), 1 - np.mean(y))),
    }


def softplus(z: Any) -> np.ndarray:
    """zeta(z) = log(1 + exp(-z)), the loss at a margin z (WD, equation 1)."""
    return np.logaddexp(0, -np.asarray(z, np.float64))


def margins(w: np.ndarray, x: np.ndarray, y: np.ndarray) -> dict[str, Any]:
    """How the images lie about the boundary, in units of the Euclidean distance d(x) = w'x / ||w||_2 (WD, equation 2).

    Returns:
        l2: ||w||_2. edges: of bins of d. threes, sevens: counts of d. signed: counts of y d, y in {-1, 1}; mean: of it.
        loss: mean zeta(y w'x). equation5, equation7: the largest |difference| of the loss of attacked images, not
        clipped, from zeta(||w|| (y d - epsilon)) at x - epsilon y w / ||w||, with epsilon the mean y d; and from
        zeta(y w'x - epsilon ||w||_1) at x - epsilon y sign(w), with epsilon 0.25.
    """
    w, x, side = w.astype(np.float64), x.astype(np.float64), np.where(y == 1, 1.0, -1.0)
    length = np.linalg.norm(w)
    score = x @ w
    distance = score / length
    reach, center = np.abs(distance).max(), float((side * distance).mean())
    edges = np.linspace(-reach, reach, _BINS + 1)
    few, sign = slice(_CHECKED), side[:_CHECKED, None]
    direct = softplus(side[few] * ((x[few] - center * sign * w / length) @ w))
    signs = softplus(side[few] * ((x[few] - EPSILON * sign * np.sign(w)) @ w))
    plain = side[few] * score[few]
    return {
        "l2": float(length),
        "edges": edges.tolist(),
        "threes": np.histogram(distance[y == 1], edges)[0].tolist(),
        "sevens": np.histogram(distance[y == 0], edges)[0].tolist(),
        "signed": np.histogram(side * distance, edges)[0].tolist(),
        "mean": center,
        "loss": float(softplus(side * score).mean()),
        "equation5": float(np.abs(direct - softplus(length * (plain / length - center))).max()),
        "equation7": float(np.abs(signs - softplus(plain - EPSILON * np.abs(w).sum())).max()),
    }


def logistic(settings: Mapping[str, Any], context: Context) -> dict[str, Any]:
    """Trains a recipe, and measures it.

    Returns:
        {"kept": [{"step", "weights" (packed, [784]), **measured, "margins"}, ...]}, in the order of the steps; all of
        test images but the margins, which are those of the training images.
    """
    x, y = threes_and_sevens(settings["dataset"], "test", context.data_dir)
    fitted = threes_and_sevens(settings["dataset"], "train", context.data_dir)
    kept = weights(settings, context)
    return {
        "kept": [
            {"step": step, "weights": pack(w), **measured(w, x, y), "margins": margins(w, *fitted)}
            for step, w in kept.items()
        ]
    }
