"""Figure 2 of "Adversarial vertex mixup" (AV): accuracy against PGD-10 on held-out images, while training.

The paper sees PGD training overfit from 40,000 of 80,000 steps on, where the rate first falls. At scale short a small
net is trained on 5,000 images of CIFAR-10, until what it answers right under PGD-10 among its training images exceeds
that among held-out images by more than 15 points.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

import tfadv.data
from tfadv import attacks
from tfadv.data.subset import stratified_subset
from tfadv.models import load
from tfadv.report.charts import Chart, Series
from tfadv.report.records import clopper_pearson
from tfadv.reproduction.jobs import experiment_of
from tfadv.reproduction.runs import read_json, short_hash, trained
from tfadv.reproduction.studies import avmixup_trained as av
from tfadv.reproduction.studies.lines import line
from tfadv.reproduction.study import Claim, Context, Job, Rendering, Study
from tfadv.training.runner import ROBUST

NETS = (av.PGD, av.LS08, av.AVMIXUP)
GAP = 0.15  # of the PGD net, in shares
_ROOM = 0.03  # below the best look, in shares: more than 1,000 images differ by chance


def follow(settings: Mapping[str, Any], context: Context) -> dict[str, Any]:
    """Trains, and measures training images beside the validation at every look.

    Settings:
        experiment, changes: as in `jobs.experiment_of`; it has a validation. validation: changes to that. images: of
        the training set, a stratified subset, for the other side.

    Returns:
        step: trained; steps: of the looks; held_out, count: images on either side; "validation", "train": accuracy
        under the validation's attack, "clean": of the held-out images as they are; a list each.
    """
    experiment = experiment_of(settings)
    assert experiment.validation is not None, "of experiments with a validation"
    validation = dataclasses.replace(experiment.validation, **settings["validation"])
    experiment = dataclasses.replace(experiment, validation=validation)
    unbounded = dataclasses.replace(experiment, steps=1)
    folder = context.runs / f"{settings['experiment'].replace('/', '_')}-curve-{short_hash(repr(unbounded))}"
    label = settings["experiment"]
    trained(
        experiment,
        folder,
        label=label,
        report=context.report,
        data_dir=context.data_dir,
        keep_every=validation.every,
    )
    x, y = tfadv.data.arrays(experiment.dataset, "train_fit", data_dir=context.data_dir, limit=experiment.limit)
    kept = stratified_subset(y, min(settings["images"], len(y)), 0)
    x, y = x[kept], y[kept]
    held_out = tfadv.data.arrays(experiment.dataset, "validation", data_dir=context.data_dir, limit=validation.limit)
    rows = av.looks(folder)
    net = load(folder / "model.keras")
    attack, robust = attacks.compiled(net, validation.attack), []
    context.report(f"training images at {len(rows)} looks")
    for row in rows:
        net.set_weights(load(folder / "models" / f"step-{row['step']:07d}.keras").get_weights())
        robust.append(float(1 - attack.run(x, y).adversarial.mean()))
    return {
        "step": read_json(folder / "metrics.json")["step"],
        "steps": [row["step"] for row in rows],
        "held_out": len(held_out[1]),
        "count": len(y),
        "validation": [row[ROBUST] for row in rows],
        "clean": [row["validation_accuracy"] for row in rows],
        "train": robust,
    }


def gaps(found: Mapping[str, Any]) -> list[float]:
    """Training minus held-out accuracy under the attack, look by look."""
    return [train - held for train, held in zip(found["train"], found["validation"], strict=True)]


def overfitted_at(found: Mapping[str, Any]) -> int | None:
    """The first look at which the gap exceeds `GAP`; None where it never does."""
    return next((step for step, gap in zip(found["steps"], gaps(found), strict=True) if gap > GAP), None)


def _line(found: Mapping[str, Any], what: str) -> Series:
    count = found["held_out"]
    ends = [clopper_pearson(round(value * count), count) for value in found[what]]
    return Series(tuple(found["steps"]), tuple(found[what]), *zip(*ends, strict=True))


def _words(net: str, found: Mapping[str, Any]) -> str:
    robust, steps = found["validation"], found["steps"]
    best = max(range(len(robust)), key=robust.__getitem__)
    return (
        f"{net} {100 * robust[best]:.1f}% at best (step {steps[best]:,}), {100 * robust[-1]:.1f}% at step "
        f"{steps[-1]:,}, gap to training images then {100 * gaps(found)[-1]:.1f} points"
    )


def _claim(found: Mapping[str, Mapping[str, Any]]) -> Claim:
    lost = {net: max(each["validation"]) - each["validation"][-1] for net, each in found.items()}
    holds = lost[av.PGD] > _ROOM and lost[av.AVMIXUP] < _ROOM
    words = "; ".join(_words(*each) for each in found.items())
    return av.claim("AV-1", found, tuple(found), holds, f"held-out accuracy under PGD-10: {words}")


def render(results: av.Results) -> Rendering:
    """Validation as in the paper, and the gap between training and held-out images."""
    found = {net: results[net] for net in NETS if results.get(net, {}).get("steps")}
    if not found:
        return Rendering()
    findings = [f"Held-out accuracy under PGD-10: {'; '.join(_words(*each) for each in found.items())}."]
    if av.PGD in found:
        at = overfitted_at(found[av.PGD])
        largest = 100 * max(gaps(found[av.PGD]))
        findings.append(
            f"The gap of PGD training exceeds {100 * GAP:.0f} points from step {at:,} on; {largest:.1f} at most."
            if at is not None
            else f"The gap of PGD training never exceeds {100 * GAP:.0f} points; {largest:.1f} at most."
        )
    count = next(iter(found.values()))["held_out"]
    figures = {
        "a": Chart(
            f"Accuracy under PGD-10 on {count:,} held-out training images.",
            "training steps",
            "accuracy",
            {net: _line(each, "validation") for net, each in found.items()},
            percent=True,
        ),
        "b": Chart(
            "Accuracy under PGD-10 on training images minus that on held-out images.",
            "training steps",
            "points",
            {net: line(each["steps"], [100 * gap for gap in gaps(each)]) for net, each in found.items()},
            rules={"limit": 100 * GAP},
        ),
        "c": Chart(
            f"Clean accuracy on {count:,} held-out training images.",
            "training steps",
            "accuracy",
            {net: _line(each, "clean") for net, each in found.items()},
            percent=True,
        ),
    }
    claims = (_claim(found),) if {av.PGD, av.AVMIXUP} <= set(found) else ()
    return Rendering(figures=figures, findings=tuple(findings), claims=claims, columns=3)


def jobs(scale: str) -> tuple[Job, ...]:
    """PGD, smoothed labels and AVmixup."""
    found = []
    for net in NETS:
        run, images = av.run_of(scale, net), {"smoke": 20, "short": 500, "paper": 1_000}[scale]
        if scale == "short":
            run["experiment"] = run["experiment"].replace("/", "/subset_")
        run["changes"].pop("validation", None)
        validation = {"smoke": {"every": 1, "limit": 20}, "short": {}, "paper": {"every": 2_000, "limit": None}}[scale]
        seconds = {"smoke": 4, "short": 170, "paper": av.PAPER_SECONDS}[scale]
        found.append(Job(net, follow, {**run, "validation": validation, "images": images}, seconds))
    return tuple(found)


STUDY = Study(
    "avmixup/fig2",
    "Figure 2: accuracy under PGD-10 on held-out images while training",
    jobs,
    render,
    (
        "Validation: 5,000 training images of CIFAR-10 that are held out, of which scale short looks at 1,000; the "
        "paper does not say which images it took.",
        "Scale short: small_cnn on 5,000 images without augmentation, rate decays at 50% and 75% of the steps as "
        "printed; a mechanism on another net, not the paper's curve.",
    ),
)
