"""What training costs beside natural training, section by section: time of a step in pairs, against stated goals.

Where the content of the data does not matter, images and labels are random numbers of the data set's shape. Accuracies
are measured on the data set itself, or not at all. How a pair is timed: `tfadv.reproduction.turns`.
"""

from __future__ import annotations

import dataclasses
import json
import math
import os
import pathlib
import statistics
import time
from collections.abc import Callable, Collection
from typing import Any

import keras
import tensorflow as tf

from tfadv import augment, data, devices, losses
from tfadv.attacks import Pgd
from tfadv.crosscheck import comparison, record
from tfadv.crosscheck.benchmark import machine
from tfadv.report.records import clopper_pearson
from tfadv.reproduction import turns
from tfadv.reproduction.turns import Bench, Clock, Fit, Row, Settings, Trainer
from tfadv.validation import UserError

INTRODUCTION = """# Training, measured

Made from the JSON files in this folder by `python -m trainers.training_cost --output=...`; do not edit.
"""

# Largest allowed time of a step over the baseline's.
_CHEAP_LOSS, _NOISE, _ADVERSARIAL, _LOOP = 1.03, 1.10, 1.15, 1.03
_NEW_POINTS = 10  # n of feature smoothing and mixup; on a batch of B they cost n / B by arithmetic, and at most:
_BESIDE_THE_POINTS = 0.05
_MIXED = 0.5  # twice as fast, where the processor multiplies bfloat16
_ATTACK = Pgd(0.3, step_size=0.1, steps=7)
# Running processes for each core above which the machine is called busy.
_BUSY = 0.5


# What a variant is called -> its changes of natural training, and the largest allowed ratio.
Variants = dict[str, tuple[dict[str, Any], float | None]]


def _beside_natural(bench: Bench, variants: Variants, **shared: Any) -> None:
    """A row for each variant against natural training, both with what is shared."""
    natural = bench.trainer(**shared)
    for what, (changes, goal) in variants.items():
        with bench.attempt(what):
            bench.compare(what, bench.trainer(**shared | changes).turn, "natural training", natural.turn, goal)


def _losses(bench: Bench) -> None:
    changes: dict[str, dict[str, Any]] = {
        "label smoothing": {"loss": losses.LabelSmoothing(0.1)},
        "ALS": {"loss": losses.AdversarialLabelSmoothing(0.1)},
        "BLS": {"loss": losses.BoltzmannLabelSmoothing(0.1)},
        "SBLS": {"loss": losses.SecondBestLabelSmoothing(0.1)},
        "logit squeezing": {"loss": losses.LogitSqueezing(0.05)},
        "clean logit pairing": {"loss": losses.CleanLogitPairing(0.05)},
        "confidence penalty": {"loss": losses.ConfidencePenalty(0.05)},
        "L2 weight decay": {"l2": 5e-4},
    }
    bench.remarks.append("Natural training minimizes Keras' own sparse cross-entropy.")
    _beside_natural(bench, {what: (change, _CHEAP_LOSS) for what, change in changes.items()}, loss=_cross_entropy())


def _cross_entropy() -> keras.losses.Loss:
    return keras.losses.SparseCategoricalCrossentropy(from_logits=True)


def _augmentations(bench: Bench) -> None:
    classes, points = data.find(bench.settings.dataset).classes, _NEW_POINTS
    more = 1 + points / bench.settings.batch_size + _BESIDE_THE_POINTS
    goals: dict[augment.Augmentation, float | None] = {
        augment.GaussianNoise(0.5): _NOISE,
        augment.FeatureSmoothing(new_points=points): more,
        augment.Mixup(new_points=points, classes=classes): more,
        augment.DisturbLabel(0.1, classes): None,
    }
    named = {type(config).__name__: ({"augment": (config,)}, goal) for config, goal in goals.items()}
    bench.remarks.append(f"FeatureSmoothing and Mixup add {points} points to a batch.")
    _beside_natural(bench, named)
    bench.remarks.append("PadCropFlip, and natural training beside it, have images of CIFAR-10's shape.")
    with bench.attempt("PadCropFlip"):
        _beside_natural(
            bench, {"PadCropFlip, 32x32x3": ({"augment": (augment.PadCropFlip(),)}, None)}, dataset="cifar10"
        )


def _precision(bench: Bench) -> None:
    settings, arrays, test = bench.settings, None, None
    with bench.attempt("accuracy in both precisions"):
        x, y = data.arrays(settings.dataset, "train", settings.data_dir)
        test = data.arrays(settings.dataset, "test", settings.data_dir)
        arrays = tf.constant(x), tf.constant(y, tf.int32)
    native = devices.cpu_has_bfloat16() and not devices.has_accelerator()
    units = " and ".join(bfloat16_units()) or "none"
    bench.remarks.append(f"Units of this processor that multiply bfloat16: {units}.")
    if not native:
        bench.remarks.append("The goal is for processors that have such units, without an accelerator: none here.")
    sides = {name: bench.trainer(arrays, precision=name) for name in ("float32", "mixed_bfloat16")}
    single, mixed = sides.values()
    bench.compare(
        "mixed_bfloat16",
        mixed.turn,
        "float32",
        single.turn,
        _MIXED if native else None,
        lambda row: f"{1 / row.ratio:.2f} times as fast",
    )
    if test is not None:
        shares = {name: side.accuracy(*test) for name, side in sides.items()}
        bench.checks.append(_judged(shares, single.step, len(test[1])))
        bench.report(f"  {bench.checks[-1]['text']}")


def _judged(accuracies: dict[str, float], steps: int, count: int) -> dict[str, Any]:
    """Accuracies of "float32" and "mixed_bfloat16" on `count` images: the second inside the first's interval or not."""
    intervals = {name: clopper_pearson(round(share * count), count) for name, share in accuracies.items()}
    low, high = intervals["float32"]
    met = low <= accuracies["mixed_bfloat16"] <= high
    sides = [
        f"{name} {share:.2%} ({intervals[name][0]:.2%} to {intervals[name][1]:.2%})"
        for name, share in accuracies.items()
    ]
    text = (
        f"Clean accuracy after {steps:,} steps of both on {count:,} test images, 95% intervals: {', '.join(sides)}; "
        f"goal: mixed_bfloat16 inside the interval of float32: {turns.verdict(met)}."
    )
    return {"text": text, "accuracies": accuracies, "intervals": intervals, "steps": steps, "count": count, "met": met}


def bfloat16_units() -> list[str]:
    """Names of what the processor multiplies bfloat16 with, as Linux reports them; empty elsewhere."""
    try:
        flags = pathlib.Path("/proc/cpuinfo").read_text(encoding="utf-8").split()
    except OSError:
        return []
    return [name for name in ("avx512_bf16", "amx_bf16") if name in flags]


def _adversarial(bench: Bench) -> None:
    plain, adversarial = bench.trainer(), bench.trainer(train_attack=_ATTACK)
    passes = _ATTACK.steps + 1  # forward and backward through the network

    def rounded(steps: int) -> int:
        return math.ceil(steps / passes)

    crafted = rounded(bench.settings.steps)
    bench.remarks.append(f"A turn is {crafted} steps of PGD training, or {passes * crafted} of natural training.")
    bench.compare(
        f"one step of PGD-{_ATTACK.steps} training",
        lambda steps: adversarial.turn(rounded(steps)),
        f"{passes} steps of natural training",
        lambda steps: passes * plain.turn(passes * rounded(steps)),
        _ADVERSARIAL,
    )


def _input(bench: Bench) -> None:
    def share(row: Row) -> str:
        return f"waiting for input: {statistics.median(1 - 1 / ratio for ratio in row.ratios):.1%} of the step"

    for what, layers in (("plain pipeline", ()), ("pipeline with GaussianNoise", (augment.GaussianNoise(0.5),))):
        trainer = bench.trainer(augment=layers)
        bench.compare(what, trainer.turn, "the same step on a batch that lies ready", trainer.cached, note=share)


def _loop(bench: Bench) -> None:
    experiment = bench.settings.experiment(loss=_cross_entropy())
    loop, fit = (kind(experiment, bench.random(experiment.dataset), bench.clock) for kind in (Trainer, Fit))

    def rates(row: Row) -> str:
        mine, keras_s = (
            experiment.batch_size / statistics.median(side) for side in (row.seconds, row.baseline_seconds)
        )
        return f"{mine:,.0f} images/s beside {keras_s:,.0f}"

    bench.compare("tfadv's loop", loop.turn, "model.fit of Keras", fit.turn, _LOOP, rates)


SECTIONS: dict[str, Callable[[Bench], None]] = {
    "losses": _losses,
    "augmentations": _augmentations,
    "precision": _precision,
    "adversarial": _adversarial,
    "input": _input,
    "loop": _loop,
}


def measure(
    name: str, settings: Settings, report: Callable[[str], Any] = print, clock: Clock = time.perf_counter
) -> dict[str, Any]:
    """One section of `SECTIONS`, as JSON values: settings, rows, checks, remarks, what was not measured and why.

    `others` is the share of all cores that other processes used meanwhile, None where the system does not tell.
    """
    bench, others, began = Bench(settings, report, clock), turns.Others(), time.perf_counter()
    SECTIONS[name](bench)
    return {
        "settings": {name: value for name, value in dataclasses.asdict(settings).items() if name != "data_dir"},
        "rows": [row.to_dict() for row in bench.rows],
        "checks": bench.checks,
        "remarks": bench.remarks,
        "not_measured": bench.not_measured,
        "seconds": time.perf_counter() - began,
        "others": others.share(),
    }


def run(
    output: str | os.PathLike, settings: Settings, only: Collection[str] = (), report: Callable[[str], Any] = print
) -> dict[str, dict[str, Any]]:
    """Measures sections one after the other and publishes each as it ends; the others in `output` stay as they are.

    Args:
        output: a JSON file, with a README.md beside it that is made from it.
        only: names of `SECTIONS`; none is all of them.
        report: told what is found.

    Returns:
        Name -> values as of `measure`, with machine and versions, of all sections in `output`.

    Raises:
        UserError: an unknown section, or an `output` that is not ours.
    """
    unknown = sorted(set(only) - set(SECTIONS))
    if unknown:
        raise UserError(f"only must be among {', '.join(SECTIONS)}; got {', '.join(unknown)}")
    found, facts = _kept(record.check_output(output)), machine()
    if facts["load"] > _BUSY * facts["cores"]:
        report(f"warning: {facts['load']} processes are running here already; such timings compare little")
    for name in SECTIONS:
        if only and name not in only:
            continue
        report(f"{name}:")
        values = measure(name, settings, report)
        found[name] = {**values, "machine": facts, "versions": comparison.versions([])}
        found = {each: found[each] for each in SECTIONS if each in found}
        record.publish(output, "What training costs", markdown(found), {"sections": found}, INTRODUCTION)
    return found


def _kept(path: pathlib.Path) -> dict[str, dict[str, Any]]:
    """The sections of an earlier run."""
    if not path.exists():
        return {}
    try:
        return dict(json.loads(path.read_text(encoding="utf-8"))["sections"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise UserError(f"output {path} holds no benchmark of training ({error!r}); name another file") from error


def markdown(sections: dict[str, dict[str, Any]]) -> str:
    """Tables of sections, those goals first that are not met."""
    judged = [
        (name, each.get("what", "accuracy"), each["met"])
        for name, section in sections.items()
        for each in (*section["rows"], *section["checks"])
        if each["met"] is not None
    ]
    failed = ", ".join(f"{what} ({name})" for name, what, met in judged if not met)
    parts = [
        f"{sum(met for *_, met in judged)} of {len(judged)} goals met. Not met: {failed or 'none'}.",
        "Milliseconds of a step are medians; ratio is the median over pairs of turns, baseline and other in turn, of "
        "their times, with the lowest and the highest; the goal is the largest allowed. Images and labels are random "
        "numbers of the right shape, but where an accuracy is given.",
    ]
    return "\n\n".join([*parts, *(_section(name, section) for name, section in sections.items())])


def _section(name: str, section: dict[str, Any]) -> str:
    """Heading, settings, table, and what was found or missed beside it."""
    settings, others = section["settings"], section["others"]
    lines = ["| " + " | ".join(cells) + " |" for cells in (turns.HEAD, *map(turns.cells, section["rows"]))]
    lines.insert(1, "|---|---|---:|---:|---:|---|---:|---|---:|---|")
    missing = [f"Not measured: {reason}." for reason in section["not_measured"]]
    words = [*section["remarks"], *(check["text"] for check in section["checks"]), *missing]
    where = ", ".join(f"{key} {value}" for key, value in section["machine"].items())
    busy = "" if others is None else f"; other processes used {others:.1%} of all cores meanwhile"
    return "\n\n".join(
        [
            f"### {name}",
            f"{settings['model']}, {settings['dataset']}, batch size {settings['batch_size']}, "
            f"{settings['repeats']} pairs of {settings['steps']} steps; {section['seconds']:.0f} seconds in all.",
            "\n".join(lines),
            *words,
            f"{where}{busy}. {comparison.in_words(section['versions'])}.",
        ]
    )
