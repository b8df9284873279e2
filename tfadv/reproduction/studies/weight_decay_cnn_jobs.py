"""The networks of section 6 of "Adversarial training versus weight decay" (WD), shared by figures 8 to 13 and table 2.

CNN and CNN-L2, both trained on PGD, and for each a twin that is trained on images alone.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

import tfadv.data
from tfadv.attacks import Fgm, Pgd
from tfadv.experiments.weight_decay_cifar10 import EPOCH, EPOCHS
from tfadv.models import load
from tfadv.reproduction.jobs import experiment_of, measured, trained_run
from tfadv.reproduction.runs import read_json
from tfadv.reproduction.study import Beside, Context, Job, Work, beside

CNN, CNN_L2 = "CNN", "CNN-L2"
NATURAL, NATURAL_L2 = "CNN natural", "CNN-L2 natural"
DEFENDED, ALL = (CNN, CNN_L2), (CNN, CNN_L2, NATURAL, NATURAL_L2)
EPSILON, STEP = 8 / 255, 2 / 255
FGSM, PGD = "FGSM", "PGD 20-2-8"

# Name -> the experiment with the paper's schedule, and the one for a part of it. A part of it reaches PGD only if PGD
# begins earlier; a natural network of fewer epochs is the same network earlier.
_EXPERIMENTS: Mapping[str, tuple[str, str]] = {
    CNN: ("weight_decay_cifar10/cnn", "defenses_cifar10/cnn_pgd"),
    CNN_L2: ("weight_decay_cifar10/cnn_l2", "defenses_cifar10/cnn_pgd_l2"),
    NATURAL: ("weight_decay_cifar10/cnn_natural", "weight_decay_cifar10/cnn_natural"),
    NATURAL_L2: ("weight_decay_cifar10/cnn_l2_natural", "weight_decay_cifar10/cnn_l2_natural"),
}
# Runs of more steps are continuations of these.
_SHORT_EPOCHS = 15
_SMOKE: Mapping[str, Any] = {"dataset": "digits", "steps": 20}
_SECONDS_NATURAL, _SECONDS_PGD = 0.035, 0.15  # of a step, on one core

READINGS = (
    "CNN and CNN-L2 are both trained on PGD, 7 steps of 2/255 within 8/255, after epochs on images alone; the twins "
    "called natural, which the paper does not have, never see PGD.",
    "Lambda 1e-3 is (lambda / 2) ||w||^2 over all kernels, as in the program (inconsistency I22); the mass of label "
    "smoothing, which is not printed, is 0.1, that of the tutorials which the program grew from; the learning rate, "
    "1e-3 'initially', is constant, since no decay is printed.",
    "Scale short trains for a part of the 250 epochs and begins with PGD after 3 of them instead of 50: such numbers "
    "are not comparable with the printed ones, and the difference is the training's.",
    "The authors' published weights of CNN-L2, measured here: 69.2% clean, 20.5% under PGD 20-2-8 away from the label; "
    "AutoAttack leaves 15.5% (10.8 to 21.3) of 200 images, trusted.",
    "WRN and WRN-Nat are the networks of Madry et al. (inconsistency I26); they are not run, and their printed numbers "
    "stand in the findings.",
)

Results = Mapping[str, Mapping[str, Any]]


def net(scale: str, name: str) -> dict[str, Any]:
    """What `tfadv.reproduction.jobs.trained_run` makes the network of this name by."""
    printed, early = _EXPERIMENTS[name]
    if scale == "paper":
        return {"experiment": printed, "changes": {}}
    return {"experiment": early, "changes": dict(_SMOKE) if scale == "smoke" else {"steps": _SHORT_EPOCHS * EPOCH}}


def evaluations(scale: str, names: Sequence[str] = ALL) -> tuple[Job, ...]:
    """Jobs "NAME, evaluated": clean, FGSM and PGD at 8/255 away from the label, and AutoAttack with a verdict."""
    smoke = scale == "smoke"
    attacks = {
        FGSM: Fgm(EPSILON),
        PGD: Pgd(EPSILON, STEP, 2 if smoke else 20, keep="last"),
    }
    epochs = EPOCHS if scale == "paper" else _SHORT_EPOCHS
    found = []
    for name in names:
        given = net(scale, name)
        seconds = epochs * EPOCH * (_SECONDS_PGD if name in DEFENDED else _SECONDS_NATURAL) + 60
        found.append(
            measured(
                f"{name}, evaluated",
                given["experiment"],
                5.0 if smoke else seconds + (400 if name in DEFENDED else 60),
                changes=given["changes"],
                attacks=attacks,
                limit=20 if smoke else None,
                standard=0 if smoke else 1000,
                epsilon=EPSILON,
            )
        )
    return tuple(found)


def job(scale: str, key: str, work: Work, name: str, seconds: float, **settings: Any) -> Job:
    """A job on one of the networks; `seconds` without its training, which is counted where it is evaluated."""
    return Job(key, work, {**net(scale, name), **settings}, 2.0 if scale == "smoke" else seconds)


def trained_net(settings: Mapping[str, Any], context: Context) -> tuple[Any, int]:
    """The trained classifier and its number of training steps."""
    run = trained_run(settings, context)
    return load(run / "model.keras"), int(read_json(run / "metrics.json")["step"])


def images(settings: Mapping[str, Any], context: Context, limit: int | None = None) -> tuple[np.ndarray, np.ndarray]:
    """Test images and labels of the data set that the network was trained on; a stratified subset under `limit`."""
    return tfadv.data.arrays(experiment_of(settings).dataset, "test", data_dir=context.data_dir, limit=limit)


def schedule(step: int) -> str:
    """How much of the paper's training a network had; "" if all of it."""
    share = step / (EPOCHS * EPOCH)
    return "" if share >= 1 else f"{100 * share:.2g}% of the schedule"


def standing(results: Results, names: Sequence[str] = ALL) -> list[str]:
    """A sentence for each evaluated network: what it was trained, and what the paper's attacks and AutoAttack leave."""
    sentences = []
    for name in names:
        found = results.get(f"{name}, evaluated")
        if found is None:
            continue
        words = f"{name}: {found['step'] / EPOCH:.3g} epochs"
        if part := schedule(found["step"]):
            words += f" ({part})"
        words += f", clean {100 * found['clean']['accuracy']:.1f}%"
        words += "".join(f", {key} {100 * value['accuracy']:.1f}%" for key, value in found["attacks"].items())
        if strong := found.get("standard"):
            low, high = (100 * end for end in strong["interval"])
            words += (
                f"; AutoAttack leaves {100 * strong['accuracy']:.1f}% ({low:.1f} to {high:.1f}) of "
                f"{strong['count']:,} images, {strong['verdict']}"
            )
        sentences.append(f"{words}.")
    return sentences


def lines_beside(results: Results) -> tuple[Beside, ...]:
    """What PGD 20-2-8 and what AutoAttack leaves of each network; the paper prints neither, it draws curves."""
    found = {name: results[key] for name in ALL if (key := f"{name}, evaluated") in results}
    return tuple(
        beside(
            f"{name} (WD, CIFAR-10)",
            PGD,
            None,
            100 * each["attacks"][PGD]["accuracy"],
            each["standard"],
            schedule(each["step"]) or "the paper's schedule",
        )
        for name, each in found.items()
        if "standard" in each
    )
