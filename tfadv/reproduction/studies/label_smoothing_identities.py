"""What "Adversarial robustness via label-smoothing" (LSV) proves in section 2, put to the test of numbers.

`tfadv.losses` computes SmoothCE; the penalties R_n are written down here once more from the logits, so that neither
side can be right by repeating the other.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import tensorflow as tf

from tfadv import losses
from tfadv.losses import boltzmann, other_classes, smoothed_cross_entropy, worst_class
from tfadv.reproduction.study import Context

RANDOM_LABELS = 200  # tried beside ALS's, for each draw

Rows = np.ndarray


def sls(y: Rows, z: Rows) -> Rows:
    """((K y - 1) / (K - 1))' z of one-hot y and logits z, both [n, K]: table 1, per example."""
    classes = z.shape[1]
    return ((classes * y - 1) / (classes - 1) * z).sum(axis=1)


def als(y: Rows, z: Rows) -> Rows:
    """z_y - min_k z_k: corollary 1."""
    return (y * z).sum(axis=1) - z.min(axis=1)


def bls(y: Rows, z: Rows, temperature: float = 0.001) -> Rows:
    """(y - q')' z with q' proportional to exp(-z_k / T) over k != y."""
    others = np.where(y > 0, np.inf, z)
    with np.errstate(over="ignore"):
        share = np.exp(-(others - others.min(axis=1, keepdims=True)) / temperature)
    return (y * z).sum(axis=1) - (share / share.sum(axis=1, keepdims=True) * z).sum(axis=1)


def sbls(y: Rows, z: Rows) -> Rows:
    """z_y - max_{k != y} z_k: the text below equation 7."""
    return (y * z).sum(axis=1) - np.where(y > 0, -np.inf, z).max(axis=1)


# Name -> (loss of a mass, its penalty, what table 1 prints in place of the penalty's mean).
METHODS: Mapping[str, tuple[Callable[[float], Any], Callable[[Rows, Rows], Rows], Callable[[Rows], float]]] = {
    "SLS": (lambda mass: losses.LabelSmoothing(mass, reduction=None), sls, np.sum),
    "ALS": (lambda mass: losses.AdversarialLabelSmoothing(mass, reduction=None), als, lambda r: -np.mean(r)),
    "BLS": (lambda mass: losses.BoltzmannLabelSmoothing(mass, reduction=None), bls, lambda r: -np.mean(r)),
    "SBLS": (lambda mass: losses.SecondBestLabelSmoothing(mass, reduction=None), sbls, lambda r: -np.mean(r)),
}


def check_identities(settings: Mapping[str, Any], context: Context) -> dict[str, Any]:
    """Theorem 1 on random logits: mean SmoothCE against L_n + alpha R_n.

    Settings:
        classes: numbers of them, examples, scales: standard deviations of the logits, masses, seed.

    Returns:
        methods: name -> {"theorem", "printed": the largest |SmoothCE - (L_n + alpha R_n)| with R_n as theorem 1 and as
        table 1 has it, in nats; "smallest": the smallest penalty of an example}; any: the same for random q'; worst:
        the most by which a random label of the TV ball exceeds the SmoothCE of ALS's (lemma 2), which is <= 0 if that
        is the maximum; below: share of the examples whose true class has the smallest logit; cases.
    """
    draw = np.random.RandomState(settings["seed"])
    found = {name: {"theorem": 0.0, "printed": 0.0, "smallest": np.inf} for name in METHODS}
    random_target, worst, lowest, cases = 0.0, -np.inf, [], 0
    for classes in settings["classes"]:
        for scale in settings["scales"]:
            z = (scale * draw.standard_normal((settings["examples"], classes))).astype(np.float32)
            labels = draw.randint(classes, size=len(z))
            y, exact = np.eye(classes)[labels], z.astype(np.float64)
            lowest.append((z.argmin(axis=1) == labels).mean())
            for mass in settings["masses"]:
                cases += 1
                plain = np.mean(losses.LabelSmoothing(0.0, reduction=None)(labels, z))
                for name, (loss, penalty, printed) in METHODS.items():
                    penalties = penalty(y, exact)
                    smooth = np.mean(loss(mass)(labels, z))
                    row = found[name]
                    row["theorem"] = max(row["theorem"], abs(smooth - plain - mass * penalties.mean()))
                    row["printed"] = max(row["printed"], abs(smooth - plain - mass * printed(penalties)))
                    row["smallest"] = min(row["smallest"], penalties.min())
                target = draw.dirichlet(np.ones(classes), size=len(z))
                smooth = np.mean(smoothed_cross_entropy(labels, z, q_prime=lambda *_, t=target: t, mass=mass))
                penalty_of_any = ((y - target) * exact).sum(axis=1).mean()
                random_target = max(random_target, abs(smooth - plain - mass * penalty_of_any))
                worst = max(worst, _above_worst(z[0], labels[0], mass, draw))
    right = np.abs(draw.standard_normal((settings["examples"], 2))) * [1, -1]
    norm = np.abs(sls(np.eye(2)[[0] * len(right)], right) - np.abs(right).sum(axis=1)).max()
    return {
        "norm": float(norm),
        "methods": {name: {key: float(value) for key, value in row.items()} for name, row in found.items()},
        "any": float(random_target),
        "worst": float(worst),
        "below": float(np.mean(lowest)),
        "cases": cases,
    }


def _above_worst(z: np.ndarray, label: int, mass: float, draw: np.random.RandomState) -> float:
    """SmoothCE of one example: the most over random q with q_y >= 1 - mass, less that of ALS."""
    log_p = z.astype(np.float64) - np.logaddexp.reduce(z.astype(np.float64))
    taken = mass * draw.uniform(size=(RANDOM_LABELS, 1))
    q = taken * draw.dirichlet(np.full(len(z), 0.3), size=RANDOM_LABELS) + (1 - taken) * np.eye(len(z))[label]
    own = -(1 - mass) * log_p[label] - mass * log_p.min()
    return float((-q @ log_p).max() - own)


def compare_gradients(settings: Mapping[str, Any], context: Context) -> dict[str, Any]:
    """What differentiating through q' of BLS would add to the gradient by the logits; to SLS, ALS and SBLS it adds 0.

    The derivative of -alpha q'(z)'z is -alpha q'_k, of q' as a constant, and alpha / T q'_k (z_k - q'z).

    Settings:
        classes, examples, scale: standard deviation of the logits, temperatures, seed.

    Returns:
        temperatures; added: for each the mean over the examples of the 2-norm of what is added, over that of the
        penalty's gradient with q' constant, alpha (y - q').
    """
    draw = np.random.RandomState(settings["seed"])
    z = settings["scale"] * draw.standard_normal((settings["examples"], settings["classes"]))
    y = np.eye(settings["classes"])[draw.randint(settings["classes"], size=len(z))]
    added = []
    for temperature in settings["temperatures"]:
        q = boltzmann(tf.constant(y, tf.float32), tf.constant(z, tf.float32), temperature=temperature).numpy()
        through = q * (z - (q * z).sum(axis=1, keepdims=True)) / temperature
        added.append(float((np.linalg.norm(through, axis=1) / np.linalg.norm(y - q, axis=1)).mean()))
    return {"temperatures": list(settings["temperatures"]), "added": added}


def free_minima(settings: Mapping[str, Any], context: Context) -> dict[str, Any]:
    """Gradient descent on the logits of one example, with labels from the current ones (algorithm 1).

    Settings:
        classes, masses, steps, rate: the step size, which falls to 0 along a line.

    Returns:
        method -> classes -> [z_y - min_k z_k at the end for each mass]; masses.
    """
    found: dict[str, Any] = {"masses": list(settings["masses"])}
    mass = np.array(settings["masses"], np.float32)[:, None]
    for name, q_prime in (("SLS", other_classes), ("ALS", worst_class)):
        found[name] = {}
        for classes in settings["classes"]:
            y = tf.one_hot(tf.zeros(len(mass), tf.int32), classes)
            # Ties are shared evenly: logits that begin equal would stay so, and hide that ALS chooses one class.
            z = tf.constant(0.01 * np.random.RandomState(0).standard_normal((len(mass), classes)), tf.float32)
            for share in np.linspace(1, 0, settings["steps"], endpoint=False):
                label = (1 - mass) * y + mass * q_prime(y, z)
                # The gradient of SmoothCE by the logits.
                z = z - settings["rate"] * share * (tf.nn.softmax(z) - label)
            found[name][str(classes)] = (z[:, 0] - tf.reduce_min(z, axis=1)).numpy().tolist()
        context.report(name)
    return found


def free_gap(mass: float, classes: int) -> float:
    """z_y - z_k at the minimum over all logits of SLS on one example: p_y = 1 - mass, where every k != y is alike.

    The minimum of ALS is the same: ALS is max over q of -q'log p, and min over p of that is at the q of the largest
    entropy in the ball, which is SLS's, or the uniform one if mass >= (K - 1) / K, where the gap is 0.
    """
    return max(float(np.log((1 - mass) * (classes - 1) / mass)), 0.0)
