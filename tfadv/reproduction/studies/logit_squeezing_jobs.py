"""MNIST classifiers of "Label smoothing and logit squeezing" (LSQ): how each scale trains them, and what is measured.

Jobs with equal settings are done once, and a classifier is trained once, so the tables and figures share both.
"""

from __future__ import annotations

import pathlib
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np

import tfadv.data
from tfadv import analysis, attacks
from tfadv.attacks.transfer import transfer
from tfadv.experiments.logit_squeezing_mnist import BATCH, EPSILON, STRONG, WEAK, name
from tfadv.models import load
from tfadv.report.values import pack, unpack
from tfadv.reproduction.jobs import experiment_of, measure, share, trained_run
from tfadv.reproduction.runs import read_json, seconds_of_training
from tfadv.reproduction.study import Context, Job

# The reading of equation 5 that the rows of table 5 and the figures take; `logit_squeezing_table5` has the evidence.
READING = BATCH
MOST, SOME, MADRY = 400_000, 100_000, 100_000  # steps, as printed; of adversarial training as in the authors' program
LAYERS = ("penultimate", "logits")

_ROW_STEPS = 10_000
_ADVERSARIAL_STEPS = 2_500
_ORDERED = 1_000  # order statistics that stand for a distribution
_TRAIN_LOOK = 10_000  # training images of the column "Train" below scale paper
_TINY: dict[str, Any] = {"dataset": "digits", "model": "small_cnn", "learning_rate": 1e-3, "precision": "float32"}
# Where adversarial training of the Madry net costs a second for each step and stays at the uniform prediction for the
# first thousands, the small network learns in as many as two cores can do.
_SMALL: dict[str, Any] = {"model": "small_cnn", "learning_rate": 1e-3, "steps": _ADVERSARIAL_STEPS}
_RAMP = {"ramp_steps": 800}
# Of a step on one core, and how many times as much the Madry net takes.
_SECONDS = {"row": 0.026, "small": 0.013, "weak": 0.02, "strong": 0.15}
_MADRY_TIMES = 4.0

Results = Mapping[str, Mapping[str, Any]]
Settings = Mapping[str, Any]


def net(
    scale: str,
    alpha: float,
    beta: float,
    sigma: float,
    steps: int = MOST,
    *,
    short: int = _ROW_STEPS,
    reading: str = READING,
    seed: int = 0,
) -> dict[str, Any]:
    """Which classifier, as settings of `tfadv.reproduction.jobs`; `steps` are those of scale paper."""
    changes: dict[str, Any] = {"steps": {"paper": steps, "short": short}.get(scale, 4)}
    changes |= {"seed": seed} if seed else {}
    return {"experiment": name(alpha, beta, sigma, reading), "changes": {**_tiny(scale), **changes}}


def adversarial(scale: str, kind: str) -> dict[str, Any]:
    """The same of adversarial training, `kind` "strong" or "weak", and of its "natural" twin of equal schedule."""
    experiment = {"strong": STRONG, "weak": WEAK, "natural": name(0, 0, 0)}[kind]
    if scale == "paper":
        return {"experiment": experiment, "changes": {"steps": MADRY}}
    ramp = {} if kind == "natural" else _RAMP
    return {"experiment": experiment, "changes": {**_SMALL, **ramp} if scale == "short" else {**_TINY, "steps": 4}}


def _tiny(scale: str) -> dict[str, Any]:
    return _TINY if scale == "smoke" else {}


def training_seconds(scale: str, trained: Settings) -> float:
    """About how long training takes on one core."""
    kind = {STRONG: "strong", WEAK: "weak"}.get(trained["experiment"])
    if kind is None:
        kind = "small" if trained["changes"].get("model") else "row"
    many = _MADRY_TIMES if scale == "paper" and kind in ("strong", "weak") else 1.0
    return 2.0 if scale == "smoke" else many * trained["changes"]["steps"] * _SECONDS[kind]


def row(settings: Settings, context: Context) -> dict[str, Any]:
    """A row of table 5: `tfadv.reproduction.jobs.measure`, and what it lacks.

    Settings:
        those of `measure`; train_limit: training images that are classified, None for all; black_box: name -> attack,
        crafted on the classifier `source` ({"experiment", "changes"}), which may be None.

    Returns:
        beside what `measure` returns: network, train, test: {"accuracy", "interval"} on training images and on all test
        images; black_box: name -> the same on as many test images as the attacks; logit_norm: mean ||z||_2 of the test
        images.
    """
    found = measure(settings, context)
    experiment = experiment_of(settings)
    model = load(trained_run(settings, context) / "model.keras")
    place = {"data_dir": context.data_dir}
    found["network"] = experiment.model
    for split, limit in (("train", settings["train_limit"]), ("test", None)):
        x, y = tfadv.data.arrays(experiment.dataset, split, limit=limit, **place)
        logits = analysis.logits(model, x)
        found[split] = share(logits.argmax(axis=1) == y)
    found["logit_norm"] = float(np.linalg.norm(logits, axis=1).mean())
    found["black_box"] = {}
    if settings["source"] is not None:
        source = load(trained_run(settings["source"], context) / "model.keras")
        x, y = tfadv.data.arrays(experiment.dataset, "test", limit=settings["limit"], **place)
        for key, values in settings["black_box"].items():
            context.report(f"black-box {key} on {len(x):,} images")
            moved = transfer(source, model, attacks.from_dict(values), x, y, precision=settings["precision"])
            found["black_box"][key] = share(~moved.adversarial)
    return found


def row_job(
    scale: str, key: str, trained: Settings, *, limit: int = 1_000, standard: int = 1_000, black_box: bool = True
) -> Job:
    """A job of `row` with the attacks of table 5; `limit` and `standard` are test images at scale short.

    At scale paper all test images are attacked, and AutoAttack has 1,000 of them.
    """
    full, smoke = scale == "paper", scale == "smoke"
    pgd: dict[str, Any] = {"epsilon": EPSILON, "step_size": 0.01, "steps": 2 if smoke else 40, "keep": "last"}
    attacked = {
        "X-ent": attacks.Pgd(**pgd),
        "CW": attacks.Pgd(**pgd, objective="margin"),
        "FGSM": attacks.Fgm(EPSILON),
    }
    elsewhere = {
        "FGSM": attacks.Fgm(EPSILON, objective="margin"),
        "PGD": attacks.Pgd(**pgd, objective="margin", random_start=False),
    }
    settings = {
        **trained,
        "attacks": {what: attacks.to_dict(config) for what, config in attacked.items()},
        "black_box": {what: attacks.to_dict(config) for what, config in elsewhere.items()} if black_box else {},
        "source": net(scale, 0, 0, 0, seed=1) if black_box else None,
        "limit": None if full else 40 if smoke else limit,
        "train_limit": None if full else 100 if smoke else _TRAIN_LOOK,
        "standard": 0 if smoke else standard and (1_000 if full else standard),
        "epsilon": EPSILON,
        "precision": "auto",
    }
    images = 10_000 if full else limit
    robust = trained["experiment"] == STRONG
    attacking = 0.0065 * images * (3 if black_box else 2) + (0.6 if robust else 0.05) * standard + 35
    return Job(key, row, settings, 4.0 if smoke else training_seconds(scale, trained) + attacking)


def adversarial_row(scale: str, kind: str, key: str) -> Job:
    """The job of `row` of an adversarially trained net or its natural twin: the last row of table 5, and table 1."""
    return row_job(scale, key, adversarial(scale, kind))


def look(settings: Settings, context: Context) -> dict[str, Any]:
    """What the figures show of one classifier: its logits, their gradients, and its active units.

    Settings:
        experiment, changes: which. limit: test images for the gradients, None for all.

    Returns:
        step, seconds_of_training, network; count: images of the gradients; of the following quantities over all images
        and (wrong) classes, `ordered` values in "values" and medians in "median": logit |z_k|, logit_gap |z_y - z_k|,
        gradient_gap ||gradient of z_y - gradient of z_k||_1, step (their quotient, signed), coherence (cosine of those
        gradients), gradient_norm ||gradient of z_k||_1; activations: layer -> {"mean", "largest"} of its units, on
        all `images` of the test set.
    """
    run = trained_run(settings, context)
    experiment = experiment_of(settings)
    model = load(run / "model.keras")
    x, y = tfadv.data.arrays(experiment.dataset, "test", data_dir=context.data_dir, limit=settings["limit"])
    gaps = analysis.gaps(model, x, y)
    quantities = {
        "logit": np.abs(gaps.logits),
        "logit_gap": np.abs(gaps.logit_gap),
        "gradient_gap": gaps.gradient_gap,
        "step": gaps.steps,
        "coherence": gaps.coherence,
        "gradient_norm": gaps.gradient_norms,
    }
    every, _ = tfadv.data.arrays(experiment.dataset, "test", data_dir=context.data_dir)
    activations = {layer: analysis.activations(model, every, layer) for layer in LAYERS}
    return {
        **_training(settings, run),
        "count": len(x),
        "values": {key: pack(ordered(values)) for key, values in quantities.items()},
        "median": {key: float(np.median(values[np.isfinite(values)])) for key, values in quantities.items()},
        "images": len(every),
        "activations": {
            layer: {"mean": pack(each.mean), "largest": pack(each.largest)} for layer, each in activations.items()
        },
    }


def look_job(scale: str, key: str, trained: Settings) -> Job:
    """A job of `look` at 5,000 test images, at scale paper at all."""
    limit = {"paper": None, "short": 5_000}.get(scale, 40)
    looking = 3.0 if scale == "smoke" else 0.0025 * (limit or 10_000) + 15
    return Job(key, look, {**trained, "limit": limit}, training_seconds(scale, trained) + looking)


def linear(settings: Settings, context: Context) -> dict[str, Any]:
    """Table 1: the accuracy that equation 4 predicts, and that under FGSM.

    Settings:
        experiment, changes: which classifier. epsilons. limit: test images, None for all.

    Returns:
        step, seconds_of_training, network, count, epsilons; predicted, predicted_in_box, cross_entropy, margin:
        accuracies, for each epsilon.
    """
    run = trained_run(settings, context)
    experiment = experiment_of(settings)
    x, y = tfadv.data.arrays(experiment.dataset, "test", data_dir=context.data_dir, limit=settings["limit"])
    found = analysis.predicted_accuracy(load(run / "model.keras"), x, y, settings["epsilons"])
    return {
        **_training(settings, run),
        "count": len(x),
        "epsilons": list(settings["epsilons"]),
        "predicted": found.predicted.tolist(),
        "predicted_in_box": found.predicted_in_box.tolist(),
        **{objective: shares.tolist() for objective, shares in found.measured.items()},
    }


def _training(settings: Settings, run: pathlib.Path) -> dict[str, Any]:
    return {
        "step": read_json(run / "metrics.json")["step"],
        "seconds_of_training": seconds_of_training(run),
        "network": experiment_of(settings).model,
    }


def ordered(values: np.ndarray, count: int = _ORDERED) -> np.ndarray:
    """`count` order statistics at evenly spaced ranks: values that have the distribution of all, to 1 / count.

    Infinite and undefined values keep their share; they come last.
    """
    flat = np.sort(np.asarray(values, np.float32), axis=None)
    return flat[((np.arange(count) + 0.5) * len(flat) / count).astype(int)]


def activations_of(found: Settings, layer: str) -> analysis.Activations:
    """What `look` kept of a layer."""
    kept = found["activations"][layer]
    return analysis.Activations(layer, unpack(kept["mean"]), unpack(kept["largest"]))


def schedule(found: Settings, steps: int) -> str:
    """How what `row`, `look` or `linear` trained falls short of `steps` of the Madry net; "" where it does not."""
    parts = [f"{100 * found['step'] / steps:.2g}% of the schedule"] if found["step"] < steps else []
    parts += [f"network {found['network']}"] if found["network"] != "madry_mnist" else []
    return ", ".join(parts)


def mark(holds: bool, schedules: Iterable[str]) -> str:
    """Of a claim that one seed shows: comparable only where all of `schedule` are empty."""
    if any(schedules):
        return "not comparable"
    return "reproduced" if holds else "depends"
