"""The nets of tables 1 to 6 of "Adversarial vertex mixup" (AV), trained and measured, and what the tables say of them.

A net has one job whichever table asks for it. At scale short it is `tfadv.experiments.avmixup_small` on CIFAR-10, at
scale paper the printed network and schedule.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

import keras
import tensorflow as tf

import tfadv.data
from tfadv import attacks
from tfadv.attacks import FeatureAttack, Fgm, Pgd
from tfadv.experiments.avmixup_small import EPSILON, NORM
from tfadv.models import load
from tfadv.report.charts import Chart, Series
from tfadv.reproduction.jobs import experiment_of, measured, share, trained_run
from tfadv.reproduction.study import Beside, Claim, Compared, Context, Job, beside, reference
from tfadv.training.runner import ROBUST

STANDARD, PGD, LS08, LS09, AVMIXUP = "Standard", "PGD", "LS0.8", "LS0.9", "AVmixup"
TRADES_1, TRADES_6 = "TRADES (1 / lambda = 1)", "TRADES (1 / lambda = 6)"
SCATTER, MIXED = "Feature Scatter", "Feature Scatter + AVmixup"
MIXED_01_05, MIXED_05_03, MIXED_10_05 = (f"{MIXED}, {each}" for each in ("0.1 / 0.5", "0.5 / 0.3", "1.0 / 0.5"))

CLEAN, AUTO_ATTACK, FEATURE_ATTACK = "Clean", "AutoAttack", "FeatureAttack"
HISTORY = "validation"

Results = Mapping[str, Mapping[str, Any]]


def _pgd(steps: int, objective: str = "cross_entropy") -> Pgd:
    """A step of 2/255, as section 5.2 has it, from one random start; "CW" is the same on the margin."""
    return Pgd(EPSILON, 2 / 255, steps, objective=objective, keep="last")


COLUMNS: Mapping[str, Any] = {
    "FGSM": Fgm(EPSILON),
    "PGD10": _pgd(10),
    "PGD20": _pgd(20),
    "CW20": _pgd(20, "margin"),
}
_LONG: Mapping[str, Any] = {"PGD100": _pgd(100), "CW100": _pgd(100, "margin")}

# Net -> experiment, and seconds of training and of AutoAttack at scale short, one core.
_NETS: Mapping[str, tuple[str, float, float]] = {
    STANDARD: ("standard", 35, 60),
    PGD: ("pgd", 190, 240),
    LS08: ("ls08", 190, 240),
    LS09: ("ls09", 190, 240),
    AVMIXUP: ("avmixup", 190, 240),
    TRADES_1: ("trades_1", 215, 240),
    TRADES_6: ("trades_6", 215, 240),
    SCATTER: ("feature_scatter", 100, 150),
    MIXED: ("feature_scatter_avmixup", 100, 150),
    MIXED_01_05: ("feature_scatter_avmixup_01_05", 100, 150),
    MIXED_05_03: ("feature_scatter_avmixup_05_03", 100, 150),
    MIXED_10_05: ("feature_scatter_avmixup_10_05", 100, 150),
}
SCATTERED = (SCATTER, MIXED_01_05, MIXED_05_03, MIXED, MIXED_10_05)
_WITH_100_STEPS = (PGD, SCATTER, MIXED)

PAPER_STEPS, _SCATTER_EPOCH = 80_000, 50_000 // 60
SCATTER_STEPS = 200 * _SCATTER_EPOCH
_OTHER_STEPS = {"Tiny ImageNet": 50_000}
_PAPER: dict[str, Any] = {
    "optimizer": "sgd",
    "momentum": 0.9,
    "learning_rate": 0.1,
    # 2e-4 stands before half of the squares.
    "l2": 1e-4,
    "precision": "float32",
}
PAPER: Mapping[str, Any] = {
    **_PAPER,
    "model": "wrn_34_10",
    "steps": PAPER_STEPS,
    "decay": [[PAPER_STEPS // 2, 0.1], [3 * PAPER_STEPS // 4, 0.01]],
}
_PAPER_SCATTER: Mapping[str, Any] = {
    **_PAPER,
    "model": "wrn_28_10",
    "steps": SCATTER_STEPS,
    "decay": [[60 * _SCATTER_EPOCH, 0.1], [90 * _SCATTER_EPOCH, 0.01]],
}
SMOKE: Mapping[str, Any] = {"dataset": "digits", "model": "linear", "steps": 2, "batch_size": 16, "limit": 100}
PAPER_SECONDS = 2e7
# Test images of the paper's attacks, of FeatureAttack with its targets for each image, and of AutoAttack; at scale
# short the first and the last are the same images.
LIMITS: Mapping[str, int | None] = {"smoke": 20, "short": 1_000, "paper": None}
_TURNED: Mapping[str, tuple[int | None, int]] = {"smoke": (10, 2), "short": (500, 50), "paper": (None, 100)}
_STANDARD: Mapping[str, int] = {"smoke": 0, "short": 1_000, "paper": 1_000}


def run_of(scale: str, net: str) -> dict[str, Any]:
    """The experiment of a net and its changes at this scale, as `jobs.experiment_of` takes them."""
    changes: Mapping[str, Any] = {}
    if scale == "smoke":
        changes = {**SMOKE, "validation": None}
    elif scale == "paper":
        changes = _PAPER_SCATTER if net in SCATTERED else PAPER
    return {"experiment": f"avmixup_small/{_NETS[net][0]}", "changes": dict(changes)}


def job(scale: str, net: str) -> Job:
    """Trains and measures a net."""
    long = net in _WITH_100_STEPS
    _, training, standard = _NETS[net]
    seconds = {"smoke": 3, "short": training + standard + (50 if long else 16), "paper": PAPER_SECONDS}[scale]
    return measured(
        net,
        **run_of(scale, net),
        seconds=seconds,
        attacks={**COLUMNS, **(_LONG if long else {})},
        limit=LIMITS[scale],
        standard=_STANDARD[scale],
        epsilon=EPSILON,
        norm=NORM,
    )


def turned_key(net: str) -> str:
    """The key of a net's job of `turn_features`."""
    return f"{net}, {FEATURE_ATTACK}"


def turned_job(scale: str, net: str) -> Job:
    """FeatureAttack on a net."""
    limit, targets = _TURNED[scale]
    settings = {**run_of(scale, net), "limit": limit, "targets": targets, "epsilon": EPSILON}
    return Job(turned_key(net), turn_features, settings, {"smoke": 2, "short": 40, "paper": 1e6}[scale])


def history_job(scale: str, nets: Sequence[str]) -> Job:
    """The validation of these nets while they were trained; after the jobs that train them."""
    return Job(HISTORY, read_histories, {"runs": {net: run_of(scale, net) for net in nets}}, 1)


def turn_features(settings: Mapping[str, Any], context: Context) -> dict[str, Any]:
    """FeatureAttack, with the input of the last dense layer as features and the attacked images as targets.

    Settings:
        experiment, changes: of the net. limit: test images. targets: of each, one after the other. epsilon.

    Returns:
        accuracy, interval, count, targets.
    """
    model = load(trained_run(settings, context) / "model.keras")
    dataset = experiment_of(settings).dataset
    x, y = tfadv.data.arrays(dataset, "test", data_dir=context.data_dir, limit=settings["limit"])
    inner = keras.Model(model.inputs, model.layers[-1].input)

    def features(images: tf.Tensor) -> tf.Tensor:
        return inner(images, training=False)

    config = FeatureAttack(
        settings["epsilon"],
        restarts=settings["targets"],
        features=features,
        targets=attacks.feature_targets(features, x, y),
    )
    context.report(f"{FEATURE_ATTACK} on {len(x):,} images, {settings['targets']} targets")
    outcome = attacks.compiled(model, config).run(x, y)
    return {**share(~outcome.adversarial), "count": len(x), "targets": settings["targets"]}


def read_histories(settings: Mapping[str, Any], context: Context) -> dict[str, Any]:
    """Accuracy of held-out training images while training, clean and under the attack of the training.

    Settings:
        runs: name -> experiment and changes.

    Returns:
        name -> {"steps", "clean", "robust"}, a list each, empty where nothing was held out.
    """
    found = {}
    for name, each in settings["runs"].items():
        rows = looks(trained_run(each, context))
        found[name] = {
            "steps": [row["step"] for row in rows],
            "clean": [row["validation_accuracy"] for row in rows],
            "robust": [row[ROBUST] for row in rows],
        }
    return found


def looks(run: Any) -> list[dict[str, Any]]:
    """The rows of a run's log that hold a validation."""
    rows = [json.loads(row) for row in (run / "metrics.jsonl").read_text(encoding="utf-8").splitlines()]
    return [row for row in rows if ROBUST in row]


def column_of(row: Mapping[str, str]) -> str:
    """What a row of printed numbers was measured under, by the names of `COLUMNS`, or "Clean"."""
    if row["attack"] == "none":
        return CLEAN
    if row["attack"] == "FGSM":
        return "FGSM"
    parameters = dict(part.split("=") for part in row["attack_params"].split(";"))
    return f"{'CW' if parameters['loss'] == 'cw' else 'PGD'}{parameters['iters']}"


def printed(table: str) -> dict[tuple[str, str], float]:
    """(row, column) -> the printed percentage, of a white-box table such as "table1"."""
    return {(row["row_label"], column_of(row)): float(row["value"]) for row in reference(f"avmixup_{table}")}


def accuracies(found: Mapping[str, Any]) -> dict[str, Mapping[str, Any]]:
    """Column -> {"accuracy", "interval"} of what `jobs.measure` found, AutoAttack among them where it ran."""
    strong = {AUTO_ATTACK: found["standard"]} if "standard" in found else {}
    return {CLEAN: found["clean"], **found["attacks"], **strong}


def percent(found: Mapping[str, Any]) -> tuple[float, tuple[float, float]]:
    """(accuracy, its interval) in percent."""
    low, high = found["interval"]
    return 100 * found["accuracy"], (100 * low, 100 * high)


def schedule(net: str, step: int) -> str:
    """How much of the printed schedule a net of this many steps has had; "" where it is all."""
    whole = SCATTER_STEPS if net in SCATTERED else _OTHER_STEPS.get(net.partition(" |")[0], PAPER_STEPS)
    return "" if step >= whole else f"{100 * step / whole:.2g}% of the schedule"


def note(net: str, found: Mapping[str, Any]) -> str:
    """Why a net's numbers cannot be compared with the printed ones; "" where they can."""
    share_of = schedule(net, found["step"])
    return share_of and f"not comparable: a small net, {share_of}"


def compare(table: str, labels: Mapping[str, str], results: Results) -> tuple[Compared, ...]:
    """The printed numbers beside ours; labels: printed row -> net."""
    lines = []
    for (label, column), paper in printed(table).items():
        net = labels.get(label, "")
        if net in results and column in (ours := accuracies(results[net])):
            value, interval = percent(ours[column])
            lines.append(Compared(f"{label}, {column}", paper, value, "%", interval, note(net, results[net])))
    return tuple(lines)


def standings(
    table: str, labels: Mapping[str, str], results: Results, attack: str = "PGD20", prefix: str = ""
) -> tuple[Beside, ...]:
    """Claimed beside true, of the nets that AutoAttack has met."""
    paper = printed(table)
    return tuple(
        beside(
            prefix + label,
            attack,
            paper.get((label, attack)),
            100 * results[net]["attacks"][attack]["accuracy"],
            results[net]["standard"],
            schedule(net, results[net]["step"]) or "as printed",
        )
        for label, net in labels.items()
        if "standard" in results.get(net, {})
    )


def difference(results: Results, net: str, other: str, column: str) -> float | None:
    """Points by which a net is above another in a column; None where either is missing."""
    values = [accuracies(results[each]).get(column) if each in results else None for each in (net, other)]
    return None if None in values else 100 * (values[0]["accuracy"] - values[1]["accuracy"])  # type: ignore[index]


def overstated(results: Results, nets: Sequence[str]) -> str:
    """What PGD20 and CW20 leave above AutoAttack, net by net; "" where AutoAttack has met none."""
    parts = []
    for net in nets:
        if "standard" in results.get(net, {}):
            values = {name: 100 * each["accuracy"] for name, each in accuracies(results[net]).items()}
            parts.append(
                f"{net} {values['PGD20']:.1f} and {values['CW20']:.1f} against {values[AUTO_ATTACK]:.1f} "
                f"({results[net]['standard']['verdict']})"
            )
    return f"PGD20 and CW20 leave, against AutoAttack: {'; '.join(parts)}." if parts else ""


def claim(key: str, results: Results, nets: Sequence[str], holds: bool, evidence: str) -> Claim:
    """Of one seed: never "not reproduced", and "not comparable" where a net is not the paper's; then in words."""
    if any(note(net, results[net]) for net in nets):
        return Claim(key, "not comparable", f"small nets {'agree' if holds else 'disagree'}: {evidence}")
    return Claim(key, "reproduced" if holds else "depends", evidence)


def bars(
    title: str, labels: Mapping[str, str], results: Results, columns: Sequence[str], x_label: str = "training"
) -> Chart:
    """Accuracies of nets side by side, one series for each column; labels: name below the bars -> net."""
    found: dict[str, list[tuple[float, float, float, float]]] = {}
    for place, net in enumerate(labels.values()):
        ours = dict(accuracies(results[net])) if net in results else {}
        if turned_key(net) in results:
            ours[FEATURE_ATTACK] = results[turned_key(net)]
        for column in columns:
            if column in ours:
                found.setdefault(column, []).append((place, ours[column]["accuracy"], *ours[column]["interval"]))
    series = {column: Series(*zip(*found[column], strict=True)) for column in columns if column in found}
    return Chart(title, x_label, "accuracy", series, "bars", percent=True, x_names=tuple(labels))
