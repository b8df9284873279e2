"""WD ("Adversarial training versus weight decay"), figures 3 to 5: margins, and the softplus scaled and translated.

The paper's figures are drawings; here the data are MNIST's threes and sevens and the lines those of trained models.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from scipy.optimize import minimize
from scipy.special import expit

from tfadv.models import expert_weights
from tfadv.report.charts import Chart
from tfadv.reproduction.studies import weight_decay_jobs as wd
from tfadv.reproduction.studies.lines import line
from tfadv.reproduction.studies.weight_decay_logistic import READINGS, error
from tfadv.reproduction.studies.weight_decay_models import EPSILON, margins, right, softplus, stepped, threes_and_sevens
from tfadv.reproduction.study import Context, Job, Rendering, Study

Results = Mapping[str, Mapping[str, Any]]

# Figure 4: panel -> weight decay. Figure 5: panel -> offset as a multiple of the mean distance.
_SCALED = {"a": (0.001, "Small"), "b": (0.05, "Medium"), "c": (3.25, "Large")}
_TRANSLATED = {"a": (0.0, "No"), "b": (0.5, "Moderate"), "c": (1.5, "Strong")}


def optimum(settings: Mapping[str, Any], context: Context) -> dict[str, Any]:
    """The weights at which the mean softplus and weight decay are least, to the precision of L-BFGS.

    Settings:
        dataset; l2: multiplies ||w||_2^2 / 2; iterations, at most.

    Returns:
        margins: as `weight_decay_models.margins`; clean, fgsm: errors of test images; expert: cosine with the expert
        start; iterations.
    """
    x, y = threes_and_sevens(settings["dataset"], "train", context.data_dir)
    wide, side = x.astype(np.float64), np.where(y == 1, 1.0, -1.0)

    def loss(w: np.ndarray) -> tuple[float, np.ndarray]:
        z = side * (wide @ w)
        slope = -side * expit(-z) / len(z)
        return float(softplus(z).mean() + settings["l2"] / 2 * w @ w), slope @ wide + settings["l2"] * w

    found = minimize(
        loss, np.zeros(x.shape[1]), jac=True, method="L-BFGS-B", options={"maxiter": settings["iterations"]}
    )
    w, start = found.x, expert_weights(x, y)
    tested, labels = threes_and_sevens(settings["dataset"], "test", context.data_dir)
    return {
        "margins": margins(w, x, y),
        "clean": float(1 - right(tested, labels, w).mean()),
        "fgsm": float(1 - right(stepped(tested, labels, w, EPSILON, None), labels, w).mean()),
        "expert": float(w @ start / np.linalg.norm(w) / np.linalg.norm(start)),
        "iterations": int(found.nit),
    }


def _shares(counts: Any) -> np.ndarray:
    return np.asarray(counts, np.float64) / max(np.sum(counts), 1)


def _middles(edges: Any) -> np.ndarray:
    edges = np.asarray(edges, np.float64)
    return (edges[1:] + edges[:-1]) / 2


def _loss_and_data(title: str, x_label: str, x: np.ndarray, counts: Any, loss: np.ndarray) -> Chart:
    """The loss at x and the data there, drawn as high as the loss is."""
    shares = _shares(counts)
    high = loss.max() / max(shares.max(), 1e-12)
    return Chart(
        title,
        x_label,
        "loss (nats); data: scaled density",
        {"softplus loss": line(x, loss), "training images": line(x, shares * high)},
    )


def _render_fig3(results: Results) -> Rendering:
    found = wd.kept(results, wd.EXPERT)
    if found is None:
        return Rendering()
    data = found["margins"]
    length, edges = data["l2"], np.asarray(data["edges"])
    threes, sevens = np.asarray(data["threes"]), np.asarray(data["sevens"])
    count = threes.sum() + sevens.sum()
    scores = length * edges
    figures = {
        "a": Chart(
            "w'x of the training images for Expert-L2.",
            "w'x",
            "share of the images",
            {"sevens, y = -1": line(scores, sevens / count), "threes, y = 1": line(scores, threes / count)},
            kind="histogram",
        ),
        "b": Chart(
            "Multiplied by the label, what is below 0 is misclassified.",
            "y w'x",
            "share of the images",
            {"training images": line(scores, _shares(data["signed"]))},
            kind="histogram",
        ),
        "c": _loss_and_data(
            "The softplus gives each image its penalty.",
            "y w'x",
            length * _middles(edges),
            data["signed"],
            softplus(length * _middles(edges)),
        ),
    }
    below = float(np.asarray(data["signed"])[edges[:-1] < -1e-9].sum() / count)
    finding = (
        f"Two modes, as drawn: {100 * below:.1f}% of the training images lie below 0 in (b), the mean of y w'x is "
        f"{length * data['mean']:.2f}, and the mean loss {data['loss']:.4f}."
    )
    return Rendering(figures=figures, findings=(finding,), columns=3)


def _render_fig4(results: Results) -> Rendering:
    figures, words, errors = {}, [], []
    for panel, (l2, strength) in _SCALED.items():
        found = results.get(f"L2 {l2:g}")
        if found is None:
            continue
        data = found["margins"]
        x = _middles(data["edges"])
        # How much of the gradient comes from images that are right already.
        pull = expit(-data["l2"] * x) * _shares(data["signed"])
        share = pull[x > 0].sum() / pull.sum()
        title = f"{strength} weight decay, {l2:g}: the norm of w is {data['l2']:.2f}."
        loss = softplus(data["l2"] * x)
        figures[panel] = _loss_and_data(title, "y d(x), signed distance from the boundary", x, data["signed"], loss)
        words.append(f"{100 * share:.0f}% in ({panel}), ||w|| {data['l2']:.2f}")
        errors.append(
            f"decay {l2:g}: clean error {100 * found['clean']:.1f}%, FGSM {100 * found['fgsm']:.1f}%, cosine with the "
            f"expert start {found['expert']:.2f}"
        )
    if not words:
        return Rendering()
    findings = [
        "The smaller ||w||, the more of the gradient comes from images that are classified correctly already: "
        f"{'; '.join(words)}.",
        f"At the optimum, where random weights and Adam play no part: {'; '.join(errors)}.",
    ]
    expert = wd.kept(results, wd.EXPERT)
    if expert is not None:
        findings.append(
            f"Expert-L2 has decay 0.05 too, but its 10,000 steps of 1e-5 end at ||w|| {expert['l2']:.2f} and an FGSM "
            f"error of {error(expert, 'fgsm')[0]:.1f}%, near its start and not at the optimum of its own loss. That "
            "training from scratch ends at the expert start, as section 3 says, is right for large decay alone."
        )
    return Rendering(figures=figures, findings=tuple(findings), columns=3)


def _render_fig5(results: Results) -> Rendering:
    found = wd.kept(results, wd.EXPERT)
    if found is None:
        return Rendering()
    data, figures, words = found["margins"], {}, []
    x, shares = _middles(data["edges"]), _shares(data["signed"])
    for panel, (multiple, strength) in _TRANSLATED.items():
        offset = multiple * data["mean"]
        title = f"{strength} adversarial training: epsilon = {offset:.2f} in 2-norm, {multiple:g} of the mean distance."
        shown = np.linspace(x.min() - 1.5 * data["mean"], x.max(), 121)
        moved = np.interp(shown, x - offset, shares, left=0, right=0)
        loss = softplus(data["l2"] * shown)
        figures[panel] = _loss_and_data(title, "y d(x) - epsilon", shown, moved, loss)
        words.append(f"{100 * shares[x < offset].sum():.0f}% at epsilon {offset:.2f}")
    step = EPSILON * found["l1"] / found["l2"]
    share = shares[x < step].sum()
    findings = (
        f"Equation 5 holds to {data['equation5']:.0e} and equation 7 to {data['equation7']:.0e} on attacked images "
        "that are not clipped to the box: adversarial training translates the data, and nothing else.",
        f"Beyond the boundary lie {', '.join(words)}.",
        f"FGSM at {EPSILON:g} translates by epsilon ||w||_1 / ||w||_2 = {step:.2f} before clipping, the mean distance "
        f"is {data['mean']:.2f}: {100 * share:.0f}% of the training images would cross the boundary of Expert-L2.",
    )
    return Rendering(figures=figures, findings=findings, columns=3)


def _expert(scale: str) -> tuple[Job, ...]:
    return wd.jobs(scale, {wd.EXPERT: wd.FIRST})


def _optima(scale: str) -> tuple[Job, ...]:
    smoke = scale == "smoke"
    common = {"dataset": "digits" if smoke else "mnist_3v7", "iterations": 20 if smoke else 1000}
    seconds = 0.5 if smoke else 10.0
    optima = tuple(Job(f"L2 {l2:g}", optimum, {"l2": l2, **common}, seconds) for l2, _ in _SCALED.values())
    return (*optima, *_expert(scale))


_DRAWN = "A drawing in the paper. Here: the 12,396 training images, and weights trained as in section 3."
STUDIES = (
    Study(
        "weight_decay/fig3",
        "What the loss is made of: w'x, its product with the label, and the softplus of that",
        _expert,
        _render_fig3,
        (_DRAWN, "Softplus is log(1 + exp(-z)) of the margin z throughout (inconsistency I21).", *READINGS),
    ),
    Study(
        "weight_decay/fig4",
        "Weight decay scales the softplus",
        _optima,
        _render_fig4,
        (
            "A drawing in the paper. Here: the 12,396 training images, and the weights of least loss without a bias.",
            "Small, medium and large decay are 0.001, 0.05 and 3.25 times ||w||_2^2 / 2; equation 4 has ||w||_2 not "
            "squared, the authors' program the square (inconsistency I22).",
        ),
    ),
    Study(
        "weight_decay/fig5",
        "Adversarial training translates the data",
        _expert,
        _render_fig5,
        (_DRAWN, "Epsilon is 0, half and one and a half of the mean distance of Expert-L2.", *READINGS),
    ),
)
