"""Figures of "Label smoothing and logit squeezing" (LSQ) on MNIST: logits, their gradients, and active units."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from tfadv import analysis
from tfadv.analysis.histograms import histogram
from tfadv.report.charts import Chart, Pictures, Series
from tfadv.report.values import unpack
from tfadv.reproduction.studies.logit_squeezing_jobs import (
    LAYERS,
    MADRY,
    MOST,
    READING,
    Results,
    activations_of,
    adversarial,
    adversarial_row,
    look_job,
    mark,
    net,
    schedule,
)
from tfadv.reproduction.study import Beside, Claim, Compared, Job, Rendering, Study, beside

# Names as in the legends. The twin of an adversarially trained net is the same net, naturally trained for as long.
STRONG, WEAK, TWIN = "adv trained", "2 step adv trained", "naturally trained twin of adv trained"
NATURAL, RAND = "naturally trained", "rand"
SMOOTH, SMOOTH_RAND = "label smooth", "label smooth + rand"
SQUEEZE, SQUEEZE_RAND = "logit squeeze", "logit squeeze + rand"

# Name -> (alpha, beta, sigma), or the kind of `adversarial`.
Model = str | tuple[float, float, float]
Models = Mapping[str, Model]
FIG1: Models = {STRONG: "strong", NATURAL: "natural"}
FIG2: Models = {STRONG: "strong", WEAK: "weak", NATURAL: "natural"}
FIG3: Models = {SMOOTH_RAND: (0.75, 0, 0.5), RAND: (0, 0, 0.5), NATURAL: (0, 0, 0), SMOOTH: (0.75, 0, 0)}
FIG4: Models = {
    f"{SMOOTH} (0.75) + rand (0.5)": (0.75, 0, 0.5),
    f"{SMOOTH} (0.2) + rand (0.5)": (0.2, 0, 0.5),
    f"{SQUEEZE} (2.0) + rand (0.5)": (0, 2, 0.5),
    f"{SQUEEZE} (0.5) + rand (0.5)": (0, 0.5, 0.5),
    NATURAL: (0, 0, 0),
}
FIG7: Models = {SQUEEZE_RAND: (0, 0.5, 0.5), RAND: (0, 0, 0.5), NATURAL: (0, 0, 0), SQUEEZE: (0, 0.5, 0)}
FIG8: Models = {
    STRONG: "strong",
    NATURAL: (0, 0, 0),
    SQUEEZE_RAND: (0, 0.5, 0.5),
    SMOOTH_RAND: (0.2, 0, 0.5),
    RAND: (0, 0, 0.5),
    TWIN: "natural",
}
# Quantity -> title, axis; panels in the paper's order.
_PANELS = {
    "logit_gap": ("Logit gap.", "|z_y − z_k|"),
    "step": ("L of equation 4, for each wrong class.", "L (linf, input units)"),
    "gradient_gap": ("Gradient gap.", "||∇z_y − ∇z_k||_1"),
    "coherence": ("Gradient coherence.", "cos(∇z_y, ∇z_k)"),
}
_PAIRS = "pairs of image and wrong class"
_FEW = 0.01  # of the mean unit's activity


Shown = Mapping[str, Mapping[str, Any]]


def _jobs(models: Models, scale: str) -> tuple[Job, ...]:
    return tuple(
        look_job(scale, name, adversarial(scale, model) if isinstance(model, str) else net(scale, *model))
        for name, model in models.items()
    )


def _shown(models: Models, results: Results) -> Shown:
    return {name: results[name] for name in models if name in results}


def _notes(models: Models, shown: Shown) -> dict[str, str]:
    """How each classifier falls short of the paper's schedule."""
    return {name: schedule(found, MADRY if isinstance(models[name], str) else MOST) for name, found in shown.items()}


def _values(shown: Shown, quantity: str) -> dict[str, np.ndarray]:
    return {name: unpack(found["values"][quantity]) for name, found in shown.items()}


def _schedules(models: Models, shown: Shown) -> list[str]:
    words = [f"{name}: {note}" for name, note in _notes(models, shown).items() if note]
    return [f"Not the paper's training: {'; '.join(words)}."] if words else []


def _medians(shown: Shown, quantities: Mapping[str, str]) -> str:
    return "; ".join(
        f"{what} " + ", ".join(f"{found['median'][key]:.3g} ({name})" for name, found in shown.items())
        for key, what in quantities.items()
    )


_GAPS = {"logit_gap": "logit gap", "gradient_gap": "gradient gap", "step": "L", "coherence": "cosine"}


def render_gaps(models: Models, results: Results) -> Rendering:
    """Figures 1, 3, 4 and 7: four histograms, and what they say of the numerator and denominator of equation 4."""
    shown = _shown(models, results)
    if not shown:
        return Rendering()
    figures: dict[str, Chart | Pictures] = {}
    for panel, (quantity, (title, axis)) in zip("abcd", _PANELS.items(), strict=True):
        span = (-1.0, 1.0) if quantity == "coherence" else None
        figures[panel] = histogram(title, axis, _values(shown, quantity), of=_PAIRS, span=span)
    findings = [f"Medians: {_medians(shown, _GAPS)}."]
    natural = shown.get(NATURAL)
    for name, found in shown.items():
        if natural is None or found is natural:
            continue
        parts = ("logit_gap", "gradient_gap")
        ratio = {key: found["median"][key] / max(natural["median"][key], 1e-12) for key in parts}
        findings.append(
            f"{name}: the logit gap is {ratio['logit_gap']:.3g} times that of the naturally trained net, the gradient "
            f"gap {ratio['gradient_gap']:.3g} times: L "
            + ("grows" if found["median"]["step"] > natural["median"]["step"] else "does not grow")
            + f", cosine {found['median']['coherence'] - natural['median']['coherence']:+.2f}."
        )
    return Rendering(figures=figures, findings=(*findings, *_schedules(models, shown)), claims=_shrinks(models, shown))


def _shrinks(models: Models, shown: Shown) -> tuple[Claim, ...]:
    """LSQ-1, of figure 1."""
    if STRONG not in shown or NATURAL not in shown:
        return ()
    quantities = {"logit": "|logit|", "logit_gap": "logit gap", "gradient_gap": "gradient gap"}
    strong, natural = shown[STRONG]["median"], shown[NATURAL]["median"]
    holds = all(strong[key] < natural[key] for key in quantities)
    words = ", ".join(f"{what} {strong[key]:.3g} against {natural[key]:.3g}" for key, what in quantities.items())
    evidence = f"medians, adversarially against naturally trained: {words}; {'' if holds else 'not '}all shrink"
    return (Claim("LSQ-1", mark(holds, _notes(models, shown).values()), evidence),)


def render_logits(models: Models, results: Results) -> Rendering:
    """Figure 2: |z_k| of nets trained against nobody, a weak and a strong adversary; and what a step of each costs."""
    shown = _shown(models, results)
    if not shown:
        return Rendering()
    findings = [f"Medians: {_medians(shown, {'logit': '|logit|', 'logit_gap': 'logit gap'})}."]
    claims = []
    if len(shown) == len(models):
        medians = [shown[name]["median"]["logit"] for name in (STRONG, WEAK, NATURAL)]
        order = "in the paper's order" if medians == sorted(medians) else "not in the paper's order"
        findings.append(f"The stronger the adversary, the smaller the logits: the three medians are {order}.")
        per_step = {name: found["seconds_of_training"] / found["step"] for name, found in shown.items()}
        ratios = [per_step[name] / per_step[NATURAL] for name in (WEAK, STRONG)]
        evidence = (
            f"measured on MNIST with other numbers of steps: a step of training against 2 steps of attack takes "
            f"{ratios[0]:.1f} times a natural one, against 40 steps {ratios[1]:.1f} times; the paper's count of passes "
            "gives 3 and 41, and 8 for 7 steps"
        )
        claims.append(Claim("LSQ-5", "not comparable", evidence))
    figures = {"": analysis.logit_chart(_values(shown, "logit"))}
    return Rendering(
        figures=figures,
        findings=(*findings, *_schedules(models, shown)),
        claims=tuple(claims),
        beside=_standing(results),
    )


def _standing(results: Results) -> tuple[Beside, ...]:
    found = results.get(f"{WEAK}, attacked", {})
    if "standard" not in found:
        return ()
    ours, note = 100 * found["attacks"]["X-ent"]["accuracy"], schedule(found, MADRY)
    name = "LSQ, MNIST adversarial training, 2 steps"
    return (beside(name, "PGD-40 on X-ent", None, ours, found["standard"], note or "the paper's"),)


def render_gradients(models: Models, results: Results) -> Rendering:
    """Figure 6: the size of the gradients of the logits."""
    shown = _shown(models, results)
    if not shown:
        return Rendering()
    title, axis = "Size of the gradients of the logits.", "||∇z_k||_1"
    chart = histogram(title, axis, _values(shown, "gradient_norm"), of="pairs of image and class")
    findings = (f"Medians: {_medians(shown, {'gradient_norm': 'gradient'})}.", *_schedules(models, shown))
    return Rendering(figures={"": chart}, findings=findings)


def quiet(found: analysis.Activations) -> int:
    """Units whose mean |activation| is below 1% of the mean unit's."""
    return int((found.mean < _FEW * found.mean.mean()).sum())


def render_activations(layer: str, models: Models, results: Results) -> Rendering:
    """Figures 8 and 9: how active each unit of a layer is."""
    shown = _shown(models, results)
    if not shown:
        return Rendering()
    units = {name: activations_of(found, layer) for name, found in shown.items()}
    images = next(iter(shown.values()))["images"]
    sums = {name: images * np.sort(each.mean)[::-1] for name, each in units.items()}
    a = Chart(
        f"Sum of |activation| over the {images:,} test images, of each unit of layer {layer!r}.",
        "units, the most active first",
        "sum of |activation|",
        {name: Series(tuple(range(1, len(each) + 1)), tuple(each)) for name, each in sums.items()},
    )
    words = "; ".join(
        f"{name} {each.inactive} of {len(each.mean)} ({each.inactive / len(each.mean):.0%}; {quiet(each)} units below "
        f"{_FEW:.0%} of the mean unit)"
        for name, each in units.items()
    )
    compared: tuple[Compared, ...] = ()
    claims: tuple[Claim, ...] = ()
    if layer == LAYERS[0]:
        compared, claims = _inactive(units, _notes(models, shown))
    return Rendering(
        compared=compared,
        figures={"a": a, "b": analysis.activation_chart(units)},
        findings=(f"Units that are 0 on every test image: {words}.", *_schedules(models, shown)),
        claims=claims,
    )


def _inactive(
    units: Mapping[str, analysis.Activations], notes: Mapping[str, str]
) -> tuple[tuple[Compared, ...], tuple[Claim, ...]]:
    """LSQ-7: about 400 of 1024 units, of three kinds of training; none of the naturally trained net."""
    said = {STRONG: 400, SQUEEZE_RAND: 400, SMOOTH_RAND: 400, NATURAL: 0}
    shares = {name: 100 * each.inactive / len(each.mean) for name, each in units.items()}
    compared = tuple(
        Compared(f"{name}: inactive units", 100 * said[name] / 1024, shares[name], "%", None, notes[name])
        for name in said
        if name in units
    )
    three = [name for name in (STRONG, SQUEEZE_RAND, SMOOTH_RAND) if name in units]
    if len(three) < 3:
        return compared, ()
    # "About 400", "roughly 400": a quarter more or less.
    holds = all(300 <= 10.24 * shares[name] <= 500 for name in three)
    words = ", ".join(f"{name} {units[name].inactive} of {len(units[name].mean)}" for name in units)
    return compared, (Claim("LSQ-7", mark(holds, [notes[name] for name in three]), f"inactive units: {words}"),)


def _fig2_jobs(models: Models, scale: str) -> tuple[Job, ...]:
    return (*_jobs(models, scale), adversarial_row(scale, "weak", f"{WEAK}, attacked"))


def _study(
    number: int,
    title: str,
    models: Models,
    render: Callable[[Models, Results], Rendering],
    *readings: str,
    jobs: Callable[[Models, str], tuple[Job, ...]] = _jobs,
) -> Study:
    trained = (
        "How long the nets of the figures were trained is not printed: 400,000 steps, as most rows of table 5. Those "
        f'with logit squeezing take the reading "{READING}" of equation 5 (see table 5).',
        "Adversarially trained nets and their natural twin: Madry net, 100,000 steps; at scale short a small network, "
        "2,500 steps at learning rate 1e-3, because the Madry net would need thousands of steps of a second each.",
    )
    return Study(
        f"logit_squeezing/fig{number}",
        title,
        functools.partial(jobs, models),
        functools.partial(render, models),
        (*readings, *trained),
    )


_HISTOGRAM = (
    "Shares in place of counts; all images and wrong classes are counted, as the printed frequencies suggest. Drawn "
    "from 1,000 order statistics of each model."
)
_ACTIVE = (
    "Activity of a unit: the sum of |activation| over all test images; units in falling order, which the paper does "
    "not say. Inactive is exactly 0 on every test image. (b) is the cumulative sum over units of the means."
)
STUDIES = (
    _study(1, "Adversarial training and the parts of equation 4", FIG1, render_gaps, _HISTOGRAM),
    _study(
        2,
        "Adversarial training and the size of logits, on MNIST",
        FIG2,
        render_logits,
        "The strong adversary takes 40 steps of 0.01, the weak one 2 steps of 0.2 (footnotes 1 and 2; the legend says "
        "20 steps, inconsistency I14).",
        _HISTOGRAM,
        jobs=_fig2_jobs,
    ),
    _study(3, "Label smoothing and noise in the parts of equation 4", FIG3, render_gaps, _HISTOGRAM),
    _study(
        4,
        "Label smoothing and logit squeezing with noise in the parts of equation 4",
        FIG4,
        render_gaps,
        _HISTOGRAM,
        "Logit squeezing with noise is said to increase the logit gap, though the penalty lowers it (inconsistency "
        "I16): measured, not assumed.",
    ),
    _study(6, "Size of the gradients of the logits", FIG4, render_gradients, _HISTOGRAM),
    _study(7, "Logit squeezing and noise in the parts of equation 4", FIG7, render_gaps, _HISTOGRAM),
    _study(8, "Activity of the penultimate layer", FIG8, functools.partial(render_activations, LAYERS[0]), _ACTIVE),
    _study(9, "Activity of the logit layer", FIG8, functools.partial(render_activations, LAYERS[1]), _ACTIVE),
)
