"""Tables 5 and 6 of "Adversarial vertex mixup" (AV): AVmixup on Feature Scatter, and the choice of its lambdas.

Feature Scatter alone is known to fall (60.6% claimed, 36.64% under AutoAttack: `tfadv.adversarial.FeatureScatter`), so
every row also meets FeatureAttack, which was made for it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from tfadv.report.charts import Chart
from tfadv.reproduction.studies import avmixup_trained as av
from tfadv.reproduction.study import Compared, Job, Rendering, Study

_TABLE5 = {
    "CIFAR10 | PGD [40]": av.PGD,
    "CIFAR10 | Feature Scatter": av.SCATTER,
    "CIFAR10 | Feature Scatter + AVmixup": av.MIXED,
}
_SHORTER = {"PGD": av.PGD, "Feature Scatter": av.SCATTER, "with AVmixup": av.MIXED}
_TABLE6 = {
    "0.1 / 0.5": av.MIXED_01_05,
    "0.5 / 0.3": av.MIXED_05_03,
    "0.5 / 0.7": av.MIXED,
    "1.0 / 0.5": av.MIXED_10_05,
}
_SHOWN = ("PGD20", "CW20", av.AUTO_ATTACK, av.FEATURE_ATTACK)


def _turned(labels: Mapping[str, str], results: av.Results) -> tuple[Compared, ...]:
    """What FeatureAttack leaves; the paper did not run it."""
    lines = []
    for label, net in labels.items():
        found = results.get(av.turned_key(net))
        if found is not None:
            value, interval = av.percent(found)
            text = f"{found['targets']} targets, {found['count']:,} images; not in the paper"
            lines.append(Compared(f"{label}, {av.FEATURE_ATTACK}", None, value, "%", interval, text))
    return tuple(lines)


def _falls(nets: Sequence[str], results: av.Results) -> list[str]:
    parts = []
    for net in nets:
        turned = results.get(av.turned_key(net))
        if turned is not None and net in results:
            claimed = 100 * results[net]["attacks"]["PGD20"]["accuracy"]
            parts.append(f"{net} from {claimed:.1f} under PGD20 to {100 * turned['accuracy']:.1f}")
    sentence = f"FeatureAttack takes {'; '.join(parts)} (fewer images, see the table)." if parts else ""
    return [each for each in (av.overstated(results, nets), sentence) if each]


def _gain(results: av.Results) -> list[str]:
    """What AVmixup adds, printed and ours."""
    paper, words = av.printed("table5"), []
    for column in ("PGD20", "CW20", av.AUTO_ATTACK):
        ours = av.difference(results, av.MIXED, av.SCATTER, column)
        rows = [paper.get((f"CIFAR10 | {net}", column)) for net in (av.MIXED, av.SCATTER)]
        if ours is not None:
            said = "" if None in rows else f" (printed {rows[0] - rows[1]:+.1f})"  # type: ignore[operator]
            words.append(f"{column} {ours:+.1f}{said}")
    return [f"AVmixup above Feature Scatter alone, in points: {', '.join(words)}."] if words else []


def render_table5(results: av.Results) -> Rendering:
    """CIFAR-10 alone."""
    nets = tuple(_TABLE5.values())
    figures: dict[str, Chart] = {}
    findings = [*_gain(results), *_falls(nets, results)]
    if any(net in results for net in nets):
        title = "CIFAR-10 at 8/255: Feature Scatter under the paper's attacks and under stronger ones."
        figures[""] = av.bars(title, _SHORTER, results, _SHOWN)
    findings.append("CIFAR-100 and SVHN: not run at paper scale, and not at scale short.")
    return Rendering(
        compared=(*av.compare("table5", _TABLE5, results), *_turned(_TABLE5, results)),
        figures=figures,
        findings=tuple(findings),
        # PGD stands beside table 1.
        beside=av.standings(
            "table5", {label: net for label, net in _TABLE5.items() if net != av.PGD}, results, "PGD100"
        ),
    )


def _best(column: str, results: av.Results) -> str | None:
    """The lambdas that leave most under an attack."""
    found = {label: av.accuracies(results[net]) for label, net in _TABLE6.items() if net in results}
    known = {label: ours[column]["accuracy"] for label, ours in found.items() if column in ours}
    return max(known, key=known.__getitem__) if len(known) == len(_TABLE6) else None


def render_table6(results: av.Results) -> Rendering:
    """Four choices of lambda1 / lambda2."""
    nets = tuple(_TABLE6.values())
    findings = _falls(nets, results)
    paper = av.printed("table6")
    chosen = max(_TABLE6, key=lambda label: paper[label, "PGD20"])
    best = {column: _best(column, results) for column in ("PGD20", "CW20", av.AUTO_ATTACK)}
    words = "; ".join(f"{column} {choice}" for column, choice in best.items() if choice)
    if words:
        findings.insert(0, f"The best lambda1 / lambda2 by {words} (printed, by PGD20: {chosen}).")
    for column in ("PGD20", av.AUTO_ATTACK):
        values = [
            100 * av.accuracies(results[net])[column]["accuracy"]
            for net in nets
            if net in results and column in av.accuracies(results[net])
        ]
        if len(values) == len(nets):
            findings.append(f"Over the four choices {column} ranges from {min(values):.1f} to {max(values):.1f}.")
    figures: dict[str, Chart] = {}
    if any(net in results for net in nets):
        figures[""] = av.bars("Feature Scatter + AVmixup.", _TABLE6, results, _SHOWN, "lambda1 / lambda2")
    return Rendering(
        compared=(*av.compare("table6", _TABLE6, results), *_turned(_TABLE6, results)),
        figures=figures,
        findings=tuple(findings),
        # 0.5 / 0.7 stands beside table 5.
        beside=av.standings(
            "table6",
            {label: net for label, net in _TABLE6.items() if net != av.MIXED},
            results,
            prefix=f"{av.MIXED}, ",
        ),
    )


def jobs_of_table5(scale: str) -> tuple[Job, ...]:
    """PGD, which the paper quotes, is trained like the others."""
    scattered = (av.SCATTER, av.MIXED)
    return (*(av.job(scale, net) for net in (av.PGD, *scattered)), *(av.turned_job(scale, net) for net in scattered))


def jobs_of_table6(scale: str) -> tuple[Job, ...]:
    nets = _TABLE6.values()
    return (*(av.job(scale, net) for net in nets), *(av.turned_job(scale, net) for net in nets))


_READINGS = (
    "CW is PGD on the logit margin; steps of 2/255 (the paper: as in Feature Scatter's report).",
    "Feature Scatter as in its program: one step of epsilon, batches of 60, smoothing mass 0.5; AVmixup takes its "
    "examples and brings labels of its own. The image and the vertex share one alpha, which weights the clean end.",
    "lambda is the weight on the true class: with mass taken in its place, the row 1.0 / 0.5 could not have the "
    "largest clean accuracy. The printed choice 0.5 / 0.7 asks for more confidence at the vertex than at the image.",
    "Scale short: small_cnn with Adam in place of WRN-28-10 and 200 epochs; one seed.",
    "FeatureAttack: 20 steps of 1/255 toward the features of images of other classes, the input of the last dense "
    "layer; 100 targets as published at scale paper.",
)

STUDIES = (
    Study("avmixup/table5", "Table 5: AVmixup on Feature Scatter, CIFAR-10", jobs_of_table5, render_table5, _READINGS),
    Study(
        "avmixup/table6",
        "Table 6: the lambdas of AVmixup on Feature Scatter, CIFAR-10",
        jobs_of_table6,
        render_table6,
        _READINGS,
    ),
)
