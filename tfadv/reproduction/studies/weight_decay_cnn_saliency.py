"""WD ("Adversarial training versus weight decay"), section 6.3.2: table 2, the saliency map attack (JSMA)."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from tfadv import attacks
from tfadv.attacks.jsma import every_target, perturbed_rate, summarize
from tfadv.report.charts import Chart, Pictures
from tfadv.reproduction.studies import weight_decay_cnn_jobs as cnn
from tfadv.reproduction.studies.lines import line, mean_interval
from tfadv.reproduction.studies.weight_decay_cnn_jobs import Results
from tfadv.reproduction.study import Compared, Context, Job, Rendering, Study, reference

GAMMAS = (1, 2, 3, 4, 5)  # percent
# Column of the table -> metric of its file, and field of `tfadv.attacks.jsma.Summary`.
_COLUMNS: Mapping[str, tuple[str, str]] = {
    "success": ("success_rate_percent", "success_rate"),
    "rate": ("perturbed_rate_percent", "printed_perturbed_rate"),
    "rate of successes": ("perturbed_rate_when_successful_percent", "printed_rate_of_successes"),
}


def saliency(settings: Mapping[str, Any], context: Context) -> dict[str, Any]:
    """JSMA toward every wrong class.

    Settings:
        gammas: percent of the features that may change. count: test images, a stratified subset.

    Returns:
        step, count, features; gammas: for each {"gamma", the fields of `Summary` (None for NaN), "images": success rate
        of each image}.
    """
    model, step = cnn.trained_net(settings, context)
    count, classes = settings["count"], int(model.output_shape[-1])
    x, y = cnn.images(settings, context, count)
    rows, _, targets = every_target(x, y, classes)
    found = []
    for gamma in settings["gammas"]:
        context.report(f"gamma {gamma}%, {count} images")
        config = attacks.Jsma(gamma=gamma / 100)
        outcome = attacks.compiled(model, config, precision="float32").run(rows, targets)
        summary = summarize(perturbed_rate(rows, outcome.x_adv), outcome.adversarial, classes=classes)
        rates = {name: None if math.isnan(value) else value for name, value in summary._asdict().items()}
        images = outcome.adversarial.reshape(count, classes - 1).mean(axis=1)
        found.append({"gamma": gamma, **rates, "images": images.tolist()})
    return {"step": step, "count": count, "features": int(np.prod(x.shape[1:])), "gammas": found}


def printed(model: str) -> dict[tuple[int, int, str], float]:
    """(images, gamma in percent, metric) -> printed percentage of "WRN" or "CNN-L2"."""
    found = {}
    for row in reference("weight_decay_table2"):
        name, count, gamma = row["row_label"].split()
        if name == model:
            found[int(count.removeprefix("N=")), int(gamma[len("gamma=") : -1]), row["metric"]] = float(row["value"])
    return found


def _interval(images: Sequence[float]) -> tuple[float, float]:
    """95% interval of the success rate in percent: images are independent, attacks on one of them are not."""
    low, high = mean_interval(images)
    return 100 * max(low, 0.0), 100 * min(high, 1.0)


def _rows(found: Mapping[str, Any], paper: Mapping[tuple[int, int, str], float], name: str) -> list[Compared]:
    """The cells that are printed."""
    rows = []
    for each in found["gammas"]:
        for column, (metric, field) in _COLUMNS.items():
            value = paper.get((found["count"], each["gamma"], metric))
            if value is None:
                continue
            what = f"{name}, N={found['count']}, gamma {each['gamma']}%: {column}"
            interval = _interval(each["images"]) if column == "success" else None
            rows.append(Compared(what, value, 100 * each[field], "%", interval, cnn.schedule(found["step"])))
    return rows


def _below(results: Results) -> list[str]:
    """Whether CNN-L2 is attacked with less success than the printed WRN."""
    ours, wrn = [], printed("WRN")
    metric = _COLUMNS["success"][0]
    for key, found in results.items():
        if not key.startswith(f"{cnn.CNN_L2}, N="):
            continue
        for each in found["gammas"]:
            if (value := wrn.get((found["count"], each["gamma"], metric))) is not None:
                ours.append(100 * each["success_rate"] < value)
    words = ", ".join(
        f"N={count} gamma {gamma}% {value:g}%" for (count, gamma, of), value in wrn.items() if of == metric
    )
    sentence = f"WRN, printed alone (not run), success: {words}."
    if ours:
        sentence += f" CNN-L2 as trained here is below it in {sum(ours)} of {len(ours)}."
    return [sentence] if ours else []


def _render(results: Results) -> Rendering:
    paper, compared, findings = printed("CNN-L2"), [], _below(results)
    for key in (f"{cnn.CNN_L2}, N=10", f"{cnn.CNN_L2}, N=100"):
        if found := results.get(key):
            compared += _rows(found, paper, cnn.CNN_L2)
    wide = {name: found for name in cnn.ALL if (found := results.get(f"{name}, N=100"))}
    for name, found in wide.items():
        words = []
        for each in found["gammas"]:
            low, high = _interval(each["images"])
            words.append(f"{each['gamma']}%: {100 * each['success_rate']:.0f}% ({low:.0f} to {high:.0f})")
        proper = found["gammas"][-1]
        mean = proper["perturbed_rate_of_successes"]
        findings.append(
            f"{name}, {found['count']} images, success by gamma: {', '.join(words)}."
            + (
                f" At {proper['gamma']}% a success changes {100 * mean:.2f}% of the features on average; the printed "
                f"column would say {100 * proper['printed_rate_of_successes']:.2f}%."
                if mean is not None
                else ""
            )
        )
    figures: dict[str, Chart | Pictures] = {}
    if wide:
        series = {
            name: line(
                [each["gamma"] for each in found["gammas"]],
                [each["success_rate"] for each in found["gammas"]],
                *zip(*([end / 100 for end in _interval(each["images"])] for each in found["gammas"]), strict=True),
            )
            for name, found in wide.items()
        }
        title = "Success of JSMA toward every wrong class (table 2 as a figure, for 100 images)."
        label = "gamma, share of features that may change (%)"
        figures[""] = Chart(title, label, "success rate", series, percent=True)
    return Rendering(tuple(compared), figures, (*findings, *cnn.standing(results)), columns=1)


def _jobs(scale: str) -> tuple[Job, ...]:
    smoke = scale == "smoke"
    gammas = [1] if smoke else list(GAMMAS)
    return (
        *cnn.evaluations(scale),
        cnn.job(scale, f"{cnn.CNN_L2}, N=10", saliency, cnn.CNN_L2, 5, gammas=gammas, count=2 if smoke else 10),
        *(
            cnn.job(scale, f"{name}, N=100", saliency, name, 40, gammas=gammas, count=3 if smoke else 100)
            for name in cnn.ALL
        ),
    )


STUDY = Study(
    "weight_decay/table2",
    "JSMA: success and share of changed features, CNN-L2 (WRN not run)",
    _jobs,
    _render,
    (
        *cnn.READINGS,
        "10 or 100 stratified test images, each toward its nine wrong classes, also where the image is misclassified; "
        "the program takes the first ones in the archive's order, which TFDS does not keep. N = 10 belongs to gamma 1 "
        "to 5%.",
        "The columns of rates are computed as in the program: means over ten classes, of which the true one counts 0, "
        "and in 'rate of successes' every failure too.",
        "Saliency by probabilities, as in CleverHans 2, which the program uses.",
        "The authors' published weights of CNN-L2, measured here on 100 images, have the printed success at 1%: 28.3% "
        "(23.2 to 33.5) against 26.9%, with a rate of successes of 0.13% in both.",
    ),
)
