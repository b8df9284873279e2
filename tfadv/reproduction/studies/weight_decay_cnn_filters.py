"""WD ("Adversarial training versus weight decay"), section 6.4: figure 13, the filters of the first convolution."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from tfadv.report.charts import Chart, Pictures
from tfadv.report.values import pack, unpack
from tfadv.reproduction.studies import weight_decay_cnn_jobs as cnn
from tfadv.reproduction.studies.weight_decay_cnn_jobs import Results
from tfadv.reproduction.study import Claim, Compared, Context, Job, Rendering, Study

_LAYER = "conv1"
_NEARLY = 0.01  # of the largest filter's norm: invisible in a picture of all filters


def filters(settings: Mapping[str, Any], context: Context) -> dict[str, Any]:
    """{"step", "filters"}: the kernel of the first convolution, packed [filters, height, width, channels]."""
    model, step = cnn.trained_net(settings, context)
    kernel = np.asarray(model.get_layer(_LAYER).get_weights()[0])
    return {"step": step, "filters": pack(np.moveaxis(kernel, -1, 0))}


def zeros(kernels: np.ndarray) -> tuple[int, int]:
    """How many of the filters [F, H, W, C] are exactly zero, and how many have a norm below 1% of the largest."""
    norms = np.linalg.norm(kernels.reshape(len(kernels), -1), axis=1)
    return int((norms == 0).sum()), int((norms < _NEARLY * max(norms.max(), np.finfo(np.float32).tiny)).sum())


def roughness(kernels: np.ndarray) -> np.ndarray:
    """Of each filter [F, H, W, C] that is not nearly zero: squared differences of neighbors, over twice the squares.

    Means of both; 0 for a constant filter, 1 on average for independent weights of mean 0, up to 2 for a checkerboard.
    """
    norms = np.linalg.norm(kernels.reshape(len(kernels), -1), axis=1)
    kept = kernels[norms >= _NEARLY * max(norms.max(), np.finfo(np.float32).tiny)].astype(np.float64)
    axes = (1, 2, 3)
    steps = [np.square(np.diff(kept, axis=axis)).mean(axis=axes) for axis in (1, 2)]
    return np.asarray(np.mean(steps, axis=0) / (2 * np.square(kept).mean(axis=axes)))


def _render(results: Results) -> Rendering:
    figures: dict[str, Chart | Pictures] = {}
    compared, findings, found = [], [], {}
    for panel, name in zip("abcd", cnn.ALL, strict=True):
        if name not in results:
            continue
        kernels = unpack(results[name]["filters"])
        extra = "" if name in cnn.DEFENDED else " (not in the paper)"
        title = f"Filters of the first layer of {name}{extra}."
        numbers = tuple(str(number) for number in range(1, len(kernels) + 1))
        figures[panel] = Pictures(title, kernels, numbers, columns=8)
        exact, nearly = zeros(kernels)
        rough = float(np.median(roughness(kernels)))
        found[name] = (exact, nearly, rough)
        note = cnn.schedule(results[name]["step"])
        for what, value in (("exactly zero", exact), ("nearly zero", nearly)):
            compared.append(Compared(f"{name}: filters {what}", None, value, f"of {len(kernels)}", note=note))
        compared.append(Compared(f"{name}: median roughness of the others", None, rough, "", note=note))
    claims = []
    if all(name in found for name in cnn.DEFENDED):
        (_, plain_zero, plain_rough), (exact, nearly, rough) = found[cnn.CNN], found[cnn.CNN_L2]
        evidence = (
            f"with L2 {exact} filters exactly and {nearly} nearly zero, median roughness {rough:.2f}; without "
            f"{plain_zero} nearly zero, {plain_rough:.2f}"
        )
        part = cnn.schedule(results[cnn.CNN_L2]["step"])
        holds = [nearly > plain_zero, rough < plain_rough]
        mark = "reproduced" if all(holds) else "depends" if any(holds) or not part else "not comparable"
        claims.append(Claim("WD-5", mark, f"{evidence}{f' ({part})' if part else ''}"))
        findings.append(f"Median roughness is 1 for weights without any structure: {evidence}.")
    return Rendering(tuple(compared), figures, (*findings, *cnn.standing(results)), tuple(claims))


def _jobs(scale: str) -> tuple[Job, ...]:
    return (*cnn.evaluations(scale), *(cnn.job(scale, name, filters, name, 5) for name in cnn.ALL))


STUDY = Study(
    "weight_decay/fig13",
    "Filters of the first convolution, without and with weight decay",
    _jobs,
    _render,
    (
        *cnn.READINGS,
        "Networks start from the same weights (one seed), so that filters at one place can be compared. Gray is 0; "
        "each panel has one scale.",
        "'Some exactly zero' is counted twice: exactly, and below 1% of the largest filter's norm. Roughness is the "
        "mean squared difference of neighboring weights over twice the mean square. Of the authors' published weights, "
        "measured here, CNN has no filter that is zero and a median roughness of 0.22, CNN-L2 six that are exactly "
        "zero and 0.19.",
    ),
)
