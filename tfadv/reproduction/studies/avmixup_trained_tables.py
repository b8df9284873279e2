"""Tables 1, 3 and 4 of "Adversarial vertex mixup" (AV): soft labels and AVmixup on PGD, beside PGD and TRADES."""

from __future__ import annotations

import functools
import time
from collections.abc import Mapping
from typing import Any

import numpy as np
import tensorflow as tf

import tfadv.data
from tfadv import training
from tfadv.report.charts import Chart, Series
from tfadv.reproduction.jobs import experiment_of, measured
from tfadv.reproduction.studies import avmixup_trained as av
from tfadv.reproduction.study import Claim, Context, Job, Rendering, Study

_TABLE1 = {name: name for name in (av.STANDARD, av.PGD, av.LS08, av.LS09, av.AVMIXUP)}
COST = "cost of a step"
_NO_COST = 1.1  # times the cost of a step with PGD
_SOFT = (av.LS08, av.LS09, av.AVMIXUP)
_TABLE3 = {
    "PGD [41]": av.PGD,
    "TRADES ( 1/\\lambda = 1 ) [41]": av.TRADES_1,
    "TRADES ( 1/\\lambda = 6 ) [41]": av.TRADES_6,
    "AVmixup": av.AVMIXUP,
}
_SHORTER = {"PGD": av.PGD, "TRADES 1": av.TRADES_1, "TRADES 6": av.TRADES_6, "AVmixup": av.AVMIXUP}
# Data set as printed -> (data set, network, steps, rate); all with PGD, LS0.8, LS0.9 and AVmixup.
_TABLE4 = {
    "CIFAR100": ("cifar100", "wrn_34_10", 80_000, 0.1),
    "SVHN": ("svhn", "wrn_16_8", 80_000, 0.01),
    "Tiny ImageNet": ("tiny_imagenet", "preact_resnet18", 50_000, 0.1),
}
_METHODS = {net: av.run_of("short", net)["experiment"] for net in (av.PGD, *_SOFT)}


def _points(value: float | None) -> str:
    return "missing" if value is None else f"{value:+.1f}"


def _printed_difference(table: str, net: str, other: str, column: str) -> float:
    paper = av.printed(table)
    return paper[net, column] - paper[other, column]


def _above_pgd(results: av.Results) -> tuple[list[str], list[Claim]]:
    """AVmixup and the smoothed labels beside one-hot labels: claims AV-2 and AV-4."""
    if av.PGD not in results:
        return [], []
    words, all_above = [], True
    for net in _SOFT:
        if net in results:
            columns = [av.CLEAN, *av.COLUMNS]
            points = {column: av.difference(results, net, av.PGD, column) for column in columns}
            all_above &= all(value is not None and value > 0 for value in points.values())
            words.append(f"{net} " + ", ".join(f"{column} {_points(value)}" for column, value in points.items()))
    findings, claims = [], []
    if words:
        findings.append(f"Points above PGD: {'; '.join(words)}.")
        nets = [net for net in (av.PGD, *_SOFT) if net in results]
        claims.append(av.claim("AV-2", results, nets, all_above, f"points above PGD: {'; '.join(words)}"))
    if av.AVMIXUP in results:
        gains = {
            column: (
                av.difference(results, av.AVMIXUP, av.PGD, column),
                _printed_difference("table1", "AVmixup", "PGD", column),
            )
            for column in ("PGD20", "CW20")
        }
        strong = av.difference(results, av.AVMIXUP, av.PGD, av.AUTO_ATTACK)
        evidence = "AVmixup above PGD in points: " + ", ".join(
            f"{column} {_points(ours)} (printed {paper:+.1f})" for column, (ours, paper) in gains.items()
        )
        if strong is not None:
            evidence += f", AutoAttack {_points(strong)}"
        holds = gains["CW20"][0] is not None and gains["CW20"][0] < (gains["PGD20"][0] or 0)
        nets = [av.PGD, av.AVMIXUP]
        claims.append(av.claim("AV-4", results, nets, holds, f"{evidence}; more classes were not run"))
        findings.append(f"{evidence}.")
    return findings, claims


def _history(results: av.Results, nets: tuple[str, ...]) -> dict[str, Chart]:
    """Accuracy of held-out training images under the attack of the training, against steps."""
    found = results.get(av.HISTORY, {})
    series = {net: Series(found[net]["steps"], found[net]["robust"]) for net in nets if found.get(net, {}).get("steps")}
    title = "Accuracy on held-out training images under PGD-10, against training steps."
    return {"b": Chart(title, "training steps", "accuracy", series, percent=True)} if series else {}


def render_table1(results: av.Results) -> Rendering:
    """Five nets; columns as printed, AutoAttack beside them."""
    findings, claims = _above_pgd(results)
    figures: dict[str, Chart] = {}
    if any(net in results for net in _TABLE1):
        columns = (av.CLEAN, "PGD20", "CW20", av.AUTO_ATTACK)
        title = "CIFAR-10 at 8/255: clean, under the paper's attacks, and under AutoAttack."
        figures["a"] = av.bars(title, _TABLE1, results, columns)
    overstated = av.overstated(results, tuple(_TABLE1))
    return Rendering(
        compared=av.compare("table1", _TABLE1, results),
        figures={**figures, **_history(results, tuple(_TABLE1))},
        findings=(*findings, *([overstated] if overstated else [])),
        claims=tuple(claims),
        beside=av.standings("table1", _TABLE1, results),
    )


def time_steps(settings: Mapping[str, Any], context: Context) -> dict[str, Any]:
    """Processor seconds of a training step of each method, in turns, on made-up images.

    Settings:
        runs: name -> experiment and changes. turns.

    Returns:
        name -> seconds, one number for each turn.
    """
    steps = {}
    for name, each in settings["runs"].items():
        experiment = experiment_of(each)
        spec = tfadv.data.find(experiment.dataset)
        images = np.random.default_rng(0).random((experiment.batch_size, *spec.shape), np.float32)
        x, y = tf.constant(images), tf.range(experiment.batch_size, dtype=tf.int32) % spec.classes
        trainee = training.build(experiment)
        steps[name] = tf.function(functools.partial(trainee.update, x, y), autograph=False)
        steps[name]()  # traces
    found: dict[str, list[float]] = {name: [] for name in steps}
    for _ in range(settings["turns"]):
        for name, step in steps.items():
            began = time.process_time()
            step()
            found[name].append(time.process_time() - began)
    return found


def _cost(results: av.Results) -> list[Claim]:
    """Processor time of a training step beside PGD's: claim AV-3, which no schedule decides."""
    found = results.get(COST)
    if found is None:
        return []
    ratios = {net: float(np.median(found[net]) / np.median(found[av.PGD])) for net in (av.AVMIXUP, av.TRADES_6)}
    evidence = (
        f"a training step takes {ratios[av.AVMIXUP]:.2f} times PGD's processor time with AVmixup and "
        f"{ratios[av.TRADES_6]:.2f} times with TRADES (median of {len(found[av.PGD])} turns). Memory was not measured: "
        "an update holds the activations of one image for each example with PGD and AVmixup, of two with TRADES"
    )
    return [Claim("AV-3", "reproduced" if ratios[av.AVMIXUP] < _NO_COST else "depends", evidence)]


def render_table3(results: av.Results) -> Rendering:
    """AVmixup beside PGD and TRADES, which the paper quotes."""
    findings, figures = [], {}
    known = [net for net in _TABLE3.values() if net in results]
    if known:
        columns = (av.CLEAN, "PGD20", "CW20", av.AUTO_ATTACK)
        figures["a"] = av.bars("CIFAR-10 at 8/255, beside TRADES.", _SHORTER, results, columns)
    for net in (av.TRADES_1, av.TRADES_6):
        points = {
            column: av.difference(results, av.AVMIXUP, net, column) for column in (av.CLEAN, "PGD20", av.AUTO_ATTACK)
        }
        if points[av.CLEAN] is not None:
            words = ", ".join(f"{column} {_points(value)}" for column, value in points.items() if value is not None)
            findings.append(f"AVmixup above {net}, in points: {words}.")
    overstated = av.overstated(results, known)
    return Rendering(
        compared=av.compare("table3", _TABLE3, results),
        figures={**figures, **_history(results, tuple(known))},
        findings=(*findings, *([overstated] if overstated else [])),
        claims=tuple(_cost(results)),
        # PGD and AVmixup stand beside table 1.
        beside=av.standings(
            "table3", {label: net for label, net in _TABLE3.items() if net in (av.TRADES_1, av.TRADES_6)}, results
        ),
    )


def jobs_of(nets: Mapping[str, str], scale: str) -> tuple[Job, ...]:
    """A job for each net, and one that reads how they were trained."""
    return (*(av.job(scale, net) for net in nets.values()), av.history_job(scale, list(nets.values())))


def jobs_of_table3(scale: str) -> tuple[Job, ...]:
    """The nets, and what a step of three methods costs."""
    runs = {net: av.run_of(scale, net) for net in (av.PGD, av.AVMIXUP, av.TRADES_6)}
    turns, seconds = {"smoke": (2, 4), "short": (15, 20), "paper": (5, 5e3)}[scale]
    return (*jobs_of(_TABLE3, scale), Job(COST, time_steps, {"runs": runs, "turns": turns}, seconds))


def jobs_of_table4(scale: str) -> tuple[Job, ...]:
    """Smoke makes no difference between the data sets; short leaves them out."""
    if scale == "short":
        return ()
    jobs = []
    for printed, (dataset, model, steps, rate) in _TABLE4.items():
        changes: dict[str, Any] = {**av.SMOKE, "validation": None}
        if scale == "paper":
            decay = [[steps // 2, 0.1], [3 * steps // 4, 0.01]]
            own = {"dataset": dataset, "model": model, "steps": steps, "learning_rate": rate, "decay": decay}
            changes = {**av.PAPER, **own}
        for net, experiment in _METHODS.items():
            jobs.append(
                measured(
                    f"{printed} | {net}",
                    experiment,
                    3 if scale == "smoke" else av.PAPER_SECONDS,
                    changes=changes,
                    attacks={name: av.COLUMNS[name] for name in ("FGSM", "PGD20")},
                    limit=av.LIMITS[scale],
                    standard=0 if scale == "smoke" else 1_000,
                    epsilon=av.EPSILON,
                    norm=av.NORM,
                )
            )
    return tuple(jobs)


def render_table4(results: av.Results) -> Rendering:
    """Other data sets; at scale short there is nothing but this sentence."""
    labels = {label: label for label, _ in av.printed("table4")}
    findings = []
    if not results:
        findings.append(
            "Not run at paper scale, and not at scale short: CIFAR-100, SVHN and Tiny ImageNet with their networks of "
            "11 to 46 million weights are beyond two cores. The tests train a step of every network with every method, "
            "and the whole of these jobs on real images of CIFAR-100 and Tiny ImageNet with a small net."
        )
    lines = av.compare("table4", labels, results)
    standings = av.standings("table4", labels, results)
    return Rendering(compared=lines, findings=tuple(findings), beside=standings)


READINGS = (
    "FGSM, PGD and CW have one random start (FGSM none) and return the last iterate; CW is PGD on the logit margin "
    "(inconsistency I6 of the papers: another attack than the optimization of Carlini and Wagner).",
    "lambda is the weight on the true class, so that LS0.8 takes 0.2 from it (I1).",
    "Trained on 45,000 images; the 5,000 that are held out show accuracy against steps. Pad, crop and flip as in the "
    "authors' program; the paper names no augmentation, optimizer or batch size.",
    "Scale short: small_cnn, Adam at 1e-3, batches of 128, the printed attacks, and rate decays at 50% and 75%. Over "
    "the first 300 steps (at scale paper as well) epsilon grows, without which so small a net does not begin to learn. "
    "One seed, so that no claim can fail here.",
    "The papers' names ResNet, WRN-32-10 and WRN-34-10 are likely one family of networks (I26).",
)

STUDIES = (
    Study(
        "avmixup/table1",
        "Table 1: AVmixup and smoothed labels beside PGD on CIFAR-10",
        functools.partial(jobs_of, _TABLE1),
        render_table1,
        READINGS,
    ),
    Study(
        "avmixup/table3",
        "Table 3: AVmixup beside TRADES on CIFAR-10",
        jobs_of_table3,
        render_table3,
        (
            *READINGS,
            "The paper quotes PGD and TRADES; here all four are trained alike. Its AVmixup is not that of table 1 but "
            "of another program, with less clean accuracy (I25); ours is one net for both tables.",
            "TRADES as its authors have it: epsilon 0.031, 10 steps of 0.007; measured at 8/255 as the others.",
        ),
    ),
    Study(
        "avmixup/table4",
        "Table 4: CIFAR-100, SVHN and Tiny ImageNet",
        jobs_of_table4,
        render_table4,
        READINGS[:3],
    ),
)
