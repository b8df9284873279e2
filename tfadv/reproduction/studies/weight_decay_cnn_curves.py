"""WD ("Adversarial training versus weight decay"), section 6.2: figure 10, accuracy against epsilon."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

import numpy as np

from tfadv import attacks
from tfadv.attacks import Fgm, Pgd
from tfadv.report.charts import Chart, Pictures, Series
from tfadv.report.records import clopper_pearson
from tfadv.report.values import pack, unpack
from tfadv.reproduction.studies import weight_decay_cnn_jobs as cnn
from tfadv.reproduction.studies.lines import line
from tfadv.reproduction.studies.weight_decay_cnn_jobs import Results
from tfadv.reproduction.studies.weight_decay_logistic import printed
from tfadv.reproduction.study import Claim, Compared, Context, Job, Rendering, Study

LEVELS = (0, 1, 2, 3, 4, 5, 6, 8, 10, 12, 14, 16, 20, 24, 28, 32, 40, 48, 56, 64, 80, 96, 112, 128)  # of 255
FGSM, FIXED, GROWING = "FGSM", "PGD", "PGD, growing step"
# As the paper ran them, away from the network's own prediction.
LOOSE_FGSM, LOOSE = "FGSM, away from the prediction", "PGD, away from the prediction"
ATTACKS = (LOOSE_FGSM, LOOSE, FGSM, FIXED, GROWING)
_BATCH = 500
_SMALL = 16  # below it the text says by how much CNN-L2 is better


def curves(settings: Mapping[str, Any], context: Context) -> dict[str, Any]:
    """Which test images stay right under each attack at each epsilon.

    All epsilons are searched in one run, an image for each of them, and an image has the same random start at all.

    Returns:
        step, levels, count; right: name of `ATTACKS` -> packed [levels, count] of 0 and 1.
    """
    model, step = cnn.trained_net(settings, context)
    x, y = cnn.images(settings, context, settings["limit"])
    levels, count, steps = settings["levels"], len(x), settings["steps"]
    epsilon = tuple(np.repeat(np.array(levels) / 255, count).tolist())
    fgsm, fixed = Fgm(epsilon), Pgd(epsilon, cnn.STEP, steps, keep="last")
    # 20 steps of 2/255 do not reach across balls of more than 40/255.
    growing = Pgd(epsilon, tuple(2.5 * radius / steps for radius in epsilon), steps)
    predicted = _predictions(model, x)
    rows, index = (np.concatenate([each] * len(levels)) for each in (x, np.arange(count)))
    right = {}
    for name, config, away in (
        (LOOSE_FGSM, fgsm, predicted),
        (LOOSE, fixed, predicted),
        (FGSM, fgsm, y),
        (FIXED, fixed, y),
        (GROWING, growing, y),
    ):
        context.report(f"{name}, {len(levels)} epsilons, {count:,} images")
        outcome = attacks.compiled(model, config).run(rows, np.tile(away, len(levels)), index=index)
        found = _predictions(model, outcome.x_adv) == np.tile(y, len(levels))
        right[name] = pack(found.reshape(len(levels), count))
    return {"step": step, "levels": list(levels), "count": count, "right": right}


def _predictions(model: Any, x: np.ndarray) -> np.ndarray:
    return np.asarray(model.predict(x, batch_size=_BATCH, verbose=0).argmax(axis=1).astype(np.int32))


@dataclasses.dataclass(frozen=True)
class _Curve:
    """Accuracies of a network under an attack, by level."""

    levels: tuple[int, ...]
    right: np.ndarray

    @property
    def accuracy(self) -> np.ndarray:
        return self.right.mean(axis=1)

    def at(self, level: int) -> float:
        """Percent."""
        return 100 * float(self.accuracy[self.levels.index(level)])

    def series(self) -> Series:
        count = self.right.shape[1]
        ends = [clopper_pearson(int(each), count) for each in self.right.sum(axis=1)]
        return line(self.levels, self.accuracy, *zip(*ends, strict=True))


def _curve(results: Results, name: str, attack: str) -> _Curve | None:
    found = results.get(name)
    return None if found is None else _Curve(tuple(found["levels"]), unpack(found["right"][attack]).astype(bool))


def gain(first: np.ndarray, second: np.ndarray) -> tuple[float, float, float]:
    """Mean difference of two [N] of 0 and 1 on the same images, and its normal 95% interval; in percent."""
    difference = 100 * (first.astype(np.float64) - second)
    half = 1.96 * float(difference.std()) / np.sqrt(len(difference))
    return float(difference.mean()), float(difference.mean() - half), float(difference.mean() + half)


def crossing(levels: tuple[int, ...], first: np.ndarray, second: np.ndarray) -> int | None:
    """The first level from which on the second accuracy is the higher one; None if that is at none, or at all."""
    above = second > first
    return levels[int(above.argmax())] if above.any() and not above[0] else None


def _chart(results: Results, title: str, shown: Mapping[str, tuple[str, str]]) -> Chart | None:
    found = {key: each for key, (name, attack) in shown.items() if (each := _curve(results, name, attack)) is not None}
    if not found:
        return None
    series = {key: each.series() for key, each in found.items()}
    return Chart(title, "epsilon (l-infinity, of 255)", "accuracy", series, rules={"chance": 0.1}, percent=True)


def _gains(results: Results) -> tuple[list[Compared], list[str]]:
    """CNN-L2 minus CNN under PGD as section 6.4 has it, and away from the labels."""
    compared, findings = [], []
    paper = printed()
    for attack, rows in ((LOOSE, {36: paper[36], 37: paper[37], 38: paper[38], 39: paper[39]}), (FIXED, {})):
        weak, strong = (_curve(results, name, attack) for name in cnn.DEFENDED)
        if weak is None or strong is None:
            continue
        note = cnn.schedule(results[cnn.CNN_L2]["step"])
        small = [at for at, level in enumerate(strong.levels) if level < _SMALL]
        found = {strong.levels[at]: gain(strong.right[at], weak.right[at]) for at in small}
        least, largest = (choose(found, key=lambda level: found[level][0]) for choose in (min, max))
        places = [(36, f"least below {_SMALL}", least), (37, f"most below {_SMALL}", largest), (38, "at 5", 5)]
        for row, where, level in places:
            if level in found:
                mean, low, high = found[level]
                what = f"CNN-L2 minus CNN under {attack}, {where}"
                compared.append(Compared(what, rows.get(row), mean, "points", (low, high), note))
        if _SMALL in strong.levels:
            what = f"CNN-L2 under {attack}, at {_SMALL}"
            compared.append(Compared(what, rows.get(39), strong.at(_SMALL), note=note))
        place = crossing(strong.levels, strong.accuracy, weak.accuracy)
        findings.append(
            f"{attack}: CNN-L2 is {found[least][0]:+.1f} to {found[largest][0]:+.1f} points from CNN below {_SMALL}, "
            f"most at {largest}; CNN " + (f"is ahead from {place} on." if place is not None else "never overtakes it.")
        )
    return compared, findings


def _roll_off(results: Results) -> list[Claim]:
    """Clean accuracy beside how much of it PGD at 8/255 leaves."""
    words = []
    for name in cnn.ALL:
        curve = _curve(results, name, FIXED)
        if curve is None or not {0, 8} <= set(curve.levels):
            continue
        words.append((curve.at(0), f"{name}: clean {curve.at(0):.1f}%, at 8 {curve.at(8):.1f}%"))
    if not words:
        return []
    evidence = "; ".join(text for _, text in sorted(words, reverse=True))
    reason = "the SGD and binarized networks of the sentence and WRN are not run"
    return [Claim("WD-4", "not comparable", f"{evidence} ({reason})")]


def _render(results: Results) -> Rendering:
    shown = {"CNN-L2, FGSM": cnn.CNN_L2, "CNN-L2, PGD": cnn.CNN_L2, "CNN-L2 natural, PGD": cnn.NATURAL_L2}
    panels = {
        panel: _chart(results, title, {key: (name, first if "FGSM" in key else second) for key, name in shown.items()})
        for panel, title, first, second in (
            ("a", "As in the paper: FGSM and PGD 20-2-epsilon, away from the prediction.", LOOSE_FGSM, LOOSE),
            ("b", "The same attacks away from the label (not in the paper).", FGSM, FIXED),
        )
    }
    title = "All four under PGD away from the label, with steps that grow with epsilon (not in the paper)."
    panels["c"] = _chart(results, title, {name: (name, GROWING) for name in cnn.ALL})
    compared, findings = _gains(results)
    for name in cnn.ALL:
        if name not in results:
            continue
        loose_fgsm, loose, fgsm, fixed, growing = (
            each for attack in ATTACKS if (each := _curve(results, name, attack)) is not None
        )
        last = fixed.levels[-1]
        words = [
            f"at {level} away from the prediction FGSM leaves {loose_fgsm.at(level):.1f}% and PGD "
            f"{loose.at(level):.1f}%, away from the label {fgsm.at(level):.1f}% and {fixed.at(level):.1f}%"
            for level in (8, 40)
            if level in fixed.levels
        ]
        words.append(
            f"at {last} PGD leaves {loose.at(last):.1f}%, {fixed.at(last):.1f}%, and with growing steps "
            f"{growing.at(last):.1f}%"
        )
        findings.append(f"{name}: {'; '.join(words)}.")
    if compared:
        findings.append(
            "Where an attack leads away from the prediction, an image that was wrong becomes right: the floor of the "
            "printed curves is made of such images. Beyond 40, 20 steps of 2 do not cross the ball besides."
        )
        findings.append(f"WRN, printed alone (not run): below CNN-L2 for epsilon above {printed()[30]:g}.")
    figures: dict[str, Chart | Pictures] = {name: chart for name, chart in panels.items() if chart}
    return Rendering(
        tuple(compared),
        figures,
        (*findings, *cnn.standing(results)),
        tuple(_roll_off(results)),
        cnn.lines_beside(results),
    )


def _jobs(scale: str) -> tuple[Job, ...]:
    smoke = scale == "smoke"
    work: dict[str, Any] = {
        "levels": [0, 5, 8, 16] if smoke else list(LEVELS),
        "steps": 2 if smoke else 20,
        "limit": {"smoke": 10, "short": 500, "paper": 1000}[scale],
    }
    return (
        *cnn.evaluations(scale),
        *(cnn.job(scale, name, curves, name, 140 if scale == "paper" else 75, **work) for name in cnn.ALL),
    )


STUDY = Study(
    "weight_decay/fig10",
    "Accuracy against epsilon under FGSM and PGD",
    _jobs,
    _render,
    (
        *cnn.READINGS,
        "PGD 20-2-epsilon: 20 steps of 2/255 from a random start in the ball, cross-entropy, the last iterate. The "
        "growing step is 2.5 epsilon / 20, and any iterate counts.",
        "The program gives its attack no labels, and CleverHans then takes the network's predictions. So the authors' "
        "published weights of CNN-L2, measured here on 300 images, keep 33%, 13%, 9% and 5% at 8, 16, 40 and 128 under "
        "PGD, as in the figure; away from the labels they keep 19%, 2%, 0% and 0% (20.5% at 8 on all test images).",
        "Bands are 95% intervals (Clopper and Pearson) of the sampling of test images; differences between networks "
        "are of the same images.",
    ),
)
