"""Table 1 of "Label smoothing and logit squeezing" (LSQ), MNIST: FGSM, and the accuracy that equation 4 predicts."""

from __future__ import annotations

from typing import Any

import numpy as np

from tfadv.analysis import PredictedAccuracy
from tfadv.experiments.logit_squeezing_mnist import EPSILON
from tfadv.report.charts import Chart, Pictures
from tfadv.report.records import clopper_pearson
from tfadv.reproduction.studies.logit_squeezing_jobs import (
    MADRY,
    Results,
    adversarial,
    adversarial_row,
    linear,
    mark,
    schedule,
    training_seconds,
)
from tfadv.reproduction.studies.logit_squeezing_rows import worst
from tfadv.reproduction.study import Beside, Claim, Compared, Job, Rendering, Study, beside, reference

EPSILONS = (0.0, 0.05, 0.1, 0.15, 0.2, 0.25, EPSILON, 0.35, 0.4)
# Label as printed -> which classifier.
ROWS = {"MNIST naturally trained (eps=0.3)": "natural", "MNIST adv trained (eps=0.3)": "strong"}
_COLUMNS = {"loss=xent": ("FGSM on X-ent", "cross_entropy"), "loss=cw": ("FGSM on logits (CW)", "margin")}
_EQUATION = ("equation 4", "predicted")
# Within so many points a prediction is right.
_CLOSE = 5.0


def attacked(kind: str) -> str:
    """Key of the job that has AutoAttack on a classifier of this study."""
    return f"{kind}, attacked"


def _jobs(scale: str) -> tuple[Job, ...]:
    limit = {"paper": None, "short": 2_000}.get(scale, 40)
    found = []
    for kind in ROWS.values():
        trained = adversarial(scale, kind)
        settings = {**trained, "epsilons": list(EPSILONS), "limit": limit}
        seconds = 4.0 if scale == "smoke" else training_seconds(scale, trained) + 0.005 * (limit or 10_000) + 15
        found.append(Job(kind, linear, settings, seconds))
    return (*found, *(adversarial_row(scale, kind, attacked(kind)) for kind in ROWS.values()))


def printed() -> dict[str, dict[str, float]]:
    """Row label -> column -> percent, of the MNIST half."""
    numbers: dict[str, dict[str, float]] = {}
    for line in reference("logit_squeezing_table1"):
        if line["dataset"] == "MNIST":
            column, _ = _COLUMNS.get(line["attack_params"].partition(";")[0], _EQUATION)
            numbers.setdefault(line["row_label"], {})[column] = float(line["value"])
    return numbers


def _percent(found: Any, column: str) -> tuple[float, tuple[float, float]]:
    """At epsilon 0.3, with its 95% interval."""
    value = found[column][found["epsilons"].index(EPSILON)]
    low, high = clopper_pearson(round(value * found["count"]), found["count"])
    return 100 * value, (100 * low, 100 * high)


def _render(results: Results) -> Rendering:
    compared: list[Compared] = []
    figures: dict[str, Chart | Pictures] = {}
    words, close = [], {}
    standings: list[Beside] = []
    paper = printed()
    kept = {label: results[kind] for label, kind in ROWS.items() if kind in results}
    for label, found in kept.items():
        note = schedule(found, MADRY)
        values = {}
        for name, column in (*_COLUMNS.values(), _EQUATION, ("equation 4 within the box", "predicted_in_box")):
            values[column], interval = _percent(found, column)
            compared.append(Compared(f"{label}: {name}", paper[label].get(name), values[column], "%", interval, note))
        lowest = min(values["cross_entropy"], values["margin"])
        close[ROWS[label]] = abs(values["predicted"] - lowest) <= _CLOSE
        words.append(
            f"{ROWS[label]}: equation 4 predicts {values['predicted']:.1f}%, within the box "
            f"{values['predicted_in_box']:.1f}%, FGSM leaves {values['cross_entropy']:.1f}% (X-ent) and "
            f"{values['margin']:.1f}% (CW); printed {', '.join(f'{each:g}%' for each in paper[label].values())}"
        )
        title = f"{label.partition(' (')[0]}: what equation 4 predicts, and FGSM."
        figures["ab"[len(figures)]] = _chart(title, found)
        judged = results.get(attacked(ROWS[label]), {})
        if "standard" in judged:
            ours, claimed = values["cross_entropy"], paper[label]["FGSM on X-ent"]
            defense = f"LSQ, {label.partition(' (')[0]}"
            standings.append(beside(defense, "FGSM on X-ent", claimed, ours, judged["standard"], note or "the paper's"))
    claims = []
    if "strong" in results:
        strong = results["strong"]
        claims = [Claim("LSQ-8", mark(close["strong"], [schedule(strong, MADRY)]), "; ".join(words))]
    return Rendering(tuple(compared), figures, _findings(results), tuple(claims), tuple(standings))


def _findings(results: Results) -> tuple[str, ...]:
    findings = []
    if "strong" in results:
        found = results["strong"]
        differences = np.abs(np.subtract(found["predicted"], np.minimum(found["cross_entropy"], found["margin"])))
        # The clean accuracy, at 0, is the same.
        far = np.append(100 * differences > _CLOSE, True)
        near = found["epsilons"][int(far.argmax()) - 1]
        off = 100 * differences[found["epsilons"].index(EPSILON)]
        findings.append(
            f"On the adversarially trained net equation 4 is within {_CLOSE:g} points of the accuracy under FGSM for "
            f"epsilon up to {near:g}; at {EPSILON:g} it is {off:.1f} points off."
        )
    for kind in ROWS.values():
        judged = results.get(attacked(kind), {})
        if "standard" in judged:
            strong = judged["standard"]
            findings.append(
                f"{kind.capitalize()} net: PGD-40 leaves {worst(judged):.1f}% (the worse of X-ent and CW), AutoAttack "
                f"{100 * strong['accuracy']:.1f}% of {strong['count']:,} images ({strong['verdict']})."
            )
    return tuple(findings)


def _chart(title: str, found: Any) -> Chart | Pictures:
    arrays = {name: np.array(found[name]) for name in ("epsilons", "predicted", "predicted_in_box")}
    measured = {objective: np.array(found[objective]) for _, objective in _COLUMNS.values()}
    (chart,) = PredictedAccuracy(**arrays, measured=measured, count=found["count"], norm="linf").charts()
    return Chart(title, chart.x_label, chart.y_label, chart.series, percent=True)


STUDY = Study(
    "logit_squeezing/table1",
    "Accuracy under FGSM, and the accuracy that equation 4 predicts, on MNIST",
    _jobs,
    _render,
    (
        "The predicted accuracy is the share of images that are classified right and whose smallest L over the wrong "
        "classes exceeds epsilon. The step of equation 4 may leave the box [0, 1], in which FGSM stays; the prediction "
        "for a step within the box is shown beside it.",
        "Adversarial training as in footnote 1: 40 steps of 0.01 from a random start, epsilon 0.3, on adversarial "
        "images alone. Its length is not printed; 100,000 steps are those of the authors whose settings it takes.",
        "At scale short both nets are small networks trained for 2,500 steps at learning rate 1e-3, epsilon growing "
        "over the first 800: the Madry net needs thousands of steps of a second each before adversarial training moves "
        "it away from the uniform prediction.",
    ),
)
