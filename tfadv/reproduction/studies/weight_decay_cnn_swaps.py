"""WD ("Adversarial training versus weight decay"), section 6.3.1: figures 11 and 12, randomly swapped pixels."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from tfadv import attacks
from tfadv.report.charts import Chart, Pictures
from tfadv.report.records import clopper_pearson
from tfadv.report.values import pack, unpack
from tfadv.reproduction.studies import weight_decay_cnn_jobs as cnn
from tfadv.reproduction.studies.lines import line
from tfadv.reproduction.studies.weight_decay_cnn_jobs import Results
from tfadv.reproduction.studies.weight_decay_logistic import printed
from tfadv.reproduction.study import Compared, Context, Job, Rendering, Study

# Ratios of figure 12: 100, 200, ... of 3,072 pixels.
SHOWN = tuple(round(100 * number / 3072, 3) for number in range(1, 11))
RATIOS = (0.0, *SHOWN[:7], 0.26, *SHOWN[8:], 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0)
_AT = 0.26
_BATCH = 500
CURVES, SAMPLES = "accuracies", "samples"


def swaps(settings: Mapping[str, Any], context: Context) -> dict[str, Any]:
    """Accuracies of several networks on the same swapped images: what is swapped depends on no network.

    Settings:
        nets: name -> what `weight_decay_cnn_jobs.net` says. ratios, runs: shares of pixels, and seeds 0, 1, ... of the
            pairs. limit: test images, a stratified subset; None is all.

    Returns:
        ratios, count; nets: name -> {"step", "accuracy": [ratios][runs]}.
    """
    nets = {name: cnn.trained_net(given, context) for name, given in settings["nets"].items()}
    first = next(iter(settings["nets"].values()))
    x, y = cnn.images(first, context, settings["limit"])
    accuracy: dict[str, list[list[float]]] = {name: [] for name in nets}
    for ratio in settings["ratios"]:
        for each in accuracy.values():
            each.append([])
        for run in range(settings["runs"]):
            swapped = _swapped(next(iter(nets.values()))[0], x, y, ratio, run)
            for name, (model, _) in nets.items():
                labels = model.predict(swapped, batch_size=_BATCH, verbose=0).argmax(axis=1)
                accuracy[name][-1].append(float((labels == y).mean()))
        context.report(f"ratio {ratio:g}")
    found = {name: {"step": step, "accuracy": accuracy[name]} for name, (_, step) in nets.items()}
    return {"ratios": list(settings["ratios"]), "count": len(x), "nets": found}


def _swapped(model: Any, x: np.ndarray, y: np.ndarray, ratio: float, seed: int) -> np.ndarray:
    config = attacks.PixelSwap(ratio=ratio, keep="last", seed=seed)
    return attacks.compiled(model, config, jit="off", precision="float32").run(x, y).x_adv


def samples(settings: Mapping[str, Any], context: Context) -> dict[str, Any]:
    """The first test images, each with its own share of swapped pixels: {"images", "swapped" (packed), "ratios"}."""
    model, _ = cnn.trained_net(settings, context)
    x, y = cnn.images(settings, context)
    ratios = settings["ratios"]
    # All of them at every ratio, because an image's pairs follow from its number.
    swapped = [_swapped(model, x[: len(ratios)], y[: len(ratios)], ratio, 0)[at] for at, ratio in enumerate(ratios)]
    return {"images": pack(x[: len(ratios)]), "swapped": pack(np.stack(swapped)), "ratios": list(ratios)}


def overtakes(ratios: list[float], first: np.ndarray, second: np.ndarray) -> float | None:
    """The ratio from which on `first` [R] is above `second` [R], by linear interpolation; None if there is no place.

    Nothing is overtaken where `first` is above already at the first ratio.
    """
    ahead = np.asarray(first) - np.asarray(second)
    if ahead[0] >= 0 or ahead.max() <= 0:
        return None
    at = int((ahead > 0).argmax())
    share = -ahead[at - 1] / (ahead[at] - ahead[at - 1])
    return float(ratios[at - 1] + share * (ratios[at] - ratios[at - 1]))


def _printed_at_26() -> str:
    paper = printed()
    return f"WRN {paper[32]:g}% and WRN-Nat {paper[33]:g}% at 26%"


def _rows(results: Results) -> list[Compared]:
    """Accuracies at 26%, means over runs, with the interval of the sampling of test images."""
    found = results.get(CURVES)
    if found is None or _AT not in found["ratios"]:
        return []
    at, rows = found["ratios"].index(_AT), []
    for name, each in found["nets"].items():
        mean = float(np.mean(each["accuracy"][at]))
        low, high = clopper_pearson(round(mean * found["count"]), found["count"])
        paper = printed()[31] if name == cnn.CNN_L2 else None
        what = f"{name}: accuracy with 26% of the pixels swapped"
        rows.append(Compared(what, paper, 100 * mean, "%", (100 * low, 100 * high), cnn.schedule(each["step"])))
    return rows


def _render_fig11(results: Results) -> Rendering:
    found = results.get(CURVES)
    if found is None:
        return Rendering(findings=tuple(cnn.standing(results)))
    ratios = found["ratios"]
    means = {name: np.mean(each["accuracy"], axis=1) for name, each in found["nets"].items()}
    title = (
        f"Random pairs of pixels swapped, R, G and B apart; means of {len(found['nets'][cnn.CNN]['accuracy'][0])} runs."
    )
    shown = {
        "": Chart(
            title,
            "share of pixels swapped",
            "accuracy",
            {name: line(ratios, mean) for name, mean in means.items()},
            percent=True,
        )
    }
    ahead = 100 * (means[cnn.CNN_L2] - means[cnn.CNN])
    spread = max(np.ptp(runs) for each in found["nets"].values() for runs in each["accuracy"])
    findings = [
        f"CNN-L2 minus CNN: {ahead.min():+.1f} to {ahead.max():+.1f} points over all ratios, "
        f"{np.mean(ahead > 0):.0%} of them above 0.",
        f"Between runs an accuracy differs by at most {100 * spread:.1f} points, on {found['count']:,} images.",
    ]
    compared = _rows(results)
    paper = printed()
    for name in (name for name in means if name not in cnn.DEFENDED):
        place = overtakes(ratios, means[cnn.CNN_L2], means[name])
        where = "nowhere" if place is None else f"at {100 * place:.0f}%"
        findings.append(f"CNN-L2 overtakes {name} {where}.")
    findings.append(
        f"Printed alone (WRN is not run): {_printed_at_26()}; CNN-L2 overtakes them at about {paper[34]:g}% and "
        f"{paper[35]:g}%."
    )
    return Rendering(tuple(compared), shown, (*findings, *cnn.standing(results)), columns=1)


def _render_fig12(results: Results) -> Rendering:
    shown: dict[str, Chart | Pictures] = {}
    if found := results.get(SAMPLES):
        labels = (*(f"{ratio:.3f}" for ratio in found["ratios"]), *("" for _ in found["ratios"]))
        pictures = np.concatenate([unpack(found["swapped"]), unpack(found["images"])])
        title = "Test images with a share of their pixels swapped (above), and as they are (below)."
        shown[""] = Pictures(title, pictures, labels, columns=len(found["ratios"]), bounds=(0, 1))
    rows = _rows(results)
    findings = [f"Printed alone (WRN is not run): {_printed_at_26()}."] if rows else []
    return Rendering(tuple(rows), shown, (*findings, *cnn.standing(results)), columns=1)


def _curves(scale: str) -> Job:
    smoke = scale == "smoke"
    work = {
        "nets": {name: cnn.net(scale, name) for name in cnn.ALL},
        "ratios": [0.0, _AT, 1.0] if smoke else list(RATIOS),
        "runs": 1 if smoke else 3,
        "limit": {"smoke": 10, "short": 2000, "paper": None}[scale],
    }
    return Job(CURVES, swaps, work, {"smoke": 5.0, "short": 120.0, "paper": 500.0}[scale])


def _fig11_jobs(scale: str) -> tuple[Job, ...]:
    return (*cnn.evaluations(scale), _curves(scale))


def _fig12_jobs(scale: str) -> tuple[Job, ...]:
    ratios = SHOWN[:2] if scale == "smoke" else SHOWN
    return (*_fig11_jobs(scale), cnn.job(scale, SAMPLES, samples, cnn.CNN_L2, 20, ratios=list(ratios)))


_READINGS = (
    *cnn.READINGS,
    "Both pixels of a pair move, as the text says, and every image has pairs of its own; the program copies one pixel "
    "onto the other and has one order for all images. The share of pixels that change is the same. The authors' "
    "published weights of CNN-L2, measured here on 1,000 images, keep 64.3% at 26% (printed: 63.1%).",
)
STUDIES = (
    Study(
        "weight_decay/fig11",
        "Accuracy against the share of pixels that are swapped at random",
        _fig11_jobs,
        _render_fig11,
        _READINGS,
    ),
    Study(
        "weight_decay/fig12",
        "Images with swapped pixels, and accuracies with 26% of them swapped",
        _fig12_jobs,
        _render_fig12,
        _READINGS,
    ),
)
