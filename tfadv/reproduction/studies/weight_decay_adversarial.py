"""WD ("Adversarial training versus weight decay"), section 4.2: figures 6 and 7, adversarial training on FGSM."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from tfadv.report.charts import Chart, Pictures
from tfadv.report.records import clopper_pearson
from tfadv.report.values import unpack
from tfadv.reproduction.studies import weight_decay_jobs as wd
from tfadv.reproduction.studies.lines import line
from tfadv.reproduction.studies.weight_decay_logistic import READINGS, WINDOW_NOTE, error, picture, printed
from tfadv.reproduction.studies.weight_decay_models import EPSILON, EPSILONS, SCALE, perturbation
from tfadv.reproduction.study import Claim, Compared, Job, Rendering, Study

Results = Mapping[str, Mapping[str, Any]]

_COMPARED = (wd.NATURAL, wd.FGSM, wd.EXPERT)  # the models of figure 7
_SHOWN = 20  # pixels that the findings tell of


def intercept(found: Mapping[str, Any]) -> int | None:
    """The fewest pixels at each end of the weights at which the accuracy is no better than always saying one class."""
    poor = np.asarray(found["extremes"]) <= found["majority"] + 1e-9
    return int(found["pixels"][poor.argmax()]) if poor.any() else None


def _several(results: Results, name: str) -> dict[str, Any]:
    """Variant -> what it ended at, of those that are there."""
    ends = {variant: wd.kept(results, name, variant) for variant in (*wd.SEEDS, *wd.WINDOWS)}
    return {variant: end for variant, end in ends.items() if end is not None}


def _mark(holds: list[bool]) -> str:
    """All variants say so; some; or none, of which two seeds at least are needed to say no."""
    if holds and all(holds):
        return "reproduced"
    return "depends" if any(holds) or len(holds) < 2 else "not reproduced"


def _overlap(first: Sequence[float], second: Sequence[float]) -> bool:
    """Whether two intervals do."""
    return first[0] <= second[1] and second[0] <= first[1]


def _of_print(percent: float, count: int) -> tuple[float, float]:
    """The 95% interval of an accuracy that is printed, had it been measured on `count` images; in percent."""
    low, high = clopper_pearson(round(percent / 100 * count), count)
    return 100 * low, 100 * high


def _fgsm_rows(results: Results) -> tuple[list[Compared], list[Claim]]:
    paper, compared, holds, words = printed(), [], [], []
    for variant, found in _several(results, wd.FGSM).items():
        note = WINDOW_NOTE if variant in wd.WINDOWS else ""
        pixels = intercept(found)
        values, agrees = {}, found["extremes"][int(paper[22])] <= found["majority"] + 1e-9
        for number, what, label in ((19, "clean", "clean"), (20, "fgsm", "FGSM")):
            values[what], (low, high) = 100 * found[what]["accuracy"], (100 * end for end in found[what]["interval"])
            agrees &= _overlap((low, high), _of_print(paper[number], found["count"]))
            text = f"FGSM training at {EPSILON:g}: {label} accuracy, {variant}"
            compared.append(Compared(text, paper[number], values[what], "%", (low, high), note))
        if pixels is not None:
            text = f"FGSM training at {EPSILON:g}: pixels at each end until no better than chance, {variant}"
            compared.append(Compared(text, paper[22], pixels, "pixels", None, note))
        holds.append(agrees)
        words.append(
            f"{variant}: clean {values['clean']:.1f}%, FGSM {values['fgsm']:.1f}%, "
            + (f"chance at {pixels} pixels" if pixels is not None else "never down to chance")
        )
    evidence = f"{'; '.join(words)} (printed: {paper[19]:g}%, {paper[20]:g}%, about {paper[22]:g} pixels)"
    return compared, [Claim("WD-1", _mark(holds), evidence)] if words else []


def _large_step(results: Results) -> tuple[list[str], list[Claim]]:
    words, holds = [], []
    for variant, found in _several(results, wd.LARGE).items():
        own = found["linf"][EPSILONS.index(0.5)]
        holds.append(own <= found["majority"])
        words.append(
            f"{variant}: clean {100 * found['clean']['accuracy']:.1f}%, under its own FGSM of 0.5 {100 * own:.1f}%, "
            f"||w||_1 {found['l1']:.1g}"
        )
    if not words:
        return [], []
    return [f"FGSM training at 0.5: {'; '.join(words)}."], [Claim("WD-2", _mark(holds), "; ".join(words))]


def _labels(results: Results) -> list[Claim]:
    words, holds = [], []
    truths = _several(results, wd.FGSM)
    for variant, found in _several(results, wd.PREDICTED).items():
        if variant not in truths:
            continue
        truth = truths[variant]
        clean, fgsm = (100 * (found[what]["accuracy"] - truth[what]["accuracy"]) for what in ("clean", "fgsm"))
        holds.append(all(_overlap(found[what]["interval"], truth[what]["interval"]) for what in ("clean", "fgsm")))
        words.append(f"{variant}: {clean:+.1f} points clean and {fgsm:+.1f} under FGSM with the predicted label")
    return [Claim("WD-6", _mark(holds), "; ".join(words))] if words else []


def _alike(results: Results) -> list[str]:
    """Whether training always ends at the same weights, as the paper says of starts, labels and weight decay."""
    first = wd.kept(results, wd.FGSM)
    if first is None:
        return []
    words = []
    for name, variant in ((wd.FGSM, "seed 1"), (wd.PREDICTED, "seed 0"), (wd.ALL_THREE, "seed 0")):
        other = wd.kept(results, name, variant)
        if other is not None:
            a, b = unpack(first["weights"]), unpack(other["weights"])
            cosine = float(a @ b / max(np.linalg.norm(a) * np.linalg.norm(b), 1e-12))
            words.append(f"{name}, {variant}: cosine {cosine:.3f}, FGSM error {error(other, 'fgsm')[0]:.1f}%")
    return [f"Weights beside those of (b): {'; '.join(words)}."] if words else []


def _render_fig6(results: Results) -> Rendering:
    figures: dict[str, Chart | Pictures] = {}
    for panel, title, name, at in (
        ("a", "Weights after FGSM training at 0.25 for 10,000 steps.", wd.FGSM, 0),
        ("b", "Weights after FGSM training at 0.25 for 50,000 steps.", wd.FGSM, -1),
        ("c", "Weights after 50,000 steps with L1 decay 15.", wd.L1_15, -1),
        ("d", "Perturbation after Fast grad L2 training, 10,000 steps.", wd.FAST, 0),
        ("e", "Perturbation after Fast grad L2 training, 50,000 steps.", wd.FAST, -1),
        ("f", "Weights after FGSM training at 0.5 for 50,000 steps.", wd.LARGE, -1),
    ):
        found = wd.kept(results, name, "seed 0", at)
        if found is None:
            continue
        w = unpack(found["weights"])
        if name == wd.FAST:
            w = perturbation(w, EPSILON, SCALE)
        figures[panel] = picture(title, w)
    findings = []
    words = [
        f"{name} {found['large']}"
        for name in (wd.NATURAL, wd.EXPERT, wd.FGSM, wd.L1_15, wd.LARGE)
        if (found := wd.kept(results, name)) is not None
    ]
    if words:
        findings.append(f"Weights above a tenth of the largest, of 784: {', '.join(words)}.")
    compared, _ = _fgsm_rows(results)
    failed, claims = _large_step(results)
    return Rendering(
        tuple(compared), figures, (*findings, *_alike(results), *failed), (*claims, *_labels(results)), columns=3
    )


def _chart(models: Mapping[str, Any], title: str, x_label: str, x: str, y: str) -> Chart:
    """Accuracies of the models of figure 7 that are there, at least one."""
    series = {name: line(found[x], found[y]) for name, found in models.items()}
    chance = {"one class": next(iter(models.values()))["majority"]} if y == "extremes" else {}
    return Chart(title, x_label, "accuracy", series, rules=chance, percent=True)


def _both(results: Results) -> list[Claim]:
    """Expert-L2 against the weaker model under each attack."""
    words, holds = [], []
    for variant, expert in _several(results, wd.EXPERT).items():
        natural, fgsm = (wd.kept(results, name, variant) for name in (wd.NATURAL, wd.FGSM))
        if natural is None or fgsm is None:
            continue
        at = int(printed()[22])
        pixels = [100 * found["extremes"][at] for found in (expert, natural, fgsm)]
        signs = [100 * found["fgsm"]["accuracy"] for found in (expert, natural, fgsm)]
        steepest = 100 * -np.diff(expert["linf"]).min()
        holds.append(pixels[0] > pixels[2] + 5 and signs[0] > signs[1] + 5)
        words.append(
            f"{variant}: with {at} pixels at each end {pixels[0]:.1f}% (Natural {pixels[1]:.1f}%, FGSM-trained "
            f"{pixels[2]:.1f}%), under FGSM at {EPSILON:g} {signs[0]:.1f}% ({signs[1]:.1f}%, {signs[2]:.1f}%), "
            f"steepest fall {steepest:.1f} points for 0.02 of epsilon"
        )
    return [Claim("WD-3", _mark(holds), "; ".join(words))] if words else []


def _render_fig7(results: Results) -> Rendering:
    models = {name: found for name in _COMPARED if (found := wd.kept(results, name)) is not None}
    figures: dict[str, Chart | Pictures] = {}
    for panel, title, label, x, y in (
        ("a", "Pixels at the extreme weights set to 1.", "pixels at each end of the weights", "pixels", "extremes"),
        ("b", "Under FGSM.", "epsilon (l-infinity, of the range of a pixel)", "epsilons", "linf"),
        ("c", "The strongest attack on as many pixels (not in the paper).", "pixels", "pixels", "strongest"),
    ):
        if models:
            figures[panel] = _chart(models, title, label, x, y)
    compared, claims = _fgsm_rows(results)
    expert = wd.kept(results, wd.EXPERT)
    findings = []
    if expert is not None:
        value, interval = error(expert, "fgsm")
        text = f"Expert-L2: FGSM error at {EPSILON:g}, as annotated"
        compared.append(Compared(text, printed()[5], value, "%", interval))
    ends = {name: found for name in (wd.SMALL, wd.FGSM, wd.LARGE) if (found := wd.kept(results, name)) is not None}
    places = {name: intercept(found) for name, found in ends.items()}
    if places:
        words = ", ".join(f"{name}: {'never' if at is None else at}" for name, at in places.items())
        findings.append(f"Pixels at each end until no better than chance: {words}.")
    if models:
        words = ", ".join(f"{name} {100 * found['strongest'][_SHOWN]:.1f}%" for name, found in models.items())
        findings.append(
            "The attack of (a) sets the same pixels of all images whatever their class, and so says little about l0 "
            f"robustness: the strongest attack on {_SHOWN} pixels of each image leaves {words}."
        )
    return Rendering(tuple(compared), figures, tuple(findings), (*claims, *_both(results)))


def _fig6_jobs(scale: str) -> tuple[Job, ...]:
    smoke = scale == "smoke"
    models = {
        wd.FGSM: wd.FIRST if smoke else (*wd.SEEDS, *wd.WINDOWS),
        wd.L1_15: wd.FIRST,
        wd.FAST: wd.FIRST,
        wd.ALL_THREE: wd.FIRST,
    }
    pair = wd.FIRST if smoke else wd.SEEDS
    return wd.jobs(scale, {**models, wd.LARGE: pair, wd.PREDICTED: pair, wd.NATURAL: wd.FIRST, wd.EXPERT: wd.FIRST})


def _fig7_jobs(scale: str) -> tuple[Job, ...]:
    smoke = scale == "smoke"
    ends = wd.FIRST if smoke else ("seed 0", "window")
    every = wd.FIRST if smoke else wd.ALL
    many = wd.FIRST if smoke else (*wd.SEEDS, *wd.WINDOWS)
    models = {wd.NATURAL: ends, wd.FGSM: many, wd.EXPERT: every}
    return wd.jobs(scale, {**models, wd.SMALL: wd.FIRST, wd.LARGE: wd.FIRST})


_TRAINED = (
    *READINGS,
    "Attacked images are all that is trained on, made anew in every step. The text says SGD, figure 1 and the program "
    "say Adam (inconsistency I22). The step leads away from the label exactly, where the program's gradient in single "
    "precision is 0 for images that are classified with great confidence.",
)
STUDIES = (
    Study(
        "weight_decay/fig6",
        "Weights and perturbations after adversarial training, and after L1 decay",
        _fig6_jobs,
        _render_fig6,
        (
            *_TRAINED,
            "Panels (d) and (e) are steps of 100 w / ||w||_2, clipped to +-0.25; (f) is FGSM, as in the program.",
        ),
    ),
    Study(
        "weight_decay/fig7",
        "Accuracy under an l0 attack and under FGSM",
        _fig7_jobs,
        _render_fig7,
        (
            *_TRAINED,
            "Each model is attacked at the extremes of its own weights, as in the program; its axis counts pixels at "
            "each end, so up to twice as many change.",
            "The authors' published weights after FGSM training have, measured here, a clean accuracy of 96.5%, 72.0% "
            "under FGSM, and come down to chance at 16 pixels at each end; those without defense never do.",
            "Which role weight decay plays is compared within this model and data set only (inconsistency I24).",
        ),
    ),
)
