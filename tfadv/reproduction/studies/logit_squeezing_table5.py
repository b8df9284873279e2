"""Table 5 of "Label smoothing and logit squeezing" (LSQ): MNIST, white box and black box."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

from tfadv.experiments.logit_squeezing_mnist import DECIDING
from tfadv.report.charts import Chart, Pictures, Series
from tfadv.reproduction.studies import logit_squeezing_readings as readings
from tfadv.reproduction.studies.logit_squeezing_jobs import (
    MADRY,
    MOST,
    READING,
    SOME,
    Results,
    adversarial_row,
    mark,
    net,
    row_job,
    schedule,
)
from tfadv.reproduction.studies.logit_squeezing_rows import MADRYS, Row, defense, lines_of, madrys, rows, worst
from tfadv.reproduction.study import Claim, Compared, Job, Rendering, Study, beside

# Trained at scale short: all that is printed at 100,000 steps, smoothing and squeezing alone, weak and strong noise.
SHORT: tuple[tuple[float, float, float], ...] = (
    (0, 0, 0.5),
    (0, 0.5, 0.5),
    (0, 2, 0.5),
    (0, 5, 0.5),
    (0, 10, 0.5),
    (0.95, 0, 0.3),
    (0.95, 0, 0.5),
    (0.2, 0, 0),
    (0.2, 0, 0.1),
    (0.2, 0, 0.5),
    (0.75, 0, 0),
    (0.75, 0, 0.5),
    (0, 2, 0),
    (0, 0, 1),
)
# Not printed there: the natural net, and the squeezing alone of figure 7.
UNPRINTED: dict[tuple[float, float, float], str] = {
    (0.0, 0.0, 0.0): "naturally trained",
    (0.0, 0.5, 0.0): "logit squeezing 0.5",
}
ADVERSARIAL = "adversarial training"
WHITE_BOX = ("white-box X-ent", "white-box CW")


def chosen(scale: str) -> tuple[Row, ...]:
    """The rows that a scale trains: all of them, or of each of `SHORT` the one of fewest steps."""
    everything = rows()
    if scale == "paper":
        return everything
    few = SHORT[1:2] if scale == "smoke" else SHORT
    return tuple(min((row for row in everything if row.parameters == each), key=lambda row: row.steps) for each in few)


def _jobs(scale: str) -> tuple[Job, ...]:
    found = [row_job(scale, row.label, net(scale, *row.parameters, row.steps, seed=row.seed)) for row in chosen(scale)]
    if scale != "smoke":
        found.extend(row_job(scale, key, net(scale, *parameters)) for parameters, key in UNPRINTED.items())
    return (*readings.jobs(scale), *found, adversarial_row(scale, "strong", MADRYS))


@dataclasses.dataclass(frozen=True)
class Shown:
    """A classifier of the table: what was found, the weaker of its two printed white-box numbers, its schedule."""

    found: Mapping[str, Any]
    claimed: float | None
    note: str


def _shown(results: Results) -> tuple[list[Compared], dict[str, Shown]]:
    """Lines of the table, and defense -> what there is of it."""
    lines: list[Compared] = []
    shown: dict[str, Shown] = {}
    told = [(row.label, f"{row.defense}{', again' * row.seed}", row.printed, row.steps) for row in rows()]
    told += [(key, defense(*parameters), {}, MOST) for parameters, key in UNPRINTED.items()]
    for key, words, paper, steps in (*told, (MADRYS, ADVERSARIAL, madrys(), MADRY)):
        found = results.get(key)
        if found is not None:
            note = schedule(found, steps)
            lines.extend(lines_of(key, paper, found, note))
            claimed = min((paper[name] for name in WHITE_BOX if name in paper), default=None)
            # At scale paper a defense is trained several times; the name then needs the steps.
            name = words if words not in shown else f"{words}, {steps:,} steps"
            shown[name] = Shown(found, claimed, note)
    return lines, shown


def _render(results: Results) -> Rendering:
    lines, shown = _shown(results)
    attack = "PGD-40, the worse of X-ent and CW"
    standings = tuple(
        beside(
            f"LSQ, MNIST {words}",
            attack,
            each.claimed,
            worst(each.found),
            each.found["standard"],
            each.note or "the paper's",
        )
        for words, each in shown.items()
        if "standard" in each.found
    )
    return Rendering(
        (*lines, *readings.compared(results)),
        {**readings.figures(results), **_chart(shown), **_over_steps(results)},
        (*readings.decision(results), *_robust(shown), *_transfer(shown)),
        (*_alone(results), *_noise(results), *_longer(results), *_fails(results)),
        standings,
    )


def _chart(shown: Mapping[str, Shown]) -> dict[str, Chart | Pictures]:
    """The worse of the white-box attacks as printed and here, and what AutoAttack leaves, row by row."""
    kept = {words: each for words, each in shown.items() if each.claimed is not None}
    if not kept:
        return {}
    columns: dict[str, dict[int, float]] = {"printed": {}, "ours": {}, "AutoAttack on ours": {}}
    for place, each in enumerate(kept.values(), start=1):
        columns["printed"][place] = (each.claimed or 0.0) / 100
        columns["ours"][place] = worst(each.found) / 100
        if "standard" in each.found:
            columns["AutoAttack on ours"][place] = each.found["standard"]["accuracy"]
    names = "; ".join(f"{place} {words}" for place, words in enumerate(kept, start=1))
    series = {name: Series(tuple(values), tuple(values.values())) for name, values in columns.items()}
    title = f"White-box accuracy by row, the worse of PGD-40 on X-ent and CW. Rows: {names}."
    return {"c": Chart(title, "row", "accuracy", series, kind="points", percent=True)}


def histories(results: Results) -> dict[str, dict[int, float]]:
    """Defense -> steps -> percent left by the worse of the white-box attacks, of rows and of nets of the readings."""
    found: dict[str, dict[int, float]] = {}
    trained = [(row.defense, row.label) for row in rows()]
    trained += [(defense(0, beta, 0.5), readings.reading_key(READING, beta)) for beta in DECIDING]
    for words, key in trained:
        if key in results:
            found.setdefault(words, {}).setdefault(results[key]["step"], worst(results[key]))
    return found


def _over_steps(results: Results) -> dict[str, Chart | Pictures]:
    """White-box accuracy against steps of training, of the defenses that are printed at 100,000 steps."""
    early = {row.defense for row in rows() if row.steps == SOME}
    printed: dict[str, dict[int, float]] = {}
    for row in rows():
        printed.setdefault(row.defense, {}).setdefault(row.steps, min(row.printed[name] for name in WHITE_BOX))
    charts: dict[str, Chart | Pictures] = {}
    for panel, title, found in (
        ("d", "Printed white-box accuracy against steps of training.", printed),
        ("e", "Our white-box accuracy against steps of training.", histories(results)),
    ):
        series = {}
        for words in sorted(early & set(found)):
            steps = sorted(found[words])
            series[words] = Series(tuple(steps), tuple(found[words][step] / 100 for step in steps))
        if series and histories(results):
            charts[panel] = Chart(title, "steps of training", "accuracy", series, log_x=True, percent=True)
    return charts


def _robust(shown: Mapping[str, Shown]) -> list[str]:
    judged = {words: each.found for words, each in shown.items() if "standard" in each.found}
    cheap = {words: found for words, found in judged.items() if words != ADVERSARIAL}
    if not cheap:
        return []
    most = max(cheap, key=lambda words: worst(cheap[words]))
    strong = {words: 100 * found["standard"]["accuracy"] for words, found in cheap.items()}
    best = max(strong, key=lambda words: strong[words])
    return [
        f"Without adversarial images in training PGD-40 leaves most of {most}, {worst(cheap[most]):.1f}%, of which "
        f"AutoAttack leaves {strong[most]:.1f}%; the most that AutoAttack leaves of such a net is {strong[best]:.1f}% "
        f"({best})."
    ]


def _transfer(shown: Mapping[str, Shown]) -> list[str]:
    below = [
        words
        for words, each in shown.items()
        if each.found["black_box"] and 100 * each.found["black_box"]["PGD"]["accuracy"] < worst(each.found)
    ]
    return [f"Black-box PGD is stronger than both white-box attacks on: {', '.join(below)}."] if below else []


def _keys(parameters: tuple[float, float, float]) -> list[tuple[str, int]]:
    """Key and printed steps of all jobs that train a defense."""
    if parameters in UNPRINTED:
        return [(UNPRINTED[parameters], MOST)]
    return [(row.label, row.steps) for row in rows() if row.parameters == parameters]


def _of(results: Results, parameters: tuple[float, float, float]) -> tuple[Mapping[str, Any], str] | None:
    """What the job of fewest printed steps found, and how its training falls short."""
    for key, steps in sorted(_keys(parameters), key=lambda each: each[1]):
        if key in results:
            return results[key], schedule(results[key], steps)
    return None


def _alone(results: Results) -> list[Claim]:
    # Beta 10 is printed as failed, and small noise as in between.
    groups = {
        "alone": [each for each in (*SHORT, *UNPRINTED) if any(each[:2]) and not each[2]],
        "with noise": [each for each in SHORT if any(each[:2]) and each[1] < 10 and each[2] >= 0.3],
    }
    left: dict[str, list[float]] = {name: [] for name in groups}
    strong, parts, notes = [], [], []
    for name, members in groups.items():
        words = []
        for parameters in members:
            there = _of(results, parameters)
            if there is not None:
                found, note = there
                left[name].append(worst(found))
                words.append(f"{defense(*parameters)} {worst(found):.1f}%")
                notes.append(note)
                if name == "with noise" and "standard" in found:
                    strong.append(100 * found["standard"]["accuracy"])
        parts.append(f"{name}: {', '.join(words)}")
    if not all(left.values()):
        return []
    holds = max(left["alone"]) < 1 and min(left["with noise"]) > 50
    evidence = f"PGD-40 leaves {'; '.join(parts)}"
    if strong:
        evidence += f"; AutoAttack leaves at most {max(strong):.1f}% of those with noise"
    return [Claim("LSQ-2", mark(holds, notes), evidence)]


def _noise(results: Results) -> list[Claim]:
    words: list[str] = []
    holds: list[bool] = []
    notes: list[str] = []
    for alpha, small, large in ((0.2, 0.1, 0.5), (0.95, 0.3, 0.5)):
        pair = [_of(results, (alpha, 0, sigma)) for sigma in (small, large)]
        if pair[0] is None or pair[1] is None:
            continue
        (first, short), (second, long) = pair[0], pair[1]
        single = [100 * found["attacks"]["FGSM"]["accuracy"] for found in (first, second)]
        several = [worst(found) for found in (first, second)]
        holds.append(single[0] > single[1] and several[1] > several[0])
        notes.extend((short, long))
        words.append(
            f"label smoothing {alpha:g}, noise {small:g} and {large:g}: FGSM leaves {single[0]:.1f}% and "
            f"{single[1]:.1f}%, PGD-40 {several[0]:.1f}% and {several[1]:.1f}%"
        )
    return [Claim("LSQ-3", mark(all(holds), notes), "; ".join(words))] if words else []


def _longer(results: Results) -> list[Claim]:
    words, holds = [], []
    for what, history in histories(results).items():
        few, many = min(history), max(history)
        if few < many:
            holds.append(history[many] > history[few])
            words.append(f"{what} {history[few]:.1f}% at {few:,} and {history[many]:.1f}% at {many:,} steps")
    notes = [schedule(results[row.label], row.steps) for row in rows() if row.label in results]
    return [Claim("LSQ-4", mark(all(holds), notes), f"PGD-40 leaves of {'; '.join(words)}")] if words else []


def _fails(results: Results) -> list[Claim]:
    squeezed, smoothed = _of(results, (0, 10, 0.5)), _of(results, (0.95, 0, 0.5))
    if squeezed is None or smoothed is None:
        return []
    values = [100 * found["test"]["accuracy"] for found, _ in (squeezed, smoothed)]
    evidence = (
        f"MNIST, noise 0.5: test accuracy {values[0]:.1f}% with squeezing 10, which takes equation 5 as "
        f"{readings.MEANT[READING]}, and {values[1]:.1f}% with smoothing 0.95"
    )
    return [Claim("LSQ-6", mark(values[0] < readings.LEARNED <= values[1], [squeezed[1], smoothed[1]]), evidence)]


STUDY = Study(
    "logit_squeezing/table5",
    "Label smoothing and logit squeezing on MNIST, white box and black box",
    _jobs,
    _render,
    (
        "Rows are named as printed: alpha (label smoothing, y - alpha (y - 1/K)), beta (logit squeezing), sigma "
        "(noise, clipped to [0, 1]) and k (steps). The Madry MNIST net, Adam 1e-4, batches of 50.",
        f"Equation 5 is read as {readings.MEANT[READING]} beside the summed cross-entropy; the jobs of the three "
        "readings say why (inconsistency I2).",
        "White-box PGD: 40 steps of 0.01 from a random start, last iterate; the step is printed for training alone. "
        "The worse of the two losses counts (I15).",
        "Black box: FGSM and PGD from the image, on CW, against a naturally trained net of another seed; the paper "
        'says "the naturally trained model" and speaks of a random start in the white box alone.',
        "Rows that are printed twice are two seeds (I17).",
        "At scale short 14 rows are trained, for 10,000 steps whatever k is, and white-box and black-box attacks have "
        "1,000 stratified test images; the adversarially trained row is a small network (see table 1).",
        "Trained in mixed bfloat16 (the paper: not stated, presumably float32); the classifiers attacked are float32.",
    ),
)
